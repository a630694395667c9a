// What every input field of the object requests means, in one table: when one request becomes several, it says which of
// them repeat a field, which fields speak of the plaintext, and which a new object takes over from an old one. The test
// of this file compares it with the SDK's own schemas.
import { FramesealError } from "../errors.ts";

/** A request that follows from another, by the SDK's name without `Command`; `SideObject` is a PutObject next to it. */
export type FurtherRequest =
  | "PutObject"
  | "CopyObject"
  | "CreateMultipartUpload"
  | "UploadPart"
  | "UploadPartCopy"
  | "CompleteMultipartUpload"
  | "AbortMultipartUpload"
  | "ListParts"
  | "GetObject"
  | "HeadObject"
  | "GetObjectTagging"
  | "DeleteObject"
  | "DeleteObjects"
  | "SideObject";

/**
 * What a field is about.
 * - `access`: who asks and who pays: every further request.
 * - `customer-key`: the SSE-C key: every further request that reads or writes the object.
 * - `storage`: how S3 keeps the object and who may touch it: what makes the object, and what stands next to it.
 * - `description`: how to treat the plaintext: what makes the object.
 * - `condition`: whether the object may appear: only the request that lets it appear. On reads: only the first one.
 * - `checksum`: the algorithm of checksums on the way: what carries bytes.
 * - `plaintext-digest`: would not fit the stored bytes, and would tell about the plaintext: refused.
 * - `refused`: has no meaning for an encrypted object.
 * - `source`: of the object that is copied: see `sourceFields`.
 * - `own`: made, translated or sent once by the code of its request.
 */
export type FieldMeaning =
  | "access"
  | "customer-key"
  | "storage"
  | "description"
  | "condition"
  | "checksum"
  | "plaintext-digest"
  | "refused"
  | "source"
  | "own";

const names: Readonly<Record<FieldMeaning, readonly string[]>> = {
  access: ["RequestPayer", "ExpectedBucketOwner"],
  "customer-key": ["SSECustomerAlgorithm", "SSECustomerKey", "SSECustomerKeyMD5"],
  storage: [
    "ACL",
    "BucketKeyEnabled",
    "GrantFullControl",
    "GrantRead",
    "GrantReadACP",
    "GrantWriteACP",
    "ObjectLockEventHold",
    "ObjectLockEventHoldDurationDays",
    "ObjectLockEventHoldDurationYears",
    "ObjectLockLegalHoldStatus",
    "ObjectLockMode",
    "ObjectLockRetainUntilDate",
    "SSEKMSEncryptionContext",
    "SSEKMSKeyId",
    "ServerSideEncryption",
    "StorageClass",
    "Tagging",
  ],
  description: [
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "Expires",
    "WebsiteRedirectLocation",
  ],
  condition: ["IfMatch", "IfNoneMatch", "IfModifiedSince", "IfUnmodifiedSince", "IfMatchInitiatedTime"],
  checksum: ["ChecksumAlgorithm"],
  "plaintext-digest": [
    "ContentMD5",
    "ChecksumCRC32",
    "ChecksumCRC32C",
    "ChecksumCRC64NVME",
    "ChecksumMD5",
    "ChecksumSHA1",
    "ChecksumSHA256",
    "ChecksumSHA512",
    "ChecksumXXHASH128",
    "ChecksumXXHASH3",
    "ChecksumXXHASH64",
  ],
  refused: ["WriteOffsetBytes"],
  source: [
    "CopySource",
    "CopySourceIfMatch",
    "CopySourceIfModifiedSince",
    "CopySourceIfNoneMatch",
    "CopySourceIfUnmodifiedSince",
    "CopySourceRange",
    "CopySourceSSECustomerAlgorithm",
    "CopySourceSSECustomerKey",
    "CopySourceSSECustomerKeyMD5",
    "ExpectedSourceBucketOwner",
  ],
  own: [
    "AnnotationDirective",
    "Body",
    "Bucket",
    "ChecksumMode",
    "ChecksumType",
    "ContentLength",
    "Key",
    "MaxParts",
    "Metadata",
    "MetadataDirective",
    "MpuObjectSize",
    "MultipartUpload",
    "PartNumber",
    "PartNumberMarker",
    "Range",
    "ResponseCacheControl",
    "ResponseContentDisposition",
    "ResponseContentEncoding",
    "ResponseContentLanguage",
    "ResponseContentType",
    "ResponseExpires",
    "TaggingDirective",
    "UploadId",
    "VersionId",
  ],
};

const meanings = new Map<string, FieldMeaning>(
  Object.entries(names).flatMap(([meaning, fields]) =>
    fields.map((field) => [field, meaning as FieldMeaning] as const),
  ),
);

