// Rows and files of journals for tests.
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll } from "vitest";
import type { JournalIdentity, StoredRow, UploadRow } from "../../../src/backup/journal/journal.ts";

export const identity: JournalIdentity = { endpoint: "https://s3.test", bucket: "bucket", prefix: "p/" };

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** Where a journal may be made. */
export function newPlace(): string {
  const folder = mkdtempSync(path.join(tmpdir(), "journal-"));
  folders.push(folder);
  return path.join(folder, "tree.journal");
}

/** The files of a journal as a process that is killed now would leave them, at another place. */
export function afterKill(file: string): string {
  const copy = newPlace();
  mkdirSync(path.dirname(copy), { recursive: true });
  // The owner file would name this process, which lives on.
  for (const name of readdirSync(path.dirname(file)).filter((each) => !each.endsWith(".owner")))
    cpSync(path.join(path.dirname(file), name), path.join(path.dirname(copy), name), { recursive: true });
  return copy;
}

export function storedRow(key: string, change: Partial<StoredRow> = {}): StoredRow {
  return {
    path: key.slice(2),
    key,
    type: "file",
    size: 5,
    mtimeNs: 1_700_000_000_123_456_789n,
    ctimeNs: 1_700_000_000_000_000_001n,
    inode: 2n ** 64n - 1n,
    mode: 0o644,
    uid: 0,
    gid: undefined,
    eTag: '"e"',
    versionId: undefined,
    sha256: "ab".repeat(32),
    run: 3,
    ...change,
  };
}

export function uploadRow(key: string, uploadId: string): UploadRow {
  return { key, uploadId, partSize: 8, size: 2 ** 40, mtimeNs: 1n, ctimeNs: 2n, inode: 3n };
}
