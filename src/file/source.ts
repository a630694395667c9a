// Where a file operation reads: a file, a pipe, a terminal or a device, by path or as an open descriptor. Files are
// read in large pieces with one piece ahead; pipes and terminals give what has arrived.
import { type BigIntStats, close, constants, fstat, open, read } from "node:fs";
import { promisify } from "node:util";
import { wrong } from "../check-options.ts";
import { throwIfAborted } from "../errors.ts";

/**
 * A path, or the number of an open descriptor, which is read or written from where it stands. Descriptors of pipes and
 * sockets are closed afterwards, except 0, 1 and 2; others are left open.
 */
export type FileEnd = string | number;

/** As the system's calls; descriptors that a socket may take over cannot be kept in a FileHandle. */
export const descriptors = {
  open: promisify(open),
  close: promisify(close),
  stat: promisify(fstat) as (descriptor: number, options: { bigint: true }) => Promise<BigIntStats>,
};

/** An end that a pump of the engine can use. */
export interface PumpEnd {
  readonly descriptor: number;
  /** Where to go on in a file; -1: where the descriptor stands. */
  readonly at: number;
}

/** An input that is open. */
export interface FileSource {
  /** What it is, for comparing with the target. */
  readonly stats: BigIntStats;
  /** Bytes, for a regular file that was opened by path and is not empty. */
  readonly size: number | undefined;
  /**
   * Fills `buffer` from its start; fewer bytes than it holds mean the end. Only where `waits` is false: reading does
   * not wait for anybody.
   */
  fill(buffer: Uint8Array): Promise<number>;
  /** True for pipes, sockets and terminals: use `arrivals`. */
  readonly waits: boolean;
  /** What arrives, as it arrives. Each piece may be reused when the next one is asked for. */
  arrivals(signal: AbortSignal | undefined): AsyncIterable<Uint8Array>;
  /**
   * The descriptor for a pump, where nothing but `advance` is used any more; undefined for terminals, sockets and pipes
   * that cannot be opened again without blocking.
   */
  pumpEnd(): Promise<PumpEnd | undefined>;
  /** Tells that `length` bytes were read from `pumpEnd`. */
  advance(length: number): void;
  /** @throws Error EBUSY if a file that was opened by path has changed since */
  checkUnchanged(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens `from`.
 * @throws Error with the system's code; EISDIR for a folder
 */
export async function openFileSource(from: FileEnd): Promise<FileSource> {
  if (typeof from === "number") return describeSource(from, undefined);
  const descriptor = await descriptors.open(from, constants.O_RDONLY);
  try {
    return await describeSource(descriptor, from);
  } catch (error) {
    await descriptors.close(descriptor);
    throw error;
  }
}

/** @throws TypeError unless `end` is a path or a descriptor */
export function checkFileEnd(name: string, end: FileEnd): void {
  const isEnd =
    typeof end === "string"
      ? end !== "" && !end.includes("\0")
      : typeof end === "number" && Number.isInteger(end) && end >= 0 && end < 2 ** 31;
  if (!isEnd) throw wrong(name, "a path or the number of a descriptor", end);
}

async function describeSource(descriptor: number, path: string | undefined): Promise<FileSource> {
  const stats = await descriptors.stat(descriptor, { bigint: true });
  if (stats.isDirectory()) throw fileError("EISDIR", "read", path, "is a folder");
  const kind = await kindOf(descriptor, stats);
  // A file without length may be one of /proc, which has contents all the same.
  const size = path !== undefined && stats.isFile() && stats.size > 0n ? Number(stats.size) : undefined;
  let position = 0;
  let owned = path !== undefined;
  let reopened: number | undefined;
  return {
    stats,
    size,
    waits: kind !== "file",
    async pumpEnd() {
      if (kind === "terminal") return undefined;
      if (kind === "file") return { descriptor, at: size === undefined ? -1 : position };
      reopened ??= await reopenPipe(descriptor, stats, constants.O_RDONLY);
      if (reopened !== undefined) owned ||= descriptor > 2; // as with `arrivals`, whose stream closes it
      return reopened === undefined ? undefined : { descriptor: reopened, at: -1 };
    },
    advance(length) {
      position += length;
    },
    async close() {
      if (owned) await descriptors.close(descriptor);
      owned = false;
      if (reopened !== undefined) await descriptors.close(reopened);
      reopened = undefined;
    },
    async fill(buffer) {
      const length = await fillBuffer(descriptor, buffer, size === undefined ? null : position);
      position += length;
      if (size !== undefined && position > size) throw changed(path);
      return length;
    },
    async *arrivals(signal) {
      owned = false; // the stream closes it
      const { received, typed } = await import("./pipe.ts");
      yield* kind === "terminal" ? typed(descriptor, signal) : received(descriptor, signal);
    },
    async checkUnchanged() {
      if (size === undefined) return;
      const now = await descriptors.stat(descriptor, { bigint: true });
      if (position !== size || now.size !== stats.size || now.mtimeNs !== stats.mtimeNs) throw changed(path);
    },
  };
}

/** What a descriptor leads to: pipes and terminals make their readers and writers wait, files and devices do not. */
export async function kindOf(descriptor: number, stats: BigIntStats): Promise<"file" | "pipe" | "terminal"> {
  if (stats.isFIFO() || stats.isSocket()) return "pipe";
  if (!stats.isCharacterDevice()) return "file";
  const { isatty } = await import("node:tty");
  return isatty(descriptor) ? "terminal" : "file";
}

/**
 * Opens a pipe once more, so that reading or writing it does not block, and other processes that share `descriptor`
 * notice nothing of it. Undefined where the system has no such way, or for a pipe of another user.
 */
export async function reopenPipe(
  descriptor: number,
  stats: BigIntStats,
  access: number,
): Promise<number | undefined> {
  if (process.platform !== "linux" || !stats.isFIFO()) return undefined;
  return descriptors
    .open(`/proc/self/fd/${descriptor}`, access | constants.O_NONBLOCK)
    .catch(() => undefined);
}

/** Reads what there is from a descriptor that does not block: at least one byte, or none at the end. */
export async function readAvailable(
  descriptor: number,
  buffer: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<number> {
  for (;;) {
    throwIfAborted(signal);
    const count = await new Promise<number | "later">((resolve, reject) => {
      read(descriptor, buffer, 0, buffer.length, null, (error, length) => {
        if (error === null) resolve(length);
        else if (error.code === "EAGAIN" || error.code === "EINTR") resolve("later");
        else reject(error);
      });
    });
    if (count !== "later") return count;
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

function changed(path: string | undefined): Error {
  return fileError("EBUSY", "read", path, "changed while it was read");
}

/** An error in the shape of the system's own. */
export function fileError(code: string, syscall: string, path: string | undefined, text: string): Error {
  const where = path === undefined ? "input" : `'${path}'`;
  return Object.assign(new Error(`${code}: ${where} ${text}`), { code, syscall, path });
}

async function fillBuffer(descriptor: number, buffer: Uint8Array, position: number | null): Promise<number> {
  let length = 0;
  while (length < buffer.length) {
    const at = position === null ? null : position + length;
    const count = await readOnce(descriptor, buffer, length, at);
    if (count === 0) break;
    length += count;
  }
  return length;
}

function readOnce(
  descriptor: number,
  buffer: Uint8Array,
  offset: number,
  at: number | null,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const step = (): void =>
      read(descriptor, buffer, offset, buffer.length - offset, at, (error, count) => {
        if (error === null) resolve(count);
        else retry(error, step, reject);
      });
    step();
  });
}

/** Another process may have made a descriptor that we share non-blocking: look again this often. */
const RETRY_MS = 5;

/** Calls `again` after an interrupted call, and a little later after one that would have to wait. */
export function retry(error: NodeJS.ErrnoException, again: () => void, fail: (error: Error) => void): void {
  if (error.code === "EINTR") again();
  else if (error.code === "EAGAIN") setTimeout(again, RETRY_MS);
  else fail(error);
}
