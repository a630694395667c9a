// What inspect says of an object is what opening it would find: for objects of every format and place, whole, cut,
// altered and contradicting, both are run.
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { CreateBucketCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { run } from "../../src/cli/program.ts";
import { encrypt, RawAesKeyring } from "../../src/index.ts";
import { type EncryptS3ClientOptions, encryptS3Client } from "../../src/s3.ts";
import { observe } from "../support/observed-command.ts";
import { S3Server } from "../support/s3-server.ts";
import vectors from "../vectors/s3ec-objects.json" with { type: "json" };

vi.mock("node:fs", async (original) => {
  const { observedFs } = await import("../support/observed-command.ts");
  return observedFs(await original<typeof import("node:fs")>());
});

const Bucket = "bucket";
const wrappingKey = randomBytes(32);
const keyring = new RawAesKeyring({ keyNamespace: "frameseal", keyName: "a", wrappingKey });
const folder = mkdtempSync(path.join(tmpdir(), "frameseal-inspect-"));
const file = (name: string): string => path.join(folder, name);
const jwk = (kid: string, key: Uint8Array): string =>
  JSON.stringify({ kty: "oct", kid, k: Buffer.from(key).toString("base64url") });
let server: S3Server;

beforeAll(async () => {
  server = await S3Server.start();
  await server.client().send(new CreateBucketCommand({ Bucket }));
  writeFileSync(file("a.jwk"), jwk("a", wrappingKey), { mode: 0o600 });
  Object.assign(process.env, { AWS_ACCESS_KEY_ID: "a", AWS_SECRET_ACCESS_KEY: "b", AWS_REGION: "us-east-1" });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

const store = (Key: string, Body: Uint8Array | string, Metadata: Record<string, string> = {}) =>
  server.client().send(new PutObjectCommand({ Bucket, Key, Body, Metadata }));
const seal = (Key: string, options: Partial<EncryptS3ClientOptions> = {}) =>
  encryptS3Client(server.client(), { keyring, ...options }).send(
    new PutObjectCommand({ Bucket, Key, Body: Buffer.alloc(1000, "text") }),
  );
const old = { commitmentPolicy: "FORBID_ENCRYPT_ALLOW_DECRYPT" } as const;

/** Both commands on one object. */
async function both(Key: string, key = "a.jwk") {
  const address = [`s3://${Bucket}/${Key}`, "--endpoint", server.endpoint];
  const inspected = await observe(run, ["inspect", "--json", ...address]);
  expect(inspected, inspected.stderr).toMatchObject({ code: 0, stderr: "" });
  const opened = await observe(run, [
    ...["verify", "-k", file(key), "--bind", "none", "--commitment-policy", "REQUIRE_ENCRYPT_ALLOW_DECRYPT"],
    ...["--enable-legacy-wrapping-algorithms", "--enable-legacy-unauthenticated-modes", ...address],
  ]);
  const said = JSON.parse(inspected.stdout) as Readonly<Record<string, unknown>>;
  const text = (await observe(run, ["inspect", ...address])).stdout;
  expect(text).toContain(`s3://${Bucket}/${Key}`);
  return { said, opened, text };
}

/** What inspect must say, given what opening said. */
async function agree(Key: string, format: string, key?: string): Promise<void> {
  const { said, opened, text } = await both(Key, key);
  expect(said.clientSideFormat, opened.stderr).toBe(format);
  if (opened.code === 0) {
    expect(said).not.toHaveProperty("problem");
    expect(said).toHaveProperty(format === "framed" ? "header" : "envelope");
  } else if (opened.stderr.includes("is not encrypted")) {
    expect(said).toMatchObject({ clientSideFormat: "none" });
    expect(said).not.toHaveProperty("problem");
    expect(text).toContain("not encrypted by frameseal");
  } else {
    // In the words of opening, unless only the key can tell.
    const problem = said.problem as string | undefined;
    if (problem !== undefined) expect(opened.stderr).toContain(problem);
    else expect(opened.stderr).toMatch(/not authentic|before the final frame|goes on after/);
  }
}

test("framed objects, whole and not", async () => {
  await seal("framed");
  await agree("framed", "framed");
  const { body, headers } = server.object(Bucket, "framed");
  const metadata = Object.fromEntries(
    Object.entries(headers)
      .filter(([name]) => name.startsWith("x-amz-meta-"))
      .map(([name, value]) => [name.slice("x-amz-meta-".length), value]),
  );
  const message = Buffer.from(await encrypt(Buffer.alloc(1000), { keyring }));
  const altered = (at: number): Buffer =>
    Buffer.from(body.map((byte, index) => (index === at ? ~byte : byte)));
  for (const [name, bytes, told, format] of [
    ["no metadata", message, {}, "framed"],
    ["cut in its header", body.subarray(0, 30), metadata, "framed"],
    ["cut in its header, no metadata", message.subarray(0, 30), {}, "unknown"],
    ["cut in its body", body.subarray(0, -1), metadata, "framed"],
    ["longer", Buffer.concat([body, Buffer.of(0)]), metadata, "framed"],
    ["altered at its end", altered(body.length - 1), metadata, "framed"],
    ["of another version", altered(0), metadata, "framed"],
    ["of another version, no metadata", altered(0), {}, "none"],
    ["of no suite", altered(1), metadata, "framed"],
    ["in Base64", Buffer.from(body.toString("base64")), metadata, "framed"],
    ["in Base64, no metadata", Buffer.from(message.toString("base64")), {}, "none"],
    ["empty, with metadata", Buffer.alloc(0), metadata, "framed"],
    ["clear text", Buffer.from("clear text"), {}, "none"],
    ["clear text with metadata", Buffer.from("clear text"), metadata, "framed"],
    ["empty", Buffer.alloc(0), {}, "none"],
  ] as const) {
    const Key = name.replaceAll(/\W+/g, "-");
    await store(Key, bytes, told);
    await agree(Key, format);
  }
  await seal("many", { maxEncryptedDataKeys: 100, encryptionContext: { long: "x".repeat(60_000) } });
  await agree("many", "framed");
});

test("objects of the S3 Encryption Clients, of all versions and places", async () => {
  await seal("three", { format: "s3ec-v3" });
  await agree("three", "s3ec-v3");
  await seal("two", { format: "s3ec-v2", ...old });
  await agree("two", "s3ec-v2");
  await seal("beside", { format: "s3ec-v3", instructionFiles: "write" });
  await agree("beside", "s3ec-v3");
  const bucket = server.buckets.get(Bucket);
  bucket?.delete("beside.instruction");
  await agree("beside", "unknown");
  let count = 0;
  for (const [index, vector] of vectors.entries()) {
    const { aesKey, instructionFile } = vector as { aesKey?: string; instructionFile?: string };
    if (aesKey === undefined || !/17 bytes/.test(vector.name)) continue;
    const Key = `vector-${index}`;
    writeFileSync(file(`${Key}.jwk`), jwk(Key, Buffer.from(aesKey, "base64")), { mode: 0o600 });
    await store(
      Key,
      Buffer.from(vector.body, "base64"),
      Object.fromEntries(Object.entries(vector.metadata).map(([name, value]) => [name, value ?? ""])),
    );
    if (instructionFile !== undefined)
      await store(`${Key}.instruction`, instructionFile, { "x-amz-crypto-instr-file": "" });
    const version = /v1/.test(vector.name) ? 1 : /v3/.test(vector.name) ? 3 : 2;
    await agree(Key, `s3ec-v${version}`, `${Key}.jwk`);
    count++;
  }
  expect(count).toBeGreaterThan(8);
});

test("metadata that contradicts itself, or says nothing that is known", async () => {
  for (const [index, metadata] of [
    { "frameseal-format": "framed", "x-amz-key-v2": "AA==", "x-amz-iv": "AA==" },
    { "frameseal-format": "other" },
    { "x-amz-key-v2": "AA==", "x-amz-3": "AA==" },
    { "x-amz-c": "115" },
    { "x-amz-c": "999", "x-amz-3": "AA==" },
    {
      "x-amz-key-v2": "not base64!",
      "x-amz-iv": "AA==",
      "x-amz-wrap-alg": "AES/GCM",
      "x-amz-cek-alg": "AES/GCM/NoPadding",
    },
  ].entries()) {
    await store(`contradicting-${index}`, "text of some length", metadata as Record<string, string>);
    await agree(`contradicting-${index}`, "unknown");
  }
});
