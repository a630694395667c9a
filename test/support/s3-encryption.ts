// Server-side encryption as S3 demands it: headers of requests, keys of KMS, the default of a bucket.
import { createHash } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { type Answer, elementText, escapeXml, S3Error, xml } from "./s3-error.ts";

const PREFIX = "x-amz-server-side-encryption";
export const SSE = PREFIX;
export const SSE_KEY_ID = `${PREFIX}-aws-kms-key-id`;
const SSE_CONTEXT = `${PREFIX}-context`;
const SSE_BUCKET_KEY = `${PREFIX}-bucket-key-enabled`;
export const CUSTOMER = `${PREFIX}-customer-algorithm`;
const CUSTOMER_KEY = `${PREFIX}-customer-key`;
const CUSTOMER_MD5 = `${PREFIX}-customer-key-md5`;

/** How an object is encrypted at rest. */
export interface AtRest {
  readonly algorithm: "AES256" | "aws:kms" | "aws:kms:dsse" | "SSE-C";
  readonly kmsKeyId?: string | undefined;
  readonly context?: string | undefined;
  readonly bucketKey?: boolean | undefined;
  readonly customerKeyMd5?: string | undefined;
}

/** The encryption configuration of a bucket. New buckets block SSE-C, as those of S3 do since April 2026. */
export interface BucketEncryption {
  readonly algorithm: "AES256" | "aws:kms" | "aws:kms:dsse";
  readonly kmsKeyId: string | undefined;
  readonly bucketKey: boolean;
  readonly blocksCustomerKeys: boolean;
}
export const NEW_BUCKET_ENCRYPTION: BucketEncryption = {
  algorithm: "AES256",
  kmsKeyId: undefined,
  bucketKey: false,
  blocksCustomerKeys: true,
};

/** The keys that S3 can use, by id or ARN. */
export type KmsKeys = ReadonlyMap<string, "enabled" | "disabled">;
/** The managed key that S3 takes when none is named. */
export const MANAGED_KEY = "arn:aws:kms:us-east-1:000000000000:key/managed-by-s3";

/** What the headers of a request that makes an object ask for; undefined when they ask for nothing. */
export function askedFor(headers: IncomingHttpHeaders, secure: boolean): AtRest | undefined {
  const algorithm = headers[SSE];
  const customerKeyMd5 = customerKeyOf(headers, secure);
  if (algorithm !== undefined && customerKeyMd5 !== undefined)
    throw new S3Error(
      400,
      "InvalidArgument",
      "Server Side Encryption with Customer provided key is incompatible",
    );
  const isKms = algorithm === "aws:kms" || algorithm === "aws:kms:dsse";
  for (const name of [SSE_KEY_ID, SSE_CONTEXT])
    if (headers[name] !== undefined && !isKms) throw new S3Error(400, "InvalidArgument", name);
  if (customerKeyMd5 !== undefined) return { algorithm: "SSE-C", customerKeyMd5 };
  if (algorithm === undefined) return undefined;
  if (algorithm !== "AES256" && !isKms) throw new S3Error(400, "InvalidArgument", SSE);
  const context = headers[SSE_CONTEXT];
  if (context !== undefined) checkContext(String(context));
  return {
    algorithm,
    kmsKeyId: isKms ? String(headers[SSE_KEY_ID] ?? MANAGED_KEY) : undefined,
    context: context === undefined ? undefined : String(context),
    bucketKey: headers[SSE_BUCKET_KEY] === "true",
  };
}

/** How an object of the bucket is stored. @throws S3Error AccessDenied for SSE-C where it is blocked */
export function storedAs(asked: AtRest | undefined, bucket: BucketEncryption, keys: KmsKeys): AtRest {
  if (asked?.algorithm === "SSE-C" && bucket.blocksCustomerKeys)
    throw new S3Error(403, "AccessDenied", "SSE-C is blocked by the encryption configuration of the bucket");
  const { algorithm, kmsKeyId, bucketKey } = bucket;
  const atRest = asked ?? {
    algorithm,
    kmsKeyId: algorithm === "AES256" ? undefined : (kmsKeyId ?? MANAGED_KEY),
    bucketKey,
  };
  checkKmsKey(atRest, keys);
  return atRest;
}

/** @throws S3Error when KMS would not let S3 use the key */
export function checkKmsKey({ kmsKeyId }: AtRest, keys: KmsKeys): void {
  if (kmsKeyId === undefined || kmsKeyId === MANAGED_KEY) return;
  const state = keys.get(kmsKeyId);
  if (state === undefined) throw new S3Error(400, "KMS.NotFoundException");
  if (state === "disabled") throw new S3Error(400, "KMS.DisabledException");
}

