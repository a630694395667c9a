// Listings of the strict S3 server: ListObjects, ListObjectsV2, ListObjectVersions, with prefixes, delimiters and pages.
import { type Answer, escapeXml, xml } from "./s3-error.ts";
import type { StoredS3Object } from "./s3-objects.ts";

type Objects = ReadonlyMap<string, StoredS3Object>;

/** A key, or the common prefix of several. */
interface Item {
  readonly name: string;
  readonly object: StoredS3Object | undefined;
}

/** Answers a GET of a bucket. In a bucket without versions, each object is the version `null`. */
export function answerListing(objects: Objects, query: URLSearchParams): Answer {
  const kind = query.has("versions") ? "versions" : query.get("list-type") === "2" ? "2" : "1";
  const prefix = query.get("prefix") ?? "";
  const marker = { versions: "key-marker", "2": "start-after", "1": "marker" }[kind];
  const token = query.get("continuation-token");
  const after = token === null ? (query.get(marker) ?? "") : Buffer.from(token, "hex").toString();
  const limit = Math.min(1000, Number(query.get("max-keys") ?? 1000));
  const encode = (text: string): string =>
    escapeXml(
      query.get("encoding-type") === "url" ? new URLSearchParams([["", text]]).toString().slice(1) : text,
    );
  const items = itemsOf(objects, prefix, query.get("delimiter") ?? "").filter(
    ({ name }) => after === "" || compareBytes(name, after) > 0,
  );
  const page = items.slice(0, limit);
  const last = page.at(-1)?.name ?? "";
  const more = items.length > page.length;
  const list = page.map(({ name, object }) =>
    object === undefined
      ? `<CommonPrefixes><Prefix>${encode(name)}</Prefix></CommonPrefixes>`
      : entryOf(kind, encode(name), object),
  );
  const next = {
    versions: `<NextKeyMarker>${encode(last)}</NextKeyMarker><NextVersionIdMarker>null</NextVersionIdMarker>`,
    "2": `<NextContinuationToken>${Buffer.from(last).toString("hex")}</NextContinuationToken>`,
    "1": query.has("delimiter") ? `<NextMarker>${encode(last)}</NextMarker>` : "",
  }[kind];
  const count = kind === "2" ? `<KeyCount>${page.length}</KeyCount>` : "";
  const name = kind === "versions" ? "ListVersionsResult" : "ListBucketResult";
  const encoding = query.get("encoding-type") === "url" ? "<EncodingType>url</EncodingType>" : "";
  return xml(
    `<${name}>${encoding}${count}<IsTruncated>${more}</IsTruncated>${more ? next : ""}${list.join("")}</${name}>`,
  );
}

function itemsOf(objects: Objects, prefix: string, delimiter: string): Item[] {
  const items = new Map<string, Item>();
  for (const [key, object] of objects) {
    if (!key.startsWith(prefix)) continue;
    const end = delimiter === "" ? -1 : key.indexOf(delimiter, prefix.length);
    const name = end < 0 ? key : key.slice(0, end + delimiter.length);
    items.set(name, { name, object: end < 0 ? object : undefined });
  }
  return [...items.values()].sort((a, b) => compareBytes(a.name, b.name));
}

// Bytes of UTF-8 and units of UTF-16 are in another order where there are surrogates.
function compareBytes(a: string, b: string): number {
  if (/[\ud800-\udfff]/.test(a) || /[\ud800-\udfff]/.test(b))
    return Buffer.compare(Buffer.from(a), Buffer.from(b));
  return a < b ? -1 : a > b ? 1 : 0;
}

function entryOf(kind: string, key: string, { body, eTag, modified, checksum }: StoredS3Object): string {
  const algorithm =
    checksum === undefined
      ? ""
      : `<ChecksumAlgorithm>${checksum.algorithm.toUpperCase()}</ChecksumAlgorithm>`;
  const common =
    `<Key>${key}</Key><LastModified>${inSeconds(modified)}</LastModified><ETag>${escapeXml(eTag)}</ETag>` +
    `${algorithm}<Size>${body.length}</Size><StorageClass>STANDARD</StorageClass>`;
  return kind === "versions"
    ? `<Version>${common}<VersionId>null</VersionId><IsLatest>true</IsLatest></Version>`
    : `<Contents>${common}</Contents>`;
}

// As the real service, which keeps no fractions.
function inSeconds(date: Date): string {
  return date.toISOString().replace(/\.\d+Z$/, ".000Z");
}
