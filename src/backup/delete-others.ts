// Deletes what lies below the prefix and is not in the source: what the listing shows, the walk did not come by, filters do
// not exclude, and is not on disk when it is looked at once more.
import { lstat } from "node:fs/promises";
import { join } from "node:path";
import type * as S3 from "@aws-sdk/client-s3";
import { statusOf } from "../s3/transient-error.ts";
import { errorCode, isErrorNamed } from "../shapes.ts";
import { listBucket } from "./bucket-listing.ts";
import type { PlaceContext } from "./context.ts";

/** The source, as far as it says what is not to be deleted. */
export interface KeptSource {
  readonly root: string;
  excludes(path: string, kind: "directory" | "other"): boolean;
}

/** What the run knows, and wants to know. */
export interface DeletionRun {
  /** Whether the walk came by what has this key. */
  isSeen(key: string): boolean;
  /** Whether it has left out what has this path, for another reason than that there is none. */
  isSkipped(path: string): boolean;
  onDeleted(key: string): void;
  onFailed(): void;
}

/** What is to be deleted. */
interface Other {
  readonly key: string;
  readonly path: string;
}

/** S3 takes so many keys in one request. */
const BATCH_LENGTH = 1000;
const COST = { memory: 2 ** 20, kind: "small" } as const;

/**
 * Deletes. Resolves to the number of objects that were, or in a dry run would have been.
 * @param client deletes what belongs to an object with it; undefined in a dry run
 */
export async function deleteOthers(
  context: PlaceContext,
  client: Pick<S3.S3Client, "send"> | undefined,
  source: KeptSource,
  run: DeletionRun,
): Promise<number> {
  const deletion = new Deletion(context, client ?? context.plain, run);
  for await (const page of listBucket(context))
    for (const { key } of page) {
      if (run.isSeen(key)) continue;
      const other = await otherOf(context, source, run, key);
      if (other !== undefined) await deletion.add(other);
    }
  await deletion.flush();
  return deletion.count;
}

async function otherOf(
  { address, names, report }: PlaceContext,
  source: KeptSource,
  run: DeletionRun,
  key: string,
): Promise<Other | undefined> {
  const name = key.slice(address.prefix.length);
  if (name === "") return undefined; // the prefix itself, as consoles make it
  let entry: ReturnType<typeof names.entryOf>;
  try {
    entry = names.entryOf(name);
  } catch {
    report.warn("the name is none of this tree, so the object is not deleted", key);
    return undefined;
  }
  const { path, isDirectory } = entry;
  if (source.excludes(path, isDirectory ? "directory" : "other") || run.isSkipped(path)) return undefined;
  // What stands for an empty folder is of no use when it has something in it; all else is looked at once more.
  return isDirectory || !(await isThere(join(source.root, path))) ? { key, path } : undefined;
}

// A link, a device or a file that has come meanwhile: its object is kept. A folder is another thing than a file.
async function isThere(path: string): Promise<boolean> {
  try {
    return !(await lstat(path)).isDirectory();
  } catch (error) {
    // A name that this system cannot have is not there either.
    return !["ENOENT", "ENOTDIR", "ENAMETOOLONG", "EINVAL", "ERR_INVALID_ARG_VALUE"].includes(
      errorCode(error) ?? "",
    );
  }
}

/** Collects objects and deletes them many at a time. */
class Deletion {
  readonly #context: PlaceContext;
  readonly #client: Pick<S3.S3Client, "send">;
  readonly #run: DeletionRun;
  #waiting: Other[] = [];
  /** The server does not know how to delete many. */
  #oneByOne = false;
  count = 0;

  constructor(context: PlaceContext, client: Pick<S3.S3Client, "send">, run: DeletionRun) {
    this.#context = context;
    this.#client = client;
    this.#run = run;
  }

  async add(other: Other): Promise<void> {
    this.#waiting.push(other);
    if (this.#waiting.length === BATCH_LENGTH) await this.flush();
  }

  async flush(): Promise<void> {
    const others = this.#waiting;
    this.#waiting = [];
    if (others.length === 0) return;
    if (this.#context.dryRun) {
      for (const other of others) this.#tell(other, { dryRun: true });
      return;
    }
    const failed = this.#oneByOne ? undefined : await this.#deleteMany(others);
    if (failed === undefined) await Promise.all(others.map((other) => this.#deleteOne(other)));
    else
      for (const other of others) {
        const error = failed.get(other.key);
        if (error === undefined) this.#deleted(other);
        else this.#failed(other, error);
      }
  }

  /** What failed, by its key; undefined if the server has no such request. */
  async #deleteMany(others: readonly Other[]): Promise<ReadonlyMap<string, Error> | undefined> {
    const { sdk, queue, address } = this.#context;
    try {
      const { Errors = [] } = await queue.run(COST, (signal) =>
        this.#client.send(
          new sdk.DeleteObjectsCommand({
            Bucket: address.bucket,
            Delete: { Objects: others.map(({ key }) => ({ Key: key })), Quiet: true },
          }),
          { abortSignal: signal },
        ),
      );
      return new Map(Errors.map((error) => [error.Key ?? "", refused(error)]));
    } catch (error) {
      const isUnknown =
        [405, 501].includes(statusOf(error) ?? 0) || isErrorNamed(error, "NotImplemented", "MalformedXML");
      if (!isUnknown) throw error;
      this.#oneByOne = true;
      return undefined;
    }
  }

  async #deleteOne(other: Other): Promise<void> {
    const { sdk, queue, address } = this.#context;
    try {
      await queue.run(COST, (signal) =>
        this.#client.send(new sdk.DeleteObjectCommand({ Bucket: address.bucket, Key: other.key }), {
          abortSignal: signal,
        }),
      );
      this.#deleted(other);
    } catch (error) {
      if (this.#context.signal.aborted) throw error;
      this.#failed(other, error);
    }
  }

  #deleted(other: Other): void {
    this.#run.onDeleted(other.key);
    this.#tell(other);
  }

  #tell({ key, path }: Other, more: { readonly dryRun?: boolean } = {}): void {
    this.count += 1;
    this.#context.report.item({ action: "delete", path, key, reason: "not in the source", ...more });
  }

  #failed({ key, path }: Other, error: unknown): void {
    this.#run.onFailed();
    this.#context.report.item({ action: "delete", path, key, error });
  }
}

// One object that the server did not delete, in the shape of the errors of requests.
function refused({ Code = "Unknown", Message }: S3._Error): Error {
  const error = new Error(Message ?? "the server has not deleted the object");
  return Object.assign(error, { name: Code, $metadata: {}, $fault: "client" });
}
