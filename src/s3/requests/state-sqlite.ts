// States of multipart uploads in a SQLite database that the caller has opened.
import type { MultipartState, MultipartStateStore } from "./multipart-state.ts";

/** What is used of a database: `DatabaseSync` of `node:sqlite` and `Database` of better-sqlite3 have it. */
export interface SqliteDatabase {
  exec(sql: string): unknown;
  prepare(sql: string): {
    run(...values: (string | number)[]): { readonly changes: number | bigint };
    get(...values: (string | number)[]): unknown;
  };
}

/** Waits for others who write, if the database does not already. */
const BUSY_TIMEOUT_MS = 5000;
/** From this setting of `synchronous` on, what was committed survives a loss of power. */
const SYNCHRONOUS_FULL = 2;

/**
 * Keeps states of multipart uploads in the table `frameseal_uploads` of `database`, which is made if it is missing. Any
 * number of clients and processes may use the file at a time. The connection must be for this alone, since a transaction
 * of the caller's would put off what must be durable; it is set to `synchronous = FULL`. A backup that is put back is an
 * older state: uploads that were under way then must be aborted.
 */
export function sqliteMultipartStates(database: SqliteDatabase): MultipartStateStore {
  if (typeof database?.exec !== "function" || typeof database.prepare !== "function")
    throw new TypeError(`"database" expected a SQLite database, got ${typeof database}`);
  if (pragma(database, "busy_timeout") === 0) database.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
  if (pragma(database, "synchronous") < SYNCHRONOUS_FULL) database.exec("PRAGMA synchronous = FULL");
  database.exec(
    "CREATE TABLE IF NOT EXISTS frameseal_uploads" +
      " (upload_id TEXT PRIMARY KEY, revision INTEGER NOT NULL, state TEXT NOT NULL)",
  );
  const select = database.prepare("SELECT state FROM frameseal_uploads WHERE upload_id = ?");
  const insert = database.prepare(
    "INSERT INTO frameseal_uploads (upload_id, revision, state) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
  );
  const update = database.prepare(
    "UPDATE frameseal_uploads SET revision = ?, state = ? WHERE upload_id = ? AND revision = ?",
  );
  const remove = database.prepare("DELETE FROM frameseal_uploads WHERE upload_id = ?");
  return {
    async load(uploadId) {
      const row = select.get(uploadId) as { readonly state: string } | null | undefined;
      return row === null || row === undefined ? undefined : (JSON.parse(row.state) as MultipartState);
    },
    async compareAndSwap(uploadId, state, expected) {
      const text = JSON.stringify(state);
      const { changes } =
        expected === undefined
          ? insert.run(uploadId, state.revision, text)
          : update.run(state.revision, text, uploadId, expected);
      return Number(changes) === 1;
    },
    async remove(uploadId) {
      remove.run(uploadId);
    },
  };
}

// A pragma answers with one row of one column, whose name differs.
function pragma(database: SqliteDatabase, name: string): number {
  const row = database.prepare(`PRAGMA ${name}`).get() as Record<string, unknown> | null | undefined;
  return Number(Object.values(row ?? {})[0] ?? 0);
}
