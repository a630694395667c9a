// Opens the file of a journal, or makes it; refuses what is not ours, or of another place, and changes nothing then.
import {
  chmodSync,
  closeSync,
  constants,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
} from "node:fs";
import { dirname, resolve } from "node:path";
import { quote } from "../../quote.ts";
import { errorCode } from "../../shapes.ts";
import { Connection } from "./connection.ts";
import type { Journal, JournalIdentity } from "./journal.ts";
import { damaged, journalError, ofSqlite } from "./journal-error.ts";
import { lockJournal } from "./journal-lock.ts";
import { APPLICATION_ID, SCHEMA, SCHEMA_VERSION } from "./schema.ts";
import { loadSqlite, type OpenSqlite, type Sqlite } from "./sqlite.ts";
import { SqliteJournal } from "./sqlite-journal.ts";

export interface JournalOptions {
  readonly file: string;
  readonly identity: JournalIdentity;
}

/** Fewer pages to write for rows of some hundred bytes. */
const PAGE_SIZE = 8192;
/** Files up to this size are looked through when they are opened; in larger ones damage is found where it is read. */
const MAX_CHECKED_LENGTH = 32 * 2 ** 20;

/**
 * Opens a journal for this process alone.
 * @throws FramesealError JOURNAL for one that is in use, damaged, of another place or of a newer version, for a link, and
 * without a module for SQLite; Error with the system's code
 */
export async function openJournal({ file, identity }: JournalOptions): Promise<Journal> {
  const open = await loadSqlite();
  const path = resolve(file);
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  refuseLinks(path);
  const lock = lockJournal(path);
  try {
    if (isMissing(path)) create(open, path, identity);
    else checkFile(path);
    return new SqliteJournal(path, connect(open, path, identity), () => lock.release());
  } catch (error) {
    lock.release();
    throw error;
  }
}

// Before anything is made beside it.
function refuseLinks(path: string): void {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats !== undefined && !stats.isFile())
    throw journalError(`the journal ${quote(path)} is no file of its own: choose another with --journal`);
}

function isMissing(path: string): boolean {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  return stats === undefined || stats.size === 0;
}

// Under another name first, so that whoever is killed here leaves no half of a database.
function create(open: OpenSqlite, path: string, identity: JournalIdentity): void {
  const temporary = `${path}.new`;
  for (const name of [temporary, path])
    for (const suffix of ["-wal", "-shm", "-journal"]) rmSync(name + suffix, { force: true });
  rmSync(temporary, { force: true });
  rmSync(`${temporary}.lock`, { force: true, recursive: true });
  const { O_CREAT, O_EXCL, O_WRONLY } = constants;
  closeSync(openSync(temporary, O_CREAT | O_EXCL | O_WRONLY, 0o600));
  let database: Sqlite | undefined;
  try {
    database = open(temporary);
    database.exec(`PRAGMA page_size = ${PAGE_SIZE}`);
    setModes(database);
    database.exec(`BEGIN; ${SCHEMA}`);
    const insert = database.prepare("INSERT INTO identity (name, value) VALUES (?, ?)");
    for (const [name, value] of facts(identity)) insert.run(name, value);
    database.exec("COMMIT");
  } catch (error) {
    throw ofSqlite(path, error);
  } finally {
    closeQuietly(database);
  }
  sync(temporary);
  renameSync(temporary, path);
  sync(dirname(path));
}

// A log before the file, and no other process: what was committed survives a kill and a loss of power, and a log needs no
// shared memory then. (The package's own locks hide from SQLite that the changes of a killed process must be undone, which
// a log does not ask for.)
function setModes(database: Sqlite): void {
  database.prepare("PRAGMA locking_mode = EXCLUSIVE").get();
  database.prepare("PRAGMA journal_mode = WAL").get();
  database.exec("PRAGMA synchronous = FULL; PRAGMA cache_size = -8192; PRAGMA cell_size_check = ON");
}

/** Where the header of a database has its version and whose it is. */
const HEADER_LENGTH = 100;
const VERSION_OFFSET = 60;
const APPLICATION_OFFSET = 68;

