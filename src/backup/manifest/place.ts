// Where the manifests of a tree lie, and which there are.
import type * as S3 from "@aws-sdk/client-s3";
import { FramesealError } from "../../errors.ts";
import { sameETag } from "../../s3/etag.ts";
import { RESERVED_FOLDER, type TreeAddress } from "../entry.ts";
import type { Journal } from "../journal/journal.ts";
import { listTree } from "../list-tree.ts";
import type { Report } from "../report.ts";
import { invalid, type ManifestLink } from "./format.ts";

/**
 * Pairs of the encryption context of manifests, which `sealed` writes and demands: no other object passes for one.
 */
export const MANIFEST_CONTEXT: Readonly<Record<string, string>> = { type: "manifest" };

/** What reading and writing of manifests needs of the context of an operation. */
export interface ManifestPlace {
  readonly sdk: Pick<
    typeof S3,
    "GetObjectCommand" | "HeadObjectCommand" | "ListObjectsV2Command" | "PutObjectCommand"
  >;
  /** Not encrypting: for listings. */
  readonly plain: S3.S3Client;
  /** Encrypting, with objects that are framed, bound to their keys, and have the pairs of MANIFEST_CONTEXT. */
  readonly sealed: S3.S3Client;
  readonly address: TreeAddress;
  readonly journal: Journal | undefined;
  readonly report: Report;
  readonly signal: AbortSignal;
}

/** A manifest as a listing shows it. */
export interface ListedRun {
  readonly run: number;
  readonly eTag: string | undefined;
}

const DIGITS = 8;
const RUN_NAME = /^[0-9]{8}$/;
/** The highest number that a run can have. */
export const MAX_RUN = 10 ** DIGITS - 1;

/** Below the prefix. */
export function manifestName(run: number): string {
  return `${RESERVED_FOLDER}runs/${String(run).padStart(DIGITS, "0")}`;
}

/** The key of the manifest of a run. */
export function manifestKey(address: TreeAddress, run: number): string {
  return `${address.prefix}${manifestName(run)}`;
}

/** The runs that have a manifest, in their order. What else lies beside them is passed over. */
export async function* listRuns(place: ManifestPlace): AsyncGenerator<ListedRun> {
  const prefix = manifestKey(place.address, 0).slice(0, -DIGITS);
  const { sdk, plain: client, address, signal } = place;
  for await (const { name, eTag } of listTree({ sdk, client, address: { ...address, prefix }, signal }))
    if (RUN_NAME.test(name) && Number(name) > 0) yield { run: Number(name), eTag };
}

/** The newest run that has a manifest. Keys that a server lists in another order than theirs do not mislead it. */
export async function newestRun(place: ManifestPlace): Promise<ListedRun | undefined> {
  let newest: ListedRun | undefined;
  for await (const listed of listRuns(place)) if (listed.run > (newest?.run ?? 0)) newest = listed;
  return newest;
}

/** A manifest whose text was read or written. */
export interface KnownRun extends ManifestLink {
  readonly sha256: string;
  readonly eTag: string;
}

const NOTE = "manifest";

/** Makes the journal remember the newest manifest that this machine has written. */
export function rememberRun({ journal }: Pick<ManifestPlace, "journal">, run: KnownRun): void {
  journal?.putNote(NOTE, JSON.stringify({ run: run.run, sha256: run.sha256, eTag: run.eTag }));
  journal?.flush();
}

/** @throws FramesealError INVALID_MANIFEST for a note that is none: the journal is damaged */
export function rememberedRun({ journal }: Pick<ManifestPlace, "journal">): KnownRun | undefined {
  const note = journal?.note(NOTE);
  if (note === undefined) return undefined;
  const { run, sha256, eTag } = parse(note) ?? {};
  if (typeof run === "number" && typeof sha256 === "string" && typeof eTag === "string")
    return { run, sha256, eTag };
  throw invalid("the journal's note of the newest manifest is damaged");
}

function parse(note: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return JSON.parse(note);
  } catch {
    return undefined;
  }
}

/** True when a listing shows the very manifest that the journal remembers. */
export function isRemembered(remembered: KnownRun | undefined, listed: ListedRun | undefined): boolean {
  return remembered !== undefined && listed?.run === remembered.run && sameETag(listed.eTag, remembered.eTag);
}

/** An error that says which manifest it is about. */
export function ofManifest(error: FramesealError, run: number): FramesealError {
  return new FramesealError(error.code, `manifest ${run}: ${error.message}`, { cause: error });
}
