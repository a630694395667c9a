// Whether something in the source is what was stored: by what the system says of it, as a rule, and by its digest where
// that does not decide.
import type { TreeEntry } from "./entry.ts";
import type { StoredRow } from "./journal/journal.ts";

/** What a walk saw. */
export interface SourceState extends TreeEntry {
  readonly ctimeNs: bigint;
  readonly inode: bigint;
}

/** `digest`: what was stored may be the same, its bytes tell. */
export type Comparison = "new" | "changed" | "unchanged" | "digest";

/** In rows that were made without a look at the source. */
export const NO_INODE = 0n;

/** How to compare. */
export interface ComparisonOptions {
  /** Bytes decide, and not times. */
  readonly checksum: boolean;
}

/** Compares what is in the source with what is known to be stored. */
export function compare(
  source: SourceState,
  row: StoredRow | undefined,
  { checksum }: ComparisonOptions,
): Comparison {
  if (row === undefined) return "new";
  if (source.type !== row.type || source.size !== row.size) return "changed";
  if (source.type === "directory") return sameTimes(source, row) ? "unchanged" : "changed";
  if (checksum) return sameRights(source, row) ? "digest" : "changed";
  if (!sameTimes(source, row)) return "changed";
  if (row.inode === NO_INODE) return "unchanged"; // from a manifest, which does not have it
  return source.ctimeNs === row.ctimeNs && source.inode === row.inode ? "unchanged" : "digest";
}

// What the metadata of the object tells, and would be wrong.
function sameTimes(source: SourceState, row: StoredRow): boolean {
  return source.mtimeNs === row.mtimeNs && sameRights(source, row);
}

function sameRights(source: SourceState, row: StoredRow): boolean {
  return source.mode === row.mode && source.uid === row.uid && source.gid === row.gid;
}

/** File systems count the time of a change in steps of up to so much. */
const CLOCK_STEP_NS = 2_000_000_000n;

/**
 * The time of the last change as it is to be kept. A file that is changed again within the same step of the clock looks
 * the same as before; so one that was read that early is kept without, and compared by its digest the next time.
 * @param readAtNs when reading began
 */
export function settledChangeTime(ctimeNs: bigint, readAtNs: bigint): bigint {
  return ctimeNs + CLOCK_STEP_NS < readAtNs ? ctimeNs : 0n;
}
