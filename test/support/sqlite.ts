// SQLite databases for tests: by a development dependency without native code everywhere, and by `node:sqlite` where
// this Node has it.
import { builtinModules } from "node:module";
import { Database } from "node-sqlite3-wasm";
import type { SqliteDatabase } from "../../src/s3.ts";

/** What opens databases here. */
export const sqliteModules: readonly string[] = [
  "node-sqlite3-wasm",
  ...(builtinModules.includes("node:sqlite") ? ["node:sqlite"] : []),
];

/** Opens a file with one of `sqliteModules`. */
export async function openDatabase(module: string, file: string): Promise<SqliteDatabase> {
  if (module === "node:sqlite") {
    const { DatabaseSync } = (await import(module)) as { DatabaseSync: new (file: string) => SqliteDatabase };
    return new DatabaseSync(file);
  }
  const database = new Database(file);
  return {
    exec: (sql) => database.exec(sql),
    // Its own statements hold their locks until they are used again.
    prepare: (sql) => ({
      run: (...values) => database.run(sql, values),
      get: (...values) => database.get(sql, values),
    }),
  };
}
