// What of S3 the commands for objects have options for: one row for each option, with the fields of requests that it
// sets. The library repeats them on every request that an operation takes.
import type { Command } from "commander";
import { UsageError } from "./failure.ts";
import { shown } from "./names.ts";
import { collect, parsePairs } from "./values.ts";

/** Fields of the input of an S3 request. */
type Fields = Readonly<Record<string, unknown>>;
/** The commands for objects. */
type ObjectCommand =
  | "put"
  | "sync"
  | "get"
  | "cat"
  | "verify"
  | "inspect"
  | "rewrap"
  | "reencrypt"
  | "ls"
  | "rm";

interface Row {
  readonly flags: string;
  readonly description: string;
  readonly commands: readonly ObjectCommand[];
  /** Repeatable. */
  readonly many?: true;
  /** What the option asks for; the value is text, a list of texts, or true. */
  readonly fields: (value: never) => Fields;
}

const all: readonly ObjectCommand[] = [
  "put",
  "sync",
  "get",
  "cat",
  "verify",
  "inspect",
  "rewrap",
  "reencrypt",
  "ls",
  "rm",
];
const reading: readonly ObjectCommand[] = ["get", "cat", "verify", "inspect"];
const contents: readonly ObjectCommand[] = ["get", "cat", "verify"];
const writing: readonly ObjectCommand[] = ["put", "sync"];

const as =
  (name: string) =>
  (value: string): Fields => ({ [name]: value });

/** In the order of the help. */
const rows: Readonly<Record<string, Row>> = {
  versionId: {
    flags: "--version-id <id>",
    description: "version of the object (default: the current one)",
    commands: reading,
    fields: as("VersionId"),
  },
  metadata: {
    flags: "--metadata <name=value>",
    description: "user metadata, stored in clear text (repeatable)",
    commands: writing,
    many: true,
    fields: (pairs: readonly string[]) => ({ Metadata: parsePairs("metadata", pairs) }),
  },
  tag: {
    flags: "--tag <name=value>",
    description: "tag, stored in clear text (repeatable)",
    commands: writing,
    many: true,
    fields: (pairs: readonly string[]) => ({ Tagging: taggingOf(parsePairs("tag", pairs)) }),
  },
  storageClass: {
    flags: "--storage-class <name>",
    description: "such as STANDARD_IA or GLACIER_IR",
    commands: writing,
    fields: as("StorageClass"),
  },
  acl: {
    flags: "--acl <name>",
    description: "canned access control list, such as public-read",
    commands: writing,
    fields: as("ACL"),
  },
  checksumAlgorithm: {
    flags: "--checksum-algorithm <name>",
    description: "CRC32, CRC32C, SHA1 or SHA256, of what is stored",
    commands: writing,
    fields: (name: string) => ({ ChecksumAlgorithm: oneOf("checksum-algorithm", name, checksums) }),
  },
  contentType: {
    flags: "--content-type <type>",
    description: "media type of the plaintext, stored in clear text",
    commands: writing,
    fields: as("ContentType"),
  },
  contentEncoding: {
    flags: "--content-encoding <name>",
    description: "encoding of the plaintext, such as gzip",
    commands: writing,
    fields: as("ContentEncoding"),
  },
  contentLanguage: {
    flags: "--content-language <name>",
    description: "language of the plaintext",
    commands: writing,
    fields: as("ContentLanguage"),
  },
  contentDisposition: {
    flags: "--content-disposition <text>",
    description: "how a browser shows the plaintext",
    commands: writing,
    fields: as("ContentDisposition"),
  },
  cacheControl: {
    flags: "--cache-control <text>",
    description: "what caches may do",
    commands: writing,
    fields: as("CacheControl"),
  },
  expires: {
    flags: "--expires <date>",
    description: "when caches drop it, such as 2030-01-31T12:00:00Z",
    commands: writing,
    fields: (text: string) => ({ Expires: parseDate("expires", text) }),
  },
  objectLockMode: {
    flags: "--object-lock-mode <name>",
    description: "GOVERNANCE or COMPLIANCE",
    commands: writing,
    fields: (name: string) => ({ ObjectLockMode: oneOf("object-lock-mode", name, lockModes) }),
  },
  objectLockUntil: {
    flags: "--object-lock-until <date>",
    description: "until when it is locked, such as 2030-01-31",
    commands: writing,
    fields: (text: string) => ({ ObjectLockRetainUntilDate: parseDate("object-lock-until", text) }),
  },
  objectLockLegalHold: {
    flags: "--object-lock-legal-hold",
    description: "lock it until the hold is taken off",
    commands: writing,
    fields: () => ({ ObjectLockLegalHoldStatus: "ON" }),
  },
  overwrite: {
    flags: "--no-overwrite",
    description: "fail if the object exists",
    commands: ["put"],
    fields: (overwrite: boolean) => (overwrite ? {} : { IfNoneMatch: "*" }),
  },
  ifMatch: {
    flags: "--if-match <etag>",
    description: "fail unless the object has this ETag now",
    commands: ["put", ...contents],
    fields: (eTag: string) => ({ IfMatch: quoted(eTag) }),
  },
  ifNoneMatch: {
    flags: "--if-none-match <etag>",
    description: "fail if the object has this ETag now",
    commands: contents,
    fields: (eTag: string) => ({ IfNoneMatch: quoted(eTag) }),
  },
  expectedBucketOwner: {
    flags: "--expected-bucket-owner <id>",
    description: "fail unless the bucket is of this account",
    commands: all,
    fields: as("ExpectedBucketOwner"),
  },
  requestPayer: {
    flags: "--request-payer",
    description: "pay for the requests, where buckets ask for that",
    commands: all,
    fields: () => ({ RequestPayer: "requester" }),
  },
};

