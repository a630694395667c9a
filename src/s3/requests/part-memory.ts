// The buffers of one upload: a single piece of memory, divided into one place for plaintext and some for sealed parts, and
// divided anew when parts get longer. Nothing is allocated part by part, so nothing waits for the garbage collector, and
// pages that no part has reached cost nothing.
import { wipe } from "../../bytes.ts";
import type { Stop } from "../stop.ts";

/** Memory for one sealed part. */
export interface Slot {
  readonly bytes: Uint8Array;
  /** Nobody uses the bytes any more. */
  release(): void;
}

export class PartMemory {
  readonly #memory: Uint8Array;
  readonly #stop: Stop;
  #plaintext: Uint8Array = new Uint8Array(0);
  #free: Uint8Array[] = [];
  #waiting: (() => void) | undefined;

  constructor(length: number, stop: Stop) {
    this.#memory = Buffer.allocUnsafeSlow(length);
    this.#stop = stop;
  }

  /** Memory for the plaintext of one part. */
  get plaintext(): Uint8Array {
    return this.#plaintext;
  }

  /** Divides the memory. No slot may be in use. */
  divide(plaintextLength: number, sealedLength: number, slots: number): void {
    this.wipe();
    this.#plaintext = this.#memory.subarray(0, plaintextLength);
    this.#free = Array.from({ length: slots }, (_, index) => {
      const start = plaintextLength + index * sealedLength;
      return this.#memory.subarray(start, start + sealedLength);
    });
  }

  /** Waits for a free slot. */
  async take(): Promise<Slot> {
    for (;;) {
      const bytes = this.#free.pop();
      if (bytes !== undefined) return { bytes, release: () => this.#release(bytes) };
      await this.#stop.race(
        new Promise<void>((resolve) => {
          this.#waiting = resolve;
        }),
      );
    }
  }

  #release(bytes: Uint8Array): void {
    this.#free.push(bytes);
    this.#waiting?.();
  }

  /** Overwrites the plaintext. */
  wipe(): void {
    wipe(this.#plaintext);
  }
}
