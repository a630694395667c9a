// frameseal rewrap: a stored object under another master key.
import type { Command } from "commander";
import type { CommitmentPolicy } from "../format/suite.ts";
import type { Keyring } from "../keyring/keyring.ts";
import { addAwsOptions, readTimeoutOf } from "./aws-client.ts";
import { UsageError } from "./failure.ts";
import { interruptSignal } from "./interrupt.ts";
import { addFieldOptions } from "./object-fields.ts";
import { addHeaderOptions, type KeyOptions, keyringFrom, refuseIdleKeyOptions } from "./options.ts";
import { print, printJson } from "./output.ts";
import {
  addEnvelopeOptions,
  addObjectOptions,
  createObjectClient,
  isObjectAddress,
  type ObjectOptions,
  objectFormatFrom,
  parseObjectAddress,
} from "./s3-options.ts";
import { collect, oneOf, parsePairs, parseUrl } from "./values.ts";

interface RewrapCommandOptions extends ObjectOptions {
  readonly from: readonly string[];
  readonly to: string;
  readonly newContext?: readonly string[];
  readonly newInstructionFileSuffix?: string;
  readonly enforceRotation?: boolean;
  readonly versionId?: string;
  readonly json?: boolean;
}

/** Adds the command. */
export function register(program: Command): void {
  const command = program
    .command("rewrap")
    .description("put an object of S3 under another master key")
    .argument("<object>", "s3://bucket/key")
    .requiredOption("--from <key>", "key that opens it now: key file or ARN of AWS KMS (repeatable)", collect)
    .requiredOption("--to <key>", "key that shall open it: key file or ARN of AWS KMS")
    .option("--enforce-rotation", "fail if the old key would still open the result")
    .option(
      "--new-context <key=value>",
      "context from now on (repeatable; default: what the object has; for s3ec --context)",
      collect,
    )
    .option("--material-description <name=value>", "of --to, for s3ec objects (repeatable)", collect)
    .option("--new-instruction-file-suffix <text>", "write another instruction file next to the old one")
    .option("--version-id <id>", "version of the object (default: the current one)")
    .option("--key-namespace <name>", "key namespace of key files (default: frameseal)")
    .option(
      "--rsa-padding <name>",
      "of framed objects: OAEP-SHA-256, OAEP-SHA-1, OAEP-SHA-384 or OAEP-SHA-512",
      oneOf("OAEP-SHA-256", "OAEP-SHA-1", "OAEP-SHA-384", "OAEP-SHA-512"),
    )
    .option("--kms-endpoint <url>", "address of AWS KMS, if it is another one than --endpoint", parseUrl)
    .option("--json", "print what was done as JSON");
  for (const add of [addObjectOptions, addEnvelopeOptions, addHeaderOptions, addAwsOptions]) add(command);
  addFieldOptions(command, "rewrap");
  command.addHelpText(
    "after",
    `
Of an s3ec object only the wrapped key is replaced; its body stays in S3 (that of s3ec-v2 is read
once, to prove the key). A framed object is fetched, encrypted again and stored. Nothing changes if
the object is replaced meanwhile.
Metadata, tags, storage class and locks stay; what could not be kept is printed.

Example:
  frameseal rewrap --from 2025.key --to 2026.key --enforce-rotation s3://shared/report.pdf`,
  );
  command.action(rewrap);
}

async function rewrap(text: string, options: RewrapCommandOptions): Promise<void> {
  if (!isObjectAddress(text)) throw new UsageError("give s3://bucket/key");
  const { Bucket, Key } = parseObjectAddress(text);
  const { rewrapObject } = await import("../s3/rewrap.ts");
  refuseIdleKeyOptions({ ...options, ...namesOf([...options.from, options.to]) });
  const from = await keyringOf("--from", options.from, { ...options, materialDescription: [] }, "decrypt");
  const to = await keyringOf("--to", [options.to], options, "encrypt");
  const client = await createObjectClient(options);
  try {
    const { bind, instructionFileSuffix, enableLegacyWrappingAlgorithms } = objectFormatFrom(options);
    const result = await rewrapObject(
      client,
      { bucket: Bucket, key: Key },
      {
        bind,
        instructionFileSuffix,
        enableLegacyWrappingAlgorithms,
        encryptionContext: parsePairs("context", options.context),
        commitmentPolicy: options.commitmentPolicy as CommitmentPolicy | undefined, // the library checks it
        engine: options.engine,
        maxEncryptedDataKeys: options.maxEncryptedDataKeys,
        maxFrameLength: options.maxFrameLength,
        readTimeout: readTimeoutOf(options),
        from,
        to,
        ...(options.newContext === undefined
          ? {}
          : { newEncryptionContext: parsePairs("new-context", options.newContext) }),
        newInstructionFileSuffix: options.newInstructionFileSuffix,
        enforceRotation: options.enforceRotation,
        versionId: options.versionId,
        signal: interruptSignal,
      },
    );
    if (options.json === true) printJson({ Bucket, Key, ...result });
    else {
      const lost = result.notKept.length === 0 ? "" : `; not kept: ${result.notKept.join(", ")}`;
      print(`${text}: ${changes[result.change]}${lost}`);
    }
  } finally {
    client.destroy();
  }
}

const changes = {
  metadata: "data key wrapped again in its metadata",
  "instruction-file": "data key wrapped again in an instruction file",
  "re-encrypted": "encrypted again",
} as const;

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
