// The verified plaintext of one object of a tree: whole into memory where it is small, into an open file where it is
// large. Nothing here gives a file its name.
import { createHash } from "node:crypto";
import type { Readable } from "node:stream";
import type * as S3 from "@aws-sdk/client-s3";
import { readSome } from "../disk/calls.ts";
import { FramesealError, throwIfAborted } from "../errors.ts";
import { pinnableETag, sameETag } from "../s3/etag.ts";
import { nameHeadError, preconditionFailed } from "../s3/head-error.ts";
import { framedNames, normalizeMetadata } from "../s3/object-metadata.ts";
import { parseContentRange } from "../s3/object-source.ts";
import { giveUp } from "../s3/resuming-source.ts";
import type { Cost, TransferQueue } from "./transfer/queue.ts";

/** Which object, and which version of it. */
export interface ObjectName {
  readonly Bucket: string;
  readonly Key: string;
  readonly VersionId?: string | undefined;
}

/** What an answer tells of an object. But for what the client verifies, nothing of it is. */
export interface ObjectFacts {
  /** The user's own. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly modified: Date | undefined;
  readonly eTag: string | undefined;
  readonly versionId: string | undefined;
}

/** What fetching needs of the context of an operation. */
export interface FetchContext {
  readonly sdk: Pick<typeof S3, "GetObjectCommand" | "HeadObjectCommand">;
  /** Encrypts; hands on objects of one message before their tag is compared, since no file gets its name before that. */
  readonly client: Pick<S3.S3Client, "send">;
  readonly plain: Pick<S3.S3Client, "send">;
  readonly queue: TransferQueue;
  readonly signal: AbortSignal;
}

/** Objects of up to so many bytes are held in memory whole. */
export const SMALL_LENGTH = 8 * 2 ** 20;
/** Ciphertext and plaintext of one object, and what its streams hold. */
export const smallCost = (storedLength: number): Cost => ({
  memory: 2 * Math.min(storedLength, SMALL_LENGTH) + 2 ** 16,
  kind: "small",
});

/**
 * Fetches an object whole.
 * @param pin must be its ETag, if it is given
 * @returns no bytes if it has more than `SMALL_LENGTH`, or another ETag
 */
export async function fetchSmall(
  { sdk, client }: Pick<FetchContext, "sdk" | "client">,
  name: ObjectName,
  pin: string | undefined,
  abortSignal: AbortSignal,
): Promise<{ readonly facts: ObjectFacts; readonly bytes: Buffer | undefined }> {
  const output = await client.send(new sdk.GetObjectCommand({ ...name }), { abortSignal });
  const body = output.Body as Readable;
  const facts = factsOf(output);
  const length = output.ContentLength ?? 0;
  if (length > SMALL_LENGTH || (pin !== undefined && !sameETag(pin, facts.eTag))) {
    giveUp(body);
    return { facts, bytes: undefined };
  }
  const bytes = Buffer.allocUnsafeSlow(length);
  let position = 0;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    if (position + chunk.length > length) throw longer();
    bytes.set(chunk, position);
    position += chunk.length;
  }
  throwIfAborted(abortSignal);
  return { facts, bytes: bytes.subarray(0, position) };
}

function factsOf(output: S3.GetObjectCommandOutput | S3.HeadObjectCommandOutput): ObjectFacts {
  const { Metadata, LastModified, ETag, VersionId } = output;
  return { metadata: Metadata ?? {}, modified: LastModified, eTag: ETag, versionId: VersionId };
}

function longer(): FramesealError {
  return new FramesealError("TRAILING_DATA", "object is longer than was announced");
}

/** What a HEAD tells. */
export interface SeenObject extends ObjectFacts {
  /** It says that it is framed, so it is opened as nothing else: each range of it can be verified by itself. */
  readonly isFramed: boolean;
}

const LOOK_COST: Cost = { memory: 2 ** 14, kind: "small" };

/** Asks about an object. */
export async function seeObject({ sdk, plain, queue }: FetchContext, name: ObjectName): Promise<SeenObject> {
  try {
    const output = await queue.run(LOOK_COST, (abortSignal) =>
      plain.send(new sdk.HeadObjectCommand({ ...name }), { abortSignal }),
    );
    const isFramed = normalizeMetadata(output.Metadata)[framedNames.format] === "framed";
    return { ...factsOf(output), isFramed };
  } catch (error) {
    throw nameHeadError(error, "object");
  }
}

