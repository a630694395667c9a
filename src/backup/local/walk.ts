// Walks a tree on disk, entry by entry in the order of the keys: siblings by the bytes of their names, directories as if
// a slash ended their names. In memory are the names of the directories that it stands in, and a few stats.
import type { BigIntStats } from "node:fs";
import { readdir, readlink, realpath } from "node:fs/promises";
import path from "node:path";
import { descriptors, fileError } from "../../disk/calls.ts";
import { FramesealError, throwIfAborted } from "../../errors.ts";
import { errorCode, isError } from "../../shapes.ts";
import { untilAborted } from "../../until-aborted.ts";
import { RESERVED_FOLDER } from "../entry.ts";
import { insideOf, openFolder, underName } from "./anchored.ts";
import type { Filters } from "./filters.ts";
import { lookAt } from "./look.ts";
import { shownBytes, textOf } from "./name-bytes.ts";
import type { NamedPaths, NamedRange } from "./named-paths.ts";
import { isPartialName } from "./partial-name.ts";
import type { SkipReason, WalkEvent, WalkedEntry } from "./walk-event.ts";

/** What becomes of symbolic links: left out, kept as links, or replaced by what they lead to. */
export type LinkPolicy = "skip" | "keep" | "follow";

/** What a walk takes. */
export interface WalkOptions {
  /** An existing folder; of a link to one, what it leads to. */
  readonly root: string;
  readonly filters?: Filters | undefined;
  /** By default `skip`. */
  readonly links?: LinkPolicy | undefined;
  /** Leave out what is on other file systems than the root. */
  readonly oneFileSystem?: boolean | undefined;
  /** Only these, and what is below them, as far as filters let them in. */
  readonly named?: NamedPaths | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** How many names are looked at together. */
const BATCH_LENGTH = 256;
/** How many directories are read before their turn, of one folder and of all that the walk stands in. */
const MAX_READ_AHEAD = 8;
const MAX_READ_AHEAD_IN_ALL = 64;
/** Holes that are worth a note. */
const MIN_HOLES = 2 ** 20;
/** How many files with several names are remembered at most. */
const MAX_REMEMBERED_FILES = 100_000;

/** A name in a folder, and what it stands for. */
interface Found {
  /** Bytes, as a Latin-1 string. */
  readonly raw: string;
  readonly path: string;
  readonly absolute: string;
  readonly stats: BigIntStats | undefined;
  readonly error?: unknown;
  readonly target?: Buffer | undefined;
  /** Where a list names only some of what is below. */
  readonly below: NamedRange | undefined;
  /** A link that is to be followed, and cannot be. */
  readonly isBroken?: true;
}

/** A folder that the walk stands in. */
interface Folder {
  /** Empty for the root, or ends with a slash. */
  readonly prefix: string;
  readonly absolute: string;
  readonly device: bigint;
  readonly inode: bigint;
  /** Sorted. */
  readonly names: readonly string[];
  /** For each name, what a list names below it. */
  readonly below: ReadonlyMap<string, NamedRange | undefined> | undefined;
  /** Names that were looked at. */
  at: number;
  /** Found, and not dealt with. */
  batch: Found[];
  /** Directories whose turn has not come: that of `a` comes behind `a.txt`. The next is the last. */
  readonly waiting: Found[];
}

/**
 * Walks the tree.
 * @throws Error with the system's code if the root is missing, no folder or unreadable; FramesealError ABORTED
 */
export async function* walk(options: WalkOptions): AsyncGenerator<WalkEvent, void, void> {
  throwIfAborted(options.signal);
  yield* new Walk(options).events();
}

class Walk {
  readonly #options: WalkOptions;
  readonly #folders: Folder[] = [];
  /** First names of files that have others, and how many of those are to come. */
  readonly #linked = new Map<string, { readonly path: string; left: number }>();
  readonly #ahead = new Map<Found, Promise<Folder>>();
  #rootDevice = 0n;

  constructor(options: WalkOptions) {
    this.#options = options;
  }

