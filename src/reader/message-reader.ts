// Random access to the plaintext of a message. The header and then the final frame are verified first: the final
// frame's AAD binds the number of frames and its length, so a message that was cut or extended is refused on opening.
import { constants } from "node:buffer";
import { Readable } from "node:stream";
import { asBuffer } from "../bytes.ts";
import { type Checks, checkOptions, oneOf, signal, wholeNumber } from "../check-options.ts";
import { NO_FINAL_FRAME } from "../engine/engine.ts";
import { aborted, FramesealError, isFramesealError, notAuthentic, throwIfAborted } from "../errors.ts";
import { bodyLengthOf, type FrameLayout, frameOffset, layoutFromBody } from "../format/frame.ts";
import { HeaderParser, type MessageHeader, type ParsedHeader, truncatedHeader } from "../format/header.ts";
import { MAX_SIGNATURE_LENGTH } from "../format/limits.ts";
import { verifyFinalFrame } from "../message/final-frame.ts";
import {
  DECRYPT_OPTIONS,
  type DecryptOptions,
  type OpenedHeader,
  openHeader,
} from "../message/open-message.ts";
import { threadCount } from "../message/seal-message.ts";
import { asyncFrom, RUN_LENGTH } from "../stream/frame-machine.ts";
import { untilAborted } from "../until-aborted.ts";
import { FrameCache } from "./frame-cache.ts";
import { type MessageSource, openSource, readExactly } from "./message-source.ts";

/** How to open a message for random access. */
export interface OpenMessageOptions extends Omit<DecryptOptions, "signedMessages" | "maxNonFramedLength"> {
  /** Ranges of a signed message cannot be checked against its signature: `unverified` opens it all the same. */
  readonly signedMessages?: "refuse" | "unverified" | undefined;
  /** Bytes of plaintext of recent frames to keep for further reads; by default none. */
  readonly cacheLength?: number | undefined;
}

