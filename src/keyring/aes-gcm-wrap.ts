// AES-GCM as a wrap of data keys. Raw keyrings and single-message objects differ only in what is AAD and where the parts
// are stored.
import { createCipheriv, createDecipheriv, type KeyObject, randomBytes } from "node:crypto";
import { concatBytes, copySecret, wipe } from "../bytes.ts";

/** Bytes of the nonce of every wrap. */
export const WRAP_NONCE_LENGTH = 12;
/** Bytes of its tag. */
export const WRAP_TAG_LENGTH = 16;

/** `aes-128-gcm`, `aes-192-gcm` or `aes-256-gcm`. */
function algorithmOf(key: KeyObject): "aes-256-gcm" {
  return `aes-${8 * (key.symmetricKeySize ?? 0)}-gcm` as "aes-256-gcm"; // the length only changes the name
}

/**
 * Wraps a data key under a fresh random nonce: wrap at most 2^32 of them under one key (SP 800-38D, 8.3).
 * @returns the nonce, and ciphertext ‖ tag
 */
export function wrapWithAesGcm(
  key: KeyObject,
  aad: Uint8Array,
  dataKey: Uint8Array,
): { readonly nonce: Uint8Array; readonly sealed: Uint8Array } {
  const nonce = randomBytes(WRAP_NONCE_LENGTH);
  if (nonce.every((byte) => byte === 0))
    throw new Error("internal error: the random generator does not work");
  const cipher = createCipheriv(algorithmOf(key), key, nonce, { authTagLength: WRAP_TAG_LENGTH });
  cipher.setAAD(aad);
  return { nonce, sealed: concatBytes([cipher.update(dataKey), cipher.final(), cipher.getAuthTag()]) };
}

/**
 * Unwraps ciphertext ‖ tag; null if it is not authentic.
 * @param sealed at least a tag; the caller has checked its length
 * @returns the data key, which the caller wipes
 */
export function unwrapWithAesGcm(
  key: KeyObject,
  nonce: Uint8Array,
  aad: Uint8Array,
  sealed: Uint8Array,
): Uint8Array | null {
  const decipher = createDecipheriv(algorithmOf(key), key, nonce, { authTagLength: WRAP_TAG_LENGTH });
  decipher.setAAD(aad);
  decipher.setAuthTag(sealed.subarray(-WRAP_TAG_LENGTH));
  const opened = decipher.update(sealed.subarray(0, -WRAP_TAG_LENGTH));
  try {
    decipher.final();
    return copySecret(opened);
  } catch {
    return null;
  } finally {
    wipe(opened);
  }
}
