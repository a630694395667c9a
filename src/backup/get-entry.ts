// Restores one entry of a tree: a file, a folder or a link. It is fetched, verified, compared with what a manifest says
// of it, and only then given its name.
import { createHash } from "node:crypto";
import type { S3Client } from "@aws-sdk/client-s3";
import { fileError } from "../disk/calls.ts";
import { existsAlready } from "../disk/new-file.ts";
import { FramesealError, hasCode, throwIfAborted } from "../errors.ts";
import { sameETag } from "../s3/etag.ts";
import { isForbidden, isNotFound } from "../s3/object-source.ts";
import { statusOf } from "../s3/transient-error.ts";
import { endsRun } from "./ends-run.ts";
import type { EntryType, TreeAddress } from "./entry.ts";
import {
  digestOf,
  type FetchContext,
  fetchLarge,
  fetchSmall,
  measureObject,
  type ObjectFacts,
  type ObjectName,
  type SeenObject,
  SMALL_LENGTH,
  seeObject,
  smallCost,
} from "./get-file.ts";
import type { Journal } from "./journal/journal.ts";
import { hintsOf } from "./local/attributes.ts";
import type { PartialFile } from "./local/partial-file.ts";
import { isSameTime, type RestoredAttributes } from "./local/restored-attributes.ts";
import type { Existing, TargetTree } from "./local/target-tree.ts";
import type { ManifestEntry } from "./manifest/format.ts";
import type { KeyNames } from "./names/key-names.ts";
import type { ItemRecord, Report } from "./report.ts";
import { isUntrusted } from "./untrusted.ts";

/** What restoring needs of the context of an operation. */
export interface RestoreContext extends FetchContext {
  readonly sdk: typeof import("@aws-sdk/client-s3");
  /** As `client`, and opens nothing but links: their encryption context says that they are some. */
  readonly links: Pick<S3Client, "send">;
  readonly address: TreeAddress;
  readonly names: KeyNames;
  readonly journal: Pick<Journal, "download" | "allDownloads" | "putDownload" | "endDownload"> | undefined;
  readonly report: Report;
  readonly dryRun: boolean;
}

/** How entries are restored. */
export interface RestoreOptions {
  readonly target: TargetTree;
  readonly links: "skip" | "keep";
  /** What becomes of files that are there and are not equal. */
  readonly existing: "refuse" | "replace";
  /** What names an instruction file, which is no entry. */
  readonly instructionFileSuffix: string;
}

/** An entry that is to be restored. */
export interface Wanted {
  /** Safe below a folder. */
  readonly path: string;
  /** With the prefix. */
  readonly key: string;
  /** In a listing, a link looks like a file. */
  readonly type: EntryType;
  /** Of the plaintext, as a manifest says; or as stored, about as much. */
  readonly size: number;
  /** What a manifest says of it. */
  readonly proof: ManifestEntry | undefined;
}

/** What became of an entry; `told` when a warning has said it. */
type Outcome = Partial<ItemRecord> | "told";

const UNCHANGED = { action: "skip", reason: "unchanged" } as const;

/** Restores entries into one tree. */
export class EntryRestore {
  failed = 0;
  /** Partial files that a later run goes on with. */
  kept = 0;
  readonly #context: RestoreContext;
  readonly #options: RestoreOptions;

  constructor(context: RestoreContext, options: RestoreOptions) {
    this.#context = context;
    this.#options = options;
  }

  /** Restores an entry, and tells what became of it. Rejects only with what ends the whole operation. */
  async restore(wanted: Wanted): Promise<void> {
    const { report, signal } = this.#context;
    const { path, key, type, size } = wanted;
    const record = { action: "get", path, key, type, size } as const;
    try {
      const outcome = await this.#restore(wanted).catch((error: unknown) => this.#orForeign(error, wanted));
      if (outcome !== "told") report.item({ ...record, ...outcome });
    } catch (error) {
      throwIfAborted(signal);
      // One that was sealed with another key says nothing of the others.
      if (endsRun(error) && !hasCode(error, "NO_DATA_KEY")) throw error;
      this.failed += 1;
      // What a manifest names must be there.
      const isMissing = wanted.proof !== undefined && isNotFound(error);
      report.item({ ...record, error, ...(isMissing ? { untrusted: true } : {}) });
    }
  }

