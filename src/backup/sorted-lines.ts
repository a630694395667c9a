// Any number of lines, sorted by a key, in bounded memory: what is too much waits in a temporary file, in runs that are
// sorted and merged when they are read. The file has no name once it is open, so no crash leaves it behind.
import { randomUUID } from "node:crypto";
import { closeSync, openSync, readSync, unlinkSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { FramesealError } from "../errors.ts";
import { errorCode } from "../shapes.ts";
import { compareKeys } from "./key-order.ts";

/** A line and what it is sorted by. Neither holds a line end of its own that is not escaped: both are JSON, or plain words. */
export interface Line {
  readonly key: string;
  readonly text: string;
}

/** Where lines wait, and how much of them in memory. */
export interface SortOptions {
  /** Bytes, about. */
  readonly memory?: number | undefined;
  /** By default that of the system for temporary files. */
  readonly folder?: string | undefined;
}

const DEFAULT_MEMORY = 16 * 2 ** 20;
/** What a line takes besides its characters. */
const LINE_OVERHEAD = 100;
/** Bytes of a run that are read at a time. */
const READ_LENGTH = 64 * 1024;

/** Lines in the order of the bytes of their keys. Of several with one key the last that was added counts. */
export class SortedLines {
  readonly #memory: number;
  readonly #folder: string;
  #held: Line[] = [];
  #heldLength = 0;
  #spool: Spool | undefined;

  constructor(options: SortOptions = {}) {
    this.#memory = options.memory ?? DEFAULT_MEMORY;
    this.#folder = options.folder ?? tmpdir();
  }

  /** @throws FramesealError LIMIT_EXCEEDED when the temporary file cannot be made or written */
  add(key: string, text: string): void {
    this.#held.push({ key, text });
    this.#heldLength += 2 * (key.length + text.length) + LINE_OVERHEAD;
    if (this.#heldLength < this.#memory) return;
    this.#spool ??= Spool.create(this.#folder);
    this.#spool.write(this.#sorted());
    this.#held = [];
    this.#heldLength = 0;
  }

  /** All lines; may be called again, when nothing is added meanwhile. */
  *lines(): Generator<Line> {
    let last: Line | undefined;
    for (const line of this.#merged()) {
      if (last !== undefined && last.key !== line.key) yield last;
      last = line;
    }
    if (last !== undefined) yield last;
  }

  /** Gives memory and disk space back. Safe to call more than once. */
  close(): void {
    this.#held = [];
    this.#spool?.close();
    this.#spool = undefined;
  }

  #sorted(): Line[] {
    return this.#held.sort((a, b) => compareKeys(a.key, b.key)); // stable
  }

  #merged(): Iterable<Line> {
    const held = this.#sorted();
    return this.#spool === undefined ? held : merge([...this.#spool.runs(), held.values()]);
  }
}

/** A run that is being merged, by its next line. */
interface Head {
  line: Line;
  /** Its place among the runs: what was added later comes later. */
  readonly place: number;
  readonly rest: Iterator<Line>;
}

// The heads are a heap: the first is the least, and each is less than those at twice its place.
function* merge(runs: readonly Iterator<Line>[]): Generator<Line> {
  const heads: Head[] = [];
  for (const [place, rest] of runs.entries()) {
    const first = rest.next();
    if (first.done !== true) heads.push({ line: first.value, place, rest });
  }
  heads.sort(compareHeads);
  for (let head = heads[0]; head !== undefined; head = heads[0]) {
    yield head.line;
    const next = head.rest.next();
    if (next.done !== true) head.line = next.value;
    else {
      const last = heads.pop();
      if (last === undefined || last === head) continue;
      heads[0] = last;
    }
    siftDown(heads);
  }
}

function compareHeads(a: Head, b: Head): number {
  return compareKeys(a.line.key, b.line.key) || a.place - b.place;
}

function siftDown(heads: Head[]): void {
  for (let index = 0; ; ) {
    let least = index;
    for (const child of [2 * index + 1, 2 * index + 2]) {
      const [one, other] = [heads[child], heads[least]];
      if (one !== undefined && other !== undefined && compareHeads(one, other) < 0) least = child;
    }
    const [here, there] = [heads[index], heads[least]];
    if (least === index || here === undefined || there === undefined) return;
    heads[index] = there;
    heads[least] = here;
    index = least;
  }
}

/** The temporary file: for each line its key as JSON, a line end, its text, a line end. */
class Spool {
  readonly #descriptor: number;
  /** Where the file still has its name, on systems that do not take it away while it is open. */
  readonly #name: string | undefined;
  readonly #runs: { readonly start: number; readonly end: number }[] = [];
  #length = 0;

  private constructor(descriptor: number, name: string | undefined) {
    this.#descriptor = descriptor;
    this.#name = name;
  }

  static create(folder: string): Spool {
    const name = path.join(folder, `frameseal-lines-${randomUUID()}`);
    const descriptor = orFull(() => openSync(name, "wx+", 0o600));
    try {
      unlinkSync(name);
      return new Spool(descriptor, undefined);
    } catch {
      return new Spool(descriptor, name);
    }
  }

  write(lines: readonly Line[]): void {
    const start = this.#length;
    let block: string[] = [];
    let blockLength = 0;
    const flush = (): void => {
      const bytes = Buffer.from(block.join(""));
      for (let at = 0; at < bytes.length; )
        at += orFull(() => writeSync(this.#descriptor, bytes, at, bytes.length - at, this.#length + at));
      this.#length += bytes.length;
      block = [];
      blockLength = 0;
    };
    for (const { key, text } of lines) {
      block.push(`${JSON.stringify(key)}\n${text}\n`);
      blockLength += key.length + text.length;
      if (blockLength >= READ_LENGTH) flush();
    }
    flush();
    this.#runs.push({ start, end: this.#length });
  }

  runs(): Iterator<Line>[] {
    return this.#runs.map(({ start, end }) => this.#run(start, end));
  }

  *#run(start: number, end: number): Generator<Line> {
    let key: string | undefined;
    for (const text of this.#texts(start, end)) {
      if (key === undefined) key = text;
      else {
        yield { key: JSON.parse(key), text };
        key = undefined;
      }
    }
  }

  *#texts(start: number, end: number): Generator<string> {
    let pieces: Buffer[] = [];
    for (let at = start; at < end; ) {
      const bytes = Buffer.allocUnsafe(Math.min(READ_LENGTH, end - at));
      const count = readSync(this.#descriptor, bytes, 0, bytes.length, at);
      if (count === 0) throw new Error("internal error: temporary file got shorter");
      at += count;
      let from = 0;
      for (let to = bytes.indexOf(10); to >= 0 && to < count; to = bytes.indexOf(10, from)) {
        yield Buffer.concat([...pieces, bytes.subarray(from, to)]).toString();
        pieces = [];
        from = to + 1;
      }
      pieces.push(bytes.subarray(from, count));
    }
  }

  close(): void {
    closeSync(this.#descriptor);
    if (this.#name === undefined) return;
    try {
      unlinkSync(this.#name);
    } catch {
      // in the way of nobody
    }
  }
}

function orFull<Result>(call: () => Result): Result {
  try {
    return call();
  } catch (cause) {
    const full = ["ENOSPC", "EDQUOT"].includes(errorCode(cause) ?? "");
    throw new FramesealError(
      "LIMIT_EXCEEDED",
      `lists that are too long for memory need a temporary file, but ${
        full ? "the disk is full" : (errorCode(cause) ?? "the system refused it")
      }: TMPDIR names another folder`,
      { cause },
    );
  }
}
