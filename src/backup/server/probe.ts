// Finds out what an S3 can do, by trying it on one small sealed object of its own, which is deleted at the end. Once for
// a journal: the answers are kept there for a number of runs.
import { randomUUID } from "node:crypto";
import type * as S3 from "@aws-sdk/client-s3";
import { pinnableETag } from "../../s3/etag.ts";
import { statusOf } from "../../s3/transient-error.ts";
import { isError, isErrorNamed } from "../../shapes.ts";
import { RESERVED_FOLDER, type TreeAddress } from "../entry.ts";
import type { Journal } from "../journal/journal.ts";
import type { Report } from "../report.ts";
import { type Answer, applyFlags, readFlags, type ServerFlags, UNKNOWN_FLAGS, writeFlags } from "./flags.ts";

/** What a probe is given. */
export interface ProbeContext {
  readonly sdk: typeof import("@aws-sdk/client-s3");
  /** Encrypts. */
  readonly client: S3.S3Client;
  /** The client that `client` was made from. */
  readonly plain: S3.S3Client;
  readonly address: TreeAddress;
  readonly journal: Pick<Journal, "note" | "putNote" | "begin" | "end"> | undefined;
  readonly report: Pick<Report, "warn" | "fact">;
  readonly signal: AbortSignal;
}

/** What probes try things on is named so, below the prefix of the tree. */
const PROBE = `${RESERVED_FOLDER}probe-`;

/** Whether `key` is of a probe of the tree below `prefix`. */
export function isOfProbe(key: string, prefix: string): boolean {
  return key.startsWith(prefix + PROBE);
}

const NOTE = "server flags";
/** Servers are replaced and policies change; runs are counted because clocks are set. */
const RUNS_KEPT = 50;

/**
 * The flags of the server, from the journal or by asking; applied to the clients, and told. For operations that write:
 * one small object comes and goes below the reserved folder.
 * @param run the number of this run in the journal
 */
export async function serverFlags(context: ProbeContext, run: number): Promise<ServerFlags> {
  const { plain, journal, report } = context;
  const known = readFlags(journal?.note(NOTE));
  const age = run - (known?.run ?? Number.NaN);
  const isFresh = known !== undefined && age >= 0 && age <= RUNS_KEPT;
  const flags = isFresh ? known.flags : await new Probe(context).run();
  applyFlags(plain, flags);
  if (!isFresh) journal?.putNote(NOTE, writeFlags(flags, run));
  report.fact("server", { ...flags, asked: !isFresh });
  return flags;
}

/** What one request came to. */
type Outcome<Output> =
  | { readonly kind: "done"; readonly output: Output }
  /** The server has no such request, field or condition. */
  | { readonly kind: "lacking"; readonly error: unknown }
  | { readonly kind: "forbidden"; readonly error: unknown }
  | { readonly kind: "failed"; readonly error: unknown; readonly status: number | undefined };

class Probe {
  readonly #context: ProbeContext;
  readonly #place: { readonly Bucket: string; readonly Key: string };
  readonly #answers: { -readonly [Name in keyof ServerFlags]: ServerFlags[Name] } = { ...UNKNOWN_FLAGS };

  /** Aborted a moment after the operation is. */
  readonly #hurry = new AbortController();

  constructor(context: ProbeContext) {
    this.#context = context;
    const { bucket, prefix } = context.address;
    this.#place = { Bucket: bucket, Key: `${prefix}${PROBE}${randomUUID()}` };
  }

