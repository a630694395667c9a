// Every header and metadata name of S3 objects that this package reads or writes.
import { FramesealError } from "../errors.ts";
import type { ObjectMetadata } from "./object-format.ts";

/** What S3 puts before the names of user metadata in headers. */
export const USER_METADATA_PREFIX = "x-amz-meta-";
/** User metadata of one object, names and values together. */
export const MAX_USER_METADATA_LENGTH = 2048;

/** Names of the hints that framed objects carry. Not authenticated: they only save a request. */
export const framedNames = {
  /** `framed`. */
  format: "frameseal-format",
  /** Bytes of the message header, decimal. */
  headerLength: "frameseal-header-length",
  /** Plaintext bytes of a frame, decimal. */
  frameLength: "frameseal-frame-length",
  /** Algorithm suite, as `0x0478`. */
  suite: "frameseal-suite",
  /** Which wrapping keys open it: `namespace/name`, percent-encoded, separated by commas. */
  keys: "frameseal-keys",
} as const;

/** Metadata names with this prefix belong to framed objects. */
export const FRAMED_PREFIX = "frameseal-";

/** Headers of server-side encryption, as requests and bucket policies name them. */
export const serverSideNames = {
  encryption: "x-amz-server-side-encryption",
  kmsKeyId: "x-amz-server-side-encryption-aws-kms-key-id",
  customerAlgorithm: "x-amz-server-side-encryption-customer-algorithm",
} as const;

/** Header with the digest of a payload, and its value when the payload is not signed. */
export const payloadDigest = { name: "x-amz-content-sha256", unsigned: "UNSIGNED-PAYLOAD" } as const;

/** User metadata as S3 returns it: names in lower case. */
export function normalizeMetadata(metadata: Readonly<Record<string, string>> | undefined): ObjectMetadata {
  const normalized: Record<string, string> = Object.create(null);
  for (const [name, value] of Object.entries(metadata ?? {})) normalized[name.toLowerCase()] = value;
  return normalized;
}

/**
 * Joins the caller's metadata and that of the format.
 * @throws FramesealError LIMIT_EXCEEDED when S3 would refuse them for their length
 */
export function joinMetadata(caller: ObjectMetadata, own: ObjectMetadata): Record<string, string> {
  const joined: Record<string, string> = { ...caller, ...own };
  let length = 0;
  for (const [name, value] of Object.entries(joined))
    length += name.length + Buffer.byteLength(value, "utf8");
  if (length > MAX_USER_METADATA_LENGTH)
    throw new FramesealError(
      "LIMIT_EXCEEDED",
      `metadata of the object has ${length} bytes, S3 allows ${MAX_USER_METADATA_LENGTH}`,
    );
  return joined;
}
