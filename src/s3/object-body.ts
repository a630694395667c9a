// Bodies: whatever a caller gives to upload, as a source of bytes that is known to be unread; and the Readable that a
// caller gets, with the methods the SDK gives to its own.
import { Readable } from "node:stream";
import { types } from "node:util";
import { asBuffer } from "../bytes.ts";
import { FramesealError } from "../errors.ts";
import { isArrayBuffer, isAsyncIterable, isBlob, isBytes, isReadable, isWebReadable } from "../shapes.ts";
import type { Stop } from "./stop.ts";

/** What can be uploaded: as the SDK takes it, and everything that can be iterated. */
export type UploadBody =
  | string
  | Uint8Array
  | Blob
  | ReadableStream<Uint8Array>
  | AsyncIterable<Uint8Array | string>
  | undefined;

/** Chunks of a body, one after the other. */
interface Chunks {
  next(): PromiseLike<{ readonly done?: boolean | undefined; readonly value?: unknown }>;
  /** Ends the source without waiting for it: a generator that is stuck never answers. */
  close(): void;
}

/** The body of one operation. `close` must be called at its end, whatever became of it. */
export interface BodySource {
  /** All of it, if it is in memory. */
  readonly bytes: Uint8Array | undefined;
  /** The length, if it is known before all has arrived. */
  readonly length: number | undefined;
  /**
   * The next chunk, undefined at the end.
   * @throws RangeError when the body does not have the length that was announced
   */
  next(): Promise<Uint8Array | undefined>;
  /** Stops `stop` when the source fails, also while nobody waits for a chunk. */
  failInto(stop: Stop): void;
  /** Destroys or cancels what has not ended. Safe to call more than once. */
  close(): void;
}

/** What was seen of a stream since it was handed over. */
interface Watch {
  failure: { readonly error: unknown } | undefined;
  onFailure: ((error: unknown) => void) | undefined;
}

const watches = new WeakMap<object, Watch>();
/** Sources that can be read once and are, or were, read by an operation. */
const taken = new WeakSet<object>();

/**
 * Listens to a body that may fail before anybody reads it. Must be called before whoever was handed the body waits for
 * anything: an error that nobody listens to ends the process.
 */
export function watchBody(body: unknown): void {
  if (isReadable(body)) watchOf(body);
}

function watchOf(stream: Readable): Watch {
  const known = watches.get(stream);
  if (known !== undefined) return known;
  const watch: Watch = { failure: undefined, onFailure: undefined };
  watches.set(stream, watch);
  const fail = (error: unknown): void => {
    watch.failure ??= { error };
    watch.onFailure?.(watch.failure.error);
  };
  stream.on("error", fail);
  stream.on("close", () => {
    if (!hasEnded(stream)) fail(new FramesealError("TRUNCATED", "the body was closed before its end"));
  });
  return watch;
}

/** The bytes of a body that is in memory already, else undefined. @throws TypeError when its memory was taken away */
function bytesInMemory(body: unknown): Uint8Array | undefined {
  if (body === undefined || body === null) return new Uint8Array(0);
  if (typeof body === "string") return Buffer.from(body, "utf8");
  if (isArrayBuffer(body)) return attached(() => new Uint8Array(body));
  if (!ArrayBuffer.isView(body)) return undefined;
  return attached(() => {
    // Asks for memory that is still there, as the length does not: it is 0 when the memory was transferred.
    if (body.byteLength === 0) new Uint8Array(body.buffer);
    return isBytes(body) ? body : new Uint8Array(body.buffer, body.byteOffset, body.byteLength);
  });
}

function attached(view: () => Uint8Array): Uint8Array {
  try {
    return view();
  } catch (cause) {
    throw usedUp("bytes whose memory was transferred to somebody else", cause);
  }
}

/**
 * Takes a body for one operation: refuses what was read before, or by somebody else, since what is left of it would be
 * stored as if it were all. A stream that has failed throws its own error.
 * @param announced the length that the caller announced
 * @throws TypeError for what is no body or is used up; RangeError for a length that is none or cannot be right
 */
export function takeBody(body: unknown, announced: unknown): BodySource {
  const expected = checkLength(announced);
  const bytes = bytesInMemory(body);
  const exact = bytes?.length ?? (isBlob(body) ? body.size : undefined);
  if (expected !== undefined && exact !== undefined && expected !== exact) throw wrongLength(expected, exact);
  const length = exact ?? expected;
  if (bytes !== undefined) return { bytes, length, next: async () => undefined, failInto() {}, close() {} };
  return new ReadSource(body, length);
}

