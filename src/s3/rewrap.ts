// New master keys for stored objects. The data key of a single-message object is wrapped again and its body stays where
// it is; a framed object is encrypted again as a stream, because a new header under an old data key would repeat nonces.
import type * as S3 from "@aws-sdk/client-s3";
import { wipe } from "../bytes.ts";
import { type Checks, checkOptions, flag, needed, pickOptions, signal, text } from "../check-options.ts";
import { asAborted, FramesealError, hasCode } from "../errors.ts";
import type { EncryptionContext } from "../format/encryption-context.ts";
import { contextOption as encryptionContext } from "../format/encryption-context.ts";
import { DEFAULT_COMMITMENT_POLICY, defaultSuite, suiteById } from "../format/suite.ts";
import type { DataKeyRequest, Keyring } from "../keyring/keyring.ts";
import { keyringOption } from "../keyring/keyring.ts";
import { takeGeneratedKey, takeUnwrappedKey } from "../keyring/take-data-key.ts";
import { untilAborted } from "../until-aborted.ts";
import { formatCopySource } from "./copy-source.ts";
import { checkClient, encrypts } from "./derived-client.ts";
import { pinnableETag } from "./etag.ts";
import { createFormats, FORMAT_OPTIONS, type FormatOptions, keptSettings } from "./formats.ts";
import { boundContext } from "./framed/key-binding.ts";
import { nameHeadError } from "./head-error.ts";
import type { ObjectFormat, ObjectLocation } from "./object-format.ts";
import { LOCATION } from "./object-format.ts";
import { INSTRUCTION_FILE_SUFFIX, joinMetadata } from "./object-metadata.ts";
import { isNotFound } from "./object-source.ts";
import {
  checkRestored,
  fieldsOf,
  matchOf,
  type NotKept,
  type ObjectJob,
  type ReplacedObject,
  type Stored,
  sendChange,
  storeAgain,
  taggingOf,
  tagsOf,
  targetCondition,
  withTags,
} from "./replaced-object.ts";
import { describe, visibleMetadata } from "./requests/get.ts";
import { type Mark, markOfAll } from "./requests/lost-answer.ts";
import { type ObjectTags, readTags } from "./requests/object-tags.ts";
import { uploadParts } from "./requests/parts-upload.ts";
import { checkNotReserved } from "./requests/side-object.ts";
import type { UploadSettings } from "./requests/upload-settings.ts";
import { READ_OPTIONS, type ReadOptions } from "./resuming-source.ts";
import { type Envelope, encodeEnvelope, envelopePlace } from "./single-message/envelope.ts";
import { SingleMessageFormat } from "./single-message/format.ts";
import { encodeInstructionFile } from "./single-message/instruction-file.ts";
import { unwrapDataKey, wrapDataKey } from "./single-message/wrapped-key.ts";
import { bodyInRanges } from "./stored-bytes.ts";
import { statusOf } from "./transient-error.ts";
import { type S3ClientLike, Transport } from "./transport.ts";

// The format stays; no plaintext is handed out, early or late; and what nothing authenticates is not rewrapped.
type SharedOptions = Omit<
  FormatOptions,
  "keyring" | "format" | "authentication" | "bufferSize" | "enableLegacyUnauthenticatedModes"
> &
  ReadOptions;

