// Reads a manifest while it arrives: no more than a line of it is in memory, and nothing of it that is not authentic.
import { createHash } from "node:crypto";
import type * as S3 from "@aws-sdk/client-s3";
import { decodeUtf8 } from "../../bytes.ts";
import { FramesealError, isFramesealError } from "../../errors.ts";
import { statusOf } from "../../s3/transient-error.ts";
import { compareKeys } from "../key-order.ts";
import {
  invalid,
  MAX_LINE_LENGTH,
  type ManifestEntry,
  type ManifestHeader,
  type ManifestSummary,
  readHeader,
  readLine,
} from "./format.ts";
import { type ManifestPlace, manifestKey, newestRun, ofManifest } from "./place.ts";

/** What is known of a manifest once all of it was read. */
export interface ManifestEnd {
  readonly summary: ManifestSummary;
  /** Of its text, hexadecimal: what the manifest after it names. */
  readonly sha256: string;
}

/** A manifest that is being read, once. */
export interface OpenManifest {
  readonly run: number;
  readonly key: string;
  readonly eTag: string;
  readonly header: ManifestHeader;
  /**
   * In the order of the bytes of their keys, of which none comes twice.
   * @throws FramesealError for what is not authentic or no manifest: then those that came before are of one all the same
   */
  entries(): AsyncGenerator<ManifestEntry, ManifestEnd, void>;
  /** Gives up what has not been read. Safe to call more than once. */
  close(): void;
}

/**
 * Opens the manifest of a run. Resolves when its first line was verified.
 * @param which the newest that the bucket lists, or one by its number
 * @throws FramesealError INVALID_MANIFEST when there is none, and what opening an object gives, with the run in its text
 */
export async function openManifest(place: ManifestPlace, which: number | "latest"): Promise<OpenManifest> {
  const run = which === "latest" ? (await newestRun(place))?.run : which;
  if (run === undefined)
    throw invalid("there is no manifest below the prefix: no run has ended, or they were removed");
  return aboutRun(run, async () => {
    const key = manifestKey(place.address, run);
    const output = await getManifest(place, key);
    const body = output.Body as S3.GetObjectCommandOutput["Body"] &
      AsyncIterable<Uint8Array> & { destroy(): void };
    const text = new ManifestText(body);
    try {
      const first = await text.next();
      if (first === undefined) throw invalid("it is empty");
      const header = readHeader(first);
      if (header.run !== run) throw invalid(`it is that of run ${header.run}`);
      if (header.prefix !== place.address.prefix) throw invalid("it is that of another prefix");
      return {
        run,
        key,
        eTag: output.ETag ?? "",
        header,
        entries: () => entriesOf(text, run),
        close: () => body.destroy(),
      };
    } catch (error) {
      body.destroy();
      throw error;
    }
  });
}

/** Reads a manifest to its end, for its header and its digest. */
export async function readWhole(
  place: ManifestPlace,
  run: number,
): Promise<ManifestEnd & { readonly header: ManifestHeader; readonly eTag: string }> {
  const manifest = await openManifest(place, run);
  try {
    const entries = manifest.entries();
    for (;;) {
      const next = await entries.next();
      if (next.done === true) return { ...next.value, header: manifest.header, eTag: manifest.eTag };
    }
  } finally {
    manifest.close();
  }
}

async function getManifest(place: ManifestPlace, key: string): Promise<S3.GetObjectCommandOutput> {
  try {
    return await place.sealed.send(
      new place.sdk.GetObjectCommand({ Bucket: place.address.bucket, Key: key }),
      { abortSignal: place.signal },
    );
  } catch (error) {
    if (statusOf(error) === 404)
      throw invalid("it is not there: no run has written it, or it was removed", error);
    throw error;
  }
}

async function aboutRun<Result>(run: number, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw isFramesealError(error) ? ofManifest(error, run) : error;
  }
}

async function* entriesOf(text: ManifestText, run: number): AsyncGenerator<ManifestEntry, ManifestEnd, void> {
  let before = "";
  let [entries, bytes] = [0, 0];
  for (;;) {
    const item = await aboutRun(run, async () => {
      const line = await text.next();
      if (line === undefined) throw invalid("it ends without a summary");
      const read = readLine(line, text.count);
      if ("summary" in read) {
        if ((await text.next()) !== undefined) throw invalid("it goes on behind its summary");
        if (read.summary.entries !== entries || read.summary.bytes !== bytes)
          throw invalid("its summary counts something else than its entries");
        return read;
      }
      if (entries > 0 && compareKeys(before, read.key) >= 0)
        throw invalid(`line ${text.count} is out of order, or its key comes twice`);
      return read;
    });
    if ("summary" in item) return { summary: item.summary, sha256: text.digest() };
    before = item.key;
    entries += 1;
    bytes += item.size;
    yield item;
  }
}

/** Lines of verified bytes as they arrive, and the digest of them all. */
class ManifestText {
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #hash = createHash("sha256");
  /** What has arrived of the next line: without a line end. */
  #pieces: Uint8Array[] = [];
  #pieceLength = 0;
  /** What has arrived behind it. */
  #rest: Uint8Array = new Uint8Array(0);
  /** Lines so far. */
  count = 0;

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** @returns undefined at the end @throws FramesealError INVALID_MANIFEST */
  async next(): Promise<string | undefined> {
    for (;;) {
      const end = this.#rest.indexOf(10);
      this.#keep(this.#rest.subarray(0, end < 0 ? this.#rest.length : end));
      if (end >= 0) {
        this.#rest = this.#rest.subarray(end + 1);
        return this.#take();
      }
      const next = await this.#chunks.next();
      if (next.done === true) {
        if (this.#pieceLength > 0) throw invalid("its last line has no end");
        this.#rest = new Uint8Array(0);
        return undefined;
      }
      this.#hash.update(next.value);
      this.#rest = next.value;
    }
  }

  /** Of all that has arrived; once, at the end. */
  digest(): string {
    return this.#hash.digest("hex");
  }

  #keep(piece: Uint8Array): void {
    this.#pieceLength += piece.length;
    if (this.#pieceLength > MAX_LINE_LENGTH)
      throw new FramesealError(
        "LIMIT_EXCEEDED",
        `line ${this.count + 1} is longer than ${MAX_LINE_LENGTH} bytes`,
      );
    if (piece.length > 0) this.#pieces.push(piece);
  }

  #take(): string {
    this.count += 1;
    const line = decodeUtf8(Buffer.concat(this.#pieces));
    this.#pieces = [];
    this.#pieceLength = 0;
    if (line === undefined) throw invalid(`line ${this.count} is no UTF-8`);
    return line;
  }
}
