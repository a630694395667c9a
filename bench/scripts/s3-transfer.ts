// One transfer of `bench:s3` in a process of its own; prints what it cost as a line of JSON.
//   node s3-transfer.js WHAT ENDPOINT KMS-ENDPOINT MEBIBYTES
import process from "node:process";
import { Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { KMSClient } from "@aws-sdk/client-kms";
import { DeleteObjectCommand, GetObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { KmsKeyring } from "#frameseal/kms.js";
import { encryptS3Client } from "#frameseal/s3.js";
import { benchKmsKeyId } from "../kms-answers.ts";

const MiB = 2 ** 20;
const Bucket = "bench";
const [what = "", endpoint = "", kmsEndpoint = "", mebibytes = "0"] = process.argv.slice(2);
const size = Number(mebibytes) * MiB;

const plain = new S3Client({ endpoint, forcePathStyle: true });
const keyring = new KmsKeyring({
  client: new KMSClient({ endpoint: kmsEndpoint }),
  generatorKeyId: benchKmsKeyId,
});
const encrypting = (options: Partial<Parameters<typeof encryptS3Client>[1]>): S3Client =>
  encryptS3Client(plain, { keyring, format: "s3ec-v3", ...options });

function* chunks(): Generator<Buffer> {
  const chunk = Buffer.alloc(MiB, 0x5a);
  for (let left = size; left > 0; left -= MiB) yield chunk;
}
const Body = Readable.from(chunks(), { objectMode: false, highWaterMark: MiB });

async function upload(client: S3Client, Key: string): Promise<void> {
  // The SDK by itself sends a stream of unknown length in parts only through lib-storage.
  if (client === plain)
    await new Upload({ client, partSize: 8 * MiB, queueSize: 4, params: { Bucket, Key, Body } }).done();
  else await client.send(new PutObjectCommand({ Bucket, Key, Body }));
}

async function download(client: S3Client, Key: string): Promise<void> {
  const output = await client.send(new GetObjectCommand({ Bucket, Key }));
  let length = 0;
  const sink = new Writable({
    highWaterMark: MiB,
    write(chunk: Buffer, _encoding, done) {
      length += chunk.length;
      done();
    },
  });
  await pipeline(output.Body as Readable, sink);
  if (length !== size) throw new Error(`${length} bytes came out instead of ${size}`);
}

const remove = (Key: string): Promise<unknown> => plain.send(new DeleteObjectCommand({ Bucket, Key }));

const transfers: Readonly<Record<string, () => Promise<unknown>>> = {
  "put plain": () => upload(plain, "plain"),
  "get plain": () => download(plain, "plain"),
  "delete plain": () => remove("plain"),
  "put framed": () => upload(encrypting({ format: "framed" }), "framed"),
  "get framed": () => download(encrypting({}), "framed"),
  "delete framed": () => remove("framed"),
  "put s3ec-v3": () => upload(encrypting({}), "s3ec"),
  "get s3ec-v3, delayed": () => download(encrypting({ authentication: "delayed" }), "s3ec"),
  "get s3ec-v3, two-pass": () => download(encrypting({ authentication: "two-pass" }), "s3ec"),
  "delete s3ec-v3": () => remove("s3ec"),
};
const transfer = transfers[what];
if (transfer === undefined) throw new Error(`no such transfer: ${what}`);
const start = performance.now();
await transfer();
const seconds = (performance.now() - start) / 1000;
const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
process.stdout.write(
  `${JSON.stringify({ seconds, cpuSeconds: (userCPUTime + systemCPUTime) / 1e6, mebibytes: maxRSS / 1024 })}\n`,
);
