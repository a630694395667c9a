// Options that several commands share, and what they mean: keys -> keyring, text -> numbers, pairs and suites.
import type { Command } from "commander";
import type { Engine } from "../engine/engine.ts";
import { COMMITMENT_POLICIES, type CommitmentPolicy } from "../format/suite.ts";
import type { Keyring } from "../keyring/keyring.ts";
import type { RsaPadding } from "../keyring/raw-rsa-keyring.ts";
import type { DecryptOptions } from "../message/open-message.ts";
import type { EncryptOptions } from "../message/seal-message.ts";
import { isErrorNamed } from "../shapes.ts";
import type { AwsOptions } from "./aws-client.ts";
import { CommandFailure, UsageError } from "./failure.ts";
import { interruptSignal } from "./interrupt.ts";
import { isKey, ofFile, shown } from "./names.ts";
import { note } from "./output.ts";
import {
  collect,
  oneOf,
  parseAccount,
  parseCount,
  parseEngine,
  parsePairs,
  parseSize,
  parseSuite,
  parseUrl,
  typed,
} from "./values.ts";

/** What `addKeyOptions` adds. */
export interface KeyOptions extends AwsOptions {
  readonly key?: readonly string[];
  readonly keyNamespace?: string;
  readonly keyName?: string;
  readonly rsaPadding?: string;
  readonly materialDescription?: readonly string[];
  readonly kms?: readonly string[];
  readonly kmsDiscovery?: string;
  readonly kmsEndpoint?: string;
}

/** Adds the options that name keys. Key bytes are never taken from the command line. */
export function addKeyOptions(command: Command): Command {
  return command
    .optionsGroup("Keys:")
    .option("-k, --key <file>", "key file made by keygen: JWK or RSA PEM (repeatable)", collect)
    .option("--key-namespace <name>", "key namespace of the --key files (default: frameseal)")
    .option("--key-name <name>", "key name of the one --key file (default: its kid, or a hash)")
    .option(
      "--rsa-padding <name>",
      "OAEP-SHA-256 (default), -SHA-1, -SHA-384, -SHA-512 or PKCS1",
      oneOf("OAEP-SHA-256", "OAEP-SHA-1", "OAEP-SHA-384", "OAEP-SHA-512", "PKCS1"),
    )
    .option("--kms <arn>", "AWS KMS key (repeatable)", collect)
    .option(
      "--kms-endpoint <url>",
      "address of AWS KMS (default: AWS_ENDPOINT_URL_KMS, --endpoint)",
      parseUrl,
    );
}

/** The same for commands that decrypt, where AWS KMS may choose the key. */
export function addReadingKeyOptions(command: Command): Command {
  return addDiscoveryOption(addKeyOptions(command));
}

/** Adds what it takes for that. */
export function addDiscoveryOption(command: Command): Command {
  return command.option(
    "--kms-discovery <account[:partition]>",
    "decrypt with any KMS key of this account",
    parseAccount,
  );
}

/** What `addContextOption`, `addReadOptions` and `addWriteOptions` add. */
export interface MessageOptions {
  readonly context?: readonly string[];
  readonly requiredContext?: readonly string[];
  readonly suite?: number;
  readonly frameLength?: number;
  readonly commitmentPolicy?: string;
  readonly engine?: string;
  readonly maxPlaintext?: number;
  readonly maxFrameLength?: number;
  readonly maxEncryptedDataKeys?: number;
}

/** Adds what encrypting and decrypting have in common. */
export function addMessageOptions(command: Command): Command {
  return addHeaderOptions(command).option(
    "--max-plaintext <bytes>",
    "refuse more plaintext than this",
    parseSize,
  );
}

/** Adds what says how headers are written and read. */
export function addHeaderOptions(command: Command): Command {
  return command
    .optionsGroup("Message:")
    .option("-c, --context <key=value>", "pair of the encryption context (repeatable)", collect)
    .option(
      "--commitment-policy <name>",
      "REQUIRE_ENCRYPT_REQUIRE_DECRYPT (default) or another policy",
      oneOf(...COMMITMENT_POLICIES),
    )
    .option("--engine <name>", "native, node, or native:KERNEL (default: the fastest here)", parseEngine)
    .option("--max-frame-length <bytes>", "allow frames up to this length (default: 64M)", parseSize)
    .option("--max-encrypted-data-keys <count>", "allow so many wrapped keys (default: 16)", parseCount);
}

