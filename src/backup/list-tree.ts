// What a listing of a bucket says of the tree below a prefix, page by page, in the order of the keys. Nothing of it is
// verified.
import type * as S3 from "@aws-sdk/client-s3";
import { throwIfAborted } from "../errors.ts";
import { Onward } from "../s3/requests/onward.ts";
import { RESERVED_FOLDER, type TreeAddress } from "./entry.ts";
import { listedKeyOf, listedSizeOf } from "./listed-object.ts";

/** An object of a listing. */
export interface ListedObject {
  readonly kind: "object";
  readonly key: string;
  /** The key without the prefix. */
  readonly name: string;
  /** As the client lists it: of the plaintext, where it encrypts and arithmetic allows. */
  readonly size: number;
  readonly eTag: string | undefined;
  readonly modified: Date | undefined;
  readonly storageClass: string | undefined;
}

/** Keys that begin alike up to a `/`, of which a listing of one level tells no more. */
export interface ListedFolder {
  readonly kind: "folder";
  /** With the `/` at its end. */
  readonly key: string;
  readonly name: string;
}

/** What to list. */
export interface ListRequest {
  readonly sdk: Pick<typeof S3, "ListObjectsV2Command">;
  /** One that encrypts tells sizes of plaintexts, and leaves out instruction files if it writes a format that has them. */
  readonly client: Pick<S3.S3Client, "send">;
  readonly address: TreeAddress;
  /** With what is reserved below the prefix. */
  readonly all?: boolean | undefined;
  readonly signal: AbortSignal;
}

/** All objects below the prefix. */
export async function* listTree(request: ListRequest): AsyncGenerator<ListedObject, void, void> {
  for await (const page of pagesOf(request, undefined)) yield* page.objects;
}

/** The objects directly below the prefix, and the folders there, page by page and sorted in each. */
export async function* listLevel(
  request: ListRequest,
): AsyncGenerator<ListedObject | ListedFolder, void, void> {
  for await (const { objects, folders } of pagesOf(request, "/"))
    yield* [...objects, ...folders].sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
}

interface Page {
  readonly objects: readonly ListedObject[];
  readonly folders: readonly ListedFolder[];
}

async function* pagesOf(request: ListRequest, delimiter: string | undefined): AsyncGenerator<Page> {
  let next: Promise<S3.ListObjectsV2CommandOutput> | undefined = fetchPage(request, delimiter, undefined);
  const onward = new Onward("objects");
  while (next !== undefined) {
    const output: S3.ListObjectsV2CommandOutput = await next;
    const token = continuationOf(output, onward);
    // On its way while this page is worked on.
    next = token === undefined ? undefined : fetchPage(request, delimiter, token);
    next?.catch(() => {}); // reported when it is its turn
    yield readPage(output, request);
  }
}

async function fetchPage(
  { sdk, client, address, signal }: ListRequest,
  delimiter: string | undefined,
  token: string | undefined,
): Promise<S3.ListObjectsV2CommandOutput> {
  throwIfAborted(signal);
  return client.send(
    new sdk.ListObjectsV2Command({
      Bucket: address.bucket,
      Prefix: address.prefix,
      Delimiter: delimiter,
      EncodingType: "url", // XML has no words for some characters that keys may have
      ContinuationToken: token,
    }),
    { abortSignal: signal },
  );
}

function continuationOf(
  { IsTruncated, NextContinuationToken, Contents, CommonPrefixes }: S3.ListObjectsV2CommandOutput,
  onward: Onward,
): string | undefined {
  return onward.next(IsTruncated, Contents?.[0]?.Key ?? CommonPrefixes?.[0]?.Prefix, NextContinuationToken);
}

function readPage(output: S3.ListObjectsV2CommandOutput, { address, all }: ListRequest): Page {
  const { prefix } = address;
  const plain = (text: string | undefined): string => listedKeyOf(text, output.EncodingType, prefix);
  const isShown = (key: string): boolean => all === true || !key.startsWith(prefix + RESERVED_FOLDER);
  const objects: ListedObject[] = [];
  const folders: ListedFolder[] = [];
  for (const { Key, Size, ETag, LastModified, StorageClass } of output.Contents ?? []) {
    const key = plain(Key);
    if (!isShown(key)) continue;
    objects.push({
      kind: "object",
      key,
      name: key.slice(prefix.length),
      size: listedSizeOf(Size),
      eTag: ETag,
      modified: LastModified,
      storageClass: StorageClass,
    });
  }
  for (const { Prefix } of output.CommonPrefixes ?? []) {
    const key = plain(Prefix);
    if (isShown(key)) folders.push({ kind: "folder", key, name: key.slice(prefix.length) });
  }
  return { objects, folders };
}
