// Runs of frames, and long frames that arrive in pieces, in the addon.
import { equalConstantTime } from "../../bytes.ts";
import { unshared } from "../chunk-cursor.ts";
import {
  type FrameCipher,
  type FrameFormat,
  type FrameOpener,
  NO_FINAL_FRAME,
  type OpenedFrames,
  type OpenedInto,
  type SegmentPartial,
} from "../engine.ts";
import { checkChunks, checkOutput, FrameAad, runLengths } from "../frame-run.ts";
import { type Addon, allocate, type KeyHandle, type RunFunction } from "./addon.ts";
import { startNativePump } from "./pump.ts";
import { NativeSegments } from "./segments.ts";

type Bytes = Uint8Array;
type Chunks = readonly Uint8Array[];

/** Frames of one message; each call is shared by `threads` threads at most. */
export class NativeFrameCipher implements FrameCipher {
  readonly #addon: Addon;
  readonly #key: KeyHandle;
  readonly #frameLength: number;
  readonly #format: Uint8Array;
  readonly #threads: number;
  readonly startOpen: FrameCipher["startOpen"];

  /** @param hasSegments the kernel of the key can work on parts of one message */
  constructor(addon: Addon, key: KeyHandle, hasSegments: boolean, format: FrameFormat, threads: number) {
    this.#addon = addon;
    this.#key = key;
    this.#threads = threads;
    this.#frameLength = format.frameLength;
    this.#format = encodeFormat(format);
    const { frameLength, regularAadPrefix } = format;
    const prefix = Uint8Array.from(regularAadPrefix);
    if (hasSegments)
      this.startOpen = (sequence, nonce) =>
        new NativeFrameOpener(
          addon,
          key,
          threads,
          nonce,
          new FrameAad(prefix).of(sequence, frameLength),
          frameLength,
        );
  }
  seal(
    chunks: Chunks,
    firstSequence: number,
    frameCount: number,
    finalLength: number,
    headroom: number,
  ): Uint8Array {
    const { sealedLength } = runLengths(this.#frameLength, firstSequence, frameCount, finalLength);
    const output = allocate(this.#addon, headroom + sealedLength);
    output.fill(0, 0, headroom);
    const sealed = headroom === 0 ? output : output.subarray(headroom);
    this.sealInto(sealed, chunks, firstSequence, frameCount, finalLength);
    return output;
  }
  sealInto(
    output: Uint8Array,
    chunks: Chunks,
    firstSequence: number,
    frameCount: number,
    finalLength: number,
  ): number {
    const lengths = runLengths(this.#frameLength, firstSequence, frameCount, finalLength);
    checkOutput(output, lengths.sealedLength);
    const own = ownChunks(chunks, lengths.plaintextLength);
    this.#run(this.#addon.sealFrames, output, own, firstSequence, frameCount, finalLength);
    return lengths.sealedLength;
  }
  open(chunks: Chunks, firstSequence: number, frameCount: number, finalLength: number): OpenedFrames {
    const { plaintextLength } = runLengths(this.#frameLength, firstSequence, frameCount, finalLength);
    const output = allocate(this.#addon, plaintextLength);
    const { verifiedCount } = this.openInto(output, chunks, firstSequence, frameCount, finalLength);
    return this.#opened(output, verifiedCount, frameCount, finalLength);
  }
  openInto(
    output: Uint8Array,
    chunks: Chunks,
    firstSequence: number,
    frameCount: number,
    finalLength: number,
  ): OpenedInto {
    const lengths = runLengths(this.#frameLength, firstSequence, frameCount, finalLength);
    checkOutput(output, lengths.plaintextLength);
    const own = ownChunks(chunks, lengths.sealedLength);
    const { openFrames } = this.#addon;
    const verifiedCount = this.#run(openFrames, output, own, firstSequence, frameCount, finalLength);
    return { plaintextLength: this.#plaintextLength(verifiedCount, frameCount, finalLength), verifiedCount };
  }
  #run<Result>(
    work: RunFunction<Result>,
    output: Bytes,
    chunks: Chunks,
    ...numbers: [firstSequence: number, frameCount: number, finalLength: number]
  ): Result {
    return work(this.#key.handle, this.#format, chunks, output, ...numbers, this.#threads);
  }
  get startPump(): FrameCipher["startPump"] {
    const { startPump } = this.#addon;
    if (startPump === undefined) return undefined;
    return (direction, ends) =>
      startNativePump(this.#addon, startPump, this.#key, this.#format, direction, ends);
  }
  #plaintextLength(verifiedCount: number, frameCount: number, finalLength: number): number {
    const regular = Math.min(verifiedCount, frameCount) * this.#frameLength;
    return verifiedCount > frameCount && finalLength !== NO_FINAL_FRAME ? regular + finalLength : regular;
  }
  /** The verified prefix alone: the addon has zeroed the rest. */
  #opened(output: Uint8Array, verifiedCount: number, frameCount: number, finalLength: number): OpenedFrames {
    const length = this.#plaintextLength(verifiedCount, frameCount, finalLength);
    if (length === output.length) return { plaintext: output, verifiedCount };
    const plaintext = output.slice(0, length);
    output.fill(0);
    return { plaintext, verifiedCount };
  }
}

class NativeFrameOpener implements FrameOpener {
  readonly #segments: NativeSegments;
  readonly #nonce: Uint8Array;
  readonly #aad: Uint8Array;
  readonly #plaintext: Uint8Array;
  readonly #partials: SegmentPartial[] = [];
  #length = 0;

  constructor(
    addon: Addon,
    key: KeyHandle,
    threads: number,
    nonce: Uint8Array,
    aad: Uint8Array,
    frameLength: number,
  ) {
    this.#segments = new NativeSegments(addon, key, threads);
    this.#nonce = Uint8Array.from(nonce);
    this.#aad = aad;
    this.#plaintext = allocate(addon, frameLength);
  }
  get missing(): number {
    return this.#plaintext.length - this.#length;
  }
  update(chunks: Chunks): void {
    const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    if (length > this.missing) throw new Error("internal error: frame is shorter than its pieces");
    const output = this.#plaintext.subarray(this.#length, this.#length + length);
    this.#partials.push(this.#segments.openInto(output, this.#nonce, this.#length / 16, chunks));
    this.#length += length;
  }
  finish(tag: Uint8Array): Uint8Array | null {
    if (this.missing > 0) throw new Error("internal error: frame is longer than its pieces");
    const computed = this.#segments.finish(this.#nonce, this.#aad, this.#partials);
    const isAuthentic = equalConstantTime(computed, tag);
    computed.fill(0);
    for (const { ghash } of this.#partials) ghash.fill(0);
    if (isAuthentic) return this.#plaintext;
    this.dispose();
    return null;
  }
  dispose(): void {
    for (const { ghash } of this.#partials) ghash.fill(0);
    this.#plaintext.fill(0, 0, this.#length);
  }
}

/** Frame length u32 ‖ lengths of the two prefixes, u16 each ‖ both prefixes. */
function encodeFormat({ frameLength, regularAadPrefix, finalAadPrefix }: FrameFormat): Uint8Array {
  const bytes = Buffer.alloc(8 + regularAadPrefix.length + finalAadPrefix.length);
  bytes.writeUInt32BE(frameLength, 0);
  bytes.writeUInt16BE(regularAadPrefix.length, 4);
  bytes.writeUInt16BE(finalAadPrefix.length, 6);
  bytes.set(regularAadPrefix, 8);
  bytes.set(finalAadPrefix, 8 + regularAadPrefix.length);
  return bytes;
}

/** Checks chunks; the array is ours and no chunk is in shared memory, so that nothing changes under the addon. */
function ownChunks(chunks: Chunks, length: number): Uint8Array[] {
  checkChunks(chunks, length);
  return chunks.map(unshared);
}
