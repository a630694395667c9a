// The end of a multipart upload: what its requests repeat, what Complete lists, and whether it took effect when its
// answer was lost.
import type * as S3 from "@aws-sdk/client-s3";
import type { ObjectLocation } from "../object-format.ts";
import { repeatFields } from "../request-fields.ts";
import type { Transport } from "../transport.ts";
import { findStored, markOf, storeSurely } from "./lost-answer.ts";

/** What every request of an upload repeats. */
export interface S3Access {
  readonly RequestPayer?: S3.RequestPayer | undefined;
  readonly ExpectedBucketOwner?: string | undefined;
  readonly ChecksumAlgorithm?: S3.ChecksumAlgorithm | undefined;
  readonly SSECustomerAlgorithm?: string | undefined;
  readonly SSECustomerKey?: string | undefined;
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

/** What the request to complete says. */
export interface CompleteRequest {
  readonly location: ObjectLocation;
  readonly uploadId: string;
  readonly parts: readonly ListedPart[];
  /** Further fields. */
  readonly request: Partial<S3.CompleteMultipartUploadCommandInput>;
}

/** What completing needs to know. */
export interface Completion extends CompleteRequest {
  readonly access: S3Access;
  readonly storedLength: number;
  /** The first stored bytes, if they are known. */
  readonly fingerprint: Uint8Array | undefined;
}

/** Sends the request, for those who see by themselves whether it took effect when its answer is lost. */
export function sendComplete(
  { location, uploadId, parts, request }: CompleteRequest,
  transport: Transport,
): Promise<S3.CompleteMultipartUploadCommandOutput> {
  return transport.completeMultipartUpload({
    ...request,
    Bucket: location.bucket,
    Key: location.key,
    UploadId: uploadId,
    MultipartUpload: { Parts: [...parts] },
  });
}

/**
 * Completes an upload. When the answer was lost, a retry finds no upload any more, or an object that its condition
 * forbids: the object shows whether it is this one. It also tells its ETag where the answer does not, as Ceph's.
 */
export async function completeUpload(
  completion: Completion,
  transport: Transport,
): Promise<S3.CompleteMultipartUploadCommandOutput> {
  const { location, access, storedLength, fingerprint } = completion;
  const target = { Bucket: location.bucket, Key: location.key };
  const look = async (): Promise<S3.CompleteMultipartUploadCommandOutput | undefined> => {
    if (fingerprint === undefined) return undefined;
    const mark = markOf(fingerprint, storedLength);
    const found = await findStored(location, mark, repeatFields({ ...access }, "GetObject"), transport);
    return found && ({ ...target, ...found } as unknown as S3.CompleteMultipartUploadCommandOutput);
  };
  const output = await storeSurely(() => sendComplete(completion, transport), look, transport.signal);
  if (output.ETag) return output;
  // It is stored; who may not read goes without.
  const found = await look().catch(() => undefined);
  return found === undefined ? output : { ...output, ...found };
}
