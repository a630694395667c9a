// Restores a tree from below a prefix: names from a listing, or from the manifest of a run. A file appears under its name
// when all of it is verified; what fails, fails alone.
import { relative, sep } from "node:path";
import { throwIfAborted } from "../errors.ts";
import type { EntryType } from "./entry.ts";
import { EntryRestore, type RestoreContext, type RestoreOptions, type Wanted } from "./get-entry.ts";
import { SMALL_LENGTH } from "./get-file.ts";
import { listTree } from "./list-tree.ts";
import { safeNameOf } from "./local/safe-name.ts";
import type { TargetTree } from "./local/target-tree.ts";
import type { ManifestEntry } from "./manifest/format.ts";
import { PathSet } from "./path-set.ts";
import type { ItemRecord } from "./report.ts";
import { RunningTasks } from "./running-tasks.ts";

/** How a tree is restored. */
export interface GetOptions extends Omit<RestoreOptions, "target"> {
  /** Opens the folder, which may make it: not before there is something to put into it. */
  readonly openTarget: () => Promise<TargetTree>;
  /** Which paths; all of them if it is left out. */
  readonly selects?: ((path: string, type: EntryType) => boolean) | undefined;
  /** Entries of the run to restore, in place of a listing. */
  readonly entries?: AsyncIterable<ManifestEntry> | undefined;
}

/** What a restore came to. */
export interface GetResult {
  /** Undefined if there was nothing. */
  readonly target: TargetTree | undefined;
  /** The paths that the bucket has, whatever became of them, and the folders that they lie in. */
  readonly paths: PathSet;
  readonly failed: number;
  /** False if there are names that no path is known for: then others may be among `paths` that are not in it. */
  readonly isComplete: boolean;
}

/** Restores what is selected. Each entry is told, and fails alone. */
export async function getTree(context: RestoreContext, options: GetOptions): Promise<GetResult> {
  const { queue, report, signal } = context;
  const names = new NameReader(context, options);
  const tasks = new RunningTasks();
  let restore: EntryRestore | undefined;
  let [entries, bytes] = [0, 0];
  try {
    for await (const { wanted, target } of names.wanted()) {
      restore ??= new EntryRestore(context, { ...options, target });
      entries += 1;
      bytes += wanted.size;
      report.total(entries, bytes, false);
      await queue.ready(wanted.size > SMALL_LENGTH ? "part" : "small");
      tasks.throwIfFailed();
      tasks.start(restore.restore(wanted));
    }
  } finally {
    await tasks.settled();
    // After an abort, jobs may still be at work that nobody waits for.
    if (signal.aborted) await queue.idle();
    const kept = restore?.kept ?? 0;
    if (kept > 0)
      report.warn(
        `what came of ${kept} large ${kept === 1 ? "file" : "files"} is kept: the next run goes on with it`,
      );
  }
  throwIfAborted(signal);
  tasks.throwIfFailed();
  report.total(entries, bytes, true);
  if (names.target !== undefined) await forgetPartials(context, names.target, names.paths);
  const { paths, failed, target } = names;
  return { target, paths, failed: failed + (restore?.failed ?? 0), isComplete: failed === 0 };
}

// What earlier runs left of files that the bucket does not have any more.
async function forgetPartials(
  { journal, dryRun }: RestoreContext,
  target: TargetTree,
  paths: PathSet,
): Promise<void> {
  if (journal === undefined || dryRun) return;
  const root = target.absoluteOf("");
  for (const row of journal.allDownloads()) {
    const path = relative(root, row.target).split(sep).join("/");
    if (safeNameOf(path).kind !== "path" || paths.has(path)) continue;
    await target.removePartial(path).catch(() => {}); // it is in the way of nobody
    journal.endDownload(row.target);
  }
}

/** Which entries there are, and what their paths are. */
class NameReader {
  readonly paths = new PathSet();
  target: TargetTree | undefined;
  /** Names that have no path, or not here. */
  failed = 0;
  readonly #context: RestoreContext;
  readonly #options: GetOptions;

  constructor(context: RestoreContext, options: GetOptions) {
    this.#context = context;
    this.#options = options;
  }

  async *wanted(): AsyncGenerator<{ readonly wanted: Wanted; readonly target: TargetTree }, void, void> {
    const { entries, selects, openTarget } = this.#options;
    for await (const wanted of entries === undefined ? this.#listed() : this.#proven(entries)) {
      const { path, key, type } = wanted;
      addWithFolders(this.paths, path);
      this.target ??= await openTarget();
      if (selects !== undefined && !selects(path, type)) continue;
      try {
        this.target.claim(path);
      } catch (error) {
        this.#fail({ path, key, error });
        continue;
      }
      yield { wanted, target: this.target };
    }
  }

  async *#listed(): AsyncGenerator<Wanted, void, void> {
    const { sdk, client, plain, address, names, signal, dryRun } = this.#context;
    // Sizes of plaintexts take requests of their own, and are seen when the objects are fetched.
    const from = { sdk, client: dryRun ? client : plain, address, signal };
    for await (const { key, name, size } of listTree(from)) {
      if (name === "") continue; // the folder itself
      let wanted: Wanted;
      try {
        const { path, isDirectory } = names.entryOf(name);
        const safe = safeNameOf(isDirectory ? `${path}/` : path);
        if (safe.kind === "refused") throw safe.error;
        wanted = { path, key, type: isDirectory ? "directory" : "file", size, proof: undefined };
      } catch (error) {
        this.#fail({ path: key, key, error, untrusted: true });
        continue;
      }
      yield wanted;
    }
  }

  // What the source did not have any more is not of the run.
  async *#proven(entries: AsyncIterable<ManifestEntry>): AsyncGenerator<Wanted, void, void> {
    const { prefix } = this.#context.address;
    for await (const proof of entries) {
      const { path, type, size, gone } = proof;
      if (gone === true) continue;
      const key = prefix + proof.key;
      const safe = safeNameOf(path);
      if (safe.kind === "path") yield { path, key, type, size, proof };
      else this.#fail({ path, key, error: safe.error, untrusted: true });
    }
  }

  #fail(record: Omit<ItemRecord, "action">): void {
    this.failed += 1;
    this.#context.report.item({ action: "get", ...record });
  }
}

function addWithFolders(paths: PathSet, path: string): void {
  for (let end = path.length; end > 0; end = path.lastIndexOf("/", end - 1))
    if (!paths.add(path.slice(0, end))) return;
}
