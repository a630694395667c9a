// A verified range of a framed object: the final frame first, which binds how many frames there are, then one request
// for exactly the frames that cover the range.
import type { Readable } from "node:stream";
import { asBuffer } from "../../bytes.ts";
import { NO_FINAL_FRAME, type OpenedFrames } from "../../engine/engine.ts";
import { FramesealError, notAuthentic, throwIfAborted } from "../../errors.ts";
import {
  bodyLengthOf,
  FINAL_OVERHEAD,
  type FrameLayout,
  frameOffset,
  layoutFromBody,
  REGULAR_OVERHEAD,
} from "../../format/frame.ts";
import type { ParsedHeader } from "../../format/header.ts";
import { verifyFinalFrame } from "../../message/final-frame.ts";
import { type DecryptOptions, type OpenedHeader, openHeader } from "../../message/open-message.ts";
import { asyncFrom, RUN_LENGTH } from "../../stream/frame-machine.ts";
import type { OpenedRange, StoredObject } from "../object-format.ts";
import { bodyOfPieces } from "../opened-body.ts";
import { type RequestedRange, resolveRequestedRange } from "../requested-range.ts";
import { ExactReader, StoredBytes } from "../stored-bytes.ts";

/** Runs of frames in work at a time. */
const RUNS_AHEAD = 2;

/**
 * Opens a range of the object whose header is `parsed`.
 * @param head the first stored bytes
 * @throws FramesealError RANGE_NOT_SATISFIABLE; UNSUPPORTED for messages without frames; POLICY for signed ones, whose
 * signature a range cannot be checked against; and as `openHeader`
 */
export async function openFrameRange(
  object: StoredObject,
  range: RequestedRange,
  head: Uint8Array,
  parsed: ParsedHeader,
  options: DecryptOptions,
): Promise<OpenedRange> {
  if (parsed.contentType !== "framed")
    throw new FramesealError("UNSUPPORTED", "message without frames has no random access: get it whole");
  if (parsed.suite.signature !== "none")
    throw new FramesealError("POLICY", "ranges of a signed message cannot be checked: get it whole");
  const { signal } = object;
  const opened = await openHeader(parsed, signal === undefined ? options : { ...options, signal });
  try {
    const layout = layoutFromBody(object.storedLength - parsed.length, parsed.frameLength);
    const stored = new StoredBytes(object, head);
    await verifyFinalFrame((start, end) => stored.read(start, end), layout, opened);
    const { start, end } = resolveRequestedRange(range, layout.plaintextLength);
    const frames = new FrameRange(layout, opened, start, end);
    const source = await stored.stream(frames.storedStart, frames.storedEnd);
    const body = bodyOfPieces(frames.open(source, signal), RUN_LENGTH, [source], () => opened.dispose());
    return { start, end, plaintextLength: layout.plaintextLength, body };
  } catch (error) {
    opened.dispose();
    throw error;
  }
}

// The frames that cover the plaintext from `start` to `end`.
class FrameRange {
  readonly storedStart: number;
  readonly storedEnd: number;
  readonly #layout: FrameLayout;
  readonly #opened: OpenedHeader;
  readonly #first: number;
  readonly #last: number;
  /** Plaintext bytes of the first frame that are not asked for. */
  readonly #skip: number;
  readonly #length: number;

  constructor(layout: FrameLayout, opened: OpenedHeader, start: number, end: number) {
    const { frameLength, regularCount } = layout;
    this.#layout = layout;
    this.#opened = opened;
    this.#first = Math.floor(start / frameLength); // counted from 0; the final frame is number regularCount
    this.#last = Math.floor((end - 1) / frameLength);
    this.#skip = start - this.#first * frameLength;
    this.#length = end - start;
    const { headerLength } = opened;
    this.storedStart = headerLength + frameOffset(this.#first + 1, frameLength);
    this.storedEnd =
      headerLength +
      (this.#last >= regularCount ? bodyLengthOf(layout) : frameOffset(this.#last + 2, frameLength));
  }

  /** Yields the verified plaintext of the range in order. */
  async *open(source: Readable, signal: AbortSignal | undefined): AsyncGenerator<Buffer, void, void> {
    const { frameLength, regularCount } = this.#layout;
    const perRun = Math.max(1, Math.floor(RUN_LENGTH / frameLength));
    const chunks = new ExactReader(source);
    const inWork: Promise<Uint8Array>[] = [];
    let skip = this.#skip;
    let left = this.#length;
    let next = this.#first;
    try {
      while (left > 0) {
        while (next <= this.#last && inWork.length < RUNS_AHEAD) {
          throwIfAborted(signal);
          const until = Math.min(this.#last + 1, next + perRun);
          const withFinal = until > regularCount;
          const frameCount = until - next - (withFinal ? 1 : 0);
          const finalLength = withFinal ? this.#layout.finalLength : NO_FINAL_FRAME;
          const storedLength =
            frameCount * (frameLength + REGULAR_OVERHEAD) + (withFinal ? FINAL_OVERHEAD + finalLength : 0);
          const run = this.#openRun(await chunks.take(storedLength), next + 1, frameCount, finalLength);
          run.catch(() => {}); // reported when it is this run's turn
          inWork.push(run);
          next = until;
        }
        const run = inWork.shift();
        if (run === undefined) throw new Error("internal error: range needs more frames than were laid out");
        const plaintext = await run;
        const bytes = asBuffer(plaintext).subarray(skip, Math.min(plaintext.length, skip + left));
        skip = 0;
        left -= bytes.length;
        yield bytes;
      }
    } finally {
      await Promise.allSettled(inWork);
    }
  }

  async #openRun(
    chunks: readonly Uint8Array[],
    firstSequence: number,
    frameCount: number,
    finalLength: number,
  ): Promise<Uint8Array> {
    const { cipher } = this.#opened;
    const length = frameCount * this.#layout.frameLength;
    let opened: OpenedFrames;
    if (cipher.openAsync !== undefined && length >= asyncFrom(cipher))
      opened = await cipher.openAsync(chunks, firstSequence, frameCount, finalLength);
    else opened = cipher.open(chunks, firstSequence, frameCount, finalLength);
    if (opened.verifiedCount !== frameCount + (finalLength === NO_FINAL_FRAME ? 0 : 1)) {
      opened.plaintext.fill(0);
      throw notAuthentic();
    }
    return opened.plaintext;
  }
}
