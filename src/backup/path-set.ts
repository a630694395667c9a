// Which paths there are, in 16 bytes each: a tree of a million files must not be a million texts in memory.
import { createHash } from "node:crypto";

/** Slots in the beginning; a power of two. */
const FIRST_SLOTS = 1024;
/** Of four slots so many may be full. */
const FULL_OF_FOUR = 3;
/** 64-bit words of a fingerprint: no two paths that anybody can find have the same 128 bits of SHA-256. */
const WORDS = 2;

/** A set of paths that can be asked, not listed. */
export class PathSet {
  #table = new BigUint64Array(FIRST_SLOTS * WORDS);
  #count = 0;

  /** Adds a path. @returns false if it was there already */
  add(path: string): boolean {
    const [first, second] = fingerprintOf(path);
    const at = this.#find(first, second);
    if (this.#table[at] !== 0n) return false;
    this.#table[at] = first;
    this.#table[at + 1] = second;
    this.#count += 1;
    if (this.#count * 4 > (this.#table.length / WORDS) * FULL_OF_FOUR) this.#grow();
    return true;
  }

  has(path: string): boolean {
    return this.#table[this.#find(...fingerprintOf(path))] !== 0n;
  }

  // Where a fingerprint is, or the free slot where it would be.
  #find(first: bigint, second: bigint): number {
    const slots = this.#table.length / WORDS;
    let slot = Number(first & BigInt(slots - 1));
    for (;;) {
      const at = slot * WORDS;
      const found = this.#table[at];
      if (found === 0n || (found === first && this.#table[at + 1] === second)) return at;
      slot = (slot + 1) & (slots - 1);
    }
  }

  #grow(): void {
    const old = this.#table;
    this.#table = new BigUint64Array(old.length * 2);
    for (let at = 0; at < old.length; at += WORDS) {
      const [first = 0n, second = 0n] = old.subarray(at, at + WORDS);
      if (first === 0n) continue;
      const place = this.#find(first, second);
      this.#table[place] = first;
      this.#table[place + 1] = second;
    }
  }
}

// The first word is never 0, which is a free slot.
function fingerprintOf(path: string): [bigint, bigint] {
  const digest = createHash("sha256").update(path, "utf8").digest();
  return [digest.readBigUInt64LE(0) | (1n << 63n), digest.readBigUInt64LE(8)];
}
