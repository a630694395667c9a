// A journal in a SQLite database.
import { setImmediate } from "node:timers";
import type { MultipartStateStore } from "../../s3/requests/multipart-state.ts";
import { sqliteMultipartStates } from "../../s3/requests/state-sqlite.ts";
import type { EntryType } from "../entry.ts";
import { type Connection, PAGE_LENGTH } from "./connection.ts";
import type { DownloadRow, Journal, ListedRow, PartRow, RunKind, StoredRow, UploadRow } from "./journal.ts";
import { decodeRow, encodeRow, type Fields } from "./row-text.ts";

export class SqliteJournal implements Journal {
  readonly file: string;
  readonly states: MultipartStateStore;
  readonly #connection: Connection;
  readonly #release: () => void;

  /** @param release is called once the journal is closed */
  constructor(file: string, connection: Connection, release: () => void) {
    this.file = file;
    this.#connection = connection;
    this.#release = release;
    this.states = sqliteMultipartStates(connection.exclusive());
  }

  beginRun(kind: RunKind): number {
    this.#connection.write("INSERT INTO runs (kind) VALUES (?)", kind);
    const row = this.#connection.get("SELECT max(run) AS run FROM runs") as { readonly run: number };
    return Number(row.run);
  }

  endRun(run: number, outcome: "done" | "failed-some" | "failed"): void {
    this.#connection.write("UPDATE runs SET outcome = ? WHERE run = ?", outcome, run);
  }

  stored(key: string): StoredRow | undefined {
    const row = this.#rowOf("SELECT row FROM stored WHERE key = ?", key);
    return row === undefined ? undefined : toStored(key, row);
  }

