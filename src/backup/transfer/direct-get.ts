// GetObject of whole objects, past the SDK: what the headers of an answer say, as the SDK says it. Answers with anything
// that is seldom seen are left to the SDK.
import { isFramesealError } from "../../errors.ts";
import { giveUp } from "../../s3/resuming-source.ts";
import { isReadable } from "../../shapes.ts";
import { BadAnswer, type DirectOperation, ToSdk } from "./direct-operation.ts";

const METADATA = "x-amz-meta-";
/** Headers that are texts, and the fields of the SDK for them. */
const TEXTS: ReadonlyMap<string, string> = new Map([
  ["etag", "ETag"],
  ["accept-ranges", "AcceptRanges"],
  ["cache-control", "CacheControl"],
  ["content-disposition", "ContentDisposition"],
  ["content-encoding", "ContentEncoding"],
  ["content-language", "ContentLanguage"],
  ["content-type", "ContentType"],
  ["x-amz-version-id", "VersionId"],
  ["x-amz-expiration", "Expiration"],
  ["x-amz-replication-status", "ReplicationStatus"],
  ["x-amz-request-charged", "RequestCharged"],
  ["x-amz-restore", "Restore"],
  ["x-amz-server-side-encryption", "ServerSideEncryption"],
  ["x-amz-server-side-encryption-aws-kms-key-id", "SSEKMSKeyId"],
  ["x-amz-storage-class", "StorageClass"],
]);
/** Headers that tell of the answer and not of the object. */
const OF_ANSWERS: ReadonlySet<string> = new Set(["x-amz-request-id", "x-amz-id-2", "x-amz-cf-id"]);
/** Headers that the SDK makes something else of, or that are none of a whole object. */
const UNUSUAL: ReadonlySet<string> = new Set(["expires", "content-range"]);
/** Headers of objects, of which the others are not known here. */
const OWN = "x-amz-";
const KINDS: ReadonlySet<string> = new Set(["Bucket", "RequestPayer", "ExpectedBucketOwner"]);
/** Text that is not encoded. */
const PLAIN = /^[\x20-\x7e]*$/;
const LENGTH = /^\d{1,15}$/;
const DATE = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;

export const directGet: DirectOperation = {
  commandName: "GetObjectCommand",
  kindOf({ Key, VersionId, ...others }) {
    if (typeof Key !== "string" || (VersionId !== undefined && typeof VersionId !== "string"))
      return undefined;
    let text = "";
    for (const [name, value] of Object.entries(others)) {
      if (value === undefined) continue;
      if (!KINDS.has(name) || typeof value !== "string") return undefined;
      text += `${name}=${JSON.stringify(value)};`;
    }
    return text;
  },
  fieldsOf: ({ Key, VersionId }) => ({
    Key: Key as string,
    Body: undefined,
    Metadata: {},
    VersionId: VersionId as string | undefined,
  }),
  async outputOf({ statusCode, headers, body }) {
    if (!isReadable(body)) throw new ToSdk("the body is no stream of Node");
    const fields = statusCode === 200 ? fieldsOf(headers) : undefined;
    if (fields !== undefined) return { ...fields, Body: body };
    giveUp(body);
    throw statusCode === 200 ? new ToSdk("to be read by the SDK") : new BadAnswer(statusCode);
  },
  // What has arrived was refused: it would be again.
  isFinal: isFramesealError,
  // Ranges, where a body breaks off.
  goesOn: true,
};

/** What the headers say; undefined for what is to be read by the SDK. */
function fieldsOf(headers: Readonly<Record<string, string>>): Record<string, unknown> | undefined {
  const { etag, "content-length": length = "", "last-modified": modified } = headers;
  if (etag === undefined || !LENGTH.test(length)) return undefined;
  const metadata: Record<string, string> = {};
  const fields: Record<string, unknown> = {
    $metadata: { httpStatusCode: 200, requestId: headers["x-amz-request-id"], attempts: 1 },
    ContentLength: Number(length),
    Metadata: metadata,
  };
  if (modified !== undefined) {
    const date = DATE.test(modified) ? new Date(modified) : undefined;
    if (date === undefined || Number.isNaN(date.getTime())) return undefined;
    fields.LastModified = date;
  }
  for (const name in headers) {
    const value = headers[name] ?? "";
    const field = TEXTS.get(name);
    if (name.startsWith(METADATA)) {
      const own = name.slice(METADATA.length);
      if (!PLAIN.test(value) || value.includes("=?") || own === "__proto__") return undefined;
      metadata[own] = value;
    } else if (field !== undefined) fields[field] = value;
    else if (UNUSUAL.has(name) || (name.startsWith(OWN) && !OF_ANSWERS.has(name))) return undefined;
  }
  return fields;
}
