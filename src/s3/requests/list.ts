// ListObjects, ListObjectsV2 and ListObjectVersions: sizes become those of the plaintexts. A listing tells no more of an
// object than key, ETag and stored length, so some objects of each page are asked by HeadObject; where they were all
// stored alike, the sizes of the others follow by arithmetic.
import type * as S3 from "@aws-sdk/client-s3";
import { hasCode, isFramesealError, throwIfAborted } from "../../errors.ts";
import { errorCode } from "../../shapes.ts";
import type { Formats } from "../formats.ts";
import type { SizeRule } from "../object-format.ts";
import { repeatFields } from "../request-fields.ts";
import type { StoredIdentity } from "../told-sizes.ts";
import { isTransient, statusOf } from "../transient-error.ts";
import type { GetObjectInput, Next, Transport } from "../transport.ts";
import { describe, type Send } from "./get.ts";

/**
 * Sizes in listings: `arithmetic` asks about a few objects of each page, and about all of them when those were not stored
 * alike; `head` asks about every object; `stored` leaves the sizes of the stored bytes.
 */
export type ListSizes = "arithmetic" | "head" | "stored";

/** Objects of a page that are asked about before arithmetic is trusted. A page with no more is asked about whole. */
const SAMPLE_LENGTH = 32;
/** Questions on their way at a time. */
const CONCURRENCY = 16;

/** An entry of a listing, as far as its size needs it. */
type Listed = Pick<S3.ObjectVersion, "Key" | "ETag" | "Size" | "VersionId">;

/** The rule for what is not encrypted. */
const AS_STORED: SizeRule = {
  name: "not encrypted",
  isExact: true,
  lengthOf: (_, storedLength) => storedLength,
};

/**
 * Answers the three listings. Sizes are not verified, as those of HeadObject are not; where nothing can be found out
 * about an object, the size stays that of its stored bytes. ETags are those of the stored bytes.
 */
export async function listObjects(
  input: Readonly<Record<string, unknown>>,
  formats: Formats,
  transport: Transport,
  send: Send,
  listSizes: ListSizes,
): ReturnType<Next> {
  const result = await send({});
  if (listSizes === "stored") return result;
  const page = new ListedPage(input, formats, transport);
  const output: Record<string, unknown> = withoutSideObjects(result.output, page);
  for (const name of ["Contents", "Versions"]) {
    const listed = output[name];
    if (Array.isArray(listed)) output[name] = await page.translate(listed, listSizes);
  }
  return { ...result, output };
}

// Leaves out what is deleted with the object it belongs to: tools that compare a listing with a folder would delete it
// alone, and the object could not be read any more. Each version of it is shown, since each is deleted by itself.
function withoutSideObjects(
  output: Readonly<Record<string, unknown>>,
  page: ListedPage,
): Record<string, unknown> {
  const { Contents, KeyCount, IsTruncated, NextMarker } = output;
  if (!Array.isArray(Contents)) return { ...output };
  const shown = (Contents as Listed[]).filter((one) => !page.isSideObject(one));
  const hidden = Contents.length - shown.length;
  if (hidden === 0) return { ...output };
  const isFirstVersion = KeyCount === undefined;
  return {
    ...output,
    Contents: shown,
    ...(typeof KeyCount === "number" ? { KeyCount: KeyCount - hidden } : {}),
    // ListObjects goes on after the last key that it shows, unless it names another.
    ...(isFirstVersion && IsTruncated === true
      ? { NextMarker: NextMarker ?? (Contents as Listed[]).at(-1)?.Key }
      : {}),
  };
}

/** What is known of one entry. */
interface Entry {
  readonly identity: StoredIdentity;
  readonly versionId: string | undefined;
  size: number | undefined;
}

class ListedPage {
  readonly #input: Readonly<Record<string, unknown>>;
  readonly #formats: Formats;
  readonly #transport: Transport;

  constructor(input: Readonly<Record<string, unknown>>, formats: Formats, transport: Transport) {
    this.#input = input;
    this.#formats = formats;
    this.#transport = transport;
  }

  /** True for an instruction file, judged by its key: no object of this client can have such a one. */
  isSideObject({ Key }: Listed): boolean {
    const key = this.#keyOf(Key);
    return this.#formats.written
      .sideObjectKeys("")
      .some((suffix) => key !== undefined && key.length > suffix.length && key.endsWith(suffix));
  }

