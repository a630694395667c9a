// RSA paddings that Node cannot unpad, or refuses to: the raw RSA result is unpadded here without branches or addresses
// that depend on it. The expected length is known, so everything stands at a fixed place.
import { constants, createHash, createHmac, type KeyObject, privateDecrypt } from "node:crypto";
import { allocateSecret, copySecret, equalConstantTime, wipe } from "../bytes.ts";

/**
 * Opens RSAES-PKCS1-v1_5. On any defect the result is another key, always the same for one input, so that nobody can
 * ask this function whether a padding was right (RFC 8017, 7.2.2, note; RFC 5246, 7.4.7.1). What is opened with that
 * key fails later. The caller wipes the result.
 * @param length of the padded secret, at most 64
 */
export function openPkcs1(privateKey: KeyObject, sealed: Uint8Array, length: number): Uint8Array {
  const modulusLength = modulusLengthOf(privateKey);
  const substitute = substituteFor(privateKey, sealed);
  const secret = allocateSecret(length);
  const padded = rawDecrypt(privateKey, sealed, modulusLength) ?? Buffer.alloc(modulusLength);
  try {
    // 00 ‖ 02 ‖ at least eight bytes that are not zero ‖ 00 ‖ secret
    const start = modulusLength - length;
    let defect = at(padded, 0) | (at(padded, 1) ^ 2) | at(padded, start - 1);
    for (let i = 2; i < start - 1; i++) defect |= isZero(at(padded, i));
    const mask = isZero(defect) - 1; // 0 if right, else all ones
    for (let i = 0; i < length; i++) secret[i] = (at(padded, start + i) & ~mask) | (at(substitute, i) & mask);
    return secret;
  } finally {
    wipe(padded, substitute);
  }
}

/**
 * Opens OAEP with SHA-256 whose mask function uses SHA-1, as the Java platform does for
 * `OAEPWithSHA-256AndMGF1Padding`. Returns null when it is not right; the caller wipes the result.
 */
export function openOaepSha256Mgf1Sha1(
  privateKey: KeyObject,
  sealed: Uint8Array,
  length: number,
): Uint8Array | null {
  const modulusLength = modulusLengthOf(privateKey);
  const padded = rawDecrypt(privateKey, sealed, modulusLength);
  if (padded === null) return null;
  // 00 ‖ masked seed ‖ masked (SHA-256 of the empty label ‖ 00… ‖ 01 ‖ secret). (RFC 8017, 7.1.2)
  const seed = padded.subarray(1, 33);
  const block = padded.subarray(33);
  const expected = Buffer.alloc(1 + block.length - length);
  createHash("sha256").digest().copy(expected, 1);
  expected[expected.length - 1] = 1;
  try {
    xorMask(seed, block);
    xorMask(block, seed);
    const head = Buffer.concat([padded.subarray(0, 1), block.subarray(0, block.length - length)]);
    const right = equalConstantTime(head, expected);
    wipe(head);
    return right ? copySecret(block.subarray(block.length - length)) : null;
  } finally {
    wipe(padded);
  }
}

function rawDecrypt(privateKey: KeyObject, sealed: Uint8Array, modulusLength: number): Buffer | null {
  if (sealed.length !== modulusLength) return null;
  try {
    const padded = privateDecrypt({ key: privateKey, padding: constants.RSA_NO_PADDING }, sealed);
    return padded.length === modulusLength ? padded : null;
  } catch {
    return null; // a number above the modulus
  }
}

function modulusLengthOf(key: KeyObject): number {
  return Math.ceil((key.asymmetricKeyDetails?.modulusLength ?? 0) / 8);
}

// XORs MGF1 with SHA-1 of `seed` into `target`. (RFC 8017, B.2.1)
function xorMask(target: Buffer, seed: Buffer): void {
  const counter = Buffer.alloc(4);
  for (let from = 0; from < target.length; from += 20) {
    counter.writeUInt32BE(from / 20);
    const mask = createHash("sha1").update(seed).update(counter).digest();
    for (let i = 0; i < mask.length && from + i < target.length; i++)
      target[from + i] = at(target, from + i) ^ at(mask, i);
    wipe(mask);
  }
}

// A function of the private key and the input that nobody else can compute.
function substituteFor(privateKey: KeyObject, sealed: Uint8Array): Buffer {
  const secret = privateKey.export({ type: "pkcs8", format: "der" });
  try {
    return createHmac("sha512", secret).update("frameseal PKCS#1 substitute").update(sealed).digest();
  } finally {
    wipe(secret);
  }
}

const at = (bytes: Uint8Array, index: number): number => bytes[index] as number;

/** 1 for 0, else 0, for values up to 2^31. */
function isZero(value: number): number {
  return (value - 1) >>> 31;
}
