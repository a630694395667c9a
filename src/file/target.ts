// Where a file operation writes. A file is written under a temporary name in the same folder, and gets its own name
// only when it is complete and on disk; pipes and devices are written as they are.
import { type BigIntStats, constants } from "node:fs";
import { lstat, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { type Checks, oneOf, signal, wholeNumber } from "../check-options.ts";
import { descriptors, fileError, writeFully } from "../disk/calls.ts";
import { type Durability, existsAlready, NewFile, type NewFileOptions } from "../disk/new-file.ts";
import { errorCode } from "../shapes.ts";
import type { PipeWriter } from "./pipe.ts";
import { type FileEnd, kindOf, openWriter, type PumpEnd, reopenPipe } from "./source.ts";

/** How a target is written; nothing is ever written through a symbolic link. */
export interface FileTargetOptions extends NewFileOptions {}

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
  /** What to throw for an error of a pump that writes. */
  writeError(error: Error): unknown;
  /** Makes the file appear under its name. @throws FramesealError NOT_DURABLE when it has, and something failed then */
  commit(): Promise<Durability>;
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
  if (stats !== undefined && options.overwrite !== "replace") throw existsAlready(to, "open");
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
  const file = await NewFile.create(to, options);
  let position = 0;
  return {
    async write(bytes) {
      await file.write(bytes, position);
      position += bytes.length;
    },
    pumpEnd: async () => ({ descriptor: file.descriptor, at: position }),
    writeError: (error) => file.unchanged(error),
    commit: () => file.publish(),
    discard: () => file.discard(),
  };
}

// Pipes, devices and open descriptors.

async function openSpecial(
  to: string,
  stats: BigIntStats,
  signal: AbortSignal | undefined,
): Promise<FileTarget> {
  if (stats.isSocket()) throw fileError("ENXIO", "open", to, "is a socket");
  const descriptor = await openWriter(to, stats, signal);
  try {
    const now = await descriptors.stat(descriptor, { bigint: true });
    if (now.dev !== stats.dev || now.ino !== stats.ino)
      throw fileError("EBUSY", "open", to, "became something else");
    return await openDescriptor(descriptor, stats, "owned", signal);
  } catch (error) {
    await descriptors.close(descriptor);
    throw error;
  }
}

/** Who reads a pipe, or gave a descriptor, knows best what to sync. */
const notSynced = (): Durability => "not-synced";

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
      write: (bytes) => writeFully(descriptor, bytes, null, signal),
      pumpEnd: async () => (kind === "file" ? { descriptor, at: -1 } : undefined),
      writeError: (error) => error,
      commit: () => close().then(notSynced),
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
      if (ownership === "owned") return { descriptor, at: -1 }; // it does not block
      reopened ??= await reopenPipe(descriptor, stats, constants.O_WRONLY);
      return reopened === undefined ? undefined : { descriptor: reopened, at: -1 };
    },
    writeError: (error) => error,
    commit: () => end().then(notSynced),
    discard: end,
  };
}
