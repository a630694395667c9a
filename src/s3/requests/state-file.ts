// States of multipart uploads in files: a folder for each upload, in it one file for each revision, of which the last
// is the state. A revision comes into being by link(2), which fails if it is there already: that is the swap. Names of
// older revisions stay, without their content, until the upload ends, so that no revision can come into being twice.
import { createHash, randomUUID } from "node:crypto";
import { link, mkdir, open, readdir, readFile, rename, rm, stat, truncate, unlink } from "node:fs/promises";
import path from "node:path";
import { notDurable, syncFolder } from "../../disk/new-file.ts";
import { FramesealError } from "../../errors.ts";
import { errorCode } from "../../shapes.ts";
import type { MultipartState, MultipartStateStore } from "./multipart-state.ts";

/**
 * Keeps states of multipart uploads in `folder`, which is made if it is missing. Any number of clients and processes
 * may use it at a time; what was killed leaves nothing that disturbs others. Needs a file system with hard links, and
 * everybody must see the same files at once, as on local disks and NFS. A backup that is put back is an older state:
 * uploads that were under way then must be aborted.
 */
export function fileMultipartStates(folder: string): MultipartStateStore {
  if (typeof folder !== "string" || folder === "")
    throw new TypeError(`"folder" expected a path, got ${typeof folder}`);
  return new StateFolder(path.resolve(folder));
}

class StateFolder implements MultipartStateStore {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async load(uploadId: string): Promise<MultipartState | undefined> {
    const place = this.#placeOf(uploadId);
    for (let previous: number | undefined; ; ) {
      const newest = await newestRevision(place);
      if (newest === undefined) return undefined;
      const file = path.join(place, String(newest));
      const state = await readState(file);
      if (state !== undefined) {
        // Whoever wrote it may not have got that far: what others go on from must not be lost.
        await syncNames(place, file);
        return state;
      }
      // Emptied in the meantime, so there is a newer one.
      if (newest === previous)
        throw new FramesealError("TRUNCATED", `state of an upload is damaged: ${file}`);
      previous = newest;
    }
  }

  async compareAndSwap(
    uploadId: string,
    state: MultipartState,
    expected: number | undefined,
  ): Promise<boolean> {
    const place = this.#placeOf(uploadId);
    if (expected === undefined) return this.#create(place, state);
    const before = path.join(place, String(expected));
    if (!(await exists(before))) return false;
    const temporary = path.join(place, `.${randomUUID()}`);
    const file = path.join(place, String(state.revision));
    try {
      await writeDurably(temporary, state);
      await link(temporary, file);
    } catch (error) {
      if (["EEXIST", "ENOENT"].includes(errorCode(error) ?? "")) return false; // swapped, or removed, by others
      throw error;
    } finally {
      await unlink(temporary).catch(() => {}); // goes with the folder
    }
    // Removed and made anew in between: then this is not the file after `before`.
    const isNext = await exists(before).catch(async (error: unknown) => {
      await unlink(file);
      throw error;
    });
    if (!isNext) {
      await unlink(file).catch(ignoreAbsence);
      return false;
    }
    await syncNames(place, file);
    await truncate(before, 0).catch(() => {}); // it only takes space
    return true;
  }

  // The folder appears with its first state in it; it cannot replace one that is there, since that is never empty.
  async #create(place: string, state: MultipartState): Promise<boolean> {
    const temporary = this.#temporary(place);
    await mkdir(temporary, { recursive: true, mode: 0o700 });
    try {
      await writeDurably(path.join(temporary, String(state.revision)), state);
      await syncFolder(temporary);
      if (await exists(place)) return false;
      await rename(temporary, place);
    } catch (error) {
      if (await exists(place)) return false;
      throw error;
    } finally {
      await rm(temporary, { recursive: true, force: true }).catch(() => {}); // in the way of nobody
    }
    await syncNames(this.#folder, place);
    return true;
  }

  async remove(uploadId: string): Promise<void> {
    const place = this.#placeOf(uploadId);
    const temporary = this.#temporary(place);
    await rename(place, temporary).catch(ignoreAbsence);
    await rm(temporary, { recursive: true, force: true });
  }

  // Upload ids may be long, and of any characters.
  #placeOf(uploadId: string): string {
    return path.join(this.#folder, createHash("sha256").update(uploadId).digest("hex"));
  }
  #temporary(place: string): string {
    return path.join(this.#folder, `.${path.basename(place)}-${randomUUID()}`);
  }
}

// Names that were there all the time are listed, and none goes: the newest at the start is among them.
async function newestRevision(place: string): Promise<number | undefined> {
  const names = (await readdir(place).catch(ignoreAbsence)) ?? [];
  const revisions = names.filter((name) => /^\d+$/.test(name)).map(Number);
  return revisions.length === 0 ? undefined : revisions.reduce((a, b) => Math.max(a, b));
}

async function readState(file: string): Promise<MultipartState | undefined> {
  const text = await readFile(file, "utf8").catch(ignoreAbsence);
  try {
    return text === undefined ? undefined : (JSON.parse(text) as MultipartState);
  } catch {
    return undefined;
  }
}

async function writeDurably(file: string, state: MultipartState): Promise<void> {
  const handle = await open(file, "wx", 0o600);
  try {
    await handle.writeFile(JSON.stringify(state));
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function exists(file: string): Promise<boolean> {
  return (await stat(file).catch(ignoreAbsence)) !== undefined;
}

// The state is there, but a power failure could take it away, and its revision be written a second time.
async function syncNames(folder: string, path: string): Promise<void> {
  await syncFolder(folder).catch((error: unknown) => {
    if (errorCode(error) !== "ENOENT") throw notDurable(path, [{ error }]); // removed by others: nothing to keep
  });
}

function ignoreAbsence(error: unknown): undefined {
  if (errorCode(error) !== "ENOENT") throw error;
}
