// Opens the body of a single-message object: one GCM message whose tag stands at its end. What is released before the
// tag was compared is the difference between the modes.
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { asBuffer, equalConstantTime, wipe } from "../bytes.ts";
import { type OpenedSegment, type SegmentPartial, TAG_LENGTH } from "../engine/engine.ts";
import { FramesealError, notAuthentic, throwIfAborted } from "../errors.ts";
import { MIN_ASYNC_RUN_LENGTH } from "../stream/frame-machine.ts";
import type { GcmContent } from "./content-key.ts";
import type { StoredObject } from "./object-format.ts";
import { ExactReader } from "./stored-bytes.ts";

/**
 * When plaintext of a single-message object is released.
 * - `buffered`: after the tag was compared; the whole plaintext is held in memory, so objects longer than `bufferSize`
 *   are refused.
 * - `two-pass`: the object is read twice in bounded memory. The first pass compares the tag and keeps a SHA-256 of every
 *   MiB; the second, pinned to the same version, releases a MiB only if it hashes the same.
 * - `verified`: the first for objects up to `bufferSize`, the second for longer ones.
 * - `delayed`: at once. The stream fails at its end if the tag is wrong; whoever reads must then discard everything.
 */
export type AuthenticationMode = "verified" | "buffered" | "two-pass" | "delayed";

/** Plaintext held in memory unless the caller says otherwise. (official clients: 64 MiB) */
export const DEFAULT_BUFFER_SIZE = 64 * 1024 * 1024;
const PIECE_LENGTH = 1024 * 1024;
const BLOCK_LENGTH = 16;
/** Pieces in work at a time. */
const PIECES_AHEAD = 3;

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
  const opened = Readable.from(open(object, content, sources), {
    objectMode: false,
    highWaterMark: PIECE_LENGTH,
  });
  opened.once("close", () => {
    for (const each of sources) each.destroy();
    content.key.dispose();
  });
  return opened;
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
  const digests: Buffer[] = [];
  const first = new Pass(object, content, sources[0], (digest) => digests.push(digest));
  for await (const { plaintext } of first.pieces()) {
    wipe(plaintext);
    content.engine.recycle?.(plaintext);
  }
  await first.compareTag();
  const again = await object.source.stream(0, object.storedLength - TAG_LENGTH);
  sources.push(again);
  let number = 0;
  const second = new Pass(object, content, again, (digest) => {
    const expected = digests[number++];
    if (expected === undefined || !expected.equals(digest)) throw notAuthentic();
  });
  for await (const { plaintext } of second.pieces()) yield asBuffer(plaintext);
};

// One reading of the body, in order, with several pieces in work.
class Pass {
  readonly #object: StoredObject;
  readonly #content: GcmContent;
  readonly #reader: ExactReader;
  readonly #onDigest: ((digest: Buffer) => void) | undefined;
  readonly #partials: SegmentPartial[] = [];

  /** @param onDigest told the SHA-256 of each piece before it is opened */
  constructor(
    object: StoredObject,
    content: GcmContent,
    source: Readable | undefined,
    onDigest?: (digest: Buffer) => void,
  ) {
    if (source === undefined) throw new Error("internal error: body without source");
    this.#object = object;
    this.#content = content;
    this.#reader = new ExactReader(source);
    this.#onDigest = onDigest;
  }

  /** Yields pieces in order. Not verified. */
  async *pieces(): AsyncGenerator<OpenedSegment, void, void> {
    const length = this.#object.storedLength - TAG_LENGTH;
    const inWork: Promise<OpenedSegment>[] = [];
    try {
      for (let at = 0; at < length || inWork.length > 0; ) {
        while (at < length && inWork.length < PIECES_AHEAD) {
          throwIfAborted(this.#object.signal);
          const pieceLength = Math.min(PIECE_LENGTH, length - at);
          const piece = this.#open(at / BLOCK_LENGTH, await this.#reader.take(pieceLength), pieceLength);
          piece.catch(() => {}); // reported when it is this piece's turn
          inWork.push(piece);
          at += pieceLength;
        }
        const piece = await inWork.shift();
        if (piece === undefined) break;
        this.#partials.push(piece.partial);
        yield piece;
      }
    } finally {
      for (const left of await Promise.allSettled(inWork))
        if (left.status === "fulfilled") wipe(left.value.plaintext);
    }
  }

  /** @throws FramesealError AUTHENTICATION_FAILED, TRAILING_DATA */
  async compareTag(): Promise<void> {
    const tag = Buffer.concat(await this.#reader.take(TAG_LENGTH));
    await this.#reader.end();
    const { iv, aad, segments } = this.#content;
    if (!equalConstantTime(segments.finish(iv, aad, this.#partials), tag)) throw notAuthentic();
  }

  async #open(firstBlock: number, chunks: Uint8Array[], length: number): Promise<OpenedSegment> {
    const { iv, segments } = this.#content;
    let read: readonly Uint8Array[] = chunks;
    if (this.#onDigest !== undefined) {
      // What is hashed must be what is opened, whoever else can write to the chunks.
      read = chunks.map((chunk) => Uint8Array.from(chunk));
      const hash = createHash("sha256");
      for (const chunk of read) hash.update(chunk);
      this.#onDigest(hash.digest());
    }
    if (segments.openAsync !== undefined && length >= MIN_ASYNC_RUN_LENGTH)
      return segments.openAsync(iv, firstBlock, read);
    return segments.open(iv, firstBlock, read);
  }
}
