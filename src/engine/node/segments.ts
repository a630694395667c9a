// Parts of one GCM message on node:crypto, which has no call for them. The keystream of a part is plain counter mode
// from its first block on. GHASH of a part comes out of OpenSSL's GMAC: with the ciphertext C as AAD and no plaintext,
// GMAC gives E(J0) + (GHASH(C) + L) · H, where L is the block of lengths; E(J0) comes from one AES call, and the rest is
// undone with one multiplication by 1/H.
import { type CipherGCM, createCipheriv } from "node:crypto";
import { MAX_UPDATE_LENGTH } from "../../format/limits.ts";
import { ChunkCursor, checkBytes, checkLength } from "../chunk-cursor.ts";
import {
  MAX_GCM_LENGTH,
  NONCE_LENGTH,
  type OpenedSegment,
  type SealedSegment,
  type SegmentCipher,
  type SegmentPartial,
  TAG_LENGTH,
} from "../engine.ts";
import { add, type FieldElement, fromElement, invert, multiply, power, toElement } from "../gf128.ts";
import { allocate } from "../output-memory.ts";
import { giveUp } from "./gcm.ts";

const BLOCK_LENGTH = 16;

/** Makes the segment interface of a key of 16, 24 or 32 bytes. `key` is asked for at each call. */
export class NodeSegments implements SegmentCipher {
  readonly #key: () => Uint8Array;
  readonly #keyBits: number;
  #hash:
    | { readonly h: FieldElement; readonly inverse: FieldElement; readonly mask: FieldElement }
    | undefined;

