// Data key + envelope -> what the body is encrypted with. Version 3 derives a key and a commitment, older versions use
// the data key as it is.
import { randomBytes } from "node:crypto";
import { copySecret, equalConstantTime, wipe } from "../../bytes.ts";
import type { AeadKey, Engine, SegmentCipher } from "../../engine/engine.ts";
import { nodeEngine } from "../../engine/node/engine.ts";
import { notAuthentic } from "../../errors.ts";
import { hkdf } from "../../hkdf.ts";
import { type Envelope, MESSAGE_ID_LENGTH } from "./envelope.ts";

/** The suite of version 3, as KDF and AAD name it. */
const SUITE = Uint8Array.of(0x00, 0x73);
const COMMITTING_IV = new Uint8Array(12).fill(1);
const NO_AAD = new Uint8Array(0);
const IV_LENGTH = 12;

/** What GCM needs beside the plaintext. */
export interface GcmParameters {
  readonly iv: Uint8Array;
  readonly aad: Uint8Array;
}

/** A content key under which one message is sealed or opened. */
export interface GcmContent extends GcmParameters {
  readonly engine: Engine;
  readonly key: AeadKey;
  readonly segments: SegmentCipher;
}

/** Derives the commitment or the content key of version 3. (RFC 5869) */
function expand(dataKey: Uint8Array, messageId: Uint8Array, label: string, length: number): Uint8Array {
  return hkdf("sha512", dataKey, messageId, [SUITE, Buffer.from(label, "ascii")], length);
}

/** The commitment that version 3 stores: 28 bytes. Public once it stands in an object. */
export function commitmentOf(dataKey: Uint8Array, messageId: Uint8Array): Uint8Array {
  return expand(dataKey, messageId, "COMMITKEY", MESSAGE_ID_LENGTH);
}

/** A new message id, or IV of version 2. Zeros are refused by readers, so they are never written. */
export function drawUnique(version: 2 | 3): Uint8Array {
  const bytes = new Uint8Array(randomBytes(version === 3 ? MESSAGE_ID_LENGTH : IV_LENGTH));
  if (bytes.every((byte) => byte === 0))
    throw new Error("internal error: the random generator does not work");
  return bytes;
}

/**
 * Checks the commitment, then returns the key of the content, 32 bytes. The caller wipes it, and keeps `dataKey`.
 * @throws FramesealError AUTHENTICATION_FAILED
 */
export function contentKeyOf(envelope: Envelope, dataKey: Uint8Array): Uint8Array {
  if (envelope.version !== 3) return copySecret(dataKey);
  const commitment = commitmentOf(dataKey, envelope.messageId);
  const isRight = equalConstantTime(commitment, envelope.commitment);
  wipe(commitment); // the right one for a forged object is nobody's business
  if (!isRight) throw notAuthentic();
  return expand(dataKey, envelope.messageId, "DERIVEKEY", 32);
}

/** IV and AAD of a GCM body. */
export function gcmParametersOf(envelope: Envelope): GcmParameters {
  if (envelope.version === 3) return { iv: COMMITTING_IV, aad: SUITE };
  return { iv: envelope.iv, aad: NO_AAD };
}

/** Expands a content key, which this wipes. An engine that cannot work on parts is replaced by Node's. */
export function createGcmContent(
  engine: Engine,
  contentKey: Uint8Array,
  parameters: GcmParameters,
): GcmContent {
  try {
    const key = engine.createKey(contentKey);
    if (key.segments !== undefined) return { ...parameters, engine, key, segments: key.segments };
    key.dispose();
    const other = nodeEngine.createKey(contentKey);
    if (other.segments === undefined) throw new Error("internal error: engine without segments");
    return { ...parameters, engine: nodeEngine, key: other, segments: other.segments };
  } finally {
    wipe(contentKey);
  }
}

/** A key for another purpose of the same object, 32 bytes, bound to its message id or IV. The caller wipes it. */
export function sideKeyOf(dataKey: Uint8Array, envelope: Envelope, purpose: string): Uint8Array {
  const salt = envelope.version === 3 ? envelope.messageId : envelope.iv;
  return hkdf("sha512", dataKey, salt, [Buffer.from(`frameseal ${purpose}`, "ascii")], 32);
}
