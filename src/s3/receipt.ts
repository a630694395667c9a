// What an answer has if its request has stored something. The login page of a network, and many a proxy, answers 200 to
// everything: that is no proof of anything. The answer to CompleteMultipartUpload is not asked for one: Ceph's server leaves it
// out when completing takes long, and the requests before it have shown that this is S3.
import type * as S3 from "@aws-sdk/client-s3";
import { FramesealError } from "../errors.ts";

const RECEIPTS: Readonly<Record<string, (output: never) => unknown>> = {
  PutObject: ({ ETag }: S3.PutObjectCommandOutput) => ETag,
  CreateMultipartUpload: ({ UploadId }: S3.CreateMultipartUploadCommandOutput) => UploadId,
  UploadPart: ({ ETag }: S3.UploadPartCommandOutput) => ETag,
  CopyObject: ({ CopyObjectResult }: S3.CopyObjectCommandOutput) => CopyObjectResult?.ETag,
  UploadPartCopy: ({ CopyPartResult }: S3.UploadPartCopyCommandOutput) => CopyPartResult?.ETag,
};

/**
 * @param name of the command, without "Command"
 * @throws FramesealError NETWORK for an answer that does not tell of what was stored
 */
export function checkReceipt(name: string, output: unknown): void {
  const receipt = Object.hasOwn(RECEIPTS, name) ? RECEIPTS[name] : undefined;
  if (receipt !== undefined && !receipt(Object(output) as never))
    throw new FramesealError("NETWORK", `the answer to ${name} is none of S3: it tells of nothing stored`);
}
