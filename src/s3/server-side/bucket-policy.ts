// Bucket policies that demand encryption: made from a few choices, and told in words. A policy decides about requests
// by their headers; it cannot see whether a body was encrypted on the client's side.

import { type Checks, checkOptions, needed, oneOf, text, wrong } from "../../check-options.ts";
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
    if (typeof value !== "string" || !/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(value))
      throw wrong(name, "the name of a bucket", value);
    return value;
  }),
  require: needed(oneOf("SSE-S3", "SSE-KMS", "SSE-C", "any", "none")),
  kmsKeyId: text,
  customerKeys: oneOf("allow", "forbid"),
  plainHttp: oneOf("allow", "deny"),
  partition: text,
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

/** What a policy says about encryption. */
export interface PolicyExplanation {
  /** One sentence a statement, in order. */
  readonly sentences: readonly string[];
  /** True if no upload without a server-side encryption header or SSE-C key is let through. */
  readonly demandsEncryption: boolean;
  readonly demandsTls: boolean;
  /** Demands that cannot be met together, and gaps. */
  readonly warnings: readonly string[];
}

/**
 * Tells in words what a policy says about encryption. Statements that are not understood are named as such.
 * @param policy the policy or its JSON
 * @throws TypeError when it is no policy
 */
export function explainPolicy(policy: BucketPolicy | string): PolicyExplanation {
  const statements = parsePolicy(policy);
  const sentences: string[] = [];
  const warnings: string[] = [];
  let withoutHeader = false;
  let demandsCustomerKey = false;
  let forbidsCustomerKey = false;
  let demandsTls = false;
  for (const [index, statement] of statements.entries()) {
    const name = statement.Sid ?? `statement ${index + 1}`;
    const rule = readDenial(statement);
    sentences.push(`${name}: ${rule?.sentence ?? describeOther(statement)}`);
    if (rule === undefined || !coversUploads(statement)) continue;
    withoutHeader ||= rule.demands === "header";
    demandsCustomerKey ||= rule.demands === "customer-key";
    forbidsCustomerKey ||= rule.demands === "no-customer-key";
    demandsTls ||= rule.demands === "tls";
    if (rule.demands !== "tls" && !coversAllObjects(statement))
      warnings.push(`${name} does not cover all objects of the bucket`);
  }
  if (demandsCustomerKey && forbidsCustomerKey)
    warnings.push("SSE-C is both demanded and forbidden: no upload is let in");
  if (demandsCustomerKey && withoutHeader)
    warnings.push("SSE-C and another server-side encryption are both demanded: no upload can name both");
  if (!demandsTls) warnings.push("plain http is not denied");
  return { sentences, warnings, demandsEncryption: withoutHeader || demandsCustomerKey, demandsTls };
}

type Demand = "header" | "value" | "key" | "customer-key" | "no-customer-key" | "tls";

// What a denial with one known condition demands.
function readDenial(statement: PolicyStatement): { sentence: string; demands: Demand } | undefined {
  if (statement.Effect !== "Deny" || !forEveryone(statement.Principal)) return undefined;
  const operators = Object.entries(statement.Condition ?? {});
  const [operator, test] = operators[0] ?? [];
  const pairs = Object.entries(test ?? {});
  const [name, value] = pairs[0] ?? [];
  if (operators.length !== 1 || pairs.length !== 1 || name === undefined || value === undefined)
    return undefined;
  const values = (Array.isArray(value) ? value : [value]).map(String);
  const key = name.toLowerCase();
  const isTrue = values.length === 1 && values[0] === "true";
  const isFalse = values.length === 1 && values[0] === "false";
  const listed = values.join(" or ");
  if (operator === "Bool" && key === SECURE.toLowerCase() && isFalse)
    return { sentence: "denies requests over plain http", demands: "tls" };
  if (operator === "Null" && key === SSE && isTrue)
    return { sentence: "denies uploads that do not name a server-side encryption", demands: "header" };
  if (operator === "Null" && key === KMS_KEY.toLowerCase() && isTrue)
    return { sentence: "denies uploads that do not name a KMS key", demands: "key" };
  if (operator === "Null" && key === CUSTOMER && isTrue)
    return { sentence: "denies uploads without a customer key (SSE-C)", demands: "customer-key" };
  if (operator === "Null" && key === CUSTOMER && isFalse)
    return { sentence: "denies uploads with a customer key (SSE-C)", demands: "no-customer-key" };
  if (operator === "StringNotEquals" && key === SSE)
    return { sentence: `denies uploads whose server-side encryption is not ${listed}`, demands: "header" };
  if (operator === "StringNotEqualsIfExists" && key === SSE)
    return {
      sentence: `denies uploads that name another server-side encryption than ${listed}`,
      demands: "value",
    };
  if (/^(String|Arn)NotEquals(IfExists)?$/.test(operator ?? "") && key === KMS_KEY)
    return { sentence: `denies uploads with another KMS key than ${listed}`, demands: "key" };
  return undefined;
}

function forEveryone(principal: unknown): boolean {
  if (principal === "*") return true;
  const aws = (principal as { AWS?: unknown } | null | undefined)?.AWS;
  return aws === "*" || (Array.isArray(aws) && aws.includes("*"));
}

function asList(value: string | readonly string[]): readonly string[] {
  return typeof value === "string" ? [value] : value;
}

function coversUploads({ Action }: PolicyStatement): boolean {
  return asList(Action).some((action) =>
    ["*", "s3:*", "s3:put*", "s3:putobject*", "s3:putobject"].includes(action.toLowerCase()),
  );
}

function coversAllObjects({ Resource }: PolicyStatement): boolean {
  return asList(Resource).some((resource) => resource === "*" || /^arn:[^:]*:s3:::[^/]+\/\*$/.test(resource));
}

function describeOther(statement: PolicyStatement): string {
  const actions = asList(statement.Action).join(", ");
  const conditions = Object.entries(statement.Condition ?? {}).map(
    ([operator, test]) => `${operator} ${Object.keys(test).join(", ")}`,
  );
  const when = conditions.length === 0 ? "" : ` when ${conditions.join(" and ")}`;
  const who = forEveryone(statement.Principal) ? "" : " for some principals";
  return `${statement.Effect === "Deny" ? "denies" : "allows"} ${actions}${who}${when} (nothing is concluded from it)`;
}

function parsePolicy(policy: BucketPolicy | string): readonly PolicyStatement[] {
  let value: unknown = policy;
  if (typeof policy === "string") {
    try {
      value = JSON.parse(policy);
    } catch {
      throw new TypeError('"policy" expected JSON');
    }
  }
  const { Statement } = (value ?? {}) as { Statement?: unknown };
  const list = Array.isArray(Statement) ? Statement : [Statement];
  const valid = list.every((entry: Partial<PolicyStatement> | null | undefined) => {
    if (typeof entry !== "object" || entry === null) return false;
    return (
      isText(entry.Action) && isText(entry.Resource) && (entry.Effect === "Allow" || entry.Effect === "Deny")
    );
  });
  if (!valid) throw new TypeError('"policy" expected a bucket policy with statements');
  return list as readonly PolicyStatement[];
}

function isText(value: unknown): boolean {
  return (
    typeof value === "string" || (Array.isArray(value) && value.every((entry) => typeof entry === "string"))
  );
}
