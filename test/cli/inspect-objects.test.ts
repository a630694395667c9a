// What inspect says of objects in S3: the same as the library that opens them, whatever stands beside them; and nothing
// that a terminal would obey.
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { CreateBucketCommand, PutObjectCommand, type S3Client } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { RawAesKeyring } from "../../src/index.ts";
import { type EncryptS3ClientOptions, encryptS3Client } from "../../src/s3.ts";
import { frameseal } from "../support/command-line.ts";
import { S3Server } from "../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

const Bucket = "bucket";
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
let folder: string;
let server: S3Server;
let plain: S3Client;
beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "frameseal-inspect-"));
  server = await S3Server.start();
  plain = server.client();
  await plain.send(new CreateBucketCommand({ Bucket }));
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

async function inspect(Key: string, ...more: string[]): Promise<string> {
  const env = { AWS_ACCESS_KEY_ID: "a", AWS_SECRET_ACCESS_KEY: "b", AWS_REGION: "us-east-1" };
  const args = ["inspect", ...more, `s3://${Bucket}/${Key}`, "--endpoint", server.endpoint];
  const { code, stdout, stderr } = await frameseal(args, { cwd: folder, env });
  expect(code, stderr).toBe(0);
  return stdout.toString();
}
const described = async (Key: string): Promise<Record<string, unknown>> =>
  JSON.parse(await inspect(Key, "--json"));
const put = (Key: string, options: Partial<EncryptS3ClientOptions> = {}, Metadata = {}) =>
  encryptS3Client(plain, { keyring, ...options }).send(
    new PutObjectCommand({ Bucket, Key, Body: "plaintext", Metadata }),
  );
const putPlain = (Key: string, Body: Buffer | string, Metadata = {}) =>
  plain.send(new PutObjectCommand({ Bucket, Key, Body, Metadata }));

test("an instruction file beside a framed object does not make it another format", async () => {
  await put("other", { format: "s3ec-v3", instructionFiles: "write" });
  await put("framed");
  await putPlain("framed.instruction", server.object(Bucket, "other.instruction").body);
  expect(await described("framed")).toMatchObject({ clientSideFormat: "framed" });
  expect(await described("other")).toMatchObject({
    clientSideFormat: "s3ec-v3",
    envelope: { place: "instruction file" },
  });
});

test("metadata that contradicts itself is told, not decided", async () => {
  const framed = { "frameseal-format": "framed" };
  const contradicting = [
    { ...framed, "x-amz-key-v2": "AA==", "x-amz-iv": "AA==" },
    { "frameseal-format": "other" },
    { "x-amz-key-v2": "AA==", "x-amz-3": "AA==" },
    { "x-amz-c": "115" },
  ];
  for (const metadata of contradicting) {
    await putPlain("contradicting", "text", metadata);
    expect(await described("contradicting")).toMatchObject({
      clientSideFormat: "unknown",
      problem: expect.any(String),
    });
    expect(await inspect("contradicting")).toContain("client side     unknown: ");
  }
  await putPlain("cut", "text", framed);
  expect(await described("cut")).toMatchObject({ clientSideFormat: "framed", problem: expect.any(String) });
  for (const clear of ["text", ""]) {
    await putPlain("clear", clear);
    expect(await described("clear")).toMatchObject({ clientSideFormat: "none" });
    expect((await described("clear")).problem).toBeUndefined();
  }
});

test("a header that is longer than most", async () => {
  const encryptionContext = { long: "x".repeat(65_000), more: "y".repeat(300) };
  await put("long", { encryptionContext });
  expect(await described("long")).toMatchObject({
    clientSideFormat: "framed",
    header: { encryptionContext },
  });
});

test("control, format and bidirectional characters are written out, in text and JSON", async () => {
  const evil = "\u001b[31m\u0007\u009b1m\u202ecba\u2066\u200f\u061c\ufeff\u2028\u00ad\u{e0041}";
  const name = `n${evil}`;
  const hostile = new RawAesKeyring({ keyNamespace: name, keyName: name, wrappingKey: randomBytes(32) });
  await put("hostile", { keyring: hostile, encryptionContext: { [evil]: evil } });
  const described = new RawAesKeyring({
    keyNamespace: "n",
    keyName: "k",
    wrappingKey: randomBytes(32),
    materialDescription: { [evil]: evil },
  });
  await put("described", { keyring: described, format: "s3ec-v3" });
  for (const key of ["hostile", "described"])
    for (const more of [[], ["--json"]]) {
      const text = await inspect(key, ...more);
      expect(text).toContain("\\u202ecba");
      expect(text.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\p{Cf}\u2028\u2029]/u);
    }
  expect(JSON.parse(await inspect("hostile", "--json")).header.encryptionContext).toEqual({
    [evil]: evil,
    "frameseal-key": "hostile",
  });
});
