// The tables of a journal, and how its file says that it is one.

/** "FSJL", in the header of the file. */
export const APPLICATION_ID = 0x46534a4c;
/** Goes up with every change that older versions could not read. */
export const SCHEMA_VERSION = 1;

/**
 * Names are bytes, so that they are sorted as S3 sorts keys and may hold anything. The table of states is made by who
 * keeps them.
 */
export const SCHEMA = `
  CREATE TABLE identity (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE notes (name BLOB PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE runs (run INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, outcome TEXT);
  CREATE TABLE stored (key BLOB PRIMARY KEY, row TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE begun (key BLOB PRIMARY KEY) WITHOUT ROWID;
  CREATE TABLE uploads (upload_id BLOB PRIMARY KEY, key BLOB NOT NULL, row TEXT NOT NULL) WITHOUT ROWID;
  CREATE INDEX uploads_of_key ON uploads (key);
  CREATE TABLE parts (
    upload_id BLOB, number INTEGER, row TEXT NOT NULL, PRIMARY KEY (upload_id, number)
  ) WITHOUT ROWID;
  CREATE TABLE foreign_uploads (upload_id BLOB PRIMARY KEY) WITHOUT ROWID;
  CREATE TABLE downloads (target BLOB PRIMARY KEY, row TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE done (kind TEXT, key BLOB, row TEXT NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID;
  CREATE TABLE listed (key BLOB PRIMARY KEY, row TEXT NOT NULL) WITHOUT ROWID;
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${SCHEMA_VERSION};
`;
