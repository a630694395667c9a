// Another key of SSE-KMS for every object below a prefix, by UpdateObjectEncryption: S3 encrypts its data key again, and
// nothing moves. What the objects are encrypted with here does not change.
import { randomBytes } from "node:crypto";
import type * as S3 from "@aws-sdk/client-s3";
import { FramesealError, throwIfAborted } from "../errors.ts";
import { isNotFound } from "../s3/object-source.ts";
import { statusOf } from "../s3/transient-error.ts";
import type { PlaceContext } from "./context.ts";
import { RESERVED_FOLDER } from "./entry.ts";
import { type ListedKey, listKeys } from "./manifest/list-keys.ts";
import { RunningTasks } from "./running-tasks.ts";

export type ServerSideContext = Pick<
  PlaceContext,
  "sdk" | "plain" | "address" | "queue" | "report" | "signal" | "dryRun"
>;

/** Requests without a body. */
const COST = { memory: 2 ** 17, kind: "small" } as const;

/**
 * Puts all objects, manifests and instruction files too, under the KMS key of this ARN. Each is told; what has it is left.
 * @throws FramesealError UNSUPPORTED where the server, or the SDK that is installed, has no such request
 */
export async function updateTreeEncryption(context: ServerSideContext, keyArn: string): Promise<void> {
  const { sdk, address, queue, report, signal, dryRun } = context;
  if (sdk.UpdateObjectEncryptionCommand === undefined)
    throw new FramesealError("UNSUPPORTED", "the SDK that is installed has no UpdateObjectEncryption");
  if (!dryRun) await probe(context, keyArn);
  const tasks = new RunningTasks();
  let found = 0;
  try {
    for await (const object of listKeys(context, address)) {
      found += 1;
      report.total(found, 0, false);
      await queue.ready();
      tasks.start(update(context, keyArn, object));
    }
    report.total(found, 0, true);
  } finally {
    await tasks.settled();
  }
  tasks.throwIfFailed();
  throwIfAborted(signal);
}

async function update(context: ServerSideContext, keyArn: string, { key }: ListedKey): Promise<void> {
  const { sdk, plain, address, queue, report, dryRun } = context;
  const object = { Bucket: address.bucket, Key: key };
  const named = { path: key.slice(address.prefix.length), key, ...(dryRun && { dryRun }) };
  try {
    const reason = await queue.run(COST, async (abortSignal) => {
      const head = await plain.send(new sdk.HeadObjectCommand(object), { abortSignal });
      if (head.SSEKMSKeyId === keyArn) return undefined;
      const pinned = { ...object, VersionId: head.VersionId };
      if (!dryRun) await plain.send(updateCommand(context, pinned, keyArn), { abortSignal });
      return `it was under ${head.SSEKMSKeyId ?? head.ServerSideEncryption ?? "no key of the server"}`;
    });
    if (reason === undefined) report.item({ action: "skip", ...named, reason: "under this key already" });
    else report.item({ action: "rewrap", ...named, reason });
  } catch (error) {
    if (isNotFound(error)) report.item({ action: "skip", ...named, reason: "removed meanwhile" });
    else report.item({ action: "rewrap", ...named, error });
  }
}

function updateCommand(
  { sdk }: ServerSideContext,
  object: { readonly Bucket: string; readonly Key: string; readonly VersionId?: string | undefined },
  KMSKeyArn: string,
): S3.UpdateObjectEncryptionCommand {
  return new sdk.UpdateObjectEncryptionCommand({
    ...object,
    ObjectEncryption: { SSEKMS: { KMSKeyArn } },
  });
}

// A server that does not know the request may take it for a PutObject, and the object would be gone. So an empty object
// of our own is tried first, and looked at.
async function probe(context: ServerSideContext, keyArn: string): Promise<void> {
  const { sdk, plain, address, signal } = context;
  const mark = randomBytes(12).toString("hex");
  const object = { Bucket: address.bucket, Key: `${address.prefix}${RESERVED_FOLDER}probe-${mark}` };
  const abort = { abortSignal: signal };
  const { VersionId } = await plain.send(
    new sdk.PutObjectCommand({ ...object, Body: new Uint8Array(0), Metadata: { mark } }),
    abort,
  );
  try {
    await plain.send(updateCommand(context, { ...object, VersionId }, keyArn), abort);
    const head = await plain.send(new sdk.HeadObjectCommand(object), abort);
    if (head.ContentLength !== 0 || head.Metadata?.mark !== mark || head.SSEKMSKeyId !== keyArn)
      throw unavailable("it took the request for another one");
  } catch (error) {
    const status = statusOf(error);
    throw status === 501 || status === 405 || status === 400
      ? unavailable(`it answered with HTTP ${status}`, error)
      : error;
  } finally {
    await remove(context, object, VersionId);
  }
}

function unavailable(why: string, cause?: unknown): FramesealError {
  return new FramesealError(
    "UNSUPPORTED",
    `the server does not change keys of SSE-KMS by UpdateObjectEncryption (${why}): nothing was changed`,
    { cause },
  );
}

// All versions of it: what took the request for another one has made a second.
async function remove(
  { sdk, plain, signal, report }: ServerSideContext,
  object: { readonly Bucket: string; readonly Key: string },
  first: string | undefined,
): Promise<void> {
  try {
    const { VersionId } = await plain.send(new sdk.HeadObjectCommand(object), { abortSignal: signal });
    for (const version of new Set([VersionId, first]))
      await plain.send(new sdk.DeleteObjectCommand({ ...object, VersionId: version }), {
        abortSignal: signal,
      });
  } catch {
    report.warn("the object that was tried could not be removed", object.Key);
  }
}
