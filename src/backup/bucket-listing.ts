// What lies below a prefix, as the bucket lists it: keys, ETags and stored sizes. Where it is known about which keys there
// are, the listing is cut into ranges that are asked for at the same time.
import type * as S3 from "@aws-sdk/client-s3";
import { FramesealError } from "../errors.ts";
import { opaqueTag } from "../s3/etag.ts";
import { Onward } from "../s3/requests/onward.ts";
import { RESERVED_FOLDER, type TreeAddress } from "./entry.ts";
import { compareKeys } from "./key-order.ts";
import { type ListedContent, takeContents } from "./listed-contents.ts";
import { listedKeyOf, listedSizeOf } from "./listed-object.ts";
import type { TransferQueue } from "./transfer/queue.ts";

/** An object of the listing. Nothing of it is verified. */
export interface BucketEntry {
  readonly key: string;
  /** Without quotes and the mark of weak ones. */
  readonly tag: string;
  readonly storedSize: number;
}

/** What to list, and with what. */
export interface BucketListing {
  readonly sdk: Pick<typeof S3, "ListObjectsV2Command">;
  /** One that does not encrypt. */
  readonly plain: Pick<S3.S3Client, "send">;
  readonly address: TreeAddress;
  readonly queue: TransferQueue;
}

/** Ranges that are asked for at the same time. */
const READ_AHEAD = 8;
/** A page with its texts and objects, about. */
const PAGE_COST = { memory: 2 ** 20, kind: "small" } as const;

/**
 * Lists all objects below the prefix, page by page in the order of their keys, without what is reserved.
 * @param cuts keys in their order, of which each ends a range; about one for a thousand objects
 */
export async function* listBucket(
  listing: BucketListing,
  cuts: Iterable<string> = [],
): AsyncGenerator<readonly BucketEntry[], void, void> {
  const ranges = rangesOf(listing, cuts);
  const begun: ListedRange[] = [];
  for (;;) {
    while (begun.length < READ_AHEAD) {
      const next = ranges.next();
      if (next.done === true) break;
      begun.push(next.value);
    }
    const first = begun.shift();
    if (first === undefined) return;
    for (let page = await first.next(); page !== undefined; page = await first.next()) yield page;
  }
}

function* rangesOf(listing: BucketListing, cuts: Iterable<string>): Generator<ListedRange, void, void> {
  let after: string | undefined;
  for (const cut of cuts) {
    if (after !== undefined && compareKeys(cut, after) <= 0) continue;
    yield new ListedRange(listing, after, cut);
    after = cut;
  }
  yield new ListedRange(listing, after, undefined);
}

/** An answer, and the objects in it that were read from its text. */
interface Page {
  readonly output: S3.ListObjectsV2CommandOutput;
  readonly contents: readonly ListedContent[];
}

/** The keys behind one up to another. The next page is on its way while one is worked on. */
class ListedRange {
  readonly #listing: BucketListing;
  readonly #until: string | undefined;
  #last: string | undefined;
  #coming: Promise<Page> | undefined;
  readonly #onward: Onward = new Onward("objects");

  constructor(listing: BucketListing, after: string | undefined, until: string | undefined) {
    this.#listing = listing;
    this.#until = until;
    this.#last = after;
    this.#ask({ StartAfter: after });
  }

  #ask(where: Pick<S3.ListObjectsV2CommandInput, "StartAfter" | "ContinuationToken">): void {
    const { sdk, plain, queue, address } = this.#listing;
    this.#coming = queue.run(PAGE_COST, async (signal) => {
      const command = new sdk.ListObjectsV2Command({
        Bucket: address.bucket,
        Prefix: address.prefix,
        EncodingType: "url", // XML has no words for some characters that keys may have
        ...where,
      });
      let contents: readonly ListedContent[] = [];
      takeContents(command, (attempt) => {
        contents = attempt;
      });
      const output = await plain.send(command, { abortSignal: signal });
      return { output, contents };
    });
    this.#coming.catch(() => {}); // told when it is its turn
  }

  async next(): Promise<readonly BucketEntry[] | undefined> {
    if (this.#coming === undefined) return undefined;
    const coming = await this.#coming;
    const { IsTruncated, NextContinuationToken } = coming.output;
    const page = this.#read(coming);
    this.#coming = undefined;
    const isOver = this.#until !== undefined && compareKeys(this.#last ?? "", this.#until) >= 0;
    if (!isOver) {
      const token = this.#onward.next(IsTruncated, page[0]?.key, NextContinuationToken);
      if (token !== undefined) this.#ask({ ContinuationToken: token });
    }
    const { prefix } = this.#listing.address;
    return page.filter(({ key }) => !key.startsWith(prefix + RESERVED_FOLDER) && this.#isInside(key));
  }

  #isInside(key: string): boolean {
    return this.#until === undefined || compareKeys(key, this.#until) <= 0;
  }

  #read({ output: { Contents = [], EncodingType }, contents }: Page): BucketEntry[] {
    const listed = Contents.length === 0 ? contents : [...contents, ...Contents];
    return listed.map(({ Key, ETag = "", Size }) => {
      const key = listedKeyOf(Key, EncodingType, this.#listing.address.prefix);
      if (this.#last !== undefined && compareKeys(key, this.#last) <= 0)
        throw new FramesealError(
          "UNSUPPORTED",
          "the server lists keys in another order than that of their bytes, so what it lacks cannot be told",
        );
      this.#last = key;
      return { key, tag: opaqueTag(ETag), storedSize: listedSizeOf(Size) };
    });
  }
}
