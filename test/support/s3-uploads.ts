// Multipart uploads of the strict S3 server: minimum lengths, order, ETags, checksums and SSE-C keys of parts.
import { createHash } from "node:crypto";
import type { RequestBody } from "./aws-chunked.ts";
import { type Checksum, type ChecksumAlgorithm, checksumAlgorithms, checksumOf } from "./checksums.ts";
import { type AtRest, checkCustomerKey, toldHeaders } from "./s3-encryption.ts";
import { type Answer, elementText, escapeXml, S3Error, xml } from "./s3-error.ts";
import { eTagOf, type S3Call } from "./s3-objects.ts";

const MIN_PART_LENGTH = 5 * 2 ** 20;
const MAX_PART_NUMBER = 10_000;

export interface S3Upload {
  readonly bucket: string;
  readonly key: string;
  readonly headers: Record<string, string>;
  /** The headers of Create that name an encryption: policies see them again with every part. */
  readonly asked: Readonly<Record<string, unknown>>;
  readonly atRest: AtRest;
  /** Every part must have this checksum, or none may have one. */
  readonly checksum: ChecksumAlgorithm | undefined;
  readonly parts: Map<number, S3Part>;
  readonly initiated: Date;
}

export interface S3Part {
  readonly body: Buffer;
  readonly eTag: string;
  readonly checksum: Checksum | undefined;
}

/** The checksum that Create announces. */
export function announcedChecksum(call: S3Call): ChecksumAlgorithm | undefined {
  const named = call.headers["x-amz-checksum-algorithm"];
  if (named === undefined) return undefined;
  const algorithm = checksumAlgorithms.find((each) => each === String(named).toLowerCase());
  if (algorithm === undefined) throw new S3Error(400, "InvalidRequest", "x-amz-checksum-algorithm");
  return algorithm;
}

/** Enters a part. @param copied bytes of another object, for UploadPartCopy */
export function putPart(
  upload: S3Upload,
  call: S3Call,
  body: RequestBody,
  copied: Buffer | undefined,
): Answer {
  const number = Number(call.query.get("partNumber"));
  if (!(Number.isInteger(number) && number >= 1 && number <= MAX_PART_NUMBER))
    throw new S3Error(400, "InvalidArgument", "part number");
  checkCustomerKey(upload.atRest, call.headers, call.secure);
  const { checksum } = body;
  if (copied === undefined && checksum?.algorithm !== upload.checksum)
    throw new S3Error(
      400,
      "InvalidRequest",
      `Checksum Type mismatch occurred, expected checksum Type: ${upload.checksum ?? "null"}, actual checksum Type: ${checksum?.algorithm ?? "null"}`,
    );
  const bytes = copied ?? body.bytes;
  const eTag = eTagOf(bytes, upload.atRest);
  upload.parts.set(number, { body: bytes, eTag, checksum });
  if (copied !== undefined) return xml(`<CopyPartResult><ETag>${escapeXml(eTag)}</ETag></CopyPartResult>`);
  const told = checksum === undefined ? {} : { [`x-amz-checksum-${checksum.algorithm}`]: checksum.value };
  return { headers: { etag: eTag, ...told, ...toldHeaders(upload.atRest) } };
}

