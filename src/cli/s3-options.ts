// What the commands for S3 objects share: addresses, clients, server-side encryption.
import type { S3Client } from "@aws-sdk/client-s3";
import type { Command } from "commander";
import type { KeyBinding } from "../s3/key-binding.ts";
import type { ServerSideEncryption } from "../s3/server-side.ts";
import { CommandFailure, codeOf, UsageError } from "./failure.ts";
import { type KeyOptions, type MessageOptions, parseCount, parseSize } from "./options.ts";
import { hideKeys, looksLikeKey } from "./output.ts";

/** An object, as `s3://bucket/key` names it. */
export interface ObjectAddress {
  readonly Bucket: string;
  readonly Key: string;
}

/** What `addObjectOptions` and `addUploadOptions` add. */
export interface ObjectOptions extends KeyOptions, MessageOptions {
  readonly bind?: string;
  readonly sse?: string;
  readonly sseKmsKey?: string;
  readonly sseCKey?: string;
  readonly partSize?: number;
  readonly concurrency?: number;
}

/** Adds what reading and writing of objects have in common. */
export function addObjectOptions(command: Command): Command {
  return command
    .option("--bind <key|prefix|none>", "what of its name the object is bound to (default: key)")
    .option("--sse-c-key <file>", "key of SSE-C: a file of 32 bytes");
}

/** Adds what only uploads take. */
export function addUploadOptions(command: Command): Command {
  return command
    .option("--sse <s3|kms|c>", "server-side encryption to ask for in addition")
    .option("--sse-kms-key <id>", "KMS key of --sse kms (default: the AWS managed key)")
    .option("--part-size <bytes>", "plaintext bytes of an upload part (default: 8M)", parseSize)
    .option("--concurrency <count>", "parts on their way at a time (default: 4)", parseCount);
}

/** True for `s3://…`. */
export function isObjectAddress(text: string | undefined): text is string {
  return text?.startsWith("s3://") === true;
}

/**
 * Parses `s3://bucket/key`.
 * @param fallback what stands for a missing key, or is added to one that ends in a slash
 * @throws UsageError
 */
export function parseObjectAddress(text: string, fallback?: string): ObjectAddress {
  const match = /^s3:\/\/([^/]+)(?:\/(.*))?$/s.exec(text);
  if (match?.[1] === undefined)
    throw new UsageError(`${hideKeys(text)} is no address such as s3://bucket/key`);
  const key = match[2] ?? "";
  const Key = key === "" || key.endsWith("/") ? key + (fallback ?? "") : key;
  if (Key === "" || (fallback === undefined && Key.endsWith("/")))
    throw new UsageError(`${hideKeys(text)} names no object: give s3://bucket/key`);
  return { Bucket: match[1], Key };
}

/** An S3 client as the AWS command line would configure it. Only the commands for S3 need the package. */
export async function createS3Client(options: KeyOptions): Promise<S3Client> {
  let sdk: typeof import("@aws-sdk/client-s3");
  try {
    sdk = await import("@aws-sdk/client-s3");
  } catch (cause) {
    if (codeOf(cause) !== "ERR_MODULE_NOT_FOUND") throw cause;
    throw new CommandFailure(
      "objects in S3 need the package @aws-sdk/client-s3: npm install @aws-sdk/client-s3",
    );
  }
  const { endpoint, region, profile } = options;
  return new sdk.S3Client({
    // Servers of one's own rarely have a name for each bucket.
    ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
    ...(region === undefined ? {} : { region }),
    ...(profile === undefined ? {} : { profile }),
  });
}

/** A client that seals what it stores or opens what it fetches. */
export async function createEncryptingClient(
  options: ObjectOptions,
  purpose: "encrypt" | "decrypt",
): Promise<S3Client> {
  const { decryptOptionsFrom, encryptOptionsFrom } = await import("./options.ts");
  const { encryptS3Client } = await import("../s3/encrypt-s3-client.ts");
  const message = await (purpose === "encrypt" ? encryptOptionsFrom(options) : decryptOptionsFrom(options));
  const { keyring, encryptionContext, commitmentPolicy, engine, maxEncryptedDataKeys } = message;
  const serverSideEncryption = await serverSideFrom(options);
  const client = await createS3Client(options);
  // The SDK's SHA-256 of payloads is slower than the encryption, and TLS protects them as well.
  const isPlain = (await client.config.endpoint?.())?.protocol === "http:";
  return encryptS3Client(client, {
    keyring,
    encryptionContext,
    commitmentPolicy,
    engine,
    maxEncryptedDataKeys,
    suite: options.suite,
    frameLength: options.frameLength,
    maxFrameLength: options.maxFrameLength,
    bind: options.bind as KeyBinding | undefined, // the library checks it
    partSize: options.partSize,
    uploadConcurrency: options.concurrency,
    serverSideEncryption,
    unsignedPayload: isPlain ? "never" : "https-only",
  });
}

/** What `--sse` and its companions ask for. */
export async function serverSideFrom(options: ObjectOptions): Promise<ServerSideEncryption | undefined> {
  const { sse, sseKmsKey, sseCKey } = options;
  if (sse !== undefined && !["s3", "kms", "c"].includes(sse))
    throw new UsageError(`--sse is s3, kms or c, not ${hideKeys(sse)}`);
  if (sseKmsKey !== undefined && sse !== "kms") throw new UsageError("--sse-kms-key goes with --sse kms");
  if (sse === "c" && sseCKey === undefined) throw new UsageError("--sse c needs --sse-c-key FILE");
  if (sseCKey !== undefined && (sse === "s3" || sse === "kms"))
    throw new UsageError(`--sse-c-key does not go with --sse ${sse}`);
  const { sseC, sseKms, sseS3 } = await import("../s3/server-side.ts");
  if (sseCKey !== undefined) return sseC(await readCustomerKey(sseCKey));
  if (sse === "kms") return sseKms({ keyId: sseKmsKey });
  return sse === "s3" ? sseS3() : undefined;
}

async function readCustomerKey(file: string): Promise<Uint8Array> {
  if (looksLikeKey(file))
    throw new UsageError("--sse-c-key takes the name of a file; a key on the command line could be read");
  const { readFile } = await import("node:fs/promises");
  const key = await readFile(file);
  if (key.length !== 32)
    throw new CommandFailure(`key file ${hideKeys(file)}: expected 32 bytes, got ${key.length}`);
  return key;
}
