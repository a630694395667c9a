// Calls of the system on files, made at once where the file system answers at once: that takes a tenth of the time of
// handing each to a thread. Where answers have to be waited for, they would keep everything else waiting, so there threads
// make them.
import {
  type BigIntStats,
  closeSync,
  fchmod,
  fchmodSync,
  fchown,
  fchownSync,
  fstatSync,
  ftruncate,
  ftruncateSync,
  futimes,
  futimesSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  renameSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { link, lstat, mkdir, rename, unlink } from "node:fs/promises";
import { promisify } from "node:util";
import { descriptors, writeFully } from "../../disk/calls.ts";
import { errorCode } from "../../shapes.ts";

/** Longer than answers from memory take. */
const MAX_QUICK_MS = 2;
/** After a slow answer, so many calls are handed to threads before another one is made at once. */
const SLOW_CALLS = 64;
/** Bytes that are copied at once. */
const MAX_QUICK_LENGTH = 2 ** 17;

const threads = {
  mode: promisify(fchmod),
  owner: promisify(fchown),
  times: promisify(futimes),
  truncate: promisify(ftruncate),
};

/** To be awaited either way. Errors may be thrown at once. */
type Soon<Result> = Result | Promise<Result>;

/** The calls, for one file system. */
export class FileCalls {
  #slowLeft = 0;

  open(path: string, flags: number, mode?: number): Soon<number> {
    const later = (): Promise<number> => descriptors.open(path, flags, mode);
    return this.#call(() => openSync(path, flags, mode), later);
  }
  close(descriptor: number): Soon<void> {
    return this.#call(
      () => closeSync(descriptor),
      () => descriptors.close(descriptor),
    );
  }
  stat(descriptor: number): Soon<BigIntStats> {
    const options = { bigint: true } as const;
    return this.#call(
      () => fstatSync(descriptor, options),
      () => descriptors.stat(descriptor, options),
    );
  }
  /** What has a name, undefined if nothing has: an error for each file that is new would cost more than the call. */
  look(path: string): Soon<BigIntStats | undefined> {
    const options = { bigint: true } as const;
    return this.#call(
      () => lstatSync(path, { ...options, throwIfNoEntry: false }),
      () =>
        lstat(path, options).catch((error) => {
          if (errorCode(error) === "ENOENT") return undefined;
          throw error;
        }),
    );
  }
  setMode(descriptor: number, mode: number): Soon<void> {
    return this.#call(
      () => fchmodSync(descriptor, mode),
      () => threads.mode(descriptor, mode),
    );
  }
  setOwner(descriptor: number, uid: number, gid: number): Soon<void> {
    return this.#call(
      () => fchownSync(descriptor, uid, gid),
      () => threads.owner(descriptor, uid, gid),
    );
  }
  setTimes(descriptor: number, time: string): Soon<void> {
    return this.#call(
      () => futimesSync(descriptor, time, time),
      () => threads.times(descriptor, time, time),
    );
  }
  truncate(descriptor: number, length: number): Soon<void> {
    return this.#call(
      () => ftruncateSync(descriptor, length),
      () => threads.truncate(descriptor, length),
    );
  }
  link(from: string, to: string): Soon<void> {
    return this.#call(
      () => linkSync(from, to),
      () => link(from, to),
    );
  }
  rename(from: string, to: string): Soon<void> {
    return this.#call(
      () => renameSync(from, to),
      () => rename(from, to),
    );
  }
  unlink(path: string): Soon<void> {
    return this.#call(
      () => unlinkSync(path),
      () => unlink(path),
    );
  }
  makeFolder(path: string): Soon<unknown> {
    return this.#call<unknown>(
      () => mkdirSync(path),
      () => mkdir(path),
    );
  }
  /** Writes all of `bytes`; by a thread, if they are many. */
  write(descriptor: number, bytes: Uint8Array, position: number): Soon<void> {
    if (bytes.length > MAX_QUICK_LENGTH) return writeFully(descriptor, bytes, position);
    // A call that writes less than all is none that succeeds at once: the rest is for a thread, which tells why.
    const now = (): number => writeSync(descriptor, bytes, 0, bytes.length, position);
    const done = this.#call<number>(now, async () => 0);
    const rest = (count: number): Soon<void> =>
      count === bytes.length ? undefined : writeFully(descriptor, bytes.subarray(count), position + count);
    return typeof done === "number" ? rest(done) : done.then(rest);
  }

  /** Whether a name is that of the file with `stats`. */
  async leadsTo(path: string, stats: BigIntStats): Promise<boolean> {
    try {
      const now = await this.look(path);
      return now?.dev === stats.dev && now.ino === stats.ino;
    } catch {
      return false;
    }
  }

  #call<Result>(now: () => Result, later: () => Promise<Result>): Soon<Result> {
    if (this.#slowLeft > 0) {
      this.#slowLeft--;
      return later();
    }
    const start = performance.now();
    try {
      return now();
    } finally {
      if (performance.now() - start > MAX_QUICK_MS) this.#slowLeft = SLOW_CALLS;
    }
  }
}
