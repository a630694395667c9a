// What the commands for S3 objects share: addresses, clients, server-side encryption.
import type { S3Client } from "@aws-sdk/client-s3";
import type { Command, Option } from "commander";
import type { DecryptOptions } from "../message/open-message.ts";
import type { EncryptOptions } from "../message/seal-message.ts";
import type { EncryptS3ClientOptions } from "../s3/encrypt-s3-client.ts";
import type { FormatName, FormatOptions } from "../s3/formats.ts";
import type { KeyBinding } from "../s3/object-format.ts";
import type { ServerSideEncryption } from "../s3/server-side/server-side.ts";
import type { AuthenticationMode } from "../s3/single-message/body.ts";
import { createS3Client, readTimeoutOf } from "./aws-client.ts";
import { CommandFailure, UsageError } from "./failure.ts";
import { ofFile, shown } from "./names.ts";
import { accessFields, fieldsFrom } from "./object-fields.ts";
import { type KeyOptions, type MessageOptions, refuseKey } from "./options.ts";
import { collect, oneOf, parseCount, parseSize, typed } from "./values.ts";

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
  readonly addressing?: string;
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
  return ofObjects(command, () =>
    command
      .optionsGroup("Objects:")
      .option(
        "--bind <key|bucket|prefix|none>",
        "what of its name the object is bound to (default: key)",
        oneOf("key", "bucket", "prefix", "none"),
      )
      .option("--sse-c-key <file>", "key of SSE-C: a file of 32 bytes")
      .option(
        "--addressing <path|virtual>",
        "where buckets are named (default: path at an endpoint)",
        oneOf("path", "virtual"),
      ),
  );
}

/** Adds what reading the envelopes of the S3 Encryption Clients takes. */
export function addEnvelopeOptions(command: Command): Command {
  return ofObjects(command, () =>
    command
      .option("--instruction-file-suffix <text>", "what names an instruction file (default: .instruction)")
      .option(
        "--enable-legacy-wrapping-algorithms",
        "read data keys as old S3 Encryption Clients wrapped them",
      ),
  );
}

/** Adds what reading objects of the S3 Encryption Clients takes. */
export function addLegacyOptions(command: Command): Command {
  return ofObjects(command, () =>
    addEnvelopeOptions(command).option(
      "--enable-legacy-unauthenticated-modes",
      "read what nothing authenticates: AES/CBC, their ranges",
    ),
  );
}

/** Adds what those take of them that hand the plaintext to others. */
export function addBufferOption(command: Command): Command {
  return command.option(
    "--buffer-size <bytes>",
    "plaintext held until it is verified (default: 64M)",
    parseSize,
  );
}

const objectOptions = new WeakSet<Option>();

/** Remembers that the options which `add` adds mean nothing to a file. */
export function ofObjects(command: Command, add: () => Command): Command {
  const before = command.options.length;
  add();
  for (const option of command.options.slice(before)) objectOptions.add(option);
  return command;
}

/** @throws UsageError when a command that works on a file was given an option of objects */
export function refuseObjectOptions(command: Command): void {
  for (const option of command.options)
    if (objectOptions.has(option) && command.getOptionValueSource(option.attributeName()) === "cli")
      throw new UsageError(`${option.long} goes with s3://bucket/key`);
}

/** Adds what only uploads take. */
export function addUploadOptions(command: Command): Command {
  return addStoringOptions(command)
    .option("--concurrency <count>", "parts on their way at a time (default: 4)", parseCount)
    .option(
      "--memory <bytes>",
      "for parts; longer ones wait on disk (default: 64M; with -r for all, 256M)",
      parseSize,
    )
    .option("--expected-size <bytes>", "about how long a pipe will be, to choose parts by", parseSize);
}

/** Those of them that uploads of trees take too. */
export function addStoringOptions(command: Command): Command {
  return command
    .option(
      "--format <framed|s3ec-v3|s3ec-v2>",
      "what is written (default: framed)",
      oneOf("framed", "s3ec-v3", "s3ec-v2"),
    )
    .option(
      "--material-description <name=value>",
      "tells raw keys of s3ec objects apart (repeatable)",
      collect,
    )
    .option("--instruction-file", "envelope of an s3ec object next to it, not in its metadata")
    .option("--instruction-file-suffix <text>", "what names it (default: .instruction)")
    .option("--sse <s3|kms|c>", "server-side encryption to ask for in addition", oneOf("s3", "kms", "c"))
    .option("--sse-kms-key <id>", "KMS key of --sse kms (default: the AWS managed key)")
    .option("--part-size <bytes>", "plaintext bytes of an upload part (default: 8M)", parseSize)
    .option("--spool-folder <folder>", "where parts wait as ciphertext (default: the system's)");
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
  // The ARN of an access point holds a slash of its own.
  const match = /^s3:\/\/(arn:[^/]+:accesspoint\/[^/]+|[^/]+)(?:\/(.*))?$/s.exec(text);
  if (match?.[1] === undefined) throw new UsageError(`${shown(text)} is no address such as s3://bucket/key`);
  const key = match[2] ?? "";
  const Key = key === "" || key.endsWith("/") ? key + (fallback ?? "") : key;
  if (Key === "" || (fallback === undefined && Key.endsWith("/")))
    throw new UsageError(`${shown(text)} names no object: give s3://bucket/key`);
  return { Bucket: match[1], Key };
}

/** A client that speaks as the options say: where, who pays, and, if asked for, server-side encryption. */
export async function createObjectClient(options: ObjectOptions): Promise<S3Client> {
  return withServerSide(await createBareClient(options), options);
}

