// Bytes that have arrived and are not used up: what was held back, then the chunks just given. Frames are cut out of it
// as lists of views, without joining them.
import { asBuffer } from "../bytes.ts";

/** A growing buffer of held bytes, followed by borrowed chunks. */
export class Window {
  #held = Buffer.alloc(0);
  /** The pieces in order, from `#first` on; of that one `#start` bytes are dropped. The first of all may lie in `#held`. */
  #pieces: Buffer[] = [];
  #first = 0;
  #start = 0;
  #length = 0;
  /** A piece, and the offset in the window at which it begins: where the last search ended. */
  #foundIndex = 0;
  #foundOffset = 0;

  /** Bytes in the window. */
  get length(): number {
    return this.#length;
  }

  /** Adds a chunk behind what is there. It is borrowed until `hold`. */
  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#pieces.push(asBuffer(chunk));
    this.#length += chunk.length;
  }

  /** Views of the first `length` bytes, in order. */
  slices(length: number): Uint8Array[] {
    const views: Uint8Array[] = [];
    let from = this.#start;
    for (let index = this.#first, left = length; left > 0; index++) {
      const view = this.#piece(index).subarray(from, from + left);
      views.push(view);
      left -= view.length;
      from = 0;
    }
    return views;
  }

  /** The big-endian 32-bit number at `offset`, which must lie in the window. */
  uint32(offset: number): number {
    const index = this.#find(offset);
    const at = offset - this.#foundOffset;
    const piece = this.#piece(index);
    if (at + 4 <= piece.length) return piece.readUInt32BE(at);
    let value = 0;
    for (let i = offset; i < offset + 4; i++) {
      const byte = this.#piece(this.#find(i))[i - this.#foundOffset] ?? 0;
      value = value * 256 + byte;
    }
    return value;
  }

  /** Drops the first `count` bytes. */
  drop(count: number): void {
    let start = this.#start + count;
    while (this.#first < this.#pieces.length && start >= this.#piece(this.#first).length) {
      start -= this.#piece(this.#first).length;
      this.#first++;
    }
    this.#start = start;
    this.#length -= count;
    this.#foundIndex = this.#first;
    this.#foundOffset = -start;
  }

  /** Copies what is left of the chunks, so that the caller has them back. */
  hold(): void {
    const left = this.slices(this.#length);
    let held = this.#held;
    // Doubling keeps many small chunks linear, and no more is allocated than twice what has arrived.
    if (this.#length > held.length) held = Buffer.allocUnsafeSlow(2 * this.#length);
    let at = 0;
    for (const view of left) {
      const isThere = view.buffer === held.buffer && view.byteOffset === held.byteOffset + at;
      if (!isThere) held.set(view, at); // also of a view that overlaps
      at += view.length;
    }
    if (held !== this.#held) this.#held.fill(0);
    this.#held = held;
    this.#clear();
    if (at > 0) this.push(held.subarray(0, at));
  }

  /** Wipes what is held. */
  wipe(): void {
    this.#held.fill(0);
    this.#clear();
  }

  #clear(): void {
    this.#pieces = [];
    this.#first = this.#start = this.#length = this.#foundIndex = this.#foundOffset = 0;
  }

  #piece(index: number): Buffer {
    const piece = this.#pieces[index];
    if (piece === undefined) throw new Error("internal error: window is shorter than that");
    return piece;
  }

  // The index of the piece that holds `offset`. Searches go forward from the last one, so that a walk through the frames
  // of many small chunks is linear.
  #find(offset: number): number {
    if (offset < this.#foundOffset) {
      this.#foundIndex = this.#first;
      this.#foundOffset = -this.#start;
    }
    while (offset >= this.#foundOffset + this.#piece(this.#foundIndex).length) {
      this.#foundOffset += this.#piece(this.#foundIndex).length;
      this.#foundIndex++;
    }
    return this.#foundIndex;
  }
}
