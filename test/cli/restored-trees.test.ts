// get -r, ls and rm as they are typed: exit codes, what is printed of names that want to be obeyed, and what is left when
// a signal comes.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { CreateBucketCommand } from "@aws-sdk/client-s3";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { frameseal, type RunOptions } from "../support/command-line.ts";
import { S3Server } from "../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

const ODD = "odd\u001b[2J\u202e\n";
let folder: string;
let server: S3Server;
beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "frameseal-restored-"));
  server = await S3Server.start();
  await server.client().send(new CreateBucketCommand({ Bucket: "bucket" }));
  mkdirSync(path.join(folder, "tree/sub"), { recursive: true });
  for (const [name, text] of [
    ["a", "first"],
    ["sub/b", "second"],
    [ODD, "third"],
  ] as const)
    writeFileSync(path.join(folder, "tree", name), text);
  writeFileSync(path.join(folder, "tree/large"), Buffer.alloc(20 * 2 ** 20, 7));
  await run(["keygen", "-o", "k.jwk"]);
  expect((await run(["put", "-r", "-k", "k.jwk", "tree", "s3://bucket/t/", ...at()])).code).toBe(0);
}, 60_000);
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});
afterEach(() => {
  server.fault = () => undefined;
  rmSync(path.join(folder, "out"), { recursive: true, force: true });
});

const at = (): string[] => ["--endpoint", server.endpoint];
const run = (args: readonly string[], options: Partial<RunOptions> = {}) =>
  frameseal(args, {
    cwd: folder,
    ...options,
    env: {
      ...{ AWS_ACCESS_KEY_ID: "a", AWS_SECRET_ACCESS_KEY: "b", AWS_REGION: "us-east-1" },
      XDG_STATE_HOME: path.join(folder, "state"),
    },
  });
const get = (...more: string[]) =>
  run(["get", "-r", "-k", "k.jwk", "s3://bucket/t/", "out", ...more, ...at()]);

test("what failed is told by the exit code: 4, and 3 where something is not authentic", async () => {
  expect((await get()).code).toBe(0);
  writeFileSync(path.join(folder, "out/a"), "mine");
  const refused = await get();
  expect([refused.code, refused.stderr]).toEqual([4, expect.stringContaining("--force replaces it")]);
  expect(readFileSync(path.join(folder, "out/a"), "utf8")).toBe("mine");
  const stored = server.object("bucket", "t/a");
  server.buckets.get("bucket")?.set("t/a", server.object("bucket", "t/sub/b"));
  const untrusted = await get("--force");
  server.buckets.get("bucket")?.set("t/a", stored);
  expect(untrusted.code).toBe(3);
  expect(readFileSync(path.join(folder, "out/a"), "utf8")).toBe("mine");
  expect((await get("--force")).code).toBe(0);
  expect(readFileSync(path.join(folder, "out", ODD), "utf8")).toBe("third");
});

test("nothing is made where nothing is to be had", async () => {
  const args = ["get", "-r", "-k", "k.jwk"];
  expect((await run([...args, "s3://absent/t/", "out", ...at()])).code).toBe(1);
  expect((await run([...args, "s3://bucket/absent/", "out", ...at()])).code).toBe(1);
  expect((await run([...args, "--manifest", "7", "s3://bucket/t/", "out", ...at()])).code).toBe(3);
  expect((await run([...args, "s3://bucket/t/", ...at()])).code).toBe(2);
  expect(readdirSync(folder)).not.toContain("out");
});

test("names are printed so that nobody obeys them, and as JSON they are what they are", async () => {
  const text = (await run(["ls", "-r", "s3://bucket/t/", ...at()])).stdout.toString();
  expect(text).toMatch(/ 5 odd\\u001b\[2J\\u202e\\u000a$/m);
  const records = (await run(["ls", "-r", "--json", "s3://bucket/t", ...at()])).stdout
    .toString()
    .trim()
    .split("\n");
  expect(records.map((line) => JSON.parse(line) as object)).toMatchObject([
    { key: "t/a", size: 5 },
    { key: "t/large", size: 20 * 2 ** 20 },
    { key: `t/${ODD}`, path: ODD, size: 5 },
    { key: "t/sub/b", size: 6 },
  ]);
  const one = await run(["ls", "s3://bucket/t/a", ...at()]);
  expect(one.stdout.toString()).toMatch(/ 5 t\/a\n$/);
  expect((await run(["ls", "--json", ...at()])).stdout.toString()).toMatch(/^\{"bucket":"bucket"/);
});

test("a signal leaves what the next run goes on with", async () => {
  let child: Parameters<NonNullable<RunOptions["onStart"]>>[0] | undefined;
  // The second half never comes.
  server.fault = ({ headers }) => {
    const start = Number(/^bytes=(\d+)/.exec(`${headers.range}`)?.[1] ?? 0);
    if (start < 15 * 2 ** 20 || start > 19 * 2 ** 20) return undefined;
    child?.kill("SIGINT");
    return { kind: "stall" };
  };
  const onStart: RunOptions["onStart"] = (started) => {
    child = started;
  };
  const args = ["get", "-r", "-k", "k.jwk", "s3://bucket/t/", "out", ...at()];
  expect((await run(args, { onStart })).code).toBe(130);
  expect(readdirSync(path.join(folder, "out"))).toContain(".large.frameseal-part");
  server.fault = () => undefined;
  expect((await run(args)).code).toBe(0);
  expect(readdirSync(path.join(folder, "out")).sort()).toEqual(["a", "large", ODD, "sub"].sort());
});

test("rm removes what is named, and says when there is nothing", async () => {
  for (const [args, code] of [
    [["rm", "s3://bucket/t/absent"], 1],
    [["rm", "s3://bucket/t/"], 2],
    [["rm", "-r", "s3://bucket"], 2],
    [["rm", "-r", "s3://bucket/absent"], 0],
    [["rm", "s3://bucket/t/a"], 0],
    [["rm", "-r", "s3://bucket/t"], 0],
  ] as const)
    expect((await run([...args, ...at()])).code, args.join(" ")).toBe(code);
  expect([...(server.buckets.get("bucket")?.keys() ?? [])]).toEqual(["t/.frameseal/runs/00000001"]);
});
