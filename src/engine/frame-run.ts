// The arithmetic and the checks of a run of frames that every engine needs before it touches a byte.
import { FramesealError } from "../errors.ts";
import { checkBytes } from "./chunk-cursor.ts";
import {
  FINAL_FRAME_OVERHEAD,
  type FrameFormat,
  MAX_GCM_LENGTH,
  NO_FINAL_FRAME,
  REGULAR_FRAME_OVERHEAD,
} from "./engine.ts";

/** Largest sequence number that fits its four bytes. */
const MAX_SEQUENCE = 0xffffffff;

/** Lengths of one run. */
export interface RunLengths {
  readonly plaintextLength: number;
  readonly sealedLength: number;
}

/**
 * Computes how long a run is on both sides.
 * @throws Error "internal error: …" if the numbers do not make a run. Sequence numbers must not wrap: a nonce would
 * be used twice.
 */
export function runLengths(
  frameLength: number,
  firstSequence: number,
  frameCount: number,
  finalLength: number,
): RunLengths {
  const finalCount = finalLength === NO_FINAL_FRAME ? 0 : 1;
  const isRun =
    Number.isInteger(firstSequence) &&
    firstSequence >= 1 &&
    Number.isInteger(frameCount) &&
    frameCount >= 0 &&
    firstSequence + frameCount + finalCount - 1 <= MAX_SEQUENCE &&
    Number.isInteger(finalLength) &&
    finalLength >= NO_FINAL_FRAME &&
    finalLength <= frameLength;
  if (!isRun) throw new Error("internal error: not a run of frames");
  const plaintextLength = frameCount * frameLength + finalCount * finalLength;
  const overhead = frameCount * REGULAR_FRAME_OVERHEAD + finalCount * FINAL_FRAME_OVERHEAD;
  return { plaintextLength, sealedLength: plaintextLength + overhead };
}

/**
 * Checks that `chunks` hold exactly `length` bytes.
 * @throws TypeError if one is no bytes or detached; Error "internal error: …" if they hold more or less.
 */
export function checkChunks(chunks: readonly Uint8Array[], length: number): void {
  let total = 0;
  for (const chunk of chunks) {
    checkBytes("chunk", chunk);
    total += chunk.length;
  }
  if (total !== length) throw new Error(`internal error: run of ${length} bytes, chunks of ${total}`);
}

/**
 * Checks the caller's memory for a result.
 * @throws TypeError if it is none; RangeError if it is shorter than `length`.
 */
export function checkOutput(output: Uint8Array, length: number): void {
  checkBytes("output", output);
  if (output.length < length) throw new RangeError(`"output" expected ${length} bytes, got ${output.length}`);
}

/** Longest AAD prefix of frames. */
const MAX_AAD_PREFIX_LENGTH = 1_000;

/** Checks what all frames have in common. */
export function checkFrameFormat(format: FrameFormat): void {
  const { frameLength, regularAadPrefix, finalAadPrefix } = format;
  if (
    !Number.isInteger(frameLength) ||
    frameLength < 1 ||
    frameLength > Math.min(MAX_SEQUENCE, MAX_GCM_LENGTH)
  ) {
    throw new RangeError(`"frameLength" expected 1 to ${MAX_SEQUENCE}, got ${frameLength}`);
  }
  for (const [name, prefix] of Object.entries({ regularAadPrefix, finalAadPrefix })) {
    checkBytes(name, prefix);
    if (prefix.length > MAX_AAD_PREFIX_LENGTH) {
      throw new RangeError(`"${name}" expected at most ${MAX_AAD_PREFIX_LENGTH} bytes, got ${prefix.length}`);
    }
  }
}

/** Adds to the length of one GCM message. @throws FramesealError LIMIT_EXCEEDED past MAX_GCM_LENGTH. */
export function addLength(length: number, more: number): number {
  if (length + more > MAX_GCM_LENGTH) {
    throw new FramesealError("LIMIT_EXCEEDED", `one AES-GCM message holds at most ${MAX_GCM_LENGTH} bytes`);
  }
  return length + more;
}

/** The AAD of one frame after the other: prefix ‖ sequence number (4) ‖ length (8). The prefix is copied. */
export class FrameAad {
  readonly #bytes: Buffer;
  readonly #prefixLength: number;

  constructor(prefix: Uint8Array) {
    this.#prefixLength = prefix.length;
    this.#bytes = Buffer.alloc(prefix.length + 12); // the upper four bytes of the length stay 0
    this.#bytes.set(prefix);
  }
  /** Valid until the next call. */
  of(sequence: number, length: number): Uint8Array {
    this.#bytes.writeUInt32BE(sequence, this.#prefixLength);
    this.#bytes.writeUInt32BE(length, this.#prefixLength + 8);
    return this.#bytes;
  }
}