/** Options of `MessageReader.createReadStream`; both ends inclusive, as in `node:fs`. */
export interface RangeStreamOptions {
  readonly start?: number | undefined;
  readonly end?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What the options must be. */
const { maxNonFramedLength: _, ...FRAMED_OPTIONS } = DECRYPT_OPTIONS;
const OPEN_OPTIONS: Checks<OpenMessageOptions> = {
  ...FRAMED_OPTIONS,
  signedMessages: oneOf("refuse", "unverified"),
  cacheLength: wholeNumber(0),
};
const RANGE_OPTIONS: Checks<RangeStreamOptions> = {
  start: wholeNumber(0, Number.MAX_SAFE_INTEGER),
  end: wholeNumber(0, Number.MAX_SAFE_INTEGER),
  signal,
};
/** Options of `MessageReader.read`. */
export interface RangeReadOptions {
  readonly signal?: AbortSignal | undefined;
}
const READ_OPTIONS: Checks<RangeReadOptions> = { signal };
/** Where a range may begin or end, as in `slice`. */
const position = wholeNumber(-Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);

/** The first request fetches this much: nearly every header, and small messages whole. */
const HEAD_LENGTH = 16 * 1024;

/**
 * Opens a message for reading anywhere in it.
 * @param source path of a file, the message itself, or anything that can be read at an offset
 * @throws FramesealError as `decrypt`; UNSUPPORTED for a message without frames; POLICY for a signed one
 */
export async function openMessage(
  source: string | Uint8Array | MessageSource,
  givenOptions: OpenMessageOptions,
): Promise<MessageReader> {
  const options = checkOptions("options", givenOptions, OPEN_OPTIONS);
  throwIfAborted(options.signal);
  const bytes = await openSource(source, options.signal);
  try {
    return await openReader(bytes, options);
  } catch (error) {
    // The failure that led here is the one to report, and a source that is silent may be so when it is closed too.
    await untilAborted(bytes.close?.(), options.signal).catch(() => {});
    throw error;
  }
}

async function openReader(source: MessageSource, options: OpenMessageOptions): Promise<MessageReader> {
  const { size } = source;
  const behaviour = {
    cache: options.cacheLength === undefined ? undefined : new FrameCache(options.cacheLength),
    runsAhead: threadCount(options.concurrency),
  };
  if (!Number.isSafeInteger(size) || size < 0)
    throw new RangeError(`"source.size" expected a whole number from 0 on, got ${size}`);
  const { parsed, head } = await readHeader(source, options);
  if (parsed.contentType !== "framed")
    throw new FramesealError("UNSUPPORTED", "message without frames has no random access: decrypt it whole");
  const signed = parsed.suite.signature !== "none";
  if (signed && options.signedMessages !== "unverified")
    throw new FramesealError(
      "POLICY",
      "ranges of a signed message cannot be checked against its signature; ask for unverified ones explicitly",
    );
  const opened = await openHeader(parsed, { ...options, signedMessages: "verify" });
  try {
    const read = (start: number, end: number): Promise<Uint8Array> =>
      end <= head.length
        ? Promise.resolve(head.subarray(start, end))
        : untilAborted(readExactly(source, start, end, options.signal), options.signal);
    const { plaintextLength } = options;
    const layout = signed
      ? await findSignedLayout(read, size, opened, plaintextLength)
      : await verifyFinalFrame(
          read,
          layoutFromBody(size - opened.headerLength, opened.header.frameLength),
          opened,
          plaintextLength,
        );
    return new MessageReader(source, opened, layout, behaviour);
  } catch (error) {
    opened.dispose();
    throw error;
  }
}

async function readHeader(
  source: MessageSource,
  options: OpenMessageOptions,
): Promise<{ parsed: ParsedHeader; head: Uint8Array }> {
  const parser = new HeaderParser(options);
  const { signal } = options;
  const read = (start: number, end: number): Promise<Uint8Array> =>
    untilAborted(readExactly(source, start, end, signal), signal);
  const head = await read(0, Math.min(source.size, HEAD_LENGTH));
  parser.push(head);
  for (let offset = head.length, step = HEAD_LENGTH; parser.header === undefined; step *= 4) {
    if (offset >= source.size) throw truncatedHeader();
    const end = Math.min(source.size, offset + step);
    parser.push(await read(offset, end));
    offset = end;
  }
  return { parsed: parser.header, head };
}

type Read = (start: number, end: number) => Promise<Uint8Array>;

// The footer's length is only known from its own first bytes: try every place where length and layout agree.
async function findSignedLayout(
  read: Read,
  size: number,
  opened: OpenedHeader,
  maxPlaintextLength: number | undefined,
): Promise<FrameLayout> {
  const tailStart = Math.max(opened.headerLength, size - MAX_SIGNATURE_LENGTH - 2);
  const tail = asBuffer(await read(tailStart, size));
  for (let length = 1; length + 2 <= tail.length; length++) {
    if (tail.readUInt16BE(tail.length - length - 2) !== length) continue;
    try {
      const layout = layoutFromBody(size - opened.headerLength - length - 2, opened.header.frameLength);
      return await verifyFinalFrame(read, layout, opened, maxPlaintextLength);
    } catch (error) {
      if (!isFramesealError(error) || !["TRUNCATED", "AUTHENTICATION_FAILED"].includes(error.code))
        throw error;
    }
  }
  throw notAuthentic();
}

/** Reads verified plaintext anywhere in a message. Any number of reads may be under way at a time. */
export class MessageReader {
  readonly header: MessageHeader;
  readonly plaintextLength: number;
  readonly #source: MessageSource;
  readonly #opened: OpenedHeader;
  readonly #layout: FrameLayout;
  readonly #cache: FrameCache | undefined;
  readonly #runsAhead: number;
  /** Ends each read under way. */
  readonly #reads = new Set<(error: Error) => void>();
  readonly #closed = new AbortController();
  #closing: Promise<void> | undefined;

  /** Use `openMessage`. */
  constructor(
    source: MessageSource,
    opened: OpenedHeader,
    layout: FrameLayout,
    behaviour: { readonly cache: FrameCache | undefined; readonly runsAhead: number },
  ) {
    this.header = opened.header;
    this.plaintextLength = layout.plaintextLength;
    this.#source = source;
    this.#opened = opened;
    this.#layout = layout;
    this.#cache = behaviour.cache;
    this.#runsAhead = behaviour.runsAhead;
  }

