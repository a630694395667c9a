// Looks for byte strings in the memory of another process: in every mapping that it could have written to. Linux only.
import { closeSync, openSync, readFileSync, readSync } from "node:fs";

/** A byte string that was found. */
export interface Hit {
  /** Its index in the list of what was looked for. */
  readonly index: number;
  readonly address: number;
  /** Name and rights of the mapping, as in /proc/PID/maps. */
  readonly mapping: string;
}

export interface SearchResult {
  readonly hits: readonly Hit[];
  /** Bytes that were read. */
  readonly length: number;
}

const CHUNK = 2 ** 20;
const MAX_NEEDLE = 64;
const FILTER_BITS = 20;

/** @param needles 8 to 64 bytes each */
export function searchMemory(pid: number, needles: readonly Uint8Array[]): SearchResult {
  // A bit for the first four bytes of each: nearly all positions end there.
  const filter = new Uint8Array(2 ** FILTER_BITS);
  const byStart = new Map<number, number[]>();
  for (const [index, needle] of needles.entries()) {
    const start = startOf(needle, 0);
    filter[slotOf(start)] = 1;
    const same = byStart.get(start);
    if (same === undefined) byStart.set(start, [index]);
    else same.push(index);
  }
  const hits: Hit[] = [];
  let total = 0;
  const memory = openSync(`/proc/${pid}/mem`, "r");
  try {
    const bytes = Buffer.alloc(CHUNK + MAX_NEEDLE);
    for (const { start, end, name } of mappingsOf(pid))
      for (let at = start; at < end; at += CHUNK) {
        const length = read(memory, bytes, Math.min(bytes.length, end - at), at);
        total += Math.min(length, CHUNK);
        const last = Math.min(length - 8, CHUNK - 1);
        let word = startOf(bytes, 0) << 8;
        for (let i = 0; i <= last; i++) {
          word = (word >>> 8) | ((bytes[i + 3] as number) << 24);
          if (filter[slotOf(word)] === 0) continue;
          for (const index of byStart.get(word | 0) ?? []) {
            const needle = needles[index] as Uint8Array;
            if (
              i + needle.length <= length &&
              bytes.compare(needle, 0, needle.length, i, i + needle.length) === 0
            )
              hits.push({ index, address: at + i, mapping: name });
          }
        }
      }
  } finally {
    closeSync(memory);
  }
  return { hits, length: total };
}

const startOf = (bytes: Uint8Array, at: number): number =>
  (bytes[at] as number) |
  ((bytes[at + 1] as number) << 8) |
  ((bytes[at + 2] as number) << 16) |
  ((bytes[at + 3] as number) << 24);
const slotOf = (word: number): number => Math.imul(word, 0x9e3779b1) >>> (32 - FILTER_BITS);

// Parts of a mapping may be out of bounds of a file, or have gone since.
function read(memory: number, bytes: Buffer, length: number, at: number): number {
  try {
    return readSync(memory, bytes, 0, length, at);
  } catch (error) {
    if (["EIO", "EFAULT"].includes((error as NodeJS.ErrnoException).code ?? "")) return 0;
    throw error;
  }
}

// Files that are mapped without the right to write to them hold what is on the disk.
function mappingsOf(pid: number): { start: number; end: number; name: string }[] {
  const pattern = /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ (\d+) *(.*)$/;
  return readFileSync(`/proc/${pid}/maps`, "latin1")
    .split("\n")
    .flatMap((line) => {
      const [, start = "", end = "", rights = "", inode, name = ""] = pattern.exec(line) ?? [];
      const isOurs = rights.startsWith("r") && (inode === "0" || rights[1] === "w");
      if (!isOurs || ["[vvar]", "[vsyscall]", "[vdso]"].includes(name)) return [];
      return [
        { start: Number.parseInt(start, 16), end: Number.parseInt(end, 16), name: `${name} ${rights}` },
      ];
    });
}
