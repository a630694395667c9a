// Seals the frames of one message in order, for streams, files and whole buffers.
import { concatBytes } from "../bytes.ts";
import { type FrameCipher, NO_FINAL_FRAME, type Pump, type PumpEnds } from "../engine/engine.ts";
import { FramesealError } from "../errors.ts";
import { encodeFooter } from "../format/footer.ts";
import {
  FINAL_OVERHEAD,
  footerLength,
  messageLength,
  REGULAR_OVERHEAD,
  tooManyFrames,
} from "../format/frame.ts";
import type { MessageHeader } from "../format/header.ts";
import { MAX_FRAME_COUNT_WRITTEN } from "../format/limits.ts";
import type { PreparedFrames } from "./seal-message.ts";

/**
 * Seals the frames of one message in order, each number once. Outputs of the `…Async` methods belong in the order of
 * the calls.
 */
export class MessageSealer {
  readonly #frames: PreparedFrames;
  readonly #frameLength: number;
  #nextSequence = 1;
  #sealedLength = 0;
  #ended = false;
  #disposed = false;
  #hashed: void | Promise<void> = undefined;

  constructor(frames: PreparedFrames) {
    this.#frames = frames;
    this.#frameLength = frames.header.frameLength;
  }

  get header(): MessageHeader {
    return this.#frames.header;
  }
  get headerLength(): number {
    return this.#frames.headerBytes.length;
  }
  /** True if `sealAsync` works on other threads. A signed message keeps the other thread busy with its hash. */
  get parallel(): boolean {
    return this.#frames.cipher.sealAsync !== undefined && !this.signed;
  }
  /** The message ends with a signature. */
  get signed(): boolean {
    return this.#frames.signer !== undefined;
  }
  get cipher(): FrameCipher {
    return this.#frames.cipher;
  }
  /** Exact length of the message for a plaintext of this length. */
  messageLength(plaintextLength: number): number {
    const { suite, frameLength } = this.header;
    return messageLength(plaintextLength, { headerLength: this.headerLength, frameLength, suite });
  }
  /** The errors for more plaintext than was announced, and for more than frames can be numbered for. */
  get limits() {
    const { plaintextBound } = this.#frames;
    return {
      tooLong: () =>
        new FramesealError(
          "LIMIT_EXCEEDED",
          `plaintext is longer than the announced ${plaintextBound} bytes`,
        ),
      tooManyFrames: () => tooManyFrames(this.#frameLength),
    };
  }
  /** @throws FramesealError LIMIT_EXCEEDED if `length` more bytes would exceed the announced bound */
  checkBound(length: number): void {
    if (this.#sealedLength + length > this.#frames.plaintextBound) throw this.limits.tooLong();
  }

  /**
   * Seals `frameCount` whole frames, and the final one of `finalLength` bytes behind them unless that is
   * NO_FINAL_FRAME. The first output starts with the header, the last ends with the footer. Of a signed message the
   * output comes when it has been hashed, so that nobody can change it before; runs are hashed in the order of the calls.
   */
  seal(
    chunks: readonly Uint8Array[],
    frameCount: number,
    finalLength: number,
  ): Uint8Array | Promise<Uint8Array> {
    const { firstSequence, headroom } = this.#claim(frameCount, finalLength);
    const sealed = this.#frames.cipher.seal(chunks, firstSequence, frameCount, finalLength, headroom);
    this.#complete(sealed, headroom, finalLength);
    const { signer } = this.#frames;
    if (signer === undefined) return sealed;
    const hashed = signer.update(sealed);
    if (finalLength !== NO_FINAL_FRAME) return this.footer().then((footer) => concatBytes([sealed, footer]));
    return hashed === undefined ? sealed : hashed.then(() => sealed);
  }

  /**
   * As `seal`, into memory of the caller, which must have `sealedOverhead` bytes more than the plaintext of the run and
   * which no chunk overlaps. Returns what was written, a view of `output` where the engine can do that. Of a signed
   * message nobody may change that before `footer`, which it does not end with, has come.
   */
  sealInto(
    output: Uint8Array,
    chunks: readonly Uint8Array[],
    frameCount: number,
    finalLength: number,
  ): Uint8Array {
    const { cipher, signer } = this.#frames;
    const { firstSequence, headroom } = this.#claim(frameCount, finalLength);
    let sealed: Uint8Array;
    if (cipher.sealInto === undefined)
      sealed = cipher.seal(chunks, firstSequence, frameCount, finalLength, headroom);
    else {
      const frames = output.subarray(headroom);
      const length = cipher.sealInto(frames, chunks, firstSequence, frameCount, finalLength);
      sealed = output.subarray(0, headroom + length);
    }
    this.#complete(sealed, headroom, finalLength);
    this.#hashed = signer?.update(sealed);
    return sealed;
  }

  /** Of a signed message: when the last run has been hashed, if that is still under way. */
  get hashed(): void | Promise<void> {
    return this.#hashed;
  }

  /** Resolves to the footer of a signed message when everything sealed has been hashed. May be called once. */
  async footer(): Promise<Uint8Array> {
    const { signer } = this.#frames;
    if (signer === undefined) return new Uint8Array(0);
    const footer = encodeFooter(await signer.sign());
    if (footer.length !== footerLength(this.header.suite)) throw new Error("internal error: footer length");
    return footer;
  }

  /** Bytes that header, footer and `frameCount` frames, the final one among them, add at most. */
  sealedOverhead(frameCount: number): number {
    const { suite } = this.header;
    return this.headerLength + frameCount * REGULAR_OVERHEAD + FINAL_OVERHEAD + footerLength(suite);
  }

  /** As `seal`, on other threads where the engine can. The chunks are copied before this returns. */
  async sealAsync(
    chunks: readonly Uint8Array[],
    frameCount: number,
    finalLength: number,
  ): Promise<Uint8Array> {
    const { cipher } = this.#frames;
    if (!this.parallel || cipher.sealAsync === undefined) return this.seal(chunks, frameCount, finalLength);
    const { firstSequence, headroom } = this.#claim(frameCount, finalLength);
    const sealed = await cipher.sealAsync(chunks, firstSequence, frameCount, finalLength, headroom);
    this.#complete(sealed, headroom, finalLength);
    return sealed;
  }

  /** True if `startPump` may be called: the engine has one, and nobody has to see the bytes that it moves. */
  get canPump(): boolean {
    return this.#frames.cipher.startPump !== undefined && this.#frames.signer === undefined;
  }

  /**
   * Seals the whole message from descriptor to descriptor, header included; all frame numbers are used up by it.
   * Undefined if the system has no thread for it: then none is used, and `seal` may be.
   */
  startPump(ends: Omit<PumpEnds, "head" | "maxPlaintextLength" | "maxFrameCount">): Pump | undefined {
    const { cipher, headerBytes, plaintextBound } = this.#frames;
    if (!this.canPump || cipher.startPump === undefined || this.#ended || this.#nextSequence !== 1)
      throw new Error("internal error: the message cannot be pumped");
    const pump = cipher.startPump("seal", {
      ...ends,
      head: headerBytes,
      maxPlaintextLength: plaintextBound,
      maxFrameCount: MAX_FRAME_COUNT_WRITTEN,
    });
    if (pump === undefined) return undefined;
    this.#ended = true;
    const done = pump.done.then((result) => {
      if (result.status === "done") this.#frames.recordUse(result.plaintextLength);
      return result;
    });
    return { done, bytesRead: () => pump.bytesRead(), cancel: () => pump.cancel() };
  }

  #claim(frameCount: number, finalLength: number): { firstSequence: number; headroom: number } {
    if (this.#ended) throw new Error("internal error: the message has ended");
    const firstSequence = this.#nextSequence;
    const last = firstSequence + frameCount - (finalLength === NO_FINAL_FRAME ? 1 : 0);
    // The last number is kept for a final frame.
    const max = MAX_FRAME_COUNT_WRITTEN - (finalLength === NO_FINAL_FRAME ? 1 : 0);
    if (last > max) throw this.limits.tooManyFrames();
    const length = frameCount * this.#frameLength + Math.max(0, finalLength);
    this.checkBound(length);
    this.#nextSequence = last + 1;
    this.#sealedLength += length;
    this.#ended = finalLength !== NO_FINAL_FRAME;
    return { firstSequence, headroom: firstSequence === 1 ? this.headerLength : 0 };
  }

  #complete(sealed: Uint8Array, headroom: number, finalLength: number): void {
    if (headroom > 0) sealed.set(this.#frames.headerBytes);
    if (finalLength !== NO_FINAL_FRAME) this.#frames.recordUse(this.#sealedLength);
  }

  /** Wipes the message key. Calls under way finish first. Safe to call more than once. */
  dispose(): void {
    this.#ended = true;
    if (!this.#disposed) this.#frames.dispose();
    this.#disposed = true;
  }
}