const making: readonly FurtherRequest[] = ["PutObject", "CopyObject", "CreateMultipartUpload"];
const reading: readonly FurtherRequest[] = ["GetObject", "HeadObject"];

/** The requests that repeat a field of this meaning. */
const repeatedBy: Readonly<Partial<Record<FieldMeaning, ReadonlySet<FurtherRequest>>>> = {
  access: new Set<FurtherRequest>([
    ...making,
    ...reading,
    "UploadPart",
    "UploadPartCopy",
    "CompleteMultipartUpload",
    "AbortMultipartUpload",
    "ListParts",
    "GetObjectTagging",
    "DeleteObject",
    "DeleteObjects",
    "SideObject",
  ]),
  "customer-key": new Set<FurtherRequest>([
    ...making,
    ...reading,
    "UploadPart",
    "UploadPartCopy",
    "CompleteMultipartUpload",
    "ListParts",
    "SideObject",
  ]),
  storage: new Set<FurtherRequest>([...making, "SideObject"]),
  description: new Set(making),
  condition: new Set<FurtherRequest>(["PutObject", "CopyObject", "CompleteMultipartUpload"]),
  checksum: new Set<FurtherRequest>([...making, "UploadPart", "SideObject"]),
};

type Fields = Readonly<Record<string, unknown>>;

/** What a field means; undefined for names that are not in the table. */
export function meaningOf(field: string): FieldMeaning | undefined {
  return meanings.get(field);
}

/**
 * The fields of `input` that the further request `to` repeats. `input` is that of a request about the same object;
 * for what a copy reads, see `sourceFields`.
 */
export function repeatFields(input: Fields, to: FurtherRequest): Record<string, unknown> {
  return pick(input, (meaning) => repeatedBy[meaning]?.has(to) === true);
}

/** What tells how a new object is to be stored and treated, from what HeadObject told of an old one. */
export function keptFields(head: Fields): Record<string, unknown> {
  return pick(head, (meaning) => meaning === "storage" || meaning === "description");
}

/** The part of `keptFields` that tells how to treat the plaintext. */
export function describingFields(head: Fields): Record<string, unknown> {
  return pick(head, (meaning) => meaning === "description");
}

/** What a read of the source of a copy says, from what the copy says: owner, payer, key and conditions. */
export function sourceFields(copy: Fields): Record<string, unknown> {
  const reading: Record<string, unknown> = {};
  if (copy.RequestPayer !== undefined) reading.RequestPayer = copy.RequestPayer;
  for (const [name, value] of Object.entries(copy))
    if (value !== undefined && Object.hasOwn(sourceNames, name)) reading[sourceNames[name] ?? name] = value;
  return reading;
}

const sourceNames: Readonly<Record<string, string>> = {
  CopySourceIfMatch: "IfMatch",
  CopySourceIfModifiedSince: "IfModifiedSince",
  CopySourceIfNoneMatch: "IfNoneMatch",
  CopySourceIfUnmodifiedSince: "IfUnmodifiedSince",
  CopySourceSSECustomerAlgorithm: "SSECustomerAlgorithm",
  CopySourceSSECustomerKey: "SSECustomerKey",
  CopySourceSSECustomerKeyMD5: "SSECustomerKeyMD5",
  ExpectedSourceBucketOwner: "ExpectedBucketOwner",
};

/**
 * Refuses what S3 would apply to the stored bytes though it is meant for the plaintext, and names nobody has decided on.
 * Fields of other object requests pass, since the SDK leaves them out: lib-storage puts those of Create on every part.
 * @throws TypeError, FramesealError UNSUPPORTED
 */
export function checkFields(input: Fields): void {
  for (const [name, value] of Object.entries(input)) {
    if (value === undefined) continue;
    const meaning = meanings.get(name);
    if (meaning === "plaintext-digest")
      throw new TypeError(
        `"${name}" expected undefined: a checksum of the plaintext would not fit, and would tell about it`,
      );
    if (meaning === "refused")
      throw new FramesealError("UNSUPPORTED", "nothing can be appended to an encrypted object");
    if (meaning === undefined)
      throw new FramesealError(
        "UNSUPPORTED",
        `field ${name.slice(0, 64)} is not known to this version: it could get lost`,
      );
  }
}

function pick(fields: Fields, wanted: (meaning: FieldMeaning) => boolean): Record<string, unknown> {
  const picked: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    const meaning = meanings.get(name);
    if (value !== undefined && meaning !== undefined && wanted(meaning)) picked[name] = value;
  }
  return picked;
}