/** @throws TypeError, RangeError for what is no length */
function checkLength(announced: unknown): number | undefined {
  if (announced === undefined || announced === null) return undefined;
  if (typeof announced !== "number")
    throw new TypeError(`"ContentLength" expected a number of bytes, got ${typeof announced}`);
  if (!Number.isSafeInteger(announced) || announced < 0)
    throw new RangeError(`"ContentLength" expected a whole number of bytes, got ${announced}`);
  return announced;
}

/** A body that arrives. */
class ReadSource implements BodySource {
  readonly bytes = undefined;
  readonly length: number | undefined;
  readonly #chunks: Chunks;
  readonly #watch: Watch | undefined;
  /** An iterator does not tell whether it was used up, so that one without bytes is not taken for an empty body. */
  readonly #tellsUse: boolean;
  #received = 0;
  #state: "open" | "ended" | "closed" = "open";

  constructor(body: unknown, length: number | undefined) {
    this.length = length;
    this.#watch = isReadable(body) ? watchOf(body) : undefined;
    const { chunks, tellsUse } = openBody(body, this.#watch);
    this.#chunks = chunks;
    this.#tellsUse = tellsUse;
  }

  async next(): Promise<Uint8Array | undefined> {
    if (this.#state !== "open") return undefined;
    let result: Awaited<ReturnType<Chunks["next"]>>;
    try {
      result = await this.#chunks.next();
    } catch (error) {
      throw this.#watch?.failure?.error ?? error;
    }
    if (result.done === true) {
      this.#state = "ended";
      this.#checkEnd();
      return undefined;
    }
    const chunk = chunkBytes(result.value);
    this.#received += chunk.length;
    if (this.length !== undefined && this.#received > this.length)
      throw wrongLength(this.length, this.#received);
    return chunk;
  }

  #checkEnd(): void {
    if (this.length !== undefined) {
      if (this.#received !== this.length) throw wrongLength(this.length, this.#received);
    } else if (this.#received === 0 && !this.#tellsUse)
      throw usedUp(
        `an iterator that gives no bytes and may have been read before ("ContentLength": 0 says that it is empty)`,
      );
  }

  failInto(stop: Stop): void {
    if (this.#watch === undefined) return;
    this.#watch.onFailure = (error) => {
      if (this.#state === "open") stop.stop(error);
    };
    if (this.#watch.failure !== undefined) stop.stop(this.#watch.failure.error);
  }

  close(): void {
    const wasOpen = this.#state === "open";
    this.#state = "closed";
    if (this.#watch !== undefined) this.#watch.onFailure = undefined;
    if (wasOpen) this.#chunks.close();
  }
}

/** @throws TypeError for what is no body or is used up */
function openBody(body: unknown, watch: Watch | undefined): { chunks: Chunks; tellsUse: boolean } {
  if (isBlob(body)) return openBody(body.stream(), undefined);
  if (isReadable(body)) {
    checkUnread(body, watch);
    take(body);
    return { chunks: readStream(body), tellsUse: true };
  }
  if (isWebReadable(body)) {
    if (body.locked) throw usedUp("a stream that nobody reads from, got a locked one");
    if (isDisturbed(body)) throw usedUp("a stream that nobody has read from");
    take(body);
    return { chunks: readWebStream(body), tellsUse: tellsDisturbed(body) };
  }
  if (!isAsyncIterable(body))
    throw new TypeError(
      `"Body" expected bytes, a string, a stream, a Blob or an async iterable, got ${typeof body}`,
    );
  const iterator = body[Symbol.asyncIterator]();
  // What gives a new iterator each time can be read again.
  const isReadOnce = (iterator as unknown) === body || types.isGeneratorObject(body);
  if (isReadOnce) take(body);
  return { chunks: readIterator(iterator), tellsUse: !isReadOnce };
}

function take(body: object): void {
  if (taken.has(body)) throw usedUp("a source of its own: this one was given to another request before");
  taken.add(body);
}

/** @throws what the stream failed with; TypeError when it was read, closed, or is being read */
function checkUnread(stream: Readable, watch: Watch | undefined): void {
  const failure = watch?.failure ?? (isSet(stream.errored) ? { error: stream.errored } : undefined);
  if (hasEnded(stream)) throw usedUp("a stream that has not ended yet");
  if (failure !== undefined) throw failure.error;
  if (stream.destroyed === true || isSet(stream.closed)) throw usedUp("a stream that was not closed yet");
  if (stream.readableDidRead === true || isDisturbed(stream))
    throw usedUp("a stream that nobody has read from");
  if (stream.readableFlowing === true) throw usedUp("a stream that does not flow to somebody else");
  if (stream.readable === false) throw usedUp("a stream that can be read");
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== null && value !== false;
}

// Streams of older packages tell it in their state only.
function hasEnded(stream: Readable): boolean {
  const { _readableState: state } = stream as { _readableState?: { endEmitted?: boolean } };
  return stream.readableEnded === true || state?.endEmitted === true;
}

/** True for a stream of Node, of either kind, that was read from or cancelled. */
function isDisturbed(stream: unknown): boolean {
  return Readable.isDisturbed(stream as Readable);
}

/** True for a Web stream that tells whether it was read: Node's own do. */
function tellsDisturbed(stream: ReadableStream<unknown>): boolean {
  return Symbol.for("nodejs.stream.disturbed") in stream;
}

function readStream(stream: Readable): Chunks {
  const iterator = stream[Symbol.asyncIterator]();
  return { next: () => iterator.next(), close: () => void stream.destroy() };
}

function readWebStream(stream: ReadableStream<unknown>): Chunks {
  const reader = stream.getReader();
  return { next: () => reader.read(), close: () => ignore(() => reader.cancel()) };
}

function readIterator(iterator: AsyncIterator<unknown>): Chunks {
  return { next: () => iterator.next(), close: () => ignore(() => iterator.return?.()) };
}

function ignore(work: () => PromiseLike<unknown> | undefined): void {
  try {
    work()?.then(
      () => {},
      () => {},
    );
  } catch {
    // The operation ends for another reason, which is the one to tell.
  }
}

function chunkBytes(chunk: unknown): Uint8Array {
  if (isBytes(chunk)) return chunk;
  if (typeof chunk === "string") return Buffer.from(chunk, "utf8");
  throw new TypeError(`"Body" expected chunks of bytes or strings, got ${typeof chunk}`);
}

function wrongLength(expected: number, got: number): RangeError {
  return new RangeError(
    `"ContentLength" expected the length of the body (${got} bytes or more), got ${expected}`,
  );
}

function usedUp(expected: string, cause?: unknown): TypeError {
  return new TypeError(`"Body" expected ${expected}`, cause === undefined ? undefined : { cause });
}

/** The pieces of a Web stream of any package: Node's own conversion refuses all but its own. */
export function readableFromWeb(stream: ReadableStream<unknown>): Readable {
  const reader = stream.getReader();
  return new Readable({
    read() {
      reader.read().then(
        ({ done, value }) => this.push(done ? null : value),
        (error) => this.destroy(error),
      );
    },
    destroy(error, done) {
      const finish = (): void => done(error);
      reader.cancel(error).then(finish, finish);
    },
  });
}

/** A Readable as the SDK returns it. */
export type SdkBody = Readable & {
  transformToByteArray(): Promise<Uint8Array>;
  transformToString(encoding?: string): Promise<string>;
  transformToWebStream(): ReadableStream;
};

/** Gives `stream` the methods that the SDK's bodies have. */
export function toSdkBody(stream: Readable): SdkBody {
  let taken = false;
  const take = (): void => {
    if (taken) throw new Error("The stream has already been transformed.");
    taken = true;
  };
  const transformToByteArray = async (): Promise<Uint8Array> => {
    take();
    const chunks: Buffer[] = [];
    for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk);
    return Buffer.concat(chunks);
  };
  return Object.assign(stream, {
    transformToByteArray,
    async transformToString(encoding?: string): Promise<string> {
      const bytes = asBuffer(await transformToByteArray());
      if (encoding === undefined || Buffer.isEncoding(encoding)) return bytes.toString(encoding);
      return new TextDecoder(encoding).decode(bytes);
    },
    transformToWebStream(): ReadableStream {
      if (stream.readableFlowing !== null)
        throw new Error("The stream has been consumed by other callbacks.");
      // Of a stream that has failed, Node makes an empty one.
      if (stream.errored !== null) throw stream.errored;
      take();
      return Readable.toWeb(stream) as ReadableStream;
    },
  });
}
