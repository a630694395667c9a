// What a listing says of the keys below a prefix, page by page. Nothing of it is verified, not even that it is in order.
import type * as S3 from "@aws-sdk/client-s3";
import { throwIfAborted } from "../../errors.ts";
import { Onward } from "../../s3/requests/onward.ts";
import type { TreeAddress } from "../entry.ts";
import { listedKeyOf, listedSizeOf } from "../listed-object.ts";

/** An object of a listing. */
export interface ListedKey {
  readonly key: string;
  readonly eTag: string;
  /** Of the stored bytes. */
  readonly storedSize: number;
}

/** What listing needs. */
export interface Lister {
  readonly sdk: Pick<typeof S3, "ListObjectsV2Command">;
  /** Not encrypting. */
  readonly plain: S3.S3Client;
  readonly signal: AbortSignal;
}

/** @throws FramesealError UNSUPPORTED for a listing that goes round in a circle, or tells of other keys */
export async function* listKeys(
  { sdk, plain, signal }: Lister,
  { bucket, prefix }: TreeAddress,
): AsyncGenerator<ListedKey> {
  const onward: Onward = new Onward("objects");
  for (let token: string | undefined; ; ) {
    throwIfAborted(signal);
    const page: S3.ListObjectsV2CommandOutput = await plain.send(
      new sdk.ListObjectsV2Command({
        Bucket: bucket,
        Prefix: prefix,
        EncodingType: "url", // XML has no words for some characters that keys may have
        ContinuationToken: token,
      }),
      { abortSignal: signal },
    );
    for (const { Key, ETag = "", Size } of page.Contents ?? [])
      yield {
        key: listedKeyOf(Key, page.EncodingType, prefix),
        eTag: ETag,
        storedSize: listedSizeOf(Size),
      };
    token = onward.next(page.IsTruncated, page.Contents?.[0]?.Key, page.NextContinuationToken);
    if (token === undefined) return;
  }
}
