// Temporary files beside their targets, and the removal of those that killed processes left. A temporary file is locked
// for as long as its process works on it, and is removed only by who gets that lock: what cannot be locked, or may be
// locked where we do not see it, has another name and is never removed.
import { randomBytes } from "node:crypto";
import { type BigIntStats, constants } from "node:fs";
import { lstat, readdir, rename, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { errorCode } from "../shapes.ts";
import { descriptors, fileError, openAtOnce } from "./calls.ts";
import { canLock, lockFile } from "./file-lock.ts";

/** A temporary file that is open for writing. */
export interface TemporaryFile {
  readonly path: string;
  readonly descriptor: number;
  readonly stats: BigIntStats;
  /** Whether the lock tells others that it is in use; it ends when the descriptor is closed. */
  readonly locked: boolean;
}

/** Others may look at a file before it is locked, and remove it: how often that may happen. */
const ATTEMPTS = 20;

/**
 * Makes a temporary file for `target` in its folder, with mode 0600, and removes those that nobody uses any more.
 * @throws Error with the system's code
 */
export async function createTemporary(target: string): Promise<TemporaryFile> {
  await removeLeftovers(dirname(target), basename(target));
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const made = await tryToCreate(target);
    if (made !== undefined) return made;
  }
  throw fileError("EBUSY", "open", target, "was not changed: somebody removes its temporary files");
}

async function tryToCreate(target: string): Promise<TemporaryFile | undefined> {
  const name = join(dirname(target), temporaryPrefix(basename(target)) + randomBytes(4).toString("hex"));
  const path = canLock() ? name : name + KEPT;
  const { O_CREAT, O_EXCL, O_WRONLY, O_NOFOLLOW = 0 } = constants;
  let descriptor: number;
  try {
    descriptor = await descriptors.open(path, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0o600);
  } catch (error) {
    if (errorCode(error) === "EEXIST") return undefined;
    throw forTarget(error, path, target);
  }
  let current = path;
  try {
    const stats = await descriptors.stat(descriptor, { bigint: true });
    if (!canLock()) return { path, descriptor, stats, locked: false };
    const lock = lockFile(descriptor);
    if (lock === "held" && (await leadsTo(path, stats))) return { path, descriptor, stats, locked: true };
    if (lock === "unknown") {
      await rename(path, path + KEPT); // fails if it was removed in the meantime
      current = path + KEPT;
      return { path: current, descriptor, stats, locked: false };
    }
  } catch (error) {
    if (errorCode(error) !== "ENOENT") {
      await abandon(descriptor, current);
      throw forTarget(error, path, target);
    }
  }
  await abandon(descriptor, current);
  return undefined;
}

// The failure that led here is the one to report, if any.
async function abandon(descriptor: number, path: string): Promise<void> {
  await unlink(path).catch(() => {});
  await descriptors.close(descriptor).catch(() => {});
}

// Nobody asked for the temporary name.
function forTarget(error: unknown, path: string, target: string): unknown {
  const { code, syscall = "open", message } = error as NodeJS.ErrnoException;
  if (code === undefined) return error;
  const told = Object.assign(new Error(message.replaceAll(path, target), { cause: error }), {
    code,
    syscall,
  });
  return Object.assign(told, { path: target, errno: (error as NodeJS.ErrnoException).errno });
}

/** Whether `path` is the file with `stats`. */
export async function leadsTo(path: string, stats: BigIntStats): Promise<boolean> {
  const now = await lstat(path, { bigint: true }).catch(() => undefined);
  return now?.dev === stats.dev && now.ino === stats.ino;
}

/** At the end of names of files that could not be locked. */
const KEPT = ".keep";
const SUFFIX_PATTERN = /^[0-9a-f]{8}$/;
/** File systems take names of up to 255 bytes. */
const MAX_KEPT_NAME_LENGTH = 200;

function temporaryPrefix(name: string): string {
  const bytes = Buffer.from(name, "utf8");
  const kept = bytes.length <= MAX_KEPT_NAME_LENGTH ? name : bytes.toString("utf8", 0, MAX_KEPT_NAME_LENGTH);
  return `.${kept.replaceAll("\ufffd", "")}.tmp-`;
}

// A folder is listed once: what lies there later was left by others.
const leftovers = new Map<string, Set<string>>();
const MAX_REMEMBERED_FOLDERS = 64;

async function removeLeftovers(folder: string, name: string): Promise<void> {
  if (!canLock()) return;
  let names = leftovers.get(folder);
  if (names === undefined) {
    if (leftovers.size >= MAX_REMEMBERED_FOLDERS) leftovers.clear();
    const entries = await readdir(folder).catch(() => []);
    names = new Set(entries.filter((entry) => /^\..*\.tmp-[0-9a-f]{8}$/.test(entry)));
    leftovers.set(folder, names);
  }
  const prefix = temporaryPrefix(name);
  for (const entry of names) {
    if (!entry.startsWith(prefix) || !SUFFIX_PATTERN.test(entry.slice(prefix.length))) continue;
    names.delete(entry);
    await removeIfAbandoned(join(folder, entry)).catch(() => {}); // in the way of nobody
  }
}

// Who makes a file looks, once it is locked, whether it still has its name: so it may be removed before that, too.
async function removeIfAbandoned(path: string): Promise<void> {
  const { O_RDONLY, O_NOFOLLOW = 0 } = constants;
  const descriptor = await openAtOnce(path, O_RDONLY | O_NOFOLLOW, undefined);
  try {
    const stats = await descriptors.stat(descriptor, { bigint: true });
    if (stats.isFile() && lockFile(descriptor) === "held" && (await leadsTo(path, stats))) await unlink(path);
  } finally {
    await descriptors.close(descriptor);
  }
}
