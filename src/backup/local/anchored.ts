// Opening things below a folder so that no symbolic link is followed on the way, as well as Node allows: on Linux a
// descriptor tells where it stands; elsewhere the path is looked at again, which leaves a moment in between.
import { constants, existsSync, readlinkSync } from "node:fs";
import { readlink, realpath, stat } from "node:fs/promises";
import { descriptors, fileError, openAtOnce } from "../../disk/calls.ts";
import { errorCode, isError } from "../../shapes.ts";

const OPEN_FILES = "/proc/self/fd";
/** Whether paths can begin at an open folder. */
const hasOpenFiles = process.platform === "linux" && existsSync(OPEN_FILES);

/**
 * Opens an existing file or folder, without waiting for anybody.
 * @param path canonical: absolute, and without links when it was looked up
 * @throws Error with the system's code: ELOOP if a part of the path is a link now; FramesealError ABORTED
 */
export async function openUnlinked(
  path: string,
  flags: number,
  signal?: AbortSignal | undefined,
): Promise<number> {
  const { O_NOFOLLOW = 0 } = constants; // Windows has no such thing
  const descriptor = await openAtOnce(path, flags | O_NOFOLLOW, signal);
  try {
    if (await standsAt(descriptor, path)) return descriptor;
    throw fileError("ELOOP", "open", path, "is reached through a symbolic link, or was moved meanwhile");
  } catch (error) {
    await descriptors.close(descriptor).catch(() => {});
    throw error;
  }
}

/** The same for a folder. */
export function openFolder(path: string, signal?: AbortSignal | undefined): Promise<number> {
  const { O_RDONLY, O_DIRECTORY = 0 } = constants;
  return openUnlinked(path, O_RDONLY | O_DIRECTORY, signal);
}

async function standsAt(descriptor: number, path: string): Promise<boolean> {
  if (hasOpenFiles) return (await readlink(`${OPEN_FILES}/${descriptor}`)) === path;
  if ((await realpath(path)) !== path) return false;
  const [open, named] = await Promise.all([
    descriptors.stat(descriptor, { bigint: true }),
    stat(path, { bigint: true }),
  ]);
  return open.dev === named.dev && open.ino === named.ino;
}

/** Whether an open folder is still the one of that path. False where only looking again would tell. */
export function stillStandsAt(descriptor: number, path: string): boolean {
  return hasOpenFiles && readlinkSync(`${OPEN_FILES}/${descriptor}`) === path;
}

/** A path by which things in an open folder are reached, whatever becomes of its name. */
export function insideOf(descriptor: number, path: string): string {
  return hasOpenFiles ? `${OPEN_FILES}/${descriptor}` : path;
}

/** The same error with the name that somebody asked for. */
export function underName(error: unknown, path: string): unknown {
  if (!isError(error)) return error;
  const code = errorCode(error);
  const { syscall, errno, path: met } = error as NodeJS.ErrnoException;
  if (code === undefined || syscall === undefined || met === path) return error;
  const text = error.message.replace(/(, \w+)? '.*$/s, "$1");
  return Object.assign(new Error(`${text} '${path}'`, { cause: error }), { code, syscall, errno, path });
}
