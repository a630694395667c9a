// The default encryption of a bucket: what S3 does with uploads that do not say how they are to be encrypted.

import { type Checks, checkOptions, needed, oneOf, text, wrong } from "../../check-options.ts";
import { isErrorNamed } from "../../shapes.ts";
import { checkClient } from "../derived-client.ts";
import { loadCommands, type S3ClientLike } from "../transport.ts";
import { checkServerSide, type SseKms, type SseS3 } from "./server-side.ts";

/** Default encryption as a bucket has it. */
export interface DefaultEncryption {
  readonly mode: "SSE-S3" | "SSE-KMS" | "DSSE-KMS" | "none";
  readonly kmsKeyId: string | undefined;
  readonly bucketKey: "enabled" | "disabled";
  /** `blocked` is the default of buckets made since April 2026; undefined when the server does not tell. */
  readonly customerKeys: "blocked" | "allowed" | undefined;
}

/** What `setDefaultEncryption` takes. */
export interface DefaultEncryptionOptions {
  readonly encryption: SseS3 | SseKms;
  /** `allow` lets uploads use SSE-C, `block` denies it; left out, the server's default holds. */
  readonly customerKeys?: "allow" | "block" | undefined;
}

/** What the options must be. */
const DEFAULT_ENCRYPTION_OPTIONS: Checks<DefaultEncryptionOptions> = {
  encryption: needed((name, value) => {
    const encryption = checkServerSide(name, value);
    if (encryption.mode === "SSE-C") throw wrong(name, "SSE-S3 or SSE-KMS: a bucket has no key", value);
    return encryption;
  }),
  customerKeys: oneOf("allow", "block"),
};

/** Reads the default encryption of a bucket. */
export async function getDefaultEncryption(client: S3ClientLike, bucket: string): Promise<DefaultEncryption> {
  checkClient(client);
  text("bucket", bucket);
  const { GetBucketEncryptionCommand } = await loadCommands(client);
  const none = { mode: "none", kmsKeyId: undefined, bucketKey: "disabled", customerKeys: undefined } as const;
  let output: { ServerSideEncryptionConfiguration?: { Rules?: readonly Rule[] | undefined } | undefined };
  try {
    output = await sendTo(client, new GetBucketEncryptionCommand({ Bucket: bucket }));
  } catch (error) {
    if (isErrorNamed(error, "ServerSideEncryptionConfigurationNotFoundError")) return none;
    throw error;
  }
  const rule = output.ServerSideEncryptionConfiguration?.Rules?.[0];
  const byDefault = rule?.ApplyServerSideEncryptionByDefault;
  const blocked = rule?.BlockedEncryptionTypes?.EncryptionType;
  return {
    mode: MODES[byDefault?.SSEAlgorithm ?? ""] ?? "none",
    kmsKeyId: byDefault?.KMSMasterKeyID,
    bucketKey: rule?.BucketKeyEnabled === true ? "enabled" : "disabled",
    customerKeys: blocked === undefined ? undefined : blocked.includes("SSE-C") ? "blocked" : "allowed",
  };
}

/** Sets the default encryption of a bucket. */
export async function setDefaultEncryption(
  client: S3ClientLike,
  bucket: string,
  options: DefaultEncryptionOptions,
): Promise<void> {
  checkClient(client);
  text("bucket", bucket);
  const { encryption, customerKeys } = checkOptions("options", options, DEFAULT_ENCRYPTION_OPTIONS);
  const { PutBucketEncryptionCommand } = await loadCommands(client);
  const kms = encryption.mode === "SSE-S3" ? undefined : encryption;
  const algorithm = kms === undefined ? "AES256" : kms.mode === "DSSE-KMS" ? "aws:kms:dsse" : "aws:kms";
  const rule: Rule = {
    ApplyServerSideEncryptionByDefault: {
      SSEAlgorithm: algorithm,
      ...(kms?.keyId === undefined ? {} : { KMSMasterKeyID: kms.keyId }),
    },
    ...(kms?.bucketKey === undefined ? {} : { BucketKeyEnabled: kms.bucketKey === "enabled" }),
    ...(customerKeys === undefined
      ? {}
      : { BlockedEncryptionTypes: { EncryptionType: [customerKeys === "block" ? "SSE-C" : "NONE"] } }),
  };
  const input = { Bucket: bucket, ServerSideEncryptionConfiguration: { Rules: [rule] } };
  await sendTo(client, new PutBucketEncryptionCommand(input as never));
}

const MODES: Readonly<Record<string, DefaultEncryption["mode"]>> = {
  AES256: "SSE-S3",
  "aws:kms": "SSE-KMS",
  "aws:kms:dsse": "DSSE-KMS",
};

interface Rule {
  readonly ApplyServerSideEncryptionByDefault?:
    | { readonly SSEAlgorithm?: string | undefined; readonly KMSMasterKeyID?: string | undefined }
    | undefined;
  readonly BucketKeyEnabled?: boolean | undefined;
  readonly BlockedEncryptionTypes?: { readonly EncryptionType?: readonly string[] | undefined } | undefined;
}

function sendTo<Output>(client: S3ClientLike, command: unknown): Promise<Output> {
  return (client as unknown as { send(command: unknown): Promise<Output> }).send(command);
}
