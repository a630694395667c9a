// A file that grows under a name of its own, beside its final name, and may be gone on with by a later run. Under the final
// name it appears when it is complete.

import { randomBytes } from "node:crypto";
import { type BigIntStats, constants, fdatasync } from "node:fs";
import { rm } from "node:fs/promises";
import { promisify } from "node:util";
import { descriptors, fileError } from "../../disk/calls.ts";
import { lockFile } from "../../disk/file-lock.ts";
import { type Durability, existsAlready, notDurable } from "../../disk/new-file.ts";
import { errorCode } from "../../shapes.ts";
import { insideOf, underName } from "./anchored.ts";
import type { FileCalls } from "./file-calls.ts";
import { dataRuns } from "./holes.ts";
import type { OpenFolder } from "./open-folders.ts";
import { partialNameOf } from "./partial-name.ts";
import { type AttributeChoice, type RestoredAttributes, setAttributes } from "./restored-attributes.ts";

const syncData = promisify(fdatasync);

/** How files are made. */
export interface FileChoice extends AttributeChoice {
  /** What becomes of something that has the final name; by default `refuse`. */
  readonly overwrite?: "refuse" | "replace" | undefined;
  /** `full`, the default, waits until file and folder are on disk. */
  readonly sync?: "full" | "none" | undefined;
  /** Leave zeros out, as holes. */
  readonly sparse?: boolean | undefined;
}

/** Others may take a file away before it is locked: how often that may happen. */
const ATTEMPTS = 20;
/** Plaintext is for nobody else until its permissions are known. */
const PRIVATE = 0o600;

/** The file. `publish`, `discard` or `keep` ends it. */
export class PartialFile {
  /** Absolute, under which it is now. */
  readonly temporary: string;
  /** Bytes that an earlier run wrote and that are kept. */
  readonly resumed: number;
  readonly #calls: FileCalls;
  readonly #parent: OpenFolder;
  readonly #name: string;
  readonly #temporaryName: string;
  readonly #descriptor: number;
  readonly #stats: BigIntStats;
  readonly #choice: FileChoice;
  #length: number;
  #state: "open" | "published" | "ended" = "open";

  private constructor(
    calls: FileCalls,
    parent: OpenFolder,
    name: string,
    choice: FileChoice,
    opened: Opened,
  ) {
    this.#calls = calls;
    this.#parent = parent;
    this.#name = name;
    this.#choice = choice;
    this.#temporaryName = opened.name;
    this.#descriptor = opened.descriptor;
    this.#stats = opened.stats;
    this.resumed = opened.resumed;
    this.#length = opened.resumed;
    this.temporary = `${parent.absolute}/${opened.name}`;
  }

