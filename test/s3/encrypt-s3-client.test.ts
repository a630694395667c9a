// What the encrypting client refuses, against a server of others: tampering, wrong parts, sources that fail.
import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  ListMultipartUploadsCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { startFauxqs } from "fauxqs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { RawAesKeyring } from "../../src/index.ts";
import { encryptS3Client } from "../../src/s3.ts";
import { getObject, outcomeOf } from "../support/s3-outcome.ts";

const F = 65_536;
const P = 5 * 2 ** 20;
const wrappingKey = Buffer.alloc(32, 3);
const data = randomBytes(3 * P + 5);
const Bucket = "bucket";

let server: Awaited<ReturnType<typeof startFauxqs>>;
let plain: S3Client;
let client: S3Client;

beforeAll(async () => {
  server = await startFauxqs({ port: 0, logger: false });
  plain = new S3Client({
    endpoint: `http://127.0.0.1:${server.port}`,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: { accessKeyId: "a", secretAccessKey: "b" },
  });
  await plain.send(new CreateBucketCommand({ Bucket }));
  const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey });
  client = encryptS3Client(plain, { keyring, partSize: P });
});
afterAll(async () => {
  plain.destroy();
  await server.stop();
});

const fetchBytes = (from: S3Client, Key: string, Range?: string) => getObject(from, { Bucket, Key, Range });

describe("refusals", () => {
  test("an object that is not encrypted", async () => {
    await plain.send(new PutObjectCommand({ Bucket, Key: "plain", Body: "clear text" }));
    expect(await outcomeOf(fetchBytes(client, "plain"))).toBe("NOT_ENCRYPTED");
    await plain.send(new PutObjectCommand({ Bucket, Key: "empty", Body: "" }));
    expect(await outcomeOf(fetchBytes(client, "empty"))).toBe("NOT_ENCRYPTED");
  });

  test("an object under another's key", async () => {
    await client.send(new PutObjectCommand({ Bucket, Key: "one", Body: "of one" }));
    await plain.send(new CopyObjectCommand({ Bucket, Key: "two", CopySource: `${Bucket}/one` }));
    expect(await outcomeOf(fetchBytes(client, "two"))).toBe("CONTEXT_MISMATCH");
    expect(await outcomeOf(fetchBytes(client, "two", "bytes=0-1"))).toBe("CONTEXT_MISMATCH");
    const copy = new CopyObjectCommand({ Bucket, Key: "three", CopySource: `${Bucket}/one` });
    expect(await outcomeOf(client.send(copy))).toBe("POLICY");
  });

  test("a body that was altered, cut or extended, whole and in ranges", async () => {
    await client.send(new PutObjectCommand({ Bucket, Key: "body", Body: data.subarray(0, 3 * F + 9) }));
    const { bytes, Metadata } = await fetchBytes(plain, "body");
    const put = (Body: Buffer) => plain.send(new PutObjectCommand({ Bucket, Key: "body", Body, Metadata }));
    const flipped = Buffer.from(bytes);
    flipped[F + 500] = (flipped[F + 500] ?? 0) ^ 1;
    await put(flipped);
    expect(await outcomeOf(fetchBytes(client, "body"))).toBe("AUTHENTICATION_FAILED");
    expect(await outcomeOf(fetchBytes(client, "body", `bytes=${F}-${F + 9}`))).toBe("AUTHENTICATION_FAILED");
    for (const changed of [
      bytes.subarray(0, -1),
      bytes.subarray(0, 2 * F),
      Buffer.concat([bytes, Buffer.of(0)]),
    ]) {
      await put(changed);
      for (const range of [undefined, "bytes=0-9"])
        expect(await outcomeOf(fetchBytes(client, "body", range))).toMatch(
          /^(AUTHENTICATION_FAILED|TRUNCATED|TRAILING_DATA)$/,
        );
    }
  });

  test("a part that is sent again with other bytes, is too long, or is missing", async () => {
    const Key = "parts";
    const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key }));
    const part = (PartNumber: number, Body: Buffer) =>
      client.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }));
    const { ETag } = await part(1, data.subarray(0, P));
    expect((await part(1, data.subarray(0, P))).ETag).toBe(ETag);
    expect(await outcomeOf(part(1, data.subarray(1, P + 1)))).toBe("POLICY");
    expect(await outcomeOf(part(2, data.subarray(0, P + F)))).not.toBe("accepted");
    const third = await part(3, data.subarray(0, 100));
    const complete = new CompleteMultipartUploadCommand({
      Bucket,
      Key,
      UploadId,
      MultipartUpload: {
        Parts: [
          { ETag, PartNumber: 1 },
          { ETag: third.ETag, PartNumber: 3 },
        ],
      },
    });
    expect(await outcomeOf(client.send(complete))).not.toBe("accepted");
  });

  test("a source that fails leaves no upload behind", async () => {
    const before = (await plain.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads?.length ?? 0;
    const Body = Readable.from(
      (async function* () {
        yield data.subarray(0, 2 * P);
        throw new Error("source is gone");
      })(),
      { objectMode: false },
    );
    await expect(client.send(new PutObjectCommand({ Bucket, Key: "gone", Body }))).rejects.toThrow(
      "source is gone",
    );
    expect((await plain.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads?.length ?? 0).toBe(before);
    expect(await outcomeOf(fetchBytes(plain, "gone"))).toBe("NoSuchKey");
  });

  test("the caller's checksums, and PartNumber on reading", async () => {
    const put = new PutObjectCommand({ Bucket, Key: "x", Body: "x", ContentMD5: "1B2M2Y8AsgTpgAmY7PhCfg==" });
    await expect(client.send(put)).rejects.toThrow("ContentMD5");
    const get = new GetObjectCommand({ Bucket, Key: "one", PartNumber: 1 });
    expect(await outcomeOf(client.send(get))).toBe("UNSUPPORTED");
  });
});
