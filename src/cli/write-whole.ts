// Writes all of a text before anything else goes on. Whoever should read it may not do so for a while, or never: then
// signals end the process all the same, though nothing in it can hear them.
import { constants, fstatSync, openSync, writeSync } from "node:fs";
import { errorCode } from "../shapes.ts";
import { endBySignals } from "./interrupt.ts";

/** How often it is tried again. */
const PAUSE_MS = 20;

/** @throws errors of the system */
export function writeWhole(descriptor: number, bytes: Uint8Array): void {
  const own = withoutWaiting(descriptor);
  let written = 0;
  // True if somebody has to read first.
  const isFull = (): boolean => {
    try {
      while (written < bytes.length) written += writeSync(own, bytes, written);
    } catch (error) {
      const code = errorCode(error);
      if (code === "EAGAIN") return true;
      if (code !== "EINTR") throw error;
    }
    return written < bytes.length;
  };
  if (!isFull()) return;
  endBySignals((checkEnd) => {
    do {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
      checkEnd();
    } while (isFull());
  });
}

const opened = new Map<number, number>();

/**
 * Standard output and error may be pipes: a descriptor by which writes to them do not wait. They are opened once more,
 * since the flag would concern all who share the descriptor; where that cannot be, writes wait.
 */
function withoutWaiting(descriptor: number): number {
  if (descriptor > 2) return descriptor; // ours, and opened so
  const own = opened.get(descriptor) ?? reopened(descriptor);
  opened.set(descriptor, own);
  return own;
}

function reopened(descriptor: number): number {
  try {
    if (!fstatSync(descriptor).isFIFO()) return descriptor;
    return openSync(`/proc/self/fd/${descriptor}`, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch {
    return descriptor;
  }
}