/** A client that speaks as the options say, but for server-side encryption. */
export async function createBareClient(options: ObjectOptions): Promise<S3Client> {
  const client = await createS3Client(options);
  addAccess(client, accessFields(fieldsFrom(options)));
  return client;
}

/** A client that shares everything with `client`, and asks for the server-side encryption of the options. */
export async function withServerSide(client: S3Client, options: ObjectOptions): Promise<S3Client> {
  const serverSide = await serverSideFrom(options);
  if (serverSide === undefined) return client;
  const { serverSideEncryptS3Client } = await import("../s3/server-side/server-side.ts");
  return serverSideEncryptS3Client(client, serverSide);
}

// Every request of an operation says so, and not only the first.
function addAccess(client: S3Client, fields: object): void {
  client.middlewareStack.add((next) => (args) => next({ ...args, input: { ...args.input, ...fields } }), {
    step: "initialize",
    name: "framesealAccess",
  });
}

/** A client that seals what it stores or opens what it fetches. */
export async function createEncryptingClient(
  options: ObjectOptions,
  purpose: "encrypt" | "decrypt",
  authentication?: AuthenticationMode,
): Promise<S3Client> {
  const settings = await encryptionSettingsFrom(options, purpose);
  const { encryptS3Client } = await import("../s3/encrypt-s3-client.ts");
  const client = await createBareClient(options);
  const unsignedPayload = await unsignedPayloadFor(client);
  return encryptS3Client(client, { ...settings, authentication, unsignedPayload });
}

/** How a client shall encrypt. @throws UsageError for options that contradict each other */
export async function encryptionSettingsFrom(
  options: ObjectOptions,
  purpose: "encrypt" | "decrypt",
): Promise<EncryptS3ClientOptions> {
  const { decryptOptionsFrom, encryptOptionsFrom } = await import("./options.ts");
  const { selectEngine } = await import("../engine/select-engine.ts");
  const { keepFreedMemory } = await import("../engine/native/freed-memory.ts");
  const format = await (purpose === "encrypt" ? writtenFormatFrom(options) : objectFormatFrom(options));
  const message: EncryptOptions | DecryptOptions = await (purpose === "encrypt"
    ? encryptOptionsFrom(options)
    : decryptOptionsFrom(options));
  // Those that speak of one message, and not of all that a client stores.
  const { plaintextLength: _, signal: __, concurrency: ___, ...settings } = message;
  if (selectEngine(message.engine).name === "native") keepFreedMemory(); // this process does nothing else
  return {
    ...settings,
    ...format,
    partSize: options.partSize,
    uploadConcurrency: options.concurrency,
    memory: options.memory,
    expectedSize: options.expectedSize,
    spoolFolder: options.spoolFolder,
    serverSideEncryption: await serverSideFrom(options),
    readTimeout: readTimeoutOf(options),
  };
}

/** The SDK's SHA-256 of payloads is slower than the encryption, and TLS protects them as well. */
export async function unsignedPayloadFor(client: S3Client): Promise<"never" | "https-only"> {
  const isPlain = (await client.config.endpoint?.())?.protocol === "http:";
  return isPlain ? "never" : "https-only";
}

/** How objects are stored, and what of old ones is read. The library checks the names. */
export function objectFormatFrom(options: ObjectOptions): Omit<FormatOptions, "keyring"> {
  return {
    format: options.format as FormatName | undefined,
    bind: options.bind as KeyBinding | undefined,
    instructionFiles: options.instructionFile === true ? "write" : undefined,
    instructionFileSuffix: options.instructionFileSuffix,
    bufferSize: options.bufferSize,
    enableLegacyWrappingAlgorithms: options.enableLegacyWrappingAlgorithms,
    enableLegacyUnauthenticatedModes: options.enableLegacyUnauthenticatedModes,
  };
}

/** Options of `put` that only one kind of format can honour. */
const onlyFramed = [
  "suite",
  "frameLength",
  "requiredContext",
  "maxFrameLength",
  "maxEncryptedDataKeys",
] as const;
const onlySingle = ["instructionFile", "instructionFileSuffix", "materialDescription"] as const;

/** The same for writing, where an option that the format cannot honour is a mistake. */
async function writtenFormatFrom(options: ObjectOptions): Promise<Omit<FormatOptions, "keyring">> {
  const { format = "framed", suite } = options;
  const isFramed = format === "framed";
  for (const name of isFramed ? onlySingle : onlyFramed)
    if (options[name] !== undefined)
      throw new UsageError(`${typed(name)} does not go with --format ${shown(format)}`);
  if (!isFramed && (options.key ?? []).length + (options.kms ?? []).length > 1)
    throw new UsageError("an s3ec object holds one wrapped key: give one --key or --kms");
  if (options.instructionFileSuffix !== undefined && options.instructionFile !== true)
    throw new UsageError("--instruction-file-suffix goes with --instruction-file");
  const { suiteById } = await import("../format/suite.ts");
  if (suite !== undefined && suiteById(suite).signature !== "none")
    throw new UsageError("objects are sealed in parts, so none has a signature: give an unsigned --suite");
  return objectFormatFrom(options);
}

/** What `--sse` and its companions ask for. */
async function serverSideFrom(options: ObjectOptions): Promise<ServerSideEncryption | undefined> {
  const { sse, sseKmsKey, sseCKey } = options;
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
  refuseKey("--sse-c-key", file);
  const { readFile } = await import("node:fs/promises");
  const key = await ofFile(file, readFile(file));
  if (key.length !== 32)
    throw new CommandFailure(`key file ${shown(file)}: expected 32 bytes, got ${key.length}`);
  return key;
}
