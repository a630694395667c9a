// What frameseal inspect tells about an object of S3: how it is encrypted on this side and on the server's.
import type { HeadObjectCommandOutput, S3Client } from "@aws-sdk/client-s3";
import { USER_METADATA_PREFIX } from "../s3/object-metadata.ts";
import { serverSideEncryptS3Client } from "../s3/server-side.ts";
import { describeHeader, type HeaderDescription, printDescription } from "./header-description.ts";
import { interruptSignal } from "./interrupt.ts";
import { oneLine, print } from "./output.ts";
import {
  createS3Client,
  type ObjectAddress,
  type ObjectOptions,
  parseObjectAddress,
  serverSideFrom,
} from "./s3-options.ts";

/** An object as JSON prints it. */
export interface ObjectDescription extends ObjectAddress {
  readonly storedLength: number;
  readonly eTag: string | undefined;
  readonly serverSideEncryption: string;
  readonly serverSideKeyId: string | undefined;
  readonly metadata: Readonly<Record<string, string>>;
  /** `framed`, or `none` when the object is no message. */
  readonly clientSideFormat: string;
  /** Of framed objects. */
  readonly header: HeaderDescription | undefined;
}

/** A header longer than this is not worth fetching for a look. */
const HEAD_LENGTH = 64 * 1024;

/** Asks S3 about an object and reads the beginning of its body. No key is needed but that of SSE-C. */
export async function inspectObject(text: string, options: ObjectOptions): Promise<ObjectDescription> {
  const address = parseObjectAddress(text);
  const serverSide = await serverSideFrom(options);
  const plain = await createS3Client(options);
  const client = serverSide === undefined ? plain : serverSideEncryptS3Client(plain, serverSide);
  const { HeadObjectCommand } = await import("@aws-sdk/client-s3");
  try {
    const head = await client.send(new HeadObjectCommand(address), { abortSignal: interruptSignal });
    const header = await readHeader(client, address, head);
    return {
      ...address,
      storedLength: head.ContentLength ?? 0,
      eTag: head.ETag,
      serverSideEncryption:
        head.ServerSideEncryption ?? (head.SSECustomerAlgorithm === undefined ? "none told" : "SSE-C"),
      serverSideKeyId: head.SSEKMSKeyId,
      metadata: head.Metadata ?? {},
      clientSideFormat: header === undefined ? "none" : "framed",
      header,
    };
  } finally {
    client.destroy();
  }
}

async function readHeader(
  client: S3Client,
  address: ObjectAddress,
  head: HeadObjectCommandOutput,
): Promise<HeaderDescription | undefined> {
  const messageLength = head.ContentLength ?? 0;
  if (messageLength === 0) return undefined;
  const [{ GetObjectCommand }, { inspectHeader }, { FramesealError }] = await Promise.all([
    import("@aws-sdk/client-s3"),
    import("../stream/whole-message.ts"),
    import("../errors.ts"),
  ]);
  const output = await client.send(
    new GetObjectCommand({ ...address, Range: `bytes=0-${HEAD_LENGTH - 1}`, IfMatch: head.ETag }),
    { abortSignal: interruptSignal },
  );
  const bytes = (await output.Body?.transformToByteArray()) ?? new Uint8Array();
  try {
    return describeHeader({ ...(await inspectHeader(bytes)), messageLength });
  } catch (error) {
    if (error instanceof FramesealError) return undefined; // not a message of ours
    throw error;
  }
}

/** Prints an object as text. */
export function printObject(object: ObjectDescription): void {
  print(`object          s3://${oneLine(object.Bucket)}/${oneLine(object.Key)}`);
  print(`stored length   ${object.storedLength}`);
  const keyId = object.serverSideKeyId === undefined ? "" : `, key ${oneLine(object.serverSideKeyId)}`;
  print(`server side     ${object.serverSideEncryption}${keyId}`);
  for (const [name, value] of Object.entries(object.metadata))
    print(`${USER_METADATA_PREFIX}${oneLine(name)} ${oneLine(value)}`);
  if (object.header === undefined) print("client side     not encrypted by frameseal");
  else printDescription(object.header);
}
