import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import {
  CreateBucketCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { startFauxqs } from "fauxqs";
import { expect, test } from "vitest";
import { RawAesKeyring } from "../../src/index.ts";
import { encryptS3Client } from "../../src/s3.ts";

test("smoke", { timeout: 60000 }, async () => {
  const server = await startFauxqs({ port: 0, logger: false });
  const plain = new S3Client({
    endpoint: `http://127.0.0.1:${server.port}`,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: { accessKeyId: "a", secretAccessKey: "b" },
  });
  await plain.send(new CreateBucketCommand({ Bucket: "b" }));
  const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
  const client = encryptS3Client(plain, { keyring, partSize: 5 * 1024 * 1024 });
  for (const n of [0, 1, 65535, 65536, 65537, 5 * 1024 * 1024, 5 * 1024 * 1024 + 1, 12_000_000]) {
    const data = randomBytes(n);
    for (const body of [data, Readable.from([data], { objectMode: false }), new Blob([data])]) {
      await client.send(
        new PutObjectCommand({ Bucket: "b", Key: `k/${n}`, Body: body as never, Metadata: { Foo: "bar" } }),
      );
      const got = await client.send(new GetObjectCommand({ Bucket: "b", Key: `k/${n}` }));
      expect(got.ContentLength).toBe(n);
      expect(got.Metadata).toEqual({ foo: "bar" });
      expect(Buffer.compare(Buffer.from((await got.Body?.transformToByteArray()) ?? []), data)).toBe(0);
    }
    const head = await client.send(new HeadObjectCommand({ Bucket: "b", Key: `k/${n}` }));
    expect(head.ContentLength).toBe(n);
    for (const [r, a, b] of [
      ["bytes=0-0", 0, 1],
      ["bytes=100-", 100, n],
      ["bytes=-7", Math.max(0, n - 7), n],
      [`bytes=65000-66000`, 65000, 66001],
    ] as const) {
      if (a >= n) {
        await expect(
          client.send(new GetObjectCommand({ Bucket: "b", Key: `k/${n}`, Range: r })),
        ).rejects.toMatchObject({ code: "RANGE_NOT_SATISFIABLE" });
        continue;
      }
      const got = await client.send(new GetObjectCommand({ Bucket: "b", Key: `k/${n}`, Range: r }));
      const bytes = Buffer.from((await got.Body?.transformToByteArray()) ?? []);
      expect(bytes.equals(data.subarray(a, b))).toBe(true);
      expect(got.ContentRange).toBe(`bytes ${a}-${Math.min(b, n) - 1}/${n}`);
    }
  }
  for (const n of [100, 5 * 1024 * 1024, 10 * 1024 * 1024, 12_000_000]) {
    const data = randomBytes(n);
    await new Upload({
      client,
      params: { Bucket: "b", Key: "u", Body: Readable.from([data], { objectMode: false }) },
    }).done();
    const got = await client.send(new GetObjectCommand({ Bucket: "b", Key: `u` }));
    expect(Buffer.from((await got.Body?.transformToByteArray()) ?? []).equals(data)).toBe(true);
  }
  await server.stop();
});
