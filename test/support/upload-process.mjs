// A process that sends parts of an upload which others work on too: parts and contents at random, until it is killed.
// One line for each part that was accepted.
import { S3Client, UploadPartCommand } from "@aws-sdk/client-s3";
import { RawAesKeyring } from "frameseal";
import { encryptS3Client, fileMultipartStates } from "frameseal/s3";

const { endpoint, folder, format, wrappingKey, target, partSize, partCount, variants } = JSON.parse(
  process.argv[2],
);
const plain = new S3Client({
  endpoint,
  region: "us-east-1",
  forcePathStyle: true,
  credentials: { accessKeyId: "a", secretAccessKey: "b" },
});
const client = encryptS3Client(plain, {
  keyring: new RawAesKeyring({
    keyNamespace: "n",
    keyName: "k",
    wrappingKey: Buffer.from(wrappingKey, "hex"),
  }),
  format,
  partSize,
  multipartStates: fileMultipartStates(folder),
});

async function work() {
  for (;;) {
    const PartNumber = 1 + Math.floor(Math.random() * partCount);
    const variant = Math.floor(Math.random() * variants);
    const Body = Buffer.alloc(partSize, PartNumber * variants + variant);
    try {
      await client.send(new UploadPartCommand({ ...target, PartNumber, Body }));
      console.log(JSON.stringify({ PartNumber, variant }));
    } catch (error) {
      if (error.code !== "POLICY") throw error;
      console.log(JSON.stringify({ PartNumber, refused: variant }));
    }
  }
}
// As `Upload` would: several at a time.
await Promise.all([work(), work()]);
