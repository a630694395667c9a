// frameseal inspect: what a message says about itself. No key is needed, and nothing of it is verified.
import type { Command } from "commander";
import { addAwsOptions } from "./aws-client.ts";
import { UsageError } from "./failure.ts";
import { inputOf } from "./file-command.ts";
import { describeHeader, printDescription } from "./header-description.ts";
import { interruptSignal } from "./interrupt.ts";
import { addFieldOptions } from "./object-fields.ts";
import { refuseIdleAwsOptions } from "./options.ts";
import { isTerminal, printJson } from "./output.ts";
import { isObjectAddress, type ObjectOptions, ofObjects, refuseObjectOptions } from "./s3-options.ts";
import { oneOf } from "./values.ts";

/** Adds the command. */
export function register(program: Command): void {
  const command = program
    .command("inspect")
    .description("show the header of a message; no key is needed, and nothing is verified")
    .argument("[input]", "message, or s3://bucket/key (default, or -: standard input)")
    .option("--json", "as JSON");
  ofObjects(command, () =>
    addFieldOptions(
      command
        .optionsGroup("Objects:")
        .option("--sse-c-key <file>", "key of SSE-C: a file of 32 bytes")
        .option(
          "--addressing <path|virtual>",
          "where buckets are named (default: path at an endpoint)",
          oneOf("path", "virtual"),
        ),
      "inspect",
    ),
  );
  addAwsOptions(command);
  command.action(inspect);
}

async function inspect(
  input: string | undefined,
  options: ObjectOptions & { readonly json?: boolean },
  command: Command,
): Promise<void> {
  if (isObjectAddress(input)) {
    const { inspectObject, printObject } = await import("./object-description.ts");
    const object = await inspectObject(input, options);
    if (options.json === true) printJson(object);
    else printObject(object);
    return;
  }
  refuseObjectOptions(command);
  refuseIdleAwsOptions(options);
  const from = inputOf(input);
  if (from === 0 && isTerminal(0)) throw new UsageError("no input: name a file or redirect standard input");
  const { inspectFile } = await import("../file/file.ts");
  const description = describeHeader(await inspectFile(from, { signal: interruptSignal }));
  if (options.json === true) printJson(description);
  else printDescription(description);
}
