// Keys for server-side encryption with customer-provided keys (SSE-C), one for each object, derived from a master key.
// S3 stores no wrapped key, so this is a key derivation with request fields and not a keyring.
import { createHash, type KeyObject } from "node:crypto";
import { inspect } from "node:util";
import { ByteWriter, copySecret, wipe } from "../../bytes.ts";
import {
  bytes,
  type Checks,
  callback,
  checkOptions,
  needed,
  oneOf,
  text,
  wholeNumber,
  wrong,
} from "../../check-options.ts";
import { allCauses, FramesealError } from "../../errors.ts";
import { hkdf } from "../../hkdf.ts";
import { isAllZeros } from "../../keyring/take-data-key.ts";
import { isBytes, isKeyObject } from "../../shapes.ts";
import { isBucketName } from "../bucket-name.ts";
import { statusOf } from "../transient-error.ts";

const DOMAIN = "frameseal/sse-c/1";
const KEY_LENGTH = 32;
const MAX_BUCKET_LENGTH = 255; // S3 allows 63 today, 255 for the oldest buckets
const MAX_OBJECT_KEY_LENGTH = 1024; // S3 user guide: object key names

/** What an SSE-C key is derived from. */
export interface SseCKeyOptions {
  /** 32 bytes, or a secret KeyObject of them. */
  readonly masterKey: Uint8Array | KeyObject;
  /** Which master key it is: 0 to 2^32 − 1. */
  readonly masterKeyVersion: number;
  readonly bucket: string;
  readonly key: string;
  /** Salt of HKDF, by default empty. Not secret, but needed to read. */
  readonly salt?: Uint8Array | undefined;
}

/** Checked where it is encoded. */
const encoded = needed((_, value) => value);
const version = needed(wholeNumber(0, 2 ** 32 - 1));
/** What the options must be. */
const KEY_OPTIONS: Checks<SseCKeyOptions> = {
  masterKey: encoded,
  masterKeyVersion: version,
  bucket: encoded,
  key: encoded,
  salt: bytes,
};

/**
 * Bytes of a key that do not show themselves. The SDK's types say `string`, but its SSE-C middleware also takes bytes,
 * and bytes cannot be mistaken for text.
 */
export type SseCKeyBytes = Uint8Array & string;

/** Fields of PutObject, GetObject, HeadObject, of every multipart call, and of CopyObject for its destination. */
export interface SseCKey {
  readonly SSECustomerAlgorithm: "AES256";
  /** 32 bytes. Whoever derived them wipes them. */
  readonly SSECustomerKey: SseCKeyBytes;
  /** Base64. */
  readonly SSECustomerKeyMD5: string;
}

/** Fields of CopyObject and UploadPartCopy for their source. */
export interface SseCCopySourceKey {
  readonly CopySourceSSECustomerAlgorithm: "AES256";
  readonly CopySourceSSECustomerKey: SseCKeyBytes;
  readonly CopySourceSSECustomerKeyMD5: string;
}

/**
 * Derives the SSE-C key of one object: HKDF-SHA-512 of the master key, with info = `frameseal/sse-c/1`, bucket and
 * object key (each with a 2-byte length in front), and a 4-byte master key version; big-endian, UTF-8. Objects of
 * different buckets, keys or versions never share a key.
 * @throws TypeError, RangeError
 */
export function deriveSseCKey(givenOptions: SseCKeyOptions): SseCKey {
  const options = checkOptions("options", givenOptions, KEY_OPTIONS);
  const info = encodeInfo(options);
  const { salt } = options;
  const masterKey = masterKeyBytes(options.masterKey);
  const bytes = hkdf("sha512", masterKey, salt ?? new Uint8Array(0), [info], KEY_LENGTH);
  wipe(masterKey);
  return {
    SSECustomerAlgorithm: "AES256",
    SSECustomerKey: hidden(bytes),
    SSECustomerKeyMD5: createHash("md5").update(bytes).digest("base64"),
  };
}