  /**
   * Resolves to the plaintext from `start` to `end` (exclusive); negative numbers count from the end and `end` may lie
   * behind it, as in `slice`. Costs one read of the source, or none if all of it is cached.
   * @returns memory that the caller owns
   * @throws FramesealError RANGE_NOT_SATISFIABLE when `start` lies behind the last byte, AUTHENTICATION_FAILED, ABORTED
   */
  async read(start = 0, end = this.plaintextLength, options: RangeReadOptions = {}): Promise<Buffer> {
    position("start", start);
    position("end", end);
    const { signal } = checkOptions("options", options, READ_OPTIONS);
    const range = resolveRange(start, end, this.plaintextLength);
    return this.#readRange(range.start, range.end, signal);
  }

  /** A Readable of a range, reading `concurrency` runs of frames at a time. Both ends are inclusive, as in `node:fs`. */
  createReadStream(options: RangeStreamOptions = {}): Readable {
    const { start = 0, end, signal } = checkOptions("options", options, RANGE_OPTIONS);
    if (end !== undefined && start > end)
      throw new RangeError(`"start" expected at most "end", which is ${end}, got ${start}`);
    const range = resolveRange(start, (end ?? this.plaintextLength - 1) + 1, this.plaintextLength);
    const stop = new AbortController();
    const readable = Readable.from(this.#runs(range.start, range.end, stop.signal), {
      objectMode: false,
      highWaterMark: RUN_LENGTH,
    });
    // Reads under way may never end by themselves.
    const destroy = readable._destroy;
    readable._destroy = (error, done) => {
      if (!readable.readableEnded) stop.abort(error ?? new FramesealError("ABORTED", "stream was destroyed"));
      destroy.call(readable, error, done);
    };
    if (signal !== undefined) {
      const onAbort = (): void => void readable.destroy(aborted(signal));
      if (signal.aborted) onAbort();
      else {
        signal.addEventListener("abort", onAbort, { once: true });
        readable.once("close", () => signal.removeEventListener("abort", onAbort));
      }
    }
    return readable;
  }

  async *#runs(
    start: number,
    end: number,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Buffer, void, void> {
    const { frameLength } = this.#layout;
    const runLength = Math.max(1, Math.floor(RUN_LENGTH / frameLength)) * frameLength;
    const stopOf = (at: number): number => Math.min(end, Math.floor(at / runLength + 1) * runLength);
    const ahead: Promise<Buffer>[] = [];
    for (let at = start; at < end || ahead.length > 0; ) {
      for (; at < end && ahead.length < this.#runsAhead; at = stopOf(at)) {
        const [from, to] = [at, stopOf(at)];
        const run = this.#readRange(from, to, signal);
        run.catch(() => {}); // reported when it is this run's turn
        ahead.push(run);
      }
      const run = ahead.shift();
      if (run !== undefined) yield await run;
    }
  }

