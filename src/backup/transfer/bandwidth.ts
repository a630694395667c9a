// A limit for the bytes of all requests and answers of a client together, also of those that the SDK repeats: bodies go
// through it piece by piece between the SDK and its connections, behind signatures and checks. Times of day are looked
// up again and again, so a clock that is set has an effect within a second; how fast bytes flow is told by a clock that
// nobody sets.
import { Readable } from "node:stream";
import { isBytes, isReadable } from "../../shapes.ts";
import { untilAborted } from "../../until-aborted.ts";
import { rateAt, type Timetable } from "./timetable.ts";

/** Where the time comes from. */
export interface Clock {
  /** Milliseconds that only grow. */
  now(): number;
  /** The local time. */
  date(): Date;
  after(ms: number, then: () => void): void;
}

const systemClock: Clock = {
  now: () => performance.now(),
  date: () => new Date(),
  after: (ms, then) => void setTimeout(then, ms),
};

/** How long a rate is taken for granted, and somebody waits without looking at the clock again. */
const LOOK_MS = 1000;
/** What may pass at once after a pause, in milliseconds at the full rate. */
const BURST_MS = 250;
const LARGEST_PIECE = 64 * 1024;
const SMALLEST_PIECE = 256;

/** Bytes that may pass. */
export class Bandwidth {
  readonly #timetable: Timetable;
  readonly #clock: Clock;
  readonly #waiting: { readonly bytes: number; readonly go: () => void }[] = [];
  #rate: number;
  #lookedAt: number;
  /** Bytes that may pass now; below zero after a piece that was larger. */
  #tokens = 0;
  #countedAt: number;
  #isWaking = false;

  constructor(timetable: Timetable, clock: Clock = systemClock) {
    this.#timetable = timetable;
    this.#clock = clock;
    this.#rate = rateAt(timetable, clock.date());
    this.#lookedAt = clock.now();
    this.#countedAt = this.#lookedAt;
  }

  /** Bytes a second now; infinite for no limit. */
  get rate(): number {
    const now = this.#clock.now();
    if (now - this.#lookedAt >= LOOK_MS) {
      this.#count(now);
      this.#rate = rateAt(this.#timetable, this.#clock.date());
      this.#lookedAt = now;
    }
    return this.#rate;
  }

  /** How long a piece should be: so short that many connections get their turn within a second. */
  get piece(): number {
    return Math.max(SMALLEST_PIECE, Math.min(LARGEST_PIECE, Math.floor(this.rate / 64)));
  }

  /** Resolves when `bytes` may pass, in the order of the calls. */
  take(bytes: number): Promise<void> | undefined {
    if (this.#waiting.length === 0 && this.#tryTake(bytes)) return undefined;
    return new Promise((go) => {
      this.#waiting.push({ bytes, go });
      this.#wakeLater();
    });
  }

  // Whoever comes while there is anything left may go: what is too much is paid for by the next.
  #tryTake(bytes: number): boolean {
    if (this.rate === Number.POSITIVE_INFINITY) return true;
    this.#count(this.#clock.now());
    if (this.#tokens < 0) return false;
    this.#tokens -= bytes;
    return true;
  }

  #count(now: number): void {
    const passed = Math.max(0, now - this.#countedAt);
    this.#countedAt = now;
    if (this.#rate === Number.POSITIVE_INFINITY) this.#tokens = 0;
    else this.#tokens = Math.min((this.#rate * BURST_MS) / 1000, this.#tokens + (this.#rate * passed) / 1000);
  }

  #wakeLater(): void {
    if (this.#isWaking) return;
    this.#isWaking = true;
    const ms = (-this.#tokens * 1000) / this.#rate;
    this.#clock.after(Math.max(1, Math.min(LOOK_MS, ms)), () => {
      this.#isWaking = false;
      for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
        if (!this.#tryTake(next.bytes)) {
          this.#wakeLater();
          return;
        }
        this.#waiting.shift();
        next.go();
      }
    });
  }
}

/** The handler that a client hands its requests to, as far as it is used. */
interface Handler {
  handle(request: Request, options?: { readonly abortSignal?: AbortSignal }): Promise<Handled>;
}
interface Request {
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: unknown;
}
interface Handled {
  readonly response: { readonly headers: Readonly<Record<string, string>>; body?: unknown };
}

/** Sends everything of a client, and of those that share its configuration, through `bandwidth`. */
export function limitBandwidth(client: { readonly config: object }, bandwidth: Bandwidth): void {
  const config = client.config as { requestHandler: Handler };
  const handler = config.requestHandler;
  config.requestHandler = Object.create(handler, {
    handle: {
      async value(request: Request, options?: { readonly abortSignal?: AbortSignal }): Promise<Handled> {
        const signal = options?.abortSignal;
        await untilAborted(bandwidth.take(lengthOf(request.headers)), signal);
        const body = slowed(request.body, bandwidth);
        // What is repeated begins anew: nobody reads this body after its attempt.
        try {
          const handled = await handler.handle(
            body === undefined ? request : withBody(request, body),
            options,
          );
          await untilAborted(bandwidth.take(lengthOf(handled.response.headers)), signal);
          const answer = handled.response.body;
          if (isReadable(answer)) handled.response.body = slowedAnswer(answer, bandwidth);
          return handled;
        } finally {
          body?.destroy();
        }
      },
    },
  });
}

function lengthOf(headers: Readonly<Record<string, string>>): number {
  let length = 0;
  for (const name in headers) length += name.length + (headers[name]?.length ?? 0) + 4;
  return length;
}

// Of the class that it is, for whoever asks.
function withBody(request: Request, body: Readable): Request {
  return Object.assign(Object.create(Object.getPrototypeOf(request) as object), request, { body });
}

/** A body that waits; undefined for none. */
function slowed(body: unknown, bandwidth: Bandwidth): Readable | undefined {
  if (typeof body === "string" && body !== "") return slowed(Buffer.from(body), bandwidth);
  if (isBytes(body) && body.length > 0)
    return Readable.from(pieces([body], bandwidth), { objectMode: false, highWaterMark: 0 });
  if (isReadable(body))
    return Readable.from(pieces(body, bandwidth), { objectMode: false, highWaterMark: 0 });
  return undefined;
}

async function* pieces(
  source: AsyncIterable<unknown> | Iterable<Uint8Array>,
  bandwidth: Bandwidth,
): AsyncGenerator<Uint8Array> {
  for await (const given of source) {
    const chunk = isBytes(given) ? given : Buffer.from(String(given));
    for (let at = 0; at < chunk.length; ) {
      const piece = chunk.subarray(at, at + bandwidth.piece);
      await bandwidth.take(piece.length);
      at += piece.length;
      yield piece;
    }
  }
}

// Ends and fails as the answer does, which is let go when nobody wants more of it.
function slowedAnswer(answer: Readable, bandwidth: Bandwidth): Readable {
  return Readable.from(pieces(answer, bandwidth), { objectMode: false, highWaterMark: 0 });
}
