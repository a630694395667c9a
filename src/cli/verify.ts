// frameseal verify: opens everything, writes nothing.
import type { Command } from "commander";
import { addAwsOptions } from "./aws-client.ts";
import { UsageError } from "./failure.ts";
import { type FileCommandOptions, inputOf, runFileCommand } from "./file-command.ts";
import { addFieldOptions } from "./object-fields.ts";
import {
  addMessageOptions,
  addReadingKeyOptions,
  addReportOptions,
  decryptOptionsFrom,
  refuseIdleAwsOptions,
} from "./options.ts";
import { isTerminal, printJson } from "./output.ts";
import {
  addLegacyOptions,
  addObjectOptions,
  isObjectAddress,
  type ObjectOptions,
  ofObjects,
  parseObjectAddress,
  refuseObjectOptions,
} from "./s3-options.ts";
import { addRecursiveOption, isRecursive } from "./tree/recursive.ts";
import { addTreeVerifyOptions, type TreeVerifyOptions, verifyTreeCommand } from "./tree/verify.ts";

/** Options that a tree has other ones for, or none. */
const OF_ONE_OBJECT = ["--max-plaintext", "--version-id", "--if-match", "--if-none-match"];

/** Adds the command. */
export function register(program: Command): void {
  const command = program
    .command("verify")
    .description("check that a message is whole and authentic, without writing it")
    .argument("[input]", "message to verify, or s3://bucket/key (default, or -: standard input)");
  for (const add of [
    addReadingKeyOptions,
    addObjectOptions,
    addLegacyOptions,
    addMessageOptions,
    addReportOptions,
  ])
    add(command);
  ofObjects(command, () => addFieldOptions(command.optionsGroup("Fields of S3:"), "verify"));
  addAwsOptions(command);
  addRecursiveOption(command.optionsGroup("Trees:"), "check all below the address", OF_ONE_OBJECT);
  addTreeVerifyOptions(command);
  command.action(verify);
}

async function verify(
  input: string | undefined,
  options: FileCommandOptions & ObjectOptions & TreeVerifyOptions,
  command: Command,
): Promise<void> {
  if (isRecursive(command)) return verifyTreeCommand(input, options);
  if (isObjectAddress(input)) return verifyObject(input, options);
  refuseObjectOptions(command);
  refuseIdleAwsOptions(options);
  const from = inputOf(input);
  if (from === 0 && isTerminal(0)) throw new UsageError("no input: name a file or redirect standard input");
  const messageOptions = await decryptOptionsFrom(options);
  const { verifyFile } = await import("../file/file.ts");
  await runFileCommand("verifying", from, undefined, options, ({ onProgress }) =>
    verifyFile(from, { ...messageOptions, onProgress }),
  );
}

async function verifyObject(input: string, options: FileCommandOptions & ObjectOptions): Promise<void> {
  const address = parseObjectAddress(input);
  const { readObject } = await import("./object-reader.ts");
  const { length } = await readObject(address, options, "verifying", () => {}, { authentication: "delayed" });
  if (options.json === true) printJson({ ...address, plaintextLength: length });
}