  #restore(wanted: Wanted): Promise<Outcome> {
    if (wanted.type === "directory") return this.#directory(wanted);
    return wanted.type === "file" && wanted.size > SMALL_LENGTH ? this.#large(wanted) : this.#small(wanted);
  }

  // What other programs put beside objects, and mark folders with, is nothing that was stored.
  #orForeign(error: unknown, { path, key, proof }: Wanted): "told" {
    const isSide = key.endsWith(this.#options.instructionFileSuffix);
    if (proof !== undefined || !hasCode(error, "NOT_ENCRYPTED") || !(isSide || key.endsWith("/")))
      throw error;
    const what = isSide ? "what has a name of instruction files" : "the mark of a folder";
    this.#context.report.warn(`${what} and is not encrypted is not restored`, path);
    return "told";
  }

  #name({ key }: Wanted): ObjectName {
    return { Bucket: this.#context.address.bucket, Key: key };
  }

  async #directory(wanted: Wanted): Promise<Outcome> {
    const { path, proof } = wanted;
    const { target, existing } = this.#options;
    const { dryRun, queue, signal } = this.#context;
    const there = await target.look(path);
    if (there !== undefined && there.type !== "directory")
      throw existsAlready(target.absoluteOf(path), "mkdir");
    if (there !== undefined && (existing === "refuse" || dryRun)) return UNCHANGED;
    if (dryRun) return { dryRun, reason: "new" };
    let attributes: RestoredAttributes;
    if (proof !== undefined) attributes = { ...proof, proof: "sealed" };
    else {
      const { bytes, facts } = await queue.run(smallCost(0), (abortSignal) =>
        fetchSmall(this.#context, this.#name(wanted), undefined, abortSignal),
      );
      if (bytes?.length !== 0)
        throw new FramesealError("UNSUPPORTED", "a folder has contents, which cannot be restored");
      attributes = this.#hints(path, facts);
    }
    throwIfAborted(signal);
    return (await target.makeDirectory(path, attributes)) === "made" ? { reason: "new" } : UNCHANGED;
  }

  #attributesOf({ path, proof }: Wanted, facts: ObjectFacts): RestoredAttributes {
    return proof === undefined ? this.#hints(path, facts) : { ...proof, proof: "sealed" };
  }

  #hints(path: string, { metadata, modified }: ObjectFacts): RestoredAttributes {
    const { isSymlink: _, refused, ...hints } = hintsOf(metadata);
    if (refused.length > 0) this.#context.report.warn(`the object has no usable ${refused.join(", ")}`, path);
    const mtimeNs = hints.mtimeNs ?? timeOf(modified);
    return { ...hints, ...(mtimeNs === undefined ? {} : { mtimeNs }), proof: "hint" };
  }

  // What is to be said of an entry for what is there already; undefined if it is to be fetched.
  async #judge(wanted: Wanted, there: Existing | undefined): Promise<Outcome | undefined> {
    const { existing, target } = this.#options;
    const absolute = target.absoluteOf(wanted.path);
    if (there?.type === "directory")
      throw fileError("EISDIR", "open", absolute, "is a folder, and is not replaced by a file");
    if (there?.type === "file" && wanted.type === "file") {
      const size = await this.#equalLength(there, wanted);
      if (size !== undefined) return { ...UNCHANGED, size };
    }
    if (there?.type === "symlink" && isProvenLink(wanted, there)) return { ...UNCHANGED, type: "symlink" };
    // A link may be the one that the object turns out to be.
    if (there !== undefined && there.type !== "symlink" && existing === "refuse")
      throw existsAlready(absolute, "open");
    return this.#context.dryRun ? { dryRun: true, reason: reasonOf(there) } : undefined;
  }

  // The length of a file that is what would be restored, as far as length and time tell.
  async #equalLength({ stats }: Existing, wanted: Wanted): Promise<number | undefined> {
    const { proof } = wanted;
    if (proof !== undefined) {
      const isEqual = stats.size === BigInt(proof.size) && isSameTime(proof.mtimeNs, stats.mtimeNs);
      return isEqual ? proof.size : undefined;
    }
    const { length, metadata, modified } = await measureObject(this.#context, this.#name(wanted));
    const time = hintsOf(metadata).mtimeNs ?? timeOf(modified);
    const isEqual = stats.size === BigInt(length) && time !== undefined && isSameTime(time, stats.mtimeNs);
    return isEqual ? length : undefined;
  }

  async #small(wanted: Wanted): Promise<Outcome> {
    const { queue, report } = this.#context;
    const there = await this.#options.target.look(wanted.path);
    const judged = await this.#judge(wanted, there);
    if (judged !== undefined) return judged;
    let moved = 0;
    const outcome = await queue.run(smallCost(wanted.size), async (signal) => {
      const isLink = wanted.type === "symlink";
      const { bytes, facts } = await this.#fetch(wanted, isLink, signal);
      if (bytes === undefined) return undefined;
      report.moved(wanted.path, bytes.length - moved);
      moved = bytes.length;
      if (isLink) return this.#link(wanted, bytes, facts, signal);
      // It says that it is one: then it is fetched again so that it must be.
      if (wanted.proof === undefined && hintsOf(facts.metadata).isSymlink) {
        if (this.#options.links === "skip") return this.#skipLink(wanted);
        const link = await this.#fetch(wanted, true, signal).catch((error: unknown) => {
          throw notALink(error);
        });
        return this.#link(wanted, link.bytes, link.facts, signal);
      }
      if (there !== undefined && this.#options.existing === "refuse")
        throw existsAlready(this.#options.target.absoluteOf(wanted.path), "open");
      return { ...(await this.#file(wanted, bytes, facts, signal)), reason: reasonOf(there) };
    });
    // More than was listed.
    return outcome ?? this.#large(wanted);
  }

  #skipLink({ path }: Wanted): Outcome {
    this.#context.report.warn("is a symbolic link: skipped", path);
    return "told";
  }

  // The object as it is or, if that is not what a manifest names, the version that it names, if there is one still.
  async #fetch(wanted: Wanted, isLink: boolean, signal: AbortSignal): ReturnType<typeof fetchSmall> {
    const { sdk, links, client } = this.#context;
    const from = { sdk, client: isLink ? links : client };
    const name = this.#name(wanted);
    const { eTag, versionId } = wanted.proof ?? {};
    if (versionId === undefined) return fetchSmall(from, name, undefined, signal);
    const current = await fetchSmall(from, name, eTag, signal).catch((error: unknown) => {
      if (isNotFound(error)) return undefined;
      throw error;
    });
    if (current?.bytes !== undefined) return current;
    try {
      return await fetchSmall(from, { ...name, VersionId: versionId }, undefined, signal);
    } catch (error) {
      if (current === undefined || !isGone(error)) throw error;
      return fetchSmall(from, name, undefined, signal);
    }
  }

  async #link(
    wanted: Wanted,
    target: Uint8Array | undefined,
    facts: ObjectFacts,
    signal: AbortSignal,
  ): Promise<Outcome> {
    if (this.#options.links === "skip") return this.#skipLink(wanted);
    if (target === undefined) throw new FramesealError("UNSUPPORTED", "no symbolic link is so long");
    checkDigest(wanted, digestOfBytes(target), facts);
    throwIfAborted(signal);
    const made = await this.#options.target.makeLink(wanted.path, target, this.#attributesOf(wanted, facts));
    const record = { type: "symlink", size: target.length } as const;
    return made === "made" ? { ...record, reason: "new" } : { ...UNCHANGED, ...record };
  }

  async #file(
    wanted: Wanted,
    bytes: Uint8Array,
    facts: ObjectFacts,
    signal: AbortSignal,
  ): Promise<Partial<ItemRecord>> {
    checkDigest(wanted, wanted.proof === undefined ? undefined : digestOfBytes(bytes), facts);
    const attributes = this.#attributesOf(wanted, facts);
    // The queue lets go of a job at once when the signal is aborted: nobody would hear of the file.
    throwIfAborted(signal);
    const file = await this.#options.target.openPartial(wanted.path);
    try {
      await file.write(bytes, 0);
      await file.publish(attributes);
    } finally {
      await file.discard();
    }
    return recordOf(facts, bytes.length, attributes);
  }

  async #large(wanted: Wanted): Promise<Outcome> {
    const { target } = this.#options;
    const { journal, report } = this.#context;
    const { path, key } = wanted;
    const there = await target.look(path);
    const judged = await this.#judge(wanted, there);
    if (judged !== undefined) return judged;
    const { name, seen } = await this.#seeVersion(wanted);
    const absolute = target.absoluteOf(path);
    const row = journal?.download(absolute);
    const isSame =
      row?.key === key && sameETag(row.eTag, seen.eTag) && row.versionId === seen.versionId && seen.isFramed;
    const file = await target.openPartial(
      path,
      journal === undefined ? undefined : isSame ? row.verified : 0,
    );
    const remember = (verified: number): void =>
      journal?.putDownload({
        target: absolute,
        temporary: file.temporary,
        key,
        eTag: seen.eTag ?? "",
        versionId: seen.versionId,
        verified,
      });
    let isResumable = journal !== undefined && seen.isFramed && seen.eTag !== undefined;
    try {
      if (isResumable && file.resumed === 0) remember(0);
      report.moved(path, file.resumed);
      const size = await fetchLarge(this.#context, {
        name,
        seen,
        file,
        verified: file.resumed,
        onMoved: (bytes) => report.moved(path, bytes),
        onSaved: isResumable ? remember : undefined,
      });
      const { proof } = wanted;
      const sha256 = proof === undefined ? undefined : await digestOf(file.descriptor, this.#context.signal);
      checkDigest(wanted, sha256, seen);
      const attributes = this.#attributesOf(wanted, seen);
      throwIfAborted(this.#context.signal);
      await file.publish(attributes);
      isResumable = false;
      return { ...recordOf(seen, size, attributes), reason: reasonOf(there) };
    } catch (error) {
      // What is not authentic is nothing to go on with; another key is.
      if (isUntrusted(error) && !hasCode(error, "NO_DATA_KEY") && !hasCode(error, "CONTEXT_MISMATCH"))
        isResumable = false;
      throw error;
    } finally {
      if (isResumable) this.kept += 1;
      await (isResumable ? file.keep() : this.#forget(file, absolute));
    }
  }

  // Nothing is left of it, if it has not its name by now.
  async #forget(file: PartialFile, absolute: string): Promise<void> {
    await file.discard();
    this.#context.journal?.endDownload(absolute);
  }

  // The same choice as of small objects, before anything is read.
  async #seeVersion(wanted: Wanted): Promise<{ readonly name: ObjectName; readonly seen: SeenObject }> {
    const name = this.#name(wanted);
    const { eTag, versionId } = wanted.proof ?? {};
    const see = async (which: ObjectName) => ({ name: which, seen: await seeObject(this.#context, which) });
    if (versionId === undefined) return see(name);
    const current = await see(name).catch((error: unknown) => {
      if (isNotFound(error)) return undefined;
      throw error;
    });
    if (current !== undefined && sameETag(current.seen.eTag, eTag)) return current;
    try {
      return await see({ ...name, VersionId: versionId });
    } catch (error) {
      if (current === undefined || !isGone(error)) throw error;
      return current;
    }
  }
}

function isProvenLink({ type, proof }: Wanted, { target }: Existing): boolean {
  return type === "symlink" && target !== undefined && proof?.sha256 === digestOfBytes(target);
}

// It has been opened before, so it is not for want of a key.
function notALink(error: unknown): unknown {
  if (!hasCode(error, "NO_DATA_KEY") && !hasCode(error, "CONTEXT_MISMATCH")) return error;
  const text = "the object says that it is a symbolic link, and was not stored as one";
  return new FramesealError("CONTEXT_MISMATCH", text, { cause: error });
}

// Versions that have expired, or that somebody may not read.
function isGone(error: unknown): boolean {
  return isNotFound(error) || isForbidden(error) || statusOf(error) === 400;
}

function digestOfBytes(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** @throws FramesealError AUTHENTICATION_FAILED when an object is not what the manifest says */
function checkDigest({ proof }: Wanted, sha256: string | undefined, { eTag }: ObjectFacts): void {
  if (proof === undefined) return;
  // Where nobody had read it, its stored bytes are all that is known.
  const isSame = proof.sha256 === undefined ? sameETag(proof.eTag, eTag) : proof.sha256 === sha256;
  if (!isSame)
    throw new FramesealError("AUTHENTICATION_FAILED", "the object is not the one that the manifest names");
}

function recordOf(facts: ObjectFacts, size: number, { mtimeNs }: RestoredAttributes): Partial<ItemRecord> {
  const { eTag, versionId } = facts;
  return { type: "file", size, mtimeNs, eTag, versionId };
}

function reasonOf(there: Existing | undefined): string {
  return there === undefined ? "new" : "changed";
}

function timeOf(time: Date | undefined): bigint | undefined {
  return time === undefined || Number.isNaN(time.getTime()) ? undefined : BigInt(time.getTime()) * 1_000_000n;
}
