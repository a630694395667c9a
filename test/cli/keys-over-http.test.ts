// No command sends a key over plain http to another machine. The rows are made from the definitions of the commands: one
// that takes a key and has no row is red.
import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { CreateBucketCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { Command } from "commander";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { encryptFile } from "../../src/index.ts";
import { KmsKeyring } from "../../src/kms.ts";
import { encryptS3Client } from "../../src/s3.ts";
import { frameseal } from "../support/command-line.ts";
import { FakeKms } from "../support/fake-kms.ts";
import { S3Server } from "../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

const commandFiles = fileURLToPath(new URL("../../src/cli/", import.meta.url));
/** The options of each command that name a key which a request would carry. */
async function commandsWith(...flags: readonly string[]): Promise<readonly string[]> {
  const program = new Command();
  for (const file of readdirSync(commandFiles, { recursive: true, encoding: "utf8" })) {
    if (!file.endsWith(".ts") || file === "main.ts") continue;
    const { register } = (await import(path.join(commandFiles, file))) as {
      register?: (program: Command) => void;
    };
    register?.(program);
  }
  return program.commands
    .filter(({ options }) => options.some(({ long = "" }) => flags.includes(long ?? "")))
    .map((command) => command.name())
    .sort();
}

let folder: string;
let server: S3Server;
let kms: FakeKms;
let arn: string;
beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "frameseal-cli-"));
  [server, kms] = await Promise.all([S3Server.start(), FakeKms.start()]);
  arn = kms.createKey("us-east-1");
  writeFileSync(path.join(folder, "customer.key"), randomBytes(32));
  writeFileSync(path.join(folder, "body"), "text");
  await frameseal(["keygen", "-o", "a.jwk"], { cwd: folder });
  const keyring = new KmsKeyring({ client: kms.client("us-east-1"), generatorKeyId: arn });
  await encryptFile(path.join(folder, "body"), path.join(folder, "sealed"), { keyring });
  await server.client().send(new CreateBucketCommand({ Bucket: "bucket" }));
  await encryptS3Client(server.client(), { keyring }).send(
    new PutObjectCommand({ Bucket: "bucket", Key: "sealed", Body: "text" }),
  );
});
afterAll(async () => {
  await Promise.all([kms[Symbol.asyncDispose](), server[Symbol.asyncDispose]()]);
  rmSync(folder, { recursive: true });
});

const env = { AWS_ACCESS_KEY_ID: "a", AWS_SECRET_ACCESS_KEY: "b", AWS_REGION: "us-east-1" };
/** An address that leads to this machine and does not say so: what is sent arrives, and is seen. */
const exposed = (url: string): string => url.replace("127.0.0.1", "0.0.0.0");
/** The keys that left, to S3 and from KMS. */
const keysSent = (): number =>
  kms.calls.length +
  server.calls.filter(({ headers }) => JSON.stringify(headers).includes("customer-key")).length;
/** Runs a command that must be refused before any key leaves. */
async function refusedRun(
  args: readonly string[],
  more: Readonly<Record<string, string>> = {},
): Promise<void> {
  const before = keysSent();
  const { code, stderr } = await frameseal(args, { cwd: folder, env: { ...env, ...more } });
  expect([args[0], code, stderr]).toEqual([
    args[0],
    1,
    expect.stringMatching(/: http:\/\/0\.0\.0\.0 is refused, use https\n$/),
  ]);
  expect(keysSent()).toBe(before);
}

describe("--sse-c-key", () => {
  const object = "s3://bucket/key";
  const rows: Readonly<Record<string, readonly string[]>> = {
    cat: ["-k", "a.jwk", object],
    get: ["-k", "a.jwk", object, "out"],
    inspect: [object],
    put: ["-k", "a.jwk", "--sse", "c", "body", object],
    reencrypt: ["--from", "a.jwk", object],
    rewrap: ["--from", "a.jwk", "--to", "a.jwk", object],
    sync: ["-k", "a.jwk", "--sse", "c", "--no-journal", ".", "s3://bucket/tree/"],
    verify: ["-k", "a.jwk", object],
  };
  test("has a row for every command that takes it", async () => {
    expect(await commandsWith("--sse-c-key")).toEqual([...Object.keys(rows), "ls"].sort());
  });
  test("ls, which lists without it, and sends none", async () => {
    const before = keysSent();
    const args = ["ls", "-r", "--json", "--sizes", "head", "--sse-c-key", "customer.key", "s3://bucket/"];
    const { code, stdout } = await frameseal([...args, "--endpoint", exposed(server.endpoint)], {
      cwd: folder,
      env,
    });
    expect([code, stdout.toString()]).toEqual([0, expect.stringContaining('"key":"sealed"')]);
    expect(keysSent()).toBe(before);
  });
  test.each(Object.keys(rows).map((name) => [name]))("%s", async (name) => {
    const args = [name, "--sse-c-key", "customer.key", ...(rows[name] ?? [])];
    await refusedRun([...args, "--endpoint", exposed(server.endpoint)]);
  });
  test("and the endpoint of the environment", async () => {
    const args = ["cat", "-k", "a.jwk", "--sse-c-key", "customer.key", object];
    await refusedRun(args, { AWS_ENDPOINT_URL_S3: exposed(server.endpoint) });
  });
});

describe("keys of AWS KMS", () => {
  const object = "s3://bucket/sealed";
  const key = (): readonly string[] => ["--kms", arn];
  const rows: Readonly<Record<string, () => readonly string[]>> = {
    cat: () => [...key(), object],
    decrypt: () => [...key(), "sealed", "-o", "out"],
    encrypt: () => [...key(), "body", "-o", "out"],
    get: () => [...key(), object, "out"],
    put: () => [...key(), "body", object],
    reencrypt: () => ["--from", arn, "--to", "a.jwk", object],
    rewrap: () => ["--from", arn, "--to", "a.jwk", object],
    sync: () => [...key(), "--no-journal", ".", "s3://bucket/tree/"],
    verify: () => [...key(), object],
  };
  test("have a row for every command that takes them", async () => {
    expect(await commandsWith("--kms", "--kms-endpoint")).toEqual(Object.keys(rows));
  });
  test.each(Object.keys(rows).map((name) => [name]))("%s", async (name) => {
    const args = [name, ...(rows[name]?.() ?? []), "--kms-endpoint", exposed(kms.url)];
    const hasService = !["decrypt", "encrypt"].includes(name);
    await refusedRun(hasService ? [...args, "--endpoint", server.endpoint] : args);
  });
  test("and the other ways to say where KMS is", async () => {
    const args = ["encrypt", ...key(), "body", "-o", "out"];
    await refusedRun([...args, "--endpoint", exposed(kms.url)]);
    await refusedRun(args, { AWS_ENDPOINT_URL_KMS: exposed(kms.url) });
  });
});
