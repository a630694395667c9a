// HKDF (RFC 5869) of keys, by HMAC. The only place that derives keys: `hkdfSync` of Node wraps each key that it is given
// into a KeyObject, which holds a copy until the garbage collector comes by, and takes no info above 1,024 bytes. What HMAC
// gives out lies outside of V8's heap, so that wiping it leaves nothing behind.
import { createHmac } from "node:crypto";
import { allocateSecret, wipe } from "./bytes.ts";

/** The hashes that keys are derived with, and the bytes of their digests. */
const digestLengths = { sha256: 32, sha384: 48, sha512: 64 } as const;
export type HkdfHash = keyof typeof digestLengths;

/** Extracts a pseudorandom key, which the caller wipes. An empty salt is one of zeros. (RFC 5869, 2.2) */
export function hkdfExtract(hash: HkdfHash, salt: Uint8Array, key: Uint8Array): Uint8Array {
  return createHmac(hash, salt).update(key).digest();
}

/**
 * Expands a pseudorandom key into `length` bytes, at most one digest, which the caller wipes. (RFC 5869, 2.3)
 * @param info in parts, one behind the other
 */
export function hkdfExpand(
  hash: HkdfHash,
  pseudorandomKey: Uint8Array,
  info: readonly Uint8Array[],
  length: number,
): Uint8Array {
  if (length > digestLengths[hash]) throw new Error("internal error: more than one block of HKDF");
  const hmac = createHmac(hash, pseudorandomKey);
  for (const part of info) hmac.update(part);
  const block = hmac.update(FIRST_BLOCK).digest();
  const key = allocateSecret(length);
  key.set(block.subarray(0, length));
  wipe(block);
  return key;
}
const FIRST_BLOCK = Uint8Array.of(1);

/** Extracts and expands. The caller keeps and wipes `key`, and wipes the result. */
export function hkdf(
  hash: HkdfHash,
  key: Uint8Array,
  salt: Uint8Array,
  info: readonly Uint8Array[],
  length: number,
): Uint8Array {
  const pseudorandomKey = hkdfExtract(hash, salt, key);
  try {
    return hkdfExpand(hash, pseudorandomKey, info, length);
  } finally {
    wipe(pseudorandomKey);
  }
}
