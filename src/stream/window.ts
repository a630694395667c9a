// Bytes that have arrived and are not used up: what was held back, then the chunk just given. Frames are cut out of it
// as lists of views, without joining them.
import { asBuffer } from "../bytes.ts";

/** A growing buffer of held bytes followed by one borrowed chunk. */
export class Window {
  #held = Buffer.alloc(0);
  #heldLength = 0;
  #chunk: Buffer = Buffer.alloc(0);
  #start = 0;

  /** Bytes in the window. */
  get length(): number {
    return this.#heldLength + this.#chunk.length - this.#start;
  }

  /** Adds a chunk behind what is held. It is borrowed until `hold`. */
  push(chunk: Uint8Array): void {
    this.#chunk = asBuffer(chunk);
  }

  /** Views of the bytes from `start` to `end`, in order. */
  slices(start: number, end: number): Uint8Array[] {
    const from = this.#start + start;
    const to = this.#start + end;
    const held = this.#heldLength;
    if (to <= held) return from === to ? [] : [this.#held.subarray(from, to)];
    if (from >= held) return [this.#chunk.subarray(from - held, to - held)];
    return [this.#held.subarray(from, held), this.#chunk.subarray(0, to - held)];
  }

  /** The big-endian 32-bit number at `offset`, which must lie in the window. */
  uint32(offset: number): number {
    const at = this.#start + offset;
    const held = this.#heldLength;
    if (at >= held) return this.#chunk.readUInt32BE(at - held);
    if (at + 4 <= held) return this.#held.readUInt32BE(at);
    let value = 0;
    for (let i = at; i < at + 4; i++)
      value = value * 256 + ((i < held ? this.#held[i] : this.#chunk[i - held]) ?? 0);
    return value;
  }

  /** Drops the first `count` bytes. */
  drop(count: number): void {
    this.#start += count;
  }

  /** Copies what is left of the chunk, so that the caller has it back. */
  hold(): void {
    const left = this.length;
    const keep = Math.max(0, this.#heldLength - this.#start);
    if (left > this.#held.length) {
      // Doubling keeps many small chunks linear, and no more is allocated than twice what has arrived.
      const larger = Buffer.allocUnsafeSlow(2 * left);
      if (keep > 0) this.#held.copy(larger, 0, this.#start, this.#start + keep);
      this.#held = larger;
    } else if (this.#start > 0 && keep > 0) {
      this.#held.copyWithin(0, this.#start, this.#start + keep);
    }
    if (left > keep) this.#chunk.copy(this.#held, keep, this.#chunk.length - (left - keep));
    this.#heldLength = left;
    this.#chunk = Buffer.alloc(0);
    this.#start = 0;
  }

  /** Wipes what is held. */
  wipe(): void {
    this.#held.fill(0);
    this.#heldLength = 0;
    this.#start = 0;
    this.#chunk = Buffer.alloc(0);
  }
}
