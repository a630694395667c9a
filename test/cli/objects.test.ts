// The commands for objects of S3, run as a user would, against a server on loopback.
import { execFile, execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { CreateBucketCommand } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { setDefaultEncryption, sseS3 } from "../../src/s3.ts";
import { frameseal, type RunOptions } from "../support/command-line.ts";
import { FakeKms } from "../support/fake-kms.ts";
import { S3Server } from "../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

const bucket = "bucket";
const body = randomBytes(9 * 2 ** 20 + 7);
let folder: string;
let server: S3Server;
let kms: FakeKms;

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "frameseal-cli-"));
  server = await S3Server.start();
  kms = await FakeKms.start();
  await server.client().send(new CreateBucketCommand({ Bucket: bucket }));
  for (const name of ["a.jwk", "b.jwk"]) await run(["keygen", "-o", name]);
  writeFileSync(path.join(folder, "body"), body);
});
afterAll(async () => {
  await kms[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

const environment = { AWS_ACCESS_KEY_ID: "a", AWS_SECRET_ACCESS_KEY: "b", AWS_REGION: "us-east-1" };
const run = (args: readonly string[], options: Partial<RunOptions> = {}) =>
  frameseal(args, { cwd: folder, ...options, env: { ...environment, ...options.env } });
/** Runs a command for objects and returns its standard output. */
async function ok(...args: string[]): Promise<Buffer> {
  const result = await run([...args, "--endpoint", server.endpoint]);
  expect(result.code, `${args.join(" ")}: ${result.stderr}`).toBe(0);
  return result.stdout;
}
async function failing(...args: string[]): Promise<{ code: number | null; stderr: string }> {
  return run([...args, "--endpoint", server.endpoint]);
}

const policies = {
  framed: [],
  "s3ec-v3": [],
  "s3ec-v2": ["--commitment-policy", "FORBID_ENCRYPT_ALLOW_DECRYPT"],
};

describe.each(Object.entries(policies))("%s", (format, policy) => {
  const address = `s3://${bucket}/${format}/body`;

  test("put, get, cat, verify, inspect and rewrap", async () => {
    await ok("put", "-k", "a.jwk", "--format", format, ...policy, "--metadata", "own=1", "body", address);
    expect(server.object(bucket, `${format}/body`).headers).toMatchObject({ "x-amz-meta-own": "1" });
    await ok("get", "-k", "a.jwk", ...policy, address, `${format}.out`);
    expect(readFileSync(path.join(folder, `${format}.out`)).equals(body)).toBe(true);
    expect((await ok("cat", "-k", "a.jwk", ...policy, address)).equals(body)).toBe(true);
    const small = ["--buffer-size", "1M"];
    expect((await ok("cat", "-k", "a.jwk", ...policy, ...small, address)).equals(body)).toBe(true);
    await ok("verify", "-k", "a.jwk", ...policy, address);
    const ranged = ["cat", "-k", "a.jwk", ...policy, "--range", "1000000-1000099", address];
    if (format === "framed") expect((await ok(...ranged)).equals(body.subarray(1e6, 1e6 + 100))).toBe(true);
    else {
      expect(await failing(...ranged)).toMatchObject({ code: 1 });
      const allowed = [...ranged, "--enable-legacy-unauthenticated-modes"];
      expect((await ok(...allowed)).equals(body.subarray(1e6, 1e6 + 100))).toBe(true);
    }
    const described = JSON.parse((await ok("inspect", "--json", address)).toString());
    expect(described).toMatchObject({ clientSideFormat: format });
    await ok("rewrap", "--from", "a.jwk", "--to", "b.jwk", ...policy, "--enforce-rotation", address);
    expect(await failing("verify", "-k", "a.jwk", ...policy, address)).toMatchObject({ code: 3 });
    await ok("verify", "-k", "b.jwk", ...policy, address);
  });

  test("an altered object leaves no file and exit code 3", async () => {
    const key = `${format}/altered`;
    await ok("put", "-k", "a.jwk", "--format", format, ...policy, "body", `s3://${bucket}/${key}`);
    const stored = server.object(bucket, key);
    stored.body = Buffer.from(stored.body);
    stored.body[5_000_000] = (stored.body[5_000_000] ?? 0) ^ 1;
    const get = ["get", "-k", "a.jwk", ...policy, `s3://${bucket}/${key}`];
    expect(await failing(...get, "altered.out")).toMatchObject({ code: 3 });
    expect(() => readFileSync(path.join(folder, "altered.out"))).toThrow("ENOENT");
    // Of a framed object the verified beginning may come out of a pipe; of a single message nothing may.
    const check = (released: Buffer): void => {
      if (format !== "framed") expect(released.length).toBe(0);
      expect(body.subarray(0, released.length).equals(released)).toBe(true);
    };
    const piped = await run([...get, "-", "--endpoint", server.endpoint]);
    expect(piped.code).toBe(3);
    check(piped.stdout);
    const fifo = path.join(folder, `${format}.fifo`);
    execFileSync("mkfifo", [fifo]);
    const reader = promisify(execFile)("cat", [fifo], { encoding: "buffer", maxBuffer: 2 ** 26 });
    expect(await failing(...get, fifo)).toMatchObject({ code: 3 });
    check((await reader).stdout);
  });
});

test("KMS, with a context and an instruction file", async () => {
  const arn = kms.createKey("us-east-1");
  const address = `s3://${bucket}/kms`;
  const service = ["--kms-endpoint", String((await kms.client("us-east-1").config.endpoint?.())?.hostname)];
  const endpoint = await kms.client("us-east-1").config.endpoint?.();
  service[1] = `http://${endpoint?.hostname}:${endpoint?.port}`;
  const key = ["--kms", arn, ...service, "-c", "team=α"];
  await ok("put", ...key, "--format", "s3ec-v3", "--instruction-file", "body", address);
  expect(server.object(bucket, "kms.instruction").body.toString()).toContain("\\u03b1");
  expect((await ok("cat", ...key, address)).equals(body)).toBe(true);
  expect((await ok("inspect", address)).toString()).toContain("envelope in its instruction file");
  const wrong = ["--kms", arn, ...service, "-c", "team=beta"];
  expect(await failing("cat", ...wrong, address)).toMatchObject({ code: 3 });
});

test.each([
  ["a context with a raw key", ["put", "-k", "a.jwk", "--format", "s3ec-v3", "-c", "a=b", "body"], 1],
  ["version 2 under the default policy", ["put", "-k", "a.jwk", "--format", "s3ec-v2", "body"], 1],
  ["a frame length", ["put", "-k", "a.jwk", "--format", "s3ec-v3", "--frame-length", "4K", "body"], 2],
  ["two keys", ["put", "-k", "a.jwk", "-k", "b.jwk", "--format", "s3ec-v3", "body"], 2],
  ["an unknown format", ["put", "-k", "a.jwk", "--format", "zip", "body"], 2],
  ["an instruction file of a framed object", ["put", "-k", "a.jwk", "--instruction-file", "body"], 2],
])("%s is refused before anything is stored", async (_, args, code) => {
  const calls = server.calls.length;
  const result = await failing(...args, `s3://${bucket}/refused`);
  expect(result).toMatchObject({ code });
  expect(result.stderr).not.toBe("");
  expect(server.calls.length).toBe(calls);
});

describe("server-side encryption", () => {
  const arn = "arn:aws:kms:us-east-1:111122223333:key/1";
  /** Runs a command over https. */
  async function secure(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
    const trusted = path.join(folder, "loopback.pem");
    writeFileSync(trusted, server.certificate);
    const more = ["--endpoint", server.secureEndpoint];
    const result = await run([...args, ...more], { env: { NODE_EXTRA_CA_CERTS: trusted } });
    return { ...result, stdout: result.stdout.toString() };
  }
  const addressOf = (name: string): string => `s3://${bucket}/sse/${name}`;

  test.each([
    ["s3", ["--sse", "s3"], "AES256", undefined],
    ["kms", ["--sse", "kms", "--sse-kms-key", arn], "aws:kms", arn],
  ])("%s: put asks for it, inspect tells it", async (name, options, algorithm, keyId) => {
    server.kmsKeys.set(arn, "enabled");
    await ok("put", "-k", "a.jwk", ...options, "body", addressOf(name));
    const described = JSON.parse((await ok("inspect", "--json", addressOf(name))).toString());
    expect(described).toMatchObject({ clientSideFormat: "framed", serverSideEncryption: algorithm });
    expect(described.serverSideKeyId).toBe(keyId);
    const text = (await ok("inspect", addressOf(name))).toString();
    expect(text).toContain(`server side     ${algorithm}${keyId === undefined ? "" : `, key ${keyId}`}\n`);
    await ok("verify", "-k", "a.jwk", addressOf(name));
  });

  test("c: every command needs the key, and its payloads are not signed", async () => {
    const address = addressOf("c");
    writeFileSync(path.join(folder, "customer.key"), randomBytes(32));
    const customer = ["--sse-c-key", "customer.key"];
    const put = await secure("put", "-k", "a.jwk", "--sse", "c", ...customer, "body", address);
    expect(put).toMatchObject({ code: 1, stderr: expect.stringContaining("blocked") });
    await setDefaultEncryption(server.client(), bucket, { encryption: sseS3(), customerKeys: "allow" });
    expect(await secure("put", "-k", "a.jwk", "--sse", "c", ...customer, "body", address)).toMatchObject({
      code: 0,
    });
    const parts = server.calls.filter(({ method, query }) => method === "PUT" && query.has("partNumber"));
    expect(parts.at(-1)?.headers["x-amz-content-sha256"]).toBe("UNSIGNED-PAYLOAD");
    expect(await secure("get", "-k", "a.jwk", ...customer, address, "c.out")).toMatchObject({ code: 0 });
    expect(readFileSync(path.join(folder, "c.out")).equals(body)).toBe(true);
    expect(await secure("verify", "-k", "a.jwk", ...customer, address)).toMatchObject({ code: 0 });
    const inspected = await secure("inspect", ...customer, address);
    expect(inspected.stdout).toContain("server side     SSE-C\n");
    for (const command of [["verify", "-k", "a.jwk"], ["inspect"]])
      expect((await secure(...command, address)).code).not.toBe(0);
  });

  test("policy: made, applied, shown, explained", async () => {
    await server.client().send(new CreateBucketCommand({ Bucket: "demanding" }));
    const options = ["policy", "demanding", "--require", "kms", "--kms-key", arn, "--forbid-sse-c"];
    const made = await secure(...options);
    expect(JSON.parse(made.stdout).Statement.length).toBe(6);
    expect(await secure(...options, "--apply")).toMatchObject({ code: 0, stdout: made.stdout });
    const address = "s3://demanding/object";
    const put = (...more: string[]) => secure("put", "-k", "a.jwk", ...more, "body", address);
    expect((await put()).code).toBe(1);
    expect((await put("--sse", "s3")).code).toBe(1);
    expect((await put("--sse", "kms", "--sse-kms-key", arn)).code).toBe(0);
    expect((await failing("verify", "-k", "a.jwk", address)).code).toBe(1); // plain http
    const shown = await secure("policy", "demanding", "--show");
    expect(shown.stdout).toContain(`denies uploads with another KMS key than ${arn}`);
    expect(shown.stdout).toContain("uploads without encryption: denied\nplain http: denied");
    writeFileSync(path.join(folder, "policy.json"), made.stdout);
    const explained = await run(["policy", "--explain", "policy.json", "--json"]);
    expect(JSON.parse(explained.stdout.toString())).toMatchObject({
      demandsEncryption: true,
      demandsTls: true,
    });
    writeFileSync(path.join(folder, "policy.json"), "{}");
    expect(await run(["policy", "--explain", "policy.json"])).toMatchObject({ code: 1 });
    expect(await run(["policy", "demanding", "--require", "magic"])).toMatchObject({ code: 2 });
  });
});

test("put from standard input and cat into standard output, with a range", async () => {
  const address = `s3://${bucket}/piped`;
  const put = ["put", "-k", "a.jwk", address, "--endpoint", server.endpoint];
  expect(await run(put, { stdin: body })).toMatchObject({ code: 0 });
  const cat = async (range: string): Promise<Buffer> => ok("cat", "-k", "a.jwk", "--range", range, address);
  expect((await ok("cat", "-k", "a.jwk", address)).equals(body)).toBe(true);
  expect((await cat("0-99")).equals(body.subarray(0, 100))).toBe(true);
  expect((await cat("9000000-")).equals(body.subarray(9_000_000))).toBe(true);
  expect((await cat("-5")).equals(body.subarray(-5))).toBe(true);
  expect((await failing("cat", "-k", "a.jwk", "--range", `${body.length}-`, address)).code).toBe(1);
  expect(await run([...put, "--no-overwrite"], { stdin: body })).toMatchObject({ code: 1 });
});

test("put keeps parts within --memory, on disk in --spool-folder if need be, and sizes them by --expected-size", async () => {
  const parts = async (...options: readonly string[]): Promise<number> => {
    const before = server.calls.length;
    const args = [
      "put",
      "-k",
      "a.jwk",
      ...options,
      "-",
      `s3://${bucket}/piped`,
      "--endpoint",
      server.endpoint,
    ];
    const result = await run(args, { stdin: Buffer.concat([body, body, body]) });
    expect(result.code, result.stderr.toString()).toBe(0);
    return server.calls.slice(before).filter(({ query }) => query.has("partNumber")).length;
  };
  expect(await parts("--memory", "16M")).toBeGreaterThan(3);
  expect(await parts("--expected-size", "120G", "--memory", "128M")).toBe(2);
  expect(await parts("--memory", "16M", "--part-size", "20M", "--spool-folder", ".")).toBe(2);
  expect((await ok("cat", "-k", "a.jwk", `s3://${bucket}/piped`)).length).toBe(3 * body.length);
  const nowhere = ["--memory", "16M", "--part-size", "20M", "--spool-folder", "none"];
  const args = ["put", "-k", "a.jwk", ...nowhere, "-", `s3://${bucket}/none`, "--endpoint", server.endpoint];
  expect((await run(args, { stdin: Buffer.concat([body, body]) })).stderr.toString()).toContain(
    "--spool-folder",
  );
});
