// What commands have in common that give stored objects other keys: --from and --to, and how objects are read as they are.
import type { Command } from "commander";
import type { CommitmentPolicy } from "../format/suite.ts";
import type { Keyring } from "../keyring/keyring.ts";
import type { RewrapOptions } from "../s3/rewrap.ts";
import { readTimeoutOf } from "./aws-client.ts";
import { UsageError } from "./failure.ts";
import { type KeyOptions, keyringFrom, refuseIdleKeyOptions } from "./options.ts";
import { type ObjectOptions, objectFormatFrom } from "./s3-options.ts";
import { collect, oneOf, parsePairs, parseUrl } from "./values.ts";

/** What `addRotationOptions` adds, and what says how objects are read. */
export interface RotationOptions extends ObjectOptions {
  readonly from?: readonly string[];
  readonly to?: string;
  readonly json?: boolean;
}

/** Adds the keys. @param ofNone what stands for --to, as the help says it */
export function addRotationOptions(command: Command, ofNone = ""): Command {
  return command
    .option("--from <key>", "key that opens it now: key file or ARN of AWS KMS (repeatable)", collect)
    .option("--to <key>", `key that shall open it: key file or ARN of AWS KMS${ofNone}`);
}

/** Adds what says how the keys are used. */
export function addRotationKeyOptions(command: Command): Command {
  return command
    .option("--key-namespace <name>", "key namespace of key files (default: frameseal)")
    .option(
      "--rsa-padding <name>",
      "of framed objects: OAEP-SHA-256, OAEP-SHA-1, OAEP-SHA-384 or OAEP-SHA-512",
      oneOf("OAEP-SHA-256", "OAEP-SHA-1", "OAEP-SHA-384", "OAEP-SHA-512"),
    )
    .option("--kms-endpoint <url>", "address of AWS KMS, if it is another one than --endpoint", parseUrl);
}

/**
 * The old key and the new one.
 * @param needsTo whether there must be one; else it is the old one
 */
export async function rotationKeyrings(
  options: RotationOptions,
  needsTo: boolean,
): Promise<{ readonly from: Keyring; readonly to: Keyring | undefined }> {
  const { from = [], to } = options;
  if (from.length === 0) throw new UsageError("no key that opens it now: give --from KEY");
  if (needsTo && to === undefined) throw new UsageError("no key that shall open it: give --to KEY");
  refuseIdleKeyOptions({ ...options, ...namesOf(to === undefined ? from : [...from, to]) });
  const reading = { ...options, materialDescription: [] };
  return {
    from: await keyringOf("--from", from, reading, "decrypt"),
    to: to === undefined ? undefined : await keyringOf("--to", [to], options, "encrypt"),
  };
}

/** How objects are read as they are. */
export function oldObjectsFrom(options: RotationOptions): Omit<RewrapOptions, "from" | "to"> {
  const { bind, instructionFileSuffix, enableLegacyWrappingAlgorithms } = objectFormatFrom(options);
  return {
    bind,
    instructionFileSuffix,
    enableLegacyWrappingAlgorithms,
    encryptionContext: parsePairs("context", options.context),
    commitmentPolicy: options.commitmentPolicy as CommitmentPolicy | undefined, // the library checks it
    engine: options.engine,
    maxEncryptedDataKeys: options.maxEncryptedDataKeys,
    maxFrameLength: options.maxFrameLength,
    readTimeout: readTimeoutOf(options),
  };
}

// Key files and ARNs, as the options of the other commands name them.
function namesOf(keys: readonly string[]): Pick<KeyOptions, "key" | "kms"> {
  const isArn = (key: string): boolean => key.startsWith("arn:");
  const [files, arns] = [keys.filter((key) => !isArn(key)), keys.filter(isArn)];
  return { ...(files.length > 0 && { key: files }), ...(arns.length > 0 && { kms: arns }) };
}

function keyringOf(
  option: string,
  keys: readonly string[],
  options: ObjectOptions,
  purpose: "encrypt" | "decrypt",
): Promise<Keyring> {
  return keyringFrom({ ...options, ...namesOf(keys) }, purpose, { key: option, kms: option });
}
