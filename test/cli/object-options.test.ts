// What the options of the commands for objects do together: what cannot be honoured is refused before anything is sent,
// and what a reader must know is asked of it.
import { randomBytes } from "node:crypto";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { CreateBucketCommand } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { createProgram, run } from "../../src/cli/program.ts";
import { S3Server } from "../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

const said = vi.hoisted(() => ({ notes: [] as string[], printed: [] as unknown[] }));
vi.mock("../../src/cli/output.ts", async (original) => ({
  ...(await original<object>()),
  note: (text: string) => void said.notes.push(text),
  print: (text: string) => void said.printed.push(text),
  printJson: (value: unknown) => void said.printed.push(value),
}));

const Bucket = "bucket";
const plaintext = randomBytes(150_000);
let folder: string;
let server: S3Server;
const home = process.cwd();

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "frameseal-object-options-"));
  process.chdir(folder);
  server = await S3Server.start();
  await server.client().send(new CreateBucketCommand({ Bucket }));
  for (const [name, value] of Object.entries({
    AWS_ACCESS_KEY_ID: "a",
    AWS_SECRET_ACCESS_KEY: "b",
    AWS_REGION: "us-east-1",
  }))
    vi.stubEnv(name, value);
  writeFileSync("plain", plaintext);
  for (const name of ["a.jwk", "b.jwk"]) await run(["keygen", "-o", name]);
  said.notes.length = 0;
  await ok("put", "-k", "a.jwk", "plain", "s3://bucket/object");
  await ok("encrypt", "-k", "a.jwk", "plain", "-o", "sealed");
});
afterAll(async () => {
  process.chdir(home);
  vi.unstubAllEnvs();
  await server[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  said.notes.length = 0;
  said.printed.length = 0;
});

async function result(...args: readonly string[]): Promise<{ code: number; text: string }> {
  const separator = args.indexOf("--");
  const service = ["encrypt", "decrypt", "keygen"].includes(args[0] ?? "")
    ? []
    : ["--endpoint", server.endpoint];
  const all =
    separator < 0
      ? [...args, ...service]
      : [...args.slice(0, separator), ...service, ...args.slice(separator)];
  const code = await run(all);
  return { code, text: said.notes.splice(0).join("\n") };
}
async function ok(...args: readonly string[]): Promise<void> {
  expect(await result(...args), args.join(" ")).toEqual({ code: 0, text: "" });
}

test("required pairs are not stored, and every reader must give them", async () => {
  const address = "s3://bucket/required";
  await ok(
    "put",
    "-k",
    "a.jwk",
    "-c",
    "tenant=secret-name",
    "-c",
    "open=yes",
    "--required-context",
    "tenant",
    "plain",
    address,
  );
  const stored = server.object(Bucket, "required");
  expect(`${stored.body.toString("latin1")}${JSON.stringify(stored.headers)}`).not.toContain("secret-name");
  await ok("get", "-k", "a.jwk", "-c", "tenant=secret-name", address, "required.out");
  expect(readFileSync("required.out").equals(plaintext)).toBe(true);
  for (const context of [
    [],
    ["-c", "open=yes"],
    ["-c", "tenant=other"],
    ["-c", "tenant=secret-name", "-c", "more=1"],
  ])
    for (const command of [["verify"], ["get", "-f"], ["cat"], ["rewrap"]]) {
      const keys = command[0] === "rewrap" ? ["--from", "a.jwk", "--to", "b.jwk"] : ["-k", "a.jwk"];
      const target = command[0] === "get" ? ["other.out"] : [];
      expect(await result(...command, ...keys, ...context, address, ...target), command[0]).toMatchObject({
        code: 3,
      });
    }
  expect(existsSync("other.out")).toBe(false);
  await ok("rewrap", "--from", "a.jwk", "--to", "b.jwk", "-c", "tenant=secret-name", address);
  expect(server.object(Bucket, "required").body.toString("latin1")).not.toContain("secret-name");
  await ok("verify", "-k", "b.jwk", "-c", "tenant=secret-name", address);
  expect(await result("verify", "-k", "b.jwk", address)).toMatchObject({ code: 3 });
});

describe("refused before anything is sent", () => {
  const put = ["put", "-k", "a.jwk"];
  const single = [...put, "--format", "s3ec-v3"];
  const to = ["plain", "s3://bucket/refused"];
  test.each<[string, readonly string[]]>([
    ["a required key that is no pair", [...put, "--required-context", "tenant", ...to]],
    ["a required key of an s3ec object", [...single, "-c", "a=b", "--required-context", "a", ...to]],
    ["a suite of an s3ec object", [...single, "--suite", "0x0478", ...to]],
    ["a frame length of an s3ec object", [...single, "--frame-length", "4K", ...to]],
    ["the longest frame of an s3ec object", [...single, "--max-frame-length", "4K", ...to]],
    ["keys of an s3ec object", [...single, "--max-encrypted-data-keys", "2", ...to]],
    ["two keys of an s3ec object", [...single, "-k", "b.jwk", ...to]],
    ["a signature", [...put, "--suite", "0x0578", ...to]],
    ["an instruction file of a framed object", [...put, "--instruction-file", ...to]],
    ["its suffix alone", [...single, "--instruction-file-suffix", ".x", ...to]],
    ["a description of a framed object", [...put, "--material-description", "a=b", ...to]],
    ["the size of a file", [...put, "--expected-size", "1G", ...to]],
    ["discovery", [...put, "--kms-discovery", "111122223333", ...to]],
    ["half a lock", [...put, "--object-lock-mode", "GOVERNANCE", ...to]],
    ["the other half", [...put, "--object-lock-until", "2030-01-01", ...to]],
    [
      "a lock that does not exist",
      [...put, "--object-lock-mode", "SOFT", "--object-lock-until", "2030-01-01", ...to],
    ],
    ["a date that is none", [...put, "--expires", "tomorrow", ...to]],
    ["a day that is none", [...put, "--expires", "2030-13-45", ...to]],
    ["a checksum that does not exist", [...put, "--checksum-algorithm", "MD4", ...to]],
    ["two conditions", [...put, "--if-match", "x", "--no-overwrite", ...to]],
    ["a tag without a value", [...put, "--tag", "name", ...to]],
    ["a tag twice", [...put, "--tag", "a=1", "--tag", "a=2", ...to]],
    ["no time", [...put, "--timeout", "0", ...to]],
    ["a time of no unit", [...put, "--timeout", "5w", ...to]],
    ["a negative time", [...put, "--read-timeout", "-1", ...to]],
    ["a style that does not exist", [...put, "--addressing", "dns", ...to]],
    ["two files", [...put, "plain", "sealed", "s3://bucket/refused"]],
    ["no address", [...put, "plain"]],
    ["an address of another kind", [...put, "plain", "s4://bucket/refused"]],
    ["a bucket alone, from a pipe", [...put, "-", "s3://bucket"]],
    ["a file that cannot have the version", ["verify", "-k", "a.jwk", "--version-id", "1", "sealed"]],
    ["a file that is bound to nothing", ["verify", "-k", "a.jwk", "--bind", "none", "sealed"]],
    ["a file of no bucket", ["verify", "-k", "a.jwk", "--expected-bucket-owner", "1", "sealed"]],
    ["a file without a server's key", ["inspect", "--sse-c-key", "a.jwk", "sealed"]],
    ["a file without versions", ["inspect", "--version-id", "1", "sealed"]],
    ["a range that is none", ["cat", "-k", "a.jwk", "--range", "a-b", "s3://bucket/object"]],
  ])("%s", async (_name, args) => {
    const calls = server.calls.length;
    const { code, text } = await result(...args);
    expect({ code, text }).toMatchObject({ code: 2, text: expect.stringMatching(/^[^\n]{10,300}$/) });
    expect(server.calls.length).toBe(calls);
  });
});

describe("--max-plaintext", () => {
  const limit = String(plaintext.length);
  const less = String(plaintext.length - 1);
  test("of what is stored", async () => {
    await ok("put", "-k", "a.jwk", "--max-plaintext", limit, "plain", "s3://bucket/bounded");
    for (const source of [
      ["plain", "s3://bucket/long"],
      ["--from-command", "cat plain", "s3://bucket/long"],
    ])
      expect(await result("put", "-k", "a.jwk", "--max-plaintext", less, ...source)).toMatchObject({
        code: 1,
        text: "the input is longer than --max-plaintext; nothing is stored",
      });
    expect(server.buckets.get(Bucket)?.has("long")).toBe(false);
  });
  test("of what is read", async () => {
    for (const [command, ...more] of [["verify"], ["get", "bounded.out"]]) {
      const line = (max: string) => [
        command ?? "",
        "-k",
        "a.jwk",
        "--max-plaintext",
        max,
        "s3://bucket/object",
        ...more,
      ];
      expect(await result(...line(less))).toMatchObject({
        code: 1,
        text: expect.stringContaining("--max-plaintext"),
      });
      expect(existsSync("bounded.out")).toBe(false);
      await ok(...line(limit));
    }
  });
});

test("a file that changes while it is read is not stored", async () => {
  for (const change of [() => appendFileSync("growing", "more"), () => writeFileSync("growing", "short")]) {
    writeFileSync("growing", Buffer.alloc(12_000_000));
    let changed = false;
    server.fault = ({ query }) => {
      if (!changed && query.has("uploads")) change();
      changed ||= query.has("uploads");
      return undefined;
    };
    const { code, text } = await result(
      "put",
      "-k",
      "a.jwk",
      "--part-size",
      "5M",
      "growing",
      "s3://bucket/growing",
    );
    server.fault = () => undefined;
    expect({ code, text }).toEqual({
      code: 1,
      text: "growing: changed while it was read; nothing is stored",
    });
    expect(server.buckets.get(Bucket)?.has("growing")).toBe(false);
    expect(server.uploads.size).toBe(0);
  }
});

describe("get", () => {
  beforeAll(async () => {
    for (const key of ["dir/named", "..%2fescaped", "über größe"])
      await ok("put", "-k", "a.jwk", "--bind", "none", "plain", `s3://bucket/${key}`);
  });
  const get = (...more: string[]) => ["get", "-k", "a.jwk", "--bind", "none", ...more];

  test("names the file after the object, in the folder that is given", async () => {
    mkdirSync("folder");
    for (const [key, name] of [
      ["dir/named", "named"],
      ["..%2fescaped", "..%2fescaped"],
      ["über größe", "über größe"],
    ] as const) {
      await ok(...get(`s3://bucket/${key}`, "folder"));
      expect(readFileSync(path.join("folder", name)).equals(plaintext)).toBe(true);
    }
    expect(readdirSync("folder").sort()).toEqual(["..%2fescaped", "named", "über größe"]);
  });

  test("never takes a name that leads elsewhere or hides itself", async () => {
    const before = readdirSync(".").sort();
    for (const key of ["dir/..", "-", "a\\b", "line\nend"]) {
      const { code, text } = await result(...get(`s3://bucket/${key}`));
      expect({ code, text }, key).toEqual({
        code: 2,
        text: "the name of the object is no name of a file: name the target",
      });
    }
    for (const address of ["s3://bucket/dir/", "s3://bucket", "s3://bucket/", "s3:///key"])
      expect(await result(...get(address)), address).toMatchObject({ code: 2 });
    expect(await result(...get(`s3://bucket/${"n".repeat(300)}`))).toMatchObject({
      code: 1,
      text: expect.stringContaining("too long"),
    });
    expect(readdirSync(".").sort()).toEqual(before);
  });

  test("replaces nothing without --force, and asks for nothing then", async () => {
    writeFileSync("there", "older");
    const calls = server.calls.length;
    expect(await result(...get("s3://bucket/dir/named", "there"))).toEqual({
      code: 1,
      text: "there: exists already; --force replaces it",
    });
    expect(server.calls.length).toBe(calls);
    await ok(...get("--force", "s3://bucket/dir/named", "there"));
    expect(readFileSync("there").equals(plaintext)).toBe(true);
  });

  test("conditions", async () => {
    const eTag = server.object(Bucket, "object").eTag;
    const read = ["-k", "a.jwk", "s3://bucket/object"];
    await ok("verify", ...read, "--if-match", eTag);
    await ok("verify", ...read, "--if-match", eTag.replaceAll('"', ""));
    await ok("verify", ...read, "--if-none-match", "other");
    expect(await result("verify", ...read, "--if-match", "other")).toMatchObject({
      code: 1,
      text: expect.stringContaining("412"),
    });
    expect(await result("get", ...read, "out.304", "--if-none-match", eTag)).toMatchObject({
      code: 1,
      text: expect.stringContaining("304"),
    });
    expect(existsSync("out.304")).toBe(false);
  });
});

test("an access point holds a slash of its own", async () => {
  const { parseObjectAddress } = await import("../../src/cli/s3-options.ts");
  const arn = "arn:aws:s3:eu-west-1:111122223333:accesspoint/mine";
  expect(parseObjectAddress(`s3://${arn}/folder/key`)).toEqual({ Bucket: arn, Key: "folder/key" });
  expect(parseObjectAddress("s3://bucket/accesspoint/key")).toEqual({
    Bucket: "bucket",
    Key: "accesspoint/key",
  });
});

test("the help of put fits two screens", async () => {
  const program = await createProgram("put");
  const help: string[] = [];
  const command = program.commands.find((each) => each.name() === "put");
  command?.configureOutput({ writeOut: (text) => void help.push(text), getOutHelpWidth: () => 100 });
  command?.outputHelp();
  const lines = help.join("").split("\n");
  expect(lines.length).toBeGreaterThan(60);
  expect(lines.length).toBeLessThanOrEqual(100);
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(100);
});
