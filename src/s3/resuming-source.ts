// Stored bytes of one object over as many answers as it takes: when a body breaks off, is cut short or stalls, another
// request goes on with the next byte. It knows nothing of requests, only how to open the next leg.
//
// It is safe to go on at any byte, not only where a frame begins: a leg is of the same version of the object as the one
// before (see `object-source.ts`), and whoever reads releases nothing whose tag over all of its bytes it has not compared,
// wherever they came from. The modes that release without a tag are those that the caller had to ask for by name.
import { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { type Checks, wholeNumber } from "../check-options.ts";
import { aborted, FramesealError, notAuthentic } from "../errors.ts";
import { isError } from "../shapes.ts";
import { isTransient } from "./transient-error.ts";

/** How reading goes on when a connection fails. */
export interface ReadOptions {
  /** Requests in a row that may bring no byte of a body that broke off, before reading fails; by default 5. */
  readonly readRetries?: number | undefined;
  /** Milliseconds without a byte after which a body that is waited for has broken off; by default 60,000. */
  readonly readTimeout?: number | undefined;
}

/** `ReadOptions` as they are used. */
export type ReadSettings = { readonly [Name in keyof ReadOptions]-?: number };

const DEFAULT_READ_RETRIES = 5;
const DEFAULT_READ_TIMEOUT_MS = 60_000;
/** The longest time of a timer of Node. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/** What the options must be. */
export const READ_OPTIONS: Checks<ReadOptions> = {
  readRetries: wholeNumber(0),
  readTimeout: wholeNumber(1, MAX_TIMEOUT_MS),
};

/** `options` with their defaults. */
export function readSettings(options: ReadOptions): ReadSettings {
  const { readRetries = DEFAULT_READ_RETRIES, readTimeout = DEFAULT_READ_TIMEOUT_MS } = options;
  return { readRetries, readTimeout };
}

/**
 * Opens stored bytes from `start` on, up to `end` (exclusive) or fewer, of the same version of the object; undefined when
 * the answer was of other bytes. It must stop when `signal` is aborted.
 */
export type OpenLeg = (start: number, end: number, signal: AbortSignal) => Promise<Readable | undefined>;

/** Which bytes, and how to get them. */
export interface ResumingRequest {
  readonly start: number;
  readonly end: number;
  /** An answer that has arrived already, with bytes from `start` on. */
  readonly first?: Readable | undefined;
  /** Undefined when nothing says which version the first answer was of: then nothing can go on. */
  readonly open: OpenLeg | undefined;
  readonly settings: ReadSettings;
  readonly signal?: AbortSignal | undefined;
}

/** The pauses before requests in a row that bring nothing, but for the first, which comes at once. */
const FIRST_PAUSE_MS = 100;
const PAUSE_FACTOR = 4;
const MAX_PAUSE_MS = 5000;
/** How many times the time-out of a byte the answer to a further request may take. */
const ANSWER_FACTOR = 5;
/** Bytes that wait here for the reader. */
const BUFFER_LENGTH = 512 * 1024;
/** A rest this short is read up to free the connection: that costs less than another connection. */
const READ_UP_LENGTH = 256 * 1024;
/** A reader that takes nothing for so long loses the connection, for which others may wait, and gets one again later. */
const MAX_HOLD_MS = 10_000;

/**
 * The bytes from `start` to `end`, exactly. It fails with NETWORK when it cannot go on, with TRAILING_DATA when there are
 * more, with AUTHENTICATION_FAILED when all bytes do not match the checksum that came with them, with ABORTED, and with
 * errors of S3 that another attempt would meet again; but only when it is read: until then an error waits.
 */
export class ResumingSource extends Readable {
  readonly #end: number;
  readonly #openLeg: OpenLeg | undefined;
  readonly #settings: ReadSettings;
  readonly #signal: AbortSignal | undefined;
  /** Ends the requests of this source. */
  readonly #requests = new AbortController();
  readonly #onAbort = (): void => {
    if (this.#signal !== undefined) this.#fail(aborted(this.#signal));
  };
  #position: number;
  #leg: Leg | undefined;
  /** Legs in a row that brought nothing. */
  #failures = 0;
  #isOpening = false;
  /** The reader waits for bytes. */
  #isWanted = false;
  #wasRead = false;
  /** Told when the rest has been read up, wanted or not. */
  #onReadUp: (() => void) | undefined;
  #failure: Error | undefined;
  #timer: NodeJS.Timeout | undefined;
  #timesOutBody = false;

  constructor({ start, end, first, open, settings, signal }: ResumingRequest) {
    super({ highWaterMark: BUFFER_LENGTH });
    this.#position = start;
    this.#end = end;
    this.#openLeg = open;
    this.#settings = settings;
    this.#signal = signal;
    // Whoever reads hears of errors too; whoever has stopped reading, as at a header that is none, needs none.
    this.on("error", () => {});
    if (first !== undefined) this.#take(first);
    if (signal?.aborted) this.#onAbort();
    else signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  /**
   * Sends the first request at once.
   * @throws what reading throws
   */
  async opened(): Promise<this> {
    if (this.#leg !== undefined || this.#position === this.#end) return this;
    this.#isOpening = true;
    try {
      this.#take(await this.#nextBody());
    } catch (error) {
      this.destroy();
      throw this.#failure ?? error;
    } finally {
      this.#isOpening = false;
    }
    return this;
  }

  /**
   * Frees the connection for another request: nothing may hold one and wait for a second. What is missing is fetched
   * when it is read.
   */
  async release(): Promise<void> {
    const leg = this.#leg;
    // What is being read needs no other request to come to its end.
    if (leg === undefined || this.#openLeg === undefined || this.#isWanted) return;
    if (this.#end - this.#position > READ_UP_LENGTH) {
      this.#drop();
      return;
    }
    await new Promise<void>((resolve) => {
      this.#onReadUp = resolve;
      this.#flow(leg);
    });
  }

  override _read(): void {
    this.#wasRead = true;
    this.#isWanted = true;
    if (this.#failure !== undefined) this.destroy(this.#failure);
    else if (this.#leg !== undefined) this.#flow(this.#leg);
    else if (this.#position === this.#end) this.push(null);
    else if (!this.#isOpening) void this.#goOn();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#drop();
    this.#endRequest();
    this.#signal?.removeEventListener("abort", this.#onAbort);
    done(error);
  }

  #take(body: Readable): void {
    this.#leg = new Leg(
      body,
      (chunk) => this.#onData(chunk),
      (cause) => this.#onLegEnd(cause),
    );
    if (this.#isWanted) this.#flow(this.#leg);
    else this.#watch();
  }

  #flow(leg: Leg): void {
    leg.resume();
    this.#watch();
  }

  #drop(): void {
    this.#leg?.drop();
    this.#legIsGone();
  }

  #legIsGone(): void {
    this.#leg = undefined;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#onReadUp?.();
    this.#onReadUp = undefined;
  }

  // Silence is a fault while bytes are waited for; while they are not, it says that nobody reads.
  #watch(): void {
    const awaitsBytes = this.#isWanted || this.#onReadUp !== undefined;
    if (this.#timer !== undefined && awaitsBytes === this.#timesOutBody) {
      this.#timer.refresh();
      return;
    }
    clearTimeout(this.#timer);
    const { readTimeout } = this.#settings;
    this.#timesOutBody = awaitsBytes;
    this.#timer = awaitsBytes
      ? setTimeout(() => this.#onSilence(), readTimeout)
      : setTimeout(() => this.#onUnread(), Math.min(readTimeout, MAX_HOLD_MS)).unref();
  }

  #onSilence(): void {
    this.#leg?.drop();
    this.#onLegEnd(new Error(`no byte arrived for ${this.#settings.readTimeout} ms`));
  }

  #onUnread(): void {
    if (this.#openLeg !== undefined) this.#drop();
  }

  #onData(chunk: Uint8Array): void {
    if (chunk.length > this.#end - this.#position) {
      this.#fail(new FramesealError("TRAILING_DATA", "server sent more bytes than it announced"));
      return;
    }
    this.#position += chunk.length;
    this.#failures = 0;
    this.#isWanted = this.push(chunk);
    // After the last byte comes the end, which frees the connection.
    if (!this.#isWanted && this.#onReadUp === undefined && this.#position < this.#end) this.#leg?.pause();
    if (this.#leg !== undefined) this.#watch();
  }

  #onLegEnd(cause: unknown): void {
    this.#legIsGone();
    if (this.#position === this.#end) {
      if (isChecksumError(cause)) this.#fail(notAuthentic({ cause }));
      else this.push(null);
      return;
    }
    this.#failures += 1;
    if (this.#openLeg === undefined || this.#failures > this.#settings.readRetries)
      this.#fail(brokenOff(cause));
    else if (this.#isWanted && !this.#isOpening) void this.#goOn();
  }

  async #goOn(): Promise<void> {
    this.#isOpening = true;
    try {
      const body = await this.#nextBody();
      if (this.destroyed || this.#failure !== undefined) giveUp(body);
      else this.#take(body);
    } catch (error) {
      this.#fail(error as Error);
    } finally {
      this.#isOpening = false;
    }
  }

  async #nextBody(): Promise<Readable> {
    for (;;) {
      await this.#pause();
      let cause: unknown;
      try {
        const body = await this.#requestInTime();
        if (body !== undefined) return body;
        cause = new Error("server answered with another range than was asked for");
      } catch (error) {
        if (!isTransient(error)) throw error;
        cause = error;
      }
      this.#failures += 1;
      if (this.#failures > this.#settings.readRetries) throw brokenOff(cause);
    }
  }

  // Waiting for the answer may be waiting for a free connection, so it may take longer than a byte on its way.
  async #requestInTime(): Promise<Readable | undefined> {
    const request = new AbortController();
    const abort = (): void => request.abort();
    const { signal } = this.#requests;
    const longest = Math.min(MAX_TIMEOUT_MS, this.#settings.readTimeout * ANSWER_FACTOR);
    let silence: Error | undefined;
    const timer = setTimeout(() => {
      silence = Object.assign(new Error(`no answer for ${longest} ms`), { name: "TimeoutError" });
      request.abort(silence);
    }, longest);
    signal.addEventListener("abort", abort, { once: true });
    try {
      return await this.#request(request.signal);
    } catch (error) {
      throw silence ?? error;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    }
  }

  async #pause(): Promise<void> {
    if (this.#failures < 2) return;
    const longest = Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * PAUSE_FACTOR ** (this.#failures - 2));
    await delay(longest * (0.5 + Math.random() / 2), undefined, { signal: this.#requests.signal });
  }

  #request(signal: AbortSignal): Promise<Readable | undefined> {
    if (this.#openLeg === undefined) throw new Error("internal error: source cannot be opened");
    return this.#openLeg(this.#position, this.#end, signal);
  }

  // Not when there is none: each abort makes an error, and every source comes to its end.
  #endRequest(): void {
    if (this.#isOpening) this.#requests.abort();
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#drop();
    this.#endRequest();
    if (this.#wasRead) this.destroy(this.#failure);
  }
}

// The body of one answer, paused at first. It tells once that no more will come, and why if it is known.
class Leg {
  readonly #body: Readable;
  #isDone = false;

  constructor(body: Readable, onData: (chunk: Uint8Array) => void, onEnd: (cause: unknown) => void) {
    this.#body = body;
    const end = (cause?: unknown): void => {
      if (this.#isDone) return;
      this.drop();
      onEnd(cause);
    };
    body.pause();
    body.on("data", (chunk: Uint8Array) => {
      if (!this.#isDone) onData(chunk);
    });
    body.once("end", () => end());
    body.once("error", end);
    body.once("close", () => end());
    // It broke off before anybody listened.
    if (body.destroyed) process.nextTick(end, body.errored ?? undefined);
  }
  resume(): void {
    this.#body.resume();
  }
  pause(): void {
    this.#body.pause();
  }
  drop(): void {
    this.#isDone = true;
    giveUp(this.#body);
  }
}

/** Ends a body that nobody wants, and its connection unless the body has ended; what it says afterwards is not heard. */
export function giveUp(body: Readable): void {
  body.on("error", () => {});
  body.destroy();
}

/** The error for a connection that brought less than it announced. */
export function brokenOff(cause: unknown): FramesealError {
  return new FramesealError(
    "NETWORK",
    "the connection broke before the end of the object",
    cause === undefined ? undefined : { cause },
  );
}

/** True for the SDK's finding that a body does not match the checksum in its answer. */
export function isChecksumError(error: unknown): boolean {
  return isError(error) && /checksum/i.test(error.message);
}
