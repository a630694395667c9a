// Removes objects below a prefix, a thousand with one request. Needs no key: neither what is in an object nor, without
// filters, its hidden name matters.
import type * as S3 from "@aws-sdk/client-s3";
import { throwIfAborted } from "../errors.ts";
import { noKeys } from "../keyring/no-keys.ts";
import { isNotFound } from "../s3/object-source.ts";
import { deleteWithSideObjects } from "../s3/requests/side-object.ts";
import { SingleMessageFormat } from "../s3/single-message/format.ts";
import { isTransient, statusOf } from "../s3/transient-error.ts";
import { Transport } from "../s3/transport.ts";
import type { EntryType, TreeAddress } from "./entry.ts";
import type { Journal } from "./journal/journal.ts";
import { type ListedObject, listTree } from "./list-tree.ts";
import type { KeyNames } from "./names/key-names.ts";
import type { Report } from "./report.ts";
import { RunningTasks } from "./running-tasks.ts";
import type { TransferQueue } from "./transfer/queue.ts";

/** What removal needs of the context of an operation. */
export interface RemoveContext {
  readonly sdk: Pick<
    typeof S3,
    "ListObjectsV2Command" | "DeleteObjectsCommand" | "DeleteObjectCommand" | "HeadObjectCommand"
  >;
  /** One that does not encrypt: instruction files are listed and removed as objects are. */
  readonly plain: S3.S3Client;
  readonly address: TreeAddress;
  readonly names: KeyNames;
  readonly queue: TransferQueue;
  readonly journal: Pick<Journal, "removeStored"> | undefined;
  readonly report: Report;
  readonly signal: AbortSignal;
  readonly dryRun: boolean;
}

/** Which objects go. */
export interface RemoveOptions {
  /** Also what is reserved: manifests of runs. */
  readonly all: boolean;
  /** Which paths; all of them if it is left out. */
  readonly selects?: ((path: string, type: EntryType) => boolean) | undefined;
  /** What names an instruction file: it goes with its object. */
  readonly instructionFileSuffix: string;
}

/** Objects in one request, as many as S3 takes. */
const BATCH_LENGTH = 1000;
/** Bytes that a batch of keys and its request take at most. */
const BATCH_MEMORY = 4 * 2 ** 20;
/** Characters that XML has no words for, so that only requests of one object can name them. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are the ones
const NOT_IN_XML = /[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/;

/**
 * Removes the objects below the prefix that are selected. Each is told, and what cannot be removed fails alone.
 * @returns how many were found
 */
export async function removeTree(context: RemoveContext, options: RemoveOptions): Promise<number> {
  const { sdk, plain, address, queue, signal } = context;
  const { all } = options;
  const tasks = new RunningTasks();
  const start = async (batch: readonly ListedObject[]): Promise<void> => {
    await queue.ready();
    tasks.throwIfFailed();
    tasks.start(removeBatch(context, batch));
  };
  let found = 0;
  let batch: ListedObject[] = [];
  try {
    for await (const object of listTree({ sdk, client: plain, address, all, signal })) {
      if (!isSelected(object, context, options)) continue;
      found += 1;
      context.report.total(found, 0, false);
      batch.push(object);
      if (batch.length < BATCH_LENGTH) continue;
      await start(batch);
      batch = [];
    }
    if (batch.length > 0) await start(batch);
  } finally {
    await tasks.settled();
  }
  tasks.throwIfFailed();
  context.report.total(found, 0, true);
  return found;
}

// False also for what failed to be judged, which is told.
function isSelected(
  object: ListedObject,
  { names, report }: RemoveContext,
  { selects, instructionFileSuffix }: RemoveOptions,
): boolean {
  if (selects === undefined) return true;
  const { key, name } = object;
  const owner =
    name.endsWith(instructionFileSuffix) && name.length > instructionFileSuffix.length
      ? name.slice(0, -instructionFileSuffix.length)
      : name;
  try {
    const { path, isDirectory } = names.entryOf(owner);
    return selects(path, isDirectory ? "directory" : "file");
  } catch (error) {
    report.item({ action: "delete", path: key, key, error });
    return false;
  }
}