/** Answers ListMultipartUploads, a thousand at a time: by keys, and those of one key by the order in which they began. */
export function listUploads(
  uploads: ReadonlyMap<string, S3Upload>,
  { bucket, query }: Pick<S3Call, "bucket" | "query">,
): Answer {
  const prefix = query.get("prefix") ?? "";
  const keyMarker = query.get("key-marker") ?? "";
  const idMarker = query.get("upload-id-marker") ?? "";
  const limit = Math.min(1000, Number(query.get("max-uploads") ?? 1000));
  const encoded = query.get("encoding-type") === "url";
  const shown = (name: string): string =>
    escapeXml(encoded ? encodeURIComponent(name).replaceAll("%20", "+").replaceAll("%2F", "/") : name);
  const ordered = [...uploads]
    .filter(([, upload]) => upload.bucket === bucket && upload.key.startsWith(prefix))
    .sort(([, a], [, b]) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
  const behindKey = ordered.filter(
    ([, { key }]) => Buffer.compare(Buffer.from(key), Buffer.from(keyMarker)) > 0,
  );
  const ofKey = idMarker === "" ? [] : ordered.filter(([, { key }]) => key === keyMarker);
  const left = [...ofKey.slice(ofKey.findIndex(([id]) => id === idMarker) + 1), ...behindKey];
  const page = left.slice(0, limit);
  const list = page.map(
    ([id, { key, initiated }]) =>
      `<Upload><Key>${shown(key)}</Key><UploadId>${escapeXml(id)}</UploadId>` +
      `<Initiated>${initiated.toISOString()}</Initiated></Upload>`,
  );
  const last = page.at(-1);
  const isTruncated = left.length > page.length && last !== undefined;
  return xml(
    `<ListMultipartUploadsResult>${encoded ? "<EncodingType>url</EncodingType>" : ""}` +
      `<IsTruncated>${isTruncated}</IsTruncated>` +
      (isTruncated
        ? `<NextKeyMarker>${shown(last[1].key)}</NextKeyMarker><NextUploadIdMarker>${escapeXml(last[0])}</NextUploadIdMarker>`
        : "") +
      `${list.join("")}</ListMultipartUploadsResult>`,
  );
}

/** Answers ListParts, a thousand at a time. */
export function listParts(upload: S3Upload, call: S3Call): Answer {
  checkCustomerKey(upload.atRest, call.headers, call.secure);
  const after = Number(call.query.get("part-number-marker") ?? 0);
  const limit = Math.min(1000, Number(call.query.get("max-parts") ?? 1000));
  const parts = [...upload.parts].sort(([a], [b]) => a - b).filter(([number]) => number > after);
  const page = parts.slice(0, limit);
  const list = page.map(
    ([number, { eTag, body, checksum }]) =>
      `<Part><PartNumber>${number}</PartNumber><ETag>${escapeXml(eTag)}</ETag><Size>${body.length}</Size>` +
      `${checksum === undefined ? "" : checksumElement(checksum)}</Part>`,
  );
  return xml(
    `<ListPartsResult><IsTruncated>${parts.length > page.length}</IsTruncated>` +
      `<NextPartNumberMarker>${page.at(-1)?.[0] ?? 0}</NextPartNumberMarker>${list.join("")}</ListPartsResult>`,
  );
}

/** The object that a request to complete makes. */
export function joinParts(
  upload: S3Upload,
  call: S3Call,
  text: string,
): { body: Buffer; eTag: string; checksum: (Checksum & { parts: number }) | undefined } {
  checkCustomerKey(upload.atRest, call.headers, call.secure);
  const listed = [...text.matchAll(/<Part>(.*?)<\/Part>/gs)].map(([, part = ""]) => part);
  if (listed.length === 0) throw new S3Error(400, "MalformedXML");
  const numbers = listed.map((entry) => Number(elementText(entry, "PartNumber")));
  if (numbers.some((number, index) => index > 0 && number <= (numbers[index - 1] ?? 0)))
    throw new S3Error(400, "InvalidPartOrder");
  const parts = listed.map((entry, index) => {
    const number = numbers[index] ?? 0;
    const part = upload.parts.get(number);
    const eTag = elementText(entry, "ETag") ?? "";
    if (part === undefined || part.eTag.replaceAll('"', "") !== eTag.replaceAll('"', ""))
      throw new S3Error(400, "InvalidPart");
    checkListedChecksum(upload, part, entry, number);
    if (index < listed.length - 1 && part.body.length < MIN_PART_LENGTH)
      throw new S3Error(400, "EntityTooSmall");
    return part;
  });
  const body = Buffer.concat(parts.map((part) => part.body));
  const size = call.headers["x-amz-mp-object-size"];
  if (size !== undefined && Number(size) !== body.length)
    throw new S3Error(400, "InvalidRequest", "object size");
  const digests = createHash("md5");
  for (const { eTag } of parts) digests.update(Buffer.from(eTag.replaceAll('"', ""), "hex"));
  const eTag = `"${digests.digest("hex")}-${parts.length}"`;
  return { body, eTag, checksum: compositeChecksum(upload, parts) };
}

function checksumElement({ algorithm, value }: Checksum): string {
  const name = `Checksum${algorithm.toUpperCase()}`;
  return `<${name}>${value}</${name}>`;
}

function checkListedChecksum(upload: S3Upload, part: S3Part, entry: string, number: number): void {
  const algorithm = upload.checksum;
  if (algorithm === undefined || part.checksum === undefined) return; // copied parts have none
  const listed = elementText(entry, `Checksum${algorithm.toUpperCase()}`);
  if (listed === undefined)
    throw new S3Error(
      400,
      "InvalidRequest",
      `The complete request must include the checksum for each part. It was missing for part ${number}`,
    );
  if (listed !== part.checksum.value) throw new S3Error(400, "InvalidPart");
}

function compositeChecksum(
  upload: S3Upload,
  parts: readonly S3Part[],
): (Checksum & { parts: number }) | undefined {
  const algorithm = upload.checksum;
  if (algorithm === undefined || parts.some((part) => part.checksum === undefined)) return undefined;
  const sums = parts.map((part) => Buffer.from(part.checksum?.value ?? "", "base64"));
  return { algorithm, value: checksumOf(algorithm, Buffer.concat(sums)), parts: parts.length };
}
