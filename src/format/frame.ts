// Frames: AAD prefixes and the arithmetic of lengths and offsets. The bytes of a frame are laid out by the engine.
import { wholeNumber } from "../check-options.ts";
import { FramesealError } from "../errors.ts";
import {
  DEFAULT_MAX_FRAME_LENGTH,
  FRAME_LENGTH_MULTIPLE,
  MAX_FRAME_COUNT_WRITTEN,
  MAX_FRAME_LENGTH,
} from "./limits.ts";
import type { AlgorithmSuite } from "./suite.ts";

/** Bytes a regular frame adds to its plaintext. */
export const REGULAR_OVERHEAD = 32;
/** Bytes the final frame adds to its plaintext. */
export const FINAL_OVERHEAD = 40;
/** Bytes of a final frame before its ciphertext: marker, sequence number, nonce, length. */
export const FINAL_PREFIX_LENGTH = 24;
/** Bytes of a non-framed body before its ciphertext: nonce, length (8). */
export const NON_FRAMED_PREFIX_LENGTH = 20;
/** Bytes a non-framed body adds: those and a tag. */
export const NON_FRAMED_OVERHEAD = 36;

// The body AAD is: message id ‖ content string ‖ sequence number (4) ‖ plaintext length (8).
const REGULAR_CONTENT = Buffer.from("AWSKMSEncryptionClient Frame", "ascii");
const FINAL_CONTENT = Buffer.from("AWSKMSEncryptionClient Final Frame", "ascii");
const SINGLE_CONTENT = Buffer.from("AWSKMSEncryptionClient Single Block", "ascii");

/** AAD of a regular frame before sequence number and length. */
export function regularAadPrefix(messageId: Uint8Array): Uint8Array {
  return Buffer.concat([messageId, REGULAR_CONTENT]);
}
/** AAD of the final frame before sequence number and length. */
export function finalAadPrefix(messageId: Uint8Array): Uint8Array {
  return Buffer.concat([messageId, FINAL_CONTENT]);
}
/** The whole AAD of a non-framed body of `length` bytes: its sequence number is 1. */
export function nonFramedAad(messageId: Uint8Array, length: number): Uint8Array {
  const counters = Buffer.alloc(12);
  counters.writeUInt32BE(1, 0);
  counters.writeBigUInt64BE(BigInt(length), 4);
  return Buffer.concat([messageId, SINGLE_CONTENT, counters]);
}

/**
 * Checks a frame length for writing.
 * @throws RangeError unless it is a multiple of 16 from 16 to `maxFrameLength` (64 MiB)
 */
export function checkFrameLength(frameLength: number, maxFrameLength = DEFAULT_MAX_FRAME_LENGTH): void {
  const max = Math.min(maxFrameLength, MAX_FRAME_LENGTH);
  const valid = Number.isSafeInteger(frameLength) && frameLength >= 1 && frameLength <= max;
  if (!valid || frameLength % FRAME_LENGTH_MULTIPLE !== 0)
    throw new RangeError(
      `"frameLength" expected a multiple of ${FRAME_LENGTH_MULTIPLE} up to ${max}, got ${frameLength}`,
    );
}

/** Length of the footer of `suite` as written here: signatures have a fixed length. */
export function footerLength(suite: AlgorithmSuite): number {
  if (suite.signature === "none") return 0;
  return suite.signature.curve === "P-256" ? 2 + 71 : 2 + 103;
}

/**
 * Where the frames of a message lie. A plaintext of whole frames is written with an empty final frame: AWS's Python SDK
 * refuses a full one, and JavaScript, C and Java write it so. Both are read.
 */
export interface FrameLayout {
  readonly plaintextLength: number;
  readonly frameLength: number;
  /** Regular frames; the final frame has the next number. */
  readonly regularCount: number;
  readonly finalLength: number;
}

/**
 * Lays out a plaintext of known length as it is written here.
 * @throws FramesealError LIMIT_EXCEEDED when it needs more than 2^32 − 2 frames
 */
export function layoutFromPlaintext(plaintextLength: number, frameLength: number): FrameLayout {
  checkLength(plaintextLength, "plaintextLength");
  const regularCount = Math.floor(plaintextLength / frameLength);
  if (regularCount + 1 > MAX_FRAME_COUNT_WRITTEN) throw tooManyFrames(frameLength);
  return {
    plaintextLength,
    frameLength,
    regularCount,
    finalLength: plaintextLength - regularCount * frameLength,
  };
}

/**
 * Lays out frames that occupy `bodyLength` bytes (without header and footer). Trust the result only after the final
 * frame was verified.
 * @throws FramesealError TRUNCATED when no sequence of frames has this length
 */
export function layoutFromBody(bodyLength: number, frameLength: number): FrameLayout {
  const rest = bodyLength - FINAL_OVERHEAD;
  const regularCount = Math.floor(rest / (frameLength + REGULAR_OVERHEAD));
  const finalLength = rest - regularCount * (frameLength + REGULAR_OVERHEAD);
  if (rest < 0 || finalLength > frameLength)
    throw new FramesealError(
      "TRUNCATED",
      "message length does not fit its frame length: bytes are missing or extra",
    );
  return {
    plaintextLength: regularCount * frameLength + finalLength,
    frameLength,
    regularCount,
    finalLength,
  };
}

/** Offset of frame `sequence` (from 1 on; the final frame too) from the end of the header. */
export function frameOffset(sequence: number, frameLength: number): number {
  return (sequence - 1) * (frameLength + REGULAR_OVERHEAD);
}

/** Bytes that the frames of `layout` occupy. */
export function bodyLengthOf(layout: FrameLayout): number {
  return frameOffset(layout.regularCount + 1, layout.frameLength) + layout.finalLength + FINAL_OVERHEAD;
}

/** Shape of a message, enough to compute lengths. */
export interface MessageShape {
  /** Bytes of header and header authentication. */
  readonly headerLength: number;
  readonly frameLength: number;
  readonly suite: AlgorithmSuite;
}

/** Exact length of the message for `plaintextLength` bytes of plaintext. */
export function messageLength(plaintextLength: number, shape: MessageShape): number {
  const body = bodyLengthOf(layoutFromPlaintext(plaintextLength, shape.frameLength));
  return shape.headerLength + body + footerLength(shape.suite);
}

/** Exact length of the plaintext in a message of `length` bytes. Unsigned suites only, or written here. */
export function plaintextLengthOf(length: number, shape: MessageShape): number {
  checkLength(length, "ciphertextLength");
  const body = length - shape.headerLength - footerLength(shape.suite);
  return layoutFromBody(body, shape.frameLength).plaintextLength;
}

/** The error for a message that would need too many frames. */
export function tooManyFrames(frameLength: number): FramesealError {
  return new FramesealError(
    "LIMIT_EXCEEDED",
    `message needs more than ${MAX_FRAME_COUNT_WRITTEN} frames of ${frameLength} bytes: use a larger frame length`,
  );
}

const length = wholeNumber(0, Number.MAX_SAFE_INTEGER);
function checkLength(value: number, name: string): void {
  length(name, value);
}
