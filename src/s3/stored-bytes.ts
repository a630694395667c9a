// Reading stored bytes in pieces of known lengths.
import { Readable } from "node:stream";
import { asBuffer } from "../bytes.ts";
import { FramesealError } from "../errors.ts";
import type { StoredObject } from "./object-format.ts";
import { bodyFailure } from "./object-source.ts";

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

/** Cuts a stream into pieces of exact lengths. */
export class ExactReader {
  readonly #iterator: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(source: Readable) {
    this.#iterator = (source as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  }

  /** @throws FramesealError TRUNCATED when the stream ends before */
  async take(length: number): Promise<Uint8Array[]> {
    const chunks: Uint8Array[] = [];
    let missing = length;
    while (missing > 0) {
      if (this.#rest.length === 0) this.#rest = await this.#next();
      const piece = this.#rest.subarray(0, missing);
      this.#rest = this.#rest.subarray(piece.length);
      missing -= piece.length;
      chunks.push(piece);
    }
    return chunks;
  }

  /** @throws FramesealError TRAILING_DATA unless the stream ends here */
  async end(): Promise<void> {
    while (this.#rest.length === 0) {
      const next = await this.#read();
      if (next === undefined) return;
      this.#rest = next;
    }
    throw new FramesealError("TRAILING_DATA", "server sent more bytes than it announced");
  }

  async #next(): Promise<Buffer> {
    const next = await this.#read();
    if (next === undefined) throw bodyFailure(undefined);
    return next;
  }

  async #read(): Promise<Buffer | undefined> {
    try {
      const result = await this.#iterator.next();
      return result.done === true ? undefined : result.value;
    } catch (error) {
      throw bodyFailure(error);
    }
  }
}
