// A file of the source, read as it was at one time: what changes while it is read fails.
import { createHash } from "node:crypto";
import { type BigIntStats, constants } from "node:fs";
import { lstat, readlink } from "node:fs/promises";
import { descriptors, fileError, readFully } from "../disk/calls.ts";
import { FramesealError } from "../errors.ts";
import type { SourceState } from "./changed.ts";
import { openUnlinked } from "./local/anchored.ts";

/** Something of the source that is to be stored. */
export interface SourceEntry extends SourceState {
  /** Where it is on disk; of a link that is followed, where that leads. */
  readonly absolute: string;
}

/** The state of an open file, in place of what a walk saw of it. */
function stateOf(entry: SourceEntry, stats: BigIntStats): SourceEntry {
  return {
    ...entry,
    size: Number(stats.size),
    mtimeNs: stats.mtimeNs,
    ctimeNs: stats.ctimeNs,
    inode: stats.ino,
    mode: Number(stats.mode & 0o7777n),
    ...(entry.uid === undefined ? {} : { uid: Number(stats.uid) }),
    ...(entry.gid === undefined ? {} : { gid: Number(stats.gid) }),
  };
}

/** What is thrown for a file that others write to. Another try may find it at rest. */
export class ChangedWhileRead extends Error {
  override readonly name = "ChangedWhileRead";
  readonly code = "EBUSY";
  readonly path: string;

  constructor(path: string) {
    super(`EBUSY: '${path}' changed while it was read; what is stored of it stays`);
    this.path = path;
  }
}

/** An open file. It must be closed. */
export class SourceFile {
  /** As it is since it was opened. */
  readonly state: SourceEntry;
  /** Nanoseconds since 1970, before it was looked at. */
  readonly readAtNs: bigint;
  readonly #descriptor: number;

  private constructor(descriptor: number, state: SourceEntry, readAtNs: bigint) {
    this.#descriptor = descriptor;
    this.state = state;
    this.readAtNs = readAtNs;
  }

  /** @throws Error with the system's code, also for what is no file any more */
  static async open(entry: SourceEntry, signal: AbortSignal): Promise<SourceFile> {
    const readAtNs = BigInt(Date.now()) * 1_000_000n;
    const descriptor = await openUnlinked(entry.absolute, constants.O_RDONLY, signal);
    try {
      const stats = await descriptors.stat(descriptor, { bigint: true });
      if (!stats.isFile()) throw fileError("EBUSY", "open", entry.absolute, "is no file any more");
      if (stats.size > BigInt(Number.MAX_SAFE_INTEGER))
        throw new FramesealError("LIMIT_EXCEEDED", "the file is longer than S3 can store");
      return new SourceFile(descriptor, stateOf(entry, stats), readAtNs);
    } catch (error) {
      await descriptors.close(descriptor).catch(() => {});
      throw error;
    }
  }

  /** Reads `length` bytes from `position`, all of them. @throws ChangedWhileRead */
  async read(position: number, length: number, signal: AbortSignal): Promise<Buffer> {
    const bytes = Buffer.allocUnsafeSlow(length);
    const count = await readFully(this.#descriptor, bytes, position, signal);
    if (count < length) throw this.#changed();
    return bytes;
  }

  /** @throws ChangedWhileRead if it is not as it was */
  async checkUnchanged(): Promise<void> {
    const stats = await descriptors.stat(this.#descriptor, { bigint: true });
    const { size, mtimeNs, ctimeNs } = this.state;
    if (Number(stats.size) !== size || stats.mtimeNs !== mtimeNs || stats.ctimeNs !== ctimeNs)
      throw this.#changed();
  }

  /** All of it, in pieces that may be used until the next one is asked for; fails before the last one if it changed. */
  async *chunks(signal: AbortSignal): AsyncGenerator<Buffer, void, void> {
    const { size } = this.state;
    for (let position = 0; position < size; ) {
      const chunk = await this.read(position, Math.min(CHUNK_LENGTH, size - position), signal);
      position += chunk.length;
      if (position === size) await this.checkUnchanged();
      yield chunk;
    }
  }

  /** SHA-256 of all of it, hexadecimal. */
  async digest(signal: AbortSignal): Promise<string> {
    const hash = createHash("sha256");
    for await (const chunk of this.chunks(signal)) hash.update(chunk);
    return hash.digest("hex");
  }

  close(): Promise<void> {
    return descriptors.close(this.#descriptor).catch(() => {}); // nothing was written
  }

  #changed(): ChangedWhileRead {
    return new ChangedWhileRead(this.state.absolute);
  }
}

/** For what is read piece by piece. */
const CHUNK_LENGTH = 2 ** 20;

/** Where a symbolic link leads, as bytes. @throws ChangedWhileRead, Error with the system's code */
export async function readLink(entry: SourceEntry): Promise<Buffer> {
  const target = await readlink(entry.absolute, { encoding: "buffer" });
  const stats = await lstat(entry.absolute, { bigint: true });
  if (!stats.isSymbolicLink() || stats.mtimeNs !== entry.mtimeNs || stats.ino !== entry.inode)
    throw new ChangedWhileRead(entry.absolute);
  return target;
}
