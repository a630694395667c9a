// What stands next to an object and belongs to it: the instruction file. It shares the object's fate.
//
// It is stored after the object, because only then the condition of the object is known to hold: a put that fails leaves
// the old object and its file as they were. If the file then cannot be stored, the object is taken back where that leaves
// everything as it was (in a versioned bucket, or when there was none); elsewhere the old one is gone, so the new one is
// made readable without a file: its envelope is moved into its metadata. If that fails too, the new one is deleted, and the
// error says that the old one is gone. A crash in between leaves an object without its
// file, which was never reported as stored; a bucket without versions has lost the old one, as it would have with the file
// first. Two writers at once: the file is stored only over the one that was seen before the
// object, so that it never lands on that of a newer object.
import { setTimeout as sleep } from "node:timers/promises";
import { FramesealError, hasCode, isFramesealError } from "../../errors.ts";
import { formatCopySource } from "../copy-source.ts";
import { pinnableETag, sameETag } from "../etag.ts";
import type { ObjectFormat, ObjectLocation, SideObject } from "../object-format.ts";
import { joinMetadata, normalizeMetadata } from "../object-metadata.ts";
import { bodyOf, collectExactly, isNotFound } from "../object-source.ts";
import { keptFields, repeatFields } from "../request-fields.ts";
import { statusOf } from "../transient-error.ts";
import type { GetObjectInput, Next, Transport } from "../transport.ts";
import { findStored, markOfAll } from "./lost-answer.ts";

type Fields = Readonly<Record<string, unknown>>;

/** Side objects are small: what is longer is none. */
const MAX_SIDE_OBJECT_LENGTH = 64 * 1024;
/** Times that a side object is tried, each with the attempts of the SDK. */
const ATTEMPTS = 5;
const PAUSE_MS = 100;
/** After an abort, time to finish what would otherwise leave an object that nobody can read. */
const GRACE_MS = 5000;
/** Side objects that are looked at together. */
const LOOKS_AT_A_TIME = 10;

/**
 * Refuses to store an object under a key that side objects have: it would destroy, or be taken for, that of another.
 * @throws FramesealError POLICY
 */
export function checkNotReserved(key: string, formats: readonly ObjectFormat[]): void {
  for (const format of formats)
    for (const suffix of format.sideObjectKeys(""))
      if (key.length > suffix.length && key.endsWith(suffix))
        throw new FramesealError(
          "POLICY",
          `keys that end in ${suffix} are those of instruction files: choose another key or "instructionFileSuffix", or set "instructionFiles" to ignore`,
        );
}

/** What an answer says about the object that was stored. */
export interface StoredAnswer {
  readonly ETag?: string | undefined;
  readonly VersionId?: string | undefined;
}

/**
 * Stores an object and then its side object, if it has one.
 * @param input the caller's request: encryption, lock, tags, ACL and access of the side object are the same
 * @param store stores the object
 * @param answerOf finds in the answer what tells about the stored object
 */
export async function storeWithSideObject<Output>(
  sideObject: SideObject | undefined,
  { location, input, transport }: { location: ObjectLocation; input: Fields; transport: Transport },
  store: () => Promise<Output>,
  answerOf: (output: Output) => StoredAnswer,
): Promise<Output> {
  if (sideObject === undefined) return store();
  const seen = await seeTag(location.bucket, sideObject.key, input, transport);
  const output = await store();
  const graced = withGrace(transport.signal);
  try {
    const writer = new SideObjectWriter(sideObject, location, input, transport.withSignal(graced.signal));
    Object.assign(answerOf(output), await writer.write(seen, answerOf(output)));
  } finally {
    graced.end();
  }
  return output;
}

/** The tag of what stands under a key; `none` if nothing does, `unknown` if we may not or cannot know. */
type SeenTag = { readonly kind: "none" | "unknown" } | { readonly kind: "tag"; readonly eTag: string };