/** Options of `rewrapObject`; those of reading apply to the object as it is. */
export interface RewrapOptions extends SharedOptions {
  /** Opens the object as it is. */
  readonly from: Keyring;
  /** Wraps from now on. */
  readonly to: Keyring;
  /**
   * From now on. By default a framed object keeps the pairs in its header, and an object of the other formats has those of
   * `encryptionContext` when `to` is KMS.
   */
  readonly newEncryptionContext?: EncryptionContext | undefined;
  /** Which version of the object; by default the current one. The result is a new version, and the current one. */
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

const {
  keyring: _,
  format: __,
  authentication: ___,
  bufferSize: ____,
  enableLegacyUnauthenticatedModes: _____,
  ...SHARED_OPTIONS
} = { ...FORMAT_OPTIONS, ...READ_OPTIONS };
/** What the options must be. */
const REWRAP_OPTIONS: Checks<RewrapOptions> = {
  ...SHARED_OPTIONS,
  from: needed(keyringOption),
  to: needed(keyringOption),
  newEncryptionContext: encryptionContext,
  versionId: text,
  enforceRotation: flag,
  newInstructionFileSuffix: text,
  signal,
};

/** What was done. */
export interface RewrapResult extends ReplacedObject {
  /** `re-encrypted` moved the whole object through this machine; of an `instruction-file` `eTag` and `versionId` are told. */
  readonly change: "metadata" | "instruction-file" | "re-encrypted";
  /** Key of the instruction file that was written. */
  readonly instructionFileKey: string | undefined;
}

/** S3 copies no more than this in one request. */
const MAX_COPY_LENGTH = 5 * 2 ** 30;
const COPY_PART_LENGTH = 512 * 2 ** 20;
/** Parts that S3 copies at a time. */
const COPY_CONCURRENCY = 4;

/**
 * Puts an object under another master key. `client` is the plain one, or one of `serverSideEncryptS3Client`. Metadata,
 * tags, storage class, server-side encryption, legal hold and a retention that still runs stay; the access control list
 * is that of a new object. Nothing changes unless the old key is proven to be that of the body: objects of version 3 and
 * framed ones prove it themselves, of version 2 the whole body is read for that.
 * @throws FramesealError POLICY, AUTHENTICATION_FAILED, INVALID_METADATA, NOT_ENCRYPTED, UNSUPPORTED for an archived object,
 * and those of the keyrings; errors of S3, such as PreconditionFailed when the object was replaced meanwhile
 */
export function rewrapObject(
  client: S3ClientLike,
  location: ObjectLocation,
  options: RewrapOptions,
): Promise<RewrapResult> {
  return rewrapWithin(client, location, options, {});
}

/** What an object may take of S3, and of this machine. */
interface RewrapLimits {
  /** What S3 copies in one request. */
  readonly copy?: number;
  readonly part?: number;
  /** How what is encrypted again is uploaded. */
  readonly upload?: UploadSettings;
}

/** One object under way. */
interface Job extends ObjectJob {
  readonly options: RewrapOptions;
  readonly limits: RewrapLimits;
}

/** The same with other limits. */
export async function rewrapWithin(
  client: S3ClientLike,
  givenLocation: ObjectLocation,
  givenOptions: RewrapOptions,
  limits: RewrapLimits,
): Promise<RewrapResult> {
  checkClient(client);
  if (encrypts(client)) throw new TypeError('"client" expected a client that does not encrypt');
  const location = checkOptions("location", givenLocation, LOCATION);
  const options = checkOptions("options", givenOptions, REWRAP_OPTIONS);
  try {
    return await rewrapLocated(client, location, options, limits);
  } catch (error) {
    throw asAborted(error, options.signal);
  }
}

async function rewrapLocated(
  client: S3ClientLike,
  location: ObjectLocation,
  options: RewrapOptions,
  limits: RewrapLimits,
): Promise<RewrapResult> {
  if (options.newInstructionFileSuffix?.startsWith("/"))
    throw new TypeError('"newInstructionFileSuffix" expected a string that begins with no slash');
  const { format, ...seen } = await see(client, location, options);
  const job: Job = { ...seen, options, limits };
  return format instanceof SingleMessageFormat ? rewrap(job, format) : reencrypt(job, format);
}

/** How an object is read to rewrap it. */
type Reading = SharedOptions & Pick<RewrapOptions, "from" | "versionId" | "signal">;

async function see(
  client: S3ClientLike,
  location: ObjectLocation,
  options: Reading,
): Promise<ObjectJob & { readonly format: ObjectFormat }> {
  const { from, signal, versionId } = options;
  // An envelope of CBC is read, to say of it that it cannot be rewrapped.
  const formats = createFormats({
    ...formatOptions(options, from),
    enableLegacyUnauthenticatedModes: true,
  });
  checkNotReserved(location.key, formats.all);
  const transport = new Transport(client, signal);
  const reading = { Bucket: location.bucket, Key: location.key, VersionId: versionId };
  const head = await transport.headObject(reading).catch((error: unknown) => {
    throw nameHeadError(error, "the object to rewrap");
  });
  const { format, object } = await describe(head, head.ContentLength, location, reading, formats, transport);
  return { client, transport, formats: formats.all, object, head, versionId, format };
}

/** What `rewrapObject` would do, as far as an object tells without a key. Nothing of it is verified. */
export interface RewrapPlan {
  readonly change: RewrapResult["change"];
  /** Bytes that this machine would read. */
  readonly readLength: number;
}

/** Tells what would be done to an object. Needs no key, and changes nothing. */
export async function planRewrap(
  client: S3ClientLike,
  location: ObjectLocation,
  options: Reading,
): Promise<RewrapPlan> {
  const { object, format } = await see(client, location, options);
  const { storedLength } = object;
  if (!(format instanceof SingleMessageFormat)) return { change: "re-encrypted", readLength: storedLength };
  const { version } = await format.readEnvelope(object);
  const isInMetadata = envelopePlace(object.metadata) === "metadata";
  return {
    change: isInMetadata ? "metadata" : "instruction-file",
    readLength: version === 3 ? 0 : storedLength, // the whole body proves the key
  };
}

/**
 * Proves that `from` opens an object as it is.
 * @returns its ETag
 * @throws FramesealError when it does not
 */
export async function proveKey(
  client: S3ClientLike,
  location: ObjectLocation,
  options: Reading,
): Promise<string | undefined> {
  const { object, format, head } = await see(client, location, options);
  if (format instanceof SingleMessageFormat)
    wipe(await format.unwrapProven(object, await format.readEnvelope(object)));
  else (await format.openWhole(object, bodyInRanges(object))).body.destroy();
  return head.ETag;
}

// A single-message object: only its envelope changes.
async function rewrap(job: Job, format: SingleMessageFormat): Promise<RewrapResult> {
  const { object, head, options } = job;
  const { from, to, signal } = options;
  const inFile = envelopePlace(object.metadata) !== "metadata";
  if (!inFile && options.newInstructionFileSuffix !== undefined)
    throw new FramesealError(
      "POLICY",
      "the object has its envelope in its metadata, not in an instruction file",
    );
  const oldFile = inFile ? await seeFile(job, fileKeyOf(job, options.instructionFileSuffix)) : undefined;
  const envelope = await format.readEnvelope(object);
  if (envelope.content === "cbc")
    throw new FramesealError(
      "POLICY",
      "nothing authenticates this object (AES/CBC): encrypt it again instead",
    );
  if (!inFile || envelope.version !== 3) checkRestored(head);
  const dataKey = await format.unwrapProven(object, envelope);
  let renewed: Envelope;
  try {
    const encryptionContext = options.newEncryptionContext ?? options.encryptionContext ?? {};
    const wrapped = await wrapDataKey(dataKey, envelope.content, { keyring: to, encryptionContext, signal });
    renewed = { ...envelope, ...wrapped };
  } finally {
    wipe(dataKey);
  }
  if (options.enforceRotation === true) await checkRotated(renewed, { ...options, from });
  return oldFile === undefined ? replaceMetadata(job, format, renewed) : replaceFile(job, renewed, oldFile);
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
  throw notRotated();
}

/** An instruction file as it is, or `none` where there is none. */
type SeenFile = { readonly key: string; readonly head: S3.HeadObjectCommandOutput | "none" };

function fileKeyOf({ object }: Job, suffix = INSTRUCTION_FILE_SUFFIX): string {
  return `${object.location.key}${suffix}`;
}

async function seeFile({ transport, object }: Job, key: string): Promise<SeenFile> {
  try {
    return { key, head: await transport.headObject({ Bucket: object.location.bucket, Key: key }) };
  } catch (error) {
    if (isNotFound(error)) return { key, head: "none" };
    throw nameHeadError(error, "the instruction file of the object");
  }
}

// Writes the envelope over the file that was read, or next to it, with what the old file had.
async function replaceFile(job: Job, envelope: Envelope, oldFile: SeenFile): Promise<RewrapResult> {
  const { transport, object, options } = job;
  const key = fileKeyOf(job, options.newInstructionFileSuffix ?? options.instructionFileSuffix);
  const seen = key === oldFile.key ? oldFile : await seeFile(job, key);
  const file = encodeInstructionFile(key, encodeEnvelope(envelope).movable);
  const like: Partial<S3.HeadObjectCommandOutput> = oldFile.head === "none" ? {} : oldFile.head;
  const { fields, notKept } = fieldsOf(like);
  const location = { ...object.location, key: oldFile.key };
  const tags = await readTags(transport, { Bucket: location.bucket, Key: location.key }, like);
  const condition = seen.head === "none" ? { IfNoneMatch: "*" } : matchOf(seen.head.ETag);
  const output = await sendChange(
    job,
    condition,
    (pinned) =>
      transport.putObject({
        ...fields,
        ...taggingOf(tags),
        ...pinned,
        Bucket: object.location.bucket,
        Key: key,
        Body: file.body,
        Metadata: { ...like.Metadata, ...file.metadata },
      }),
    { ...object.location, key },
    markOfAll(file.body),
  );
  return {
    change: "instruction-file",
    previousETag: job.head.ETag,
    eTag: output.ETag,
    versionId: output.VersionId,
    instructionFileKey: key,
    notKept: withTags(notKept, tags),
  };
}

// Copies the object onto itself with another envelope.
async function replaceMetadata(
  job: Job,
  format: SingleMessageFormat,
  envelope: Envelope,
): Promise<RewrapResult> {
  const { transport, object, head, versionId, limits } = job;
  const { bucket: Bucket, key: Key } = object.location;
  const { bound, movable } = encodeEnvelope(envelope);
  const Metadata = joinMetadata(visibleMetadata(object.metadata, [format]), { ...bound, ...movable });
  const mark: Mark = { kind: "metadata", entries: { ...bound, ...movable } };
  const eTag = pinnableETag(head.ETag);
  const source = {
    CopySource: formatCopySource({ ...object.location, versionId }),
    ...(eTag === undefined ? {} : { CopySourceIfMatch: eTag }),
  };
  const { fields, notKept } = fieldsOf(head);
  const target = { Bucket, Key, ...fields, Metadata };
  const condition = await targetCondition(job);
  if (object.storedLength <= (limits.copy ?? MAX_COPY_LENGTH)) {
    const copy = (more: object) => (pinned: object) =>
      transport.copyObject({ ...target, ...source, ...pinned, ...more, MetadataDirective: "REPLACE" });
    const answer = (found: Stored) => ({ ...found, CopyObjectResult: { ETag: found.ETag } });
    const where = object.location;
    let tags: ObjectTags = { kind: "none" }; // S3 copies them
    const output = await sendChange(job, condition, copy({}), where, mark, answer).catch(
      async (error: unknown) => {
        // S3 does not copy tags for those who may not read them.
        if (statusOf(error) !== 403 || (await tagsOf(job)).kind !== "unknown") throw error;
        tags = { kind: "unknown" };
        return sendChange(job, condition, copy({ TaggingDirective: "REPLACE" }), where, mark, answer);
      },
    );
    return changed(job, output.CopyObjectResult?.ETag, output.VersionId, withTags(notKept, tags));
  }
  const { part = COPY_PART_LENGTH } = limits;
  const tags = await tagsOf(job);
  const create = { ...target, ...taggingOf(tags) };
  const output = await uploadParts(
    { location: object.location, create, concurrency: COPY_CONCURRENCY },
    transport,
    async (sender) => {
      for (let start = 0, number = 1; start < object.storedLength; start += part, number++) {
        const end = Math.min(object.storedLength, start + part);
        await sender.copy(number, { ...source, CopySourceRange: `bytes=${start}-${end - 1}` });
      }
      // Somebody may have replaced the object after the last part was copied.
      return { complete: (send) => sendChange(job, condition, send, object.location, mark) };
    },
  );
  return changed(job, output.ETag, output.VersionId, withTags(notKept, tags));
}

// A framed object: opened and sealed again as a stream.
async function reencrypt(job: Job, format: ObjectFormat): Promise<RewrapResult> {
  const { object, options, limits } = job;
  const open = () => format.openWhole(object, bodyInRanges(object));
  const replaced = await storeAgain(job, open, async (opened) => {
    const settings = {
      ...formatOptions(options, options.to),
      ...keptSettings(options, opened.header),
      ...(options.newEncryptionContext === undefined
        ? {}
        : {
            encryptionContext: options.newEncryptionContext,
            requiredEncryptionContextKeys: options.requiredEncryptionContextKeys,
          }),
    };
    if (options.enforceRotation === true) await checkNewKey(options, settings, object.location);
    return { ...settings, ...limits.upload };
  });
  return { change: "re-encrypted", ...replaced, instructionFileKey: undefined };
}

// With a key that wraps nothing: what `to` wraps must be closed to `from` before anything of the object moves.
async function checkNewKey(
  { from, to, signal }: RewrapOptions,
  {
    suite,
    commitmentPolicy = DEFAULT_COMMITMENT_POLICY,
    bind,
    encryptionContext = {},
  }: Pick<FormatOptions, "suite" | "commitmentPolicy" | "bind" | "encryptionContext">,
  location: ObjectLocation,
): Promise<void> {
  const request: DataKeyRequest = {
    suite: suite === undefined ? defaultSuite(commitmentPolicy) : suiteById(suite),
    commitmentPolicy,
    encryptionContext: boundContext(bind, location, encryptionContext),
    ...(signal === undefined ? {} : { signal }),
  };
  const { dataKey, encryptedDataKeys } = await untilAborted(takeGeneratedKey(to, request), signal);
  wipe(dataKey);
  let opened: Uint8Array | null;
  try {
    opened = await untilAborted(takeUnwrappedKey(from, encryptedDataKeys, request), signal);
  } catch (error) {
    if (NOT_OPENED.some((code) => hasCode(error, code))) return;
    throw error;
  }
  if (opened === null) return;
  wipe(opened);
  throw notRotated();
}

function notRotated(): FramesealError {
  return new FramesealError("POLICY", "the old key would still open the object: it was not rotated");
}

function formatOptions(options: SharedOptions, keyring: Keyring): FormatOptions & ReadOptions {
  return { ...pickOptions<SharedOptions>(options, SHARED_OPTIONS), keyring };
}

function changed(
  { head }: Job,
  eTag: string | undefined,
  versionId: string | undefined,
  notKept: readonly NotKept[],
): RewrapResult {
  const previousETag = head.ETag;
  return { change: "metadata", previousETag, eTag, versionId, instructionFileKey: undefined, notKept };
}
