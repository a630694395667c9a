// Ceph's S3 server, which enforces what emulators only echo: SSE-C keys, SSE-KMS, bucket policies, part rules.
import { randomBytes } from "node:crypto";
import {
  CopyObjectCommand,
  CreateBucketCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutBucketPolicyCommand,
  PutObjectCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { RawAesKeyring } from "../../src/index.ts";
import { reencryptObject } from "../../src/s3/reencrypt.ts";
import {
  deriveSseCKey,
  encryptS3Client,
  requireEncryptionPolicy,
  rewrapObject,
  type ServerSideEncryption,
  serverSideEncryptS3Client,
  sseC,
  sseKms,
  sseS3,
} from "../../src/s3.ts";
import { checkObject, describeCounts, tableLengths, writes } from "../support/object-table.ts";

const endpoint = process.env.FRAMESEAL_RGW_ENDPOINT;
const Bucket = "frameseal";
const MiB = 2 ** 20;
const P = 5 * MiB;
const data = randomBytes(2 * P + 1);
const names = { keyNamespace: "n", keyName: "k" };
const keyring = new RawAesKeyring({ ...names, wrappingKey: randomBytes(32) });
const masterKey = randomBytes(32);
const derived = (masterKeyVersion: number) =>
  sseC(({ bucket, key }) => deriveSseCKey({ masterKey, masterKeyVersion, bucket, key }).SSECustomerKey);

let plain: S3Client;
beforeAll(async () => {
  if (endpoint === undefined) return;
  plain = new S3Client({
    endpoint,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: { accessKeyId: "testing", secretAccessKey: "testing" },
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
  });
  await plain.send(new CreateBucketCommand({ Bucket }));
}, 60_000);
afterAll(() => plain?.destroy());

async function read(client: S3Client, Key: string, Range?: string): Promise<Buffer> {
  const output = await client.send(new GetObjectCommand({ Bucket, Key, Range }));
  return Buffer.from((await output.Body?.transformToByteArray()) ?? []);
}
const status = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 200,
    (error) => error.$metadata?.httpStatusCode ?? error.code,
  );

test("the server is there when it must be", () => {
  expect(endpoint !== undefined || process.env.CI !== "true").toBe(true);
});

