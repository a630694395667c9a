// Bodies cut into parts, and collected as one part. Whatever waits for a source ends when the operation stops.
import { concatBytes } from "../bytes.ts";
import { FramesealError } from "../errors.ts";
import { isShared } from "../shapes.ts";
import { type BodySource, takeBody } from "./object-body.ts";
import { Stop } from "./stop.ts";

/** One piece of a body. */
export interface BodyPart {
  readonly bytes: Uint8Array;
  readonly place: "more" | "last";
}

/** Up to here a body that may be short is kept in memory that grows with it. */
const SHORT_LENGTH = 4 * 2 ** 20;

/** Cuts a body, piece by piece. Does not close it. */
export class BodyParts {
  readonly #source: BodySource;
  readonly #stop: Stop;
  /** Memory of pieces that came without any. */
  #buffer: Buffer = Buffer.alloc(0);
  /** What has arrived and is in no piece yet. */
  #rest: Uint8Array;
  #done: boolean;

  constructor(source: BodySource, stop: Stop) {
    this.#source = source;
    this.#stop = stop;
    this.#rest = source.bytes ?? new Uint8Array(0);
    this.#done = source.bytes !== undefined;
  }

  /**
   * The next piece; only the last one may be shorter than `length`, and may be empty. Its bytes are valid until the next
   * one is asked for.
   * @param memory for `length` bytes; a body that is in memory does not use it, one that may be short asks late for it
   */
  async next(length: number, memory?: Uint8Array | (() => Uint8Array)): Promise<BodyPart> {
    if (this.#source.bytes !== undefined) {
      const bytes = this.#rest.subarray(0, length);
      this.#rest = this.#rest.subarray(bytes.length);
      return { bytes, place: this.#rest.length === 0 ? "last" : "more" };
    }
    let into = typeof memory === "object" ? memory : this.#buffer;
    let filled = 0;
    for (await this.#pull(); filled < length && this.#rest.length > 0; await this.#pull()) {
      const count = Math.min(this.#rest.length, length - filled);
      if (into.length < filled + count) {
        if (typeof memory === "function" && filled + count > SHORT_LENGTH) {
          into = memory();
          into.set(this.#buffer.subarray(0, filled));
          this.wipe();
        } else into = this.#grow(filled, filled + count, length);
      }
      into.set(this.#rest.subarray(0, count), filled);
      filled += count;
      this.#rest = this.#rest.subarray(count);
    }
    return { bytes: into.subarray(0, filled), place: this.#rest.length === 0 ? "last" : "more" };
  }

  // Until there is a byte, or none will come: so that the piece before the end is known to be the last.
  async #pull(): Promise<void> {
    while (this.#rest.length === 0 && !this.#done) {
      const chunk = await this.#stop.race(this.#source.next());
      if (chunk === undefined) this.#done = true;
      else this.#rest = chunk;
    }
  }

  // Fourfold up to a whole piece: a short body does not cost the memory of a long one.
  #grow(used: number, needed: number, max: number): Buffer {
    const length = Math.min(max, Math.max(needed, this.#buffer.length * 4, 64 * 1024));
    const larger = Buffer.allocUnsafeSlow(length);
    this.#buffer.copy(larger, 0, 0, used);
    this.#buffer.fill(0);
    this.#buffer = larger;
    return larger;
  }

  /** Wipes plaintext in memory of its own, and lets go of it. */
  wipe(): void {
    this.#buffer.fill(0);
    this.#buffer = Buffer.alloc(0);
  }
}

/**
 * Cuts a body into parts of `length` bytes; the last one, and only it, may be shorter and may be empty. The bytes of a
 * part are valid until the next one is asked for. Closes the source.
 */
export async function* cutParts(
  source: BodySource,
  length: number,
  signal?: AbortSignal,
): AsyncGenerator<BodyPart, void, void> {
  let stop: Stop | undefined;
  let parts: BodyParts | undefined;
  try {
    stop = new Stop(signal);
    source.failInto(stop);
    parts = new BodyParts(source, stop);
    for (;;) {
      const part = await parts.next(length);
      yield part;
      if (part.place === "last") return;
    }
  } finally {
    parts?.wipe();
    source.close();
    stop?.release();
  }
}

/**
 * Collects a body of one part.
 * @throws FramesealError POLICY when it has more than `limit` bytes, ABORTED; RangeError when it does not have the
 * announced length; TypeError for what is no body or is used up
 */
export async function collectBody(
  body: unknown,
  limit: number,
  announced: unknown,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const source = takeBody(body, announced);
  const { bytes } = source;
  // What another thread can change must not differ between the ledger and the seal.
  if (bytes !== undefined) return isShared(bytes) ? Uint8Array.from(bytes) : bytes;
  try {
    const stop = new Stop(signal);
    try {
      source.failInto(stop);
      return await collect(source, stop, limit);
    } finally {
      stop.release();
    }
  } finally {
    source.close();
  }
}

async function collect(source: BodySource, stop: Stop, limit: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = source.length ?? 0;
  if (length <= limit) {
    length = 0;
    for (;;) {
      const chunk = await stop.race(source.next());
      if (chunk === undefined) return concatBytes(chunks);
      length += chunk.length;
      if (length > limit) break;
      chunks.push(chunk);
    }
  }
  throw new FramesealError("POLICY", `part has more than the ${limit} bytes that parts of this upload have`);
}
