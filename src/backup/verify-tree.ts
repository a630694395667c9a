// Whether a tree in a bucket is what it should be: every object below the prefix opens, or, with a manifest, is exactly
// what the manifest names, and nothing is missing or was added. Writes nothing.
import { createHash } from "node:crypto";
import type { Readable } from "node:stream";
import type * as S3 from "@aws-sdk/client-s3";
import { FramesealError, hasCode, messageOf } from "../errors.ts";
import { sameETag } from "../s3/etag.ts";
import { giveUp } from "../s3/resuming-source.ts";
import { statusOf } from "../s3/transient-error.ts";
import { compareKeys } from "./key-order.ts";
import { listTree } from "./list-tree.ts";
import { hintsOf } from "./local/attributes.ts";
import { checkChain } from "./manifest/chain.ts";
import { invalid, type ManifestEntry } from "./manifest/format.ts";
import { type ManifestPlace, newestRun, rememberedRun, rememberRun } from "./manifest/place.ts";
import { type ManifestEnd, type OpenManifest, openManifest } from "./manifest/reader.ts";
import type { KeyNames } from "./names/key-names.ts";
import type { ItemRecord } from "./report.ts";
import { RunningTasks } from "./running-tasks.ts";
import { chooser, type Sample } from "./sample.ts";
import { SortedLines } from "./sorted-lines.ts";
import type { Cost, TransferQueue } from "./transfer/queue.ts";
import { isUntrusted } from "./untrusted.ts";

/** What verifying needs of the context of an operation. */
export interface VerifyContext extends ManifestPlace {
  /** Encrypting; may hand on objects of one message before their tag is compared, since nothing is shown of them. */
  readonly client: S3.S3Client;
  /** The same, demanding what symbolic links are sealed with. */
  readonly links: S3.S3Client;
  readonly names: KeyNames;
  readonly queue: TransferQueue;
}

export interface VerifyOptions {
  /** The manifest that decides; without one every object has to be authentic by itself. */
  readonly manifest?: number | "latest" | undefined;
  /** What is read; by default all. What there is, is compared whole in any case. */
  readonly sample?: Sample | undefined;
  /** What names the instruction file of an object, which is no entry; by default `.instruction`. */
  readonly instructionFileSuffix?: string | undefined;
}

/** Tells the report of every object, and of manifests where they count. @returns how many objects there are */
export async function verifyTree(context: VerifyContext, options: VerifyOptions = {}): Promise<number> {
  const { sample } = options;
  if (sample !== undefined) context.report.fact("sample", { seed: sample.seed, ...sample.size });
  const listing = await Listing.of(context);
  try {
    const isChosen = sample === undefined ? () => true : chooser(sample, listing.count);
    const check = new TreeCheck(context, isChosen, options.instructionFileSuffix ?? ".instruction");
    if (options.manifest === undefined) await check.alone(listing);
    else
      await againstManifest(context, check, listing, options.manifest, sample === undefined ? "all" : "last");
    return listing.count;
  } finally {
    listing.close();
  }
}

async function againstManifest(
  context: VerifyContext,
  check: TreeCheck,
  listing: Listing,
  which: number | "latest",
  read: "all" | "last",
): Promise<void> {
  const newest = (await newestRun(context))?.run;
  const manifest = await openManifest(context, which === "latest" ? (newest ?? which) : which);
  try {
    const { run, key, eTag, header } = manifest;
    const isNewest = run === newest;
    const { sha256, summary } = await check.against(listing, manifest, isNewest ? "newest" : "older");
    const known = rememberedRun(context);
    await checkChain(context, { run, previous: header.previous, sha256, read });
    const { previous, started, ended } = header;
    context.report.fact("manifest", { run, key, sha256, eTag, started, ended, previous, ...summary });
    // What was seen once is missed when it is gone.
    if (isNewest && (known?.run ?? 0) < run) rememberRun(context, { run, sha256, eTag });
  } finally {
    manifest.close();
  }
}

/** An object as the bucket lists it. */
interface Listed {
  /** Below the prefix. */
  readonly key: string;
  readonly eTag: string;
  readonly storedSize: number;
}

