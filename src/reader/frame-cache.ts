// Verified plaintext of the frames that were read last, so that small reads near each other cost one request.
import { wipe } from "../bytes.ts";

/** Keeps frames by their number, counted from 0, up to a number of bytes; the one not used for longest goes first. */
export class FrameCache {
  readonly #maxLength: number;
  /** In the order of use. */
  readonly #frames = new Map<number, Uint8Array>();
  #length = 0;

  /** @throws RangeError unless `maxLength` is a whole number from 0 on */
  constructor(maxLength: number) {
    if (!Number.isSafeInteger(maxLength) || maxLength < 0)
      throw new RangeError(`"cacheLength" expected a whole number from 0 on, got ${maxLength}`);
    this.#maxLength = maxLength;
  }

  /** A frame, which may be wiped as soon as the caller waits for anything. */
  get(index: number): Uint8Array | undefined {
    const frame = this.#frames.get(index);
    if (frame === undefined) return undefined;
    this.#frames.delete(index);
    this.#frames.set(index, frame);
    return frame;
  }

  /** Takes a copy. Frames longer than the cache are not kept. */
  add(index: number, frame: Uint8Array): void {
    if (frame.length > this.#maxLength || this.get(index) !== undefined) return;
    for (const [oldest, bytes] of this.#frames) {
      if (this.#length + frame.length <= this.#maxLength) break;
      this.#frames.delete(oldest);
      this.#length -= bytes.length;
      wipe(bytes);
    }
    this.#frames.set(index, Uint8Array.from(frame));
    this.#length += frame.length;
  }

  /** Wipes all frames. */
  clear(): void {
    for (const frame of this.#frames.values()) wipe(frame);
    this.#frames.clear();
    this.#length = 0;
  }
}
