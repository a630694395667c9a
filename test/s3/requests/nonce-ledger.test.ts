// No nonce is used twice: every frame and every block of a GCM body that reaches the server is entered by message and
// position. The same place may come again, after a retry, but only with the same bytes.
import { createHash, randomBytes } from "node:crypto";
import {
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { afterAll, beforeAll, expect, test } from "vitest";
import { RawAesKeyring } from "../../../src/index.ts";
import { encryptS3Client, exportMultipartUpload, importMultipartUpload } from "../../../src/s3.ts";
import { outcomeOf, readObject } from "../../support/s3-outcome.ts";
import { S3Server } from "../../support/s3-server.ts";

const Bucket = "bucket";
const P = 5 * 2 ** 20;
const F = 65_536;
const data = randomBytes(3 * P + 77);
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
let server: S3Server;
let plain: S3Client;

/** Message and position -> what stood there. */
const ledger = new Map<string, Buffer>();
const counts = { entries: 0, resent: 0, repeats: 0 };
/** Message of an upload, as its Create has told. */
const messages = new Map<string, { readonly message: string; readonly headerLength: number | undefined }>();

function enter(message: string, position: number, bytes: Buffer): void {
  const place = `${message} ${position}`;
  const known = ledger.get(place);
  counts.entries += 1;
  // A last part may have come before the tag that is sent behind it the second time.
  const common = Math.min(known?.length ?? 0, bytes.length);
  if (known?.subarray(0, common).equals(bytes.subarray(0, common)) === false) counts.repeats += 1;
  else if (known !== undefined) counts.resent += 1;
  ledger.set(place, bytes);
}

/** Enters the stored bytes of a part that begins the object, or continues it. */
function enterPart(
  id: { readonly message: string; readonly headerLength: number | undefined },
  part: number,
  body: Buffer,
): void {
  if (id.headerLength === undefined) {
    // One GCM message: 4,096 blocks at a time by their place; the tag at the end is no keystream.
    for (let at = 0; at < body.length; at += F)
      enter(id.message, ((part - 1) * P + at) / F, body.subarray(at, at + F));
    return;
  }
  for (let at = part === 1 ? id.headerLength : 0; at < body.length; ) {
    const isFinal = body.readUInt32BE(at) === 0xffffffff;
    const length = isFinal ? 40 + body.readUInt32BE(at + 20) : 32 + F;
    enter(id.message, body.readUInt32BE(isFinal ? at + 4 : at), body.subarray(at, at + length));
    at += length;
  }
}

beforeAll(async () => {
  server = await S3Server.start();
  plain = server.client({ maxAttempts: 4 });
  await plain.send(new CreateBucketCommand({ Bucket }));
  const describe = (headers: Record<string, unknown>) => {
    const headerLength = headers["x-amz-meta-frameseal-header-length"];
    // A framed message is named by its header, which only part 1 holds: the client's own upload id does as well.
    return headerLength === undefined
      ? { message: String(headers["x-amz-meta-x-amz-i"]), headerLength: undefined }
      : { message: "", headerLength: Number(headerLength) };
  };
  let created: Record<string, unknown> = {};
  server.onBody = ({ method, query, headers, key }, body) => {
    if (method === "POST" && query.has("uploads")) created = headers;
    if (method !== "PUT" || key === "") return;
    const uploadId = query.get("uploadId");
    if (uploadId !== null) {
      const known = messages.get(uploadId) ?? { ...describe(created), message: `upload ${uploadId}` };
      messages.set(uploadId, known);
      enterPart(known, Number(query.get("partNumber")), body);
    } else {
      const { headerLength } = describe(headers);
      const message = createHash("sha256")
        .update(body.subarray(0, headerLength ?? 0))
        .update(String(headers["x-amz-meta-x-amz-i"]))
        .digest("hex");
      enterPart({ message, headerLength }, 1, body);
    }
  };
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  console.log(
    `nonce ledger: ${counts.entries} places entered, ${counts.resent} sent again with the same bytes, ${counts.repeats} repeats`,
  );
});

test.each(["framed", "s3ec-v3"] as const)(
  "%s: retries, disorder, other bytes, another process",
  { timeout: 60_000 },
  async (format) => {
    const make = () => encryptS3Client(plain, { keyring, format, partSize: P });
    const client = make();
    // Every second upload fails after it took effect, so that the SDK sends it again.
    let uploads = 0;
    server.fault = ({ method, key }) =>
      method === "PUT" && key !== "" && ++uploads % 2 === 1
        ? { kind: "error", status: 500, code: "InternalError", after: true }
        : undefined;
    for (const length of [0, 1, F, F + 1, P])
      await client.send(
        new PutObjectCommand({ Bucket, Key: `${format} ${length}`, Body: data.subarray(0, length) }),
      );
    await new Upload({
      client,
      partSize: P,
      queueSize: 4,
      params: { Bucket, Key: format, Body: data },
    }).done();

    const Key = `${format} by hand`;
    const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key }));
    const partOf = (PartNumber: number, from = data) => from.subarray((PartNumber - 1) * P, PartNumber * P);
    const send = async (sender: S3Client, PartNumber: number, Body = partOf(PartNumber)) => {
      const { ETag } = await sender.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }));
      return { ETag, PartNumber };
    };
    await send(client, 1);
    const other = randomBytes(data.length);
    for (const PartNumber of [4, 1, 3]) {
      await send(client, PartNumber);
      expect(await outcomeOf(send(client, PartNumber, partOf(PartNumber, other)))).toBe("POLICY");
    }
    const state = JSON.parse(JSON.stringify(await exportMultipartUpload(client, UploadId ?? "")));
    expect(await outcomeOf(send(client, 2))).not.toBe("accepted");
    const second = make();
    await importMultipartUpload(second, state);
    expect(await outcomeOf(send(second, 3, partOf(3, other)))).toBe("POLICY");
    const parts = [
      await send(second, 1),
      await send(second, 2),
      await send(second, 3),
      await send(second, 4),
    ];
    await second.send(
      new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts: parts } }),
    );
    server.fault = () => undefined;
    expect((await readObject(make(), { Bucket, Key })).equals(data)).toBe(true);
    expect(counts.resent).toBeGreaterThan(50);
    expect(counts.repeats).toBe(0);
  },
);
