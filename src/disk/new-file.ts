// A file that appears under its name only when it is complete. Up to that moment every failure leaves what was there;
// from that moment on none may be told as if nothing had happened.
import { constants } from "node:fs";
import { link, lstat, rename, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { FramesealError, throwIfAborted } from "../errors.ts";
import { errorCode, isError } from "../shapes.ts";
import { descriptors, fileError, writeFully } from "./calls.ts";
import { createTemporary, leadsTo, type TemporaryFile } from "./temporary-file.ts";

/** How a new file comes into being. */
export interface NewFileOptions {
  /** What to do when there is one; by default `refuse`. */
  readonly overwrite?: "refuse" | "replace" | undefined;
  /** `full`, the default, waits until file and folder are on disk; `none` leaves that to the system. */
  readonly sync?: "full" | "none" | undefined;
  /** Permissions, by default 0o600. */
  readonly mode?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** `synced`: file and folder were on disk when the operation ended. */
export type Durability = "synced" | "not-synced";

/** A file under a temporary name, which `publish` or `discard` ends. */
export class NewFile {
  readonly #to: string;
  readonly #options: NewFileOptions;
  readonly #temporary: TemporaryFile;
  #state: "writing" | "published" | "discarded" = "writing";
  #isOpen = true;

  private constructor(to: string, options: NewFileOptions, temporary: TemporaryFile) {
    this.#to = to;
    this.#options = options;
    this.#temporary = temporary;
  }

  /**
   * @param to must not be a folder or a symbolic link
   * @throws Error with the system's code; EEXIST if `to` exists and must not be replaced
   */
  static async create(to: string, options: NewFileOptions): Promise<NewFile> {
    throwIfAborted(options.signal);
    if (options.overwrite !== "replace" && (await exists(to))) throw existsAlready(to, "open");
    return new NewFile(to, options, await createTemporary(to));
  }

  get descriptor(): number {
    return this.#temporary.descriptor;
  }

  /**
   * Writes at a place in the file.
   * @throws Error with the system's code, which says that nothing was changed
   */
  async write(bytes: Uint8Array, position: number): Promise<void> {
    try {
      await writeFully(this.descriptor, bytes, position);
    } catch (error) {
      throw this.unchanged(error);
    }
  }

  /** What to throw for an error of the system before there is a new file: it says that the old one is as it was. */
  unchanged(error: unknown): unknown {
    const { code, syscall, path, message, errno } = error as NodeJS.ErrnoException;
    if (code === undefined || syscall === undefined || (code === "EEXIST" && path === this.#to)) return error;
    const told = fileError(code, syscall, this.#to, `was not changed: ${message}`, { cause: error });
    return Object.assign(told, { errno });
  }

  /**
   * Makes the file appear under its name.
   * @throws Error with the system's code: there is no new file, and an old one is as it was
   * @throws FramesealError NOT_DURABLE: the new file is there, but something failed afterwards
   */
  async publish(): Promise<Durability> {
    const { mode, sync } = this.#options;
    const faults: Fault[] = [];
    try {
      if (mode !== undefined) await descriptors.chmod(this.descriptor, mode);
      if (sync !== "none") await descriptors.sync(this.descriptor);
      // Systems may tell on closing what they could not write. A lock has to be held for longer.
      if (!this.#temporary.locked) await this.#close();
      await this.#move(faults);
    } catch (error) {
      throw this.unchanged(error);
    }
    this.#state = "published";
    await this.#close().catch((error) => faults.push({ error }));
    const synced =
      sync !== "none" && (await syncFolder(dirname(this.#to)).catch((error) => void faults.push({ error })));
    if (faults.length > 0) throw notDurable(this.#to, faults);
    return synced === true ? "synced" : "not-synced";
  }

  /** Removes what was written. Safe after `publish` and more than once. */
  async discard(): Promise<void> {
    if (this.#state !== "writing") return;
    this.#state = "discarded";
    // While it is locked, so that it is nobody else's. The failure that led here is the one to report.
    await unlink(this.#temporary.path).catch(() => {});
    await this.#close().catch(() => {});
  }

  async #close(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false; // also when it fails: then the descriptor is gone all the same
    await descriptors.close(this.descriptor);
  }

  async #move(faults: Fault[]): Promise<void> {
    const { path, stats } = this.#temporary;
    // A network file system may lose the answer of a call that was done.
    const done = async (): Promise<boolean> => leadsTo(this.#to, stats);
    if (this.#options.overwrite === "replace")
      return rename(path, this.#to).catch(async (error) => {
        if (!(await done())) throw error;
      });
    // link(2) fails when the name exists, rename(2) does not.
    try {
      await link(path, this.#to);
    } catch (error) {
      const code = errorCode(error) ?? "";
      if (NO_LINKS.includes(code)) return this.#moveWithoutLinks();
      if (!(await done())) throw code === "EEXIST" ? existsAlready(this.#to, "link") : error;
    }
    await unlink(path).catch((error) => {
      if (errorCode(error) !== "ENOENT") faults.push({ error, leftover: path });
    });
  }

  // There is a moment in which a file that appears there is replaced.
  async #moveWithoutLinks(): Promise<void> {
    if (await exists(this.#to)) throw existsAlready(this.#to, "rename");
    await rename(this.#temporary.path, this.#to);
  }
}

/** What file systems without hard links answer. */
const NO_LINKS = ["EPERM", "ENOSYS", "ENOTSUP", "EOPNOTSUPP", "EMLINK", "EINVAL"];

/** What failed when the file had its name already. */
interface Fault {
  readonly error: unknown;
  /** A second name of the file, which could not be removed. */
  readonly leftover?: string;
}

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (errorCode(error) === "ENOENT") return false;
    throw error;
  }
}

/** The error for a target that must not be replaced. */
export function existsAlready(path: string, syscall: string): Error {
  return fileError("EEXIST", syscall, path, "exists already");
}

/** The error for what failed after `path` was complete under its name. */
export function notDurable(path: string, faults: readonly Fault[]): FramesealError {
  const texts = faults.map(({ error, leftover }) => {
    const what =
      leftover === undefined ? "may not survive a power failure" : `its temporary name ${leftover} remains`;
    return `${what}: ${isError(error) ? error.message : String(error)}`;
  });
  return new FramesealError("NOT_DURABLE", `${path} is complete under its name, but ${texts.join("; ")}`, {
    cause: faults[0]?.error,
  });
}

/**
 * Waits until the names in `folder` are on disk; false where the system or the file system cannot do that.
 * @throws Error with the system's code
 */
export async function syncFolder(folder: string): Promise<boolean> {
  let descriptor: number;
  try {
    descriptor = await descriptors.open(folder, constants.O_RDONLY);
  } catch (error) {
    if (CANNOT_SYNC.includes(errorCode(error) ?? "")) return false;
    throw error;
  }
  try {
    await descriptors.sync(descriptor);
    return true;
  } catch (error) {
    if (CANNOT_SYNC.includes(errorCode(error) ?? "")) return false;
    throw error;
  } finally {
    await descriptors.close(descriptor).catch(() => {}); // says nothing about names
  }
}

const CANNOT_SYNC = ["EINVAL", "EPERM", "EACCES", "EISDIR", "ENOTSUP", "EBADF"];
