// Small messages: through memory that the addon knows already, because passing three arrays costs more than sealing them.
import { NONCE_LENGTH, TAG_LENGTH } from "../engine.ts";

type Bytes = Uint8Array;

/** The functions of the addon that this file uses; native/aead_key.h says what each does. */
export interface ScratchAddon {
  setScratch(scratch: Bytes): void;
  sealSmall(key: number, aadLength: number, plaintextLength: number): void;
  openSmall(key: number, aadLength: number, sealedLength: number): boolean;
}

/**
 * Nonce, AAD and text of one small message, and its tag. The addon knows its address, so it must never leave this
 * file. One call at a time uses it, start to end.
 */
const SCRATCH_LENGTH = 1_024;
const scratch = new Uint8Array(new ArrayBuffer(SCRATCH_LENGTH));

function fillScratch(nonce: Bytes, aad: Bytes, text: Bytes): number {
  copyToScratch(nonce, 0);
  copyToScratch(aad, NONCE_LENGTH);
  const at = NONCE_LENGTH + aad.length;
  copyToScratch(text, at);
  return at;
}

function copyToScratch(bytes: Bytes, at: number): void {
  const { length } = bytes;
  if (length > 40) {
    scratch.set(bytes, at);
    return;
  }
  for (let i = 0; i < length; i++) scratch[at + i] = bytes[i] ?? 0; // a call of set() costs more
}

/** To be called once for the addon, before anything else of this file. */
export function shareScratch(addon: ScratchAddon): void {
  addon.setScratch(scratch);
}

/** True for what fits: ciphertext and tag of `sealedLength` bytes. */
export function isSmall(aad: Bytes, sealedLength: number): boolean {
  return NONCE_LENGTH + aad.length + sealedLength <= SCRATCH_LENGTH;
}

/** Returns ciphertext ‖ tag in memory that the caller owns. */
export function sealSmall(
  addon: ScratchAddon,
  key: number,
  nonce: Bytes,
  aad: Bytes,
  plaintext: Bytes,
): Bytes {
  const at = fillScratch(nonce, aad, plaintext);
  addon.sealSmall(key, aad.length, plaintext.length);
  return scratch.slice(at, at + plaintext.length + TAG_LENGTH);
}

/** Returns the plaintext in memory that the caller owns, or null if it is not authentic. */
export function openSmall(
  addon: ScratchAddon,
  key: number,
  nonce: Bytes,
  aad: Bytes,
  sealed: Bytes,
): Bytes | null {
  const at = fillScratch(nonce, aad, sealed);
  if (!addon.openSmall(key, aad.length, sealed.length)) return null;
  const end = at + sealed.length - TAG_LENGTH;
  const plaintext = scratch.slice(at, end);
  scratch.fill(0, at, end);
  return plaintext;
}
