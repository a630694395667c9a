// What put stores: a file, standard input, or what a command writes. The end of a pipe says nothing about whether all
// of it has come, so an empty one is not taken for data unless that was asked for.
import { type BigIntStats, fstatSync } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import type { Readable } from "node:stream";
import { isClosed } from "./closed.ts";
import { CommandFailure } from "./failure.ts";
import { type CommandEnd, type CommandLine, RunningCommand } from "./from-command.ts";
import { interruptSignal } from "./interrupt.ts";
import { shown } from "./names.ts";

/** Where the plaintext comes from. */
export type Origin =
  | { readonly kind: "file"; readonly name: string }
  | { readonly kind: "standard input" }
  | { readonly kind: "command"; readonly line: CommandLine };

/** Plaintext that can be read once. */
export interface PutSource {
  /** Bytes, where they are known. */
  readonly length: number | undefined;
  /** All of it; fails instead of ending when it is not all. */
  chunks(): AsyncIterable<Uint8Array>;
  /** How the command ended, once it has. */
  commandEnd(): CommandEnd | undefined;
  /** Ends what is still running. */
  close(): Promise<void>;
}

/** What of the source is refused. */
export interface SourceLimits {
  readonly allowEmpty: boolean;
  readonly maxPlaintext: number | undefined;
}

/** Opens a source. @throws CommandFailure for what is refused at once */
export async function openSource(origin: Origin, limits: SourceLimits): Promise<PutSource> {
  const source = await sourceOf(origin);
  const { length } = source;
  if (length !== undefined && length > (limits.maxPlaintext ?? length)) {
    await source.close();
    throw tooLong();
  }
  return { ...source, chunks: () => checked(source, origin, limits) };
}

function sourceOf(origin: Origin): Promise<PutSource> {
  if (origin.kind === "command") return commandSource(origin.line);
  return origin.kind === "file" ? fileSource(origin.name) : standardInput();
}

async function* checked(
  source: PutSource,
  origin: Origin,
  { allowEmpty, maxPlaintext }: SourceLimits,
): AsyncGenerator<Uint8Array> {
  let done = 0;
  for await (const chunk of source.chunks()) {
    done += chunk.length;
    if (maxPlaintext !== undefined && done > maxPlaintext) throw tooLong();
    yield chunk;
  }
  if (done > 0 || allowEmpty || (origin.kind === "file" && source.length === 0)) return;
  throw new CommandFailure(
    `${emptyTexts[origin.kind]}; nothing is stored (--allow-empty stores nothing as an object)`,
  );
}

const emptyTexts: Readonly<Record<Origin["kind"], string>> = {
  file: "the input is empty, and is no ordinary file",
  "standard input": "standard input is empty",
  command: "the command wrote nothing",
};

function tooLong(): CommandFailure {
  return new CommandFailure("the input is longer than --max-plaintext; nothing is stored");
}

async function fileSource(name: string): Promise<PutSource> {
  if ((await stat(name)).isFIFO()) return fifoSource(name);
  const handle = await open(name, "r");
  try {
    const stats = await handle.stat({ bigint: true });
    if (stats.isDirectory()) throw new CommandFailure(`${shown(name)}: is a folder`);
    const isFile = stats.isFile();
    // Files of the system itself say that they are empty.
    const length = isFile && (stats.size > 0n || !(await hasByte(handle))) ? Number(stats.size) : undefined;
    const stream = handle.createReadStream({ highWaterMark: 2 ** 20, ...(isFile ? { start: 0 } : {}) });
    return {
      length,
      chunks: () => (length === undefined ? stream : unchanged(handle, stream, stats, name)),
      commandEnd: () => undefined,
      close: async () => void stream.destroy(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

// Waiting for somebody who writes to it must not hold up the end of the process.
async function fifoSource(name: string): Promise<PutSource> {
  const { openFileSource } = await import("../file/source.ts");
  const fifo = await openFileSource(name, interruptSignal);
  async function* copied(): AsyncGenerator<Uint8Array> {
    for await (const chunk of fifo.arrivals(interruptSignal)) yield Uint8Array.from(chunk);
  }
  return { length: undefined, chunks: copied, commandEnd: () => undefined, close: () => fifo.close() };
}

async function hasByte(handle: FileHandle): Promise<boolean> {
  return (await handle.read(Buffer.alloc(1), 0, 1, 0)).bytesRead > 0;
}

// A file is stored as it was at one time, or not at all.
async function* unchanged(
  handle: FileHandle,
  stream: Readable,
  before: BigIntStats,
  name: string,
): AsyncGenerator<Uint8Array> {
  const changed = () => new CommandFailure(`${shown(name)}: changed while it was read; nothing is stored`);
  let left = Number(before.size);
  for await (const chunk of stream as AsyncIterable<Uint8Array>) {
    left -= chunk.length;
    if (left < 0) throw changed();
    if (left === 0) {
      const now = await handle.stat({ bigint: true });
      if (now.size !== before.size || now.mtimeNs !== before.mtimeNs) throw changed();
    }
    yield chunk;
  }
  if (left > 0) throw changed();
}

async function standardInput(): Promise<PutSource> {
  let stats: BigIntStats;
  try {
    stats = fstatSync(0, { bigint: true });
  } catch {
    throw closedInput();
  }
  if (stats.isDirectory()) throw new CommandFailure("standard input is a folder; nothing is stored");
  if (isClosed(0)) throw closedInput();
  const { stdin } = process;
  return {
    length: undefined,
    chunks: () => stdin,
    commandEnd: () => undefined,
    close: async () => void stdin.destroy(),
  };
}

function closedInput(): CommandFailure {
  return new CommandFailure("standard input is closed; nothing is stored");
}

async function commandSource(line: CommandLine): Promise<PutSource> {
  const running = await RunningCommand.start(line);
  return {
    length: undefined,
    chunks: () => running.output(),
    commandEnd: () => running.end,
    close: () => running.stop(),
  };
}
