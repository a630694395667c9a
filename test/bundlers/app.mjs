// What is bundled: it encrypts and decrypts buffers, streams and objects in S3, and says which engine did it.
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { GetObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import {
  createDecryptStream,
  createEncryptStream,
  decrypt,
  encrypt,
  engineInfo,
  RawAesKeyring,
} from "frameseal";
import { encryptS3Client } from "frameseal/s3";

const MiB = 2 ** 20;

function check(name, got, expected) {
  if (!Buffer.from(got).equals(expected)) throw new Error(`${name} differs`);
}

async function main() {
  const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: Buffer.alloc(32, 7) });
  const data = Buffer.alloc(20 * MiB + 5, "not all the same "); // enough for the worker threads of the Node engine
  const message = await encrypt(data, { keyring });
  check("buffer", (await decrypt(message, { keyring })).plaintext, data);
  const opened = Readable.from([data])
    .pipe(createEncryptStream({ keyring }))
    .pipe(createDecryptStream({ keyring }));
  check("stream", await buffer(opened), data);
  const plain = new S3Client({
    endpoint: process.env.S3_ENDPOINT,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: { accessKeyId: "a", secretAccessKey: "b" },
  });
  const client = encryptS3Client(plain, { keyring, partSize: 5 * MiB });
  for (const body of [data.subarray(0, 1000), data.subarray(0, 11 * MiB)]) {
    const address = { Bucket: "bucket", Key: `key-${process.pid}` };
    await client.send(new PutObjectCommand({ ...address, Body: body }));
    const { Body } = await client.send(new GetObjectCommand(address));
    check("object", await Body.transformToByteArray(), body);
  }
  plain.destroy();
  const { engine, reason } = engineInfo();
  console.log(JSON.stringify({ engine, reason }));
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
