// frameseal rm: removes an object, or all objects below a prefix. No key is needed, but to choose hidden names.
import type { Command } from "commander";
import { plainNames } from "../backup/names/plain-names.ts";
import { createTransferQueue } from "../backup/transfer/queue.ts";
import { addAwsOptions } from "./aws-client.ts";
import { CommandFailure, UsageError } from "./failure.ts";
import { shown } from "./names.ts";
import { addFieldOptions } from "./object-fields.ts";
import { createObjectClient, isObjectAddress, type ObjectOptions, parseObjectAddress } from "./s3-options.ts";
import { parseTreeAddress } from "./tree/address.ts";
import { addFilterOptions, FILTER_HELP, type FilterOptions, filtersFrom } from "./tree/filter-options.ts";
import { addNameOptions, type NameOptions, namesFrom } from "./tree/name-options.ts";
import { addRecursiveOption, isRecursive, ofTrees, type RecursiveOptions } from "./tree/recursive.ts";
import { reported, TreeReport } from "./tree/report.ts";
import { addWholeReportOptions, type TreeReportOptions } from "./tree/report-options.ts";
import { collect, oneOf } from "./values.ts";

interface RemoveCommandOptions
  extends ObjectOptions,
    RecursiveOptions,
    FilterOptions,
    NameOptions,
    TreeReportOptions {
  readonly all?: boolean;
}

/** What instruction files are named by where nothing else is said. */
const SUFFIX = ".instruction";
const MAX_IN_FLIGHT = 16;
const MEMORY = 64 * 2 ** 20;
const RETRIES = 5;

/** Adds the command. */
export function register(program: Command): void {
  const command = program
    .command("rm")
    .description("remove an object, or all that is below a prefix")
    .argument("<place>", "s3://bucket/key, with -r s3://bucket/prefix/");
  addRecursiveOption(command, "remove all objects below the prefix");
  ofTrees(command, () => command.option("--all", "also what is reserved: manifests of runs"));
  addWholeReportOptions(command);
  command
    .optionsGroup("Objects:")
    .option("--instruction-file-suffix <text>", `what names an instruction file (default: ${SUFFIX})`)
    .option(
      "--addressing <path|virtual>",
      "where buckets are named (default: path at an endpoint)",
      oneOf("path", "virtual"),
    );
  ofTrees(command, () => addFilterOptions(command));
  ofTrees(command, () =>
    addNameOptions(command).option(
      "-k, --key <file>",
      "key file that names are hidden with (repeatable)",
      collect,
    ),
  );
  addFieldOptions(command.optionsGroup("Fields of S3:"), "rm");
  addAwsOptions(command);
  command.addHelpText(
    "after",
    `
Where a bucket keeps versions, only a mark is set: the versions stay until a lifecycle rule
removes them. An instruction file goes with its object. Manifests of runs stay unless --all is
given. All of a bucket is s3://bucket/, with the slash.

Examples:
  frameseal rm s3://backups/2026/photos.tar
  frameseal rm -r --dry-run --exclude '*' --include '*/' --include '*.tmp' s3://backups/home/`,
  );
  command.addHelpText("after", () =>
    command.getOptionValue("recursive") === true ? `\n${FILTER_HELP}` : "",
  );
  command.action(remove);
}

async function remove(place: string, options: RemoveCommandOptions, command: Command): Promise<void> {
  if (!isObjectAddress(place)) throw new UsageError("the operand is s3://bucket/key");
  const operation = isRecursive(command)
    ? await removalOfTree(place, options)
    : removalOfObject(place, options);
  const report = new TreeReport("rm", options);
  await reported(report, async () => {
    const context = await contextOf(options, report);
    try {
      await operation(context);
    } finally {
      context.plain.destroy();
    }
  });
}

/** Runs when all that was typed has been checked. */
type Operation = (context: Awaited<ReturnType<typeof contextOf>>) => Promise<void>;

function removalOfObject(place: string, options: RemoveCommandOptions): Operation {
  const { Bucket, Key } = parseObjectAddress(place);
  return async (context) => {
    const { removeObject } = await import("../backup/remove-tree.ts");
    const address = { bucket: Bucket, prefix: "" };
    const suffix = { instructionFileSuffix: suffixOf(options) };
    if (!(await removeObject({ ...context, address, names: plainNames }, Key, suffix)))
      throw new CommandFailure(`${shown(place)}: there is no such object`);
  };
}

async function removalOfTree(place: string, options: RemoveCommandOptions): Promise<Operation> {
  const address = parseTreeAddress(place);
  if (address.prefix === "" && !place.endsWith("/"))
    throw new UsageError(`all of a bucket is ${shown(`${place}/`)}, with the slash`);
  if (options.key !== undefined && options.encryptNames === undefined)
    throw new UsageError("--key goes with --encrypt-names: nothing else that is removed needs one");
  const names = await namesFrom(options, address.prefix);
  const filters = await filtersFrom(options);
  return async (context) => {
    const { removeTree } = await import("../backup/remove-tree.ts");
    const found = await removeTree(
      { ...context, address, names },
      {
        all: options.all === true,
        selects: filters.isEmpty
          ? undefined
          : (path, type) => !filters.excludes(path, type === "directory" ? "directory" : "other"),
        instructionFileSuffix: suffixOf(options),
      },
    );
    if (found === 0) context.report.warn("there is nothing to remove");
  };
}

const suffixOf = (options: RemoveCommandOptions): string => options.instructionFileSuffix ?? SUFFIX;

async function contextOf(options: RemoveCommandOptions, report: TreeReport) {
  const plain = await createObjectClient(options); // says what to install where there is no SDK
  const sdk = await import("@aws-sdk/client-s3");
  const { leaveOutChecksums } = await import("../backup/server/flags.ts");
  const { withOldListing } = await import("../backup/server/old-listing.ts");
  leaveOutChecksums(plain, "read");
  const { signal } = report;
  const queue = createTransferQueue({ maxInFlight: MAX_IN_FLIGHT, memory: MEMORY, retries: RETRIES, signal });
  queue.observe(plain);
  return {
    sdk,
    plain: withOldListing(sdk, plain),
    queue,
    journal: undefined,
    report,
    signal,
    dryRun: options.dryRun === true,
  };
}
