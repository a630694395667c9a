// Bytes that buffers of all jobs may hold together. Counts what is taken and given back; nobody waits here.

/** A number of bytes that jobs share. */
export class MemoryBudget {
  readonly size: number;
  #used = 0;

  /** @param size in bytes */
  constructor(size: number) {
    this.size = size;
  }

  get used(): number {
    return this.#used;
  }

  /** Whether `bytes` can be taken now: within the budget, or, for what is larger than all of it, alone. */
  fits(bytes: number): boolean {
    return this.#used === 0 || this.#used + bytes <= this.size;
  }

  take(bytes: number): void {
    this.#used += bytes;
  }

  give(bytes: number): void {
    this.#used -= bytes;
  }
}