/** All that is below the prefix, but what is reserved, in the order of the bytes of the keys, however the server lists it. */
class Listing {
  readonly #lines = new SortedLines();
  count = 0;
  storedSize = 0;

  static async of(context: VerifyContext): Promise<Listing> {
    const listing = new Listing();
    const { sdk, plain: client, address, signal } = context;
    try {
      for await (const { name, eTag = "", size } of listTree({ sdk, client, address, signal })) {
        // The prefix itself is a folder that some tools make an object of, and no entry.
        if (name === "" && size === 0) continue;
        listing.#lines.add(name, JSON.stringify([eTag, size]));
        listing.count += 1;
        listing.storedSize += size;
        context.report.total(listing.count, listing.storedSize, false);
      }
      context.report.total(listing.count, listing.storedSize, true);
      return listing;
    } catch (error) {
      listing.close();
      throw error;
    }
  }

  *objects(): Generator<Listed, undefined, void> {
    for (const { key, text } of this.#lines.lines()) {
      const [eTag, storedSize] = JSON.parse(text) as [string, number];
      yield { key, eTag, storedSize };
    }
  }

  close(): void {
    this.#lines.close();
  }
}

/** What was read of an object. */
interface Read {
  readonly size: number;
  readonly sha256: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly eTag: string | undefined;
  readonly versionId: string | undefined;
}

/** Objects of this many stored bytes and more are read in streams that hold no more than that. */
const PART_LENGTH = 4 * 2 ** 20;
/** What a request takes besides. */
const REQUEST_MEMORY = 2 ** 16;

class TreeCheck {
  readonly #context: VerifyContext;
  readonly #isChosen: (key: string) => boolean;
  readonly #sideSuffix: string;
  readonly #tasks = new RunningTasks();

  constructor(context: VerifyContext, isChosen: (key: string) => boolean, sideSuffix: string) {
    this.#context = context;
    this.#isChosen = isChosen;
    this.#sideSuffix = sideSuffix;
  }

