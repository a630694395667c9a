// Folders that stay open while many files are made in them.
import { close } from "node:fs";
import { syncFolder } from "../../disk/new-file.ts";
import { insideOf, openFolder, stillStandsAt } from "./anchored.ts";

/** An open folder. What is made through it is in this folder, whatever becomes of its name. */
export interface OpenFolder {
  readonly descriptor: number;
  /** Canonical. */
  readonly absolute: string;
  /**
   * Waits until the names in it are on disk that are there now; false where the system cannot do that. Those who wait at
   * the same time share one call.
   */
  sync(): Promise<boolean>;
  /** To be called once. */
  release(): void;
}

interface Kept {
  readonly descriptor: number;
  users: number;
  isKept: boolean;
  syncing: Promise<unknown>;
  /** Begins when `syncing` has ended. */
  nextSync: Promise<boolean> | undefined;
}

/** How many folders stay open that nobody uses. */
const MAX_KEPT = 32;

/** Opens folders, and keeps the last of them open. */
export class OpenFolders {
  readonly #kept = new Map<string, Kept>();

  /** @throws Error with the system's code: ELOOP if a part of the path is a link */
  async open(absolute: string): Promise<OpenFolder> {
    return this.#find(absolute) ?? this.add(absolute, await openFolder(absolute));
  }

  /** Takes over an open folder. */
  add(absolute: string, descriptor: number): OpenFolder {
    const kept: Kept = {
      descriptor,
      users: 0,
      isKept: true,
      syncing: Promise.resolve(),
      nextSync: undefined,
    };
    this.#forget(absolute);
    this.#kept.set(absolute, kept);
    for (const [each] of this.#kept) {
      if (this.#kept.size <= MAX_KEPT) break;
      this.#forget(each);
    }
    return use(absolute, kept);
  }

  /** Closes what nobody uses; what is used is closed after that. */
  close(): void {
    for (const [absolute] of this.#kept) this.#forget(absolute);
  }

  // One that was moved meanwhile, or is reached through a link now, is not that folder any more.
  #find(absolute: string): OpenFolder | undefined {
    const kept = this.#kept.get(absolute);
    if (kept === undefined) return undefined;
    if (stillStandsAt(kept.descriptor, absolute)) return use(absolute, kept);
    this.#forget(absolute);
    return undefined;
  }

  #forget(absolute: string): void {
    const kept = this.#kept.get(absolute);
    if (kept === undefined) return;
    this.#kept.delete(absolute);
    kept.isKept = false;
    closeUnused(kept);
  }
}

function use(absolute: string, kept: Kept): OpenFolder {
  kept.users++;
  return {
    descriptor: kept.descriptor,
    absolute,
    sync: () => {
      kept.nextSync ??= kept.syncing
        .catch(() => {}) // told to those who waited for it
        .then(() => {
          kept.syncing = kept.nextSync ?? kept.syncing;
          kept.nextSync = undefined;
          return syncFolder(insideOf(kept.descriptor, absolute));
        });
      return kept.nextSync;
    },
    release: () => {
      kept.users--;
      closeUnused(kept);
    },
  };
}

function closeUnused(kept: Kept): void {
  if (kept.users === 0 && !kept.isKept) close(kept.descriptor, () => {}); // nothing was written
}