/** Asks about an object, and how long its plaintext is: as the object says, unverified. */
export async function measureObject(
  { sdk, client, queue }: FetchContext,
  name: ObjectName,
): Promise<ObjectFacts & { readonly length: number }> {
  try {
    const output = await queue.run(LOOK_COST, (abortSignal) =>
      client.send(new sdk.HeadObjectCommand({ ...name }), { abortSignal }),
    );
    return { ...factsOf(output), length: output.ContentLength ?? 0 };
  } catch (error) {
    throw nameHeadError(error, "object");
  }
}

/** Plaintext bytes of one request. */
const RANGE_LENGTH = 16 * 2 ** 20;
/** Requests for one file at a time. */
const RANGES_AT_A_TIME = 8;
/** What the streams of one request hold. */
const RANGE_COST: Cost = { memory: 6 * 2 ** 20, kind: "part" };
/** Verified bytes after which a run that is killed would go on there. */
const SAVE_LENGTH = 16 * 2 ** 20;

/** A file that is written to at several places. */
export interface GrowingFile {
  write(bytes: Uint8Array, position: number): Promise<void>;
  /** Waits until what was written is on disk. */
  sync(): Promise<void>;
  truncate(length: number): Promise<void>;
}

/** A large object on its way into a file. */
export interface LargeFetch {
  readonly name: ObjectName;
  readonly seen: SeenObject;
  readonly file: GrowingFile;
  /** Bytes that were verified before and are in the file; 0 for objects that are not framed. */
  readonly verified: number;
  /** Bytes that have arrived; negative when they are fetched again. */
  readonly onMoved: (bytes: number) => void;
  /** Everything before `position` is verified and on disk. Undefined: nobody remembers. */
  readonly onSaved: ((position: number) => void) | undefined;
}

/**
 * Fetches an object into a file. On failure nothing writes to the file any more.
 * @returns its length
 */
export async function fetchLarge(context: FetchContext, fetch: LargeFetch): Promise<number> {
  return fetch.seen.isFramed ? new RangedFetch(context, fetch).run() : fetchStream(context, fetch);
}

/** A range that is fetched. */
interface Range {
  position: number;
  readonly end: number;
  isDone: boolean;
}

/** Ranges of a framed object, several at a time. Each is verified frame by frame before it is written. */
class RangedFetch {
  readonly #context: FetchContext;
  readonly #fetch: LargeFetch;
  /** In the order of their places. */
  readonly #active = new Set<Range>();
  readonly #running = new Set<Promise<void>>();
  /** Of the plaintext, as the first answer tells. */
  #size: number | undefined;
  /** Where the next range begins. */
  #next: number;
  #saved: number;
  #saving: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;

  constructor(context: FetchContext, fetch: LargeFetch) {
    this.#context = context;
    this.#fetch = fetch;
    this.#next = fetch.verified;
    this.#saved = fetch.verified;
  }