  /** Every object by itself. */
  async alone(listing: Listing): Promise<void> {
    await this.#all(async () => {
      for (const listed of listing.objects())
        if (this.#isChosen(listed.key)) await this.#start(listed, () => this.#authentic(listed));
        else this.#context.report.item({ ...recordOf(listed), action: "skip", reason: "not in the sample" });
    });
  }

  /** Every object and every entry of the manifest, side by side. */
  async against(listing: Listing, manifest: OpenManifest, age: "newest" | "older"): Promise<ManifestEnd> {
    let end: ManifestEnd | undefined;
    await this.#all(async () => {
      const objects = listing.objects();
      const entries = manifest.entries();
      let [object, entry] = [objects.next(), await entries.next()];
      while (object.done !== true || entry.done !== true) {
        const order = orderOf(object, entry);
        if (order < 0 && object.value !== undefined) await this.#added(object.value, manifest.run, age);
        else if (entry.done !== true)
          await this.#entry(entry.value, order === 0 ? object.value : undefined, age);
        if (order <= 0) object = objects.next();
        if (order >= 0) entry = await entries.next();
      }
      end = entry.value;
    });
    if (end === undefined) throw new Error("internal error: a manifest without end");
    return end;
  }

  // What was started ends before this does, also when it fails.
  async #all(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } finally {
      await this.#tasks.settled();
    }
    this.#tasks.throwIfFailed();
  }

  // Starts looking at one object. What `look` returns is told of it.
  async #start(listed: Listed, look: () => Promise<ItemRecord>): Promise<void> {
    const { queue, report, signal } = this.#context;
    await queue.ready(costOf(listed).kind);
    this.#tasks.throwIfFailed();
    this.#tasks.start(
      look().then(
        (item) => report.item(item),
        (error: unknown) => {
          if (signal.aborted) throw error;
          report.item({ ...recordOf(listed), error, untrusted: isUntrusted(error) });
        },
      ),
    );
  }

  async #authentic(listed: Listed): Promise<ItemRecord> {
    const { path, isDirectory } = this.#context.names.entryOf(listed.key);
    const item = { ...recordOf(listed), path };
    return this.#told(item, async () => {
      const read = await this.#read(listed, path, this.#context.client).catch((error: unknown) =>
        this.#besideOther(listed, error),
      );
      if (read === "side object") return { ...item, action: "skip", reason: "instruction file" };
      const isLink = hintsOf(read.metadata).isSymlink;
      if (isDirectory && read.size > 0) throw invalid("it is named as a directory, and is not empty");
      if (isLink) await this.#read(listed, path, this.#context.links);
      return { ...told(item, read), type: isDirectory ? "directory" : isLink ? "symlink" : "file" };
    });
  }

  async #entry(entry: ManifestEntry, listed: Listed | undefined, age: "newest" | "older"): Promise<void> {
    const { report } = this.#context;
    const known = { key: entry.key, eTag: entry.eTag, storedSize: entry.size };
    const item = { ...recordOf(listed ?? known), path: entry.path, type: entry.type, size: entry.size };
    const isChosen = listed !== undefined && this.#isChosen(listed.key);
    // Another ETag may be the same plaintext, encrypted again: only reading tells.
    if (listed !== undefined && !isChosen && sameETag(listed.eTag, entry.eTag))
      report.item({ ...item, action: "skip", reason: "not in the sample" });
    else
      await this.#start(listed ?? known, () =>
        this.#told(item, () => this.#compared(entry, listed, item, age)),
      );
  }

  async #compared(
    entry: ManifestEntry,
    listed: Listed | undefined,
    item: ItemRecord,
    age: "newest" | "older",
  ): Promise<ItemRecord> {
    try {
      if (listed === undefined) throw invalid("it is missing");
      const read = await this.#read(listed, entry.path, this.#clientOf(entry));
      compare(entry, read);
      return told(item, read);
    } catch (error) {
      const fault = statusOf(error) === 404 ? invalid("it is missing", error) : error;
      if (!isUntrusted(fault) || entry.versionId === undefined) throw fault;
      const kept = await this.#hasVersion(entry, entry.versionId);
      if (kept && age === "older") {
        this.#context.report.warn(
          `it was replaced since; version ${entry.versionId} is that of the run`,
          entry.path,
        );
        return { ...item, versionId: entry.versionId, reason: "replaced since" };
      }
      throw withVersion(
        fault,
        entry.versionId,
        kept ? "is still there" : "is not there, or not authentic, either",
      );
    }
  }

  async #hasVersion(entry: ManifestEntry, VersionId: string): Promise<boolean> {
    const known = { key: entry.key, eTag: entry.eTag, storedSize: entry.size };
    try {
      compare(entry, await this.#read(known, entry.path, this.#clientOf(entry), VersionId));
      return true;
    } catch (error) {
      const status = statusOf(error);
      // The server has no such version, or has none at all.
      if (isUntrusted(error) || status === 404 || status === 400 || status === 405) return false;
      throw error;
    }
  }

  async #added(listed: Listed, run: number, age: "newest" | "older"): Promise<void> {
    this.#isChosen(listed.key); // it counts as one of those that are asked about
    const item = recordOf(listed);
    if (age === "older") {
      this.#context.report.item({ ...item, action: "skip", reason: `not in the manifest of run ${run}` });
      return;
    }
    await this.#start(listed, () =>
      this.#told(item, async () => {
        const kind = await this.#kindOf(listed);
        if (kind === "side object") return { ...item, action: "skip", reason: "instruction file" };
        throw invalid(`it is in no entry of manifest ${run}: ${kind}`);
      }),
    );
  }

  // Opens an object that should not be there, without reading it.
  async #kindOf(listed: Listed): Promise<string> {
    const { client, queue, address, sdk } = this.#context;
    try {
      await queue.run({ memory: REQUEST_MEMORY, kind: "small" }, async (abortSignal) => {
        const request = { Bucket: address.bucket, Key: address.prefix + listed.key };
        const { Body } = await client.send(new sdk.GetObjectCommand(request), { abortSignal });
        giveUp(Body as Readable);
      });
      return "it was added, by somebody who has the key, or is of an earlier run";
    } catch (error) {
      if (statusOf(error) === 404) return "it was removed meanwhile";
      if (!isUntrusted(error)) throw error;
      return this.#besideOther(listed, error).catch(() => messageOf(error));
    }
  }

  // What lies beside an object under its name is read with it, and is not encrypted itself.
  async #besideOther({ key }: Listed, error: unknown): Promise<"side object"> {
    const other = key.slice(0, -this.#sideSuffix.length);
    if (!hasCode(error, "NOT_ENCRYPTED") || other === "" || other + this.#sideSuffix !== key) throw error;
    const { address, plain, queue, sdk } = this.#context;
    const request = { Bucket: address.bucket, Key: address.prefix + other };
    try {
      await queue.run({ memory: REQUEST_MEMORY, kind: "small" }, (abortSignal) =>
        plain.send(new sdk.HeadObjectCommand(request), { abortSignal }),
      );
    } catch {
      throw error; // it lies beside nothing
    }
    return "side object";
  }

  #clientOf({ type }: ManifestEntry): S3.S3Client {
    return type === "symlink" ? this.#context.links : this.#context.client;
  }

  // What fails is told of the entry by its own path.
  async #told(item: ItemRecord, look: () => Promise<ItemRecord>): Promise<ItemRecord> {
    try {
      return await look();
    } catch (error) {
      if (this.#context.signal.aborted) throw error;
      return { ...item, error, untrusted: isUntrusted(error) };
    }
  }

  /** Reads an object to its end. */
  #read(listed: Listed, path: string, client: S3.S3Client, VersionId?: string): Promise<Read> {
    const { address, queue, report, sdk } = this.#context;
    const request = { Bucket: address.bucket, Key: address.prefix + listed.key, VersionId };
    return queue.run(costOf(listed), async (abortSignal) => {
      const output = await client.send(new sdk.GetObjectCommand(request), { abortSignal });
      const hash = createHash("sha256");
      let size = 0;
      try {
        for await (const chunk of output.Body as AsyncIterable<Uint8Array>) {
          hash.update(chunk);
          size += chunk.length;
          report.moved(path, chunk.length);
        }
      } catch (error) {
        report.moved(path, -size);
        throw error;
      }
      const { Metadata = {}, ETag, VersionId: versionId } = output;
      return { size, sha256: hash.digest("hex"), metadata: Metadata, eTag: ETag, versionId };
    });
  }
}

