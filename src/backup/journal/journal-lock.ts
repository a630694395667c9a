// One run at a time works on a journal. A lock of the system tells who does, and ends with the process, however that
// ends; where there is none, or where others might not see it (network file systems), a file names the owner, and is
// taken over only when that process is known to be gone.
import { randomBytes } from "node:crypto";
import {
  closeSync,
  constants,
  linkSync,
  openSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { hostname } from "node:os";
import { lockFile } from "../../disk/file-lock.ts";
import { quote } from "../../quote.ts";
import { errorCode } from "../../shapes.ts";
import { journalInUse } from "./journal-error.ts";

/** Who has a journal, as its owner file says. */
interface Owner {
  readonly pid: number;
  readonly host: string;
  /** Of this start of the system, and of this set of process ids: a number means nothing in another. */
  readonly boot: string | null;
  readonly processes: string | null;
  /** When the process began, in whatever unit: numbers of processes are given out again. */
  readonly began: string | null;
  /** The owner has the lock of the system as well, so that whoever gets that lock knows it to be gone. */
  readonly locked: boolean;
  readonly token: string;
}

/** Held until `release`. */
export interface JournalLock {
  release(): void;
}

/**
 * Takes the journal `file` for this process. Beside it lie `FILE.guard`, which is locked, and `FILE.owner`.
 * @throws FramesealError JOURNAL when another process has it, or may have it
 */
export function lockJournal(file: string): JournalLock {
  const guard = `${file}.guard`;
  const owner = `${file}.owner`;
  const { O_CREAT, O_RDWR, O_NOFOLLOW = 0 } = constants;
  const descriptor = openSync(guard, O_CREAT | O_RDWR | O_NOFOLLOW, 0o600);
  try {
    const lock = lockFile(descriptor);
    if (lock === "taken") throw inUse(file, readOwner(owner));
    const us = describeUs(lock === "held");
    claim(file, owner, us);
    // What the package for SQLite leaves beside a file when its process is killed.
    ignoring("ENOENT", () => rmdirSync(`${file}.lock`));
    let isHeld = true;
    return {
      release() {
        if (!isHeld) return;
        isHeld = false;
        if (readOwner(owner)?.token === us.token) ignoring("ENOENT", () => unlinkSync(owner));
        closeSync(descriptor);
      },
    };
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

// The file appears with its content, so that nobody finds it empty.
function claim(file: string, path: string, us: Owner): void {
  const ours = `${path}-${us.token}`;
  writeFileSync(ours, `${JSON.stringify(us)}\n`, { flag: "wx", mode: 0o600, flush: true });
  try {
    if (tryToLink(ours, path)) return;
    const other = readOwner(path);
    if (other === undefined || !isGone(other, us)) throw inUse(file, other, path);
    // Who replaces this very owner is settled by one name that is taken once.
    const replaced = `${path}-${other.token}.gone`;
    if (!tryToLink(ours, replaced)) throw inUse(file, other, replaced);
    if (readOwner(path)?.token !== other.token) {
      unlinkSync(replaced);
      throw inUse(file, readOwner(path), path);
    }
    renameSync(ours, path);
    unlinkSync(replaced);
  } finally {
    ignoring("ENOENT", () => unlinkSync(ours));
  }
}

function tryToLink(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (errorCode(error) === "EEXIST") return false;
    // File systems without hard links: the name is taken first and filled then.
    if (!["EPERM", "ENOTSUP", "ENOSYS", "EMLINK"].includes(errorCode(error) ?? "")) throw error;
    return tryToCreate(to, readFileSync(from));
  }
}

function tryToCreate(path: string, content: Uint8Array): boolean {
  try {
    writeFileSync(path, content, { flag: "wx", mode: 0o600 });
    return true;
  } catch (error) {
    if (errorCode(error) === "EEXIST") return false;
    throw error;
  }
}

function isGone(other: Owner, us: Owner): boolean {
  if (other.locked && us.locked) return true;
  const same = other.host === us.host && other.boot === us.boot && other.processes === us.processes;
  if (!same) return false;
  return !exists(other.pid) || beginOf(other.pid) !== other.began;
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) !== "ESRCH";
  }
}

function describeUs(locked: boolean): Owner {
  return {
    pid: process.pid,
    host: hostname(),
    boot: asked(() => readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()),
    processes: asked(() => readlinkSync("/proc/self/ns/pid")),
    began: beginOf(process.pid),
    locked,
    token: randomBytes(8).toString("hex"),
  };
}

/** The 22nd field; the second one, in parentheses, may hold anything. */
const BEGIN_AFTER_NAME = 19;

function beginOf(pid: number): string | null {
  return asked(() => {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[BEGIN_AFTER_NAME] ?? null;
  });
}

// Not every system can be asked.
function asked(ask: () => string | null): string | null {
  try {
    return ask();
  } catch {
    return null;
  }
}

function readOwner(path: string): Owner | undefined {
  try {
    const owner = JSON.parse(readFileSync(path, "utf8")) as Partial<Owner> | null;
    return Number.isSafeInteger(owner?.pid) &&
      typeof owner?.token === "string" &&
      /^[0-9a-f]+$/.test(owner.token)
      ? (owner as Owner)
      : undefined;
  } catch {
    return undefined;
  }
}

function inUse(file: string, owner: Owner | undefined, remove?: string): Error {
  const who =
    owner === undefined ? "another process" : `process ${owner.pid} on ${quote(String(owner.host))}`;
  const what = remove === undefined ? "" : `; if no such process runs any more, remove ${quote(remove)}`;
  return journalInUse(`the journal ${quote(file)} is in use by ${who}${what}`);
}

function ignoring(code: string, call: () => void): void {
  try {
    call();
  } catch (error) {
    if (errorCode(error) !== code) throw error;
  }
}
