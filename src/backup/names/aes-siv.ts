// AES-SIV (RFC 5297): deterministic authenticated encryption, so that equal input gives equal output, and nothing else is
// told. AES is that of OpenSSL, by CBC and CTR. Knows nothing of names.
import { createCipheriv, createSecretKey, type KeyObject } from "node:crypto";
import { allocateSecret, asBuffer, concatBytes, copySecret, equalConstantTime, wipe } from "../../bytes.ts";

/** Bytes of the key of AEAD_AES_SIV_CMAC_512: two keys of AES-256. */
export const SIV_KEY_LENGTH = 64;
const SIV_LENGTH = 16;
const BLOCK_LENGTH = 16;
const ZERO_BLOCK: Uint8Array = Buffer.alloc(BLOCK_LENGTH);

/** One key of AES-SIV. What is sealed is the synthetic IV, 16 bytes, and behind it the ciphertext. */
export class AesSiv {
  readonly #mac: Cmac;
  /** CMAC of zeros, with which S2V begins. */
  readonly #start: Uint8Array;
  readonly #ctrKey: KeyObject;
  readonly #ctrCipher: string;

  /** @param key two keys of AES, together 32, 48 or 64 bytes; copied: the caller wipes it */
  constructor(key: Uint8Array) {
    const half = key.length / 2;
    this.#mac = new Cmac(key.subarray(0, half));
    this.#start = this.#mac.digest(ZERO_BLOCK);
    this.#ctrKey = createSecretKey(key.subarray(half));
    this.#ctrCipher = `aes-${half * 8}-ctr`;
  }

  /** @param associatedData each is authenticated, in that order */
  seal(plaintext: Uint8Array, associatedData: readonly Uint8Array[]): Uint8Array {
    const siv = this.#s2v(plaintext, associatedData);
    return concatBytes([siv, this.#ctr(siv, plaintext)]);
  }

  /** The text; undefined for what is not authentic. */
  open(sealed: Uint8Array, associatedData: readonly Uint8Array[]): Uint8Array | undefined {
    if (sealed.length < SIV_LENGTH) return undefined;
    const siv = sealed.subarray(0, SIV_LENGTH);
    const plaintext = this.#ctr(siv, sealed.subarray(SIV_LENGTH));
    if (equalConstantTime(this.#s2v(plaintext, associatedData), siv)) return plaintext;
    wipe(plaintext);
    return undefined;
  }

  // RFC 5297, 2.4.
  #s2v(plaintext: Uint8Array, associatedData: readonly Uint8Array[]): Uint8Array {
    const sum = copySecret(this.#start);
    for (const each of associatedData) {
      double(sum);
      xorInto(sum, 0, this.#mac.digest(each));
    }
    if (plaintext.length >= BLOCK_LENGTH) {
      const last = copySecret(plaintext);
      xorInto(last, last.length - BLOCK_LENGTH, sum);
      return this.#mac.digest(last);
    }
    double(sum);
    xorInto(sum, 0, padded(plaintext));
    return this.#mac.digest(sum);
  }

  // RFC 5297, 2.5: two bits of the counter are cleared, for implementations that add in 32 bits.
  #ctr(siv: Uint8Array, text: Uint8Array): Uint8Array {
    const counter = Uint8Array.from(siv);
    counter[8] = (counter[8] ?? 0) & 0x7f;
    counter[12] = (counter[12] ?? 0) & 0x7f;
    return encrypt(this.#ctrCipher, this.#ctrKey, counter, text);
  }
}

/** CMAC (RFC 4493) with AES: the last block of CBC. */
class Cmac {
  readonly #key: KeyObject;
  readonly #cipher: string;
  readonly #whole: Uint8Array;
  readonly #partial: Uint8Array;

  constructor(key: Uint8Array) {
    this.#key = createSecretKey(key);
    this.#cipher = `aes-${key.length * 8}-cbc`;
    this.#whole = allocateSecret(BLOCK_LENGTH);
    this.#whole.set(this.#cbc(ZERO_BLOCK));
    double(this.#whole);
    this.#partial = copySecret(this.#whole);
    double(this.#partial);
  }

  /** 16 bytes, in memory of their own. */
  digest(message: Uint8Array): Uint8Array {
    const isWhole = message.length > 0 && message.length % BLOCK_LENGTH === 0;
    const blocks = isWhole ? copySecret(message) : padded(message);
    xorInto(blocks, blocks.length - BLOCK_LENGTH, isWhole ? this.#whole : this.#partial);
    return Uint8Array.from(this.#cbc(blocks).subarray(-BLOCK_LENGTH));
  }

  #cbc(blocks: Uint8Array): Uint8Array {
    return encrypt(this.#cipher, this.#key, ZERO_BLOCK, blocks);
  }
}

function encrypt(name: string, key: KeyObject, iv: Uint8Array, text: Uint8Array): Uint8Array {
  const cipher = createCipheriv(name, key, iv).setAutoPadding(false);
  const encrypted = cipher.update(text);
  cipher.final(); // it has nothing more to give: OpenSSL wipes its key
  return encrypted;
}

/** The text, a one bit, and zeros up to a whole block. */
function padded(text: Uint8Array): Uint8Array {
  const blocks = allocateSecret((Math.floor(text.length / BLOCK_LENGTH) + 1) * BLOCK_LENGTH);
  blocks.set(text);
  blocks[text.length] = 0x80;
  return blocks;
}

/** Doubles a block in the field of CMAC, without a branch on what is in it. */
function double(block: Uint8Array): void {
  let carry = 0;
  for (let index = BLOCK_LENGTH - 1; index >= 0; index--) {
    const byte = block[index] ?? 0;
    block[index] = (byte << 1) | carry;
    carry = byte >>> 7;
  }
  block[BLOCK_LENGTH - 1] = (block[BLOCK_LENGTH - 1] ?? 0) ^ (0x87 & -carry);
}

/** @param target changed, from `at` on */
function xorInto(target: Uint8Array, at: number, block: Uint8Array): void {
  const bytes = asBuffer(target);
  for (let index = 0; index < block.length; index++)
    bytes[at + index] = (bytes[at + index] ?? 0) ^ (block[index] ?? 0);
}