/** Adds what only encrypting takes. */
export function addWriteOptions(command: Command): Command {
  return command
    .optionsGroup("Message:")
    .option(
      "--frame-length <bytes>",
      "plaintext bytes of a frame, such as 4K or 1M (default: 64K)",
      parseSize,
    )
    .option("--suite <id>", "algorithm suite, such as 0x0578: signed (default: 0x0478)", parseSuite)
    .option("--required-context <key>", "authenticate this pair without storing it (repeatable)", collect);
}

/** Adds what writing a file takes. */
export function addFileOptions(command: Command): Command {
  return command
    .option("-o, --output <file>", "write to this file (default, or -: standard output)")
    .option("-f, --force", "replace the output file if it exists")
    .option("--no-sync", "do not wait until the file is on disk");
}

/** Adds what every long-running command takes. */
export function addReportOptions(command: Command): Command {
  return command
    .option("--progress", "show progress even when stderr is no terminal")
    .option("--no-progress", "show no progress")
    .option("--json", "print a summary as JSON");
}

/**
 * Refuses a key where a name belongs.
 * @param option as it is typed, such as `--key`
 * @param wanted what it takes
 */
export function refuseKey(option: string, given: string, wanted = "the name of a file"): void {
  if (isKey(given))
    throw new UsageError(
      `${option} takes ${wanted}, and this looks like a key; every user of this machine can read a command line, so keep keys in files`,
    );
}

/** Options of the library for encrypting. */
export async function encryptOptionsFrom(options: KeyOptions & MessageOptions): Promise<EncryptOptions> {
  refuseIdleKeyOptions(options);
  const common = commonOptionsFrom(options);
  const encryptionContext = parsePairs("context", options.context);
  for (const key of options.requiredContext ?? [])
    if (!Object.hasOwn(encryptionContext, key))
      throw new UsageError(`--required-context ${shown(key)} names no key of --context`);
  return {
    ...common,
    encryptionContext,
    requiredEncryptionContextKeys: options.requiredContext,
    suite: options.suite,
    frameLength: options.frameLength,
    keyring: await keyringFrom(options, "encrypt"),
  };
}

/** Options of the library for decrypting. */
export async function decryptOptionsFrom(options: KeyOptions & MessageOptions): Promise<DecryptOptions> {
  refuseIdleKeyOptions(options);
  const common = commonOptionsFrom(options);
  const encryptionContext = parsePairs("context", options.context);
  return { ...common, encryptionContext, keyring: await keyringFrom(options, "decrypt") };
}

interface CommonOptions {
  readonly commitmentPolicy: CommitmentPolicy | undefined;
  readonly engine: string | Engine | undefined;
  readonly plaintextLength: number | undefined;
  readonly maxFrameLength: number | undefined;
  readonly maxEncryptedDataKeys: number | undefined;
  readonly signal: AbortSignal;
}

function commonOptionsFrom(options: MessageOptions): CommonOptions {
  return {
    commitmentPolicy: options.commitmentPolicy as CommitmentPolicy | undefined, // the library checks it
    engine: options.engine,
    plaintextLength: options.maxPlaintext,
    maxFrameLength: options.maxFrameLength,
    maxEncryptedDataKeys: options.maxEncryptedDataKeys,
    signal: interruptSignal,
  };
}

/** How errors call the options that name keys. */
interface KeyOptionNames {
  readonly key: string;
  readonly kms: string;
}

/**
 * The keyring that `--key` and `--kms` describe. When encrypting, every key wraps the data key; when decrypting, the
 * first that can unwraps it.
 * @throws UsageError if there is none
 */
export async function keyringFrom(
  options: KeyOptions,
  purpose: "encrypt" | "decrypt",
  names: KeyOptionNames = { key: "--key", kms: "--kms" },
): Promise<Keyring> {
  const [files, ids] = [options.key ?? [], options.kms ?? []];
  if (options.keyName !== undefined && files.length !== 1)
    throw new UsageError("--key-name needs exactly one --key: several keys have a name each");
  for (const file of files) refuseKey(names.key, file);
  for (const id of ids) refuseKey(names.kms, id, "the ARN of a key");
  const keyrings: Keyring[] = await kmsKeyrings(options, purpose);
  for (const file of files) keyrings.push(await keyringFromFile(file, options));
  const [first] = keyrings;
  if (first === undefined)
    throw new UsageError(
      purpose === "encrypt"
        ? "no key: give --key FILE (frameseal keygen makes one) or --kms ARN"
        : "no key: give --key FILE, --kms ARN or --kms-discovery ACCOUNT",
    );
  if (keyrings.length === 1) return first;
  const { MultiKeyring } = await import("../keyring/multi-keyring.ts");
  return purpose === "encrypt"
    ? new MultiKeyring({ generator: first, children: keyrings.slice(1) })
    : new MultiKeyring({ children: keyrings });
}