  async *events(): AsyncGenerator<WalkEvent, void, void> {
    const { root, named } = this.#options;
    const absolute = await this.#until(realpath(root));
    const top = await this.#read(
      { prefix: "", absolute },
      undefined,
      named?.isEverything ? undefined : named?.all,
    );
    this.#rootDevice = top.device;
    this.#folders.push(top);
    for (let folder = this.#folders.at(-1); folder !== undefined; folder = this.#folders.at(-1)) {
      const next = await this.#next(folder);
      if (next === undefined) this.#folders.pop();
      else if (next.stats?.isDirectory() === true) yield* this.#enter(next);
      else yield* this.#tell(next);
    }
  }

  #until<Result>(work: Promise<Result>): Promise<Result> {
    return untilAborted(work, this.#options.signal);
  }

  /** Reads the names of a folder, and looks at the first of them. */
  async #read(
    where: Pick<Folder, "prefix" | "absolute">,
    stats: BigIntStats | undefined,
    range: NamedRange | undefined,
  ): Promise<Folder> {
    const { named } = this.#options;
    const descriptor = await this.#open(where.absolute);
    try {
      const { dev: device, ino: inode } =
        stats ?? (await this.#until(descriptors.stat(descriptor, { bigint: true })));
      let names: string[];
      let below: Map<string, NamedRange | undefined> | undefined;
      if (range === undefined || named === undefined) {
        names = await this.#until(readdir(insideOf(descriptor, where.absolute), { encoding: "latin1" }));
        names.sort(byBytes);
      } else {
        below = new Map(Array.from(named.namesOf(range), (each) => [each.name, each.below]));
        names = [...below.keys()];
      }
      const folder: Folder = { ...where, device, inode, names, below, at: 0, batch: [], waiting: [] };
      await this.#look(folder, descriptor);
      return folder;
    } finally {
      close(descriptor);
    }
  }

  #open(absolute: string): Promise<number> {
    return openFolder(absolute, this.#options.signal);
  }

  /** Begins to read the next directories of a folder, so that they are there when their turn comes. */
  #readAhead(folder: Folder): void {
    const next = folder.batch.slice(0, MAX_READ_AHEAD).filter((each) => this.#isToRead(each));
    for (const found of next) {
      if (this.#ahead.size >= MAX_READ_AHEAD_IN_ALL || this.#ahead.has(found)) continue;
      const reading = this.#readFound(found);
      reading.catch(() => {}); // told when its turn comes
      this.#ahead.set(found, reading);
    }
  }

  #isToRead(found: Found): boolean {
    const { stats } = found;
    if (stats?.isDirectory() !== true || this.#faultOf(found) !== undefined) return false;
    return this.#options.oneFileSystem !== true || stats.dev === this.#rootDevice;
  }

  #readFound(found: Found): Promise<Folder> {
    return this.#read({ prefix: `${found.path}/`, absolute: found.absolute }, found.stats, found.below);
  }

  /** What comes next in a folder, in the order of keys. */
  async #next(folder: Folder): Promise<Found | undefined> {
    for (;;) {
      if (folder.batch.length === 0 && folder.at < folder.names.length) {
        await this.#lookAgain(folder);
        continue;
      }
      const [found] = folder.batch;
      const waiting = folder.waiting.at(-1);
      if (waiting !== undefined && (found === undefined || `${waiting.raw}/` < found.raw))
        return folder.waiting.pop();
      if (found === undefined) return undefined;
      if (found.stats?.isDirectory() === true) {
        this.#readAhead(folder);
        folder.waiting.push(found);
      }
      folder.batch.shift();
      if (found.stats?.isDirectory() !== true) return found;
    }
  }

  async #lookAgain(folder: Folder): Promise<void> {
    throwIfAborted(this.#options.signal);
    let descriptor: number;
    try {
      descriptor = await this.#open(folder.absolute);
    } catch (error) {
      throwIfAborted(this.#options.signal);
      folder.batch = nextNames(folder).map((raw) => this.#found(folder, raw, undefined, error));
      return;
    }
    await this.#look(folder, descriptor).finally(() => close(descriptor));
  }

  /** Looks at the next names of a folder. What filters exclude is not heard of again. */
  async #look(folder: Folder, descriptor: number): Promise<void> {
    const names = nextNames(folder);
    const base = insideOf(descriptor, folder.absolute);
    const paths = names.map((raw) => pathIn(base, raw));
    const looked = await this.#until(lookAt(paths));
    for (const [at, raw] of names.entries()) {
      const stats = looked[at];
      const isFault = isError(stats);
      let found = this.#found(folder, raw, isFault ? undefined : stats, isFault ? stats : undefined);
      if (found.stats?.isSymbolicLink() === true)
        found = await this.#until(this.#linkAt(found, paths[at] ?? ""));
      if (!this.#isExcluded(found)) folder.batch.push(found);
    }
  }

  #found(folder: Folder, raw: string, stats: BigIntStats | undefined, error: unknown): Found {
    const name = textOf(raw);
    const path = folder.prefix + (name ?? shownBytes(raw));
    const absolute = folder.absolute + (folder.absolute.endsWith(SEPARATOR) ? "" : SEPARATOR) + (name ?? raw);
    return { raw, path, absolute, stats, below: folder.below?.get(raw), error: underName(error, absolute) };
  }

  /** What a link counts as. */
  async #linkAt(found: Found, at: string | Buffer): Promise<Found> {
    const { links = "skip" } = this.#options;
    if (links === "skip") return found;
    try {
      if (links === "keep") return { ...found, target: await readlink(at, { encoding: "buffer" }) };
      const absolute = await realpath(found.absolute);
      const [stats] = await lookAt([absolute]);
      if (isError(stats)) throw stats;
      return { ...found, absolute, stats };
    } catch (error) {
      return { ...found, stats: undefined, error: underName(error, found.absolute), isBroken: true };
    }
  }

  #isExcluded(found: Found): boolean {
    const kind = found.stats?.isDirectory() === true ? "directory" : "other";
    return this.#options.filters?.excludesWithin(found.path, kind) === true;
  }

  async *#enter(found: Found): AsyncGenerator<WalkEvent, void, void> {
    const fault = this.#faultOf(found);
    if (fault !== undefined) {
      yield fault;
      return;
    }
    const stats = found.stats as BigIntStats;
    if (this.#folders.some((each) => each.device === stats.dev && each.inode === stats.ino)) {
      yield skipped(found, "loop", "leads to a folder that it lies in");
      return;
    }
    if (this.#options.oneFileSystem === true && stats.dev !== this.#rootDevice) {
      // The folder itself is of this tree, so that something can be mounted there again.
      yield skipped(found, "mount-point", "is on another file system");
      yield { kind: "entry", entry: entryOf(found, stats, "directory") };
      return;
    }
    let folder: Folder;
    try {
      const reading = this.#ahead.get(found) ?? this.#readFound(found);
      this.#ahead.delete(found);
      folder = await reading;
    } catch (error) {
      throwIfAborted(this.#options.signal);
      if (errorCode(error) === "ENOENT") yield skipped(found, "vanished", "was removed meanwhile");
      else yield failed(found, underName(error, found.absolute), "incomplete");
      return;
    }
    if (folder.names.length === 0) yield { kind: "entry", entry: entryOf(found, stats, "directory") };
    else this.#folders.push(folder);
  }

  *#tell(found: Found): Generator<WalkEvent, void, void> {
    const { stats, error } = found;
    if (stats === undefined) {
      const isNamed = this.#folders.at(-1)?.below !== undefined;
      const isGone = errorCode(error) === "ENOENT" && !isNamed && found.isBroken !== true;
      if (isGone) yield skipped(found, "vanished", "was removed meanwhile");
      else yield* this.#failedWithBelow(found, error, "incomplete");
      return;
    }
    const fault = this.#faultOf(found);
    if (fault !== undefined) {
      yield fault;
      return;
    }
    if (found.below !== undefined) {
      const text = stats.isSymbolicLink() ? "is a symbolic link" : "is no folder";
      yield* this.#failedWithBelow(found, fileError("ENOTDIR", "lstat", found.absolute, text), "complete");
    } else if (stats.isSymbolicLink()) {
      if (found.target === undefined) yield skipped(found, "symlink", "is a symbolic link: left out");
      else yield { kind: "entry", entry: entryOf(found, stats, "symlink") };
    } else if (!stats.isFile()) {
      yield skipped(found, "special", `is ${kindOf(stats)}`);
    } else if (this.#options.oneFileSystem === true && stats.dev !== this.#rootDevice) {
      yield skipped(found, "mount-point", "is on another file system");
    } else {
      const entry = entryOf(found, stats, "file");
      yield* this.#notesOf(entry);
      yield { kind: "entry", entry };
    }
  }

  /** A failed item for what a list names: below a name that leads nowhere, all of that. */
  *#failedWithBelow(
    found: Found,
    error: unknown,
    rest: "complete" | "incomplete",
  ): Generator<WalkEvent, void, void> {
    if (found.below === undefined) yield failed(found, error, rest);
    else
      for (const raw of this.#options.named?.pathsOf(found.below) ?? [])
        yield failed({ ...found, path: textOf(raw) ?? shownBytes(raw) }, error, rest);
  }

  *#notesOf(entry: WalkedEntry): Generator<WalkEvent, void, void> {
    const { path } = entry;
    if (entry.links > 1) {
      const first = this.#firstNameOf(entry);
      const text = `is another name of ${first}: both are stored`;
      if (first !== undefined) yield { kind: "note", path, reason: "hard-link", text };
    }
    if (entry.size - entry.allocated >= MIN_HOLES) {
      const text = `takes ${entry.allocated} bytes on disk: its holes are stored as zeros`;
      yield { kind: "note", path, reason: "sparse", text };
    }
  }

  #firstNameOf({ path, device, inode, links }: WalkedEntry): string | undefined {
    const id = `${device}:${inode}`;
    const first = this.#linked.get(id);
    if (first === undefined) {
      if (this.#linked.size < MAX_REMEMBERED_FILES) this.#linked.set(id, { path, left: links - 1 });
      return undefined;
    }
    first.left--;
    if (first.left <= 0) this.#linked.delete(id);
    return first.path;
  }

  /** What keeps a name out of a tree. */
  #faultOf(found: Found): WalkEvent | undefined {
    if (isPartialName(found.raw)) return skipped(found, "partial", "was left by a download");
    if (textOf(found.raw) === undefined)
      return failed(found, new FramesealError("UNSUPPORTED", "the name is no UTF-8"), "complete");
    if (`${found.path}/` === RESERVED_FOLDER)
      return failed(found, new FramesealError("UNSUPPORTED", "this name is kept for manifests"), "complete");
    return undefined;
  }
}

