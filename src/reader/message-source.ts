// Where a MessageReader reads: a file, bytes in memory, or anything that can be read at an offset.
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { text } from "../check-options.ts";
import { allocateBuffer } from "../disk/call-length.ts";
import { fileError, readFully } from "../disk/calls.ts";
import { FramesealError, throwIfAborted } from "../errors.ts";
import { isBytes } from "../shapes.ts";

/** Where a message can be read at any place. */
export interface MessageSource {
  /** Bytes of the whole message. */
  readonly size: number;
  /** Resolves to exactly the bytes from `start` to `end` (exclusive). The reader does not change them. */
  read(start: number, end: number, signal?: AbortSignal): Promise<Uint8Array>;
  close?(): Promise<void>;
}

/**
 * Reads exactly the bytes from `start` to `end`. The source is told of an abort; waiting for one that does not listen is for
 * the caller to end.
 * @throws FramesealError TRUNCATED if the source gives another number of bytes; ABORTED
 */
export async function readExactly(
  source: MessageSource,
  start: number,
  end: number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  throwIfAborted(signal);
  const bytes = await source.read(start, end, signal);
  if (bytes.length !== end - start)
    throw new FramesealError(
      "TRUNCATED",
      `source gave ${bytes.length} bytes where ${end - start} were asked for`,
    );
  return bytes;
}

/**
 * The source behind a path, which then must be closed, bytes, or an object that is one.
 * @throws Error with the system's code: ESPIPE for a pipe or a device, EISDIR for a folder
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
  text("source", source);
  throwIfAborted(signal);
  const { O_RDONLY, O_NONBLOCK = 0 } = constants; // so that a FIFO makes nobody wait
  const file = await open(source, O_RDONLY | O_NONBLOCK);
  try {
    const stats = await file.stat();
    if (stats.isDirectory()) throw fileError("EISDIR", "read", source, "is a folder");
    if (!stats.isFile())
      throw fileError("ESPIPE", "read", source, "is no file, so it has no places to read at");
    return {
      size: stats.size,
      async read(start, end) {
        const bytes = allocateBuffer(end - start);
        return bytes.subarray(0, await readFully(file, bytes, start));
      },
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}