  async translate(
    listed: readonly Listed[],
    listSizes: Exclude<ListSizes, "stored">,
  ): Promise<readonly Listed[]> {
    const entries = listed.map((one) => this.#entryOf(one));
    const unknown = entries.filter((entry) => entry !== undefined && entry.size === undefined) as Entry[];
    const sample = listSizes === "head" ? unknown : spread(unknown, SAMPLE_LENGTH);
    // The first one alone: from its header the others are understood without reading theirs.
    const rules = await this.#askAll(sample.slice(0, 1));
    rules.push(...(await this.#askAll(sample.slice(1))));
    const rest = unknown.filter((entry) => !sample.includes(entry));
    if (rules.length > 0) await this.#askAll(rest.filter((entry) => !this.#compute(rules, entry)));
    return listed.map((one, index) => {
      const size = entries[index]?.size;
      return size === undefined ? one : { ...one, Size: size };
    });
  }

  #entryOf({ Key, ETag, Size, VersionId }: Listed): Entry | undefined {
    const { Bucket } = this.#input;
    const key = this.#keyOf(Key);
    // No message is empty, so neither is any encrypted object.
    if (key === undefined || key === "" || Size === undefined || Size === 0) return undefined;
    const identity = { location: { bucket: String(Bucket), key }, eTag: ETag, storedLength: Size };
    return { identity, versionId: VersionId, size: this.#formats.told.knownLength(identity) };
  }

  #keyOf(listed: string | undefined): string | undefined {
    return this.#input.EncodingType === "url" && listed !== undefined ? decodeKey(listed) : listed;
  }

  // Asks about each entry, and returns the rules of those that could be asked.
  async #askAll(entries: readonly Entry[]): Promise<SizeRule[]> {
    const rules: SizeRule[] = [];
    const left = [...entries];
    const work = async (): Promise<void> => {
      for (let entry = left.shift(); entry !== undefined; entry = left.shift()) {
        const rule = await this.#ask(entry).catch((error: unknown) => {
          left.length = 0;
          throw error;
        });
        if (rule === undefined || !apply(rule, entry)) continue;
        rules.push(rule);
        const { identity, size } = entry;
        if (rule !== AS_STORED && rule.isExact && size !== undefined) this.#formats.told.tell(identity, size);
      }
    };
    await Promise.all(Array.from({ length: Math.min(CONCURRENCY, left.length) }, work));
    return rules;
  }

  // What the object says about itself. One that is odd must not fail the listing.
  async #ask({ identity: { location }, versionId }: Entry): Promise<SizeRule | undefined> {
    throwIfAborted(this.#transport.signal);
    const reading: GetObjectInput = {
      ...repeatFields(this.#input, "HeadObject"),
      ...(versionId === undefined ? {} : { VersionId: versionId }),
    };
    try {
      const head = await this.#transport.headObject({
        ...reading,
        Bucket: location.bucket,
        Key: location.key,
      });
      const { format, object } = await describe(
        head,
        head.ContentLength,
        location,
        reading,
        this.#formats,
        this.#transport,
      );
      return await format.sizeRule(object);
    } catch (error) {
      throwIfAborted(this.#transport.signal);
      if (hasCode(error, "NOT_ENCRYPTED")) return AS_STORED;
      if (isAboutObject(error)) return undefined;
      throw error; // a size that is told because a connection broke would be taken for a change
    }
  }

  // The size of an entry, if all that were asked about were stored alike and it may be too.
  #compute(rules: readonly SizeRule[], entry: Entry): boolean {
    const [rule] = rules;
    const alike = rule?.name !== undefined && rules.every(({ name }) => name === rule.name);
    if (!alike || !apply(rule, entry)) return false;
    const { identity, size } = entry;
    if (size !== undefined) this.#formats.told.compute(identity, size);
    return true;
  }
}

// False if nothing that was stored so has such a length.
function apply(rule: SizeRule, entry: Entry): boolean {
  const { location, storedLength } = entry.identity;
  try {
    entry.size = rule.lengthOf(location, storedLength);
    return true;
  } catch {
    return false;
  }
}

// True if the object is odd, or may not be asked about; false if the connection or the service is at fault.
function isAboutObject(error: unknown): boolean {
  const code: string | undefined = errorCode(error);
  if (isFramesealError(error)) return code !== "NETWORK";
  const status = statusOf(error) ?? 0;
  return status >= 400 && status < 500 && !isTransient(error);
}

/** A key of a listing with EncodingType=url, as S3 encodes it: as forms do. @returns undefined for what is not encoded so */
export function decodeKey(key: string): string | undefined {
  try {
    return decodeURIComponent(key.replaceAll("+", " "));
  } catch {
    return undefined;
  }
}

/** At most `count` of `items`, evenly over all of them. */
function spread<Item>(items: readonly Item[], count: number): readonly Item[] {
  if (items.length <= count) return items;
  const step = (items.length - 1) / (count - 1);
  return items.filter((_, index) => index === Math.round(Math.round(index / step) * step));
}
