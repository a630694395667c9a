// Where a file operation writes. A file is written under a temporary name in the same folder, and gets its own name
// only when it is complete and on disk; pipes and devices are written as they are.
import { randomBytes } from "node:crypto";
import { type BigIntStats, constants, write as writeDescriptor } from "node:fs";
import { link, lstat, open, readdir, readlink, rename, stat, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type Checks, oneOf, signal, wholeNumber } from "../check-options.ts";
import { throwIfAborted } from "../errors.ts";
import { errorCode } from "../shapes.ts";
import type { PipeWriter } from "./pipe.ts";
import { descriptors, type FileEnd, fileError, kindOf, type PumpEnd, reopenPipe, retry } from "./source.ts";

/** How a target is written. */
export interface FileTargetOptions {
  /** What to do when the target exists; by default `refuse`. Nothing is ever written through a symbolic link. */
  readonly overwrite?: "refuse" | "replace" | undefined;
  /** `full`, the default, returns when file and folder are on disk; `none` leaves that to the system. */
  readonly sync?: "full" | "none" | undefined;
  /** Permissions of a new file, by default 0o600. */
  readonly mode?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What the options must be. */
export const FILE_TARGET_OPTIONS: Checks<FileTargetOptions> = {
  overwrite: oneOf("refuse", "replace"),
  sync: oneOf("full", "none"),
  mode: wholeNumber(0, 0o777),
  signal,
};

/** An output that is open. */
export interface FileTarget {
  /** Appends bytes, which must not change before this resolves. One call at a time. */
  write(bytes: Uint8Array): Promise<void>;
  /** The descriptor for a pump, where `write` is not used; undefined for sockets and terminals. */
  pumpEnd(): Promise<PumpEnd | undefined>;
  /** Makes the file appear under its name. */
  commit(): Promise<void>;
  /** Removes what was written, where that is possible. Safe after `commit` and more than once. */
  discard(): Promise<void>;
}

/** A target that has been looked at, but not touched. */
export interface PlannedTarget {
  /** What it is now; undefined when there is nothing under its name. */
  readonly stats: BigIntStats | undefined;
  open(): Promise<FileTarget>;
}

/**
 * Looks at `to` before any work is done.
 * @throws Error with the system's code: EEXIST when it exists and must not be replaced, or is a symbolic link to a file
 * or to nothing; EISDIR for a folder; ENOENT, ENOTDIR when its folder does not exist
 */
export async function planFileTarget(to: FileEnd, options: FileTargetOptions): Promise<PlannedTarget> {
  if (typeof to === "number") {
    const stats = await descriptors.stat(to, { bigint: true });
    return { stats, open: () => openDescriptor(to, stats, "borrowed", options.signal) };
  }
  const linkStats = await lstat(to, { bigint: true }).catch(ignore("ENOENT"));
  const stats = linkStats?.isSymbolicLink()
    ? await stat(to, { bigint: true }).catch(ignore("ENOENT"))
    : linkStats;
  if (stats?.isDirectory()) throw fileError("EISDIR", "open", to, "is a folder");
  if (stats !== undefined && !stats.isFile()) {
    const open = () => openSpecial(to, stats, options.signal);
    return { stats, open };
  }
  if (linkStats?.isSymbolicLink())
    throw fileError("EEXIST", "open", to, "is a symbolic link; nothing is written through links");
  if (stats !== undefined && options.overwrite !== "replace")
    throw fileError("EEXIST", "open", to, "exists already");
  const folder = await stat(dirname(to));
  if (!folder.isDirectory()) throw fileError("ENOTDIR", "open", dirname(to), "is not a folder");
  return { stats, open: () => openTemporary(to, options) };
}

function ignore(...codes: string[]): (error: unknown) => undefined {
  return (error) => {
    if (codes.includes(errorCode(error) ?? "")) return undefined;
    throw error;
  };
}

// A file, by way of a temporary one.

async function openTemporary(to: string, options: FileTargetOptions): Promise<FileTarget> {
  throwIfAborted(options.signal);
  const folder = dirname(to);
  await removeLeftovers(folder, basename(to));
  const path = join(folder, temporaryName(basename(to)));
  const { O_CREAT, O_EXCL, O_WRONLY, O_NOFOLLOW = 0 } = constants;
  const file = await open(path, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0o600);
  let state: "writing" | "committed" | "discarded" = "writing";
  let position = 0;
  return {
    async write(bytes) {
      await writeAll(file.fd, bytes, position);
      position += bytes.length;
    },
    pumpEnd: async () => ({ descriptor: file.fd, at: position }),
    async commit() {
      if (options.mode !== undefined) await file.chmod(options.mode);
      if (options.sync !== "none") await file.sync();
      // Open until the name is final: a leftover is recognised by nobody having it open.
      const guard = await open(path, constants.O_RDONLY | O_NOFOLLOW).catch(ignore("EACCES"));
      try {
        await file.close();
        if (options.overwrite === "replace") await rename(path, to);
        else await moveExclusively(path, to);
        state = "committed";
      } finally {
        await guard?.close();
      }
      if (options.sync !== "none") await syncFolder(folder);
    },
    async discard() {
      if (state !== "writing") return;
      state = "discarded";
      await file.close().catch(() => {}); // the failure that led here is the one to report
      await unlink(path).catch(ignore("ENOENT"));
    },
  };
}

const SUFFIX_PATTERN = /^[0-9a-f]{8}$/;
/** File systems take names of up to 255 bytes. */
const MAX_KEPT_NAME_LENGTH = 200;

function temporaryPrefix(name: string): string {
  const bytes = Buffer.from(name, "utf8");
  const kept = bytes.length <= MAX_KEPT_NAME_LENGTH ? name : bytes.toString("utf8", 0, MAX_KEPT_NAME_LENGTH);
  return `.${kept.replaceAll("\ufffd", "")}.tmp-`;
}

function temporaryName(name: string): string {
  return temporaryPrefix(name) + randomBytes(4).toString("hex");
}

// link(2) fails when the name exists, rename(2) does not. File systems without hard links leave a moment in which a
// file that appears there is replaced.
async function moveExclusively(path: string, to: string): Promise<void> {
  try {
    await link(path, to);
  } catch (error) {
    const code = errorCode(error) ?? "";
    if (code === "EEXIST") throw fileError("EEXIST", "link", to, "exists already");
    if (!["EPERM", "ENOSYS", "ENOTSUP", "EOPNOTSUPP", "EMLINK", "EINVAL"].includes(code)) throw error;
    const appeared = await lstat(to).catch(ignore("ENOENT"));
    if (appeared !== undefined) throw fileError("EEXIST", "rename", to, "exists already");
    return rename(path, to);
  }
  await unlink(path);
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY).catch(ignore("EISDIR", "EPERM", "EACCES"));
  if (handle === undefined) return;
  try {
    // Some systems and file systems cannot sync a folder.
    await handle.sync().catch(ignore("EINVAL", "EPERM", "EISDIR", "ENOTSUP", "EBADF"));
  } finally {
    await handle.close();
  }
}

