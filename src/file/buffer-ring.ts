// Memory for reading and writing that is used again and again.
import { wipe } from "../bytes.ts";

/** Buffers on each side: one in the kernel, one in the engine, one on its way. */
export const BUFFER_COUNT = 3;

/** A few buffers of one length that take turns, made when they are first needed. */
export class BufferRing {
  readonly #buffers: Buffer[] = [];
  #turn = 0;

  next(length: number): Buffer {
    const index = this.#turn % BUFFER_COUNT;
    this.#turn += 1;
    let buffer = this.#buffers[index];
    if (buffer === undefined || buffer.length < length) {
      buffer = Buffer.allocUnsafeSlow(length);
      this.#buffers[index] = buffer;
    }
    return buffer.subarray(0, length);
  }
  wipe(): void {
    for (const buffer of this.#buffers) wipe(buffer);
    this.#buffers.length = 0;
  }
}
