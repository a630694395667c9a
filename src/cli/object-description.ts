// What frameseal inspect tells about an object of S3: how it is encrypted on this side and on the server's.
import type { HeadObjectCommandOutput, S3Client } from "@aws-sdk/client-s3";
import type { ObjectMetadata } from "../s3/object-format.ts";
import { INSTRUCTION_FILE_SUFFIX, normalizeMetadata, USER_METADATA_PREFIX } from "../s3/object-metadata.ts";
import { serverSideEncryptS3Client } from "../s3/server-side/server-side.ts";
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
  /** `framed`, `s3ec-v1` to `s3ec-v3`, or `none`. */
  readonly clientSideFormat: string;
  /** Of objects of the S3 Encryption Clients. */
  readonly envelope: EnvelopeDescription | undefined;
  /** Of framed objects. */
  readonly header: HeaderDescription | undefined;
}

/** An envelope as JSON prints it. */
export interface EnvelopeDescription {
  readonly place: "metadata" | "instruction file";
  readonly contentAlgorithm: string;
  readonly wrapAlgorithm: string;
  readonly encryptedDataKeyLength: number;
  /** Material description, or encryption context of KMS. */
  readonly description: Readonly<Record<string, string>>;
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
    const found = await readEnvelope(client, address, head);
    const header = found === undefined ? await readHeader(client, address, head) : undefined;
    return {
      ...address,
      storedLength: head.ContentLength ?? 0,
      eTag: head.ETag,
      serverSideEncryption:
        head.ServerSideEncryption ?? (head.SSECustomerAlgorithm === undefined ? "none told" : "SSE-C"),
      serverSideKeyId: head.SSEKMSKeyId,
      metadata: head.Metadata ?? {},
      clientSideFormat: found?.format ?? (header === undefined ? "none" : "framed"),
      envelope: found?.envelope,
      header,
    };
  } finally {
    client.destroy();
  }
}

async function readEnvelope(
  client: S3Client,
  address: ObjectAddress,
  head: HeadObjectCommandOutput,
): Promise<{ format: string; envelope: EnvelopeDescription } | undefined> {
  const [
    { contentAlgorithmNames, envelopePlace, parseEnvelope },
    { createObjectSource },
    { Transport },
    file,
  ] = await Promise.all([
    import("../s3/single-message/envelope.ts"),
    import("../s3/object-source.ts"),
    import("../s3/transport.ts"),
    import("../s3/single-message/instruction-file.ts"),
  ]);
  const metadata = normalizeMetadata(head.Metadata);
  const inMetadata = envelopePlace(metadata) === "metadata";
  let entries: ObjectMetadata | undefined;
  if (!inMetadata) {
    const pin = { eTag: head.ETag, versionId: head.VersionId };
    const location = { bucket: address.Bucket, key: address.Key };
    const source = createObjectSource(new Transport(client, interruptSignal), location, pin, {});
    const key = `${address.Key}${INSTRUCTION_FILE_SUFFIX}`;
    const found = await source.fetchSideObject(key, file.MAX_INSTRUCTION_FILE_LENGTH);
    if (found === undefined) return undefined;
    entries = file.decodeInstructionFile(found.body);
  }
  const { version, content, wrap, encryptedDataKey, description } = parseEnvelope(metadata, entries);
  const contentAlgorithm =
    version === 3 ? "AES-256-GCM with HKDF-SHA512 and key commitment (115)" : contentAlgorithmNames[content];
  return {
    format: `s3ec-v${version}`,
    envelope: {
      place: inMetadata ? "metadata" : "instruction file",
      contentAlgorithm,
      wrapAlgorithm: wrap,
      encryptedDataKeyLength: encryptedDataKey.length,
      description: { ...description },
    },
  };
}

async function readHeader(
  client: S3Client,
  address: ObjectAddress,
  head: HeadObjectCommandOutput,
): Promise<HeaderDescription | undefined> {
  const messageLength = head.ContentLength ?? 0;
  if (messageLength === 0) return undefined;
  const [{ GetObjectCommand }, { inspectHeader }, { isFramesealError }] = await Promise.all([
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
    if (isFramesealError(error)) return undefined; // not a message of ours
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
  const { envelope } = object;
  if (envelope !== undefined) {
    print(`client side     ${object.clientSideFormat}, envelope in its ${envelope.place}`);
    print(`content         ${envelope.contentAlgorithm}`);
    print(`wrapped key     ${envelope.wrapAlgorithm}, ${envelope.encryptedDataKeyLength} bytes`);
    for (const [name, value] of Object.entries(envelope.description))
      print(`description     ${oneLine(name)}=${oneLine(value)}`);
  } else if (object.header === undefined) print("client side     not encrypted by frameseal");
  else printDescription(object.header);
}
