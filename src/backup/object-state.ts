// What an object says of itself: for a run that knows nothing of it from a journal or a manifest. Nothing of it is verified.
import type * as S3 from "@aws-sdk/client-s3";
import { FramesealError, isFramesealError } from "../errors.ts";
import { normalizeMetadata } from "../s3/object-metadata.ts";
import { statusOf } from "../s3/transient-error.ts";
import type { TreeAddress } from "./entry.ts";
import type { TransferQueue } from "./transfer/queue.ts";

/** What is told of an object. */
export interface ObjectState {
  /** Bytes of plaintext. */
  readonly size: number;
  readonly eTag: string;
  readonly versionId: string | undefined;
  readonly metadata: Readonly<Record<string, string | undefined>>;
}

/** How to ask. */
export interface ObjectQuestion {
  readonly sdk: Pick<typeof S3, "HeadObjectCommand">;
  /** One that encrypts: it tells sizes of plaintexts. */
  readonly client: Pick<S3.S3Client, "send">;
  readonly address: TreeAddress;
  readonly queue: TransferQueue;
  /** Further fields of requests; those of reading are used. */
  readonly fields: Readonly<Record<string, unknown>>;
}

const COST = { memory: 64 * 2 ** 10, kind: "small" } as const;

/** Asks for an object; undefined if there is none, or none that was encrypted here. */
export async function objectState(
  { sdk, client, address, queue, fields }: ObjectQuestion,
  key: string,
): Promise<ObjectState | undefined> {
  const { ExpectedBucketOwner, RequestPayer } = fields as Partial<S3.HeadObjectCommandInput>;
  try {
    const output = await queue.run(COST, (signal) =>
      client.send(
        new sdk.HeadObjectCommand({ ExpectedBucketOwner, RequestPayer, Bucket: address.bucket, Key: key }),
        { abortSignal: signal },
      ),
    );
    const { ContentLength = 0, ETag = "", VersionId, Metadata } = output;
    return { size: ContentLength, eTag: ETag, versionId: VersionId, metadata: normalizeMetadata(Metadata) };
  } catch (error) {
    if (statusOf(error) === 404 || (isFramesealError(error) && IS_ANOTHER.has(error.code))) return undefined;
    throw error;
  }
}

/**
 * The ETag and version of what was stored. Ceph's server leaves them out of its answer when completing an upload takes
 * long: then the object is asked.
 * @throws FramesealError NETWORK when it is not there
 */
export async function receiptOf(
  question: ObjectQuestion,
  key: string,
  { ETag, VersionId }: { readonly ETag?: string | undefined; readonly VersionId?: string | undefined },
): Promise<Pick<ObjectState, "eTag" | "versionId">> {
  if (ETag !== undefined && ETag !== "") return { eTag: ETag, versionId: VersionId };
  const object = await objectState(question, key);
  if (object === undefined || object.eTag === "")
    throw new FramesealError("NETWORK", "the server does not tell what it has stored");
  return object;
}

const IS_ANOTHER: ReadonlySet<string> = new Set([
  "NOT_ENCRYPTED",
  "INVALID_METADATA",
  "INVALID_HEADER",
  "TRUNCATED",
]);