// Temporary files of processes that were killed. A folder is listed once: what lies there later was left by others.

const leftovers = new Map<string, Set<string>>();
const MAX_REMEMBERED_FOLDERS = 64;
/** Where nobody can tell which files are open, a leftover is what has not been written for a day. */
const LEFTOVER_AGE_MS = 24 * 3600 * 1000;

async function removeLeftovers(folder: string, name: string): Promise<void> {
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
    await removeLeftover(join(folder, entry)).catch(() => {}); // in the way of nobody
  }
}

async function removeLeftover(path: string): Promise<void> {
  const stats = await lstat(path, { bigint: true });
  if (!stats.isFile()) return;
  const open = await isOpen(stats);
  const isOld = Date.now() - Number(stats.mtimeMs) > LEFTOVER_AGE_MS;
  if (open === "no" || (open === "unknown" && isOld)) await unlink(path);
}

// Linux tells which files the user's processes have open.
async function isOpen(stats: BigIntStats): Promise<"yes" | "no" | "unknown"> {
  const processes = (await readdir("/proc").catch(() => [])).filter((entry) => /^[0-9]+$/.test(entry));
  if (processes.length === 0) return "unknown";
  let seen = 0;
  for (const id of processes) {
    const descriptors = await readdir(`/proc/${id}/fd`).catch(() => undefined);
    if (descriptors === undefined) continue;
    seen += 1;
    for (const descriptor of descriptors) {
      const path = `/proc/${id}/fd/${descriptor}`;
      const target = await readlink(path).catch(() => "");
      if (!target.includes(".tmp-")) continue;
      const opened = await stat(path, { bigint: true }).catch(() => undefined);
      if (opened?.dev === stats.dev && opened.ino === stats.ino) return "yes";
    }
  }
  return seen > 0 ? "no" : "unknown";
}

// Pipes, devices and open descriptors.

async function openSpecial(
  to: string,
  stats: BigIntStats,
  signal: AbortSignal | undefined,
): Promise<FileTarget> {
  if (stats.isSocket()) throw fileError("ENXIO", "open", to, "is a socket");
  const descriptor = await descriptors.open(to, constants.O_WRONLY);
  return openDescriptor(descriptor, stats, "owned", signal);
}

async function openDescriptor(
  descriptor: number,
  stats: BigIntStats,
  ownership: "owned" | "borrowed",
  signal: AbortSignal | undefined,
): Promise<FileTarget> {
  let isOpen = true;
  let reopened: number | undefined;
  const kind = await kindOf(descriptor, stats);
  const close = async (): Promise<void> => {
    if (reopened !== undefined) await descriptors.close(reopened);
    reopened = undefined;
    if (isOpen && (ownership === "owned" || (kind === "pipe" && descriptor > 2)))
      await descriptors.close(descriptor);
    isOpen = false;
  };
  if (kind !== "pipe")
    return {
      write: (bytes) => writeAll(descriptor, bytes, null),
      pumpEnd: async () => (kind === "file" ? { descriptor, at: -1 } : undefined),
      commit: close,
      discard: close,
    };
  let writer: PipeWriter | undefined;
  const end = async (): Promise<void> => {
    if (writer === undefined) return close();
    writer.end(); // and closes the descriptor
    isOpen = false;
    await close();
  };
  return {
    async write(bytes) {
      if (writer === undefined) {
        const { PipeWriter } = await import("./pipe.ts");
        writer = new PipeWriter(descriptor, signal);
      }
      await writer.write(bytes);
    },
    async pumpEnd() {
      reopened ??= await reopenPipe(descriptor, stats, constants.O_WRONLY);
      return reopened === undefined ? undefined : { descriptor: reopened, at: -1 };
    },
    commit: end,
    discard: end,
  };
}

function writeAll(descriptor: number, bytes: Uint8Array, position: number | null): Promise<void> {
  return new Promise((resolve, reject) => {
    let written = 0;
    const step = (): void => {
      const at = position === null ? null : position + written;
      writeDescriptor(descriptor, bytes, written, bytes.length - written, at, (error, count) => {
        if (error !== null) return retry(error, step, reject);
        if (count === 0) return reject(fileError("EIO", "write", undefined, "takes no more bytes"));
        written += count;
        if (written < bytes.length) step();
        else resolve();
      });
    };
    if (bytes.length === 0) resolve();
    else step();
  });
}