  async run(): Promise<number> {
    await new Promise<void>((resolve) => this.#start(resolve));
    while (this.#failure === undefined && this.#next < (this.#size ?? 0))
      if (this.#running.size < RANGES_AT_A_TIME) this.#start(() => {});
      else await Promise.race(this.#running);
    await Promise.all(this.#running);
    await this.#saving;
    if (this.#failure !== undefined || this.#context.signal.aborted) await this.#save(1);
    throwIfAborted(this.#context.signal);
    if (this.#failure !== undefined) throw this.#failure.error;
    if (this.#size === undefined) throw new Error("internal error: an object without a length");
    return this.#size;
  }

  // `onSized` is called when the length is known, or never will be.
  #start(onSized: () => void): void {
    const start = this.#next;
    const end = Math.min(start + RANGE_LENGTH, this.#size ?? Infinity);
    const range: Range = { position: start, end, isDone: false };
    this.#next = range.end;
    this.#active.add(range);
    // The queue lets go of a job at once when the signal is aborted; the file waits until it has ended.
    let job: Promise<void> | undefined;
    const task: Promise<void> = this.#context.queue
      .run(RANGE_COST, (signal) => {
        job = this.#fetchRange(range, signal, onSized);
        return job;
      })
      .then(() => {
        // One that was given up stays: what is behind it is not without a gap.
        if (range.isDone) this.#active.delete(range);
      })
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .then(() => job)
      .catch(() => {})
      .finally(() => {
        this.#running.delete(task);
        onSized();
      });
    this.#running.add(task);
  }

  async #fetchRange(range: Range, abortSignal: AbortSignal, onSized: () => void): Promise<void> {
    const { sdk, client } = this.#context;
    const { name, seen, file, onMoved } = this.#fetch;
    const output = await client.send(
      new sdk.GetObjectCommand({
        ...name,
        Range: `bytes=${range.position}-${range.end - 1}`,
        IfMatch: pinnableETag(seen.eTag),
      }),
      { abortSignal },
    );
    const body = output.Body as Readable;
    const got = parseContentRange(output.ContentRange);
    const wrong = this.#faultOf(output, range, got);
    if (got === undefined || wrong !== undefined) {
      giveUp(body);
      throw wrong;
    }
    this.#size = got.size;
    onSized();
    const end = Math.min(range.end, got.size);
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      if (this.#failure !== undefined) return; // ends the body
      if (range.position + chunk.length > end) throw longer();
      await file.write(chunk, range.position);
      range.position += chunk.length;
      onMoved(chunk.length);
      void this.#save(SAVE_LENGTH);
    }
    throwIfAborted(abortSignal);
    if (range.position < end) throw new FramesealError("NETWORK", "the range ended before its end");
    range.isDone = true;
  }

  // Why an answer is not of what was asked for.
  #faultOf(
    output: S3.GetObjectCommandOutput,
    range: Range,
    got: ReturnType<typeof parseContentRange>,
  ): Error | undefined {
    const { eTag } = this.#fetch.seen;
    if (eTag !== undefined && !sameETag(eTag, output.ETag))
      return preconditionFailed("the object was replaced while it was read: get it again");
    if (got?.start !== range.position)
      return new FramesealError("NETWORK", "server answered with another range than was asked for");
    if (this.#size !== undefined && got.size !== this.#size)
      return new FramesealError("INVALID_METADATA", "the object has another length than a moment ago");
    return undefined;
  }

  // Remembers what is verified without a gap, if that is so much more: only what is on disk will be there after a crash.
  async #save(more: number): Promise<void> {
    const { onSaved } = this.#fetch;
    // Not all of it, however far it got: the next run has a byte to ask for, and learns the length with it.
    const last = (this.#size ?? 0) - 1;
    const position = Math.min(last, this.#next, ...[...this.#active].map((range) => range.position));
    if (onSaved === undefined || this.#saving !== undefined || position - this.#saved < more) return;
    this.#saving = this.#saveUpTo(position, onSaved);
    await this.#saving;
    this.#saving = undefined;
  }

  async #saveUpTo(position: number, onSaved: (position: number) => void): Promise<void> {
    try {
      await this.#fetch.file.sync();
      onSaved(position);
      this.#saved = position;
    } catch (error) {
      this.#failure ??= { error };
    }
  }
}

// Objects whose tag comes last, or with one signature for all: from the beginning each time.
async function fetchStream(
  { sdk, client, queue, signal }: FetchContext,
  { name, seen, file, onMoved }: LargeFetch,
): Promise<number> {
  let position = 0;
  let job: Promise<void> | undefined;
  const read = async (abortSignal: AbortSignal): Promise<void> => {
    onMoved(-position);
    position = 0;
    await file.truncate(0);
    const output = await client.send(
      new sdk.GetObjectCommand({ ...name, IfMatch: pinnableETag(seen.eTag) }),
      { abortSignal },
    );
    const body = output.Body as Readable;
    if (seen.eTag !== undefined && !sameETag(seen.eTag, output.ETag)) {
      giveUp(body);
      throw preconditionFailed("the object was replaced while it was read: get it again");
    }
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      await file.write(chunk, position);
      position += chunk.length;
      onMoved(chunk.length);
    }
    throwIfAborted(abortSignal);
  };
  try {
    await queue.run(RANGE_COST, (abortSignal) => {
      job = read(abortSignal);
      return job;
    });
  } finally {
    await job?.catch(() => {});
  }
  throwIfAborted(signal);
  return position;
}

const DIGEST_LENGTH = 2 ** 20;

/** SHA-256 of what is in a file, hexadecimal. */
export async function digestOf(descriptor: number, signal: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  const buffer = Buffer.allocUnsafeSlow(DIGEST_LENGTH);
  for (let position = 0; ; ) {
    throwIfAborted(signal);
    const count = await readSome(descriptor, buffer, position);
    if (count === 0) return hash.digest("hex");
    hash.update(buffer.subarray(0, count));
    position += count;
  }
}
