// Every header and metadata name of S3 objects that this package reads or writes.
import { FramesealError } from "../errors.ts";
import { quote } from "../quote.ts";
import { decodeEncodedWords } from "./encoded-words.ts";
import type { ObjectMetadata } from "./object-format.ts";

/** What S3 puts before the names of user metadata in headers. */
export const USER_METADATA_PREFIX = "x-amz-meta-";
/** User metadata of one object, names and values together. */
const MAX_USER_METADATA_LENGTH = 2048;

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
  /** `Content-Encoding` of the plaintext, where the caller gave one. */
  contentEncoding: "frameseal-content-encoding",
} as const;

/** Metadata names with this prefix belong to framed objects. */
export const FRAMED_PREFIX = "frameseal-";

/** Names of the envelope of single-message objects, as the Amazon S3 Encryption Clients write them. */
export const envelopeNames = {
  /** Version 1: the wrapped data key. */
  key1: "x-amz-key",
  /** Version 2: the wrapped data key. */
  key2: "x-amz-key-v2",
  iv: "x-amz-iv",
  contentAlgorithm: "x-amz-cek-alg",
  wrapAlgorithm: "x-amz-wrap-alg",
  /** Material description, or encryption context of KMS. */
  description: "x-amz-matdesc",
  tagLength: "x-amz-tag-len",
  /** A hint of other clients, never used. */
  plaintextLength: "x-amz-unencrypted-content-length",
  /** Version 3: content suite. */
  suite3: "x-amz-c",
  /** Version 3: the wrapped data key. */
  key3: "x-amz-3",
  wrap3: "x-amz-w",
  commitment3: "x-amz-d",
  messageId3: "x-amz-i",
  /** Version 3 with a raw key: material description. */
  description3: "x-amz-m",
  /** Version 3 with KMS: encryption context. */
  context3: "x-amz-t",
  /** Marks an instruction file. */
  instructionFile: "x-amz-crypto-instr-file",
} as const;

/** The pair of a KMS encryption context that binds the content algorithm, and one of old clients. */
export const reservedContextNames = { contentAlgorithm: "aws:x-amz-cek-alg", keyId: "kms_cmk_id" } as const;

/** What stands behind the key of an object in the key of its instruction file. */
export const INSTRUCTION_FILE_SUFFIX = ".instruction";

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

/** Names and codings that headers take. (RFC 9110, 5.6.2) */
export const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/**
 * Checks that the caller's metadata comes back as it is given; but for names, which S3 returns in lower case.
 * @param isOwned whether a name in lower case belongs to a format
 * @throws TypeError
 */
export function checkCallerMetadata(metadata: unknown, isOwned: (name: string) => boolean): void {
  if (metadata === undefined || metadata === null) return;
  if (typeof metadata !== "object" || Array.isArray(metadata))
    throw new TypeError(`"Metadata" expected an object of strings, got ${typeof metadata}`);
  const names = new Set<string>();
  for (const [name, value] of Object.entries(metadata)) {
    const shown = quote(name);
    const lowerCase = name.toLowerCase();
    if (!TOKEN.test(name) || lowerCase === "__proto__")
      throw new TypeError(`"Metadata" expected names that a header can have, got ${shown}`);
    if (names.has(lowerCase))
      throw new TypeError(
        `"Metadata" expected names that differ by more than their case, got ${shown} twice`,
      );
    names.add(lowerCase);
    if (isOwned(lowerCase)) throw new TypeError(`"Metadata" expected names of your own, got ${shown}`);
    if (typeof value !== "string")
      throw new TypeError(`"Metadata" expected a string as ${shown}, got ${typeof value}`);
    const fault = changesOnItsWay(value);
    if (fault !== undefined)
      throw new TypeError(`"Metadata" expected text that headers carry unchanged as ${shown}, got ${fault}`);
  }
}

// What S3, proxies or the SDK would give back in another form.
function changesOnItsWay(value: string): string | undefined {
  if (!/^[ -~]*$/.test(value)) return "characters outside printable ASCII: encode them, as JSON for example";
  if (/^ | $/.test(value)) return "spaces around it";
  // A server that decodes such words gives plain text back. What S3 itself makes of other scripts may be stored again.
  const decoded = decodeEncodedWords(value);
  return decoded !== value && /^[\x20-\x7e]*$/.test(decoded) ? "an encoded word (RFC 2047)" : undefined;
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
