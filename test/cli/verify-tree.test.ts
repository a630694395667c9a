// frameseal verify -r: what it says and how it exits, also when the server fails.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { run } from "../../src/cli/program.ts";
import { observe } from "../support/observed-command.ts";
import { S3Server, type StoredS3Object } from "../support/s3-server.ts";
import { storeTree, treePlace } from "../support/tree-place.ts";

vi.mock("node:fs", async (original) => {
  const { observedFs } = await import("../support/observed-command.ts");
  return observedFs(await original<typeof import("node:fs")>());
});

let server: S3Server;
let folder: string;
let stored: ReadonlyMap<string, StoredS3Object>;
const tree = {
  "a.txt": "first",
  "b/c.txt": "second",
  "b/link@": "c.txt",
  "empty/": "",
  large: "x".repeat(9e6),
};
beforeAll(async () => {
  server = await S3Server.start();
  folder = mkdtempSync(path.join(tmpdir(), "frameseal-verify-"));
  const k = Buffer.alloc(32, 9).toString("base64url");
  writeFileSync(path.join(folder, "key.jwk"), JSON.stringify({ kty: "oct", kid: "trees", k }), {
    mode: 0o600,
  });
  vi.stubEnv("AWS_ACCESS_KEY_ID", "a");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "b");
  vi.stubEnv("AWS_REGION", "us-east-1");
  vi.stubEnv("AWS_SHARED_CREDENTIALS_FILE", path.join(folder, "none"));
  vi.stubEnv("XDG_STATE_HOME", path.join(folder, "state"));
  await storeTree(treePlace(server), tree);
  stored = new Map(server.buckets.get("b"));
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await server[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  server.buckets.set("b", new Map(stored));
  server.fault = () => undefined;
  rmSync(path.join(folder, "state"), { recursive: true, force: true });
});

const words = (more: string): string[] => (more === "" ? [] : more.split(" "));
const verify = (more: string, address = "s3://b/p") =>
  observe(run, [
    "verify",
    "-r",
    address,
    "-k",
    path.join(folder, "key.jwk"),
    "--endpoint",
    server.endpoint,
    ...words(more),
  ]);
const records = (stdout: string): Readonly<Record<string, unknown>>[] =>
  stdout
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line));

test("a whole tree is told record by record, and exits with 0", async () => {
  for (const more of ["--json", "--json --manifest latest", "--json --manifest 1"]) {
    const { code, stdout, stderr } = await verify(more);
    expect([code, stderr]).toEqual([0, expect.not.stringContaining("fail")]);
    const items = records(stdout).filter(({ record }) => record === "item");
    expect(items.map(({ key }) => key).sort()).toEqual(Object.keys(tree).sort());
    expect(items.every(({ action, size }) => action === "verify" && typeof size === "number")).toBe(true);
    expect(records(stdout).at(-1)).toMatchObject({ record: "summary", exitCode: 0, failed: 0 });
  }
  expect(records((await verify("--json --manifest latest")).stdout)).toContainEqual(
    expect.objectContaining({ record: "manifest", run: 1, entries: 5 }),
  );
});

test("what is not authentic is named, and exits with 3", async () => {
  const bucket = server.buckets.get("b");
  bucket?.set("p/b/c.txt", server.object("b", "p/a.txt"));
  const { code, stderr } = await verify("");
  expect([code, stderr]).toEqual([3, expect.stringMatching(/b\/c\.txt: .*moved or swapped/)]);
  bucket?.set("p/b/c.txt", stored.get("p/b/c.txt") ?? server.object("b", "p/a.txt"));
  bucket?.delete("p/large");
  expect((await verify("")).code).toBe(0);
  const missing = await verify("--manifest latest --json");
  expect(missing.code).toBe(3);
  expect(records(missing.stdout)).toContainEqual(
    expect.objectContaining({ path: "large", untrusted: true, error: expect.stringContaining("missing") }),
  );
});

