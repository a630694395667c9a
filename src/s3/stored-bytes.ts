// Reading stored bytes in pieces of known lengths.
import { Readable } from "node:stream";
import { asBuffer } from "../bytes.ts";
import { FramesealError } from "../errors.ts";
import type { StoredObject } from "./object-format.ts";
import { bodyFailure } from "./object-source.ts";
import { brokenOff } from "./resuming-source.ts";

/** What one request fetches to see a header. */
export const HEAD_LENGTH = 16 * 1024;

/** Stored bytes of an object, from its head where that suffices. */
export class StoredBytes {
  readonly #object: StoredObject;
  readonly #head: Uint8Array;

  constructor(object: StoredObject, head: Uint8Array) {
    this.#object = object;
    this.#head = head;
  }
  read(start: number, end: number): Promise<Uint8Array> {
    if (end <= this.#head.length) return Promise.resolve(this.#head.subarray(start, end));
    return this.#object.source.read(start, end);
  }
  stream(start: number, end: number): Promise<Readable> {
    if (end <= this.#head.length)
      return Promise.resolve(
        Readable.from([asBuffer(this.#head.subarray(start, end))], { objectMode: false }),
      );
    return this.#object.source.stream(start, end);
  }
}

/** Bytes that wait to be taken before the source is paused. */
const WAITING_LENGTH = 4 * 1024 * 1024;

/** Cuts a stream into pieces of exact lengths. It lets the stream flow, and holds it back when nobody takes. */
export class ExactReader {
  readonly #source: Readable;
  readonly #chunks: Buffer[] = [];
  #waiting = 0;
  #ended = false;
  #isClosed = false;
  #failure: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(source: Readable) {
    this.#source = source;
    const wake = (): void => this.#wake?.();
    source.on("data", (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#waiting += chunk.length;
      if (this.#waiting >= WAITING_LENGTH) source.pause();
      wake();
    });
    source.once("end", () => {
      this.#ended = true;
      wake();
    });
    source.once("error", (error) => {
      this.#failure = bodyFailure(error);
      wake();
    });
    source.once("close", () => {
      this.#isClosed = true;
      wake();
    });
  }

  /**
   * Takes the next `length` bytes.
   * @throws FramesealError TRUNCATED when the stream ends before, NETWORK when it breaks off
   */
  async take(length: number): Promise<Uint8Array[]> {
    while (this.#waiting < length) {
      if (this.#ended) throw bodyFailure(undefined);
      await this.#more();
    }
    const taken: Uint8Array[] = [];
    let missing = length;
    while (missing > 0) {
      const chunk = this.#chunks[0];
      if (chunk === undefined) throw new Error("internal error: bytes were counted wrong");
      const piece = chunk.subarray(0, missing);
      if (piece.length < chunk.length) this.#chunks[0] = chunk.subarray(piece.length);
      else this.#chunks.shift();
      missing -= piece.length;
      taken.push(piece);
    }
    this.#waiting -= length;
    if (this.#waiting < WAITING_LENGTH && !this.#ended) this.#source.resume();
    return taken;
  }

  /** @throws FramesealError TRAILING_DATA unless the stream ends here */
  async end(): Promise<void> {
    while (this.#waiting === 0 && !this.#ended) await this.#more();
    if (this.#waiting > 0)
      throw new FramesealError("TRAILING_DATA", "server sent more bytes than it announced");
  }

  async #more(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#isClosed && !this.#ended) throw brokenOff(undefined);
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      this.#source.resume();
    });
    this.#wake = undefined;
  }
}

/** Stored bytes that one request of `bodyInRanges` fetches. */
const RANGE_LENGTH = 8 * 1024 * 1024;

/**
 * The stored bytes of an object as a stream that holds no connection while it waits: each piece is fetched whole when it
 * is wanted. For bodies that are written elsewhere while they are read, which may need the same connections.
 */
export function bodyInRanges({ source, storedLength }: StoredObject): Readable {
  const ranges = async function* (): AsyncGenerator<Uint8Array> {
    for (let start = 0; start < storedLength; start += RANGE_LENGTH)
      yield await source.read(start, Math.min(storedLength, start + RANGE_LENGTH));
  };
  return Readable.from(ranges(), { objectMode: false });
}
