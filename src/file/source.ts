// Where a file operation reads: a file, a pipe, a terminal or a device, by path or as an open descriptor. Files are
// read in large pieces with one piece ahead; pipes and terminals give what has arrived.
import { type BigIntStats, constants } from "node:fs";
import { wipe } from "../bytes.ts";
import { wrong } from "../check-options.ts";
import { descriptors, fileError, openAtOnce, pause, readFully } from "../disk/calls.ts";
import { throwIfAborted } from "../errors.ts";
import { errorCode } from "../shapes.ts";
import { untilAborted } from "../until-aborted.ts";

/**
 * A path, or the number of an open descriptor, which is read or written from where it stands. Descriptors of pipes and
 * sockets are closed afterwards, except 0, 1 and 2; others are left open.
 */
export type FileEnd = string | number;

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
   * not wait for anybody, except for some devices.
   */
  fill(buffer: Uint8Array, signal: AbortSignal | undefined): Promise<number>;
  /** True for pipes, sockets and terminals: use `arrivals`. */
  readonly waits: boolean;
  /** What arrives, as it arrives. Each piece may be reused when the next one is asked for. */
  arrivals(signal: AbortSignal | undefined): AsyncIterable<Uint8Array>;
  /**
   * The descriptor for a pump, where nothing but `advance` is used any more; undefined for terminals, sockets, FIFOs by
   * path, for which nobody may have come yet, and pipes that cannot be opened again without blocking.
   */
  pumpEnd(): Promise<PumpEnd | undefined>;
  /** Tells that `length` bytes were read from `pumpEnd`. */
  advance(length: number): void;
  /** @throws Error EBUSY if a file that was opened by path has changed since */
  checkUnchanged(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens `from`. A FIFO is opened before anybody writes to it, so that waiting for a writer is reading, which can be
 * stopped, and takes no thread.
 * @throws Error with the system's code; EISDIR for a folder; FramesealError ABORTED
 */
export async function openFileSource(from: FileEnd, signal: AbortSignal | undefined): Promise<FileSource> {
  if (typeof from === "number") return describeSource(from, undefined);
  const descriptor = await openAtOnce(from, constants.O_RDONLY, signal);
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
  let pending: Promise<number> | undefined;
  return {
    stats,
    size,
    waits: kind !== "file",
    async pumpEnd() {
      if (kind === "terminal" || (kind === "pipe" && path !== undefined)) return undefined;
      if (kind === "file") return { descriptor, at: size === undefined ? -1 : position };
      reopened ??= await reopenPipe(descriptor, stats, constants.O_RDONLY);
      if (reopened !== undefined) owned ||= descriptor > 2; // as with `arrivals`, whose stream closes it
      return reopened === undefined ? undefined : { descriptor: reopened, at: -1 };
    },
    advance(length) {
      position += length;
    },
    async close() {
      const own = owned ? [descriptor] : [];
      if (reopened !== undefined) own.push(reopened);
      owned = false;
      reopened = undefined;
      // What is read only has nothing to lose; a result that stands must not be told as a failure.
      const closeAll = async (): Promise<void> => {
        for (const each of own) await descriptors.close(each).catch(() => {});
      };
      // A read that an abort did not wait for still uses the descriptor, whose number must not lead elsewhere.
      if (pending === undefined) await closeAll();
      else void pending.then(closeAll, closeAll);
    },
    async fill(buffer, signal) {
      const reading = readFully(descriptor, buffer, size === undefined ? null : position, signal);
      // A device may never answer; a file does, and is then closed before the operation ends.
      if (!stats.isFile()) pending = reading;
      const length = await (stats.isFile() ? reading : untilAborted(reading, signal, () => wipe(buffer)));
      position += length;
      pending = undefined;
      if (size !== undefined && position > size) throw changed(path);
      return length;
    },
    async *arrivals(signal) {
      const { received, typed } = await import("./pipe.ts");
      throwIfAborted(signal);
      owned = false; // the stream closes it
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
  return openAtOnce(`/proc/self/fd/${descriptor}`, access, undefined).catch(() => undefined);
}

/**
 * Opens a pipe or a device for writing, when there is somebody who reads a pipe. Waiting for that takes no thread.
 * @throws Error with the system's code; FramesealError ABORTED
 */
export async function openWriter(
  path: string,
  stats: BigIntStats,
  signal: AbortSignal | undefined,
): Promise<number> {
  for (;;) {
    try {
      return await openAtOnce(path, constants.O_WRONLY, signal);
    } catch (error) {
      if (!stats.isFIFO() || errorCode(error) !== "ENXIO") throw error;
    }
    await pause(signal);
  }
}

function changed(path: string | undefined): Error {
  return fileError("EBUSY", "read", path, "changed while it was read");
}
