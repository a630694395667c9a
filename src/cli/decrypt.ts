// frameseal decrypt: one message -> file or standard output. Standard output gets verified frames only, but gets them
// before the end is known: the exit code says whether all of it is there.
import type { Command } from "commander";
import { addAwsOptions } from "./aws-client.ts";
import { UsageError } from "./failure.ts";
import { type FileCommandOptions, inputOf, outputOf, runFileCommand } from "./file-command.ts";
import {
  addFileOptions,
  addMessageOptions,
  addReadingKeyOptions,
  addReportOptions,
  decryptOptionsFrom,
  type KeyOptions,
  type MessageOptions,
  refuseIdleAwsOptions,
} from "./options.ts";
import { isTerminal } from "./output.ts";

/** Adds the command. */
export function register(program: Command): void {
  const command = program
    .command("decrypt")
    .description("decrypt a file or standard input")
    .argument("[input]", "message to decrypt (default, or -: standard input)");
  for (const add of [
    addFileOptions,
    addReadingKeyOptions,
    addMessageOptions,
    addReportOptions,
    addAwsOptions,
  ])
    add(command);
  command.addHelpText(
    "after",
    `
Every --context pair must be one of the message. Standard output gets verified data only, but a
failure after some frames leaves a beginning there: check the exit code, or use -o.

Examples:
  frameseal decrypt --key backup.key --context backup=daily photos.tar.fsl -o photos.tar
  frameseal decrypt --key backup.key < photos.tar.fsl | tar t`,
  );
  command.action(decrypt);
}

async function decrypt(
  input: string | undefined,
  options: FileCommandOptions & KeyOptions & MessageOptions,
): Promise<void> {
  const from = inputOf(input);
  if (from === 0 && isTerminal(0)) throw new UsageError("no input: name a file or redirect standard input");
  const to = outputOf(options.output);
  refuseIdleAwsOptions(options);
  const messageOptions = await decryptOptionsFrom(options);
  const { decryptFile } = await import("../file/file.ts");
  await runFileCommand("decrypting", from, to, options, (fileOptions) =>
    decryptFile(from, to, { ...messageOptions, ...fileOptions }),
  );
}
