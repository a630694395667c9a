// Objects of the strict S3 server: what is stored, how it is answered, described, copied.
import { createHash, randomBytes } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import type { Checksum } from "./checksums.ts";
import {
  type AtRest,
  checkCustomerKey,
  checkKmsKey,
  type KmsKeys,
  refuseAskingToRead,
  toldHeaders,
} from "./s3-encryption.ts";
import { type Answer, S3Error, xml } from "./s3-error.ts";

const MAX_METADATA_LENGTH = 2048;

/** An object as it is stored. */
export interface StoredS3Object {
  body: Buffer;
  readonly headers: Readonly<Record<string, string>>;
  readonly eTag: string;
  readonly atRest: AtRest;
  readonly checksum: (Checksum & { readonly parts?: number }) | undefined;
  readonly modified: Date;
}

/** One request as the server sees it. */
export interface S3Call {
  readonly method: string;
  readonly bucket: string;
  readonly key: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  /** It came over TLS. */
  readonly secure: boolean;
}

/** The ETag of a body: its MD5 only where S3 says so. */
export function eTagOf(body: Uint8Array, { algorithm }: AtRest): string {
  const isDigest = algorithm === "AES256";
  return `"${isDigest ? createHash("md5").update(body).digest("hex") : randomBytes(16).toString("hex")}"`;
}

/** Answers GetObject and HeadObject. */
export function answerObject(call: S3Call, object: StoredS3Object | undefined, keys: KmsKeys): Answer {
  const { method, headers, query, secure } = call;
  if (object === undefined) throw new S3Error(404, "NoSuchKey");
  if (query.has("tagging")) return xml("<Tagging><TagSet></TagSet></Tagging>");
  refuseAskingToRead(headers);
  checkCustomerKey(object.atRest, headers, secure);
  checkKmsKey(object.atRest, keys);
  const match = headers["if-match"];
  if (match !== undefined && match !== object.eTag) throw new S3Error(412, "PreconditionFailed");
  const { body, eTag, modified, checksum, atRest } = object;
  if (query.has("attributes"))
    return answerAttributes(object, String(headers["x-amz-object-attributes"] ?? ""));
  const answered: Record<string, string> = {
    ...object.headers,
    ...toldHeaders(atRest),
    etag: eTag,
    "last-modified": modified.toUTCString(),
    "accept-ranges": "bytes",
  };
  const encoding = query.get("response-content-encoding");
  if (encoding !== null) answered["content-encoding"] = encoding;
  const range = /^bytes=(\d*)-(\d*)$/.exec(String(headers.range ?? ""));
  const [, first = "", last = ""] = range ?? [];
  if (method === "HEAD" || (first === "" && last === "")) {
    if (checksum !== undefined && headers["x-amz-checksum-mode"] === "ENABLED") {
      const suffix = checksum.parts === undefined ? "" : `-${checksum.parts}`;
      answered[`x-amz-checksum-${checksum.algorithm}`] = checksum.value + suffix;
      answered["x-amz-checksum-type"] = checksum.parts === undefined ? "FULL_OBJECT" : "COMPOSITE";
    }
    if (method === "HEAD") return { headers: { ...answered, "content-length": String(body.length) } };
    return { headers: answered, body };
  }
  const start = first === "" ? Math.max(0, body.length - Number(last)) : Number(first);
  const end = first === "" || last === "" ? body.length : Math.min(body.length, Number(last) + 1);
  if (start >= body.length || end <= start) throw new S3Error(416, "InvalidRange");
  return {
    status: 206,
    headers: { ...answered, "content-range": `bytes ${start}-${end - 1}/${body.length}` },
    body: body.subarray(start, end),
  };
}

// Answers GetObjectAttributes.
function answerAttributes({ body, eTag, modified, checksum }: StoredS3Object, names: string): Answer {
  const asked = new Set(names.split(",").map((name) => name.trim()));
  if (names === "") throw new S3Error(400, "InvalidArgument", "x-amz-object-attributes");
  const element = (name: string, content: string): string =>
    asked.has(name) ? `<${name}>${content}</${name}>` : "";
  const sum =
    checksum === undefined
      ? ""
      : `<Checksum${checksum.algorithm.toUpperCase()}>${checksum.value}</Checksum${checksum.algorithm.toUpperCase()}>`;
  const text =
    element("ETag", eTag.replaceAll('"', "")) +
    element("Checksum", sum) +
    element("ObjectParts", "<PartsCount>1</PartsCount>") +
    element("StorageClass", "STANDARD") +
    element("ObjectSize", String(body.length));
  const answer = xml(`<GetObjectAttributesResponse>${text}</GetObjectAttributesResponse>`);
  return { ...answer, headers: { ...answer.headers, "last-modified": modified.toUTCString() } };
}

/** Bucket and key of `x-amz-copy-source`. */
export function copySourceOf(text: string): { bucket: string; key: string } {
  const [bucket = "", ...rest] = decodeURIComponent(text.replace(/^\//, "").split("?")[0] ?? "").split("/");
  return { bucket, key: rest.join("/") };
}

/** Checks that a copy may read its source. */
export function checkCopySource(call: S3Call, source: StoredS3Object, keys: KmsKeys): void {
  const match = call.headers["x-amz-copy-source-if-match"];
  if (match !== undefined && match !== source.eTag) throw new S3Error(412, "PreconditionFailed");
  checkCustomerKey(source.atRest, call.headers, call.secure, "x-amz-copy-source-");
  checkKmsKey(source.atRest, keys);
}

const DESCRIBING =
  /^(x-amz-meta-|content-type$|cache-control$|content-(encoding|disposition|language)$|expires$)/;

/** What is stored beside the bytes. @throws S3Error MetadataTooLarge; InvalidArgument unless it is ASCII */
export function describing(headers: IncomingHttpHeaders): Record<string, string> {
  const described: Record<string, string> = {};
  let length = 0;
  for (const [name, value] of Object.entries(headers)) {
    if (!DESCRIBING.test(name)) continue;
    const text = name === "content-encoding" ? String(value).replace(/aws-chunked,? ?/, "") : String(value);
    if (name === "content-encoding" && text === "") continue;
    if (!/^[\x20-\x7e]*$/.test(text)) throw new S3Error(400, "InvalidArgument", name);
    described[name] = text;
    if (name.startsWith("x-amz-meta-")) length += name.length - 11 + text.length;
  }
  if (length > MAX_METADATA_LENGTH) throw new S3Error(400, "MetadataTooLarge");
  return described;
}

/** Checks `If-Match` and `If-None-Match` of a request that stores. */
export function checkConditions(headers: IncomingHttpHeaders, existing: StoredS3Object | undefined): void {
  if (headers["if-none-match"] === "*" && existing !== undefined)
    throw new S3Error(412, "PreconditionFailed");
  const match = headers["if-match"];
  if (match === undefined || existing?.eTag === match) return;
  if (existing === undefined) throw new S3Error(404, "NoSuchKey");
  throw new S3Error(412, "PreconditionFailed");
}
