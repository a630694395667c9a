// frameseal cat: an object of S3, or a range of it, to standard output. Only the frames of the range are fetched.
import type { Command } from "commander";
import { addAwsOptions } from "./aws-client.ts";
import { refuseClosed } from "./closed.ts";
import { UsageError } from "./failure.ts";
import { interruptSignal } from "./interrupt.ts";
import { shown } from "./names.ts";
import { addFieldOptions } from "./object-fields.ts";
import { readObject } from "./object-reader.ts";
import { addMessageOptions, addReadingKeyOptions } from "./options.ts";
import {
  addBufferOption,
  addLegacyOptions,
  addObjectOptions,
  isObjectAddress,
  type ObjectOptions,
  parseObjectAddress,
} from "./s3-options.ts";

/** Adds the command. */
export function register(program: Command): void {
  const command = program
    .command("cat")
    .description("decrypt an object of S3, or a range of it, to standard output")
    .argument("<source>", "s3://bucket/key")
    .option("-r, --range <range>", "bytes of the plaintext: first-last, first- or -count");
  for (const add of [
    addReadingKeyOptions,
    addObjectOptions,
    addLegacyOptions,
    addBufferOption,
    addMessageOptions,
  ])
    add(command);
  addFieldOptions(command.optionsGroup("Fields of S3:"), "cat");
  addAwsOptions(command);
  command.addHelpText(
    "after",
    `
Example:
  frameseal cat --key backup.key --range 0-511 s3://backups/2026/photos.tar`,
  );
  command.action(cat);
}

async function cat(from: string, options: ObjectOptions & { readonly range?: string }): Promise<void> {
  if (!isObjectAddress(from)) throw new UsageError("give s3://bucket/key");
  const { range } = options;
  if (range !== undefined && !/^([0-9]+-[0-9]*|-[0-9]+)$/.test(range))
    throw new UsageError(`--range ${shown(range)} is no range: give first-last, first- or -count`);
  refuseClosed(1);
  const { planFileTarget } = await import("../file/target.ts");
  const file = await (await planFileTarget(1, { signal: interruptSignal })).open();
  try {
    await readObject(
      parseObjectAddress(from),
      { ...options, progress: false } as ObjectOptions,
      "reading",
      (chunk) => file.write(chunk),
      range === undefined ? {} : { range: `bytes=${range}` },
    );
    await file.commit();
  } finally {
    await file.discard();
  }
}
