// A connection to the database of a journal: which writes are durable at once, which are gathered, and what happens when
// one fails.
import type { FramesealError } from "../../errors.ts";
import type { SqliteDatabase } from "../../s3/requests/state-sqlite.ts";
import { damaged, journalError, ofSqlite } from "./journal-error.ts";
import type { Sqlite, SqliteStatement, SqliteValue } from "./sqlite.ts";

/** Gathered writes reach the disk after so many, or so much time. */
const GATHERED_WRITES = 10_000;
const GATHERED_MS = 1000;

/** Rows of one query: what lies between two of them may be long. */
export const PAGE_LENGTH = 1000;

export class Connection {
  readonly #file: string;
  readonly #database: Sqlite;
  readonly #statements = new Map<string, SqliteStatement>();
  #gathered = 0;
  #timer: NodeJS.Timeout | undefined;
  #failure: FramesealError | undefined;
  #isOpen = true;

  constructor(file: string, database: Sqlite) {
    this.#file = file;
    this.#database = database;
  }

  /** Reads also what is gathered. */
  all(sql: string, ...values: SqliteValue[]): readonly unknown[] {
    return this.#guard(() => this.#prepared(sql).all(...values));
  }

  get(sql: string, ...values: SqliteValue[]): unknown {
    return this.#guard(() => this.#prepared(sql).get(...values)) ?? undefined;
  }

  /** A write that may be lost with the process, with all that came after it. */
  gather(sql: string, ...values: SqliteValue[]): void {
    this.#guard(() => {
      if (this.#gathered === 0) this.#database.exec("BEGIN IMMEDIATE");
      this.#gathered += 1;
      this.#prepared(sql).run(...values);
    });
    if (this.#gathered >= GATHERED_WRITES) this.flush();
    else this.#timer ??= this.#flushLater();
  }

  /** A write that is on disk when this returns, with all that were gathered before. */
  write(sql: string, ...values: SqliteValue[]): void {
    this.transaction(() => void this.#prepared(sql).run(...values));
  }

  /** Several writes of which all are done or none. */
  transaction(body: () => void): void {
    this.#guard(() => {
      if (this.#gathered === 0) this.#database.exec("BEGIN IMMEDIATE");
      this.#gathered += 1;
      body();
    });
    this.flush();
  }

  /** Runs a prepared statement inside of `transaction`. */
  run(sql: string, ...values: SqliteValue[]): void {
    this.#prepared(sql).run(...values);
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#guard(() => {
      if (this.#gathered > 0) this.#database.exec("COMMIT");
      this.#gathered = 0;
    });
  }

  /**
   * The same database for whoever keeps something of its own in it and needs each of its writes on disk at once: what is
   * gathered goes first, so that no transaction is open. (A second connection would be shut out by the first.)
   */
  exclusive(): SqliteDatabase {
    const now = <Result>(call: () => Result): Result => {
      this.flush();
      return this.#guard(call);
    };
    return {
      exec: (sql) => now(() => this.#database.exec(sql)),
      prepare: (sql) => {
        const statement = now(() => this.#database.prepare(sql));
        return {
          run: (...values) => now(() => statement.run(...values)),
          get: (...values) => this.#guard(() => statement.get(...values)),
        };
      },
    };
  }

  /** Whoever finds a row that does not hold what was written. */
  fail(what: string): never {
    this.#failure ??= damaged(this.#file, what);
    throw this.#failure;
  }

  /** Also after a failure, which it throws if nobody was told of it. */
  close(): void {
    if (!this.#isOpen) return;
    const failed = this.#failure;
    let error: unknown;
    try {
      if (failed === undefined) this.flush();
    } catch (failure) {
      error = failure;
    }
    clearTimeout(this.#timer);
    this.#isOpen = false;
    try {
      this.#database.close();
    } catch (failure) {
      if (failed === undefined) error ??= ofSqlite(this.#file, failure);
    }
    if (error !== undefined) throw error;
  }

  // Thrown out of a timer it would end the process; the next call throws it.
  #flushLater(): NodeJS.Timeout {
    return setTimeout(() => {
      try {
        this.flush();
      } catch {}
    }, GATHERED_MS).unref();
  }

  #prepared(sql: string): SqliteStatement {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  // After a failure the database may have ended the transaction by itself: nothing is written to it any more.
  #guard<Result>(call: () => Result): Result {
    if (this.#failure !== undefined) throw this.#failure;
    if (!this.#isOpen) throw journalError("the journal is closed");
    try {
      return call();
    } catch (error) {
      this.#failure ??= ofSqlite(this.#file, error);
      throw this.#failure;
    }
  }
}
