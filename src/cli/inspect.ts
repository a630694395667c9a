// frameseal inspect: what a message says about itself. No key is needed, and nothing of it is verified.
import type { Command } from "commander";
import { UsageError } from "./failure.ts";
import { inputOf } from "./file-command.ts";
import { describeHeader, type HeaderDescription } from "./header-description.ts";
import { interruptSignal } from "./interrupt.ts";
import { formatBytes, isTerminal, oneLine, print, printJson } from "./output.ts";

/** Adds the command. */
export function register(program: Command): void {
  program
    .command("inspect")
    .description("show the header of a message; no key is needed, and nothing is verified")
    .argument("[input]", "message (default, or -: standard input)")
    .option("--json", "as JSON")
    .action(inspect);
}

async function inspect(input: string | undefined, options: { readonly json?: boolean }): Promise<void> {
  const from = inputOf(input);
  if (from === 0 && isTerminal(0)) throw new UsageError("no input: name a file or redirect standard input");
  const { inspectFile } = await import("../stream/file.ts");
  const description = describeHeader(await inspectFile(from, { signal: interruptSignal }));
  if (options.json === true) printJson(description);
  else printDescription(description);
}

/** Prints a header as text. */
export function printDescription(header: HeaderDescription): void {
  print(`format          AWS Encryption SDK message, version ${header.version}`);
  print(`suite           ${header.suite} ${header.suiteName}`);
  print(`commitment      ${header.commitment}`);
  print(`signature       ${header.signature}`);
  print(`message id      ${header.messageId}`);
  print(
    `content         ${header.contentType}${header.frameLength > 0 ? `, frames of ${formatBytes(header.frameLength)}` : ""}`,
  );
  print(`header length   ${header.headerLength}`);
  if (header.messageLength !== undefined) print(`message length  ${header.messageLength}`);
  if (header.plaintextLength !== undefined) print(`plaintext       ${header.plaintextLength}`);
  const pairs = Object.entries(header.encryptionContext);
  print(`context         ${pairs.length === 0 ? "none" : ""}`.trimEnd());
  for (const [key, value] of pairs) print(`  ${oneLine(key)} = ${oneLine(value)}`);
  print("data keys");
  for (const key of header.encryptedDataKeys)
    print(
      `  ${key.kind} key ${oneLine(key.keyName)} of ${oneLine(key.providerId)}, ${key.ciphertextLength} bytes`,
    );
  print("Nothing of this is verified: frameseal verify does that, with the key.");
}
