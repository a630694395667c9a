// Paths that a list names, as a walk visits them: folder by folder, each name once.

/** Paths relative to the root, sorted so that a folder stands right before what is below it. */
export class NamedPaths {
  // Names are separated by NUL, which no name has and which sorts before everything else.
  readonly #paths: readonly string[];

  /** @param paths Latin-1 strings of bytes, without `.`, `..` and empty names; empty for the root */
  constructor(paths: Iterable<string>) {
    const sorted = Array.from(paths, (path) => path.replaceAll("/", "\0")).sort();
    let last: string | undefined;
    this.#paths = sorted.filter((path) => {
      const isNew = last === undefined || !(path === last || last === "" || path.startsWith(`${last}\0`));
      if (isNew) last = path;
      return isNew;
    });
  }

  /** All of them. */
  get all(): NamedRange {
    return { from: 0, to: this.#paths.length, depth: 0 };
  }

  /** The names that paths of `range` have at its depth, in the order of their bytes, with what is named below them. */
  *namesOf(range: NamedRange): Generator<{ readonly name: string; readonly below: NamedRange | undefined }> {
    for (let at = range.from; at < range.to; ) {
      const name = this.#nameAt(at, range.depth);
      let end = at + 1;
      while (end < range.to && this.#nameAt(end, range.depth) === name) end++;
      const isWhole = this.#paths[at]?.split("\0").length === range.depth + 1;
      yield { name, below: isWhole ? undefined : { from: at, to: end, depth: range.depth + 1 } };
      at = end;
    }
  }

  /** The paths of `range`, with slashes. */
  *pathsOf({ from, to }: NamedRange): Generator<string> {
    for (let at = from; at < to; at++) yield this.#paths[at]?.replaceAll("\0", "/") ?? "";
  }

  /** Whether the root itself is named. */
  get isEverything(): boolean {
    return this.#paths[0] === "";
  }

  #nameAt(at: number, depth: number): string {
    return this.#paths[at]?.split("\0")[depth] ?? "";
  }
}

/** Some of them: those that are named below one folder. */
export interface NamedRange {
  readonly from: number;
  readonly to: number;
  readonly depth: number;
}
