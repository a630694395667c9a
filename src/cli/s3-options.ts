// What the commands for S3 objects share: addresses, clients, server-side encryption.
import type { S3Client } from "@aws-sdk/client-s3";
import type { Command } from "commander";
import type { FormatName, FormatOptions } from "../s3/formats.ts";
import type { KeyBinding } from "../s3/object-format.ts";
import type { ServerSideEncryption } from "../s3/server-side/server-side.ts";
import type { AuthenticationMode } from "../s3/single-message/body.ts";
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
  readonly format?: string;
  readonly instructionFile?: boolean;
  readonly instructionFileSuffix?: string;
  readonly bufferSize?: number;
  readonly enableLegacyWrappingAlgorithms?: boolean;
  readonly enableLegacyUnauthenticatedModes?: boolean;
  readonly connectTimeout?: number;
  readonly readTimeout?: number;
  readonly sse?: string;
  readonly sseKmsKey?: string;
  readonly sseCKey?: string;
  readonly partSize?: number;
  readonly concurrency?: number;
  readonly memory?: number;
  readonly expectedSize?: number;
  readonly spoolFolder?: string;
}

/** Adds what reading and writing of objects have in common. */
export function addObjectOptions(command: Command): Command {
  return command
    .option("--bind <key|bucket|prefix|none>", "what of its name the object is bound to (default: key)")
    .option("--sse-c-key <file>", "key of SSE-C: a file of 32 bytes")
    .option("--connect-timeout <seconds>", "wait so long for a connection (default: 10)", parseCount)
    .option("--read-timeout <seconds>", "wait so long for a byte of the service (default: 60)", parseCount);
}

/** Adds what reading the envelopes of the S3 Encryption Clients takes. */
export function addEnvelopeOptions(command: Command): Command {
  return command
    .option("--instruction-file-suffix <text>", "what names an instruction file (default: .instruction)")
    .option(
      "--enable-legacy-wrapping-algorithms",
      "read data keys as old S3 Encryption Clients wrapped them",
    );
}

/** Adds what reading objects of the S3 Encryption Clients takes. */
export function addLegacyOptions(command: Command): Command {
  return addEnvelopeOptions(command)
    .option("--buffer-size <bytes>", "plaintext held until it is verified (default: 64M)", parseSize)
    .option(
      "--enable-legacy-unauthenticated-modes",
      "read what nothing authenticates: AES/CBC, their ranges",
    );
}

/** Adds what only uploads take. */
export function addUploadOptions(command: Command): Command {
  return command
    .option("--format <framed|s3ec-v3|s3ec-v2>", "what is written; reading recognises it (default: framed)")
    .option("--instruction-file", "put the envelope of an s3ec object next to it, not in its metadata")
    .option("--sse <s3|kms|c>", "server-side encryption to ask for in addition")
    .option("--sse-kms-key <id>", "KMS key of --sse kms (default: the AWS managed key)")
    .option("--part-size <bytes>", "plaintext bytes of an upload part (default: 8M)", parseSize)
    .option("--concurrency <count>", "parts on their way at a time (default: 4)", parseCount)
    .option("--memory <bytes>", "what parts may take; longer ones wait on disk (default: 64M)", parseSize)
    .option(
      "--expected-size <bytes>",
      "about how long a pipe will be, so that no part waits on disk",
      parseSize,
    )
    .option("--spool-folder <folder>", "where parts wait as ciphertext (default: that of the system)");
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

/** In seconds. */
const DEFAULT_CONNECT_TIMEOUT = 10;
const DEFAULT_READ_TIMEOUT = 60;

/** Seconds as timers take them: at most 24 days. */
function milliseconds(seconds: number): number {
  return Math.min(seconds * 1000, 2 ** 31 - 1);
}

/** An S3 client as the AWS command line would configure it. Only the commands for S3 need the package. */
export async function createS3Client(
  options: KeyOptions & Pick<ObjectOptions, "connectTimeout" | "readTimeout">,
): Promise<S3Client> {
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
    requestHandler: {
      connectionTimeout: milliseconds(options.connectTimeout ?? DEFAULT_CONNECT_TIMEOUT),
      socketTimeout: milliseconds(options.readTimeout ?? DEFAULT_READ_TIMEOUT),
    },
    followRegionRedirects: true,
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
  authentication?: AuthenticationMode,
): Promise<S3Client> {
  const { decryptOptionsFrom, encryptOptionsFrom } = await import("./options.ts");
  const { encryptS3Client } = await import("../s3/encrypt-s3-client.ts");
  const { selectEngine } = await import("../engine/select-engine.ts");
  const { keepFreedMemory } = await import("../engine/native/freed-memory.ts");
  const message = await (purpose === "encrypt" ? encryptOptionsFrom(options) : decryptOptionsFrom(options));
  const { keyring, encryptionContext, commitmentPolicy, engine, maxEncryptedDataKeys } = message;
  if (selectEngine(engine).name === "native") keepFreedMemory(); // this process does nothing else
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
    ...objectFormatFrom(options),
    authentication,
    partSize: options.partSize,
    uploadConcurrency: options.concurrency,
    memory: options.memory,
    expectedSize: options.expectedSize,
    spoolFolder: options.spoolFolder,
    serverSideEncryption,
    readTimeout: milliseconds(options.readTimeout ?? DEFAULT_READ_TIMEOUT),
    unsignedPayload: isPlain ? "never" : "https-only",
  });
}

/** How objects are stored, and what of old ones is read. The library checks the names. */
export function objectFormatFrom(options: ObjectOptions): Omit<FormatOptions, "keyring"> {
  const { format, instructionFile } = options;
  const isSingle = format !== undefined && format !== "framed";
  for (const [name, value] of Object.entries({ "frame-length": options.frameLength, suite: options.suite }))
    if (isSingle && value !== undefined)
      throw new UsageError(`--${name} does not go with --format ${hideKeys(format)}`);
  if (!isSingle && instructionFile === true)
    throw new UsageError("--instruction-file goes with --format s3ec-v3");
  return {
    format: format as FormatName | undefined,
    bind: options.bind as KeyBinding | undefined,
    instructionFiles: instructionFile === true ? "write" : undefined,
    instructionFileSuffix: options.instructionFileSuffix,
    bufferSize: options.bufferSize,
    enableLegacyWrappingAlgorithms: options.enableLegacyWrappingAlgorithms,
    enableLegacyUnauthenticatedModes: options.enableLegacyUnauthenticatedModes,
  };
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
  const { sseC, sseKms, sseS3 } = await import("../s3/server-side/server-side.ts");
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