/**
 * Checks that a request which reads an object, or adds to an upload, has its customer key.
 * @param prefix `x-amz-copy-source-` for the source of a copy
 */
export function checkCustomerKey(
  atRest: AtRest,
  headers: IncomingHttpHeaders,
  secure: boolean,
  prefix = "",
): void {
  const given = customerKeyOf(headers, secure, prefix);
  if (atRest.customerKeyMd5 !== undefined && given === undefined)
    throw new S3Error(400, "InvalidRequest", "The object was stored using a form of Server Side Encryption");
  if (atRest.customerKeyMd5 === undefined && given !== undefined)
    throw new S3Error(400, "InvalidRequest", "The encryption parameters are not applicable to this object");
  if (atRest.customerKeyMd5 !== given) throw new S3Error(403, "AccessDenied");
}

/** @throws S3Error when a request that reads names an encryption */
export function refuseAskingToRead(headers: IncomingHttpHeaders): void {
  if (headers[SSE] !== undefined) throw new S3Error(400, "InvalidArgument", `${SSE} is not for reading`);
}

function customerKeyOf(headers: IncomingHttpHeaders, secure: boolean, prefix = ""): string | undefined {
  const named = (name: string) => headers[prefix === "" ? name : `${prefix}${name.slice("x-amz-".length)}`];
  const [algorithm, key, md5] = [named(CUSTOMER), named(CUSTOMER_KEY), named(CUSTOMER_MD5)];
  if (algorithm === undefined && key === undefined && md5 === undefined) return undefined;
  if (!secure) throw new S3Error(400, "InvalidRequest", "SSE-C must be used over a secure connection");
  const bytes = Buffer.from(String(key), "base64");
  const isRight = createHash("md5").update(bytes).digest("base64") === md5;
  if (algorithm !== "AES256" || bytes.length !== 32 || !isRight)
    throw new S3Error(400, "InvalidArgument", "SSE-C key");
  return String(md5);
}

function checkContext(text: string): void {
  try {
    const value: unknown = JSON.parse(Buffer.from(text, "base64").toString("utf8"));
    if (typeof value !== "object" || value === null) throw new Error("no object");
    if (!Object.values(value).every((each) => typeof each === "string")) throw new Error("no strings");
  } catch {
    throw new S3Error(400, "InvalidArgument", SSE_CONTEXT);
  }
}

/** Headers of an answer that tell how an object is encrypted. */
export function toldHeaders(atRest: AtRest): Record<string, string> {
  if (atRest.customerKeyMd5 !== undefined)
    return { [CUSTOMER]: "AES256", [CUSTOMER_MD5]: atRest.customerKeyMd5 };
  return {
    [SSE]: atRest.algorithm,
    ...(atRest.kmsKeyId === undefined ? {} : { [SSE_KEY_ID]: atRest.kmsKeyId }),
    ...(atRest.bucketKey === true ? { [SSE_BUCKET_KEY]: "true" } : {}),
  };
}

/** Answers GetBucketEncryption. */
export function describeEncryption(bucket: BucketEncryption): Answer {
  const { algorithm, kmsKeyId, bucketKey, blocksCustomerKeys } = bucket;
  const keyId = kmsKeyId === undefined ? "" : `<KMSMasterKeyID>${escapeXml(kmsKeyId)}</KMSMasterKeyID>`;
  return xml(
    "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>" +
      `<SSEAlgorithm>${algorithm}</SSEAlgorithm>${keyId}</ApplyServerSideEncryptionByDefault>` +
      `<BucketKeyEnabled>${bucketKey}</BucketKeyEnabled><BlockedEncryptionTypes><EncryptionType>` +
      `${blocksCustomerKeys ? "SSE-C" : "NONE"}</EncryptionType></BlockedEncryptionTypes></Rule>` +
      "</ServerSideEncryptionConfiguration>",
  );
}

/** Parses PutBucketEncryption. @throws S3Error MalformedXML */
export function parseEncryption(text: string): BucketEncryption {
  const algorithm = elementText(text, "SSEAlgorithm");
  const kmsKeyId = elementText(text, "KMSMasterKeyID");
  const blocked = elementText(text, "EncryptionType");
  if (algorithm !== "AES256" && algorithm !== "aws:kms" && algorithm !== "aws:kms:dsse")
    throw new S3Error(400, "MalformedXML");
  if (algorithm === "AES256" && kmsKeyId !== undefined) throw new S3Error(400, "InvalidArgument");
  if (blocked !== undefined && blocked !== "SSE-C" && blocked !== "NONE")
    throw new S3Error(400, "MalformedXML");
  return {
    algorithm,
    kmsKeyId,
    bucketKey: elementText(text, "BucketKeyEnabled") === "true",
    blocksCustomerKeys: blocked !== "NONE",
  };
}
