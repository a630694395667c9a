// Which keys there are, and which tag each has, in 16 bytes for each: a million objects of a listing must not be a
// million texts in memory. It can be asked, not listed.
import { randomInt } from "node:crypto";

/** Slots in the beginning; a power of two. */
const FIRST_SLOTS = 1024;

/** A map of keys to tags that keeps only fingerprints of both. */
export class KeyTags {
  /** Fingerprints of keys and tags in turn; 0 is a free slot. */
  #table = new Float64Array(FIRST_SLOTS * 2);
  #count = 0;
  // Unknown to whoever chooses names: none of them can look for two that are alike.
  readonly #seed = randomInt(2 ** 32);

  get size(): number {
    return this.#count;
  }

  /** Adds a key, or gives it another tag. @returns false if it was there already */
  set(key: string, tag = ""): boolean {
    const fingerprint = this.#of(key);
    const at = this.#find(fingerprint);
    const isNew = this.#table[at] === 0;
    this.#table[at] = fingerprint;
    this.#table[at + 1] = this.#of(tag);
    if (isNew) this.#count += 1;
    if (this.#count * 2 > this.#table.length / 2) this.#grow();
    return isNew;
  }

  has(key: string): boolean {
    return this.#table[this.#find(this.#of(key))] !== 0;
  }

  /** Whether the key has this tag. */
  hasTag(key: string, tag: string): boolean {
    const at = this.#find(this.#of(key));
    return this.#table[at] !== 0 && this.#table[at + 1] === this.#of(tag);
  }

  // Where a fingerprint is, or the free slot where it would be.
  #find(fingerprint: number): number {
    const slots = this.#table.length / 2;
    let slot = fingerprint % slots;
    for (;;) {
      const found = this.#table[slot * 2];
      if (found === 0 || found === fingerprint) return slot * 2;
      slot = (slot + 1) % slots;
    }
  }

  #grow(): void {
    const old = this.#table;
    this.#table = new Float64Array(old.length * 2);
    for (let at = 0; at < old.length; at += 2) {
      const [fingerprint = 0, tag = 0] = [old[at], old[at + 1]];
      if (fingerprint === 0) continue;
      const place = this.#find(fingerprint);
      this.#table[place] = fingerprint;
      this.#table[place + 1] = tag;
    }
  }

  // 53 bits, never 0: among a million keys, one that is not there is taken for one that is in one of 10^10 trees. Two
  // multiplications for each character, mixed at the end (cyrb53).
  #of(text: string): number {
    let one = 0xdeadbeef ^ this.#seed;
    let two = 0x41c6ce57 ^ this.#seed;
    for (let at = 0; at < text.length; at++) {
      const unit = text.charCodeAt(at);
      one = Math.imul(one ^ unit, 2654435761);
      two = Math.imul(two ^ unit, 1597334677);
    }
    one = Math.imul(one ^ (one >>> 16), 2246822507) ^ Math.imul(two ^ (two >>> 13), 3266489909);
    two = Math.imul(two ^ (two >>> 16), 2246822507) ^ Math.imul(one ^ (one >>> 13), 3266489909);
    return 2 ** 32 * (2 ** 20 - 1 - (0xfffff & two)) + (one >>> 0) || 1;
  }
}
