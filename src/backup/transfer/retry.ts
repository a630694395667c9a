// Which failures of a job may be over in a while, and how long to wait: twice as long each time, and a random share of
// that, so that jobs which failed together do not come back together.
import { isTransient } from "../../s3/transient-error.ts";
import { errorCode, isErrorNamed } from "../../shapes.ts";

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 30_000;

/** Codes of the system that speak of files here, which errors of connections do not have. */
const OF_FILES: ReadonlySet<string> = new Set(
  (
    "EACCES EBADF EBUSY EDQUOT EEXIST EFBIG EINVAL EIO EISDIR ELOOP EMFILE EMLINK ENAMETOOLONG ENFILE ENODATA ENODEV " +
    "ENOENT ENOMEM ENOSPC ENOTDIR ENOTEMPTY ENXIO EPERM EROFS ESTALE ETXTBSY EXDEV"
  ).split(" "),
);

/** True when the same job may succeed later. */
export function mayPass(error: unknown): boolean {
  const code = errorCode(error) ?? "";
  // Mistakes in arguments have codes of Node.
  if (OF_FILES.has(code) || isErrorNamed(error, "TypeError", "RangeError")) return false;
  return isTransient(error);
}

/**
 * Milliseconds until the next attempt.
 * @param failures so many there were, from 1 on
 * @param random from 0 to 1
 */
export function delayAfter(failures: number, random: number): number {
  return random * Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** (failures - 1));
}
