// Opens the body of a single-message object: one GCM message whose tag stands at its end. What is released before the
// tag was compared is the difference between the modes.
import type { Readable } from "node:stream";
import { asBuffer, equalConstantTime, wipe } from "../../bytes.ts";
import { type OpenedSegment, type SegmentPartial, TAG_LENGTH } from "../../engine/engine.ts";
import { FramesealError, notAuthentic, throwIfAborted } from "../../errors.ts";
import type { StoredObject } from "../object-format.ts";
import { bodyOfPieces } from "../opened-body.ts";
import { ExactReader } from "../stored-bytes.ts";
import type { GcmContent } from "./content-key.ts";

/**
 * When plaintext of a single-message object is released.
 * - `buffered`: after the tag was compared; the whole plaintext is held in memory, so objects longer than `bufferSize`
 *   are refused.
 * - `two-pass`: the object is read twice in bounded memory. The first pass compares the tag and keeps the GHASH of every
 *   256 KiB; the second, pinned to the same version, releases a piece only if it hashes the same. GHASH under a key that
 *   the server does not know is a universal hash: other bytes pass with a probability of 2^14 / 2^128 (SP 800-38D, 6.4;
 *   McGrew and Viega 2004), and whoever knows the key could write the whole object anyway.
 * - `verified`: the first for objects up to `bufferSize`, the second for longer ones.
 * - `delayed`: at once. The stream fails at its end if the tag is wrong; whoever reads must then discard everything.
 */
export type AuthenticationMode = "verified" | "buffered" | "two-pass" | "delayed";

/** Plaintext held in memory unless the caller says otherwise. (official clients: 64 MiB) */
export const DEFAULT_BUFFER_SIZE = 64 * 1024 * 1024;
/** What is opened at a time, by all cores together: results of this length come out of memory that is warm already. */
const PIECE_LENGTH = 256 * 1024;
const BLOCK_LENGTH = 16;

/** @throws FramesealError LIMIT_EXCEEDED if the mode cannot hold the object */
export function resolveMode(
  mode: AuthenticationMode,
  plaintextLength: number,
  bufferSize: number,
): Exclude<AuthenticationMode, "verified"> {
  const fits = plaintextLength <= bufferSize;
  if (mode === "verified") return fits ? "buffered" : "two-pass";
  if (mode === "buffered" && !fits)
    throw new FramesealError(
      "LIMIT_EXCEEDED",
      `object of ${plaintextLength} bytes does not fit into a buffer of ${bufferSize}: ` +
        'raise "bufferSize", or choose the mode two-pass or delayed',
    );
  return mode;
}

/**
 * Opens a whole body.
 * @param source its stored bytes; destroyed when the result closes
 * @param content disposed when the result closes
 */
export function openGcmBody(
  object: StoredObject,
  source: Readable,
  content: GcmContent,
  mode: Exclude<AuthenticationMode, "verified">,
): Readable {
  const open = { buffered: openBuffered, "two-pass": openTwice, delayed: openDelayed }[mode];
  const sources = [source];
  return bodyOfPieces(open(object, content, sources), PIECE_LENGTH, sources, () => content.key.dispose());
}

type Opener = (
  object: StoredObject,
  content: GcmContent,
  sources: Readable[],
) => AsyncGenerator<Buffer, void, void>;

const openBuffered: Opener = async function* (object, content, sources) {
  const held: Uint8Array[] = [];
  try {
    const pass = new Pass(object, content, sources[0]);
    for await (const { plaintext } of pass.pieces()) held.push(plaintext);
    await pass.compareTag();
  } catch (error) {
    wipe(...held);
    throw error;
  }
  for (const plaintext of held) yield asBuffer(plaintext);
};

const openDelayed: Opener = async function* (object, content, sources) {
  const pass = new Pass(object, content, sources[0]);
  for await (const { plaintext } of pass.pieces()) yield asBuffer(plaintext);
  await pass.compareTag();
};

const openTwice: Opener = async function* (object, content, sources) {
  const first = new Pass(object, content, sources[0]);
  for await (const { plaintext } of first.pieces()) {
    wipe(plaintext);
    content.engine.recycle?.(plaintext);
  }
  await first.compareTag();
  const again = await object.source.stream(0, object.storedLength - TAG_LENGTH);
  sources.push(again);
  const verified = first.partials;
  let number = 0;
  for await (const { plaintext, partial } of new Pass(object, content, again).pieces()) {
    const expected = verified[number++]?.ghash ?? new Uint8Array(0);
    if (!equalConstantTime(partial.ghash, expected)) {
      wipe(plaintext);
      throw notAuthentic();
    }
    yield asBuffer(plaintext);
  }
};

// One reading of the body, in order.
class Pass {
  /** What each piece contributes to the tag. */
  readonly partials: SegmentPartial[] = [];
  readonly #object: StoredObject;
  readonly #content: GcmContent;
  readonly #reader: ExactReader;

  constructor(object: StoredObject, content: GcmContent, source: Readable | undefined) {
    if (source === undefined) throw new Error("internal error: body without source");
    this.#object = object;
    this.#content = content;
    this.#reader = new ExactReader(source);
  }

  /** Yields pieces in order. Not verified. */
  async *pieces(): AsyncGenerator<OpenedSegment, void, void> {
    const length = this.#object.storedLength - TAG_LENGTH;
    const { iv, segments } = this.#content;
    for (let at = 0; at < length; at += PIECE_LENGTH) {
      throwIfAborted(this.#object.signal);
      const chunks = await this.#reader.take(Math.min(PIECE_LENGTH, length - at));
      const piece = segments.open(iv, at / BLOCK_LENGTH, chunks);
      this.partials.push(piece.partial);
      yield piece;
    }
  }

  /** @throws FramesealError AUTHENTICATION_FAILED, TRAILING_DATA */
  async compareTag(): Promise<void> {
    const tag = Buffer.concat(await this.#reader.take(TAG_LENGTH));
    await this.#reader.end();
    const { iv, aad, segments } = this.#content;
    if (!equalConstantTime(segments.finish(iv, aad, this.partials), tag)) throw notAuthentic();
  }
}
