// An object that is stored again under its own name in another shape: what stays of it, and what must still stand there
// when the new one is stored.
import type * as S3 from "@aws-sdk/client-s3";
import { FramesealError } from "../errors.ts";
import { fromStoredEncoding } from "./content-encoding.ts";
import { type EncryptS3ClientOptions, encryptS3Client } from "./encrypt-s3-client.ts";
import { pinnableETag, sameETag } from "./etag.ts";
import { nameHeadError, preconditionFailed } from "./head-error.ts";
import type { ObjectFormat, ObjectLocation, OpenedObject, StoredObject } from "./object-format.ts";
import { isNotFound } from "./object-source.ts";
import { keptFields } from "./request-fields.ts";
import { visibleMetadata } from "./requests/get.ts";
import { findStored, type Mark, storeSurely } from "./requests/lost-answer.ts";
import { type ObjectTags, readTags } from "./requests/object-tags.ts";
import { statusOf } from "./transient-error.ts";
import { type S3ClientLike, Transport } from "./transport.ts";

/** What was done. */
export interface ReplacedObject {
  /** ETag of the object that was read, which nothing else has replaced meanwhile. */
  readonly previousETag: string | undefined;
  readonly eTag: string | undefined;
  readonly versionId: string | undefined;
  /**
   * What the object may have had and has no more, because it could not be read: `tags`, where the server has none or does
   * not let us, and `expires`, the header, when it is no date.
   */
  readonly notKept: readonly NotKept[];
}

/** See `ReplacedObject`. */
export type NotKept = "tags" | "expires";

/** One object under way. */
export interface ObjectJob {
  readonly client: S3ClientLike;
  readonly transport: Transport;
  readonly formats: readonly ObjectFormat[];
  readonly object: StoredObject;
  /** The object as it was seen first; everything is pinned to it. */
  readonly head: S3.HeadObjectCommandOutput;
  /** Which version of the object; undefined for the current one. */
  readonly versionId: string | undefined;
}

/**
 * Opens an object and seals it again as a stream. Nothing of it is stored before its last byte was verified.
 * @param open its plaintext
 * @param settingsOf how it is stored, once its header is proven
 */
export async function storeAgain(
  job: ObjectJob,
  open: () => Promise<OpenedObject>,
  settingsOf: (opened: OpenedObject) => Promise<EncryptS3ClientOptions>,
): Promise<ReplacedObject> {
  const { client, transport, object, head, formats } = job;
  const { bucket: Bucket, key: Key } = object.location;
  checkRestored(head);
  const { fields, notKept } = fieldsOf(head);
  const condition = await targetCondition(job);
  const tags = await tagsOf(job);
  const opened = await open();
  try {
    const writer = new Transport(encryptS3Client(client, await settingsOf(opened)), transport.signal);
    if (head.ETag !== undefined && pinnableETag(head.ETag) === undefined) await checkUnchanged(job);
    const output = await writer.putObject({
      ...fields,
      ...taggingOf(tags),
      ...condition,
      Bucket,
      Key,
      // What the head tells is that of the stored bytes.
      ContentEncoding: fromStoredEncoding(head.ContentEncoding, object.metadata),
      Metadata: visibleMetadata(object.metadata, formats),
      Body: opened.body,
      ContentLength: opened.plaintextLength,
    });
    return {
      previousETag: head.ETag,
      eTag: output.ETag,
      versionId: output.VersionId,
      notKept: withTags(notKept, tags),
    };
  } finally {
    opened.body.destroy();
  }
}

type Condition = { readonly IfMatch?: string; readonly IfNoneMatch?: string };
/** What is told of a stored object. */
export type Stored = { readonly ETag?: string | undefined; readonly VersionId?: string | undefined };

/** The condition that the object is still the one of this ETag. */
export function matchOf(eTag: string | undefined): Condition {
  const pin = pinnableETag(eTag);
  return pin === undefined ? {} : { IfMatch: pin };
}

/** What must still stand under the key when the result is stored. */
export async function targetCondition({ transport, object, head, versionId }: ObjectJob): Promise<Condition> {
  if (versionId === undefined) return matchOf(head.ETag);
  const { bucket: Bucket, key: Key } = object.location;
  try {
    return matchOf((await transport.headObject({ Bucket, Key })).ETag);
  } catch (error) {
    if (isNotFound(error)) return { IfNoneMatch: "*" };
    throw nameHeadError(error, "the current version of the object");
  }
}

