import { createSecretKey, generateKeyPairSync, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { inspect } from "node:util";
import { CopyObjectCommand, GetObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { describe, expect, test } from "vitest";
import {
  asCopySource,
  deriveSseCKey,
  explainSseCFailure,
  type SseCKeyOptions,
  sseCVersionFromTags,
  sseCVersionTagging,
  withSseCKey,
} from "../../../src/s3/server-side/sse-c-key.ts";

interface Vector {
  readonly masterKey: string;
  readonly masterKeyVersion: number;
  readonly bucket: string;
  readonly key: string;
  readonly salt: string;
  readonly sseCKey: string;
  readonly md5: string;
}
// Made by Python's hmac and hashlib.
const vectors: readonly Vector[] = JSON.parse(
  readFileSync(new URL("./sse-c-vectors.json", import.meta.url), "utf8"),
);
const masterKey = randomBytes(32);
const options: SseCKeyOptions = { masterKey, masterKeyVersion: 1, bucket: "bucket", key: "key" };
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

describe("an SSE-C key", () => {
  test.each(vectors)(
    "of $bucket/$key version $masterKeyVersion salt '$salt' is what the vector says",
    (vector) => {
      const bytes = Buffer.from(vector.masterKey, "hex");
      for (const key of [bytes, createSecretKey(bytes)]) {
        const { masterKeyVersion, bucket, key: objectKey } = vector;
        const salt = Buffer.from(vector.salt, "hex");
        const derived = deriveSseCKey({ masterKey: key, masterKeyVersion, bucket, key: objectKey, salt });
        expect(derived.SSECustomerAlgorithm).toBe("AES256");
        expect(derived.SSECustomerKey).toBeInstanceOf(Uint8Array);
        expect(hex(derived.SSECustomerKey)).toBe(vector.sseCKey);
        expect(derived.SSECustomerKeyMD5).toBe(vector.md5);
      }
      expect(hex(bytes)).toBe(vector.masterKey);
    },
  );

  test("is never that of another object, version or salt", () => {
    expect(new Set(vectors.map(({ sseCKey }) => sseCKey)).size).toBe(vectors.length);
    const changed: Partial<SseCKeyOptions>[] = [
      {},
      { bucket: "bucke", key: "tkey" },
      { bucket: "bucketk", key: "ey" },
      { key: "key\0" },
      { key: "Key" },
      { masterKeyVersion: 2 },
      { salt: Buffer.from("salt") },
      { masterKey: randomBytes(32) },
    ];
    const keys = changed.map((change) => hex(deriveSseCKey({ ...options, ...change }).SSECustomerKey));
    expect(new Set(keys).size).toBe(changed.length);
    expect(hex(deriveSseCKey({ ...options, salt: new Uint8Array(0) }).SSECustomerKey)).toBe(keys[0]);
  });

  test.each([
    [{ masterKey: randomBytes(31) }, '"masterKey" expected 32 bytes, got 31'],
    [{ masterKey: createSecretKey(randomBytes(16)) }, '"masterKey" expected 32 bytes, got 16'],
    [
      { masterKey: generateKeyPairSync("ed25519").publicKey },
      '"masterKey" expected a secret key, got a public one',
    ],
    [{ masterKeyVersion: -1 }, '"masterKeyVersion" expected a whole number'],
    [{ masterKeyVersion: 2 ** 32 }, '"masterKeyVersion" expected a whole number'],
    [{ masterKeyVersion: 1.5 }, '"masterKeyVersion" expected a whole number'],
    [{ bucket: "" }, '"bucket" expected 1 to 255 bytes, got 0'],
    [{ key: "k".repeat(1025) }, '"key" expected 1 to 1024 bytes, got 1025'],
    [{ key: "\ud800" }, '"key" expected well-formed Unicode'],
  ])("refuses %o", (change, message) => {
    expect(() => deriveSseCKey({ ...options, ...change })).toThrow(message);
  });

  test("does not show itself, not even in a request", () => {
    const key = deriveSseCKey(options);
    const command = new PutObjectCommand({ Bucket: "bucket", Key: "key", ...key });
    const shown =
      inspect([key, command, asCopySource(key)], { depth: 9 }) + JSON.stringify([key, command.input]);
    const bytes = Buffer.from(key.SSECustomerKey);
    for (const form of [
      bytes.toString("hex"),
      bytes.toString("base64"),
      [...bytes].join(","),
      [...bytes].join(", "),
    ])
      expect(shown).not.toContain(form.slice(0, 16));
    expect(shown).toContain("<32 bytes>");
  });

  test("is sent by the SDK as S3 wants it, for objects and copies", async () => {
    const headers: Record<string, string>[] = [];
    const client = new S3Client({
      region: "eu-west-1",
      credentials: { accessKeyId: "a", secretAccessKey: "b" },
      requestHandler: {
        handle: async (request: { headers: Record<string, string> }) => {
          headers.push(request.headers);
          throw new Error("sent enough");
        },
      },
    });
    const key = deriveSseCKey(options);
    const object = { Bucket: "bucket", Key: "key" };
    for (const command of [
      new PutObjectCommand({ ...object, Body: "text", ...key }),
      new GetObjectCommand({ ...object, ...key }),
      new CopyObjectCommand({ ...object, CopySource: "bucket/key", ...key, ...asCopySource(key) }),
    ])
      await client.send(command as PutObjectCommand).catch(() => undefined);
    const base64 = Buffer.from(key.SSECustomerKey).toString("base64");
    const prefix = "server-side-encryption-customer";
    expect(headers).toHaveLength(3);
    for (const sent of headers)
      expect(sent).toMatchObject({
        [`x-amz-${prefix}-algorithm`]: "AES256",
        [`x-amz-${prefix}-key`]: base64,
        [`x-amz-${prefix}-key-md5`]: key.SSECustomerKeyMD5,
      });
    expect(headers[2]).toMatchObject({
      [`x-amz-copy-source-${prefix}-algorithm`]: "AES256",
      [`x-amz-copy-source-${prefix}-key`]: base64,
      [`x-amz-copy-source-${prefix}-key-md5`]: key.SSECustomerKeyMD5,
    });
  });
});

describe("versions of the master key", () => {
  const masterKeys = [1, 3, 2].map((masterKeyVersion) => ({ masterKey: randomBytes(32), masterKeyVersion }));
  const trial = { masterKeys, bucket: "bucket", key: "key" };
  const refusal = (httpStatusCode: number) =>
    Object.assign(new Error("no"), { $metadata: { httpStatusCode } });

  test("are tried newest first, until S3 accepts one; keys are wiped behind", async () => {
    const tried: number[] = [];
    const seen: Uint8Array[] = [];
    const answer = await withSseCKey(trial, async (key, version) => {
      tried.push(version);
      seen.push(key.SSECustomerKey);
      if (version > 1) throw refusal(version === 3 ? 403 : 400);
      return hex(key.SSECustomerKey);
    });
    expect(tried).toEqual([3, 2, 1]);
    expect(answer).toBe(
      hex(
        deriveSseCKey({
          bucket: "bucket",
          key: "key",
          masterKey: masterKeys[0]?.masterKey ?? masterKey,
          masterKeyVersion: 1,
        }).SSECustomerKey,
      ),
    );
    expect(seen.every((key) => key.every((byte) => byte === 0))).toBe(true);
  });

  test("that all fail are reported together, other failures at once", async () => {
    const failed = withSseCKey(trial, () => Promise.reject(refusal(403)));
    await expect(failed).rejects.toMatchObject({ code: "NO_DATA_KEY" });
    const error = await failed.catch((reason: Error) => reason);
    expect((error.cause as AggregateError).errors).toHaveLength(3);
    let calls = 0;
    const down = withSseCKey(trial, () => {
      calls += 1;
      return Promise.reject(refusal(503));
    });
    await expect(down).rejects.toThrow("no");
    expect(calls).toBe(1);
    await expect(withSseCKey({ ...trial, masterKeys: [] }, async () => 1)).rejects.toThrow(RangeError);
  });

  test("can be kept in a tag", () => {
    expect(sseCVersionTagging(7)).toBe("frameseal-sse-c-version=7");
    expect(
      sseCVersionFromTags([
        { Key: "a", Value: "1" },
        { Key: "frameseal-sse-c-version", Value: "7" },
      ]),
    ).toBe(7);
    for (const Value of ["", "-1", "07", "4294967296", "1e3", " 1"])
      expect(sseCVersionFromTags([{ Key: "frameseal-sse-c-version", Value }])).toBeUndefined();
    expect(sseCVersionFromTags(undefined)).toBeUndefined();
  });
});

test("a 403 is explained with the way out of it", () => {
  const refused = Object.assign(new Error("Access Denied"), { $metadata: { httpStatusCode: 403 } });
  expect(explainSseCFailure(refused)).toMatchObject({ code: "POLICY", cause: refused });
  expect(inspect(explainSseCFailure(refused))).toMatch(
    /April 2026.*put-bucket-encryption.*BlockedEncryptionTypes/s,
  );
  const other = new Error("x");
  expect(explainSseCFailure(other)).toBe(other);
});
