// Single GCM calls on node:crypto, for the engine and its worker threads. Node expands the key anew for every call;
// nothing can be done about that from JavaScript. The raw key is given to each call: a KeyObject would keep a copy of it
// until the garbage collector comes by. For the same reason every cipher is ended, also one that is given up.
import {
  type Cipher,
  type CipherGCM,
  type CipherGCMTypes,
  createCipheriv,
  createDecipheriv,
  type Decipher,
  type DecipherGCM,
} from "node:crypto";
import { wipe } from "../../bytes.ts";
import { MAX_UPDATE_LENGTH } from "../../format/limits.ts";
import { type ChunkCursor, unshared } from "../chunk-cursor.ts";
import { TAG_LENGTH } from "../engine.ts";

const ALGORITHMS = new Map<number | undefined, CipherGCMTypes>([
  [16, "aes-128-gcm"],
  [24, "aes-192-gcm"],
  [32, "aes-256-gcm"],
]);

const GCM_OPTIONS = { authTagLength: TAG_LENGTH };

/** A key that starts one GCM call after the other. */
export class GcmKey {
  #key: Uint8Array | undefined;
  readonly #algorithm: CipherGCMTypes;
  /** For other threads, made when the first of them needs it. */
  #shared: Uint8Array | undefined;
  #loans = 0;

  /**
   * @param key memory for secrets, which belongs to this from now on
   * @throws RangeError unless it has 16, 24 or 32 bytes
   */
  constructor(key: Uint8Array) {
    const algorithm = ALGORITHMS.get(key.length);
    if (algorithm === undefined) {
      wipe(key);
      throw new RangeError(`"key" expected 16, 24 or 32 bytes, got ${key.length}`);
    }
    this.#key = key;
    this.#algorithm = algorithm;
  }
  /** @throws Error "internal error: …" after `dispose` */
  get live(): Uint8Array {
    if (this.#key === undefined) throw new Error("internal error: key has been disposed of");
    return this.#key;
  }
  cipher(nonce: Uint8Array, aad: Uint8Array): CipherGCM {
    return createCipheriv(this.#algorithm, this.live, nonce, GCM_OPTIONS).setAAD(aad);
  }
  decipher(nonce: Uint8Array, aad: Uint8Array): DecipherGCM {
    return createDecipheriv(this.#algorithm, this.live, nonce, GCM_OPTIONS).setAAD(aad);
  }
  /**
   * The key in memory that another thread can read, so that no message carries a copy of it there. It stays as it is, even
   * after `dispose`, until `giveBack` has been called as often: a thread must never seal under a wiped key.
   */
  lend(): Uint8Array {
    const { live } = this;
    if (this.#shared === undefined) {
      this.#shared = new Uint8Array(new SharedArrayBuffer(live.length));
      this.#shared.set(live);
    }
    this.#loans++;
    return this.#shared;
  }
  giveBack(): void {
    this.#loans--;
    this.#wipeShared();
  }
  /** Wipes the key. */
  dispose(): void {
    wipe(this.#key);
    this.#key = undefined;
    this.#wipeShared();
  }
  #wipeShared(): void {
    if (this.#key !== undefined || this.#loans > 0) return;
    wipe(this.#shared);
    this.#shared = undefined;
  }
}

/** Frees what a cipher holds, the expanded key among it, when it has not been ended. */
export function giveUp(cipher: Cipher | Decipher): void {
  try {
    cipher.final();
  } catch {
    // It had been ended, or there was no tag to compare. Either way nothing is left.
  }
}

/**
 * Runs the next `length` bytes of `cursor` through `cipher` into `output`; returns where they end. Each piece is read
 * before it is written, so that the output may lie over input of this call and of calls before it.
 */
export function update(
  cipher: CipherGCM | DecipherGCM,
  cursor: ChunkCursor,
  length: number,
  output: Uint8Array,
  start: number,
): number {
  let at = start;
  const end = start + length;
  while (at < end) {
    const piece = cipher.update(cursor.next(Math.min(end - at, MAX_UPDATE_LENGTH)));
    output.set(piece, at);
    at += piece.length;
  }
  return end;
}

/** Seals the next `length` bytes of `cursor` to `output` at `start`, with the tag behind; returns where that ends. */
export function sealText(
  cipher: CipherGCM,
  cursor: ChunkCursor,
  length: number,
  output: Uint8Array,
  start: number,
): number {
  try {
    return finishSeal(cipher, output, update(cipher, cursor, length, output, start));
  } catch (error) {
    giveUp(cipher);
    throw error;
  }
}

/** Opens the next bytes of `cursor` and the tag behind them, which is read into `tag`. False if they are not authentic. */
export function openText(
  decipher: DecipherGCM,
  cursor: ChunkCursor,
  output: Uint8Array,
  tag: Uint8Array,
): boolean {
  try {
    update(decipher, cursor, output.length, output, 0);
    cursor.copyTo(tag);
  } catch (error) {
    giveUp(decipher);
    throw error;
  }
  return isAuthentic(decipher, tag);
}

/** Writes the tag; returns where it ends. */
export function finishSeal(cipher: CipherGCM, output: Uint8Array, at: number): number {
  cipher.final();
  output.set(cipher.getAuthTag(), at);
  return at + TAG_LENGTH;
}

export function isAuthentic(decipher: DecipherGCM, tag: Uint8Array): boolean {
  decipher.setAuthTag(unshared(tag));
  try {
    decipher.final(); // frees the expanded key, whatever it finds
    return true;
  } catch {
    return false; // the only error of final() with a tag of the right length; OpenSSL compares in constant time
  }
}
