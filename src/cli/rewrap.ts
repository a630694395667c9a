// frameseal rewrap: stored objects under another master key.
import type { Command } from "commander";
import { addAwsOptions } from "./aws-client.ts";
import { UsageError } from "./failure.ts";
import { interruptSignal } from "./interrupt.ts";
import { addFieldOptions } from "./object-fields.ts";
import { addHeaderOptions } from "./options.ts";
import { print, printJson } from "./output.ts";
import {
  addRotationKeyOptions,
  addRotationOptions,
  oldObjectsFrom,
  type RotationOptions,
  rotationKeyrings,
} from "./rotation.ts";
import {
  addEnvelopeOptions,
  addObjectOptions,
  createObjectClient,
  isObjectAddress,
  parseObjectAddress,
} from "./s3-options.ts";
import { addRecursiveOption, isRecursive } from "./tree/recursive.ts";
import { addTreeRewrapOptions, rewrapTreeCommand, type TreeRewrapOptions } from "./tree/rewrap.ts";
import { collect, parsePairs } from "./values.ts";

interface RewrapCommandOptions extends RotationOptions {
  readonly newContext?: readonly string[];
  readonly newInstructionFileSuffix?: string;
  readonly enforceRotation?: boolean;
  readonly versionId?: string;
}

/** Options of one object, which all objects of a tree cannot have in common. */
const OF_ONE_OBJECT = ["--new-context", "--new-instruction-file-suffix", "--version-id"];

/** Adds the command. */
export function register(program: Command): void {
  const command = program
    .command("rewrap")
    .description("put objects of S3 under another master key")
    .argument("<object>", "s3://bucket/key, or with -r s3://bucket/folder/");
  addRotationOptions(command)
    .option("--enforce-rotation", "fail if the old key would still open the result")
    .option(
      "--new-context <key=value>",
      "context from now on (repeatable; default: what the object has; for s3ec --context)",
      collect,
    )
    .option("--material-description <name=value>", "of --to, for s3ec objects (repeatable)", collect)
    .option("--new-instruction-file-suffix <text>", "write another instruction file next to the old one")
    .option("--version-id <id>", "version of the object (default: the current one)");
  addRotationKeyOptions(command).option("--json", "print what was done as JSON");
  for (const add of [addObjectOptions, addEnvelopeOptions, addHeaderOptions, addAwsOptions]) add(command);
  addFieldOptions(command, "rewrap");
  addRecursiveOption(command, "all objects below the address", OF_ONE_OBJECT);
  addTreeRewrapOptions(command);
  command.addHelpText(
    "after",
    `
Of an s3ec object only the wrapped key is replaced; its body stays in S3 (that of s3ec-v2 is read
once, to prove the key). A framed object is fetched, encrypted again and stored. Nothing changes if
the object is replaced meanwhile.
Metadata, tags, storage class and locks stay; what could not be kept is printed.

Examples:
  frameseal rewrap --from 2025.key --to 2026.key --enforce-rotation s3://shared/report.pdf
  frameseal rewrap -r --from 2025.key --to 2026.key s3://backups/home/`,
  );
  command.action(rewrap);
}

async function rewrap(
  text: string,
  options: RewrapCommandOptions & TreeRewrapOptions,
  command: Command,
): Promise<void> {
  if (!isObjectAddress(text)) throw new UsageError("give s3://bucket/key");
  if (isRecursive(command)) return rewrapTreeCommand(text, options);
  const { Bucket, Key } = parseObjectAddress(text);
  const { rewrapObject } = await import("../s3/rewrap.ts");
  const { from, to = from } = await rotationKeyrings(options, true);
  const client = await createObjectClient(options);
  try {
    const result = await rewrapObject(
      client,
      { bucket: Bucket, key: Key },
      {
        ...oldObjectsFrom(options),
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