async function removeBatch(context: RemoveContext, batch: readonly ListedObject[]): Promise<void> {
  const { address, dryRun, queue, report, journal } = context;
  const done = (object: ListedObject, error?: unknown): void => {
    if (error === undefined && !dryRun) journal?.removeStored(object.key);
    report.item({
      action: "delete",
      path: pathOf(object, context.names),
      key: object.key,
      ...(error === undefined ? {} : { error }),
      ...(dryRun ? { dryRun } : {}),
    });
  };
  if (dryRun) {
    for (const object of batch) done(object);
    return;
  }
  const one = async (object: ListedObject): Promise<void> => {
    try {
      await queue.run({ memory: 0, kind: "small" }, (signal) =>
        context.plain.send(new context.sdk.DeleteObjectCommand({ Bucket: address.bucket, Key: object.key }), {
          abortSignal: signal,
        }),
      );
    } catch (error) {
      throwIfAborted(context.signal);
      return done(object, error);
    }
    done(object);
  };
  const together = batch.filter(({ key }) => !NOT_IN_XML.test(key));
  for (const object of batch) if (NOT_IN_XML.test(object.key)) await one(object);
  if (together.length === 0) return;
  const errors = await removeTogether(context, together);
  if (errors === undefined) {
    for (const object of together) await one(object);
    return;
  }
  for (const object of together) {
    const error = errors.get(object.key);
    if (isTransient(error)) await one(object);
    else done(object, error);
  }
}

// What went wrong by keys; undefined when the server has no such request.
async function removeTogether(
  { sdk, plain, address, queue, signal }: RemoveContext,
  batch: readonly ListedObject[],
): Promise<ReadonlyMap<string, unknown> | undefined> {
  const command = () =>
    new sdk.DeleteObjectsCommand({
      Bucket: address.bucket,
      Delete: { Objects: batch.map(({ key }) => ({ Key: key })), Quiet: true },
    });
  try {
    const { Errors = [] } = await queue.run({ memory: BATCH_MEMORY, kind: "small" }, (abortSignal) =>
      plain.send(command(), { abortSignal }),
    );
    return new Map(Errors.map((each) => [each.Key ?? "", serviceError(each)]));
  } catch (error) {
    throwIfAborted(signal);
    if ([405, 501].includes(statusOf(error) ?? 0)) return undefined;
    return new Map(batch.map(({ key }) => [key, error]));
  }
}

// As the SDK makes them of whole answers.
function serviceError({ Code = "InternalError", Message = "" }: S3._Error): Error {
  const httpStatusCode = statuses[Code] ?? 400;
  return Object.assign(new Error(Message), { name: Code, $metadata: { httpStatusCode } });
}

/** Of what a removal may meet, as far as it matters. */
const statuses: Readonly<Record<string, number>> = {
  AccessDenied: 403,
  InternalError: 500,
  ServiceUnavailable: 503,
  SlowDown: 503,
};

// Hidden names that cannot be shown are no reason to keep what they name.
function pathOf({ key, name }: ListedObject, names: KeyNames): string {
  try {
    return names.entryOf(name).path;
  } catch {
    return key;
  }
}

/**
 * Removes one object, with its instruction file.
 * @returns false if there was none, as far as S3 lets this be seen
 */
export async function removeObject(
  { sdk, plain, address, queue, journal, report, dryRun }: RemoveContext,
  key: string,
  { instructionFileSuffix }: Pick<RemoveOptions, "instructionFileSuffix">,
): Promise<boolean> {
  const object = { Bucket: address.bucket, Key: key };
  const cost = { memory: 0, kind: "small" } as const;
  // A removal says nothing of whether there was something.
  const isThere = await queue.run(cost, (abortSignal) =>
    plain.send(new sdk.HeadObjectCommand(object), { abortSignal }).then(
      () => true,
      (error: unknown) => {
        if (isNotFound(error)) return false;
        if (statusOf(error) === 403) return true; // who may remove need not be allowed to read
        throw error;
      },
    ),
  );
  if (!isThere) return false;
  if (!dryRun) {
    const format = new SingleMessageFormat(3, { keyring: noKeys, instructionFileSuffix });
    await queue.run(cost, (abortSignal) =>
      deleteWithSideObjects(object, format, new Transport(plain, abortSignal), async () => ({
        output: { ...(await plain.send(new sdk.DeleteObjectCommand(object), { abortSignal })) },
        response: undefined,
      })),
    );
    journal?.removeStored(key);
  }
  report.item({ action: "delete", path: key, key, ...(dryRun ? { dryRun } : {}) });
  return true;
}