  *allStored(): Generator<StoredRow> {
    const pages = this.#pages("SELECT key, row FROM stored WHERE key > ? ORDER BY key LIMIT ?");
    for (const page of pages) for (const [key, row] of page) yield toStored(key, this.#decode(key, row.row));
  }

  putStored(row: StoredRow): void {
    const { key } = row;
    const text = encodeRow(key, fromStored(row));
    this.#connection.gather("INSERT OR REPLACE INTO stored (key, row) VALUES (?, ?)", bytesOf(key), text);
  }

  removeStored(key: string): void {
    this.#connection.gather("DELETE FROM stored WHERE key = ?", bytesOf(key));
  }

  flush(): void {
    this.#connection.flush();
  }

  begin(keys: readonly string[]): void {
    this.#connection.transaction(() => {
      for (const key of keys)
        this.#connection.run("INSERT OR IGNORE INTO begun (key) VALUES (?)", bytesOf(key));
    });
  }

  end(key: string): void {
    this.#connection.gather("DELETE FROM begun WHERE key = ?", bytesOf(key));
  }

  unended(): readonly string[] {
    return (this.#connection.all("SELECT key FROM begun ORDER BY key") as Named[]).map(({ key }) =>
      textOf(key),
    );
  }

  clearForeignUploads(): void {
    this.#connection.gather("DELETE FROM foreign_uploads");
  }

  addForeignUploads(uploadIds: Iterable<string>): void {
    const sql = "INSERT OR IGNORE INTO foreign_uploads (upload_id) VALUES (?)";
    for (const uploadId of uploadIds) this.#connection.gather(sql, bytesOf(uploadId));
  }

  isForeignUpload(uploadId: string): boolean {
    const sql = "SELECT 1 AS found FROM foreign_uploads WHERE upload_id = ?";
    return this.#connection.get(sql, bytesOf(uploadId)) !== undefined;
  }

  beginListing(): void {
    this.#connection.gather("DELETE FROM listed");
  }

  addListed(rows: Iterable<ListedRow>): void {
    for (const { key, eTag, size } of rows) {
      const text = encodeRow(key, [eTag, size]);
      this.#connection.gather("INSERT OR REPLACE INTO listed (key, row) VALUES (?, ?)", bytesOf(key), text);
    }
  }

  listed(key: string): ListedRow | undefined {
    const row = this.#rowOf("SELECT row FROM listed WHERE key = ?", key);
    return row === undefined ? undefined : toListed(key, row);
  }

  *allListed(): Generator<ListedRow> {
    const pages = this.#pages("SELECT key, row FROM listed WHERE key > ? ORDER BY key LIMIT ?");
    for (const page of pages) for (const [key, row] of page) yield toListed(key, this.#decode(key, row.row));
  }

  async *listedNotStored(): AsyncGenerator<ListedRow> {
    for await (const [key, row] of this.#unmatched("listed", "stored")) yield toListed(key, row);
  }

  async *storedNotListed(): AsyncGenerator<StoredRow> {
    for await (const [key, row] of this.#unmatched("stored", "listed")) yield toStored(key, row);
  }

  upload(key: string): UploadRow | undefined {
    const sql = "SELECT upload_id, key, row FROM uploads WHERE key = ? ORDER BY upload_id LIMIT 1";
    const row = this.#connection.get(sql, bytesOf(key)) as UploadRecord | undefined;
    return row === undefined ? undefined : this.#toUpload(row);
  }

  allUploads(): readonly UploadRow[] {
    const rows = this.#connection.all("SELECT upload_id, key, row FROM uploads ORDER BY key, upload_id");
    return (rows as UploadRecord[]).map((row) => this.#toUpload(row));
  }

  beginUpload({ key, uploadId, partSize, size, mtimeNs, ctimeNs, inode }: UploadRow): void {
    const fields = [key, partSize, size, String(mtimeNs), String(ctimeNs), String(inode)];
    this.#connection.write(
      "INSERT OR REPLACE INTO uploads (upload_id, key, row) VALUES (?, ?, ?)",
      bytesOf(uploadId),
      bytesOf(key),
      encodeRow(uploadId, fields),
    );
  }

  parts(uploadId: string): readonly PartRow[] {
    const sql = "SELECT number, row FROM parts WHERE upload_id = ? ORDER BY number";
    const rows = this.#connection.all(sql, bytesOf(uploadId)) as { number: number; row: unknown }[];
    return rows.map(({ number, row }) => {
      const [eTag, sha256] = this.#decode(partName(uploadId, number), row);
      return { number: Number(number), eTag: String(eTag), sha256: String(sha256) };
    });
  }

  putPart(uploadId: string, { number, eTag, sha256 }: PartRow): void {
    this.#connection.write(
      "INSERT OR REPLACE INTO parts (upload_id, number, row) VALUES (?, ?, ?)",
      bytesOf(uploadId),
      number,
      encodeRow(partName(uploadId, number), [eTag, sha256]),
    );
  }

  endUpload(uploadId: string): void {
    this.#connection.transaction(() => {
      this.#connection.run("DELETE FROM uploads WHERE upload_id = ?", bytesOf(uploadId));
      this.#connection.run("DELETE FROM parts WHERE upload_id = ?", bytesOf(uploadId));
    });
  }

  download(target: string): DownloadRow | undefined {
    const row = this.#rowOf("SELECT row FROM downloads WHERE target = ?", target);
    return row === undefined ? undefined : toDownload(target, row);
  }

  allDownloads(): readonly DownloadRow[] {
    const rows = this.#connection.all("SELECT target AS key, row FROM downloads ORDER BY target") as Row[];
    return rows.map(({ key, row }) => toDownload(textOf(key), this.#decode(textOf(key), row)));
  }

  putDownload(row: DownloadRow): void {
    const { target, temporary, key, eTag, versionId, verified } = row;
    const known = this.download(target);
    const isKnown =
      known?.temporary === temporary &&
      known.key === key &&
      known.eTag === eTag &&
      known.versionId === versionId;
    const sql = "INSERT OR REPLACE INTO downloads (target, row) VALUES (?, ?)";
    const text = encodeRow(target, [temporary, key, eTag, versionId ?? null, verified]);
    if (isKnown) this.#connection.gather(sql, bytesOf(target), text);
    else this.#connection.write(sql, bytesOf(target), text);
  }

  endDownload(target: string): void {
    this.#connection.write("DELETE FROM downloads WHERE target = ?", bytesOf(target));
  }

  done(kind: RunKind, key: string): string | undefined {
    const sql = "SELECT row FROM done WHERE kind = ? AND key = ?";
    const found = this.#connection.get(sql, kind, bytesOf(key)) as Row | undefined;
    return found === undefined ? undefined : String(this.#decode(key, found.row)[0]);
  }

  putDone(kind: RunKind, key: string, eTag: string): void {
    const sql = "INSERT OR REPLACE INTO done (kind, key, row) VALUES (?, ?, ?)";
    this.#connection.gather(sql, kind, bytesOf(key), encodeRow(key, [eTag]));
  }

  note(name: string): string | undefined {
    const found = this.#connection.get("SELECT value FROM notes WHERE name = ?", bytesOf(name));
    if (found === undefined) return undefined;
    return String(this.#decode(name, (found as { readonly value: unknown }).value)[0]);
  }

  putNote(name: string, value: string): void {
    const sql = "INSERT OR REPLACE INTO notes (name, value) VALUES (?, ?)";
    this.#connection.write(sql, bytesOf(name), encodeRow(name, [value]));
  }

  close(): void {
    try {
      this.#connection.close();
    } finally {
      this.#release();
    }
  }

  #rowOf(sql: string, key: string): Fields | undefined {
    const found = this.#connection.get(sql, bytesOf(key)) as Row | undefined;
    return found === undefined ? undefined : this.#decode(key, found.row);
  }

  #decode(key: string, row: unknown): Fields {
    return decodeRow(key, row) ?? this.#connection.fail("has a damaged row");
  }

  #toUpload({ upload_id, row }: UploadRecord): UploadRow {
    const uploadId = textOf(upload_id);
    const [key, partSize, size, mtimeNs, ctimeNs, inode] = this.#decode(uploadId, row);
    return {
      key: String(key),
      uploadId,
      partSize: Number(partSize),
      size: Number(size),
      mtimeNs: toBigInt(mtimeNs),
      ctimeNs: toBigInt(ctimeNs),
      inode: toBigInt(inode),
    };
  }

  /** Query by query, so that nothing is held open between them. */
  *#pages(sql: string): Generator<[string, Row][]> {
    let last: Uint8Array = new Uint8Array(0);
    for (;;) {
      const rows = this.#connection.all(sql, last, PAGE_LENGTH) as Row[];
      const end = rows.at(-1);
      if (end === undefined) return;
      last = end.key;
      yield rows.map((row) => [textOf(row.key), row]);
      if (rows.length < PAGE_LENGTH) return;
    }
  }

  // What matches is read, too, so that a query takes a bounded time however few do not.
  async *#unmatched(
    table: "listed" | "stored",
    other: "listed" | "stored",
  ): AsyncGenerator<[string, Fields]> {
    const sql =
      `SELECT key, row, EXISTS (SELECT 1 FROM ${other} WHERE ${other}.key = ${table}.key) AS matched` +
      ` FROM ${table} WHERE key > ? ORDER BY key LIMIT ?`;
    for (const page of this.#pages(sql)) {
      for (const [key, row] of page) if (Number(row.matched) === 0) yield [key, this.#decode(key, row.row)];
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }
}

interface Named {
  readonly key: Uint8Array;
}
interface Row extends Named {
  readonly row: unknown;
  readonly matched?: number | bigint;
}
interface UploadRecord {
  readonly upload_id: Uint8Array;
  readonly row: unknown;
}

function bytesOf(text: string): Uint8Array {
  return Buffer.from(text, "utf8");
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
}

function partName(uploadId: string, number: number): string {
  return `${number} ${uploadId}`;
}

function toBigInt(value: string | number | null | undefined): bigint {
  return BigInt(value ?? 0);
}

/** Most paths are the end of their keys, and need not be there twice. */
function fromStored(row: StoredRow): Fields {
  const { path, key, type, size, mtimeNs, ctimeNs, inode, mode, uid, gid, eTag, versionId, sha256, run } =
    row;
  return [
    key.endsWith(path) ? path.length : path,
    type,
    size,
    String(mtimeNs),
    String(ctimeNs),
    String(inode),
    mode,
    uid ?? null,
    gid ?? null,
    eTag,
    versionId ?? null,
    sha256,
    run,
  ];
}

function toStored(key: string, fields: Fields): StoredRow {
  const [path, type, size, mtimeNs, ctimeNs, inode, mode, uid, gid, eTag, versionId, sha256, run] = fields;
  return {
    path: typeof path === "number" ? key.slice(key.length - path) : String(path),
    key,
    type: type as EntryType,
    size: Number(size),
    mtimeNs: toBigInt(mtimeNs),
    ctimeNs: toBigInt(ctimeNs),
    inode: toBigInt(inode),
    mode: Number(mode),
    uid: toNumber(uid),
    gid: toNumber(gid),
    eTag: String(eTag),
    versionId: toText(versionId),
    sha256: String(sha256),
    run: Number(run),
  };
}

function toListed(key: string, [eTag, size]: Fields): ListedRow {
  return { key, eTag: String(eTag), size: Number(size) };
}

function toDownload(target: string, [temporary, key, eTag, versionId, verified]: Fields): DownloadRow {
  return {
    target,
    temporary: String(temporary),
    key: String(key),
    eTag: String(eTag),
    versionId: toText(versionId),
    verified: Number(verified),
  };
}

function toNumber(value: string | number | null | undefined): number | undefined {
  return value === null || value === undefined ? undefined : Number(value);
}

function toText(value: string | number | null | undefined): string | undefined {
  return value === null || value === undefined ? undefined : String(value);
}
