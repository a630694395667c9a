// What is known to be stored below a prefix: by the journal, or by the newest manifest where there is none.
import { messageOf } from "../errors.ts";
import { NO_INODE } from "./changed.ts";
import type { Journal, StoredRow } from "./journal/journal.ts";
import type { ManifestEntry } from "./manifest/format.ts";
import { type ManifestPlace, newestRun } from "./manifest/place.ts";
import { openManifest } from "./manifest/reader.ts";
import { isUntrusted } from "./untrusted.ts";

/** Rows by the keys of objects. */
export type StoredRows = Pick<Journal, "stored" | "allStored" | "putStored" | "removeStored" | "flush">;

/** Rows of a run without a journal: in memory, all of them. */
export class RowsInMemory implements StoredRows {
  readonly #rows = new Map<string, StoredRow>();

  stored(key: string): StoredRow | undefined {
    return this.#rows.get(key);
  }
  allStored(): Iterable<StoredRow> {
    return this.#rows.values();
  }
  putStored(row: StoredRow): void {
    this.#rows.set(row.key, row);
  }
  removeStored(key: string): void {
    this.#rows.delete(key);
  }
  flush(): void {}
}

/** A manifest that rows were taken from, as the next one names it. */
export interface ReadManifest {
  readonly run: number;
  readonly sha256: string;
  readonly eTag: string;
}

/**
 * Takes rows from the newest manifest. Resolves to undefined if there is none, or if it cannot be read, which is told:
 * what was read of it until then is authentic all the same.
 */
export async function rowsFromManifest(
  place: ManifestPlace,
  rows: StoredRows,
): Promise<ReadManifest | undefined> {
  const newest = await newestRun(place);
  if (newest === undefined) return undefined;
  try {
    const manifest = await openManifest(place, newest.run);
    try {
      const { run, eTag } = manifest;
      const entries = manifest.entries();
      for (;;) {
        const next = await entries.next();
        if (next.done === true) return { run, eTag, sha256: next.value.sha256 };
        rows.putStored(rowOf(next.value, place.address.prefix, run));
      }
    } finally {
      manifest.close();
    }
  } catch (error) {
    if (!isUntrusted(error)) throw error;
    place.report.warn(`what is stored is not known from the newest manifest: ${messageOf(error)}`);
    return undefined;
  }
}

function rowOf(entry: ManifestEntry, prefix: string, run: number): StoredRow {
  const { path, type, size, mtimeNs, mode, uid, gid, eTag, versionId, sha256 = "" } = entry;
  const source = { path, type, size, mtimeNs, ctimeNs: 0n, inode: NO_INODE, mode, uid, gid };
  return { ...source, key: prefix + entry.key, eTag, versionId, sha256, run };
}
