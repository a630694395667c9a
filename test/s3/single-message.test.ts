// Objects of the S3 Encryption Clients through the encrypting client, against an independent S3 server, a strict KMS and
// an independent reader.
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { DecryptCommand } from "@aws-sdk/client-kms";
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Keyring, RawAesKeyring, RawRsaKeyring } from "../../src/index.ts";
import { KmsKeyring } from "../../src/kms.ts";
import {
  type EncryptS3ClientOptions,
  encryptS3Client,
  exportMultipartUpload,
  importMultipartUpload,
} from "../../src/s3.ts";
import { FakeKms } from "../support/fake-kms.ts";
import { S3Server } from "../support/s3-server.ts";
import { openByOracle } from "./s3ec-oracle.ts";

const P = 5 * 2 ** 20;
const Bucket = "bucket";
const data = randomBytes(3 * P + 5);
const names = { keyNamespace: "n", keyName: "k" };
const wrappingKey = randomBytes(32);
const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });

let server: S3Server;
let kms: FakeKms;
let plain: S3Client;
let keyrings: Readonly<Record<string, Keyring>>;

beforeAll(async () => {
  server = await S3Server.start();
  kms = await FakeKms.start();
  plain = server.client();
  await plain.send(new CreateBucketCommand({ Bucket }));
  keyrings = {
    aes: new RawAesKeyring({ ...names, wrappingKey, materialDescription: { name: "Schlüssel 鍵" } }),
    rsa: new RawRsaKeyring({ ...names, privateKey, publicKey, padding: "OAEP-SHA-256" }),
    kms: new KmsKeyring({ client: kms.client(), generatorKeyId: kms.createKey() }),
  };
});
afterAll(async () => {
  await kms[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

const policies = {
  "s3ec-v2": "FORBID_ENCRYPT_ALLOW_DECRYPT",
  "s3ec-v3": "REQUIRE_ENCRYPT_REQUIRE_DECRYPT",
} as const;

function clientFor(
  format: "s3ec-v2" | "s3ec-v3",
  key: string,
  more: Partial<EncryptS3ClientOptions> = {},
): S3Client {
  return encryptS3Client(plain, {
    keyring: keyrings[key] as Keyring,
    format,
    commitmentPolicy: policies[format],
    partSize: P,
    ...(key === "kms" ? { encryptionContext: { team: "α", job: "1" } } : {}),
    ...more,
  });
}

const stream = (bytes: Uint8Array): Readable =>
  Readable.from(
    (function* () {
      for (let at = 0; at < bytes.length; at += 100_000) yield bytes.subarray(at, at + 100_000);
    })(),
    { objectMode: false },
  );

async function get(from: S3Client, Key: string, Range?: string) {
  const output = await from.send(new GetObjectCommand({ Bucket, Key, Range }));
  return { ...output, bytes: Buffer.from((await output.Body?.transformToByteArray()) ?? []) };
}
const code = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => "accepted",
    (error) => error.code ?? error.name,
  );

async function byHand(client: S3Client, Key: string, bytes: Buffer): Promise<void> {
  const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key }));
  const count = Math.max(1, Math.ceil(bytes.length / P));
  const parts: { ETag: string | undefined; PartNumber: number }[] = [];
  const order = [1, ...Array.from({ length: count - 1 }, (_, index) => count - index), 1];
  for (const PartNumber of order) {
    const Body = bytes.subarray((PartNumber - 1) * P, PartNumber * P);
    const { ETag } = await client.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }));
    parts[PartNumber - 1] = { ETag, PartNumber };
  }
  const MultipartUpload = { Parts: parts };
  await client.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload }));
}

const ways: Readonly<Record<string, (client: S3Client, Key: string, bytes: Buffer) => Promise<unknown>>> = {
  buffer: (client, Key, Body) =>
    client.send(new PutObjectCommand({ Bucket, Key, Body, Metadata: { own: "x" } })),
  stream: (client, Key, bytes) => client.send(new PutObjectCommand({ Bucket, Key, Body: stream(bytes) })),
  Upload: (client, Key, bytes) =>
    new Upload({ client, partSize: P, params: { Bucket, Key, Body: stream(bytes) } }).done(),
  "parts by hand": byHand,
};
const short = Array.from({ length: 26 }, (_, length) => length);
const long = [2 ** 20, P - 1, P, P + 1, 3 * P, 3 * P + 5];

function readByOracle(entries: Readonly<Record<string, string>>, body: Buffer): Promise<Buffer> {
  return openByOracle(entries, body, {
    aes: wrappingKey,
    rsa: privateKey,
    unwrapKms: async (CiphertextBlob, EncryptionContext) => {
      const { Plaintext } = await kms
        .client()
        .send(new DecryptCommand({ CiphertextBlob, EncryptionContext }));
      return Plaintext ?? new Uint8Array(0);
    },
  });
}

const kinds = (["s3ec-v2", "s3ec-v3"] as const).flatMap((format) =>
  ["aes", "rsa", "kms"].map((key) => [format, key] as const),
);

