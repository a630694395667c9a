// The system's calls on open files, as everything here makes them: cut into pieces that the system takes, and repeated
// until all is done. Descriptors where a socket may take one over, or a thread of the addon uses it; a FileHandle where
// it may be closed while something is read or written, since it waits for that.
import { type BigIntStats, close, constants, fchmod, fstat, fsync, open, read, write } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { promisify } from "node:util";
import { aborted, throwIfAborted } from "../errors.ts";
import { errorCode } from "../shapes.ts";
import { untilAborted } from "../until-aborted.ts";
import { MAX_CALL_LENGTH } from "./call-length.ts";

/** Calls that need nothing of what is said above. */
export const descriptors = {
  open: promisify(open),
  close: promisify(close),
  stat: promisify(fstat) as (descriptor: number, options: { bigint: true }) => Promise<BigIntStats>,
  chmod: promisify(fchmod),
  sync: promisify(fsync),
};

/** Where descriptors do not block, or others have made them so: look again this often. */
const RETRY_MS = 5;

/**
 * Opens without waiting for anybody: not for the other end of a FIFO, nor for who holds a lease. What is opened so does
 * not block when it is read or written; files do not either way.
 * @throws Error with the system's code: ENXIO for a FIFO that nobody reads; FramesealError ABORTED
 */
export async function openAtOnce(
  path: string,
  flags: number,
  signal: AbortSignal | undefined,
): Promise<number> {
  const { O_NONBLOCK = 0 } = constants; // Windows has no such thing
  for (;;) {
    throwIfAborted(signal);
    try {
      return await untilAborted(
        descriptors.open(path, flags | O_NONBLOCK),
        signal,
        (late) => void descriptors.close(late).catch(() => {}), // nobody knows of it
      );
    } catch (error) {
      if (errorCode(error) !== "EAGAIN") throw error;
      await pause(signal);
    }
  }
}

/** A moment, or until an abort. */
export function pause(signal: AbortSignal | undefined): Promise<void> {
  return untilAborted(new Promise<void>((resolve) => setTimeout(resolve, RETRY_MS)), signal);
}

/** An open file. */
export type OpenFile = number | FileHandle;
/** Where to read or write in it; null: where the descriptor stands. */
type Position = number | null;

/** Reads what one call gives, at least one byte; none at the end. */
export function readSome(
  file: OpenFile,
  buffer: Uint8Array,
  position: Position,
  signal?: AbortSignal | undefined,
): Promise<number> {
  const length = Math.min(buffer.length, MAX_CALL_LENGTH);
  if (typeof file !== "number") return file.read(buffer, 0, length, position).then((done) => done.bytesRead);
  return new Promise((resolve, reject) => {
    const step = (): void =>
      read(file, buffer, 0, length, position, (error, count) => {
        if (error === null) resolve(count);
        else retry(error, step, reject, signal);
      });
    step();
  });
}

/** Reads until `buffer` is full or the file ends; resolves to the bytes read. */
export async function readFully(
  file: OpenFile,
  buffer: Uint8Array,
  position: Position,
  signal?: AbortSignal | undefined,
): Promise<number> {
  let length = 0;
  while (length < buffer.length) {
    const at = position === null ? null : position + length;
    const count = await readSome(file, buffer.subarray(length), at, signal);
    if (count === 0) break;
    length += count;
  }
  return length;
}

/** Writes all of `bytes`. */
export async function writeFully(
  file: OpenFile,
  bytes: Uint8Array,
  position: Position,
  signal?: AbortSignal | undefined,
): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    const at = position === null ? null : position + written;
    const count = await writeSome(file, bytes.subarray(written), at, signal);
    if (count === 0) throw fileError("EIO", "write", undefined, "takes no more bytes");
    written += count;
  }
}

function writeSome(
  file: OpenFile,
  bytes: Uint8Array,
  position: Position,
  signal: AbortSignal | undefined,
): Promise<number> {
  const length = Math.min(bytes.length, MAX_CALL_LENGTH);
  if (typeof file !== "number")
    return file.write(bytes, 0, length, position).then((done) => done.bytesWritten);
  return new Promise((resolve, reject) => {
    const step = (): void =>
      write(file, bytes, 0, length, position, (error, count) => {
        if (error === null) resolve(count);
        else retry(error, step, reject, signal);
      });
    step();
  });
}

// Again after an interrupted call, and a little later after one that would have to wait.
function retry(
  error: NodeJS.ErrnoException,
  again: () => void,
  fail: (error: Error) => void,
  signal: AbortSignal | undefined,
): void {
  if (error.code === "EINTR") again();
  else if (error.code !== "EAGAIN") fail(error);
  else
    setTimeout(() => {
      if (signal?.aborted) fail(aborted(signal));
      else again();
    }, RETRY_MS);
}

/** An error in the shape of the system's own. */
export function fileError(
  code: string,
  syscall: string,
  path: string | undefined,
  text: string,
  options?: ErrorOptions,
): Error {
  const where = path === undefined ? "input" : `'${path}'`;
  return Object.assign(new Error(`${code}: ${where} ${text}`, options), { code, syscall, path });
}