/** Options that say something of key files, or of AWS KMS, and nothing without them. */
const ofKeyFiles = ["keyNamespace", "rsaPadding", "materialDescription"] as const;

/** @throws UsageError for options that would change nothing, since no key is of their kind */
export function refuseIdleKeyOptions(options: KeyOptions): void {
  const hasFile = options.key !== undefined;
  const hasKms = options.kms !== undefined || options.kmsDiscovery !== undefined;
  for (const name of ofKeyFiles)
    if (!hasFile && options[name] !== undefined)
      throw new UsageError(`${typed(name)} is about key files, and none is given`);
  if (!hasKms && options.kmsEndpoint !== undefined)
    throw new UsageError("--kms-endpoint is about AWS KMS, and no key is of it");
}

/** @throws UsageError for options that say where AWS is, where only AWS KMS could be asked and is not */
export function refuseIdleAwsOptions(options: KeyOptions): void {
  if (options.kms !== undefined || options.kmsDiscovery !== undefined) return;
  for (const name of ["endpoint", "region", "profile", "connectTimeout", "readTimeout"] as const)
    if (options[name] !== undefined)
      throw new UsageError(
        `${typed(name)} goes with --kms, or with s3://bucket/key where a command takes that`,
      );
}

async function kmsKeyrings(options: KeyOptions, purpose: "encrypt" | "decrypt"): Promise<Keyring[]> {
  const ids = options.kms ?? [];
  if (ids.length === 0 && options.kmsDiscovery === undefined) return [];
  const { kmsClients, keyServiceTimeoutOf } = await import("./aws-client.ts");
  const clientOf = await kmsClients(options);
  const { KmsKeyring } = await import("../keyring/kms-keyring.ts");
  const timeoutMs = keyServiceTimeoutOf(options);
  const keyrings: Keyring[] = [];
  const [first, ...others] = ids;
  if (first !== undefined) {
    const isArn = ids.every((id) => id.startsWith("arn:"));
    const client = isArn ? clientOf : clientOf(undefined);
    // To read, one entry that KMS opens is enough, and an alias cannot name it.
    const named = purpose === "encrypt" ? { generatorKeyId: first, keyIds: others } : { keyIds: ids };
    keyrings.push(new KmsKeyring({ client, ...named, multiRegionKeys: "related", timeoutMs }));
  }
  if (options.kmsDiscovery !== undefined) {
    const [account = "", partition = "aws"] = options.kmsDiscovery.split(":");
    const discovery = { partition, accountIds: [account], region: options.region };
    keyrings.push(new KmsKeyring({ client: clientOf, discovery, timeoutMs }));
  }
  return keyrings;
}

/** The keyring of one key file. */
async function keyringFromFile(
  file: string,
  options: Pick<KeyOptions, "keyNamespace" | "keyName" | "rsaPadding" | "materialDescription">,
): Promise<Keyring> {
  const { keyringFromKeyFile } = await import("../keyring/key-file.ts");
  return ofKeyFile(
    file,
    keyringFromKeyFile(file, {
      keyNamespace: options.keyNamespace,
      keyName: options.keyName,
      padding: options.rsaPadding as RsaPadding | undefined, // one of its words
      materialDescription: parsePairs("material-description", options.materialDescription),
      onWarning: note,
      signal: interruptSignal,
    }),
  );
}

/** Names the key file in what `work` finds wrong in it. */
export async function ofKeyFile<Result>(file: string, work: Promise<Result>): Promise<Result> {
  try {
    return await ofFile(file, work);
  } catch (error) {
    if (isErrorNamed(error, "TypeError", "RangeError")) throw contentError(error, file);
    throw error;
  }
}

// What is wrong in the file is no mistake in the command line.
function contentError(error: Error, file: string): Error {
  const match = /^"keyFile" (expected .*) in /s.exec(error.message);
  return match?.[1] === undefined ? error : new CommandFailure(`key file ${shown(file)}: ${match[1]}`);
}
