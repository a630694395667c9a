// New master keys for stored objects. The data key of a single-message object is wrapped again and its body stays where
// it is; a framed object is encrypted again as a stream, because a new header under an old data key would repeat nonces.
import type * as S3 from "@aws-sdk/client-s3";
import { wipe } from "../bytes.ts";
import { FramesealError, hasCode } from "../errors.ts";
import type { EncryptionContext } from "../format/encryption-context.ts";
import type { Keyring } from "../keyring/keyring.ts";
import { checkKeyring } from "../message/seal-message.ts";
import { type EncryptS3ClientOptions, encryptS3Client, encrypts } from "./encrypt-s3-client.ts";
import { createFormats, type FormatOptions } from "./formats.ts";
import type { ObjectLocation, StoredObject } from "./object-format.ts";
import { INSTRUCTION_FILE_SUFFIX, joinMetadata } from "./object-metadata.ts";
import { bodyOf } from "./object-source.ts";
import { DESCRIBING_FIELDS } from "./requests/copy.ts";
import { describe, visibleMetadata } from "./requests/get.ts";
import { abortUpload } from "./requests/parts-upload.ts";
import { type Envelope, encodeEnvelope, envelopePlace } from "./single-message/envelope.ts";
import { SingleMessageFormat } from "./single-message/format.ts";
import { encodeInstructionFile } from "./single-message/instruction-file.ts";
import { unwrapDataKey, wrapDataKey } from "./single-message/wrapped-key.ts";
import { type S3ClientLike, Transport } from "./transport.ts";

