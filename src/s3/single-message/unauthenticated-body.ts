// What nothing authenticates, and therefore stands behind a gate: ranges of a GCM body, which are plain counter mode, and
// CBC bodies of old clients.
import { createDecipheriv, type Decipher } from "node:crypto";
import { type Readable, Transform, type TransformCallback } from "node:stream";
import { wipe } from "../../bytes.ts";
import { giveUp } from "../../engine/node/gcm.ts";
import { notAuthentic } from "../../errors.ts";
import type { StoredObject } from "../object-format.ts";
import { bodyFailure } from "../object-source.ts";
import { pipeInto } from "../opened-body.ts";
import { untilRead } from "../until-read.ts";

const BLOCK_LENGTH = 16;

/**
 * Opens the plaintext from `start` to `end` (exclusive) of a GCM body without its tag. The caller keeps and wipes `key`. (SP 800-38D, 7.1: block n has the
 * counter IV ‖ n + 2)
 */
export function openGcmRange(
  source: Readable,
  key: Uint8Array,
  iv: Uint8Array,
  start: number,
  end: number,
): Readable {
  const counter = Buffer.alloc(BLOCK_LENGTH);
  counter.set(iv);
  counter.writeUInt32BE(rangeStart(start) / BLOCK_LENGTH + 2, iv.length);
  return through(source, createDecipheriv("aes-256-ctr", key, counter), start % BLOCK_LENGTH, end - start);
}

/** Where the stored bytes of a range begin: with its first block. */
export function rangeStart(start: number): number {
  return start - (start % BLOCK_LENGTH);
}

/**
 * The plaintext length of a CBC body, which only its last block tells.
 * @throws FramesealError AUTHENTICATION_FAILED for any defect
 */
export async function readCbcLength(object: StoredObject, key: Uint8Array, iv: Uint8Array): Promise<number> {
  const { storedLength, source } = object;
  if (storedLength === 0 || storedLength % BLOCK_LENGTH !== 0) throw notAuthentic();
  const start = Math.max(0, storedLength - 2 * BLOCK_LENGTH);
  const tail = await source.read(start, storedLength);
  const before = tail.length > BLOCK_LENGTH ? tail.subarray(0, BLOCK_LENGTH) : iv;
  const decipher = createDecipheriv("aes-256-cbc", key, before);
  try {
    const last = Buffer.concat([decipher.update(tail.subarray(-BLOCK_LENGTH)), decipher.final()]);
    wipe(last);
    return storedLength - BLOCK_LENGTH + last.length;
  } catch {
    throw notAuthentic();
  }
}

/**
 * Opens the plaintext from `start` to `end` (exclusive) of a CBC body. The caller keeps and wipes `key`.
 * @param source stored bytes from `cbcRangeStart(start)` to the end of the block of `end - 1`
 */
export function openCbcRange(
  source: Readable,
  key: Uint8Array,
  iv: Uint8Array,
  start: number,
  end: number,
): Readable {
  // The block before the first one takes the place of the IV; it is decrypted with a wrong one and cut off.
  const skip = start - cbcRangeStart(start);
  const decipher = createDecipheriv("aes-256-cbc", key, iv).setAutoPadding(false);
  return through(source, decipher, skip, end - start);
}

/** Where the stored bytes of a CBC range begin: one block early, but for the first block. */
export function cbcRangeStart(start: number): number {
  return Math.max(0, rangeStart(start) - BLOCK_LENGTH);
}

// Runs a stream through a cipher, without the first `skip` bytes and with exactly `length` bytes.
function through(source: Readable, decipher: Decipher, skip: number, length: number): Readable {
  const cut = new Cut(decipher, skip, length);
  pipeInto(source, cut);
  return untilRead(cut);
}

class Cut extends Transform {
  readonly #decipher: Decipher;
  #skip: number;
  #left: number;

  constructor(decipher: Decipher, skip: number, length: number) {
    super();
    this.#decipher = decipher;
    this.#skip = skip;
    this.#left = length;
  }
  override _transform(chunk: Buffer, _encoding: BufferEncoding, callback: TransformCallback): void {
    const opened = this.#decipher.update(chunk);
    const piece = opened.subarray(this.#skip, this.#skip + this.#left);
    this.#skip -= Math.min(this.#skip, opened.length);
    this.#left -= piece.length;
    callback(null, piece.length > 0 ? piece : undefined);
  }
  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    giveUp(this.#decipher); // else the expanded key stays until it is collected
    callback(error);
  }
  override _flush(callback: TransformCallback): void {
    callback(this.#left > 0 ? bodyFailure(undefined) : null);
  }
}
