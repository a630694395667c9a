// Times and permissions of an entry <-> user metadata of its object, as rclone writes it. They are hints: whoever may
// write to the bucket may change them.
import { quote } from "../../quote.ts";
import type { Attributes, EntryType } from "../entry.ts";

/** What user metadata says, as far as it makes sense. */
export interface AttributeHints extends Partial<Attributes> {
  /** Whether the object claims to be a symbolic link. */
  readonly isSymlink: boolean;
  /** What was not taken, for people. */
  readonly refused: readonly string[];
}

/** Names of user metadata, as they are without `x-amz-meta-`. */
const NAMES = { mtime: "mtime", mode: "mode", uid: "uid", gid: "gid", type: "type" } as const;
const SYMLINK = "symlink";

/** The user metadata for an entry. */
export function metadataOf(entry: Attributes & { readonly type: EntryType }): Record<string, string> {
  const { uid, gid } = entry;
  return {
    [NAMES.mtime]: formatTime(entry.mtimeNs),
    [NAMES.mode]: entry.mode.toString(8).padStart(4, "0"),
    ...(uid === undefined ? {} : { [NAMES.uid]: String(uid) }),
    ...(gid === undefined ? {} : { [NAMES.gid]: String(gid) }),
    ...(entry.type === "symlink" ? { [NAMES.type]: SYMLINK } : {}),
  };
}

/** Reads the same. What makes no sense is left out, and told in `refused`. */
export function hintsOf(metadata: Readonly<Record<string, string>> | undefined): AttributeHints {
  const refused: string[] = [];
  function take<Value>(name: string, parse: (text: string) => Value | undefined): Value | undefined {
    const text = metadata !== undefined && Object.hasOwn(metadata, name) ? metadata[name] : undefined;
    if (text === undefined) return undefined;
    const value = parse(text);
    if (value === undefined) refused.push(`${name} ${quote(text, 40)}`);
    return value;
  }
  const mtimeNs = take(NAMES.mtime, parseTime);
  const mode = take(NAMES.mode, parseMode);
  const uid = take(NAMES.uid, parseId);
  const gid = take(NAMES.gid, parseId);
  const type =
    metadata !== undefined && Object.hasOwn(metadata, NAMES.type) ? metadata[NAMES.type] : undefined;
  return {
    ...(mtimeNs === undefined ? {} : { mtimeNs }),
    ...(mode === undefined ? {} : { mode }),
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
    isSymlink: type === SYMLINK,
    refused,
  };
}

const NS = 1_000_000_000n;

/** Nanoseconds as seconds with a decimal fraction: exact, and no longer than needed. */
export function formatTime(ns: bigint): string {
  const size = ns < 0n ? -ns : ns;
  const fraction = (size % NS).toString().padStart(9, "0").replace(/0+$/, "");
  return `${ns < 0n ? "-" : ""}${size / NS}${fraction === "" ? "" : `.${fraction}`}`;
}

/** Nanoseconds of such a text; undefined for another one. Seconds are what a system may have: up to 2^53. */
export function parseTime(text: string): bigint | undefined {
  const match = /^(-?)([0-9]{1,16})(?:\.([0-9]{1,9}))?$/.exec(text);
  if (match === null) return undefined;
  const [, sign, seconds = "", fraction = ""] = match;
  if (BigInt(seconds) > BigInt(Number.MAX_SAFE_INTEGER)) return undefined;
  const size = BigInt(seconds) * NS + BigInt(fraction.padEnd(9, "0"));
  return sign === "-" ? -size : size;
}

// Some write the type of the file before the permissions, as `stat` shows it: 100644.
function parseMode(text: string): number | undefined {
  if (!/^(?:0o?)?[0-7]{1,6}$/.test(text)) return undefined;
  const mode = Number.parseInt(text.replace(/^0o/, ""), 8);
  return mode > 0o177777 ? undefined : mode & 0o7777;
}

// The last number means "as it is" to the system.
function parseId(text: string): number | undefined {
  if (!/^[0-9]{1,10}$/.test(text)) return undefined;
  const id = Number(text);
  return id < 2 ** 32 - 1 ? id : undefined;
}
