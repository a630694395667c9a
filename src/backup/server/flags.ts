// What an S3 can do. Servers differ in what they refuse, ignore or lack; each operation asks here before it relies on it.
import type { S3Client } from "@aws-sdk/client-s3";

/** `unknown` where nothing was asked, or the answer was that one may not. */
export type Answer = "yes" | "no" | "unknown";

/** One row for each thing in which servers differ. */
export interface ServerFlags {
  /**
   * If-None-Match of PutObject is obeyed. Where it is not: look with HeadObject before, leave the condition out, and tell
   * that two runs at once are not noticed.
   */
  readonly conditionalPut: Answer;
  /** The same of CompleteMultipartUpload. */
  readonly conditionalComplete: Answer;
  /** If-Match of PutObject is obeyed. Where it is not: compare the ETag with HeadObject before. */
  readonly ifMatch: Answer;
  /** The checksums that the SDK sends by itself are taken. Where they are not, `applyFlags` turns them off. */
  readonly checksums: Answer;
  /** Tags can be read. Where they cannot, copies leave them out. */
  readonly tagging: Answer;
  /** ETags are strong. A weak one is compared without its `W/`, and never sent as a condition. */
  readonly strongETags: Answer;
  /** ListObjectsV2. Where it is missing, `withOldListing` takes ListObjects. */
  readonly listV2: Answer;
  /** ListMultipartUploads. Where it is missing: what the journal knows is all that can be found. */
  readonly listUploads: Answer;
  /** Versions are kept: deletions and replacements keep the old ones, which can be named. */
  readonly versioning: Answer;
  /** Objects can be locked: deletions may be refused until a date. */
  readonly objectLock: Answer;
  /** UpdateObjectEncryption. Where it is missing, new keys of SSE-KMS take a copy of each object. */
  readonly updateEncryption: Answer;
}

const FLAGS = [
  "conditionalPut",
  "conditionalComplete",
  "ifMatch",
  "checksums",
  "tagging",
  "strongETags",
  "listV2",
  "listUploads",
  "versioning",
  "objectLock",
  "updateEncryption",
] as const satisfies readonly (keyof ServerFlags)[];

/** For operations that ask nothing: nothing is relied on that could be missing. */
export const UNKNOWN_FLAGS: ServerFlags = flagsFrom(() => "unknown");

function flagsFrom(answer: (name: keyof ServerFlags) => unknown): ServerFlags {
  const of = (name: keyof ServerFlags): Answer => {
    const given = answer(name);
    return given === "yes" || given === "no" ? given : "unknown";
  };
  return Object.fromEntries(FLAGS.map((name) => [name, of(name)])) as unknown as ServerFlags;
}

/** Flags as text, with the run in which the server was asked. */
export function writeFlags(flags: ServerFlags, run: number): string {
  return JSON.stringify({ run, flags });
}

/** The reverse; undefined for what is none. */
export function readFlags(
  text: string | undefined,
): { readonly flags: ServerFlags; readonly run: number } | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text ?? "");
  } catch {
    return undefined;
  }
  const { run, flags } = (value ?? {}) as { readonly run?: unknown; readonly flags?: unknown };
  if (!Number.isSafeInteger(run) || typeof flags !== "object" || flags === null) return undefined;
  const given = flags as Readonly<Record<string, unknown>>;
  return { run: run as number, flags: flagsFrom((name) => given[name]) };
}

const required = async () => "WHEN_REQUIRED" as const;

/** Makes a client, and those that share its configuration, send what the server takes. */
export function applyFlags(client: S3Client, { checksums }: ServerFlags): void {
  if (checksums === "no") client.config.requestChecksumCalculation = required;
}

/**
 * Asks for no checksums of what is read, and, where nothing is to be stored, sends none: not all servers take them, and
 * all that is read is authenticated, which says more.
 */
export function leaveOutChecksums(client: S3Client, purpose: "read" | "write"): void {
  client.config.responseChecksumValidation = required;
  if (purpose === "read") client.config.requestChecksumCalculation = required;
}
