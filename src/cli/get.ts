// frameseal get: one encrypted object -> file or standard output.
import { stat } from "node:fs/promises";
import path from "node:path";
import type { Command } from "commander";
import { addAwsOptions } from "./aws-client.ts";
import { UsageError } from "./failure.ts";
import { outputOf } from "./file-command.ts";
import { interruptSignal } from "./interrupt.ts";
import { addFieldOptions } from "./object-fields.ts";
import { readObject } from "./object-reader.ts";
import { addMessageOptions, addReadingKeyOptions, addReportOptions } from "./options.ts";
import { printJson } from "./output.ts";
import type { ProgressChoice } from "./progress.ts";
import {
  addBufferOption,
  addLegacyOptions,
  addObjectOptions,
  isObjectAddress,
  type ObjectOptions,
  parseObjectAddress,
} from "./s3-options.ts";
import { parseTreeAddress } from "./tree/address.ts";
import {
  addGetTreeOptions,
  GET_ONE_OBJECT,
  GET_TREE_HELP,
  type GetRunOptions,
  restoreFolder,
} from "./tree/get.ts";
import { addRecursiveOption, isRecursive } from "./tree/recursive.ts";

interface GetOptions extends ObjectOptions {
  readonly force?: boolean;
  readonly sync?: boolean;
  readonly progress?: ProgressChoice;
  readonly json?: boolean;
}

/** Adds the command. */
export function register(program: Command): void {
  const command = program
    .command("get")
    .description("fetch and decrypt an object of S3")
    .argument("<source>", "s3://bucket/key")
    .argument("[target]", "file or folder (default: the name of the object, here; -: standard output)");
  for (const add of [
    addReadingKeyOptions,
    addObjectOptions,
    addLegacyOptions,
    addBufferOption,
    addMessageOptions,
  ])
    add(command);
  command
    .option("-f, --force", "replace the file if it exists")
    .option("--no-sync", "do not wait until the file is on disk");
  addReportOptions(command);
  addFieldOptions(command.optionsGroup("Fields of S3:"), "get");
  addAwsOptions(command);
  addRecursiveOption(command, "restore all below a prefix", GET_ONE_OBJECT);
  addGetTreeOptions(command);
  command.addHelpText("after", () =>
    command.getOptionValue("recursive") === true
      ? `${GET_TREE_HELP}

Examples:
  frameseal get -r --key backup.key s3://backups/home/ /restore
  frameseal get -r --key backup.key --manifest latest s3://backups/home/ /restore`
      : `
The file appears under its name when all of the object is verified.

Example:
  frameseal get --key backup.key s3://backups/2026/photos.tar`,
  );
  command.action(get);
}

async function get(
  from: string,
  target: string | undefined,
  options: GetOptions & GetRunOptions,
  command: Command,
): Promise<void> {
  if (!isObjectAddress(from)) throw new UsageError("the first operand is s3://bucket/key");
  if (isRecursive(command)) {
    if (target === undefined) throw new UsageError("-r takes a folder to restore to");
    return restoreFolder("get", parseTreeAddress(from), target, options);
  }
  const address = parseObjectAddress(from);
  const to = outputOf(await targetOf(target, address.Key));
  const { planFileTarget } = await import("../file/target.ts");
  const plan = await planFileTarget(to, {
    overwrite: options.force === true ? "replace" : "refuse",
    sync: options.sync === false ? "none" : "full",
    signal: interruptSignal,
  });
  // A file appears only when everything is verified; what reads a pipe or a device cannot take anything back.
  const authentication = to !== 1 && plan.stats?.isFile() !== false ? "delayed" : "verified";
  if (options.bufferSize !== undefined && authentication === "delayed")
    throw new UsageError(
      "--buffer-size is for standard output and pipes: a file appears when it is verified",
    );
  const file = await plan.open();
  try {
    const sink = (chunk: Uint8Array) => file.write(chunk);
    const { length } = await readObject(address, options, "downloading", sink, { authentication });
    const durability = await file.commit();
    if (options.json === true)
      printJson(
        { ...address, output: to === 1 ? "-" : to, plaintextLength: length, durability },
        to === 1 ? 2 : 1,
      );
  } finally {
    await file.discard();
  }
}

async function targetOf(target: string | undefined, key: string): Promise<string> {
  const name = path.posix.basename(key);
  if (target === "-") return target;
  if (target === undefined) return checkedName(name);
  const isFolder = await stat(target).then(
    (stats) => stats.isDirectory(),
    () => target.endsWith("/"),
  );
  return isFolder ? path.join(target, checkedName(name)) : target;
}

// The key comes from the bucket, the folder is the user's.
function checkedName(name: string): string {
  if (name === "" || name === "." || name === ".." || name === "-" || /[\\\p{Cc}]/u.test(name))
    throw new UsageError("the name of the object is no name of a file: name the target");
  return name;
}
