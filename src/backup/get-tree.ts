// Restores a tree from below a prefix: names from a listing, or from the manifest of a run. A file appears under its name
// when all of it is verified; what fails, fails alone.
import { throwIfAborted } from "../errors.ts";
import type { EntryType } from "./entry.ts";
import { EntryRestore, type RestoreContext, type RestoreOptions, type Wanted } from "./get-entry.ts";
import { SMALL_LENGTH } from "./get-file.ts";
import { listTree } from "./list-tree.ts";
import { safeNameOf } from "./local/safe-name.ts";
import type { ManifestEntry } from "./manifest/format.ts";
import { PathSet } from "./path-set.ts";
import { RunningTasks } from "./running-tasks.ts";

/** How a tree is restored. */
export interface GetOptions extends RestoreOptions {
  /** Which paths; all of them if it is left out. */
  readonly selects?: ((path: string, type: EntryType) => boolean) | undefined;
  /** Entries of the run to restore, in place of a listing. */
  readonly entries?: AsyncIterable<ManifestEntry> | undefined;
}

/**
 * Restores what is selected. Each entry is told, and fails alone.
 * @returns the paths that the bucket has, whatever became of them, and the folders that they lie in
 */
export async function getTree(context: RestoreContext, options: GetOptions): Promise<PathSet> {
  const { queue, report, signal } = context;
  const restore = new EntryRestore(context, options);
  const paths = new PathSet();
  const tasks = new RunningTasks();
  let [entries, bytes] = [0, 0];
  try {
    for await (const wanted of wantedOf(context, options, paths)) {
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
  }
  throwIfAborted(signal);
  tasks.throwIfFailed();
  report.total(entries, bytes, true);
  return paths;
}

async function* wantedOf(
  context: RestoreContext,
  options: GetOptions,
  paths: PathSet,
): AsyncGenerator<Wanted, void, void> {
  const { report } = context;
  const { entries, selects, target } = options;
  for await (const wanted of entries === undefined ? listed(context) : proven(context, entries)) {
    const { path, key, type } = wanted;
    addWithFolders(paths, path);
    if (selects !== undefined && !selects(path, type)) continue;
    try {
      target.claim(path);
    } catch (error) {
      report.item({ action: "get", path, key, error });
      continue;
    }
    yield wanted;
  }
}

async function* listed(context: RestoreContext): AsyncGenerator<Wanted, void, void> {
  const { sdk, client, address, names, report, signal } = context;
  for await (const { key, name, size } of listTree({ sdk, client, address, signal })) {
    if (name === "") continue; // the folder itself
    let wanted: Wanted;
    try {
      const { path, isDirectory } = names.entryOf(name);
      const safe = safeNameOf(isDirectory ? `${path}/` : path);
      if (safe.kind === "refused") throw safe.error;
      wanted = { path, key, type: isDirectory ? "directory" : "file", size, proof: undefined };
    } catch (error) {
      report.item({ action: "get", path: key, key, error, untrusted: true });
      continue;
    }
    yield wanted;
  }
}

// What the source did not have any more is not of the run.
async function* proven(
  { address, report }: RestoreContext,
  entries: AsyncIterable<ManifestEntry>,
): AsyncGenerator<Wanted, void, void> {
  for await (const proof of entries) {
    const { path, type, size, gone } = proof;
    if (gone === true) continue;
    const key = address.prefix + proof.key;
    const safe = safeNameOf(path);
    if (safe.kind === "path") yield { path, key, type, size, proof };
    else report.item({ action: "get", path, key, error: safe.error, untrusted: true });
  }
}

function addWithFolders(paths: PathSet, path: string): void {
  for (let end = path.length; end > 0; end = path.lastIndexOf("/", end - 1))
    if (!paths.add(path.slice(0, end))) return;
}
