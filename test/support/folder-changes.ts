// What a command did to a folder: files, folders and links that it made, changed or removed.
import { lstatSync, readdirSync, readFileSync, readlinkSync, type Stats } from "node:fs";
import path from "node:path";

/** Everything below a folder by its path in it, in order. */
export function namesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
}

/** The state of a folder, to be compared with a later one. */
export function stateOf(folder: string): ReadonlyMap<string, Stats> {
  return new Map(namesIn(folder).map((name) => [name, lstatSync(path.join(folder, name))]));
}

/**
 * One line for each thing that is new, other or gone since then.
 * @param describe what is told of the bytes of a file
 */
export function changesIn(
  folder: string,
  before: ReadonlyMap<string, Stats>,
  describe: (bytes: Buffer) => string,
): string[] {
  const after = stateOf(folder);
  const lines: string[] = [];
  for (const [name, stats] of after) {
    const old = before.get(name);
    if (old !== undefined && isSame(old, stats)) continue;
    const place = path.join(folder, name);
    const owner = stats.uid === process.getuid?.() ? "" : ` of ${stats.uid}:${stats.gid}`;
    const attributes = `${(stats.mode & 0o7777).toString(8)} ${stats.mtime.toISOString()}${owner}`;
    if (stats.isSymbolicLink()) lines.push(`link ${name} -> ${readlinkSync(place)}`);
    else if (stats.isDirectory()) lines.push(`folder ${name} ${attributes}`);
    else
      lines.push(`file ${name} ${describe(readFileSync(place))} ${attributes} ${stats.blocks ?? 0} blocks`);
  }
  for (const name of before.keys()) if (!after.has(name)) lines.push(`gone ${name}`);
  return lines;
}

// What is in a folder has lines of its own.
function isSame(one: Stats, other: Stats): boolean {
  if (one.isDirectory() && other.isDirectory()) return one.mode === other.mode;
  return (["ino", "mode", "size", "mtimeMs"] as const).every((field) => one[field] === other[field]);
}
