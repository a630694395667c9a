// Manifests as text: what a run knows of a tree, one JSON object a line. Every value has one spelling, so that a line
// which is read and written again is the same line; a line that is not is refused. (docs/MANIFEST.md)
import { FramesealError } from "../../errors.ts";
import { quote } from "../../quote.ts";
import { isWellFormed } from "../../shapes.ts";
import type { EntryType, TreeEntry } from "../entry.ts";
import { RESERVED_FOLDER } from "../entry.ts";

/** What wrote a manifest. */
const kinds = ["put", "sync", "rewrap", "reencrypt"] as const;
export type ManifestKind = (typeof kinds)[number];
/** How entries are named in the bucket. */
const nameModes = ["plain", "tree", "flat"] as const;
export type NameMode = (typeof nameModes)[number];

/** A manifest as another one names it. */
export interface ManifestLink {
  readonly run: number;
  /** Of its text, hexadecimal; absent when it could not be read. */
  readonly sha256?: string | undefined;
}

/** The first line. */
export interface ManifestHeader {
  /** The runs of a tree are numbered from 1, in the order in which they ended. */
  readonly run: number;
  readonly kind: ManifestKind;
  readonly bucket: string;
  readonly prefix: string;
  readonly names: NameMode;
  /** As the clock of the machine told them, in ISO 8601. For people: nothing is decided by them. */
  readonly started: string;
  readonly ended: string;
  /** The run before. */
  readonly previous?: ManifestLink | undefined;
}

/** An object of the tree, and what it was when it was stored. */
export interface ManifestEntry extends TreeEntry {
  /** Below the prefix. */
  readonly key: string;
  /** Of the plaintext, hexadecimal; absent when nobody has read it. */
  readonly sha256?: string | undefined;
  readonly eTag: string;
  readonly versionId?: string | undefined;
  /** It is kept in the bucket, and in the source no more: not restored. */
  readonly gone?: true | undefined;
  /** The run could not store it: this is what an earlier run stored. */
  readonly stale?: true | undefined;
  /** In the source, another name of the file with this path, which was the first of them. */
  readonly hardLinkOf?: string | undefined;
}

/** The last line. */
export interface ManifestSummary {
  readonly entries: number;
  /** Of plaintext, those of entries that are gone too. */
  readonly bytes: number;
  /** Entries that the run could not store, or not read. */
  readonly failed: number;
}

const VERSION = 1;
/** Bytes of a line, without its end. */
export const MAX_LINE_LENGTH = 2 ** 20;
/** S3's limit for keys, in bytes. */
const MAX_KEY_LENGTH = 1024;
/** Characters of what has no limit of its own. */
const MAX_TEXT_LENGTH = 65_536;
const MAX_UINT32 = 2 ** 32 - 1;
const MAX_MODE = 0o7777;
/** Of signed numbers of 64 bits, which file systems keep. */
const MAX_TIME = 2n ** 63n - 1n;

export function writeHeader(header: ManifestHeader): string {
  const { run, kind, bucket, prefix, names, started, ended, previous } = header;
  return JSON.stringify({
    frameseal: "manifest",
    version: VERSION,
    run,
    kind,
    bucket,
    prefix,
    names,
    started,
    ended,
    ...(previous === undefined ? {} : { previous: { run: previous.run, sha256: previous.sha256 } }),
  });
}

/** @throws TypeError for an entry that no reader would take */
export function writeEntry(entry: ManifestEntry): string {
  const wrong = faultOf(entry);
  if (wrong !== undefined) throw new TypeError(`"entry" expected ${wrong}`);
  return entryText(entry);
}

function entryText(entry: ManifestEntry): string {
  const { path, key, type, size, mtimeNs, mode, uid, gid, sha256, eTag, versionId } = entry;
  // JSON leaves out what is undefined.
  return JSON.stringify({
    path,
    key: key === path ? undefined : key,
    type,
    size,
    mtime: `${mtimeNs}`,
    mode: mode.toString(8),
    uid,
    gid,
    sha256,
    eTag,
    versionId,
    gone: entry.gone,
    stale: entry.stale,
    hardLinkOf: entry.hardLinkOf,
  });
}

export function writeSummary({ entries, bytes, failed }: ManifestSummary): string {
  return JSON.stringify({ summary: { entries, bytes, failed } });
}

/** @throws FramesealError UNSUPPORTED for another version, INVALID_MANIFEST */
export function readHeader(line: string): ManifestHeader {
  const fields = fieldsOf(line, "its first line");
  if (fields.frameseal !== "manifest") throw invalid("its first line is none of a manifest");
  if (fields.version !== VERSION)
    throw new FramesealError(
      "UNSUPPORTED",
      `version ${quote(String(fields.version))} of manifests is not known here`,
    );
  const header: ManifestHeader = {
    run: numberOf(fields.run),
    kind: wordOf(kinds, fields.kind),
    bucket: textOf(fields.bucket),
    prefix: textOf(fields.prefix),
    names: wordOf(nameModes, fields.names),
    started: timeOf(fields.started),
    ended: timeOf(fields.ended),
    previous: fields.previous === undefined ? undefined : linkOf(fields.previous),
  };
  if (header.run < 1) throw invalid("its run has no number");
  // The first has none before it.
  if ((header.previous?.run ?? 0) !== header.run - 1) throw invalid("it does not name the run before it");
  if (writeHeader(header) !== line) throw invalid("its first line is not written as it must be");
  return header;
}