function entryOf(found: Found, stats: BigIntStats, type: WalkedEntry["type"]): WalkedEntry {
  const isFile = type === "file";
  return {
    path: found.path,
    type,
    size: isFile ? Number(stats.size) : (found.target?.length ?? 0),
    mtimeNs: stats.mtimeNs,
    mode: Number(stats.mode & 0o7777n),
    uid: Number(stats.uid),
    gid: Number(stats.gid),
    absolute: found.absolute,
    ctimeNs: stats.ctimeNs,
    inode: stats.ino,
    device: stats.dev,
    links: Number(stats.nlink),
    allocated: isFile ? Number(stats.blocks * 512n) : 0,
    target: found.target,
  };
}

function skipped({ path }: Found, reason: SkipReason, text: string): WalkEvent {
  return { kind: "skipped", path, reason, text };
}

function failed({ path }: Found, error: unknown, rest: "complete" | "incomplete"): WalkEvent {
  return { kind: "failed", path, error, incomplete: rest === "incomplete" };
}

function kindOf(stats: BigIntStats): string {
  if (stats.isFIFO()) return "a FIFO";
  return stats.isSocket() ? "a socket" : "a device";
}

const SEPARATOR = path.sep;

function pathIn(base: string, raw: string): string | Buffer {
  const name = textOf(raw);
  const start = base.endsWith(SEPARATOR) ? base : base + SEPARATOR;
  return name === undefined ? Buffer.concat([Buffer.from(start), Buffer.from(raw, "latin1")]) : start + name;
}

function nextNames(folder: Folder): readonly string[] {
  const names = folder.names.slice(folder.at, folder.at + BATCH_LENGTH);
  folder.at += names.length;
  return names;
}

function close(descriptor: number): void {
  void descriptors.close(descriptor).catch(() => {});
}

function byBytes(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