test("a sample says its seed, and the seed chooses the same again", async () => {
  const chosen = async (more: string) => {
    const { code, stdout } = await verify(`--json ${more}`);
    expect(code).toBe(0);
    const all = records(stdout);
    const seed = all.find(({ record }) => record === "sample")?.seed;
    const read = all.filter(({ record, action }) => record === "item" && action === "verify");
    return { seed, keys: read.map(({ key }) => key).sort() };
  };
  const first = await chosen("--sample 2 --manifest latest");
  expect(first.keys).toHaveLength(2);
  expect(await chosen(`--sample 2 --manifest latest --seed ${first.seed}`)).toEqual(first);
  expect((await chosen("--sample 2 --seed other")).seed).toBe("other");
  expect((await chosen("--sample 0% --manifest latest")).keys).toEqual([]);
  expect((await chosen("--sample 100% --manifest latest")).keys).toHaveLength(5);
  // What is missing is found whatever is read.
  server.buckets.get("b")?.delete("p/a.txt");
  expect((await verify("--sample 0% --manifest latest")).code).toBe(3);
});

describe("a server that fails", () => {
  test("says nothing about the data: of an object, exit code 4", async () => {
    server.fault = ({ key }) =>
      key === "p/a.txt" ? { kind: "error", status: 403, code: "AccessDenied" } : undefined;
    for (const more of ["", "--manifest latest"]) expect((await verify(more)).code).toBe(4);
  });
  test("of the listing or the manifest, exit code 1", async () => {
    for (const isHit of [(key: string) => key === "", (key: string) => key.includes(".frameseal")]) {
      server.fault = ({ key }) =>
        isHit(key) ? { kind: "error", status: 403, code: "AccessDenied" } : undefined;
      expect((await verify("--manifest latest")).code).toBe(1);
    }
  });
  test("in the middle of a body is asked to go on", async () => {
    let cuts = 0;
    server.fault = ({ key, method }) =>
      key === "p/large" && method === "GET" && cuts++ === 0 ? { kind: "cut", at: 5_000_000 } : undefined;
    expect((await verify("--manifest latest")).code).toBe(0);
    expect(cuts).toBeGreaterThan(1);
  });
});

test("the journal remembers the newest manifest that was seen", async () => {
  expect((await verify("--manifest latest")).code).toBe(0);
  const place = treePlace(server);
  await storeTree(place, tree);
  expect((await verify("--manifest latest")).code).toBe(0);
  server.buckets.get("b")?.delete("p/.frameseal/runs/00000002");
  const { code, stderr } = await verify("--manifest latest");
  expect([code, stderr]).toEqual([3, expect.stringContaining("runs/00000002")]);
});

test.each([
  ["--manifest 0", "expected the number of a run"],
  ["--manifest newest", "expected the number of a run"],
  ["--sample 101%", "expected a share"],
  ["--sample -1", "expected a share"],
  ["--seed x", "--seed goes with --sample"],
  ["--max-plaintext 5", "--max-plaintext does not go with -r"],
  ["--version-id x", "--version-id does not go with -r"],
  ["-c type=other", "type"],
])("%s is refused", async (more, text) => {
  const { code, stderr } = await verify(more);
  expect([code, stderr]).toEqual([2, expect.stringContaining(text)]);
  const alone = await observe(run, ["verify", "s3://b/p/a.txt", "--manifest", "1"]);
  expect([alone.code, alone.stderr]).toEqual([2, expect.stringContaining("--manifest goes with -r")]);
});

test("of a file or of nothing there is no tree", async () => {
  const { code, stderr } = await verify("", "s3://b/absent/");
  expect([code, stderr]).toEqual([1, expect.stringContaining("nothing to verify")]);
  for (const address of ["./folder", "-"]) expect((await verify("", address)).code).toBe(2);
  expect((await observe(run, ["verify", "-r"])).code).toBe(2);
});
