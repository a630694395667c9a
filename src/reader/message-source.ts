// Where a MessageReader reads: a file, bytes in memory, or anything that can be read at an offset.
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { FramesealError, throwIfAborted } from "../errors.ts";
import { isBytes } from "../shapes.ts";
import { untilAborted } from "../until-aborted.ts";

/** Where a message can be read at any place. */
export interface MessageSource {
  /** Bytes of the whole message. */
  readonly size: number;
  /** Resolves to exactly the bytes from `start` to `end` (exclusive). The reader does not change them. */
  read(start: number, end: number, signal?: AbortSignal): Promise<Uint8Array>;
  close?(): Promise<void>;
}

/**
 * Reads exactly the bytes from `start` to `end`.
 * @throws FramesealError TRUNCATED if the source gives another number of bytes; ABORTED
 */
export async function readExactly(
  source: MessageSource,
  start: number,
  end: number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  throwIfAborted(signal);
  const bytes = await untilAborted(source.read(start, end, signal), signal);
  if (bytes.length !== end - start)
    throw new FramesealError(
      "TRUNCATED",
      `source gave ${bytes.length} bytes where ${end - start} were asked for`,
    );
  return bytes;
}

/**
 * The source behind a path, which then must be closed, bytes, or an object that is one.
 * @throws FramesealError UNSUPPORTED for the path of a pipe or a device
 */
export async function openSource(
  source: string | Uint8Array | MessageSource,
  signal: AbortSignal | undefined,
): Promise<MessageSource> {
  if (isBytes(source))
    return { size: source.length, read: async (start, end) => source.subarray(start, end) };
  if (typeof source !== "string") {
    if (typeof source?.read !== "function")
      throw new TypeError(`"source" expected a path, a Uint8Array or a MessageSource, got ${typeof source}`);
    return source;
  }
  throwIfAborted(signal);
  // Opening a pipe would wait for somebody who writes to it.
  const file = await open(source, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  try {
    const stats = await file.stat();
    if (!stats.isFile() && !stats.isDirectory())
      throw new FramesealError("UNSUPPORTED", "pipes and devices have no random access: decrypt them whole");
    const { size } = stats;
    return { size, read: (start, end) => readFile(file, start, end), close: () => file.close() };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Node reads less than 2 GiB at a time. */
const MAX_READ_LENGTH = 2 ** 30;

async function readFile(file: FileHandle, start: number, end: number): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafeSlow(end - start);
  let length = 0;
  while (length < bytes.length) {
    const wanted = Math.min(bytes.length - length, MAX_READ_LENGTH);
    const { bytesRead } = await file.read(bytes, length, wanted, start + length);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return bytes.subarray(0, length);
}