  async run(): Promise<ServerFlags> {
    const { report, signal, journal } = this.#context;
    const { Key } = this.#place;
    // Whoever ends this process leaves the rest to the next run.
    journal?.begin([Key]);
    const hurry = (): void => void setTimeout(() => this.#hurry.abort(), HURRIED_MS).unref();
    signal.addEventListener("abort", hurry, { once: true });
    try {
      if (await this.#store()) {
        await this.#conditions();
        await this.#conditionalComplete();
        await this.#object();
        await this.#bucket();
      }
    } finally {
      await this.#remove();
      signal.removeEventListener("abort", hurry);
      if (this.#isTidy) journal?.end(Key);
    }
    signal.throwIfAborted();
    const missing = Object.entries(this.#answers).filter(([, answer]) => answer === "unknown");
    if (missing.length === Object.keys(this.#answers).length)
      report.warn("the server did not let itself be asked what it can do: nothing special is relied on");
    return this.#answers;
  }

  // Whether there is an object to try things on.
  async #store(): Promise<boolean> {
    const { plain } = this.#context;
    let stored = await this.#put({});
    if (stored.kind === "lacking" || (stored.kind === "failed" && stored.status === 400)) {
      applyFlags(plain, { ...UNKNOWN_FLAGS, checksums: "no" });
      stored = await this.#put({});
      if (stored.kind === "done") this.#answers.checksums = "no";
    } else if (stored.kind === "done") this.#answers.checksums = "yes";
    if (stored.kind === "failed") throw stored.error;
    if (stored.kind !== "done") return false;
    this.#answers.strongETags = stored.output.ETag?.startsWith("W/") === true ? "no" : "yes";
    return true;
  }

  // A condition that does not hold must be refused; one that is ignored is none.
  async #conditions(): Promise<void> {
    this.#answers.conditionalPut = obeyed(await this.#put({ IfNoneMatch: "*" }));
    this.#answers.ifMatch = obeyed(await this.#put({ IfMatch: OTHER_ETAG }));
    const match = pinnableETag(this.#eTag);
    if (this.#answers.ifMatch !== "yes" || match === undefined) return;
    // One that holds must be met: a server that refuses it, however it is written, has no condition to rely on.
    if (obeyed(await this.#put({ IfMatch: match })) === "yes") this.#answers.ifMatch = "no";
  }

  async #conditionalComplete(): Promise<void> {
    const { sdk, client, plain } = this.#context;
    this.#hasLostUpload = true;
    const created = await this.#send(client, new sdk.CreateMultipartUploadCommand(this.#place));
    this.#hasLostUpload = false;
    const UploadId = created.kind === "done" ? created.output.UploadId : undefined;
    if (UploadId === undefined) return;
    const upload = { ...this.#place, UploadId };
    let isOpen = true;
    try {
      const part = await this.#send(
        client,
        new sdk.UploadPartCommand({ ...upload, PartNumber: 1, Body: CONTENT }),
      );
      if (part.kind !== "done") return;
      const MultipartUpload = { Parts: [{ PartNumber: 1, ETag: part.output.ETag }] };
      const completed = await this.#send(
        client,
        new sdk.CompleteMultipartUploadCommand({ ...upload, MultipartUpload, IfNoneMatch: "*" }),
      );
      this.#answers.conditionalComplete = obeyed(completed);
      isOpen = completed.kind !== "done";
    } finally {
      if (isOpen) await this.#tidy(plain, new sdk.AbortMultipartUploadCommand(upload));
    }
  }

  // Last, because a server that does not know the request may take it for a PutObject, and its text for the new content.
  async #object(): Promise<void> {
    const { sdk, plain } = this.#context;
    const tags = await this.#send(plain, new sdk.GetObjectTaggingCommand(this.#place));
    this.#answers.tagging = offered(tags);
    const before = await this.#send(plain, new sdk.HeadObjectCommand(this.#place));
    // It always has a checksum.
    if (this.#answers.checksums === "no") {
      this.#answers.updateEncryption = "no";
      return;
    }
    const update = await this.#send(
      plain,
      new sdk.UpdateObjectEncryptionCommand({
        ...this.#place,
        ObjectEncryption: { SSEKMS: { KMSKeyArn: NO_KEY } },
      }),
    );
    if (update.kind === "lacking") this.#answers.updateEncryption = "no";
    if (update.kind === "forbidden" || before.kind !== "done") return;
    const after = await this.#send(plain, new sdk.HeadObjectCommand(this.#place));
    const isSame = after.kind === "done" && after.output.ETag === before.output.ETag;
    // The key does not exist: who knows the request refuses it.
    if (update.kind === "done" || !isSame) this.#answers.updateEncryption = "no";
    else if (update.kind === "failed" && isError(update.error) && update.error.name.startsWith("KMS."))
      this.#answers.updateEncryption = "yes";
  }

  async #bucket(): Promise<void> {
    const { sdk, plain } = this.#context;
    const { Bucket, Key } = this.#place;
    const listed = await this.#send(
      plain,
      new sdk.ListObjectsV2Command({ Bucket, Prefix: Key, StartAfter: Key.slice(0, -1), MaxKeys: 1 }),
    );
    this.#answers.listV2 =
      listed.kind === "done" ? (listed.output.KeyCount === 1 ? "yes" : "no") : offered(listed);
    this.#answers.listUploads = offered(
      await this.#send(plain, new sdk.ListMultipartUploadsCommand({ Bucket, Prefix: Key, MaxUploads: 1 })),
    );
    const versioning = await this.#send(plain, new sdk.GetBucketVersioningCommand({ Bucket }));
    this.#answers.versioning =
      versioning.kind === "done"
        ? versioning.output.Status === undefined
          ? "no"
          : "yes"
        : offered(versioning);
    const lock = await this.#send(plain, new sdk.GetObjectLockConfigurationCommand({ Bucket }));
    const isLocking =
      lock.kind === "done" && lock.output.ObjectLockConfiguration?.ObjectLockEnabled === "Enabled";
    const hasNone = lock.kind === "done" || (lock.kind === "failed" && lock.status === 404);
    this.#answers.objectLock = !isLocking && hasNone ? "no" : offered(lock);
  }

