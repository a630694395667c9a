// A position in a list of byte chunks that are cut anywhere. It lets an engine read frames out of a stream's chunks
// without joining them first. It knows nothing of frames.

import { isBytes, isDetached, isShared } from "../shapes.ts";
/** Walks through `chunks` once, from front to back. Views of shared memory are copied first. */
export class ChunkCursor {
  readonly #chunks: readonly Uint8Array[];
  #index = 0;
  #offset = 0;

  constructor(chunks: readonly Uint8Array[]) {
    this.#chunks = chunks;
  }
  /** The next bytes that lie in one piece: at most `length` of them, at least one. */
  next(length: number): Uint8Array {
    for (;;) {
      const chunk = this.#chunks[this.#index];
      if (chunk === undefined) throw new Error("internal error: chunks are shorter than the run");
      const rest = chunk.length - this.#offset;
      if (rest === 0) {
        this.#index++;
        this.#offset = 0;
        continue;
      }
      const start = this.#offset;
      this.#offset += Math.min(rest, length);
      return unshared(chunk.subarray(start, this.#offset));
    }
  }
  /** Copies the next `target.length` bytes. */
  copyTo(target: Uint8Array): void {
    let at = 0;
    while (at < target.length) {
      const piece = this.next(target.length - at);
      target.set(piece, at);
      at += piece.length;
    }
  }
}

/** Another thread may write to shared memory between two reads of a byte: such a view is replaced by a copy. */
export function unshared(bytes: Uint8Array): Uint8Array {
  return isShared(bytes) ? new Uint8Array(bytes) : bytes;
}

/**
 * Checks that `bytes` is a view of bytes whose buffer has not been transferred away.
 * @throws TypeError otherwise.
 */
export function checkBytes(name: string, bytes: Uint8Array): void {
  if (!isBytes(bytes)) throw new TypeError(`"${name}" expected Uint8Array, got ${typeof bytes}`);
  if (bytes.length === 0 && isDetached(bytes))
    throw new TypeError(`"${name}" is a view of a detached buffer`);
}

/** Checks a view of exactly `length` bytes. */
export function checkLength(name: string, bytes: Uint8Array, length: number): void {
  checkBytes(name, bytes);
  if (bytes.length !== length)
    throw new RangeError(`"${name}" expected ${length} bytes, got ${bytes.length}`);
}
