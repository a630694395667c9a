// The ways in which operations on S3 objects end, against a server in the same process.
import { randomFillSync } from "node:crypto";
import { PassThrough, Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import {
  decryptObject,
  deriveSseCKey,
  type EncryptS3ClientOptions,
  encryptObject,
  encryptS3Client,
} from "../../src/s3.ts";
import type { S3Server } from "../support/s3-server.ts";
import { fails, plain, type Setting, type Way } from "./message-ways.ts";

const Bucket = "bucket";
const Key = "key";
const MiB = 2 ** 20;
const formats = ["framed", "s3ec-v3", "s3ec-v2"] as const;
const lengths = [0, 100, 300_000];

/** The ways, on `server`. */
export function objectWays(server: S3Server): Readonly<Record<string, Way>> {
  const plainClient = server.client();
  const clientOf = ({ engine, keyring }: Setting, more: Partial<EncryptS3ClientOptions> = {}): S3Client =>
    encryptS3Client(plainClient, { engine, keyring, partSize: 5 * MiB, ...more });
  const formatOf = (index: number): Partial<EncryptS3ClientOptions> => {
    const format = formats[index % 3] as (typeof formats)[number];
    return format === "s3ec-v2" ? { format, commitmentPolicy: "FORBID_ENCRYPT_ALLOW_DECRYPT" } : { format };
  };
  const lengthOf = (index: number): number => lengths[Math.floor(index / 3) % 3] as number;
  const put = (client: S3Client, Body: Buffer) => client.send(new PutObjectCommand({ Bucket, Key, Body }));
  const drain = async (client: S3Client, more: { Range?: string } = {}): Promise<void> => {
    const { Body } = await client.send(new GetObjectCommand({ Bucket, Key, ...more }));
    await pipeline(Body as Readable, new PassThrough().resume());
  };
  const forge = (at: number): void => {
    const { body } = server.object(Bucket, Key);
    const index = at < 0 ? body.length + at : at;
    body[index] = (body[index] ?? 0) ^ 1;
  };
  const uploadOf = async (client: S3Client): Promise<string> =>
    (await client.send(new CreateMultipartUploadCommand({ Bucket, Key }))).UploadId as string;
  const part = (client: S3Client, UploadId: string, PartNumber: number, Body: Buffer) =>
    client.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }));

  return {
    "objects: put and get": async (setting, index) => {
      const client = clientOf(setting, formatOf(index));
      await put(client, plain(lengthOf(index)));
      await drain(client);
    },
    "objects: get of a forged one": async (setting, index) => {
      const client = clientOf(setting, formatOf(index));
      await put(client, plain(300_000));
      forge([-1, 1000, 200_000][Math.floor(index / 3) % 3] as number);
      await fails(drain(client));
    },
    "objects: get with the wrong key": async (setting, index) => {
      await put(clientOf(setting, formatOf(index)), plain(100));
      await fails(drain(clientOf({ ...setting, keyring: setting.wrongKeyring }, formatOf(index))));
    },
    "objects: get that is destroyed": async (setting, index) => {
      const client = clientOf(setting, formatOf(index));
      await put(client, plain(300_000));
      const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }));
      (Body as Readable).on("error", () => {}).destroy();
      await new Promise((resolve) => setImmediate(resolve));
    },
    "objects: ranges, also such that nothing authenticates": async (setting, index) => {
      const client = clientOf(setting, { ...formatOf(index), enableLegacyUnauthenticatedModes: true });
      await put(client, plain(300_000));
      await drain(client, { Range: "bytes=1000-100000" });
    },
    "objects: put whose source fails, put that is refused": async (setting, index) => {
      const client = clientOf(setting, formatOf(index));
      async function* source(): AsyncGenerator<Buffer> {
        yield plain(70_000);
        throw new Error("gone");
      }
      const Body = Readable.from(source());
      await fails(client.send(new PutObjectCommand({ Bucket, Key, Body, ContentLength: 100_000 })));
      await fails(client.send(new PutObjectCommand({ Bucket: "no-such-bucket", Key, Body: plain(100) })));
    },
    "objects: put that is aborted": async (setting, index) => {
      const client = clientOf(setting, formatOf(index));
      const stop = new AbortController();
      const sending = fails(
        client.send(new PutObjectCommand({ Bucket, Key, Body: plain(300_000) }), {
          abortSignal: stop.signal,
        }),
      );
      setImmediate(() => stop.abort());
      await sending;
    },
    "objects: upload in parts": async (setting, index) => {
      const client = clientOf(setting, formatOf(index));
      const UploadId = await uploadOf(client);
      const parts = [plain(5 * MiB), plain(77)];
      const Parts = [];
      for (const [i, bytes] of parts.entries())
        Parts.push({ PartNumber: i + 1, ETag: (await part(client, UploadId, i + 1, bytes)).ETag });
      await client.send(
        new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }),
      );
    },
    "objects: upload in parts, refused and aborted": async (setting, index) => {
      const client = clientOf(setting, formatOf(index));
      const UploadId = await uploadOf(client);
      await part(client, UploadId, 1, plain(5 * MiB));
      const other = plain(5 * MiB).fill(1);
      await fails(part(client, UploadId, 1, other));
      await client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId }));
    },
    "objects: without a client": async ({ engine, keyring }, index) => {
      const location = { bucket: Bucket, key: Key };
      const options = { engine, keyring, ...formatOf(index) };
      const { body, metadata } = await encryptObject(location, plain(lengthOf(index)), options);
      await decryptObject(location, { body, metadata }, options);
    },
    "objects: SSE-C keys that their owner wipes": async () => {
      const masterKey = randomFillSync(new Uint8Array(new ArrayBuffer(32)));
      const key = deriveSseCKey({ masterKey, masterKeyVersion: 1, bucket: Bucket, key: Key });
      for (const secret of [masterKey, key.SSECustomerKey as Uint8Array]) secret.fill(0);
    },
  };
}
