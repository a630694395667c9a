// A tree on disk -> objects below a prefix: what is new or changed is sent, what is not is left, and a manifest tells at the
// end what there is.
import { createHash } from "node:crypto";
import type { S3Client } from "@aws-sdk/client-s3";
import { opaqueTag } from "../s3/etag.ts";
import { statusOf } from "../s3/transient-error.ts";
import { errorCode } from "../shapes.ts";
import { listBucket } from "./bucket-listing.ts";
import { type Comparison, compare, settledChangeTime } from "./changed.ts";
import type { PlaceContext } from "./context.ts";
import { deleteOthers } from "./delete-others.ts";
import { endsRun } from "./ends-run.ts";
import type { StoredRow } from "./journal/journal.ts";
import { abortLeftovers } from "./journal/leftovers.ts";
import { KeyTags } from "./key-tags.ts";
import { metadataOf } from "./local/attributes.ts";
import type { WalkEvent } from "./local/walk-event.ts";
import type { ManifestEntry, NameMode } from "./manifest/format.ts";
import { ManifestWriter, type WrittenManifest } from "./manifest/writer.ts";
import { type ObjectState, objectState } from "./object-state.ts";
import { putEntry, type Stored, stateOf } from "./put-file.ts";
import type { PutPlace } from "./put-place.ts";
import { abandonUpload } from "./resumable-upload.ts";
import { RowsInOrder } from "./rows-in-order.ts";
import { type ServerFlags, UNKNOWN_FLAGS } from "./server/flags.ts";
import { serverFlags } from "./server/probe.ts";
import { readLink, type SourceEntry, SourceFile } from "./source-file.ts";
import { type ReadManifest, RowsInMemory, rowsFromManifest, type StoredRows } from "./stored-rows.ts";

/** What sealing takes. A dry run has none of it. */
export interface Sealing
  extends Pick<
    PutPlace,
    "client" | "links" | "partSize" | "frameLength" | "streamMemory" | "resumable" | "fields"
  > {
  /** For manifests. */
  readonly sealed: S3Client;
  /** Encrypts, and is asked what the server can do. */
  readonly client: S3Client;
  readonly names: NameMode;
}

/** The source of a run. */
export interface TreeSource {
  /** Its folder: an absolute path. */
  readonly root: string;
  /** Looks at all that is to be stored. */
  walk(): AsyncIterable<WalkEvent>;
  /** Whether filters leave out what has this path. */
  excludes(path: string, kind: "directory" | "other"): boolean;
}

/** How to put a tree. */
export interface PutTreeOptions {
  readonly kind: "put" | "sync";
  /** Digests decide what has changed, and not times. */
  readonly checksum: boolean;
  /** The bucket is not listed: it is taken to be as the journal says. */
  readonly trustJournal: boolean;
  /** Objects are deleted that are not in the source. */
  readonly deleteOthers: boolean;
}

/** What a run has done. */
export interface PutTreeResult {
  readonly entries: number;
  readonly bytes: number;
  readonly sent: number;
  readonly sentBytes: number;
  readonly unchanged: number;
  readonly deleted: number;
  readonly failed: number;
  /** Large files that the next run goes on with. */
  readonly uploadsLeft: number;
  readonly manifest: WrittenManifest | undefined;
}

/** Puts a tree. @throws what ends a run: an abort, a journal that fails, a server that lets nobody in */
export async function putTree(
  context: PlaceContext,
  sealing: Sealing | undefined,
  source: TreeSource,
  options: PutTreeOptions,
): Promise<PutTreeResult> {
  const { journal } = context;
  const number = context.dryRun ? undefined : journal?.beginRun(options.kind);
  const run = new PutRun(context, sealing, source, options);
  try {
    const result = await run.run(number ?? 0);
    if (number !== undefined) journal?.endRun(number, result.failed === 0 ? "done" : "failed-some");
    return result;
  } catch (error) {
    run.tellUploadsLeft();
    if (number !== undefined && errorCode(error) !== "JOURNAL") journal?.endRun(number, "failed");
    throw error;
  }
}

/** Large files that are open at a time, and those that wait while small ones go on. */
const MAX_LARGE = 4;
const MAX_LARGE_WAITING = 1000;
const CUTS_NOTE = "listing cuts";
/** Rows between two cuts of the listing: a page has as many keys. */
const PAGE_KEYS = 1000;
/** So many failures, one after the other, of whatever the server says: it lets nobody in. */
const MAX_FAILURES_IN_A_ROW = 100;