const SSE_C_KEY: Checks<SseCKey> = {
  SSECustomerAlgorithm: needed(oneOf("AES256")),
  SSECustomerKey: needed(bytes),
  SSECustomerKeyMD5: needed(text),
};

/**
 * The same key for the source of a copy.
 * @throws TypeError
 */
export function asCopySource(givenKey: SseCKey): SseCCopySourceKey {
  const key = checkOptions("key", givenKey, SSE_C_KEY);
  return {
    CopySourceSSECustomerAlgorithm: key.SSECustomerAlgorithm,
    CopySourceSSECustomerKey: key.SSECustomerKey,
    CopySourceSSECustomerKeyMD5: key.SSECustomerKeyMD5,
  };
}

/** One of several master keys. */
export interface VersionedMasterKey {
  readonly masterKey: Uint8Array | KeyObject;
  readonly masterKeyVersion: number;
}

const VERSIONED_KEY: Checks<VersionedMasterKey> = { masterKey: encoded, masterKeyVersion: version };

/** How to read an object whose master key version is not known. */
export interface SseCTrialOptions {
  readonly masterKeys: readonly VersionedMasterKey[];
  readonly bucket: string;
  readonly key: string;
  readonly salt?: Uint8Array | undefined;
}

/** What the options must be. */
const TRIAL_OPTIONS: Checks<SseCTrialOptions> = {
  masterKeys: needed((name, value) => {
    if (!Array.isArray(value)) throw wrong(name, "an array of keys with their versions", value);
    if (value.length === 0) throw new RangeError(`"${name}" expected at least one key, got none`);
    return value.map((each: VersionedMasterKey) => checkOptions(name, each, VERSIONED_KEY));
  }),
  bucket: encoded,
  key: encoded,
  salt: bytes,
};

/**
 * Calls `request` with the key of each master key, newest version first, until S3 accepts one. Even the metadata of an
 * SSE-C object cannot be read without its key, so the version can only be tried, or kept in a tag. The key is wiped when
 * the promise of `request` settles.
 * @throws FramesealError NO_DATA_KEY if S3 accepts none; `cause` has each answer. Other failures as they are.
 */
export async function withSseCKey<Answer>(
  options: SseCTrialOptions,
  request: (sseCKey: SseCKey, masterKeyVersion: number) => Promise<Answer>,
): Promise<Answer> {
  const { masterKeys, bucket, key, salt } = checkOptions("options", options, TRIAL_OPTIONS);
  callback("request", request);
  const newestFirst = [...masterKeys].sort((a, b) => b.masterKeyVersion - a.masterKeyVersion);
  const causes: unknown[] = [];
  for (const { masterKey, masterKeyVersion } of newestFirst) {
    const sseCKey = deriveSseCKey({ masterKey, masterKeyVersion, bucket, key, salt });
    try {
      return await request(sseCKey, masterKeyVersion);
    } catch (error) {
      if (!mayBeWrongKey(error)) throw error;
      causes.push(explainSseCFailure(error));
    } finally {
      wipe(sseCKey.SSECustomerKey);
    }
  }
  throw new FramesealError("NO_DATA_KEY", `S3 accepts none of ${causes.length} SSE-C keys for this object`, {
    cause: allCauses(causes),
  });
}

/** Tag that names the master key version of an object. Tags can be read without the key; they are not authenticated. */
const SSE_C_VERSION_TAG = "frameseal-sse-c-version";

/** `Tagging` of PutObject and CreateMultipartUpload that names the master key version. */
export function sseCVersionTagging(masterKeyVersion: number): string {
  version("masterKeyVersion", masterKeyVersion);
  return `${SSE_C_VERSION_TAG}=${masterKeyVersion}`;
}

/** The master key version in `TagSet` of GetObjectTagging; undefined if there is none. */
export function sseCVersionFromTags(
  tags: readonly { readonly Key?: string | undefined; readonly Value?: string | undefined }[] | undefined,
): number | undefined {
  if (tags !== undefined && !Array.isArray(tags)) throw wrong("tags", "an array of tags", tags);
  const value = tags?.find((tag) => tag?.Key === SSE_C_VERSION_TAG)?.Value;
  if (value === undefined || !/^(0|[1-9][0-9]{0,9})$/.test(value)) return undefined;
  const version = Number(value);
  return version < 2 ** 32 ? version : undefined;
}

