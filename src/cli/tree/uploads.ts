// frameseal uploads: multipart uploads that are not complete, and their end. It needs neither a key nor a journal.
import { existsSync } from "node:fs";
import type { S3Client } from "@aws-sdk/client-s3";
import type { Command } from "commander";
import type { Journal } from "../../backup/journal/journal.ts";
import { isJournalInUse } from "../../backup/journal/journal-error.ts";
import { abortUpload } from "../../backup/journal/leftovers.ts";
import { openJournal } from "../../backup/journal/open-journal.ts";
import {
  countParts,
  type ListedUpload,
  listUploads,
  type UploadedParts,
  type UploadPlace,
} from "../../backup/journal/upload-listing.ts";
import { createTransferQueue } from "../../backup/transfer/queue.ts";
import { type AwsOptions, addAwsOptions, createS3Client, parseDuration } from "../aws-client.ts";
import { CommandFailure, codeOf, describe, PartialFailure, UsageError } from "../failure.ts";
import { interruptSignal } from "../interrupt.ts";
import { shown } from "../names.ts";
import { formatBytes, note, print, printJson } from "../output.ts";
import { oneOf } from "../values.ts";
import { parseTreeAddress } from "./address.ts";
import { addJournalOptions, type JournalOptions, journalPlace } from "./journal-options.ts";
import { observeClock } from "./server-clock.ts";

interface UploadsOptions extends AwsOptions, JournalOptions {
  readonly abort?: boolean;
  readonly olderThan?: number;
  readonly force?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
  readonly addressing?: string;
}

/** Adds the command. */
export function register(program: Command): void {
  const command = program
    .command("uploads")
    .description("list what uploads left that never ended, or abort it")
    .argument("<place>", "s3://bucket/ or s3://bucket/prefix/")
    .option("--abort", "abort what is listed")
    .option("--older-than <time>", "only what began so long ago, such as 12h or 1d", parseDuration)
    .option("--force", "abort although a run is under way, whose uploads then fail")
    .option("-n, --dry-run", "tell what --abort would do, and do nothing")
    .option("--json", "print a record of everything as lines of JSON")
    .option(
      "--addressing <path|virtual>",
      "where buckets are named (default: path at an endpoint)",
      oneOf("path", "virtual"),
    );
  addJournalOptions(command);
  addAwsOptions(command);
  command.addHelpText(
    "after",
    `
Parts of an upload are stored, and paid for, until it is completed or aborted. A run that was killed
goes on with its uploads when it is started again; what it cannot go on with, it aborts.
This aborts all that is listed, whoever began it, but for the uploads of a run that is under way.

Examples:
  frameseal uploads s3://backups/
  frameseal uploads s3://backups/home/ --abort --older-than 1d`,
  );
  command.action(uploads);
}

async function uploads(text: string, options: UploadsOptions): Promise<void> {
  if (options.abort !== true)
    for (const [name, value] of [
      ["--force", options.force],
      ["--dry-run", options.dryRun],
    ] as const)
      if (value === true) throw new UsageError(`${name} goes with --abort`);
  const address = parseTreeAddress(text);
  const client = await createS3Client(options); // says what to install where there is no SDK
  const sdk = await import("@aws-sdk/client-s3");
  const clock = observeClock(client);
  const queue = createTransferQueue({
    maxInFlight: 16,
    memory: 64 * 2 ** 20,
    retries: 3,
    signal: interruptSignal,
  });
  let known: Known | undefined;
  try {
    known = await knownUploads(client, address, options);
    const place = { sdk, plain: client, address, queue };
    // A key may be given as well as what is below it.
    const prefix = address.prefix.slice(0, -1);
    const isBelow = ({ key }: ListedUpload): boolean => key === prefix || key.startsWith(address.prefix);
    const totals = { listed: 0, aborted: 0, failed: 0 };
    for await (const page of listUploads(place, prefix)) {
      const chosen = page
        .filter(isBelow)
        .filter((upload) => isOldEnough(upload, options.olderThan, clock.now()));
      const records = await Promise.all(chosen.map((upload) => deal(place, upload, known, options)));
      for (const record of records) tell(`s3://${address.bucket}/`, record, options, totals);
    }
    if (options.json === true) printJson({ record: "summary", ...totals });
    if (totals.failed > 0)
      throw new PartialFailure(`${totals.failed} of ${totals.listed} uploads could not be aborted`, false);
  } finally {
    known?.journal?.close();
    client.destroy();
  }
}