class PutRun {
  readonly #context: PlaceContext;
  readonly #sealing: Sealing | undefined;
  readonly #place: PutPlace | undefined;
  readonly #source: TreeSource;
  readonly #options: PutTreeOptions;
  readonly #rows: StoredRows;
  #rowsInOrder: RowsInOrder | undefined;
  /** What the bucket has, by its listing. */
  #listed: KeyTags | undefined;
  /** Neither a journal nor a manifest tells what is stored: objects are asked. */
  #isUnknown = false;
  /** Keys that the walk came by. */
  readonly #seen = new KeyTags();
  readonly #failedKeys = new Set<string>();
  /** Paths that could not be read or were left out, though something is there; and below them all. */
  readonly #skipped: string[] = [];
  /** First names of files that have several, by their inodes; and what others are other names of. */
  readonly #firstNames = new Map<string, string>();
  readonly #otherNames = new Map<string, string>();
  readonly #running = new Set<Promise<void>>();
  readonly #large: (() => Promise<void>)[] = [];
  #largeRunning = 0;
  #fatal: { readonly error: unknown } | undefined;
  #failuresInARow = 0;
  #run = 0;
  #complete = true;
  #entries = 0;
  #bytes = 0;
  #sent = 0;
  #sentBytes = 0;
  #unchanged = 0;
  #failed = 0;

