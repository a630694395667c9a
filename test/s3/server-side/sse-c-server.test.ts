// SSE-C with derived keys against a server that checks them: every call of an object's life, and a new master key by a
// copy inside S3.
import { randomBytes } from "node:crypto";
import {
  CopyObjectCommand,
  CreateBucketCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import {
  deriveSseCKey,
  serverSideEncryptS3Client,
  setDefaultEncryption,
  sseC,
  sseS3,
} from "../../../src/s3.ts";
import { readObject } from "../../support/s3-outcome.ts";
import { S3Server } from "../../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

const Bucket = "bucket";
const Key = "path/object";
const masterKey = randomBytes(32);
const data = randomBytes(11 * 2 ** 20);
let server: S3Server;
let plain: S3Client;
beforeAll(async () => {
  server = await S3Server.start();
  plain = server.secureClient();
  await plain.send(new CreateBucketCommand({ Bucket }));
  await setDefaultEncryption(plain, Bucket, { encryption: sseS3(), customerKeys: "allow" });
});
afterAll(() => server[Symbol.asyncDispose]());

const keyOf = (masterKeyVersion: number, key = Key) =>
  deriveSseCKey({ masterKey, masterKeyVersion, bucket: Bucket, key });
const clientOf = (version: number): S3Client =>
  serverSideEncryptS3Client(
    plain,
    sseC(({ key }) => keyOf(version, key).SSECustomerKey),
  );
const status = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 200,
    (error) => (error.cause ?? error).$metadata?.httpStatusCode ?? error.code,
  );

test.each([["in one request", 1000] as const, ["in parts", data.length] as const])(
  "written, read and copied under a new version of the master key, %s",
  async (_, length) => {
    const [one, two] = [clientOf(1), clientOf(2)];
    const Body = data.subarray(0, length);
    await new Upload({ client: one, partSize: 5 * 2 ** 20, params: { Bucket, Key, Body } }).done();
    const read = (client: S3Client) => readObject(client, { Bucket, Key });
    expect((await read(one)).equals(Body)).toBe(true);
    expect((await one.send(new HeadObjectCommand({ Bucket, Key }))).ContentLength).toBe(length);
    expect(await status(read(two))).not.toBe(200);
    expect(await status(read(plain))).toBe(400);
    const old = keyOf(1);
    await two.send(
      new CopyObjectCommand({
        Bucket,
        Key,
        CopySource: `${Bucket}/${Key}`,
        CopySourceSSECustomerAlgorithm: old.SSECustomerAlgorithm,
        CopySourceSSECustomerKey: old.SSECustomerKey as never,
        CopySourceSSECustomerKeyMD5: old.SSECustomerKeyMD5,
      }),
    );
    expect((await read(two)).equals(Body)).toBe(true);
    expect(await status(read(one))).not.toBe(200);
  },
);

test("the key of one object does not open another", async () => {
  await clientOf(1).send(new PutObjectCommand({ Bucket, Key: "a", Body: "x" }));
  const wrong = serverSideEncryptS3Client(plain, sseC(keyOf(1, "b").SSECustomerKey));
  expect(await status(wrong.send(new GetObjectCommand({ Bucket, Key: "a" })))).not.toBe(200);
});
