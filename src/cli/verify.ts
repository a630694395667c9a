// frameseal verify: opens everything, writes nothing.
import type { Command } from "commander";
import { UsageError } from "./failure.ts";
import { type FileCommandOptions, inputOf, runFileCommand } from "./file-command.ts";
import {
  addAwsOptions,
  addKeyOptions,
  addMessageOptions,
  addReportOptions,
  decryptOptionsFrom,
  type KeyOptions,
  type MessageOptions,
} from "./options.ts";
import { isTerminal } from "./output.ts";

/** Adds the command. */
export function register(program: Command): void {
  const command = program
    .command("verify")
    .description("check that a message is whole and authentic, without writing it")
    .argument("[input]", "message to verify (default, or -: standard input)");
  for (const add of [addKeyOptions, addMessageOptions, addReportOptions, addAwsOptions]) add(command);
  command.action(verify);
}

async function verify(
  input: string | undefined,
  options: FileCommandOptions & KeyOptions & MessageOptions,
): Promise<void> {
  const from = inputOf(input);
  if (from === 0 && isTerminal(0)) throw new UsageError("no input: name a file or redirect standard input");
  const messageOptions = await decryptOptionsFrom(options);
  const { verifyFile } = await import("../stream/file.ts");
  await runFileCommand("verifying", from, undefined, options, ({ onProgress }) =>
    verifyFile(from, { ...messageOptions, onProgress }),
  );
}