/** @throws FramesealError JOURNAL unless the file is a journal that this version can use; it is not changed */
function checkFile(path: string): void {
  const { O_RDONLY, O_NOFOLLOW = 0, O_NONBLOCK = 0 } = constants;
  const descriptor = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  const header = Buffer.alloc(HEADER_LENGTH);
  try {
    const length = readSync(descriptor, header, 0, HEADER_LENGTH, 0);
    if (length < HEADER_LENGTH || header.toString("latin1", 0, 16) !== "SQLite format 3\0")
      throw damaged(path, "is damaged, or no journal");
  } finally {
    closeSync(descriptor);
  }
  if (header.readUInt32BE(APPLICATION_OFFSET) !== APPLICATION_ID)
    throw journalError(`${quote(path)} is a database of another program: choose another with --journal`);
  const version = header.readUInt32BE(VERSION_OFFSET);
  if (version > SCHEMA_VERSION)
    throw journalError(`the journal ${quote(path)} was made by a newer version of frameseal`);
  if (version !== SCHEMA_VERSION) throw damaged(path, "is damaged");
  keepPrivate(path, lstatSync(path));
}

// Whoever can write to a journal can put an older one in its place.
function keepPrivate(path: string, stats: Stats): void {
  if (process.getuid === undefined) return;
  if (stats.uid !== process.getuid())
    throw journalError(`the journal ${quote(path)} belongs to another user: choose another with --journal`);
  if ((stats.mode & 0o077) !== 0) chmodSync(path, 0o600);
}

function connect(open: OpenSqlite, path: string, identity: JournalIdentity): Connection {
  let database: Sqlite | undefined;
  try {
    database = open(path);
    setModes(database);
    const known = database.prepare("SELECT name, value FROM identity ORDER BY name").all() as Fact[];
    refuseOthers(path, new Map(known.map(({ name, value }) => [name, value])), identity);
    if (statSync(path).size <= MAX_CHECKED_LENGTH) {
      const [found] = Object.values((database.prepare("PRAGMA quick_check(1)").get() ?? {}) as object);
      if (found !== "ok") throw damaged(path, "is damaged");
    }
    sync(dirname(path)); // the log lies there by now
    return new Connection(path, database);
  } catch (error) {
    closeQuietly(database);
    throw errorCode(error) === "JOURNAL" ? error : ofSqlite(path, error);
  }
}

interface Fact {
  readonly name: string;
  readonly value: string;
}

function facts({ endpoint, bucket, prefix, target }: JournalIdentity): [string, string][] {
  // As JSON: SQLite ends texts at a NUL.
  return Object.entries({ endpoint, bucket, prefix, target: target ?? null }).map(([name, value]) => [
    name,
    JSON.stringify(value),
  ]);
}

function refuseOthers(path: string, known: ReadonlyMap<string, string>, identity: JournalIdentity): void {
  const other = facts(identity).find(([name, value]) => known.get(name) !== value);
  if (other === undefined) return;
  const [name, ours] = other;
  const theirs = known.get(name);
  if (theirs === undefined) throw damaged(path, "is damaged");
  throw journalError(
    `the journal ${quote(path)} is of ${described(name, theirs)}, not of ${described(name, ours)}: choose another with --journal`,
  );
}

// Of what `facts` made.
function described(name: string, fact: string): string {
  const value: unknown = JSON.parse(fact);
  return value === null ? `no ${name}` : `the ${name} ${quote(String(value))}`;
}

function closeQuietly(database: Sqlite | undefined): void {
  try {
    database?.close();
  } catch {} // what failed before is told
}

/** Not every system can sync a folder. */
const NO_SYNC = new Set(["EISDIR", "EPERM", "EACCES", "EINVAL", "ENOTSUP"]);

function sync(path: string): void {
  try {
    const descriptor = openSync(path, constants.O_RDONLY);
    try {
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    if (!NO_SYNC.has(errorCode(error) ?? "")) throw error;
  }
}
