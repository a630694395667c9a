// Writes the manifest of a run: its entries wait, sorted, until the run has ended; then it goes up under the first number
// that no other run has taken. Nothing is in the bucket before that, and nothing there is ever replaced.
import { createHash, type Hash } from "node:crypto";
import { Readable } from "node:stream";
import type * as S3 from "@aws-sdk/client-s3";
import { FramesealError, isFramesealError, throwIfAborted } from "../../errors.ts";
import { statusOf } from "../../s3/transient-error.ts";
import { SortedLines, type SortOptions } from "../sorted-lines.ts";
import { isUntrusted } from "../untrusted.ts";
import {
  invalid,
  type ManifestEntry,
  type ManifestHeader,
  type ManifestLink,
  type ManifestSummary,
  writeEntry,
  writeHeader,
  writeSummary,
} from "./format.ts";
import {
  isRemembered,
  type KnownRun,
  MAX_RUN,
  type ManifestPlace,
  manifestKey,
  manifestName,
  newestRun,
  rememberedRun,
  rememberRun,
} from "./place.ts";
import { readWhole } from "./reader.ts";

/** What the run that writes a manifest says of itself. */
export interface ManifestStart extends Pick<ManifestHeader, "kind" | "names"> {
  /** When the run began, if that was before the manifest was. */
  readonly started?: Date | undefined;
  /** `before-writing`: by a HEAD, where the server does not keep the condition that a new object must not exist. */
  readonly existence?: "by-condition" | "before-writing" | undefined;
  /** What was read of the newest manifest already: it is not read again. */
  readonly newest?: KnownRun | undefined;
  /** Where entries wait, and in how much memory. */
  readonly sort?: SortOptions | undefined;
}

/** A manifest that stands in the bucket. */
export interface WrittenManifest {
  readonly run: number;
  readonly key: string;
  readonly eTag: string;
  readonly sha256: string;
  readonly summary: ManifestSummary;
}

/** Text that is sent in one request, and not in parts. */
const WHOLE_LENGTH = 8 * 2 ** 20;
/** Text that is made at a time. */
const CHUNK_LENGTH = 64 * 1024;
/** Runs that may end at the same time. */
const ATTEMPTS = 100;

/** The manifest of one run. `close` must be called at its end, whatever became of it. */
export class ManifestWriter {
  readonly #place: ManifestPlace;
  readonly #start: ManifestStart;
  readonly #started: Date;
  readonly #lines: SortedLines;
  #run: number;
  #previous: ManifestLink | undefined;
  /** The server keeps the condition that a new object must not exist. */
  #byCondition: boolean;