  async #readRange(start: number, end: number, signal: AbortSignal | undefined): Promise<Buffer> {
    if (this.#closing !== undefined) throw new FramesealError("ABORTED", "message reader is closed");
    if (start >= end) return Buffer.alloc(0);
    throwIfAborted(signal);
    if (end - start > constants.MAX_LENGTH)
      throw new RangeError(`"end" expected at most ${constants.MAX_LENGTH} bytes behind "start"`);
    const { frameLength } = this.#layout;
    const first = Math.floor(start / frameLength);
    const last = Math.floor((end - 1) / frameLength); // counted from 0; the final frame is number regularCount
    if (this.#cache !== undefined) return this.#readCached(this.#cache, start, end, signal);
    const plaintext = await this.#untilClosed(signal, (either) => this.#openFrames(first, last, either));
    return plaintext.subarray(start - first * frameLength, end - first * frameLength);
  }

  async #readCached(
    cache: FrameCache,
    start: number,
    end: number,
    signal: AbortSignal | undefined,
  ): Promise<Buffer> {
    const { frameLength } = this.#layout;
    const bytes = Buffer.allocUnsafeSlow(end - start);
    const copyFrame = (index: number, frame: Uint8Array): void => {
      const at = index * frameLength;
      const from = Math.max(start, at);
      bytes.set(frame.subarray(from - at, Math.max(0, end - at)), from - start);
    };
    const missing: number[] = [];
    for (let index = Math.floor(start / frameLength); index * frameLength < end; index++) {
      const frame = cache.get(index);
      if (frame === undefined) missing.push(index);
      else copyFrame(index, frame);
    }
    const [first, last] = [missing[0], missing.at(-1)];
    if (first === undefined || last === undefined) return bytes;
    const plaintext = await this.#untilClosed(signal, (either) => this.#openFrames(first, last, either));
    for (let index = first; index <= last; index++) {
      const frame = plaintext.subarray((index - first) * frameLength, (index - first + 1) * frameLength);
      copyFrame(index, frame);
      if (this.#closing === undefined) cache.add(index, frame);
    }
    return bytes;
  }

  // The plaintext of whole frames, counted from 0, with one read of the source.
  async #openFrames(first: number, last: number, signal: AbortSignal | undefined): Promise<Buffer> {
    const { frameLength, regularCount, finalLength } = this.#layout;
    const withFinal = last >= regularCount;
    const from = this.#opened.headerLength + frameOffset(first + 1, frameLength);
    const to =
      this.#opened.headerLength +
      (withFinal ? bodyLengthOf(this.#layout) : frameOffset(last + 2, frameLength));
    const sealed = await readExactly(this.#source, from, to, signal);
    const frameCount = (withFinal ? regularCount - 1 : last) - first + 1;
    const final = withFinal ? finalLength : NO_FINAL_FRAME;
    const { cipher } = this.#opened;
    const opened =
      cipher.openAsync !== undefined && sealed.length >= asyncFrom(cipher)
        ? await cipher.openAsync([sealed], first + 1, frameCount, final)
        : cipher.open([sealed], first + 1, frameCount, final);
    if (opened.verifiedCount !== frameCount + (withFinal ? 1 : 0)) throw notAuthentic();
    return asBuffer(opened.plaintext);
  }

  // Ends when the caller aborts or the reader is closed, whether source and engine answer or not.
  async #untilClosed(
    signal: AbortSignal | undefined,
    work: (either: AbortSignal) => Promise<Buffer>,
  ): Promise<Buffer> {
    if (signal === undefined) return this.#read(work(this.#closed.signal), () => {});
    // A signal for the source that tells of both.
    const either = new AbortController();
    const onAbort = (): void => either.abort(signal.reason);
    signal.addEventListener("abort", onAbort);
    try {
      const reading = untilAborted(work(either.signal), either.signal, (late) => late.fill(0));
      return await this.#read(reading, () => either.abort(this.#closed.signal.reason));
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  #read(work: Promise<Buffer>, onClose: () => void): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const end = (error: Error): void => {
        reject(error);
        onClose();
      };
      this.#reads.add(end);
      work.then(
        (plaintext) => {
          if (this.#reads.delete(end)) resolve(plaintext);
          else plaintext.fill(0); // nobody waits for it any more
        },
        (error: unknown) => {
          this.#reads.delete(end);
          reject(error);
        },
      );
    });
  }

  /** Ends reads under way with ABORTED, wipes the key, and closes a file that `openMessage` opened, or its source. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#closed.abort(new Error("message reader is closed"));
    const reads = [...this.#reads];
    this.#reads.clear();
    for (const end of reads) end(aborted(this.#closed.signal));
    this.#cache?.clear();
    this.#opened.dispose();
    await this.#source.close?.();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Resolves a range as `slice` does; a start behind the last byte is not satisfiable. (RFC 9110, 14.1.1) */
function resolveRange(start: number, end: number, length: number): { start: number; end: number } {
  const from = start < 0 ? Math.max(0, length + start) : start;
  const to = Math.min(length, end < 0 ? Math.max(0, length + end) : end);
  if (from > length || (from === length && end > from))
    throw new FramesealError(
      "RANGE_NOT_SATISFIABLE",
      `range starts at ${from}, plaintext has ${length} bytes`,
    );
  return { start: from, end: Math.max(from, to) };
}
