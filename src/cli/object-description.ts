// What frameseal inspect tells about an object of S3: how it is encrypted on this side and on the server's.
import type { HeadObjectCommandOutput, S3Client } from "@aws-sdk/client-s3";
import { hasCode, isFramesealError } from "../errors.ts";
import { noKeys } from "../keyring/no-keys.ts";
import type { FramedFormat } from "../s3/framed/framed-format.ts";
import type { StoredObject } from "../s3/object-format.ts";
import { framedNames, USER_METADATA_PREFIX } from "../s3/object-metadata.ts";
import type { SingleMessageFormat } from "../s3/single-message/format.ts";
import { describeHeader, type HeaderDescription, printDescription, short } from "./header-description.ts";
import { interruptSignal } from "./interrupt.ts";
import { fieldsFrom } from "./object-fields.ts";
import { print } from "./output.ts";
import {
  createObjectClient,
  type ObjectAddress,
  type ObjectOptions,
  parseObjectAddress,
} from "./s3-options.ts";

/** An object as JSON prints it. */
export interface ObjectDescription extends ObjectAddress {
  readonly storedLength: number;
  readonly eTag: string | undefined;
  readonly serverSideEncryption: string;
  readonly serverSideKeyId: string | undefined;
  readonly metadata: Readonly<Record<string, string>>;
  /** `framed`, `s3ec-v1` to `s3ec-v3`, `none`, or `unknown` where the metadata contradicts itself. */
  readonly clientSideFormat: string;
  /** Of objects of the S3 Encryption Clients. */
  readonly envelope?: EnvelopeDescription | undefined;
  /** Of framed objects. */
  readonly header?: HeaderDescription | undefined;
  /** Why the object is not what its metadata says, or says nothing that is understood. */
  readonly problem?: string | undefined;
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

/** Asks S3 about an object and reads the beginning of its body. No key is needed but that of SSE-C. */
export async function inspectObject(text: string, options: ObjectOptions): Promise<ObjectDescription> {
  const address = parseObjectAddress(text);
  const client = await createObjectClient(options);
  const request = { ...address, ...fieldsFrom(options) };
  const { HeadObjectCommand } = await import("@aws-sdk/client-s3");
  try {
    const head = await client.send(new HeadObjectCommand(request), { abortSignal: interruptSignal });
    return {
      ...address,
      storedLength: head.ContentLength ?? 0,
      eTag: head.ETag,
      serverSideEncryption:
        head.ServerSideEncryption ?? (head.SSECustomerAlgorithm === undefined ? "none told" : "SSE-C"),
      serverSideKeyId: head.SSEKMSKeyId,
      metadata: head.Metadata ?? {},
      ...(await recognise(client, request, head)),
    };
  } finally {
    client.destroy();
  }
}

/** What the library's own recogniser says of an object. */
async function recognise(
  client: S3Client,
  { Bucket, Key, ...fields }: ObjectAddress,
  head: HeadObjectCommandOutput,
): Promise<Pick<ObjectDescription, "clientSideFormat" | "envelope" | "header" | "problem">> {
  const [{ createFormats }, { describe }, { Transport }, { SingleMessageFormat }, { FramedFormat }] =
    await Promise.all([
      import("../s3/formats.ts"),
      import("../s3/requests/get.ts"),
      import("../s3/transport.ts"),
      import("../s3/single-message/format.ts"),
      import("../s3/framed/framed-format.ts"),
    ]);
  const formats = createFormats({ keyring: noKeys, ...readingEverything });
  const transport = new Transport(client, interruptSignal);
  const location = { bucket: Bucket, key: Key };
  try {
    const { format, object } = await describe(head, head.ContentLength, location, fields, formats, transport);
    if (format instanceof SingleMessageFormat) return await readEnvelope(format, object);
    if (format instanceof FramedFormat) return await readHeader(format, object);
    throw new Error(`internal error: nothing is known of the format ${format.name}`);
  } catch (error) {
    if (!saysSomething(error)) throw error;
    return { clientSideFormat: "unknown", problem: error.message };
  }
}

/** Of errors of the library, those that say something of the object itself. */
function saysSomething(error: unknown): error is Error {
  return isFramesealError(error) && !hasCode(error, "NETWORK") && !hasCode(error, "ABORTED");
}

/** Nothing that is only described can do harm. */
const readingEverything = {
  commitmentPolicy: "REQUIRE_ENCRYPT_ALLOW_DECRYPT",
  enableLegacyWrappingAlgorithms: true,
  enableLegacyUnauthenticatedModes: true,
} as const;

async function readEnvelope(
  format: SingleMessageFormat,
  object: StoredObject,
): Promise<Pick<ObjectDescription, "clientSideFormat" | "envelope">> {
  const { contentAlgorithmNames, envelopePlace } = await import("../s3/single-message/envelope.ts");
  const { version, content, wrap, encryptedDataKey, description } = await format.readEnvelope(object);
  const contentAlgorithm =
    version === 3 ? "AES-256-GCM with HKDF-SHA512 and key commitment (115)" : contentAlgorithmNames[content];
  return {
    clientSideFormat: `s3ec-v${version}`,
    envelope: {
      place: envelopePlace(object.metadata) === "metadata" ? "metadata" : "instruction file",
      contentAlgorithm,
      wrapAlgorithm: wrap,
      encryptedDataKeyLength: encryptedDataKey.length,
      description: { ...description },
    },
  };
}

async function readHeader(
  format: FramedFormat,
  object: StoredObject,
): Promise<Pick<ObjectDescription, "clientSideFormat" | "header" | "problem">> {
  try {
    const header = await format.fetchHeader(object);
    const { length: headerLength } = header;
    return {
      clientSideFormat: "framed",
      header: describeHeader({ ...header, headerLength, messageLength: object.storedLength }),
    };
  } catch (error) {
    if (hasCode(error, "NOT_ENCRYPTED")) return { clientSideFormat: "none" };
    if (!saysSomething(error)) throw error;
    const isFramed = object.metadata[framedNames.format] !== undefined;
    return { clientSideFormat: isFramed ? "framed" : "unknown", problem: error.message };
  }
}

/** Prints an object as text. */
export function printObject(object: ObjectDescription): void {
  print(`object          s3://${short(object.Bucket)}/${short(object.Key)}`);
  print(`stored length   ${object.storedLength}`);
  const keyId = object.serverSideKeyId === undefined ? "" : `, key ${short(object.serverSideKeyId)}`;
  print(`server side     ${short(object.serverSideEncryption)}${keyId}`);
  for (const [name, value] of Object.entries(object.metadata))
    print(`${USER_METADATA_PREFIX}${short(name)} ${short(value)}`);
  const { envelope } = object;
  if (envelope !== undefined) {
    print(`client side     ${object.clientSideFormat}, envelope in its ${envelope.place}`);
    print(`content         ${envelope.contentAlgorithm}`);
    print(`wrapped key     ${envelope.wrapAlgorithm}, ${envelope.encryptedDataKeyLength} bytes`);
    for (const [name, value] of Object.entries(envelope.description))
      print(`description     ${short(name)}=${short(value)}`);
  } else if (object.header !== undefined) printDescription(object.header);
  else if (object.problem === undefined) print("client side     not encrypted by frameseal");
  else print(`client side     ${object.clientSideFormat}: ${short(object.problem)}`);
}
