// How much one call of the system, or one piece of memory, is given.
import { constants } from "node:buffer";
import { FramesealError } from "../errors.ts";

/** Bytes of one read or write. Node ends the process at 2 GiB, and Linux moves no more than that less one page. */
export const MAX_CALL_LENGTH = 2 ** 30;

/**
 * Memory for `length` bytes, with old contents.
 * @throws FramesealError LIMIT_EXCEEDED if Node has no buffer of that length, or the system no memory
 */
export function allocateBuffer(length: number): Buffer {
  if (length > constants.MAX_LENGTH)
    throw new FramesealError(
      "LIMIT_EXCEEDED",
      `${length} bytes at once are more than a buffer holds (${constants.MAX_LENGTH}): read less at a time`,
    );
  try {
    return Buffer.allocUnsafeSlow(length);
  } catch (cause) {
    throw new FramesealError("LIMIT_EXCEEDED", `no memory for ${length} bytes: read less at a time`, {
      cause,
    });
  }
}