  // All versions that the probe has made, and what requests have made whose answer was not heard.
  async #remove(): Promise<void> {
    const { sdk, plain } = this.#context;
    const { Bucket, Key } = this.#place;
    for (const VersionId of this.#versions) {
      const version = VersionId === undefined ? {} : { VersionId };
      await this.#tidy(plain, new sdk.DeleteObjectCommand({ ...this.#place, ...version }));
    }
    if (!this.#hasLostUpload) return;
    const list = new sdk.ListMultipartUploadsCommand({ Bucket, Prefix: Key });
    for (const { UploadId } of (await this.#tidy(plain, list))?.Uploads ?? [])
      await this.#tidy(plain, new sdk.AbortMultipartUploadCommand({ ...this.#place, UploadId }));
  }
  readonly #versions = new Set<string | undefined>();
  /** Of the object that was stored last. */
  #eTag: string | undefined;
  #hasLostUpload = false;
  #isTidy = true;

  async #put(condition: Partial<S3.PutObjectCommandInput>): Promise<Outcome<S3.PutObjectCommandOutput>> {
    const { sdk, client } = this.#context;
    const put = new sdk.PutObjectCommand({ ...this.#place, ...condition, Body: CONTENT });
    const isKnown = this.#versions.has(undefined);
    this.#versions.add(undefined);
    const stored = await this.#send(client, put);
    const isRefused = stored.kind !== "done" && (stored.kind !== "failed" || stored.status === 412);
    if (!isKnown && (isRefused || stored.kind === "done")) this.#versions.delete(undefined);
    if (stored.kind === "done") {
      this.#versions.add(stored.output.VersionId);
      this.#eTag = stored.output.ETag;
    }
    return stored;
  }

  async #send<Output>(client: S3.S3Client, command: Command<Output>): Promise<Outcome<Output>> {
    const { signal } = this.#context;
    try {
      return { kind: "done", output: await sendOf<Output>(client)(command, { abortSignal: signal }) };
    } catch (error) {
      signal.throwIfAborted();
      const status = statusOf(error);
      if (status === 401 || status === 403) return { kind: "forbidden", error };
      // Or all went well, with an answer to something else.
      if (
        status === 405 ||
        status === 501 ||
        (status !== undefined && status < 300) ||
        isErrorNamed(error, "NotImplemented")
      )
        return { kind: "lacking", error };
      return { kind: "failed", error, status };
    }
  }

  // Also when the operation was aborted: nothing is left behind.
  async #tidy<Output>(client: S3.S3Client, command: Command<Output>): Promise<Output | undefined> {
    try {
      const abortSignal = AbortSignal.any([AbortSignal.timeout(TIDY_MS), this.#hurry.signal]);
      return await sendOf<Output>(client)(command, { abortSignal });
    } catch (error) {
      if (statusOf(error) === 404) return; // neither the object nor the upload is there, nor perhaps the bucket
      if (this.#isTidy)
        this.#context.report.warn(
          "the object by which the server was tried could not be removed",
          this.#place.Key,
        );
      this.#isTidy = false;
    }
  }
}

const CONTENT = Buffer.from("a try of the server");
const OTHER_ETAG = `"${"0".repeat(32)}"`;
/** Of an account that nobody has. */
const NO_KEY = "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000";
const TIDY_MS = 2000;
/** Whoever waits for an end by a signal waits no longer; the journal knows what is left. */
const HURRIED_MS = 500;

/** A command of the SDK, by what it resolves to. */
interface Command<Output> {
  readonly input: object;
  resolveMiddleware(...args: never[]): (...args: never[]) => Promise<{ readonly output: Output }>;
}

function sendOf<Output>(client: S3.S3Client) {
  return client.send.bind(client) as unknown as (
    command: Command<Output>,
    options: { readonly abortSignal: AbortSignal },
  ) => Promise<Output>;
}

function obeyed(outcome: Outcome<unknown>): Answer {
  if (outcome.kind === "done" || outcome.kind === "lacking") return "no";
  return outcome.kind === "failed" && outcome.status === 412 ? "yes" : "unknown";
}

function offered(outcome: Outcome<unknown>): Answer {
  if (outcome.kind === "done") return "yes";
  return outcome.kind === "lacking" ? "no" : "unknown";
}