  constructor(
    context: PlaceContext,
    sealing: Sealing | undefined,
    source: TreeSource,
    options: PutTreeOptions,
  ) {
    this.#context = context;
    this.#sealing = sealing;
    this.#source = source;
    this.#options = options;
    this.#rows = context.journal ?? new RowsInMemory();
    const { sdk, address, queue, journal, report } = context;
    this.#place =
      sealing === undefined
        ? undefined
        : {
            ...sealing,
            sdk,
            address,
            journal,
            // What has not begun when the run has to end does not begin.
            queue: {
              run: (cost, job) =>
                queue.run(cost, async (signal) => {
                  if (this.#fatal !== undefined) throw this.#fatal.error;
                  return job(signal);
                }),
              ready: (kind) => queue.ready(kind),
              idle: () => queue.idle(),
            },
            onMoved: (path, bytes) => report.moved(path, bytes),
          };
  }

  /** @param number of the run in the journal */
  async run(number: number): Promise<PutTreeResult> {
    const flags = await this.#askServer(number);
    await this.#abortLeftovers();
    const read = await this.#learn();
    const manifest = await this.#openManifest(read, flags);
    try {
      await this.#putAll();
      const deleted = await this.#deleteOthers();
      if (!this.#context.dryRun) await this.#abandonOthers();
      this.#rows.flush();
      const written = manifest === undefined ? undefined : await this.#writeManifest(manifest);
      return { ...this.#counts(), deleted, manifest: written };
    } finally {
      manifest?.close();
    }
  }

  #counts() {
    return {
      entries: this.#entries,
      bytes: this.#bytes,
      sent: this.#sent,
      sentBytes: this.#sentBytes,
      unchanged: this.#unchanged,
      failed: this.#failed,
      uploadsLeft: this.#context.dryRun ? 0 : (this.#context.journal?.allUploads().length ?? 0),
    };
  }

  /** Tells of what an unfinished run leaves in the bucket. */
  tellUploadsLeft(): void {
    const { journal, report, dryRun } = this.#context;
    if (journal === undefined || dryRun) return;
    let count = 0;
    try {
      count = journal.allUploads().length;
    } catch {} // the journal is why the run ends
    if (count > 0)
      report.warn(
        `${count === 1 ? "one large file is" : `${count} large files are`} half sent: the next run goes on with ` +
          "what the bucket has, and frameseal uploads --abort removes it",
      );
  }

  async #askServer(number: number): Promise<ServerFlags> {
    if (this.#sealing === undefined) return UNKNOWN_FLAGS;
    return serverFlags({ ...this.#context, client: this.#sealing.client }, number);
  }

  // Before this run begins any upload. What is known may be gone on with, which is decided when all of the source was seen.
  async #abortLeftovers(): Promise<void> {
    const { journal } = this.#context;
    if (journal !== undefined) await abortLeftovers({ ...this.#context, journal }, () => true);
  }

  // Finds out what is stored.
  async #learn(): Promise<ReadManifest | undefined> {
    const { address, queue, plain, sdk } = this.#context;
    const [first] = this.#rows.allStored();
    const read = first === undefined ? await this.#rowsFromManifest() : undefined;
    if (this.#options.trustJournal) return read;
    const listed = new KeyTags();
    for await (const page of listBucket({ sdk, plain, address, queue }, this.#cuts()))
      for (const { key, tag } of page) listed.set(key, tag);
    this.#listed = listed;
    this.#isUnknown = first === undefined && read === undefined && listed.size > 0;
    if (this.#isUnknown)
      this.#context.report.warn(
        "neither a journal nor a manifest tells what is stored: objects that are there are asked, and their files read",
      );
    return read;
  }

  // Where the last run found a page to end. Wrong ones cost requests, and nothing else.
  #cuts(): readonly string[] {
    const cuts: unknown = JSON.parse(this.#context.journal?.note(CUTS_NOTE) ?? "[]");
    return Array.isArray(cuts) ? cuts.filter((cut) => typeof cut === "string") : [];
  }

  async #rowsFromManifest(): Promise<ReadManifest | undefined> {
    if (this.#sealing === undefined) return undefined;
    const { sealed } = this.#sealing;
    return rowsFromManifest({ ...this.#context, sealed }, this.#rows);
  }

  async #openManifest(
    read: ReadManifest | undefined,
    { conditionalPut }: ServerFlags,
  ): Promise<ManifestWriter | undefined> {
    if (this.#sealing === undefined || this.#context.dryRun) return undefined;
    const { sealed, names } = this.#sealing;
    const existence = conditionalPut === "no" ? "before-writing" : "by-condition";
    const start = { kind: this.#options.kind, names, existence, newest: read } as const;
    const manifest = await ManifestWriter.create({ ...this.#context, sealed }, start);
    this.#run = manifest.run;
    return manifest;
  }

  async #putAll(): Promise<void> {
    try {
      for await (const event of this.#source.walk()) {
        if (this.#fatal !== undefined) break;
        this.#take(event);
        if (this.#running.size > 0) await this.#context.queue.ready();
        if (this.#large.length > MAX_LARGE_WAITING) await Promise.race(this.#running);
      }
    } catch (error) {
      this.#fatal ??= { error };
    }
    this.#tellTotal(true);
    while (this.#running.size > 0) await Promise.all(this.#running);
    if (this.#fatal !== undefined) throw this.#fatal.error;
    this.#context.signal.throwIfAborted();
  }

  #take(event: WalkEvent): void {
    const { report } = this.#context;
    switch (event.kind) {
      case "entry":
        this.#takeEntry(event.entry);
        return;
      case "failed":
        if (event.incomplete) {
          this.#complete = false;
          this.#skipped.push(event.path);
        }
        this.#fail(event.path, undefined, event.error);
        return;
      default:
        if (event.kind === "skipped" && event.reason !== "vanished") this.#skipped.push(event.path);
        report.warn(event.text, event.path);
    }
  }

  #tellTotal(final: boolean): void {
    this.#context.report.total(this.#entries, this.#bytes, final);
  }

  #takeEntry(entry: SourceEntry & { readonly links?: number; readonly device?: bigint }): void {
    const { address, names } = this.#context;
    this.#entries += 1;
    this.#bytes += entry.size;
    if (this.#entries % 100 === 0) this.#tellTotal(false);
    let key: string;
    try {
      key = address.prefix + names.keyOf(entry.path, entry.type);
    } catch (error) {
      this.#fail(entry.path, undefined, error);
      return;
    }
    this.#seen.set(key);
    this.#noteNames(entry, key);
    this.#rowsInOrder ??= this.#context.journal === undefined ? undefined : new RowsInOrder(this.#rows);
    const row = this.#rowsInOrder === undefined ? this.#rows.stored(key) : this.#rowsInOrder.at(key);
    const missing = row === undefined ? undefined : this.#missing(row);
    const comparison = missing === undefined ? compare(entry, row, this.#options) : "changed";
    if (row !== undefined && comparison === "unchanged") this.#keep(entry, row);
    else this.#start(entry, () => this.#put(entry, key, row, comparison, missing));
  }

  #noteNames(entry: SourceEntry & { readonly links?: number; readonly device?: bigint }, key: string): void {
    if (entry.type !== "file" || (entry.links ?? 1) < 2) return;
    const id = `${entry.device} ${entry.inode}`;
    const first = this.#firstNames.get(id);
    if (first === undefined) this.#firstNames.set(id, entry.path);
    else this.#otherNames.set(key, first);
  }

  // Why an object is sent again, though the source may be as it was.
  #missing(row: StoredRow): string | undefined {
    if (this.#listed === undefined || this.#listed.hasTag(row.key, opaqueTag(row.eTag))) return undefined;
    return this.#listed.has(row.key) ? "replaced in the bucket" : "missing in the bucket";
  }

  #start(entry: SourceEntry, work: () => Promise<void>): void {
    const isLarge = this.#place !== undefined && entry.type === "file" && entry.size > this.#place.partSize;
    if (isLarge && this.#largeRunning >= MAX_LARGE) {
      this.#large.push(work);
      return;
    }
    const running: Promise<void> = (isLarge ? this.#runLarge(work) : work()).finally(() => {
      this.#running.delete(running);
    });
    this.#running.add(running);
  }

  // One after the other, as long as some wait.
  async #runLarge(work: () => Promise<void>): Promise<void> {
    this.#largeRunning += 1;
    for (let next: typeof work | undefined = work; next !== undefined; next = this.#large.shift())
      await next();
    this.#largeRunning -= 1;
  }

  // Never rejects.
  async #put(
    entry: SourceEntry,
    key: string,
    row: StoredRow | undefined,
    comparison: Comparison,
    missing: string | undefined,
  ): Promise<void> {
    if (this.#fatal !== undefined) return;
    try {
      if (await this.#isStored(entry, key, row, comparison)) return;
      const reason = missing ?? (row === undefined && this.#listed?.has(key) !== true ? "new" : "changed");
      if (missing === "replaced in the bucket")
        this.#context.report.warn("somebody else has replaced the object: it is sent again", entry.path);
      await this.#send(entry, key, reason);
    } catch (error) {
      this.#fail(entry.path, key, error);
    }
  }

  // By its bytes, where nothing else tells.
  async #isStored(
    entry: SourceEntry,
    key: string,
    row: StoredRow | undefined,
    comparison: Comparison,
  ): Promise<boolean> {
    if (comparison === "digest" && row !== undefined) {
      const { sha256, state } = await this.#digest(entry);
      if (sha256 !== row.sha256) return false;
      // With the time that the metadata of the object tell, also where the source has another one.
      this.#keep({ ...state, mtimeNs: row.mtimeNs }, row);
      return true;
    }
    if (!this.#isUnknown || comparison !== "new" || this.#listed?.has(key) !== true) return false;
    const { sdk, address, queue } = this.#context;
    const client = this.#sealing?.client;
    if (client === undefined) return false;
    const object = await objectState(
      { sdk, client, address, queue, fields: this.#sealing?.fields ?? {} },
      key,
    );
    if (object === undefined || object.size !== entry.size || !isOf(entry, object)) return false;
    const { sha256, state } = await this.#digest(entry);
    const { eTag, versionId } = object;
    this.#keep(state, { ...stateOf(state), ctimeNs: 0n, key, eTag, versionId, sha256, run: this.#run });
    return true;
  }

  async #digest(entry: SourceEntry): Promise<{ readonly sha256: string; readonly state: SourceEntry }> {
    const { queue } = this.#context;
    return queue.run({ memory: 2 ** 20, kind: "small" }, async (signal) => {
      if (entry.type !== "file") return { sha256: sha256Of(await bytesOf(entry)), state: entry };
      const file = await SourceFile.open(entry, signal);
      try {
        const sha256 = await file.digest(signal);
        const ctimeNs = settledChangeTime(file.state.ctimeNs, file.readAtNs);
        return { sha256, state: { ...file.state, ctimeNs } };
      } finally {
        await file.close();
      }
    });
  }

  #keep(entry: SourceEntry, row: StoredRow): void {
    this.#unchanged += 1;
    if (entry.ctimeNs !== row.ctimeNs || entry.inode !== row.inode || entry.mtimeNs !== row.mtimeNs)
      this.#rows.putStored({ ...row, ...stateOf(entry), ctimeNs: entry.ctimeNs });
    this.#context.report.item({
      action: "skip",
      path: entry.path,
      key: row.key,
      type: entry.type,
      size: entry.size,
      reason: "unchanged",
      ...(this.#context.dryRun ? { dryRun: true } : {}),
    });
  }

  async #send(entry: SourceEntry, key: string, reason: string): Promise<void> {
    const { report, dryRun } = this.#context;
    const about = { action: "put", path: entry.path, key, type: entry.type, reason } as const;
    if (dryRun || this.#place === undefined) {
      this.#sent += 1;
      this.#sentBytes += entry.size;
      report.item({ ...about, size: entry.size, dryRun: true });
      return;
    }
    const stored: Stored = await putEntry(this.#place, entry, key);
    this.#rows.putStored({ ...stored, run: this.#run });
    this.#failuresInARow = 0;
    this.#sent += 1;
    this.#sentBytes += stored.size;
    const { size, mtimeNs, eTag, versionId } = stored;
    report.item({ ...about, size, mtimeNs, eTag, versionId });
  }

  #fail(path: string, key: string | undefined, error: unknown): void {
    this.#failed += 1;
    if (key !== undefined) this.#failedKeys.add(key);
    if (this.#fatal === undefined && this.#isTheEnd(error)) this.#fatal = { error };
    // What is given up because the run ends has not failed by itself.
    if (this.#fatal !== undefined && error === this.#fatal.error) return;
    this.#context.report.item({ action: "put", path, key, error });
  }

  #isTheEnd(error: unknown): boolean {
    if (this.#context.signal.aborted || endsRun(error)) return true;
    if (statusOf(error) === undefined) return false;
    this.#failuresInARow += 1;
    return this.#failuresInARow >= MAX_FAILURES_IN_A_ROW;
  }

  async #deleteOthers(): Promise<number> {
    if (!this.#options.deleteOthers) return 0;
    const { report } = this.#context;
    if (!this.#complete) {
      report.warn("not all of the source could be read, so nothing is deleted");
      return 0;
    }
    if (this.#entries === 0) {
      report.warn("the source is empty, so nothing is deleted: frameseal rm -r removes a whole tree");
      return 0;
    }
    return deleteOthers(this.#context, this.#sealing?.client, this.#source, {
      isSeen: (key) => this.#seen.has(key),
      isSkipped: (path) => this.#isSkipped(path),
      onDeleted: (key) => this.#rows.removeStored(key),
      onFailed: () => {
        this.#failed += 1;
      },
    });
  }

  #isSkipped(path: string): boolean {
    return this.#skipped.some((one) => one === "" || path === one || path.startsWith(`${one}/`));
  }

  // Uploads that nobody will go on with: of files that are not there any more, not to be stored, or that are short by now.
  async #abandonOthers(): Promise<void> {
    const { journal } = this.#context;
    if (journal === undefined || this.#place === undefined) return;
    for (const upload of journal.allUploads()) {
      const isKept = this.#failedKeys.has(upload.key) || (!this.#complete && !this.#seen.has(upload.key));
      if (!isKept) await abandonUpload(this.#place, journal, upload);
    }
  }

  async #writeManifest(manifest: ManifestWriter): Promise<WrittenManifest> {
    const lost: string[] = [];
    const cuts: string[] = [];
    let count = 0;
    for (const row of this.#rows.allStored()) {
      const isThere = this.#listed === undefined || this.#listed.has(row.key) || row.run === this.#run;
      if (!isThere) {
        lost.push(row.key);
        continue;
      }
      manifest.add(this.#entryOf(row));
      if (++count % PAGE_KEYS === 0) cuts.push(row.key);
    }
    this.#context.journal?.putNote(CUTS_NOTE, JSON.stringify(cuts));
    for (const key of lost) this.#rows.removeStored(key);
    const written = await manifest.finish({ failed: this.#failed });
    this.#rows.flush();
    return written;
  }

  #entryOf(row: StoredRow): ManifestEntry {
    const isSeen = this.#seen.has(row.key);
    const { path, type, size, mtimeNs, mode, uid, gid, eTag, versionId, sha256 } = row;
    const isStale = isSeen ? this.#failedKeys.has(row.key) : this.#isSkipped(path);
    const hardLinkOf = this.#otherNames.get(row.key);
    return {
      path,
      key: row.key.slice(this.#context.address.prefix.length),
      type,
      size,
      mtimeNs,
      mode,
      eTag,
      ...(uid === undefined ? {} : { uid }),
      ...(gid === undefined ? {} : { gid }),
      ...(versionId === undefined ? {} : { versionId }),
      ...(sha256 === "" ? {} : { sha256 }),
      ...(isStale ? { stale: true } : isSeen ? {} : { gone: true }),
      ...(hardLinkOf === undefined ? {} : { hardLinkOf }),
    };
  }
}

// Whether the metadata tells the same as would be stored with the entry.
function isOf(entry: SourceEntry, { metadata }: ObjectState): boolean {
  return Object.entries(metadataOf(entry)).every(([name, value]) => metadata[name] === value);
}

function sha256Of(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

// What is stored of something that is no file.
async function bytesOf(entry: SourceEntry): Promise<Uint8Array> {
  return entry.type === "symlink" ? readLink(entry) : new Uint8Array(0);
}