  constructor(key: () => Uint8Array, keyLength: number) {
    this.#key = key;
    this.#keyBits = 8 * keyLength;
  }
  seal(nonce: Uint8Array, firstBlock: number, chunks: readonly Uint8Array[]): SealedSegment {
    const ciphertext = this.#applyKeystream(nonce, firstBlock, chunks);
    return { ciphertext, partial: { ghash: this.#ghash(ciphertext), length: ciphertext.length } };
  }
  open(nonce: Uint8Array, firstBlock: number, chunks: readonly Uint8Array[]): OpenedSegment {
    const hasher = this.#startGhash();
    let length = 0;
    try {
      const plaintext = this.#applyKeystream(nonce, firstBlock, chunks, (piece) => {
        hasher.setAAD(piece);
        length += piece.length;
      });
      return { plaintext, partial: { ghash: this.#finishGhash(hasher, length), length } };
    } catch (error) {
      giveUp(hasher);
      throw error;
    }
  }
  finish(nonce: Uint8Array, aad: Uint8Array, partials: readonly SegmentPartial[]): Uint8Array {
    checkLength("nonce", nonce, NONCE_LENGTH);
    checkBytes("aad", aad);
    const { h } = this.#hashKey();
    let sum = toElement(this.#ghash(aad));
    const length = checkPartials(partials);
    for (const partial of partials) {
      const blocks = Math.ceil(partial.length / BLOCK_LENGTH);
      sum = add(multiply(sum, power(h, blocks)), toElement(partial.ghash));
    }
    sum = multiply(add(sum, lengthBlock(aad.length, length)), h);
    return fromElement(add(sum, toElement(this.#encryptBlock(counterBlock(nonce, 1)))));
  }

  /** Counter mode over the chunks. `read` sees each piece of input at the moment it is used. */
  #applyKeystream(
    nonce: Uint8Array,
    firstBlock: number,
    chunks: readonly Uint8Array[],
    read?: (piece: Uint8Array) => void,
  ): Uint8Array {
    checkLength("nonce", nonce, NONCE_LENGTH);
    const length = checkSegment(firstBlock, chunks);
    const counter = counterBlock(nonce, firstBlock + 2); // block 0 of the message has counter 2
    const cipher = createCipheriv(`aes-${this.#keyBits}-ctr`, this.#key(), counter);
    const output = allocate(length);
    const cursor = new ChunkCursor(chunks);
    try {
      for (let at = 0; at < length; ) {
        const piece = cursor.next(Math.min(length - at, MAX_UPDATE_LENGTH));
        read?.(piece);
        output.set(cipher.update(piece), at);
        at += piece.length;
      }
    } finally {
      giveUp(cipher);
    }
    return output;
  }
  #encryptBlock(block: Uint8Array): Uint8Array {
    const cipher = createCipheriv(`aes-${this.#keyBits}-ecb`, this.#key(), null).setAutoPadding(false);
    try {
      return cipher.update(block);
    } finally {
      giveUp(cipher);
    }
  }
  #startGhash(): CipherGCM {
    const algorithm =
      this.#keyBits === 256 ? "aes-256-gcm" : this.#keyBits === 192 ? "aes-192-gcm" : "aes-128-gcm";
    return createCipheriv(algorithm, this.#key(), ZERO_NONCE, { authTagLength: TAG_LENGTH });
  }
  #finishGhash(hasher: CipherGCM, length: number): Uint8Array {
    hasher.final();
    const { inverse, mask } = this.#hashKey();
    const sum = add(toElement(hasher.getAuthTag()), mask);
    return fromElement(add(multiply(sum, inverse), lengthBlock(length, 0)));
  }
  /** GHASH over `bytes`, zero-padded to whole blocks. */
  #ghash(bytes: Uint8Array): Uint8Array {
    if (bytes.length === 0) return new Uint8Array(BLOCK_LENGTH);
    const hasher = this.#startGhash();
    const cursor = new ChunkCursor([bytes]);
    try {
      for (let at = 0; at < bytes.length; ) {
        const piece = cursor.next(MAX_UPDATE_LENGTH);
        hasher.setAAD(piece);
        at += piece.length;
      }
      return this.#finishGhash(hasher, bytes.length);
    } catch (error) {
      giveUp(hasher);
      throw error;
    }
  }
  #hashKey() {
    if (this.#hash === undefined) {
      const h = toElement(this.#encryptBlock(new Uint8Array(BLOCK_LENGTH)));
      // The tags made with this nonce never leave this file, so that it may repeat.
      const mask = toElement(this.#encryptBlock(counterBlock(ZERO_NONCE, 1)));
      this.#hash = { h, inverse: invert(h), mask };
    }
    return this.#hash;
  }
  /** Wipes what was derived from the key. */
  wipe(): void {
    this.#hash?.h.fill(0);
    this.#hash?.inverse.fill(0);
    this.#hash?.mask.fill(0);
    this.#hash = undefined;
  }
}

const ZERO_NONCE = new Uint8Array(NONCE_LENGTH);

function counterBlock(nonce: Uint8Array, counter: number): Uint8Array {
  const block = Buffer.alloc(BLOCK_LENGTH);
  block.set(nonce);
  block.writeUInt32BE(counter, NONCE_LENGTH);
  return block;
}

/** Two lengths in bits, 8 bytes each. */
function lengthBlock(aadLength: number, textLength: number): FieldElement {
  const words = (length: number) => [Math.floor(length / 2 ** 29), (length * 8) % 2 ** 32];
  return Uint32Array.from([...words(aadLength), ...words(textLength)]);
}

/**
 * Checks where a part lies; returns its length.
 * @throws RangeError if it goes beyond the longest GCM message.
 */
export function checkSegment(firstBlock: number, chunks: readonly Uint8Array[]): number {
  let length = 0;
  for (const chunk of chunks) {
    checkBytes("chunk", chunk);
    length += chunk.length;
  }
  const isInside =
    Number.isInteger(firstBlock) && firstBlock >= 0 && firstBlock * BLOCK_LENGTH + length <= MAX_GCM_LENGTH;
  if (!isInside) throw new RangeError(`"firstBlock" expected a part of one GCM message, got ${firstBlock}`);
  return length;
}

/**
 * Checks the parts of a message; returns its length.
 * @throws RangeError if a part other than the last ends inside a block, or all are too long.
 */
export function checkPartials(partials: readonly SegmentPartial[]): number {
  let length = 0;
  for (const partial of partials) {
    checkLength("ghash", partial.ghash, BLOCK_LENGTH);
    if (!Number.isInteger(partial.length) || partial.length < 0 || length % BLOCK_LENGTH !== 0) {
      throw new RangeError(`"partials" expected multiples of ${BLOCK_LENGTH} bytes before the last`);
    }
    length += partial.length;
  }
  if (length > MAX_GCM_LENGTH)
    throw new RangeError(`"partials" expected at most ${MAX_GCM_LENGTH} bytes, got ${length}`);
  return length;
}
