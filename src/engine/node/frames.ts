// Runs of frames on node:crypto, one GCM call per frame. The engine and its worker threads share this code.
import { ChunkCursor } from "../chunk-cursor.ts";
import {
  FINAL_FRAME_MARKER,
  FINAL_FRAME_OVERHEAD,
  FRAME_HEAD_LENGTH,
  type FrameCipher,
  type FrameFormat,
  NO_FINAL_FRAME,
  type OpenedFrames,
  type OpenedInto,
  TAG_LENGTH,
} from "../engine.ts";
import { checkChunks, checkOutput, FrameAad, runLengths } from "../frame-run.ts";
import { allocate } from "../output-memory.ts";
import { type GcmKey, openText, sealText } from "./gcm.ts";

/** Works on the calling thread. */
export class NodeFrameCipher implements FrameCipher {
  readonly #key: GcmKey;
  readonly #frameLength: number;
  readonly #regularAad: FrameAad;
  readonly #finalAad: FrameAad;
  /** Sequence number and nonce of the frame in hand, with the marker before and the length behind in a final one. */
  readonly #head = Buffer.alloc(FINAL_FRAME_OVERHEAD - TAG_LENGTH);

  constructor(key: GcmKey, format: FrameFormat) {
    this.#key = key;
    this.#frameLength = format.frameLength;
    this.#regularAad = new FrameAad(format.regularAadPrefix);
    this.#finalAad = new FrameAad(format.finalAadPrefix);
  }

  seal(
    chunks: readonly Uint8Array[],
    firstSequence: number,
    frameCount: number,
    finalLength: number,
    headroom: number,
  ): Uint8Array<ArrayBuffer> {
    const { sealedLength } = runLengths(this.#frameLength, firstSequence, frameCount, finalLength);
    const output = allocate(headroom + sealedLength);
    output.fill(0, 0, headroom);
    this.sealInto(output.subarray(headroom), chunks, firstSequence, frameCount, finalLength);
    return output;
  }
  sealInto(
    output: Uint8Array,
    chunks: readonly Uint8Array[],
    firstSequence: number,
    frameCount: number,
    finalLength: number,
  ): number {
    const lengths = runLengths(this.#frameLength, firstSequence, frameCount, finalLength);
    checkChunks(chunks, lengths.plaintextLength);
    checkOutput(output, lengths.sealedLength);
    const cursor = new ChunkCursor(chunks);
    let at = 0;
    for (let i = 0; i < frameCount; i++) {
      const sequence = firstSequence + i;
      const head = this.#head.subarray(0, FRAME_HEAD_LENGTH);
      head.writeUInt32BE(sequence, 0);
      head.fill(0, 4, 12).writeUInt32BE(sequence, 12);
      output.set(head, at);
      const aad = this.#regularAad.of(sequence, this.#frameLength);
      at = this.#sealFrame(head.subarray(4), aad, cursor, this.#frameLength, output, at + head.length);
    }
    if (finalLength !== NO_FINAL_FRAME) {
      const sequence = firstSequence + frameCount;
      const head = this.#head;
      head.writeUInt32BE(FINAL_FRAME_MARKER, 0);
      head.writeUInt32BE(sequence, 4);
      head.fill(0, 8, 16).writeUInt32BE(sequence, 16);
      head.writeUInt32BE(finalLength, 20);
      output.set(head, at);
      const aad = this.#finalAad.of(sequence, finalLength);
      this.#sealFrame(head.subarray(8, 20), aad, cursor, finalLength, output, at + head.length);
    }
    return lengths.sealedLength;
  }
  #sealFrame(
    nonce: Uint8Array,
    aad: Uint8Array,
    cursor: ChunkCursor,
    length: number,
    output: Uint8Array,
    at: number,
  ): number {
    return sealText(this.#key.cipher(nonce, aad), cursor, length, output, at);
  }

  open(
    chunks: readonly Uint8Array[],
    firstSequence: number,
    frameCount: number,
    finalLength: number,
  ): OpenedFrames & { readonly plaintext: Uint8Array<ArrayBuffer> } {
    const lengths = runLengths(this.#frameLength, firstSequence, frameCount, finalLength);
    const output = allocate(lengths.plaintextLength);
    const opened = this.openInto(output, chunks, firstSequence, frameCount, finalLength);
    const { plaintextLength, verifiedCount } = opened;
    const isComplete = plaintextLength === output.length;
    return { plaintext: isComplete ? output : output.slice(0, plaintextLength), verifiedCount };
  }
  openInto(
    output: Uint8Array,
    chunks: readonly Uint8Array[],
    firstSequence: number,
    frameCount: number,
    finalLength: number,
  ): OpenedInto {
    const lengths = runLengths(this.#frameLength, firstSequence, frameCount, finalLength);
    checkChunks(chunks, lengths.sealedLength);
    checkOutput(output, lengths.plaintextLength);
    const stop = () => {
      output.fill(0, at, lengths.plaintextLength);
      return { plaintextLength: at, verifiedCount };
    };
    const cursor = new ChunkCursor(chunks);
    let verifiedCount = 0;
    let at = 0;
    while (verifiedCount < frameCount) {
      const sequence = firstSequence + verifiedCount;
      const head = this.#head.subarray(0, FRAME_HEAD_LENGTH);
      cursor.copyTo(head);
      if (head.readUInt32BE(0) !== sequence) return stop();
      const aad = this.#regularAad.of(sequence, this.#frameLength);
      if (!this.#openFrame(head.subarray(4), aad, cursor, output.subarray(at, at + this.#frameLength))) {
        return stop();
      }
      at += this.#frameLength;
      verifiedCount++;
    }
    if (finalLength !== NO_FINAL_FRAME) {
      const sequence = firstSequence + frameCount;
      const head = this.#head;
      cursor.copyTo(head);
      const expected =
        head.readUInt32BE(0) === FINAL_FRAME_MARKER &&
        head.readUInt32BE(4) === sequence &&
        head.readUInt32BE(20) === finalLength;
      if (!expected) return stop();
      const aad = this.#finalAad.of(sequence, finalLength);
      if (!this.#openFrame(head.subarray(8, 20), aad, cursor, output.subarray(at, at + finalLength))) {
        return stop();
      }
      verifiedCount++;
    }
    return { plaintextLength: lengths.plaintextLength, verifiedCount };
  }
  #openFrame(nonce: Uint8Array, aad: Uint8Array, cursor: ChunkCursor, output: Uint8Array): boolean {
    return openText(this.#key.decipher(nonce, aad), cursor, output, this.#head.subarray(0, TAG_LENGTH));
  }
}
