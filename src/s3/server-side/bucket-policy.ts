// Bucket policies that demand encryption, made from a few choices. A policy decides about requests by their headers; it
// cannot see whether a body was encrypted on the client's side.

import { type Checks, checkOptions, needed, oneOf, wrong } from "../../check-options.ts";
import { parseKmsArn } from "../../keyring/kms-arn.ts";
import { isBucketName, isDirectoryBucket } from "../bucket-name.ts";
import { serverSideNames } from "../object-metadata.ts";

/** What uploads must ask for. */
export type RequiredEncryption = "SSE-S3" | "SSE-KMS" | "SSE-C" | "any" | "none";

/** What `requireEncryptionPolicy` takes. */
export interface EncryptionPolicyOptions {
  readonly bucket: string;
  /**
   * Encryption that every upload must name in its headers; `any` stands for SSE-S3 or SSE-KMS or DSSE-KMS, `none`
   * leaves that to the default of the bucket.
   */
  readonly require: RequiredEncryption;
  /** With SSE-KMS: the only key that may be used, as ARN. */
  readonly kmsKeyId?: string | undefined;
  /** `forbid` denies uploads with SSE-C. */
  readonly customerKeys?: "allow" | "forbid" | undefined;
  /** `allow` lets requests come over plain http; by default they are denied. */
  readonly plainHttp?: "allow" | "deny" | undefined;
  /** `aws`, or `aws-cn`, `aws-us-gov`. */
  readonly partition?: string | undefined;
}

/** What the options must be. */
const POLICY_OPTIONS: Checks<EncryptionPolicyOptions> = {
  bucket: needed((name, value) => {
    const isName = typeof value === "string" && /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(value);
    // Access points have policies of their own, and directory buckets decide about sessions.
    if (!isName || !isBucketName(value) || isDirectoryBucket(value))
      throw wrong(name, "that of a general purpose bucket", value);
    return value;
  }),
  require: needed(oneOf("SSE-S3", "SSE-KMS", "SSE-C", "any", "none")),
  kmsKeyId: (name, value) => {
    const id = typeof value === "string" ? value : "";
    // S3 compares with the ARN that a request is resolved to; other servers have names of their own, but no aliases.
    const isName = /^[\w.-]{1,200}$/.test(id);
    if (!isName && parseKmsArn(id)?.kind !== "key") throw wrong(name, "the ARN of a KMS key", value);
    return value;
  },
  customerKeys: oneOf("allow", "forbid"),
  plainHttp: oneOf("allow", "deny"),
  partition: (name, value) => {
    if (typeof value !== "string" || !/^aws(-[a-z]{1,20}){0,3}$/.test(value))
      throw wrong(name, "aws, aws-cn, aws-us-gov or the like", value);
    return value;
  },
};

/** One statement of a policy. */
export interface PolicyStatement {
  readonly Sid?: string;
  readonly Effect: "Allow" | "Deny";
  readonly Principal?: unknown;
  readonly Action: string | readonly string[];
  readonly Resource: string | readonly string[];
  readonly Condition?: Readonly<
    Record<string, Readonly<Record<string, string | boolean | readonly string[]>>>
  >;
}

/** A bucket policy. */
export interface BucketPolicy {
  readonly Version: string;
  readonly Id?: string;
  readonly Statement: readonly PolicyStatement[];
}

const SSE = `s3:${serverSideNames.encryption}`;
const KMS_KEY = `s3:${serverSideNames.kmsKeyId}`;
const CUSTOMER = `s3:${serverSideNames.customerAlgorithm}`;
const SECURE = "aws:SecureTransport";

const VALUES: Readonly<Record<string, readonly string[]>> = {
  "SSE-S3": ["AES256"],
  "SSE-KMS": ["aws:kms", "aws:kms:dsse"],
  any: ["AES256", "aws:kms", "aws:kms:dsse"],
};

/**
 * Builds a policy of denials: what they do not deny still needs a permission elsewhere. Apply it with PutBucketPolicy.
 * @throws TypeError, RangeError for options that contradict each other
 */
export function requireEncryptionPolicy(options: EncryptionPolicyOptions): BucketPolicy {
  const {
    bucket,
    require,
    kmsKeyId,
    customerKeys = "allow",
    plainHttp = "deny",
    partition = "aws",
  } = checkOptions("options", options, POLICY_OPTIONS);
  if (kmsKeyId !== undefined && require !== "SSE-KMS")
    throw new TypeError(`"kmsKeyId" expected undefined unless "require" is SSE-KMS, got ${kmsKeyId}`);
  if (customerKeys === "forbid" && require === "SSE-C")
    throw new TypeError('"customerKeys" expected allow when "require" is SSE-C, got forbid');
  const whole = `arn:${partition}:s3:::${bucket}`;
  const objects = `${whole}/*`;
  const deny = (Sid: string, Condition: PolicyStatement["Condition"] & object): PolicyStatement => ({
    Sid,
    Effect: "Deny",
    Principal: "*",
    Action: "s3:PutObject",
    Resource: objects,
    Condition,
  });
  const statements: PolicyStatement[] = [];
  if (plainHttp === "deny")
    statements.push({
      Sid: "DenyPlainHttp",
      Effect: "Deny",
      Principal: "*",
      Action: "s3:*",
      Resource: [whole, objects],
      Condition: { Bool: { [SECURE]: "false" } },
    });
  const values = VALUES[require];
  if (values !== undefined) {
    statements.push(deny("DenyUploadsWithoutEncryptionHeader", { Null: { [SSE]: "true" } }));
    statements.push(deny("DenyUploadsWithOtherEncryption", { StringNotEquals: { [SSE]: values } }));
  }
  if (kmsKeyId !== undefined) {
    statements.push(deny("DenyUploadsWithoutKmsKey", { Null: { [KMS_KEY]: "true" } }));
    statements.push(deny("DenyUploadsWithOtherKmsKey", { StringNotEquals: { [KMS_KEY]: kmsKeyId } }));
  }
  if (require === "SSE-C")
    statements.push(deny("DenyUploadsWithoutCustomerKey", { Null: { [CUSTOMER]: "true" } }));
  if (customerKeys === "forbid") statements.push(deny("DenyCustomerKeys", { Null: { [CUSTOMER]: "false" } }));
  if (statements.length === 0)
    throw new TypeError('"require" expected something to demand: the policy would be empty');
  return { Version: "2012-10-17", Statement: statements };
}