async function seeTag(bucket: string, key: string, input: Fields, transport: Transport): Promise<SeenTag> {
  try {
    const { ETag } = await transport.headObject({
      ...repeatFields(input, "HeadObject"),
      Bucket: bucket,
      Key: key,
    });
    const eTag = pinnableETag(ETag);
    return eTag === undefined ? { kind: "unknown" } : { kind: "tag", eTag };
  } catch (error) {
    if (isNotFound(error)) return { kind: "none" };
    const status = statusOf(error);
    if (status !== undefined && (status < 500 || status === 501)) return { kind: "unknown" };
    throw error;
  }
}

function conditionOf(seen: SeenTag): { IfMatch?: string; IfNoneMatch?: string } {
  if (seen.kind === "tag") return { IfMatch: seen.eTag };
  return seen.kind === "none" ? { IfNoneMatch: "*" } : {};
}

/** Stores the side object of one object that has just been stored. */
class SideObjectWriter {
  readonly #side: SideObject;
  readonly #location: ObjectLocation;
  readonly #input: Fields;
  readonly #transport: Transport;

  constructor(side: SideObject, location: ObjectLocation, input: Fields, transport: Transport) {
    this.#side = side;
    this.#location = location;
    this.#input = input;
    this.#transport = transport;
  }

  /** Resolves to what is different about the object now. */
  async write(before: SeenTag, answer: StoredAnswer): Promise<StoredAnswer> {
    let seen = before;
    for (let attempt = 1; ; attempt++)
      try {
        await this.#put(seen);
        return {};
      } catch (error) {
        // When the answer was lost, or somebody has stored a newer object: then the file is its own.
        if ((await this.#isThere()) || !(await this.#isCurrent(answer))) return {};
        const next = attempt < ATTEMPTS ? await this.#afterFailure(seen, error, attempt) : undefined;
        if (next === undefined) return this.#withoutFile(answer, error);
        seen = next;
      }
  }

  // Nobody can read the object as it is.
  async #withoutFile(answer: StoredAnswer, error: unknown): Promise<StoredAnswer> {
    const isNew = this.#input.IfNoneMatch === "*" || (answer.VersionId ?? "null") !== "null";
    const moved = isNew ? undefined : await this.#moveIntoMetadata(answer).catch(() => undefined);
    // What was refused here, such as sealed bytes that middleware has changed, is never passed over.
    if (moved !== undefined && hasCode(error, "POLICY")) throw error;
    if (moved !== undefined) return moved;
    const what = "the object was stored, but not its instruction file";
    const gone = isNew ? "" : "; what was under its key before is gone";
    if (!(await this.#takeBack(answer)))
      throw lost(
        error,
        `${what}, and it could not be deleted again: nobody can read it${gone}; put it again`,
      );
    if (isNew) throw error;
    throw lost(
      error,
      `${what}, so it was deleted again${gone}, as the bucket keeps no versions: put it again`,
    );
  }

  // Over what to try again, or undefined when that is of no use.
  async #afterFailure(seen: SeenTag, error: unknown, attempt: number): Promise<SeenTag | undefined> {
    const status = statusOf(error);
    if (this.#transport.signal?.aborted || hasCode(error, "POLICY")) return undefined;
    // A server that knows no conditions.
    if (status === 501 && seen.kind !== "unknown") return { kind: "unknown" };
    const isOvertaken = seen.kind !== "unknown" && wasReplaced(error);
    if (!isOvertaken && status !== undefined && status >= 400 && status < 500) return undefined;
    await sleep(PAUSE_MS * 2 ** attempt);
    if (!isOvertaken) return seen;
    return seeTag(this.#location.bucket, this.#side.key, this.#input, this.#transport).catch(() => undefined);
  }

  async #put(seen: SeenTag): Promise<void> {
    const { key, body, metadata } = this.#side;
    await this.#transport.putObject({
      ...repeatFields(this.#input, "SideObject"),
      ...conditionOf(seen),
      Bucket: this.#location.bucket,
      Key: key,
      Body: body,
      Metadata: { ...metadata },
    });
  }

  async #isThere(): Promise<boolean> {
    const { bucket } = this.#location;
    const { key, body } = this.#side;
    const access = repeatFields(this.#input, "GetObject");
    const look = findStored({ bucket, key }, markOfAll(body), access, this.#transport);
    const found = await look.catch(() => undefined);
    return found !== undefined;
  }

  // True unless it is certain that the object is another one by now.
  async #isCurrent({ ETag }: StoredAnswer): Promise<boolean> {
    const { bucket: Bucket, key: Key } = this.#location;
    try {
      const access = repeatFields(this.#input, "HeadObject");
      const head = await this.#transport.headObject({ ...access, Bucket, Key });
      return head.ETag === undefined || ETag === undefined || sameETag(head.ETag, ETag);
    } catch (error) {
      return !isNotFound(error);
    }
  }

  async #moveIntoMetadata({ ETag }: StoredAnswer): Promise<StoredAnswer> {
    const { bucket: Bucket, key: Key } = this.#location;
    const head = await this.#transport.headObject({
      ...repeatFields(this.#input, "HeadObject"),
      Bucket,
      Key,
    });
    const { Tagging: _, ...asked } = repeatFields(this.#input, "SideObject"); // S3 copies tags
    const { SSECustomerAlgorithm, SSECustomerKey, SSECustomerKeyMD5 } = asked as GetObjectInput;
    const output = await this.#transport.copyObject({
      ...keptFields({ ...head }),
      ...asked,
      CopySource: formatCopySource({ ...this.#location, versionId: undefined }),
      CopySourceIfMatch: pinnableETag(ETag),
      CopySourceSSECustomerAlgorithm: SSECustomerAlgorithm,
      CopySourceSSECustomerKey: SSECustomerKey,
      CopySourceSSECustomerKeyMD5: SSECustomerKeyMD5,
      Bucket,
      Key,
      MetadataDirective: "REPLACE",
      Metadata: joinMetadata(normalizeMetadata(head.Metadata), this.#side.entries),
    });
    const { VersionId } = output;
    const eTag = output.CopyObjectResult?.ETag ?? ETag;
    return { ETag: eTag, ...(VersionId === undefined ? {} : { VersionId }) };
  }

  async #takeBack({ VersionId, ETag }: StoredAnswer): Promise<boolean> {
    const { bucket: Bucket, key: Key } = this.#location;
    const eTag = pinnableETag(ETag);
    const which = VersionId !== undefined ? { VersionId } : eTag !== undefined ? { IfMatch: eTag } : {};
    try {
      const access = repeatFields(this.#input, "DeleteObject");
      await this.#transport.deleteObject({ ...access, Bucket, Key, ...which });
      return true;
    } catch {
      return false;
    }
  }
}

/** The error of a put that did not leave everything as it was. */
function lost(cause: unknown, message: string): FramesealError {
  return new FramesealError(isFramesealError(cause) ? cause.code : "NETWORK", message, { cause });
}

/**
 * Deletes objects, and then the side objects that they had. Those are looked at before, and deleted only if they still are
 * what they were: neither an object of somebody else that only has such a name, nor the file of a newer object goes along.
 * @param input DeleteObject or DeleteObjects
 * @param send sends it
 */
export async function deleteWithSideObjects(
  input: Fields,
  format: ObjectFormat,
  transport: Transport,
  send: () => ReturnType<Next>,
): ReturnType<Next> {
  const many = (input.Delete as { Objects?: ObjectIdentifier[] } | undefined)?.Objects;
  const objects = many ?? [input as ObjectIdentifier];
  // A file stands next to the current version.
  const keys = objects.flatMap(({ Key, VersionId }) =>
    Key === undefined || VersionId !== undefined ? [] : [Key],
  );
  const sides = await findSideObjects(keys, format, String(input.Bucket), input, transport);
  const result = await send();
  const errors = (result.output.Errors as { Key?: string }[] | undefined) ?? [];
  const failed = new Set(errors.map(({ Key }) => Key));
  const left = sides.filter(({ of }) => !failed.has(of));
  if (left.length === 0) return result;
  const access = { ...repeatFields(input, "DeleteObject"), Bucket: String(input.Bucket) };
  if (many === undefined) {
    for (const { key: Key, eTag } of left)
      await conditionally(eTag !== undefined, (pinned) =>
        transport.deleteObject({ ...access, Key, ...(pinned ? { IfMatch: eTag } : {}) }),
      ).catch((error: unknown) => {
        if (!wasReplaced(error)) throw error;
      });
    return result;
  }
  const { Errors = [] } = await conditionally(true, (pinned) => {
    const Objects = left.map(({ key: Key, eTag: ETag }) => ({ Key, ...(pinned && ETag ? { ETag } : {}) }));
    return transport.deleteObjects({ ...access, Delete: { Objects, Quiet: true } });
  });
  const real = Errors.filter(({ Code }) => Code !== "PreconditionFailed" && Code !== "NoSuchKey");
  if (real.length === 0) return result;
  return { ...result, output: { ...result.output, Errors: [...errors, ...real] } };
}

// Sends a request with its condition, and without when the server knows none.
async function conditionally<Output>(
  possible: boolean,
  send: (pinned: boolean) => Promise<Output>,
): Promise<Output> {
  if (!possible) return send(false);
  return send(true).catch((error: unknown) => {
    if (statusOf(error) !== 501) throw error;
    return send(false);
  });
}

interface ObjectIdentifier {
  readonly Key?: string | undefined;
  readonly VersionId?: string | undefined;
}

/** True when what a condition named has been replaced or is gone. */
function wasReplaced(error: unknown): boolean {
  return [404, 409, 412].includes(statusOf(error) ?? 0);
}

/** A side object that is there. */
interface SeenSideObject {
  /** Key of the object. */
  readonly of: string;
  readonly key: string;
  readonly eTag: string | undefined;
}

async function findSideObjects(
  keys: readonly string[],
  format: ObjectFormat,
  bucket: string,
  input: Fields,
  transport: Transport,
): Promise<SeenSideObject[]> {
  const candidates = keys.flatMap((of) => format.sideObjectKeys(of).map((key) => ({ of, key })));
  const found: SeenSideObject[] = [];
  for (let start = 0; start < candidates.length; start += LOOKS_AT_A_TIME)
    await Promise.all(
      candidates.slice(start, start + LOOKS_AT_A_TIME).map(async ({ of, key }) => {
        const seen = await see(bucket, key, input, transport);
        if (seen !== undefined && format.isSideObject(seen))
          found.push({ of, key, eTag: pinnableETag(seen.eTag) });
      }),
    );
  return found;
}

// What cannot be seen is left: an instruction file without its object harms nobody.
async function see(bucket: string, key: string, input: Fields, transport: Transport) {
  try {
    const access = repeatFields(input, "GetObject");
    const output = await transport.getObject({ ...access, Bucket: bucket, Key: key });
    const body = bodyOf(output);
    const { ContentLength = Number.POSITIVE_INFINITY, ETag } = output;
    if (ContentLength > MAX_SIDE_OBJECT_LENGTH) {
      body.destroy();
      return undefined;
    }
    const metadata = normalizeMetadata(output.Metadata);
    return { metadata, body: await collectExactly(body, ContentLength), eTag: ETag };
  } catch (error) {
    if (statusOf(error) !== undefined) return undefined;
    throw error;
  }
}

/** A signal that comes some time after `signal`. */
function withGrace(signal: AbortSignal | undefined): { signal: AbortSignal; end: () => void } {
  const late = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const start = (): void => {
    timer = setTimeout(() => late.abort(signal?.reason), GRACE_MS);
  };
  if (signal?.aborted) start();
  else signal?.addEventListener("abort", start, { once: true });
  return {
    signal: late.signal,
    end() {
      clearTimeout(timer);
      signal?.removeEventListener("abort", start);
    },
  };
}