describe.each(kinds)("%s, %s", (format, key) => {
  test.each(Object.keys(ways))("by %s", { timeout: 60_000 }, async (way) => {
    const client = clientFor(format, key);
    const reader = clientFor(format, key, { enableLegacyUnauthenticatedModes: true });
    for (const length of way === "buffer" ? [...short, ...long] : [0, 1, 16, ...long]) {
      const bytes = data.subarray(0, length);
      const Key = `${format}/${key}/${way}/${length}`;
      await ways[way]?.(client, Key, bytes);
      const whole = await get(client, Key);
      expect(whole.bytes.equals(bytes), Key).toBe(true);
      expect(whole.ContentLength).toBe(length);
      expect(whole.Metadata).toEqual(way === "buffer" ? { own: "x" } : {});
      expect((await client.send(new HeadObjectCommand({ Bucket, Key }))).ContentLength).toBe(length);
      const stored = await get(plain, Key);
      expect(stored.bytes.length).toBe(length + 16);
      expect((await readByOracle(stored.Metadata ?? {}, stored.bytes)).equals(bytes), Key).toBe(true);
      for (const [first, last] of [
        [0, 0],
        [0, length - 1],
        [length - 1, length - 1],
        [15, 16],
        [P - 1, P + 20],
        [7, length + 100],
      ] as const) {
        const range = `bytes=${first}-${last}`;
        if (first < 0 || last < first) continue;
        if (first >= length) expect(await code(get(reader, Key, range))).toBe("RANGE_NOT_SATISFIABLE");
        else
          expect((await get(reader, Key, range)).bytes.equals(bytes.subarray(first, last + 1)), range).toBe(
            true,
          );
      }
      expect(await code(get(client, Key, "bytes=0-0"))).toBe("POLICY");
    }
  });

  test("every mode, also for a body longer than the buffer", async () => {
    const Key = `${format}/${key}/modes`;
    const bytes = data.subarray(0, 2 * P + 3);
    await clientFor(format, key).send(new PutObjectCommand({ Bucket, Key, Body: bytes }));
    for (const authentication of ["verified", "buffered", "two-pass", "delayed"] as const)
      for (const engine of ["native", "node"])
        expect((await get(clientFor(format, key, { authentication, engine }), Key)).bytes.equals(bytes)).toBe(
          true,
        );
    const small = { bufferSize: P };
    expect((await get(clientFor(format, key, small), Key)).bytes.equals(bytes)).toBe(true);
    expect(await code(get(clientFor(format, key, { ...small, authentication: "buffered" }), Key))).toBe(
      "LIMIT_EXCEEDED",
    );
  });

  test("an instruction file", async () => {
    const client = clientFor(format, key, { instructionFiles: "write" });
    const Key = `${format}/${key}/file`;
    await client.send(new PutObjectCommand({ Bucket, Key, Body: data.subarray(0, 1000) }));
    const reader = clientFor(format, key);
    expect((await get(reader, Key)).bytes.equals(data.subarray(0, 1000))).toBe(true);
    expect((await reader.send(new HeadObjectCommand({ Bucket, Key }))).ContentLength).toBe(1000);
    const stored = await get(plain, Key);
    const file = await get(plain, `${Key}.instruction`);
    expect(file.Metadata).toEqual({ "x-amz-crypto-instr-file": "" });
    expect(Object.keys(stored.Metadata ?? {}).sort()).toEqual(
      format === "s3ec-v3" ? ["x-amz-c", "x-amz-d", "x-amz-i"] : [],
    );
    const entries = { ...stored.Metadata, ...(JSON.parse(file.bytes.toString()) as Record<string, string>) };
    expect((await readByOracle(entries, stored.bytes)).equals(data.subarray(0, 1000))).toBe(true);
    expect(await code(get(clientFor(format, key, { instructionFiles: "ignore" }), Key))).not.toBe("accepted");
    const copy = new CopyObjectCommand({ Bucket, Key: `${Key}-copy`, CopySource: `${Bucket}/${Key}` });
    expect(await code(client.send(copy))).toBe("POLICY");
    await client.send(new DeleteObjectCommand({ Bucket, Key }));
    expect(await code(get(plain, `${Key}.instruction`))).toBe("NoSuchKey");
  });

  test("a copy, with new metadata or without", async () => {
    const client = clientFor(format, key);
    const Key = `${format}/${key}/original`;
    await client.send(new PutObjectCommand({ Bucket, Key, Body: "text", Metadata: { a: "1" } }));
    const CopySource = `${Bucket}/${Key}`;
    await client.send(new CopyObjectCommand({ Bucket, Key: `${Key}-1`, CopySource }));
    const replace = { MetadataDirective: "REPLACE", Metadata: { b: "2" } } as const;
    await client.send(new CopyObjectCommand({ Bucket, Key: `${Key}-2`, CopySource, ...replace }));
    const [first, second] = [await get(client, `${Key}-1`), await get(client, `${Key}-2`)];
    expect([first.bytes.toString(), first.Metadata]).toEqual(["text", { a: "1" }]);
    expect([second.bytes.toString(), second.Metadata]).toEqual(["text", { b: "2" }]);
  });

  test("an upload that another process finishes", async () => {
    const [one, other] = [clientFor(format, key), clientFor(format, key)];
    const Key = `${format}/${key}/handed over`;
    const { UploadId } = await one.send(new CreateMultipartUploadCommand({ Bucket, Key }));
    const part = async (client: S3Client, PartNumber: number) => {
      const Body = data.subarray((PartNumber - 1) * P, PartNumber * P);
      const { ETag } = await client.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }));
      return { ETag, PartNumber };
    };
    const parts = [await part(one, 1), await part(one, 2)];
    const state = await exportMultipartUpload(one, UploadId ?? "");
    const text = JSON.stringify(state);
    for (const dataKey of kms.dataKeys) expect(text).not.toContain(dataKey.toString("base64"));
    await importMultipartUpload(other, JSON.parse(text));
    parts.push(await part(other, 3), await part(other, 4));
    const MultipartUpload = { Parts: parts };
    await other.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload }));
    expect((await get(one, Key)).bytes.equals(data)).toBe(true);
  });
});
