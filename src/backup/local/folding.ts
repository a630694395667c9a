// Names that are one to a file system, though they differ: in case, or in how their accents are composed.
import { randomBytes } from "node:crypto";
import { lstat, mkdir, rmdir } from "node:fs/promises";
import path from "node:path";
import { errorCode } from "../../shapes.ts";

/** What a file system takes for the same. */
export interface Folding {
  readonly letterCase: boolean;
  readonly normalization: boolean;
}

/** Asks the file system of a folder, by making one in it for a moment. */
export async function probeFolding(folder: string): Promise<Folding> {
  // "é" composed, in lower case.
  const name = `.frameseal-probe-\u00e9-${randomBytes(6).toString("hex")}`;
  const made = path.join(folder, name);
  await mkdir(made, { mode: 0o700 });
  try {
    const [letterCase, normalization] = await Promise.all([
      isThere(path.join(folder, name.toUpperCase())),
      isThere(path.join(folder, name.normalize("NFD"))),
    ]);
    return { letterCase, normalization };
  } finally {
    await rmdir(made);
  }
}

async function isThere(name: string): Promise<boolean> {
  try {
    await lstat(name);
    return true;
  } catch (error) {
    if (errorCode(error) === "ENOENT") return false;
    throw error;
  }
}

/**
 * Finds names of one restore that a file system may take for the same. Remembers all of them, and nothing at all where
 * the file system tells every name from every other.
 */
export class NameCollisions {
  readonly #folding: Folding;
  readonly #first = new Map<string, string>();

  constructor(folding: Folding) {
    this.#folding = folding;
  }

  /**
   * Takes a path, unless another one has a part that is the same to the file system.
   * @returns that other path, as far as it is the same; undefined if there is none
   */
  claim(path: string): string | undefined {
    const { letterCase, normalization } = this.#folding;
    if (!letterCase && !normalization) return undefined;
    const fresh: [string, string][] = [];
    for (let end = path.indexOf("/"); ; end = path.indexOf("/", end + 1)) {
      const part = end < 0 ? path : path.slice(0, end);
      const folded = this.#fold(part);
      const first = this.#first.get(folded);
      if (first === undefined) fresh.push([folded, part]);
      else if (first !== part) return first;
      if (end < 0) break;
    }
    for (const [folded, part] of fresh) this.#first.set(folded, part);
    return undefined;
  }

  #fold(text: string): string {
    let folded = this.#folding.normalization ? text.normalize("NFD") : text;
    if (this.#folding.letterCase) folded = folded.toUpperCase().toLowerCase();
    return this.#folding.normalization ? folded.normalize("NFC") : folded;
  }
}