  /**
   * @param parent released when the file ends, or cannot be opened
   * @param resumeFrom bytes at the beginning that are verified and on disk; what is behind them is cut off. Undefined for a
   *   file that is not gone on with
   * @throws Error with the system's code: EEXIST; EBUSY if another process works on it
   */
  static async open(
    calls: FileCalls,
    parent: OpenFolder,
    name: string,
    choice: FileChoice,
    resumeFrom: number | undefined,
  ): Promise<PartialFile> {
    try {
      const at = insideOf(parent.descriptor, parent.absolute);
      await checkFinalName(calls, `${at}/${name}`, `${parent.absolute}/${name}`, choice);
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        const opened = await tryToOpen(calls, at, name, resumeFrom);
        if (opened === "busy")
          throw fileError(
            "EBUSY",
            "open",
            `${parent.absolute}/${name}`,
            "is being restored by somebody else",
          );
        if (opened !== undefined) return new PartialFile(calls, parent, name, choice, opened);
      }
      throw fileError(
        "EBUSY",
        "open",
        `${parent.absolute}/${name}`,
        "cannot be made: its partial file is taken away",
      );
    } catch (error) {
      parent.release();
      throw underName(error, `${parent.absolute}/${name}`);
    }
  }

  get #absolute(): string {
    return `${this.#parent.absolute}/${this.#name}`;
  }

  /** For reading what is there; not to be closed. */
  get descriptor(): number {
    return this.#descriptor;
  }

  /**
   * Writes at a place in the file. What is not written before `publish` reads as zeros.
   * @throws Error with the system's code
   */
  async write(bytes: Uint8Array, position: number): Promise<void> {
    await this.#told(async () => {
      const runs = this.#choice.sparse === true ? dataRuns(bytes, position) : [{ from: 0, to: bytes.length }];
      for (const { from, to } of runs)
        await this.#calls.write(this.#descriptor, bytes.subarray(from, to), position + from);
      this.#length = Math.max(this.#length, position + bytes.length);
    });
  }

  /** Waits until what was written is on disk, so that a later run may go on from there. */
  async sync(): Promise<void> {
    await this.#told(() => syncData(this.#descriptor));
  }

  /** Cuts off what is behind `length`. */
  async truncate(length: number): Promise<void> {
    await this.#told(async () => this.#calls.truncate(this.#descriptor, length));
    this.#length = length;
  }

  /**
   * Gives the file its attributes and its final name.
   * @throws Error with the system's code: nothing has the final name that did not have it before
   * @throws FramesealError NOT_DURABLE: it has its name, but something failed afterwards
   */
  async publish(attributes: RestoredAttributes): Promise<Durability> {
    const at = insideOf(this.#parent.descriptor, this.#parent.absolute);
    const leftover = await this.#told(async () => {
      // A hole at the end is no byte that was written.
      if (this.#choice.sparse === true) await this.#calls.truncate(this.#descriptor, this.#length);
      await setAttributes(this.#calls, this.#descriptor, attributes, this.#choice);
      if (this.#choice.sync !== "none") await descriptors.sync(this.#descriptor);
      return this.#move(at);
    });
    this.#state = "published";
    try {
      await this.#calls.close(this.#descriptor);
      const isSynced = this.#choice.sync !== "none" && (await this.#parent.sync());
      if (leftover !== undefined) throw leftover;
      return isSynced ? "synced" : "not-synced";
    } catch (error) {
      throw notDurable(this.#absolute, [
        error === leftover ? { error: leftover, leftover: this.temporary } : { error },
      ]);
    } finally {
      this.#parent.release();
    }
  }

  /** @returns why the file still has its temporary name as well, if it has */
  async #move(at: string): Promise<unknown> {
    const [from, to] = [`${at}/${this.#temporaryName}`, `${at}/${this.#name}`];
    if (!(await this.#calls.leadsTo(from, this.#stats)))
      throw fileError("ENOENT", "rename", this.#absolute, "was not made: its partial file was taken away");
    if (this.#choice.overwrite === "replace") return this.#rename(from, to);
    // link(2) fails when the name exists, rename(2) does not.
    try {
      await this.#calls.link(from, to);
    } catch (error) {
      if (await this.#calls.leadsTo(to, this.#stats)) return undefined; // done, though its answer was lost
      if (errorCode(error) === "EEXIST") throw existsAlready(this.#absolute, "link");
      // A file system without hard links: there is a moment in which a file that appears there is replaced.
      await checkFinalName(this.#calls, to, this.#absolute, this.#choice);
      return this.#rename(from, to);
    }
    try {
      await this.#calls.unlink(from);
    } catch (error) {
      if (errorCode(error) !== "ENOENT") return error;
    }
    return undefined;
  }

  // A network file system may lose the answer of a call that was done.
  async #rename(from: string, to: string): Promise<undefined> {
    try {
      await this.#calls.rename(from, to);
    } catch (error) {
      if (!(await this.#calls.leadsTo(to, this.#stats))) throw error;
    }
  }

  /** Removes it. Safe after the other ends, and more than once. */
  async discard(): Promise<void> {
    if (this.#state !== "open") return;
    const at = `${insideOf(this.#parent.descriptor, this.#parent.absolute)}/${this.#temporaryName}`;
    // While it is locked, so that it is nobody else's. The failure that led here is the one to report.
    try {
      if (await this.#calls.leadsTo(at, this.#stats)) await this.#calls.unlink(at);
    } catch {}
    await this.keep();
  }

  /** Leaves it for a later run. Safe after the other ends, and more than once. */
  async keep(): Promise<void> {
    if (this.#state !== "open") return;
    this.#state = "ended";
    await descriptors.close(this.#descriptor).catch(() => {});
    this.#parent.release();
  }

  async #told<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#state !== "open") throw new Error("internal error: the partial file has ended");
    try {
      return await work();
    } catch (error) {
      throw underName(error, this.#absolute);
    }
  }
}

interface Opened {
  readonly name: string;
  readonly descriptor: number;
  readonly stats: BigIntStats;
  readonly resumed: number;
}

async function checkFinalName(
  calls: FileCalls,
  at: string,
  absolute: string,
  choice: FileChoice,
): Promise<void> {
  const stats = await calls.look(at);
  if (stats === undefined) return;
  if (choice.overwrite !== "replace") throw existsAlready(absolute, "open");
  if (stats.isDirectory())
    throw fileError("EISDIR", "open", absolute, "is a folder, and is not replaced by a file");
}

async function tryToOpen(
  calls: FileCalls,
  at: string,
  name: string,
  resumeFrom: number | undefined,
): Promise<Opened | "busy" | undefined> {
  const partial = partialNameOf(name);
  const opened = await openOwn(calls, `${at}/${partial}`);
  if (opened === undefined) return undefined;
  const { descriptor, stats } = opened;
  try {
    const lock = lockFile(descriptor);
    if (lock === "taken") {
      await descriptors.close(descriptor);
      return "busy";
    }
    if (lock === "unknown" && resumeFrom === undefined) {
      // Somebody else might work on it as well: a name that nobody else has.
      await descriptors.close(descriptor);
      await rm(`${at}/${partial}`, { force: true });
      return openFresh(calls, at, partialNameOf(`${name}.${randomBytes(6).toString("hex")}`));
    }
    if (await calls.leadsTo(`${at}/${partial}`, stats)) {
      const { size, mode } = await calls.stat(descriptor);
      const resumed = resumeFrom !== undefined && size >= BigInt(resumeFrom) ? resumeFrom : 0;
      if ((mode & 0o7777n) !== BigInt(PRIVATE)) await calls.setMode(descriptor, PRIVATE);
      if (size > BigInt(resumed)) await calls.truncate(descriptor, resumed);
      return { name: partial, descriptor, stats, resumed };
    }
  } catch (error) {
    await descriptors.close(descriptor).catch(() => {});
    throw error;
  }
  await descriptors.close(descriptor);
  return undefined;
}

async function openFresh(calls: FileCalls, at: string, name: string): Promise<Opened> {
  const { O_CREAT, O_EXCL, O_RDWR, O_NOFOLLOW = 0 } = constants;
  const descriptor = await calls.open(`${at}/${name}`, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW, PRIVATE);
  return { name, descriptor, stats: await calls.stat(descriptor), resumed: 0 };
}

// A link, a FIFO, or a file of somebody else or with another name is nothing to write into: it is taken away.
async function openOwn(
  calls: FileCalls,
  path: string,
): Promise<{ readonly descriptor: number; readonly stats: BigIntStats } | undefined> {
  const { O_CREAT, O_RDWR, O_NOFOLLOW = 0, O_NONBLOCK = 0 } = constants;
  let descriptor: number | undefined;
  try {
    descriptor = await calls.open(path, O_CREAT | O_RDWR | O_NOFOLLOW | O_NONBLOCK, PRIVATE);
    const stats = await calls.stat(descriptor);
    const owner = process.geteuid?.();
    const isOwn = owner === undefined || Number(stats.uid) === owner;
    if (stats.isFile() && stats.nlink === 1n && isOwn) return { descriptor, stats };
    // Removed meanwhile by who had it open: the next attempt makes another one.
    if (stats.nlink === 0n) return await descriptors.close(descriptor).then(() => undefined);
  } catch (error) {
    if (!FOREIGN.includes(errorCode(error) ?? "")) throw error;
  }
  if (descriptor !== undefined) await descriptors.close(descriptor);
  await rm(path, { force: true }); // not recursive: a folder is left, and told
  return undefined;
}

/** What opening a link, a socket or somebody else's file gives. */
const FOREIGN = ["ELOOP", "ENXIO", "EACCES", "EMLINK"];
