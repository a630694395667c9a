// The end of a multipart upload: what its requests repeat, what Complete lists, and whether it took effect when its
// answer was lost.
import type * as S3 from "@aws-sdk/client-s3";
import type { ObjectLocation } from "../object-format.ts";
import { bodyOf, collectExactly, isNotFound, parseContentRange } from "../object-source.ts";
import type { Transport } from "../transport.ts";

/** Bytes at the start of an object by which it is recognised after an answer was lost. */
export const FINGERPRINT_LENGTH = 128;

/** What every request of an upload repeats. */
export interface S3Access {
  readonly RequestPayer?: S3.RequestPayer | undefined;
  readonly ExpectedBucketOwner?: string | undefined;
  readonly ChecksumAlgorithm?: S3.ChecksumAlgorithm | undefined;
  readonly SSECustomerAlgorithm?: string | undefined;
  readonly SSECustomerKey?: string | undefined;
}

/** The part of `access` that goes to requests without a checksum of their own. */
export function readingAccess(access: S3Access): Omit<S3Access, "ChecksumAlgorithm"> {
  const { ChecksumAlgorithm: _, ...rest } = access;
  return rest;
}

/** One part as Complete lists it. */
export type ListedPart = S3.CompletedPart;

/** What Complete lists of an uploaded part. */
export function completedPart(number: number, output: Pick<S3.UploadPartCommandOutput, "ETag">): ListedPart {
  const part: Record<string, unknown> = { PartNumber: number, ETag: output.ETag };
  for (const [name, value] of Object.entries(output))
    if (name.startsWith("Checksum") && value !== undefined) part[name] = value;
  return part as ListedPart;
}

/** What completing needs to know. */
export interface Completion {
  readonly location: ObjectLocation;
  readonly uploadId: string;
  readonly access: S3Access;
  readonly parts: readonly ListedPart[];
  readonly storedLength: number;
  /** The first stored bytes, if they are known. */
  readonly fingerprint: Uint8Array | undefined;
  /** Further fields of the request. */
  readonly request: Partial<S3.CompleteMultipartUploadCommandInput>;
}

/**
 * Completes an upload. When the answer to a first attempt was lost, a retry finds no upload any more: then the object
 * is there, which its first bytes show, or somebody aborted.
 */
export async function completeUpload(
  completion: Completion,
  transport: Transport,
): Promise<S3.CompleteMultipartUploadCommandOutput> {
  const { location, uploadId, parts, request } = completion;
  try {
    return await transport.completeMultipartUpload({
      ...request,
      Bucket: location.bucket,
      Key: location.key,
      UploadId: uploadId,
      MultipartUpload: { Parts: [...parts] },
    });
  } catch (error) {
    if (!isNotFound(error)) throw error;
    const output = await findCompleted(completion, transport);
    if (output === undefined) throw error;
    return output;
  }
}

async function findCompleted(
  { location, access, storedLength, fingerprint }: Completion,
  transport: Transport,
): Promise<S3.CompleteMultipartUploadCommandOutput | undefined> {
  if (fingerprint === undefined) return undefined;
  const { bucket: Bucket, key: Key } = location;
  try {
    const output = await transport.getObject({
      ...readingAccess(access),
      Bucket,
      Key,
      Range: `bytes=0-${fingerprint.length - 1}`,
    });
    const bytes = await collectExactly(bodyOf(output), fingerprint.length);
    if (parseContentRange(output.ContentRange)?.size !== storedLength) return undefined;
    if (Buffer.compare(bytes, fingerprint) !== 0) return undefined;
    const { ETag, VersionId, $metadata } = output;
    return { Bucket, Key, ETag, VersionId, $metadata };
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}
