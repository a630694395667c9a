// frameseal encrypt: file or standard input -> one message.
import type { Command } from "commander";
import { addAwsOptions } from "./aws-client.ts";
import { UsageError } from "./failure.ts";
import { type FileCommandOptions, inputOf, outputOf, runFileCommand } from "./file-command.ts";
import {
  addFileOptions,
  addKeyOptions,
  addMessageOptions,
  addReportOptions,
  addWriteOptions,
  encryptOptionsFrom,
  type KeyOptions,
  type MessageOptions,
  refuseIdleAwsOptions,
} from "./options.ts";
import { isTerminal } from "./output.ts";

/** Adds the command. */
export function register(program: Command): void {
  const command = program
    .command("encrypt")
    .description("encrypt a file or standard input")
    .argument("[input]", "file to encrypt (default, or -: standard input)");
  for (const add of [
    addFileOptions,
    addKeyOptions,
    addWriteOptions,
    addMessageOptions,
    addReportOptions,
    addAwsOptions,
  ])
    add(command);
  command.addHelpText(
    "after",
    `
Examples:
  frameseal keygen -o backup.key
  frameseal encrypt --key backup.key --context backup=daily photos.tar -o photos.tar.fsl
  tar c photos | frameseal encrypt --key backup.key > photos.tar.fsl`,
  );
  command.action(encrypt);
}

async function encrypt(
  input: string | undefined,
  options: FileCommandOptions & KeyOptions & MessageOptions,
): Promise<void> {
  const from = inputOf(input);
  const to = outputOf(options.output);
  if (to === 1 && isTerminal(1))
    throw new UsageError("a message is no text for a terminal: give -o FILE or redirect standard output");
  refuseIdleAwsOptions(options);
  const messageOptions = await encryptOptionsFrom(options);
  const { encryptFile } = await import("../file/file.ts");
  await runFileCommand("encrypting", from, to, options, (fileOptions) =>
    encryptFile(from, to, { ...messageOptions, ...fileOptions }),
  );
}