  private constructor(
    place: ManifestPlace,
    start: ManifestStart,
    run: number,
    previous: ManifestLink | undefined,
  ) {
    this.#place = place;
    this.#start = start;
    this.#started = start.started ?? new Date();
    this.#lines = new SortedLines(start.sort);
    this.#run = run;
    this.#previous = previous;
    this.#byCondition = start.existence !== "before-writing";
    if (!this.#byCondition) this.#tellUnconditional();
  }

  /** Looks which runs there were. Tells when the newest that the journal knows is not there any more, or cannot be read. */
  static async create(place: ManifestPlace, start: ManifestStart): Promise<ManifestWriter> {
    const remembered = rememberedRun(place);
    const listed = await newestRun(place);
    const known = [remembered, start.newest].find((each) => isRemembered(each, listed));
    const newest = listed?.run ?? 0;
    if (remembered !== undefined && remembered.run > newest) {
      place.report.warn(
        `the manifest of run ${remembered.run}, which this machine has written, is not in the bucket any more`,
        manifestName(remembered.run),
      );
      return new ManifestWriter(place, start, following(remembered.run), linkTo(remembered));
    }
    const previous = listed === undefined ? undefined : (known ?? (await linkOf(place, listed.run)));
    return new ManifestWriter(
      place,
      start,
      following(newest),
      previous === undefined ? undefined : linkTo(previous),
    );
  }

  /** The number that the run will have, if no other run takes it first. */
  get run(): number {
    return this.#run;
  }

  /**
   * Adds an entry, in any order. Of several with one key the last counts.
   * @throws TypeError for an entry that no reader would take; FramesealError LIMIT_EXCEEDED without disk space
   */
  add(entry: ManifestEntry): void {
    this.#lines.add(entry.key, writeEntry(entry));
  }

  /**
   * Stores the manifest, and remembers it in the journal.
   * @param failed entries that the run could not store, or not read
   */
  async finish({ failed }: Pick<ManifestSummary, "failed">): Promise<WrittenManifest> {
    const ended = new Date();
    for (let attempt = 1; ; attempt++) {
      throwIfAborted(this.#place.signal);
      try {
        const written = await this.#write(ended, failed);
        rememberRun(this.#place, written);
        return written;
      } catch (error) {
        if (this.#byCondition && statusOf(error) === 501) {
          this.#byCondition = false;
          this.#tellUnconditional();
          continue;
        }
        if (statusOf(error) !== 412 || attempt === ATTEMPTS) throw error;
      }
      const taken = this.#run;
      this.#place.report.warn(`another run has ended meanwhile, as run ${taken}`, manifestName(taken));
      this.#previous = linkTo(await linkOf(this.#place, taken));
      this.#run = following(taken);
    }
  }

  /** Gives memory and disk space back. Safe to call more than once. */
  close(): void {
    this.#lines.close();
  }

  async #write(ended: Date, failed: number): Promise<WrittenManifest> {
    const { address, sealed, sdk, signal } = this.#place;
    const { kind, names } = this.#start;
    const key = manifestKey(address, this.#run);
    const text = new ManifestBody(
      {
        run: this.#run,
        kind,
        ...address,
        names,
        started: this.#started.toISOString(),
        ended: ended.toISOString(),
        previous: this.#previous,
      },
      this.#lines,
      failed,
    );
    if (!this.#byCondition) await this.#refuseTaken(key);
    const output: S3.PutObjectCommandOutput = await sealed.send(
      new sdk.PutObjectCommand({
        Bucket: address.bucket,
        Key: key,
        Body: text.body(),
        ContentType: "application/x-ndjson",
        IfNoneMatch: this.#byCondition ? "*" : undefined,
      }),
      { abortSignal: signal },
    );
    return { run: this.#run, key, eTag: output.ETag ?? "", ...text.end() };
  }

  #tellUnconditional(): void {
    this.#place.report.warn(
      "the server does not keep the condition that a new object must not exist: of two runs that end at the same time, " +
        "one may replace the manifest of the other",
    );
  }

  // As the server answers where it keeps the condition.
  async #refuseTaken(key: string): Promise<void> {
    const { address, plain, sdk, signal } = this.#place;
    try {
      await plain.send(new sdk.HeadObjectCommand({ Bucket: address.bucket, Key: key }), {
        abortSignal: signal,
      });
    } catch (error) {
      if (statusOf(error) === 404) return;
      throw error;
    }
    throw Object.assign(new Error("the number is taken"), { $metadata: { httpStatusCode: 412 } });
  }
}

function following(run: number): number {
  if (run < MAX_RUN) return run + 1;
  throw new FramesealError(
    "LIMIT_EXCEEDED",
    `there is a manifest of run ${MAX_RUN}, and no number behind it`,
  );
}

const linkTo = ({ run, sha256 }: ManifestLink): ManifestLink => ({ run, sha256 });

// A manifest that is not authentic must not keep anybody from making backups; whoever checks the chain will find it.
async function linkOf(place: ManifestPlace, run: number): Promise<ManifestLink> {
  try {
    return { run, sha256: (await readWhole(place, run)).sha256 };
  } catch (error) {
    if (!isUntrusted(error) && !(isFramesealError(error) && error.code === "UNSUPPORTED")) throw error;
    place.report.warn(
      `the manifest of the run before cannot be read: ${(error as Error).message}`,
      manifestName(run),
    );
    return { run };
  }
}

/** The text of a manifest, made while it is sent. */
class ManifestBody {
  readonly #header: ManifestHeader;
  readonly #lines: SortedLines;
  readonly #failed: number;
  readonly #hash: Hash = createHash("sha256");
  #end: Pick<WrittenManifest, "sha256" | "summary"> | undefined;

  constructor(header: ManifestHeader, lines: SortedLines, failed: number) {
    this.#header = header;
    this.#lines = lines;
    this.#failed = failed;
  }

  /** All of it if it is short, else a stream. */
  body(): Uint8Array | Readable {
    const chunks = this.#chunks();
    const first: Uint8Array[] = [];
    let length = 0;
    for (let next = chunks.next(); ; next = chunks.next()) {
      if (next.done === true) return Buffer.concat(first);
      first.push(next.value);
      length += next.value.length;
      if (length > WHOLE_LENGTH) break;
    }
    const all = function* (): Generator<Uint8Array> {
      yield* first.splice(0);
      yield* chunks;
    };
    return Readable.from(all(), { objectMode: false });
  }

  /** What is known once all of it was taken. */
  end(): Pick<WrittenManifest, "sha256" | "summary"> {
    if (this.#end === undefined) throw invalid("it was stored before all of it was made");
    return this.#end;
  }

  *#chunks(): Generator<Uint8Array> {
    let texts = [writeHeader(this.#header)];
    let [length, entries, bytes] = [0, 0, 0];
    for (const { text } of this.#lines.lines()) {
      texts.push(text);
      length += text.length;
      entries += 1;
      bytes += (JSON.parse(text) as { readonly size: number }).size;
      if (length < CHUNK_LENGTH) continue;
      yield this.#hashed(texts);
      texts = [];
      length = 0;
    }
    const summary = { entries, bytes, failed: this.#failed };
    texts.push(writeSummary(summary));
    yield this.#hashed(texts);
    this.#end = { summary, sha256: this.#hash.digest("hex") };
  }

  #hashed(texts: readonly string[]): Uint8Array {
    const bytes = Buffer.from(texts.map((text) => `${text}\n`).join(""));
    this.#hash.update(bytes);
    return bytes;
  }
}