const checksums = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"];
const lockModes = ["GOVERNANCE", "COMPLIANCE"];

/** Adds the options that a command has. */
export function addFieldOptions(command: Command, name: ObjectCommand): Command {
  for (const { flags, description, commands, many } of Object.values(rows)) {
    if (!commands.includes(name)) continue;
    if (many === true) command.option(flags, description, collect);
    else command.option(flags, description);
  }
  return command;
}

/** The fields that the options of a command ask for. */
export function fieldsFrom(options: object): Fields {
  const given = options as Readonly<Record<string, unknown>>;
  if (given.ifMatch !== undefined && given.overwrite === false)
    throw new UsageError("--if-match and --no-overwrite exclude each other");
  if ((given.objectLockMode === undefined) !== (given.objectLockUntil === undefined))
    throw new UsageError("--object-lock-mode and --object-lock-until go together");
  const fields: Record<string, unknown> = {};
  for (const [name, row] of Object.entries(rows))
    if (given[name] !== undefined) Object.assign(fields, row.fields(given[name] as never));
  return fields;
}

/** Those of the fields that every request takes: who asks, and who pays. */
export function accessFields({ ExpectedBucketOwner, RequestPayer }: Fields): Fields {
  return { ExpectedBucketOwner, RequestPayer };
}

function taggingOf(tags: Readonly<Record<string, string>>): string {
  return Object.entries(tags)
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
    .join("&");
}

function oneOf(option: string, text: string, names: readonly string[]): string {
  const name = text.toUpperCase();
  if (!names.includes(name))
    throw new UsageError(`--${option} is one of ${names.join(", ")}, not ${shown(text)}`);
  return name;
}

function parseDate(option: string, text: string): Date {
  const date = new Date(text);
  if (!/^[0-9]{4}-[0-9]{2}-[0-9]{2}/.test(text) || Number.isNaN(date.getTime()))
    throw new UsageError(`--${option} ${shown(text)} is no date, such as 2030-01-31T12:00:00Z`);
  return date;
}

// As S3 writes them; the AWS command line takes both.
function quoted(eTag: string): string {
  return /^(W\/)?".*"$|^\*$/.test(eTag) ? eTag : `"${eTag}"`;
}
