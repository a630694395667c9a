// One long regular frame, opened while it arrives: collecting it first would mean copying it.
import { FRAME_HEAD_LENGTH, type FrameCipher, type FrameOpener, TAG_LENGTH } from "../engine/engine.ts";
import { notAuthentic } from "../errors.ts";
import type { Window } from "./window.ts";

/** Shorter frames come whole often enough. */
const LONG_FROM = 256 * 1024;
/** Fewer bytes are not worth a call of the engine; they are held until more have come. */
const MIN_PIECE_LENGTH = 64 * 1024;
/** The length of a frame is a claim of its header: memory for it is taken only when this share of it has come. */
const MIN_SHARE = 1 / 16;

/** A frame whose head has arrived. */
export class LongFrame {
  readonly #opener: FrameOpener;

  private constructor(opener: FrameOpener) {
    this.#opener = opener;
  }

  /** True if frames of this length are better opened in pieces, and enough of one has come to begin with it. */
  static isReady(cipher: FrameCipher, frameLength: number, window: Window): boolean {
    const begun = window.length - FRAME_HEAD_LENGTH;
    return (
      cipher.startOpen !== undefined &&
      frameLength >= LONG_FROM &&
      begun >= Math.max(MIN_PIECE_LENGTH, frameLength * MIN_SHARE)
    );
  }

  /**
   * Takes the head of the regular frame `sequence` out of the window.
   * @throws FramesealError AUTHENTICATION_FAILED if it is the head of another frame
   */
  static start(cipher: FrameCipher, sequence: number, window: Window): LongFrame {
    if (window.uint32(0) !== sequence) throw notAuthentic();
    const head = Buffer.concat(window.slices(FRAME_HEAD_LENGTH));
    const opener = cipher.startOpen?.(sequence, head.subarray(4));
    if (opener === undefined) throw new Error("internal error: this engine opens whole frames");
    window.drop(FRAME_HEAD_LENGTH);
    return new LongFrame(opener);
  }

  /**
   * Opens what has come of the frame. Returns its plaintext once it is whole and verified, undefined when more is needed.
   * @throws FramesealError AUTHENTICATION_FAILED
   */
  advance(window: Window): Uint8Array | undefined {
    const { missing } = this.#opener;
    if (missing > 0) {
      const length = window.length >= missing ? missing : window.length - (window.length % 16);
      if (length < missing && length < MIN_PIECE_LENGTH) return undefined;
      this.#opener.update(window.slices(length));
      window.drop(length);
    }
    if (this.#opener.missing > 0 || window.length < TAG_LENGTH) return undefined;
    const tag = Buffer.concat(window.slices(TAG_LENGTH));
    window.drop(TAG_LENGTH);
    const plaintext = this.#opener.finish(tag);
    if (plaintext === null) throw notAuthentic();
    return plaintext;
  }

  /** Wipes a frame that will not be finished. */
  dispose(): void {
    this.#opener.dispose();
  }
}
