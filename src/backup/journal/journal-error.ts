// What is said when a journal cannot be used.
import { FramesealError, isFramesealError, messageOf } from "../../errors.ts";
import { quote } from "../../quote.ts";

/** The error for a journal that cannot be used, or written any more. */
export function journalError(text: string, options?: ErrorOptions): FramesealError {
  return new FramesealError("JOURNAL", text, options);
}

const inUse = new WeakSet<Error>();

/** The error for a journal that another process works on, or may work on. */
export function journalInUse(text: string): FramesealError {
  const error = journalError(text);
  inUse.add(error);
  return error;
}

/** True for an error of `journalInUse`. */
export function isJournalInUse(error: unknown): error is FramesealError {
  return isFramesealError(error) && inUse.has(error);
}

/** For a file that is damaged, or no journal at all. */
export function damaged(file: string, what: string, cause?: unknown): FramesealError {
  return journalError(
    `the journal ${quote(file)} ${what}: remove it; the next run takes what is stored from the newest manifest`,
    cause === undefined ? undefined : { cause },
  );
}

/** What SQLite says of bytes that are no database, or of a damaged one. */
const DAMAGE = /malformed|not a database|corrupt|unsupported file format|encrypted/i;

/** What to throw for an error of SQLite. */
export function ofSqlite(file: string, error: unknown): FramesealError {
  const text = messageOf(error);
  if (DAMAGE.test(text)) return damaged(file, `is damaged (${text})`, error);
  return journalError(
    `the journal ${quote(file)} cannot be written or read (${text}): is the disk full? What is stored stays stored, and the next run goes on`,
    { cause: error },
  );
}