/** An entry or, at the end, the summary. @throws FramesealError INVALID_MANIFEST */
export function readLine(
  line: string,
  number: number,
): ManifestEntry | { readonly summary: ManifestSummary } {
  const where = `line ${number}`;
  const fields = fieldsOf(line, where);
  if ("summary" in fields) {
    const { entries, bytes, failed } = objectOf(fields.summary, where);
    const summary = { entries: numberOf(entries), bytes: numberOf(bytes), failed: numberOf(failed) };
    if (writeSummary(summary) !== line) throw invalid(`${where} is not written as it must be`);
    return { summary };
  }
  const { path, key, type, size, mtime, mode, uid, gid, sha256, eTag, versionId, gone, stale, hardLinkOf } =
    fields;
  const entry = {
    path,
    key: key ?? path,
    type,
    size,
    mtimeNs: typeof mtime === "string" && /^-?[0-9]{1,19}$/.test(mtime) ? BigInt(mtime) : undefined,
    mode: typeof mode === "string" && /^[0-7]{1,4}$/.test(mode) ? Number.parseInt(mode, 8) : undefined,
    uid,
    gid,
    sha256,
    eTag,
    versionId,
    gone,
    stale,
    hardLinkOf,
  } as ManifestEntry; // which is what is tested next
  const wrong = faultOf(entry);
  if (wrong !== undefined) throw invalid(`${where} has not ${wrong}`);
  if (entryText(entry) !== line) throw invalid(`${where} is not written as it must be`);
  return entry;
}

const types: ReadonlySet<EntryType> = new Set(["file", "directory", "symlink"]);

/** What an entry should be and is not; undefined when all is well. */
function faultOf(entry: ManifestEntry): string | undefined {
  const { path, key, type, size, mtimeNs, mode, sha256, hardLinkOf } = entry;
  if (!isPath(path)) return `a path of names between single slashes, got ${shownAs(path)}`;
  if (!isText(key) || key === "" || Buffer.byteLength(key) > MAX_KEY_LENGTH) return "a key that S3 can have";
  if (key.startsWith(RESERVED_FOLDER)) return `a key outside of ${RESERVED_FOLDER}`;
  if (!types.has(type)) return "a known type";
  if (!Number.isSafeInteger(size) || size < 0 || Object.is(size, -0)) return "a size";
  if (type === "directory" && size !== 0) return "a size of 0, as directories have";
  if (typeof mtimeNs !== "bigint" || mtimeNs > MAX_TIME || mtimeNs < -MAX_TIME - 1n)
    return "a time of 64 bits";
  if (!isUpTo(MAX_MODE, mode)) return "permission bits";
  for (const id of [entry.uid, entry.gid])
    if (id !== undefined && !isUpTo(MAX_UINT32, id)) return "an owner by number";
  if (sha256 !== undefined && !isDigest(sha256)) return "a SHA-256, in hexadecimal digits";
  if (!isText(entry.eTag) || entry.eTag === "") return "an ETag";
  if (entry.versionId !== undefined && (!isText(entry.versionId) || entry.versionId === ""))
    return "a version";
  for (const flag of [entry.gone, entry.stale])
    if (flag !== undefined && flag !== true) return "true for what it says";
  if (hardLinkOf !== undefined && !isPath(hardLinkOf)) return "a path of the other name";
  return undefined;
}

// What `..` is to a file system is for whoever restores to judge too; here it is no name of an entry.
function isPath(value: unknown): value is string {
  return (
    isText(value) &&
    !value.includes("\0") &&
    value.split("/").every((name) => name !== "" && name !== "." && name !== "..")
  );
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value.length <= MAX_TEXT_LENGTH && isWellFormed(value);
}

function isUpTo(max: number, value: unknown): boolean {
  return (
    typeof value === "number" &&
    Number.isInteger(value) &&
    value >= 0 &&
    value <= max &&
    !Object.is(value, -0)
  );
}

function isDigest(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
}

function shownAs(value: unknown): string {
  return typeof value === "string" ? quote(value) : typeof value;
}

function fieldsOf(line: string, where: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw invalid(`${where} is no JSON`, cause);
  }
  return objectOf(value, where);
}

function objectOf(value: unknown, where: string): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw invalid(`${where} is no object`);
  return value as Readonly<Record<string, unknown>>;
}

function numberOf(value: unknown): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw invalid("a count in it is none");
}

function textOf(value: unknown): string {
  if (isText(value)) return value;
  throw invalid("a text in its first line is none");
}

function timeOf(value: unknown): string {
  if (typeof value === "string" && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(value)) return value;
  throw invalid("a time in its first line is none");
}

function wordOf<Word extends string>(words: readonly Word[], value: unknown): Word {
  const word = words.find((each) => each === value);
  if (word === undefined) throw invalid(`its first line has a word that is not known: ${shownAs(value)}`);
  return word;
}

function linkOf(value: unknown): ManifestLink {
  const { run, sha256 } = objectOf(value, "the run before");
  if (sha256 !== undefined && !isDigest(sha256)) throw invalid("the digest of the run before is none");
  return { run: numberOf(run), sha256 };
}

/** The error for a manifest that is none. */
export function invalid(text: string, cause?: unknown): FramesealError {
  return new FramesealError("INVALID_MANIFEST", text, cause === undefined ? {} : { cause });
}