/** Options of `rewrapObject`; those of reading apply to the object as it is. */
export interface RewrapOptions extends Omit<FormatOptions, "keyring" | "format"> {
  /** Opens the object as it is. */
  readonly from: Keyring;
  /** Wraps from now on. */
  readonly to: Keyring;
  /** For `to` when it is KMS; by default that of `encryptionContext`. */
  readonly newEncryptionContext?: EncryptionContext | undefined;
  /** Which version of the object; by default the current one. The result is a new version. */
  readonly versionId?: string | undefined;
  /** Refuses to go on when `from` would still open the result; by default false. */
  readonly enforceRotation?: boolean | undefined;
  /**
   * Writes the new envelope to an instruction file of this suffix, next to the old one, so that a reader with another
   * key can be given its own. Only for objects that have an instruction file.
   */
  readonly newInstructionFileSuffix?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What was done. */
export interface RewrapResult {
  /** `re-encrypted` moved the whole object through this machine. */
  readonly change: "metadata" | "instruction-file" | "re-encrypted";
  readonly eTag: string | undefined;
  readonly versionId: string | undefined;
  /** Key of the instruction file that was written. */
  readonly instructionFileKey: string | undefined;
}

/** S3 copies no more than this in one request. */
const MAX_COPY_LENGTH = 5 * 2 ** 30;
const COPY_PART_LENGTH = 512 * 2 ** 20;

/**
 * Puts an object under another master key. `client` is the plain one, or one of `serverSideEncryptS3Client`. Metadata,
 * tags, storage class and server-side encryption stay; the access control list is that of a new object.
 * @throws FramesealError POLICY, AUTHENTICATION_FAILED, INVALID_METADATA, NOT_ENCRYPTED, and those of the keyrings;
 * errors of S3, such as PreconditionFailed when the object was replaced meanwhile
 */
export function rewrapObject(
  client: S3ClientLike,
  location: ObjectLocation,
  options: RewrapOptions,
): Promise<RewrapResult> {
  return rewrapWithin(client, location, options, { copy: MAX_COPY_LENGTH, part: COPY_PART_LENGTH });
}

/** The same with other limits of S3. */
export async function rewrapWithin(
  client: S3ClientLike,
  location: ObjectLocation,
  options: RewrapOptions,
  limits: { readonly copy: number; readonly part: number },
): Promise<RewrapResult> {
  if (encrypts(client)) throw new TypeError('"client" expected a client that does not encrypt');
  checkKeyring(options?.from);
  checkKeyring(options?.to);
  const { from, to, signal, versionId } = options;
  const transport = new Transport(client, signal);
  const reading = { Bucket: location.bucket, Key: location.key, VersionId: versionId };
  const head = await transport.headObject(reading);
  const formats = createFormats({ ...options, keyring: from });
  const { format, object } = await describe(head, head.ContentLength, location, reading, formats, transport);
  if (!(format instanceof SingleMessageFormat)) return reencrypt(client, object, head, options);
  const envelope = await format.readEnvelope(object);
  if (envelope.content === "cbc")
    throw new FramesealError(
      "POLICY",
      "nothing authenticates this object (AES/CBC): encrypt it again instead",
    );
  const dataKey = await format.unwrapChecked(envelope, signal);
  let renewed: Envelope;
  try {
    const encryptionContext = options.newEncryptionContext ?? options.encryptionContext ?? {};
    const wrapped = await wrapDataKey(dataKey, envelope.content, { keyring: to, encryptionContext, signal });
    renewed = { ...envelope, ...wrapped };
  } finally {
    wipe(dataKey);
  }
  if (options.enforceRotation === true) await checkRotated(renewed, options);
  if (envelopePlace(object.metadata) === "metadata") {
    if (options.newInstructionFileSuffix !== undefined)
      throw new FramesealError(
        "POLICY",
        "the object has its envelope in its metadata, not in an instruction file",
      );
    return replaceMetadata(transport, format, object, head, renewed, versionId, limits);
  }
  const suffix = options.newInstructionFileSuffix ?? options.instructionFileSuffix ?? INSTRUCTION_FILE_SUFFIX;
  const file = encodeInstructionFile(`${location.key}${suffix}`, encodeEnvelope(renewed).movable);
  const output = await transport.putObject({
    Bucket: location.bucket,
    Key: file.key,
    Body: file.body,
    Metadata: { ...file.metadata },
  });
  return {
    change: "instruction-file",
    eTag: output.ETag,
    versionId: output.VersionId,
    instructionFileKey: file.key,
  };
}

const NOT_OPENED = ["AUTHENTICATION_FAILED", "NO_DATA_KEY", "CONTEXT_MISMATCH", "POLICY"] as const;

async function checkRotated(
  envelope: Envelope,
  { from, encryptionContext, signal }: RewrapOptions,
): Promise<void> {
  let dataKey: Uint8Array;
  try {
    dataKey = await unwrapDataKey(envelope, {
      keyring: from,
      encryptionContext: encryptionContext ?? {},
      signal,
    });
  } catch (error) {
    if (NOT_OPENED.some((code) => hasCode(error, code))) return;
    throw error;
  }
  wipe(dataKey);
  throw new FramesealError("POLICY", "the old key would still open the object: it was not rotated");
}

// Copies the object onto itself with another envelope.
async function replaceMetadata(
  transport: Transport,
  format: SingleMessageFormat,
  object: StoredObject,
  head: S3.HeadObjectCommandOutput,
  envelope: Envelope,
  versionId: string | undefined,
  limits: { readonly copy: number; readonly part: number },
): Promise<RewrapResult> {
  const { bucket: Bucket, key: Key } = object.location;
  const { bound, movable } = encodeEnvelope(envelope);
  const Metadata = joinMetadata(visibleMetadata(object.metadata, [format]), { ...bound, ...movable });
  const version = versionId === undefined ? "" : `?versionId=${encodeURIComponent(versionId)}`;
  const CopySource = `${Bucket}/${Key.split("/").map(encodeURIComponent).join("/")}${version}`;
  const source = { CopySource, CopySourceIfMatch: head.ETag };
  const target = { Bucket, Key, ...keptFields(head), Metadata };
  if (object.storedLength <= limits.copy) {
    const output = await transport.copyObject({ ...target, ...source, MetadataDirective: "REPLACE" });
    return changed("metadata", output.CopyObjectResult?.ETag, output.VersionId);
  }
  const Tagging = await taggingOf(transport, { Bucket, Key, VersionId: versionId }, head);
  const { UploadId } = await transport.createMultipartUpload({ ...target, ...Tagging });
  if (UploadId === undefined) throw new FramesealError("UNSUPPORTED", "server gave no upload id");
  try {
    const parts: S3.CompletedPart[] = [];
    for (let start = 0; start < object.storedLength; start += limits.part) {
      const end = Math.min(object.storedLength, start + limits.part);
      const PartNumber = parts.length + 1;
      const CopySourceRange = `bytes=${start}-${end - 1}`;
      const part = { Bucket, Key, UploadId, PartNumber, CopySourceRange, ...source };
      const { CopyPartResult } = await transport.uploadPartCopy(part);
      parts.push({ ...CopyPartResult, PartNumber });
    }
    const output = await transport.completeMultipartUpload({
      Bucket,
      Key,
      UploadId,
      // Somebody may have replaced the object after the last part was copied.
      ...(versionId === undefined ? { IfMatch: head.ETag } : {}),
      MultipartUpload: { Parts: parts },
    });
    return changed("metadata", output.ETag, output.VersionId);
  } catch (error) {
    await abortUpload(transport, { Bucket, Key, UploadId });
    throw error;
  }
}

async function reencrypt(
  client: S3ClientLike,
  object: StoredObject,
  head: S3.HeadObjectCommandOutput,
  options: RewrapOptions,
): Promise<RewrapResult> {
  const { from, to, newEncryptionContext, signal, versionId } = options;
  const { bucket: Bucket, key: Key } = object.location;
  const common: EncryptS3ClientOptions = { ...options, keyring: from };
  const reader = new Transport(encryptS3Client(client, common), signal);
  const writer = new Transport(
    encryptS3Client(client, {
      ...common,
      keyring: to,
      encryptionContext: newEncryptionContext ?? options.encryptionContext,
    }),
    signal,
  );
  const transport = new Transport(client, signal);
  const tagging = await taggingOf(transport, { Bucket, Key, VersionId: versionId }, head);
  const got = await reader.getObject({ Bucket, Key, VersionId: versionId, IfMatch: head.ETag });
  const output = await writer.putObject({
    Bucket,
    Key,
    ...keptFields(head),
    ...tagging,
    ContentEncoding: got.ContentEncoding, // what the head tells is that of the stored bytes
    Metadata: got.Metadata,
    Body: bodyOf(got),
    ContentLength: got.ContentLength,
    ...(versionId === undefined ? { IfMatch: head.ETag } : {}),
  });
  return changed("re-encrypted", output.ETag, output.VersionId);
}

function changed(change: "metadata" | "re-encrypted", eTag?: string, versionId?: string): RewrapResult {
  return { change, eTag, versionId, instructionFileKey: undefined };
}

/** What a HEAD tells and a new object would not have by itself. */
const KEPT_FIELDS = [
  ...DESCRIBING_FIELDS,
  "StorageClass",
  "ServerSideEncryption",
  "SSEKMSKeyId",
  "BucketKeyEnabled",
  "ObjectLockMode",
  "ObjectLockRetainUntilDate",
  "ObjectLockLegalHoldStatus",
] as const;

function keptFields(
  head: S3.HeadObjectCommandOutput,
): Partial<S3.CopyObjectCommandInput & S3.PutObjectCommandInput> {
  const kept: Record<string, unknown> = {};
  for (const name of KEPT_FIELDS) if (head[name] !== undefined) kept[name] = head[name];
  return kept;
}

// CopyObject keeps tags by itself; nothing else does.
async function taggingOf(
  transport: Transport,
  object: S3.GetObjectTaggingCommandInput,
  head: S3.HeadObjectCommandOutput,
): Promise<{ Tagging?: string }> {
  if (head.TagCount === 0) return {};
  const { TagSet = [] } = await transport.getObjectTagging(object);
  if (TagSet.length === 0) return {};
  return {
    Tagging: new URLSearchParams(
      TagSet.map(({ Key = "", Value = "" }): [string, string] => [Key, Value]),
    ).toString(),
  };
}
