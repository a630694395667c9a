// Single GCM calls on node:crypto, for the engine and its worker threads. Node expands the key anew for every call;
// nothing can be done about that from JavaScript.
import {
  type CipherGCM,
  type CipherGCMTypes,
  createCipheriv,
  createDecipheriv,
  type DecipherGCM,
  type KeyObject,
} from "node:crypto";
import { type ChunkCursor, unshared } from "../chunk-cursor.ts";
import { TAG_LENGTH } from "../engine.ts";

const ALGORITHMS = new Map<number | undefined, CipherGCMTypes>([
  [16, "aes-128-gcm"],
  [24, "aes-192-gcm"],
  [32, "aes-256-gcm"],
]);

const GCM_OPTIONS = { authTagLength: TAG_LENGTH };
/** One call of OpenSSL takes less than 2^31 bytes. */
export const MAX_UPDATE_LENGTH = 2 ** 30;

/** A key that starts one GCM call after the other. Node wipes its copy of the key when it is collected. */
export class GcmKey {
  #key: KeyObject | undefined;
  readonly #algorithm: CipherGCMTypes;

  /** @throws RangeError unless the key has 16, 24 or 32 bytes */
  constructor(key: KeyObject) {
    const algorithm = ALGORITHMS.get(key.symmetricKeySize);
    if (algorithm === undefined)
      throw new RangeError(`"key" expected 16, 24 or 32 bytes, got ${key.symmetricKeySize}`);
    this.#key = key;
    this.#algorithm = algorithm;
  }
  /** @throws Error "internal error: …" after `dispose` */
  get live(): KeyObject {
    if (this.#key === undefined) throw new Error("internal error: key has been disposed of");
    return this.#key;
  }
  cipher(nonce: Uint8Array, aad: Uint8Array): CipherGCM {
    return createCipheriv(this.#algorithm, this.live, nonce, GCM_OPTIONS).setAAD(aad);
  }
  decipher(nonce: Uint8Array, aad: Uint8Array): DecipherGCM {
    return createDecipheriv(this.#algorithm, this.live, nonce, GCM_OPTIONS).setAAD(aad);
  }
  dispose(): void {
    this.#key = undefined;
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

/** Writes the tag; returns where it ends. */
export function finishSeal(cipher: CipherGCM, output: Uint8Array, at: number): number {
  cipher.final();
  output.set(cipher.getAuthTag(), at);
  return at + TAG_LENGTH;
}

export function isAuthentic(decipher: DecipherGCM, tag: Uint8Array): boolean {
  decipher.setAuthTag(unshared(tag));
  try {
    decipher.final();
    return true;
  } catch {
    return false; // the only error of final() with a tag of the right length; OpenSSL compares in constant time
  }
}