describe.runIf(endpoint !== undefined)("Ceph RGW", () => {
  describe("the table of objects", () => {
    const counts = { objects: 0, reads: 0, openedByPeer: 0 };
    afterAll(() => console.log(describeCounts("Ceph RGW", counts)));
    const cells = tableLengths.flatMap((length) => Object.keys(writes).map((way) => [length, way] as const));
    test.concurrent.each(cells)("%i bytes, %s", (length, way) =>
      checkObject(plain, Bucket, way, length, counts),
    );
    test("all of it", () => {
      expect(counts).toEqual({ objects: 66, reads: 66 * 41, openedByPeer: 66 });
    });
  });

  describe.each(["framed", "s3ec-v3"] as const)("%s", (format) => {
    test.each([
      ["SSE-C", derived(1)],
      ["SSE-KMS", sseKms({ keyId: "testkey-1" })],
    ] as const)("with %s on top", async (name, serverSideEncryption: ServerSideEncryption) => {
      const client = encryptS3Client(plain, { keyring, format, partSize: P, serverSideEncryption });
      const Key = `${format}/${name}`;
      for (const length of [10, 2 * P + 1]) {
        await client.send(new PutObjectCommand({ Bucket, Key, Body: data.subarray(0, length) }));
        expect((await read(client, Key)).equals(data.subarray(0, length))).toBe(true);
      }
      if (name === "SSE-C") expect(await status(read(plain, Key))).toBe(400);
    });
  });

  test("SSE-C with derived keys: a wrong or a missing key is refused", async () => {
    const one = serverSideEncryptS3Client(plain, derived(1));
    const two = serverSideEncryptS3Client(plain, derived(2));
    for (const [Key, length] of [
      ["sse-c small", 100],
      ["sse-c parts", 2 * P + 1],
    ] as const) {
      const Body = data.subarray(0, length);
      await new Upload({ client: one, partSize: P, params: { Bucket, Key, Body } }).done();
      expect((await read(one, Key)).equals(Body)).toBe(true);
      expect((await read(one, Key, "bytes=50-59")).equals(Body.subarray(50, 60))).toBe(true);
      expect([400, 403]).toContain(await status(read(two, Key)));
      expect(await status(read(plain, Key))).toBe(400);
      expect(await status(two.send(new HeadObjectCommand({ Bucket, Key })))).not.toBe(200);
    }
    // The key of one object does not open another.
    await one.send(new PutObjectCommand({ Bucket, Key: "a", Body: "x" }));
    const keyOfB = serverSideEncryptS3Client(
      plain,
      sseC(deriveSseCKey({ masterKey, masterKeyVersion: 1, bucket: Bucket, key: "b" }).SSECustomerKey),
    );
    expect([400, 403]).toContain(await status(read(keyOfB, "a")));
  });

  // What version 16 evaluates: it takes a list under StringNotEquals for alternatives, so that nothing would pass (one
  // value here), knows no condition on SSE-C, and judges parts by their own headers, which name no encryption.
  test("policies that demand encryption admit exactly the uploads that have it", async () => {
    const requests = {
      plain: undefined,
      "SSE-S3": sseS3(),
      "SSE-KMS": sseKms({ keyId: "testkey-1" }),
      "SSE-C": derived(1),
    } as const;
    const policies = [
      [{ require: "SSE-S3" }, ["SSE-S3"]],
      [{ require: "SSE-KMS" }, ["SSE-KMS"]],
      [{ require: "SSE-KMS", kmsKeyId: "testkey-1" }, ["SSE-KMS"]],
      [{ require: "SSE-KMS", kmsKeyId: "testkey-2" }, []],
    ] as const;
    let cells = 0;
    for (const [index, [options, admitted]] of policies.entries()) {
      const bucket = `demanding-${index}`;
      await plain.send(new CreateBucketCommand({ Bucket: bucket }));
      const policy = requireEncryptionPolicy({ bucket, plainHttp: "allow", ...options });
      const Policy = JSON.stringify(policy, (_name, value: unknown) =>
        Array.isArray(value) && value[0] === "aws:kms" ? "aws:kms" : value,
      );
      await plain.send(new PutBucketPolicyCommand({ Bucket: bucket, Policy }));
      for (const [name, serverSideEncryption] of Object.entries(requests))
        for (const clientSide of [false, true]) {
          const alone =
            serverSideEncryption === undefined
              ? plain
              : serverSideEncryptS3Client(plain, serverSideEncryption);
          const client = clientSide ? encryptS3Client(plain, { keyring, serverSideEncryption }) : alone;
          const put = new PutObjectCommand({ Bucket: bucket, Key: "x", Body: "x" });
          const expected = (admitted as readonly string[]).includes(name) ? 200 : 403;
          expect([name, clientSide, options, await status(client.send(put))]).toEqual([
            name,
            clientSide,
            options,
            expected,
          ]);
          cells += 1;
        }
    }
    console.log(`Ceph RGW, requests x policies: ${cells} of ${policies.length * 8} as they should be`);
  });

  // Version 16 takes If-Match of PutObject only without quotes, and tells no ETag of what was completed.
  test.each([
    ["small", 1000],
    ["in parts", 2 * P + 1],
  ] as const)("a framed object is stored again over itself and nothing else: %s", async (Key, length) => {
    const location = { bucket: Bucket, key: `again ${Key}` };
    const target = { Bucket, Key: location.key };
    const other = new RawAesKeyring({ ...names, keyName: "2", wrappingKey: randomBytes(32) });
    const Body = data.subarray(0, length);
    const client = encryptS3Client(plain, { keyring, partSize: P });
    const { ETag: first } = await client.send(new PutObjectCommand({ ...target, Body }));
    const rewrapped = await rewrapObject(plain, location, { from: keyring, to: other });
    expect(rewrapped).toMatchObject({ change: "re-encrypted", previousETag: first });
    const again = await reencryptObject(plain, location, { from: other });
    expect(again.previousETag).toBe(rewrapped.eTag);
    expect(again.eTag).toBe((await plain.send(new HeadObjectCommand(target))).ETag);
    expect((await read(encryptS3Client(plain, { keyring: other }), location.key)).equals(Body)).toBe(true);
    const stale = new PutObjectCommand({ ...target, Body: "newer", IfMatch: first });
    expect(await status(client.send(stale))).toBe(412);
    const current = new PutObjectCommand({ ...target, Body: "newer", IfMatch: again.eTag });
    expect(await status(client.send(current))).toBe(200);
  });

  test("a master key is changed, and copies stay readable", async () => {
    const other = new RawAesKeyring({ ...names, keyName: "2", wrappingKey: randomBytes(32) });
    const client = encryptS3Client(plain, { keyring, format: "s3ec-v3" });
    const reader = encryptS3Client(plain, { keyring: other });
    await client.send(new PutObjectCommand({ Bucket, Key: "old", Body: "text", Metadata: { own: "1" } }));
    await client.send(new CopyObjectCommand({ Bucket, Key: "copy", CopySource: `${Bucket}/old` }));
    expect((await read(client, "copy")).toString()).toBe("text");
    const location = { bucket: Bucket, key: "old" };
    expect(await rewrapObject(plain, location, { from: keyring, to: other })).toMatchObject({
      change: "metadata",
    });
    expect((await read(reader, "old")).toString()).toBe("text");
    expect(await status(read(client, "old"))).toBe("AUTHENTICATION_FAILED");
    const head = await reader.send(new HeadObjectCommand({ Bucket, Key: "old" }));
    expect(head.Metadata).toEqual({ own: "1" });
  });
});