/**
 * Explains what S3's 403 to an SSE-C request can mean; other errors are returned as they are. Since April 2026 it also
 * means that SSE-C is blocked: it is for new buckets, and for all buckets of accounts that did not use it.
 */
export function explainSseCFailure(error: unknown): unknown {
  if (statusOf(error) !== 403) return error;
  return new FramesealError(
    "POLICY",
    "S3 refused the SSE-C request (403): the key is wrong, the caller has no permission, or the bucket blocks SSE-C, " +
      "as new ones do since April 2026. To allow it: aws s3api put-bucket-encryption --bucket NAME " +
      "--server-side-encryption-configuration " +
      `'{"Rules":[{"ApplyServerSideEncryptionByDefault":{"SSEAlgorithm":"AES256"},` +
      `"BlockedEncryptionTypes":{"EncryptionType":["NONE"]}}]}'`,
    { cause: error },
  );
}

// S3 answers 403 to a wrong key, or 400 when the fields do not fit the object; to HeadObject without a body.
function mayBeWrongKey(error: unknown): boolean {
  const status = statusOf(error);
  return status === 400 || status === 403;
}

function encodeInfo({ bucket, key, masterKeyVersion }: SseCKeyOptions): Uint8Array {
  const bucketBytes = encodeName("bucket", bucket, MAX_BUCKET_LENGTH);
  // Its object would have another key under the name of its bucket.
  if (!isBucketName(bucket))
    throw new RangeError(
      '"bucket" expected the name of a bucket, got an ARN, a URL or the alias of an access point',
    );
  const keyBytes = encodeName("key", key, MAX_OBJECT_KEY_LENGTH);
  return new ByteWriter()
    .bytes(Buffer.from(DOMAIN, "utf8"))
    .uint16(bucketBytes.length)
    .bytes(bucketBytes)
    .uint16(keyBytes.length)
    .bytes(keyBytes)
    .uint32(masterKeyVersion)
    .finish();
}

function encodeName(name: string, value: string, maxLength: number): Buffer {
  if (typeof value !== "string") throw new TypeError(`"${name}" expected a string, got ${typeof value}`);
  const bytes = Buffer.from(value, "utf8");
  // A lone surrogate becomes U+FFFD, and two names would share a key.
  if (bytes.toString("utf8") !== value) throw new TypeError(`"${name}" expected well-formed Unicode`);
  if (bytes.length < 1 || bytes.length > maxLength)
    throw new RangeError(`"${name}" expected 1 to ${maxLength} bytes, got ${bytes.length}`);
  return bytes;
}

// A copy, which the caller wipes.
function masterKeyBytes(masterKey: Uint8Array | KeyObject): Uint8Array {
  let source: Uint8Array;
  if (isKeyObject(masterKey)) {
    if (masterKey.type !== "secret")
      throw new TypeError(`"masterKey" expected a secret key, got a ${masterKey.type} one`);
    source = masterKey.export();
  } else {
    if (!isBytes(masterKey))
      throw new TypeError(`"masterKey" expected a Uint8Array or a KeyObject, got ${typeof masterKey}`);
    source = masterKey;
  }
  if (source.length !== KEY_LENGTH)
    throw new RangeError(`"masterKey" expected ${KEY_LENGTH} bytes, got ${source.length}`);
  const bytes = copySecret(source);
  if (source !== masterKey) wipe(source);
  if (isAllZeros(bytes)) throw new RangeError('"masterKey" expected a secret key, got all zeros');
  return bytes;
}

// Requests are logged: the key must not be in there, wherever it is spread to.
function hidden(bytes: Uint8Array): SseCKeyBytes {
  const text = `<${bytes.length} bytes>`;
  Object.defineProperty(bytes, inspect.custom, { value: () => text });
  Object.defineProperty(bytes, "toJSON", { value: () => text });
  return bytes as SseCKeyBytes;
}
