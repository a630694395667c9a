// What killed runs left in the bucket. Each upload is known to the journal, or its key is: so nothing of anybody else is
// touched. No clock is asked.
import { messageOf } from "../../errors.ts";
import { quote } from "../../quote.ts";
import { isErrorNamed } from "../../shapes.ts";
import type { PlaceContext } from "../context.ts";
import { isOfProbe } from "../server/probe.ts";
import type { Journal, UploadRow } from "./journal.ts";
import { claimUploads, isCopy } from "./own-file.ts";
import { type ListedUpload, listUploads, type UploadPlace } from "./upload-listing.ts";

/** Requests without a body. */
const ABORT_COST = { memory: 128 * 2 ** 10, kind: "small" } as const;

export interface LeftoverContext extends UploadPlace, Pick<PlaceContext, "report" | "dryRun"> {
  readonly journal: Journal;
}

/** What was found. */
export interface Leftovers {
  readonly aborted: number;
  /** To be gone on with. */
  readonly kept: number;
}

/**
 * Aborts the uploads that earlier runs left: those of the journal for which `keep` is false, and those whose ids no run
 * came to know. Of a copied journal, none is kept. Call it before a run begins any.
 * @param keep whether an upload is to be gone on with: the source is as it was
 */
export async function abortLeftovers(
  context: LeftoverContext,
  keep: (upload: UploadRow) => boolean | Promise<boolean>,
): Promise<Leftovers> {
  const { journal, dryRun } = context;
  let aborted = 0;
  let kept = 0;
  const isOfOther = isCopy(journal);
  if (isOfOther && journal.allUploads().length > 0)
    context.report.warn("the journal is a copy: the uploads that it knows are begun anew");
  for (const upload of journal.allUploads()) {
    if (!isOfOther && (await keep(upload))) kept += 1;
    else if (await abortKnown(context, upload)) aborted += 1;
  }
  if (!dryRun) claimUploads(journal);
  const known = new Set(journal.allUploads().map(({ uploadId }) => uploadId));
  const isOther = ({ uploadId }: ListedUpload): boolean =>
    !known.has(uploadId) && !journal.isForeignUpload(uploadId);
  try {
    for (const key of journal.unended()) {
      let isEnded = true;
      for await (const page of listUploads(context, key)) {
        const left = page.filter((upload) => upload.key === key && isOther(upload));
        await Promise.all(
          left.map(async (upload) => {
            if (await abortKnown(context, upload)) aborted += 1;
            else {
              known.add(upload.uploadId); // of this journal still, for the next run to abort
              isEnded = false;
            }
          }),
        );
      }
      if (dryRun || !isEnded) continue;
      if (isOfProbe(key, context.address.prefix)) await deleteProbe(context, key);
      journal.end(key);
    }
    if (!dryRun) await rememberForeign(context, known);
  } catch (error) {
    if (!isRefusal(error)) throw error;
    context.report.warn(
      `uploads cannot be listed here (${messageOf(error)}): what killed runs left is not looked for; ` +
        "a lifecycle rule that aborts incomplete uploads removes it",
    );
  }
  return { aborted, kept };
}

// What is there before a run is not of that run: of whoever else works below the prefix.
async function rememberForeign(context: LeftoverContext, known: ReadonlySet<string>): Promise<void> {
  const { journal, address, report } = context;
  let count = 0;
  journal.clearForeignUploads();
  for await (const page of listUploads(context, address.prefix)) {
    const foreign = page.map(({ uploadId }) => uploadId).filter((id) => !known.has(id));
    journal.addForeignUploads(foreign);
    count += foreign.length;
  }
  journal.flush();
  if (count > 0)
    report.warn(
      `${count} uploads below the prefix never ended, and are not of this journal: frameseal uploads lists and aborts them`,
    );
}

// Whether it is gone. Who may not abort goes on: what is left costs money, and the backup is worth more.
async function abortKnown(
  context: LeftoverContext,
  upload: Pick<UploadRow, "key" | "uploadId">,
): Promise<boolean> {
  const { journal, report, dryRun } = context;
  const what = `an upload of ${quote(upload.key)} that an earlier run left`;
  if (dryRun) {
    report.warn(`${what} would be aborted`);
    return true;
  }
  try {
    await abortUpload(context, upload);
  } catch (error) {
    if (!isRefusal(error)) throw error;
    report.warn(
      `${what} cannot be aborted (${messageOf(error)}): a lifecycle rule that aborts incomplete uploads removes it`,
    );
    return false;
  }
  report.warn(`${what} is aborted`);
  await journal.states.remove(upload.uploadId);
  journal.endUpload(upload.uploadId);
  return true;
}

// The object by which a server was tried; nothing else has such a key.
async function deleteProbe(context: LeftoverContext, key: string): Promise<void> {
  const { sdk, plain, address, queue, report } = context;
  const command = new sdk.DeleteObjectCommand({ Bucket: address.bucket, Key: key });
  try {
    await queue.run(ABORT_COST, (signal) => plain.send(command, { abortSignal: signal }));
  } catch (error) {
    if (!isRefusal(error)) throw error;
    report.warn(`the object by which the server was tried could not be removed (${messageOf(error)})`, key);
  }
}

/** Aborts an upload. One that is gone is as good as aborted. */
export async function abortUpload(
  { sdk, plain, address, queue }: UploadPlace,
  { key, uploadId }: Pick<UploadRow, "key" | "uploadId">,
): Promise<void> {
  await queue.run(ABORT_COST, async (signal) => {
    const command = new sdk.AbortMultipartUploadCommand({
      Bucket: address.bucket,
      Key: key,
      UploadId: uploadId,
    });
    try {
      await plain.send(command, { abortSignal: signal });
    } catch (error) {
      if (!isErrorNamed(error, "NoSuchUpload")) throw error;
    }
  });
}

/** The server has no such listing, or does not allow it. */
function isRefusal(error: unknown): boolean {
  const status = (error as { readonly $metadata?: { readonly httpStatusCode?: number } }).$metadata
    ?.httpStatusCode;
  return status === 403 || status === 405 || status === 501;
}
