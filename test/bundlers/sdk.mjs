// A client of one copy of the AWS SDK, while frameseal finds another: `node sdk.mjs S3PACKAGE KMSPACKAGE`.
import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { decrypt, encrypt, RawAesKeyring } from "frameseal";
import { KmsKeyring } from "frameseal/kms";
import { encryptS3Client, rewrapObject } from "frameseal/s3";

const [s3Package, kmsPackage] = process.argv.slice(2);
const s3 = await import(s3Package);
const kms = await import(kmsPackage);
const MiB = 2 ** 20;
const credentials = { accessKeyId: "a", secretAccessKey: "b" };
const region = "eu-west-1";
const done = [];

function check(name, got, expected) {
  if (!Buffer.from(got).equals(expected)) throw new Error(`${name} differs`);
  done.push(name);
}

const plain = new s3.S3Client({
  endpoint: process.env.S3_ENDPOINT,
  region: "us-east-1",
  forcePathStyle: true,
  credentials,
});
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
const [short, long] = [randomBytes(1000), randomBytes(11 * MiB + 3)];
for (const format of ["framed", "s3ec-v3"]) {
  const client = encryptS3Client(plain, { keyring, format, partSize: 5 * MiB });
  const at = { Bucket: "bucket", Key: `${process.pid}-${format}` };
  const put = (Body) => client.send(new s3.PutObjectCommand({ ...at, Body }));
  const read = async (by, more = {}) =>
    (await by.send(new s3.GetObjectCommand({ ...at, ...more }))).Body.transformToByteArray();
  await put(short);
  check("small", await read(client), short);
  await put(Readable.from([long, short]));
  check("stream", await read(client), Buffer.concat([long, short]));
  await put(long);
  if (format === "framed")
    check("range", await read(client, { Range: "bytes=9-2000000" }), long.subarray(9, 2000001));
  const { ContentLength } = await client.send(new s3.HeadObjectCommand(at));
  check("head", String(ContentLength), Buffer.from(String(long.length)));
  const { UploadId } = await client.send(new s3.CreateMultipartUploadCommand(at));
  const Parts = [];
  for (const [i, Body] of [
    long.subarray(0, 5 * MiB),
    long.subarray(5 * MiB, 10 * MiB),
    long.subarray(10 * MiB),
  ].entries()) {
    const { ETag } = await client.send(
      new s3.UploadPartCommand({ ...at, UploadId, PartNumber: i + 1, Body }),
    );
    Parts.push({ ETag, PartNumber: i + 1 });
  }
  await client.send(new s3.CompleteMultipartUploadCommand({ ...at, UploadId, MultipartUpload: { Parts } }));
  check("multipart", await read(client), long);
  const to = new RawAesKeyring({ keyNamespace: "n", keyName: "new", wrappingKey: randomBytes(32) });
  await rewrapObject(plain, { bucket: at.Bucket, key: at.Key }, { from: keyring, to });
  check("rewrap", await read(encryptS3Client(plain, { keyring: to })), long);
  await client.send(new s3.DeleteObjectCommand(at));
}
const client = new kms.KMSClient({ region, endpoint: process.env.KMS_ENDPOINT, credentials });
const [generatorKeyId, other] = process.env.KMS_KEYS.split(" ");
const wrapping = new KmsKeyring({ client, generatorKeyId, keyIds: [other] });
const message = await encrypt(short, { keyring: wrapping });
check(
  "kms",
  (await decrypt(message, { keyring: new KmsKeyring({ client, keyIds: [other] }) })).plaintext,
  short,
);
plain.destroy();
client.destroy();
console.log(JSON.stringify({ done: done.length }));