// Below zero for an object that is in no entry, above for an entry whose object is missing.
function orderOf(
  object: IteratorResult<Listed, undefined>,
  entry: IteratorResult<ManifestEntry, ManifestEnd>,
): number {
  if (object.done === true) return 1;
  return entry.done === true ? -1 : compareKeys(object.value.key, entry.value.key);
}

function costOf({ storedSize }: Listed): Cost {
  const isSmall = storedSize < PART_LENGTH;
  return {
    memory: 2 * Math.min(storedSize, PART_LENGTH) + REQUEST_MEMORY,
    kind: isSmall ? "small" : "part",
  };
}

function recordOf({ key, eTag }: Listed): ItemRecord {
  return { action: "verify", path: key, key, eTag };
}

function told(item: ItemRecord, { size, eTag, versionId }: Read): ItemRecord {
  return { ...item, size, eTag, versionId };
}

/** @throws FramesealError INVALID_MANIFEST when what was read is not what the entry says */
function compare(entry: ManifestEntry, read: Read): void {
  if (read.size !== entry.size)
    throw invalid(`it is another version: authentic, but of ${read.size} bytes instead of ${entry.size}`);
  if (entry.sha256 === undefined ? !sameETag(read.eTag, entry.eTag) : read.sha256 !== entry.sha256)
    throw invalid("it is another version: authentic, but not what the run has stored");
  const hints = hintsOf(read.metadata);
  const changed = (["mtimeNs", "mode", "uid", "gid"] as const).filter((name) => hints[name] !== entry[name]);
  const names: string[] = changed.map((name) => (name === "mtimeNs" ? "mtime" : name));
  if (hints.isSymlink !== (entry.type === "symlink")) names.push("type");
  if (names.length > 0) throw invalid(`its metadata was changed: ${names.join(", ")}`);
}

function withVersion(error: FramesealError | unknown, versionId: string, what: string): unknown {
  const code = hasCode(error, "INVALID_MANIFEST") ? "INVALID_MANIFEST" : (error as FramesealError).code;
  return new FramesealError(
    code,
    `${messageOf(error)}; version ${versionId}, which the run has stored, ${what}`,
    {
      cause: error,
    },
  );
}
