// Locks by which processes see which temporary files somebody still works on, whatever user, container or part of the
// process that is. They need the addon; it is asked for them whatever engine works.
import { type Addon, loadAddon } from "../engine/native/addon.ts";

/** `unknown`: the lock could not be asked for, or might not be seen by everybody who sees the file. */
export type FileLock = "held" | "taken" | "unknown";

/** In the order of the numbers that the addon gives. */
const results: readonly FileLock[] = ["held", "taken", "unknown"];

let lock: Addon["lockFile"] | null;

/** Whether files can be locked here at all. */
export function canLock(): boolean {
  if (lock === undefined) {
    try {
      lock = loadAddon().lockFile ?? null;
    } catch {
      lock = null;
    }
  }
  return lock !== null;
}

/** Locks an open file until it is closed, in whatever way. Does not wait. */
export function lockFile(descriptor: number): FileLock {
  const result = canLock() ? lock?.(descriptor) : undefined;
  return (result === undefined ? undefined : results[result]) ?? "unknown";
}
