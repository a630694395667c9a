// SQLite, from whichever module there is: `node:sqlite` where Node calls it fit for use, else an optional package.

import type { SqliteDatabase } from "../../s3/requests/state-sqlite.ts";
import { isError } from "../../shapes.ts";
import { journalError } from "./journal-error.ts";

export type SqliteValue = string | number | Uint8Array;

/** A statement that is prepared once and used often. */
export interface SqliteStatement {
  run(...values: SqliteValue[]): { readonly changes: number | bigint };
  /** The first row. */
  get(...values: SqliteValue[]): unknown;
  all(...values: SqliteValue[]): readonly unknown[];
}

/** An open database. `sqliteMultipartStates` takes it, too. */
export interface Sqlite extends SqliteDatabase {
  prepare(sql: string): SqliteStatement;
  close(): void;
}

/** Opens a file, which is made if it is missing. */
export type OpenSqlite = (file: string) => Sqlite;

const PACKAGE = "node-sqlite3-wasm";
/** From here on `node:sqlite` needs no flag, and what it does is settled. */
const NODE_WITH_SQLITE = 24;

/** @throws FramesealError JOURNAL when there is no module */
export async function loadSqlite(): Promise<OpenSqlite> {
  return (Number.parseInt(process.versions.node, 10) >= NODE_WITH_SQLITE && ofNode()) || (await ofPackage());
}

interface NodeModule {
  readonly DatabaseSync: new (file: string) => Sqlite;
}

function ofNode(): OpenSqlite | undefined {
  const module = withoutWarning(() => process.getBuiltinModule("node:sqlite") as NodeModule | undefined);
  if (module === undefined) return undefined;
  const { DatabaseSync } = module;
  return (file) => new DatabaseSync(file);
}

// Node warns once that the module is experimental. All other warnings are left alone.
function withoutWarning<Result>(load: () => Result): Result {
  const { emitWarning } = process;
  const quiet = (warning: string | Error, ...rest: unknown[]): void => {
    const text = isError(warning) ? warning.message : String(warning);
    if (!/\bSQLite\b/.test(text)) Reflect.apply(emitWarning, process, [warning, ...rest]);
  };
  process.emitWarning = quiet;
  try {
    return load();
  } finally {
    process.emitWarning = emitWarning;
  }
}

interface WasmStatement {
  run(values: readonly SqliteValue[]): { readonly changes: number };
  all(values: readonly SqliteValue[]): readonly unknown[];
  finalize(): void;
}
interface WasmDatabase {
  exec(sql: string): void;
  prepare(sql: string): WasmStatement;
  close(): void;
}
interface WasmModule {
  readonly Database?: new (file: string) => WasmDatabase;
  readonly default?: WasmModule;
}

async function ofPackage(): Promise<OpenSqlite> {
  let module: WasmModule;
  try {
    module = (await import("node-sqlite3-wasm" as string)) as WasmModule;
  } catch (cause) {
    throw journalError(
      `a journal needs Node ${NODE_WITH_SQLITE} or the package "${PACKAGE}" (npm install ${PACKAGE}); ` +
        "with --no-journal it works without, and an interrupted run begins its large files anew",
      { cause },
    );
  }
  const Database = module.Database ?? module.default?.Database;
  if (Database === undefined) throw journalError(`the package "${PACKAGE}" has no class Database`);
  return (file) => ofWasm(new Database(file));
}

function ofWasm(database: WasmDatabase): Sqlite {
  const statements: WasmStatement[] = [];
  return {
    exec: (sql) => database.exec(sql),
    prepare(sql) {
      const statement = database.prepare(sql);
      statements.push(statement);
      return {
        run: (...values) => statement.run(values),
        // All rows: a statement that stops at the first one goes on reading until it is used again, and holds up others.
        get: (...values) => statement.all(values)[0],
        all: (...values) => statement.all(values),
      };
    },
    close() {
      for (const statement of statements.splice(0)) statement.finalize();
      database.close();
    },
  };
}