/** What the journal says, where there is one. */
interface Known {
  readonly journal?: Journal;
  readonly isResumable: (uploadId: string) => boolean;
  /** A run has the journal. */
  readonly isRunning: boolean;
}

async function knownUploads(
  client: S3Client,
  address: UploadPlace["address"],
  options: UploadsOptions,
): Promise<Known> {
  const nothing = { isResumable: () => false, isRunning: false };
  const place = await journalPlace(client, address, options);
  if (place === undefined || !existsSync(place.file)) {
    if (typeof options.journal === "string")
      throw new CommandFailure(`--journal: there is no file ${shown(options.journal)}`);
    return nothing;
  }
  try {
    const journal = await openJournal(place);
    const ids = new Set(journal.allUploads().map(({ uploadId }) => uploadId));
    return { journal, isResumable: (uploadId) => ids.has(uploadId), isRunning: false };
  } catch (error) {
    // It says nothing of the uploads then; but what was asked for by name must be read.
    const isRunning = isJournalInUse(error);
    if (isRunning && options.abort === true && options.force !== true && options.dryRun !== true)
      throw new CommandFailure(
        `${describe(error)}: nothing is aborted while a run may be under way, unless --force is given`,
      );
    if (!isRunning && (codeOf(error) !== "JOURNAL" || options.journal !== undefined)) throw error;
    note(describe(error));
    return { ...nothing, isRunning };
  }
}

/** What becomes of one upload. */
interface UploadRecord extends Partial<UploadedParts> {
  readonly record: "upload";
  readonly key: string;
  readonly uploadId: string;
  readonly initiated?: string;
  /** `resumable`: the next run goes on with it; `running`: may be of the run that is under way. */
  readonly of: "resumable" | "running" | "unknown";
  readonly action: "list" | "abort";
  readonly dryRun?: true;
  readonly error?: string;
}

async function deal(
  place: UploadPlace,
  upload: ListedUpload,
  known: Known | undefined,
  options: UploadsOptions,
): Promise<UploadRecord> {
  const { key, uploadId, initiated } = upload;
  const parts = await partsOf(place, upload);
  const of =
    known?.isResumable(uploadId) === true ? "resumable" : known?.isRunning === true ? "running" : "unknown";
  const record = {
    record: "upload",
    key,
    uploadId,
    ...(initiated !== undefined && { initiated: initiated.toISOString() }),
    ...parts,
    of,
  } as const;
  if (options.abort !== true) return { ...record, action: "list" };
  if (options.dryRun === true) return { ...record, action: "abort", dryRun: true };
  try {
    await abortUpload(place, upload);
    await known?.journal?.states.remove(uploadId);
    known?.journal?.endUpload(uploadId);
    return { ...record, action: "abort" };
  } catch (error) {
    if (interruptSignal.aborted) throw error;
    return { ...record, action: "abort", error: describe(error) };
  }
}

// What has no date may be new.
function isOldEnough(
  { initiated }: ListedUpload,
  seconds: number | undefined,
  now: number | undefined,
): boolean {
  if (seconds === undefined) return true;
  return initiated !== undefined && now !== undefined && now - initiated.getTime() >= seconds * 1000;
}

// Parts under a customer's key are shown to whoever has it, and an upload may end meanwhile.
async function partsOf(place: UploadPlace, upload: ListedUpload): Promise<UploadedParts | undefined> {
  try {
    return await countParts(place, upload);
  } catch (error) {
    if (interruptSignal.aborted) throw error;
    return undefined;
  }
}

function tell(
  bucket: string,
  record: UploadRecord,
  { json }: UploadsOptions,
  totals: { listed: number; aborted: number; failed: number },
): void {
  totals.listed += 1;
  if (record.error !== undefined) totals.failed += 1;
  else if (record.action === "abort" && record.dryRun !== true) totals.aborted += 1;
  if (json === true) {
    printJson(record);
    return;
  }
  const { key, initiated, parts, size, of, uploadId } = record;
  const done =
    record.action === "list"
      ? ""
      : record.dryRun === true
        ? "would abort "
        : record.error === undefined
          ? "aborted "
          : "not aborted ";
  const stored =
    parts === undefined || size === undefined ? "size unknown" : `${formatBytes(size)} in ${parts} parts`;
  const begun = initiated === undefined ? "" : `, begun ${initiated}`;
  print(`${done}${bucket}${key} (${stored}${begun}${ofWords[of]}, id ${uploadId})`);
  if (record.error !== undefined) note(`${bucket}${key}: ${record.error}`);
}

const ofWords = {
  resumable: ", the next run goes on with it",
  running: ", may be of the run that is under way",
  unknown: "",
} as const;
