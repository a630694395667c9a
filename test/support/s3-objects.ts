// Objects of the strict S3 server: what is stored, how it is answered, described, copied.
import { createHash, randomBytes } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import type { Checksum } from "./checksums.ts";
import { checkCopyConditions, checkReadConditions } from "./s3-conditions.ts";
import {
  type AtRest,
  checkCustomerKey,
  checkKmsKey,
  type KmsKeys,
  refuseAskingToRead,
  toldHeaders,
} from "./s3-encryption.ts";
import { type Answer, escapeXml, S3Error, xml } from "./s3-error.ts";

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
  if (query.has("tagging")) return describeTags(object);
  refuseAskingToRead(headers);
  checkCustomerKey(object.atRest, headers, secure);
  checkKmsKey(object.atRest, keys);
  checkReadConditions(headers, object);
  const { body, eTag, modified, checksum, atRest } = object;
  if (query.has("attributes"))
    return answerAttributes(object, String(headers["x-amz-object-attributes"] ?? ""));
  const answered: Record<string, string> = {
    ...toldBelongings(object),
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
  checkCopyConditions(call.headers, source);
  checkCustomerKey(source.atRest, call.headers, call.secure, "x-amz-copy-source-");
  checkKmsKey(source.atRest, keys);
}

const DESCRIBING =
  /^(x-amz-meta-|content-type$|cache-control$|content-(encoding|disposition|language)$|expires$)/;

/** How an object is kept, in the requests that make it. */
const BELONGING = /^x-amz-(tagging|acl|storage-class|website-redirect-location|object-lock-[a-z-]+)$/;

/** How an object is to be kept. @throws S3Error InvalidArgument for a retention that is over */
function belongingOf(headers: IncomingHttpHeaders): Record<string, string> {
  const belonging: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers))
    if (BELONGING.test(name)) belonging[name] = String(value);
  const until = belonging["x-amz-object-lock-retain-until-date"];
  if ((until === undefined) !== (belonging["x-amz-object-lock-mode"] === undefined))
    throw new S3Error(400, "InvalidArgument", "object lock mode and date belong together");
  if (until !== undefined && Date.parse(until) <= Date.now())
    throw new S3Error(400, "InvalidArgument", "The retain until date must be in the future!");
  return belonging;
}

/** What a request that makes an object says about it beside its bytes. */
export function storedHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  return { ...describing(headers), ...belongingOf(headers) };
}

/** Headers of a copy: what S3 takes over from the source, and what the request says anew. */
export function copiedHeaders(headers: IncomingHttpHeaders, source: StoredS3Object): Record<string, string> {
  const replace = headers["x-amz-metadata-directive"] === "REPLACE";
  const described = replace
    ? describing(headers)
    : Object.fromEntries(Object.entries(source.headers).filter(([name]) => DESCRIBING.test(name)));
  const { "x-amz-tagging": tagging, ...belonging } = belongingOf(headers);
  const tags = headers["x-amz-tagging-directive"] === "REPLACE" ? tagging : source.headers["x-amz-tagging"];
  return { ...described, ...belonging, ...(tags === undefined ? {} : { "x-amz-tagging": tags }) };
}

// What answers tell of it: S3 counts tags, and keeps the access control list to itself.
function toldBelongings({ headers }: StoredS3Object): Record<string, string> {
  const { "x-amz-tagging": tagging, "x-amz-acl": _, ...told } = headers;
  const count = [...new URLSearchParams(tagging ?? "")].length;
  return count === 0 ? told : { ...told, "x-amz-tagging-count": String(count) };
}

function describeTags({ headers }: StoredS3Object): Answer {
  const tags = [...new URLSearchParams(headers["x-amz-tagging"] ?? "")].map(
    ([key, value]) => `<Tag><Key>${escapeXml(key)}</Key><Value>${escapeXml(value)}</Value></Tag>`,
  );
  return xml(`<Tagging><TagSet>${tags.join("")}</TagSet></Tagging>`);
}

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