/** @throws PreconditionFailed when the object is another one by now, for what no condition of a request can say */
async function checkUnchanged({ transport, object, head, versionId }: ObjectJob): Promise<void> {
  const { bucket: Bucket, key: Key } = object.location;
  const now = await transport.headObject({ Bucket, Key, VersionId: versionId }).catch((error: unknown) => {
    throw nameHeadError(error, "the object that is stored again");
  });
  const unchanged =
    (head.ETag === undefined || sameETag(now.ETag, head.ETag)) &&
    now.LastModified?.getTime() === head.LastModified?.getTime();
  if (!unchanged) throw preconditionFailed("the object was replaced meanwhile");
}

/**
 * Sends the request that makes the change, once the object has been seen unchanged, and looks when its answer is lost. A
 * server that knows no conditions is asked without.
 */
export async function sendChange<Output extends Stored>(
  job: ObjectJob,
  condition: Condition,
  send: (pinned: Condition) => Promise<Output>,
  where: ObjectLocation,
  mark: Mark,
  answer: (found: Stored) => Stored = (found) => found,
): Promise<Output> {
  const { transport } = job;
  await checkUnchanged(job);
  const look = async () => {
    const found = await findStored(where, mark, {}, transport);
    return found && (answer(found) as Output);
  };
  const once = (pinned: Condition) => storeSurely(() => send(pinned), look, transport.signal);
  return once(condition).catch(async (error: unknown) => {
    if (statusOf(error) !== 501 || Object.keys(condition).length === 0) throw error;
    await checkUnchanged(job);
    return once({});
  });
}

/** What a HEAD tells and a new object would not have by itself. */
export function fieldsOf(head: Partial<S3.HeadObjectCommandOutput>): {
  readonly fields: Partial<S3.CopyObjectCommandInput & S3.PutObjectCommandInput>;
  readonly notKept: readonly NotKept[];
} {
  const fields = keptFields({ ...head });
  const { ObjectLockMode: mode, ObjectLockRetainUntilDate: until } = head;
  // S3 refuses a retention that has ended, and half of one, which is all that some may see.
  if (mode === undefined || until === undefined || until.getTime() <= Date.now()) {
    delete fields.ObjectLockMode;
    delete fields.ObjectLockRetainUntilDate;
  }
  // Servers without locks refuse to be told that there is none.
  if (head.ObjectLockLegalHoldStatus !== "ON") delete fields.ObjectLockLegalHoldStatus;
  if (head.ObjectLockEventHold !== "ON") delete fields.ObjectLockEventHold;
  if (head.Expires !== undefined || head.ExpiresString === undefined) return { fields, notKept: [] };
  const date = new Date(head.ExpiresString);
  if (Number.isNaN(date.getTime())) return { fields, notKept: ["expires"] };
  return { fields: { ...fields, Expires: date }, notKept: [] };
}

/** @throws FramesealError UNSUPPORTED for an object whose bytes cannot be read before they are restored */
export function checkRestored({ StorageClass, ArchiveStatus, Restore }: S3.HeadObjectCommandOutput): void {
  const archived =
    ArchiveStatus ?? (/^(GLACIER|DEEP_ARCHIVE)$/.test(StorageClass ?? "") ? StorageClass : undefined);
  if (archived !== undefined && !/ongoing-request="false"/.test(Restore ?? ""))
    throw new FramesealError("UNSUPPORTED", `object is archived (${archived}): restore it first`);
}

/** The field that gives an object these tags. */
export function taggingOf(tags: ObjectTags): { Tagging?: string } {
  return tags.kind === "tags" ? { Tagging: tags.text } : {};
}

/** With the tags, if they are not known. */
export function withTags(notKept: readonly NotKept[], tags: ObjectTags): readonly NotKept[] {
  return tags.kind === "unknown" ? [...notKept, "tags"] : notKept;
}

/** Those of the object as it was seen. */
export function tagsOf({ transport, object, head, versionId }: ObjectJob) {
  const { bucket: Bucket, key: Key } = object.location;
  return readTags(transport, { Bucket, Key, VersionId: versionId }, head);
}
