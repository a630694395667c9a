// How the body of a message is read, told once: which whole frames some bytes hold, up to which limits, and the error for
// what breaks that. What comes first in the message counts: everything before a fault is opened before it is reported, so
// every reader says the same of the same message. The pump of the addon (native/pump.cpp) walks by the same rules and
// leaves the errors to this file.
import { FINAL_FRAME_MARKER, NO_FINAL_FRAME } from "../engine/engine.ts";
import { FramesealError, notAuthentic } from "../errors.ts";
import {
  FINAL_OVERHEAD,
  FINAL_PREFIX_LENGTH,
  NON_FRAMED_OVERHEAD,
  NON_FRAMED_PREFIX_LENGTH,
  REGULAR_OVERHEAD,
} from "../format/frame.ts";
import { MAX_FRAME_COUNT_READ } from "../format/limits.ts";

/** Bytes of a body as far as they are there. */
export interface BodyBytes {
  readonly length: number;
  /** The big-endian 32-bit number at `offset`, which lies inside with all its bytes. */
  uint32(offset: number): number;
}

/** `bytes` to be walked over. */
export function bodyBytes(bytes: Buffer): BodyBytes {
  return { length: bytes.length, uint32: (offset) => bytes.readUInt32BE(offset) };
}

/** The whole frames at the start of some bytes. */
export interface WholeFrames {
  /** Regular frames. */
  readonly frameCount: number;
  /** Plaintext bytes of the final frame behind them, or NO_FINAL_FRAME. */
  readonly finalLength: number;
  /** Bytes that all of them occupy. */
  readonly length: number;
  /** What is wrong with the frame behind them, if that can be seen: to be thrown once they have been opened. */
  readonly fault: FramesealError | undefined;
}

/** The frames of one message, in order. */
export class FrameWalk {
  readonly #frameLength: number;
  readonly #maxPlaintextLength: number;
  #nextSequence = 1;
  #plaintextLength = 0;

  /** @param maxPlaintextLength more is a fault; by default there is no bound */
  constructor(frameLength: number, maxPlaintextLength = Number.POSITIVE_INFINITY) {
    this.#frameLength = frameLength;
    this.#maxPlaintextLength = maxPlaintextLength;
  }

  /** The number of the next frame. */
  get nextSequence(): number {
    return this.#nextSequence;
  }
  /** Bytes of plaintext in the frames that were taken. */
  get plaintextLength(): number {
    return this.#plaintextLength;
  }

  /** Finds the next whole frames in `bytes`, at most `maxCount` regular ones. */
  find(bytes: BodyBytes, maxCount = Number.POSITIVE_INFINITY): WholeFrames {
    const sealedLength = this.#frameLength + REGULAR_OVERHEAD;
    let frameCount = 0;
    let length = 0;
    const found = (fault?: FramesealError): WholeFrames => ({
      frameCount,
      finalLength: NO_FINAL_FRAME,
      length,
      fault,
    });
    for (; length + 4 <= bytes.length && frameCount <= maxCount; frameCount++, length += sealedLength) {
      if (bytes.uint32(length) === FINAL_FRAME_MARKER) {
        if (length + FINAL_PREFIX_LENGTH > bytes.length) break;
        const finalLength = bytes.uint32(length + FINAL_PREFIX_LENGTH - 4);
        if (finalLength > this.#frameLength) return found(notAuthentic());
        const fault = this.#faultOf(frameCount, finalLength, MAX_FRAME_COUNT_READ);
        if (fault !== undefined) return found(fault);
        const end = length + FINAL_OVERHEAD + finalLength;
        if (end > bytes.length) break;
        return { frameCount, finalLength, length: end, fault: undefined };
      }
      if (frameCount === maxCount) break;
      // A regular frame cannot have the last number: it would read as the marker.
      const fault = this.#faultOf(frameCount, this.#frameLength, MAX_FRAME_COUNT_READ - 1);
      if (fault !== undefined) return found(fault);
      if (length + sealedLength > bytes.length) break;
    }
    return found();
  }

  // Of a frame with `length` bytes of plaintext behind `frameCount` regular ones.
  #faultOf(frameCount: number, length: number, maxSequence: number): FramesealError | undefined {
    if (this.#nextSequence + frameCount > maxSequence) return tooManyFramesRead();
    return this.#plaintextLength + frameCount * this.#frameLength + length > this.#maxPlaintextLength
      ? plaintextTooLong(this.#maxPlaintextLength)
      : undefined;
  }

  /** Counts frames that `find` found; returns the number of the first. */
  take({ frameCount, finalLength }: Pick<WholeFrames, "frameCount" | "finalLength">): number {
    const first = this.#nextSequence;
    this.#nextSequence += frameCount + (finalLength === NO_FINAL_FRAME ? 0 : 1);
    this.#plaintextLength += frameCount * this.#frameLength + Math.max(0, finalLength);
    return first;
  }

  /** The error for input that ends where the next frame should be, or inside it. */
  truncated(): FramesealError {
    return truncatedFrames(this.#nextSequence);
  }
}

/** Where the parts of a body without frames lie, and the whole of it: nonce, length, ciphertext, tag. */
export interface NonFramedBody {
  readonly plaintextLength: number;
  readonly length: number;
}

/**
 * Measures a body without frames; undefined while its length field has not come.
 * @throws FramesealError LIMIT_EXCEEDED
 */
export function measureNonFramed(
  bytes: BodyBytes,
  maxNonFramedLength: number,
  maxPlaintextLength = Number.POSITIVE_INFINITY,
): NonFramedBody | undefined {
  if (bytes.length < NON_FRAMED_PREFIX_LENGTH) return undefined;
  const plaintextLength =
    bytes.uint32(NON_FRAMED_PREFIX_LENGTH - 8) * 2 ** 32 + bytes.uint32(NON_FRAMED_PREFIX_LENGTH - 4);
  if (plaintextLength > maxNonFramedLength)
    throw new FramesealError(
      "LIMIT_EXCEEDED",
      `message without frames has ${plaintextLength} bytes, at most ${maxNonFramedLength} are allowed`,
    );
  if (plaintextLength > maxPlaintextLength) throw plaintextTooLong(maxPlaintextLength);
  return { plaintextLength, length: plaintextLength + NON_FRAMED_OVERHEAD };
}

/** The error for input that ends before frame `sequence` does. */
export function truncatedFrames(sequence: number): FramesealError {
  return new FramesealError("TRUNCATED", `input ends before the final frame (frame ${sequence})`);
}

/** The error for input that ends inside a body without frames. */
export function truncatedBody(): FramesealError {
  return new FramesealError("TRUNCATED", "input ends before the end of the message");
}

/** The error for input that ends inside the footer. */
export function truncatedSignature(): FramesealError {
  return new FramesealError("TRUNCATED", "input ends inside the signature");
}

/** The error for bytes behind a message that is verified. */
export function trailingData(): FramesealError {
  return new FramesealError("TRAILING_DATA", "input goes on after the end of the message");
}

/** The error for more plaintext than the reader allows. */
export function plaintextTooLong(maxLength: number): FramesealError {
  return new FramesealError("LIMIT_EXCEEDED", `plaintext is longer than the allowed ${maxLength} bytes`);
}

/** The error for more frames than the format can number. */
export function tooManyFramesRead(): FramesealError {
  return new FramesealError("LIMIT_EXCEEDED", `message has more than ${MAX_FRAME_COUNT_READ} frames`);
}
