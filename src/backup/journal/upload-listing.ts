// Multipart uploads that are not complete, as the bucket lists them.
import type * as S3 from "@aws-sdk/client-s3";
import { Onward } from "../../s3/requests/onward.ts";
import type { PlaceContext } from "../context.ts";

/** Where to look, and with what. */
export type UploadPlace = Pick<PlaceContext, "sdk" | "plain" | "address" | "queue">;

/** An upload that is not complete. */
export interface ListedUpload {
  readonly key: string;
  readonly uploadId: string;
  /** When it began, by the clock of the server. */
  readonly initiated: Date | undefined;
}

/** A page with its texts and objects, about. */
const PAGE_COST = { memory: 2 ** 20, kind: "small" } as const;

/**
 * Lists the uploads whose keys begin with `prefix`, page by page. Some servers list only those of a key that is given
 * whole.
 * @throws FramesealError UNSUPPORTED for a listing that does not get on
 */
export async function* listUploads(
  { sdk, plain, address, queue }: UploadPlace,
  prefix: string,
): AsyncGenerator<readonly ListedUpload[], void, void> {
  let keyMarker: string | undefined;
  let idMarker: string | undefined;
  const onward: Onward = new Onward("uploads");
  for (;;) {
    const command = new sdk.ListMultipartUploadsCommand({
      Bucket: address.bucket,
      Prefix: prefix,
      EncodingType: "url", // XML cannot name every key
      ...(keyMarker !== undefined && { KeyMarker: keyMarker }),
      ...(idMarker !== undefined && { UploadIdMarker: idMarker }),
    });
    const page = await queue.run(PAGE_COST, (signal) => plain.send(command, { abortSignal: signal }));
    yield uploadsOf(page, prefix);
    [keyMarker, idMarker] = [decoded(page, page.NextKeyMarker), page.NextUploadIdMarker];
    const token = keyMarker === undefined ? undefined : JSON.stringify([keyMarker, idMarker]);
    if (onward.next(page.IsTruncated, page.Uploads?.[0]?.UploadId, token) === undefined) return;
  }
}

function uploadsOf(page: S3.ListMultipartUploadsCommandOutput, prefix: string): ListedUpload[] {
  return (page.Uploads ?? []).flatMap(({ Key, UploadId, Initiated }) => {
    const key = decoded(page, Key);
    // What was not asked for is none of ours.
    if (key === undefined || UploadId === undefined || !key.startsWith(prefix)) return [];
    return [{ key, uploadId: UploadId, initiated: Initiated }];
  });
}

// Only where the server says that it did as asked.
function decoded(
  { EncodingType }: S3.ListMultipartUploadsCommandOutput,
  name: string | undefined,
): string | undefined {
  if (name === undefined || EncodingType !== "url") return name;
  try {
    return decodeURIComponent(name.replaceAll("+", " "));
  } catch {
    return name;
  }
}

/** What S3 has of an upload. */
export interface UploadedParts {
  readonly parts: number;
  /** Stored bytes. */
  readonly size: number;
}

/** Adds up the parts of an upload. @throws as the SDK, NoSuchUpload among it */
export async function countParts(
  { sdk, plain, address, queue }: UploadPlace,
  { key, uploadId }: Pick<ListedUpload, "key" | "uploadId">,
): Promise<UploadedParts> {
  let parts = 0;
  let size = 0;
  let marker: string | undefined;
  const onward: Onward = new Onward("parts");
  for (;;) {
    const command = new sdk.ListPartsCommand({
      Bucket: address.bucket,
      Key: key,
      UploadId: uploadId,
      ...(marker !== undefined && { PartNumberMarker: marker }),
    });
    const page = await queue.run(PAGE_COST, (signal) => plain.send(command, { abortSignal: signal }));
    for (const part of page.Parts ?? []) {
      parts += 1;
      size += part.Size ?? 0;
    }
    const first = page.Parts?.[0]?.PartNumber;
    marker = onward.next(page.IsTruncated, first?.toString(), page.NextPartNumberMarker);
    if (marker === undefined) return { parts, size };
  }
}
