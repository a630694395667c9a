// frameseal sync: a folder and the objects below a prefix, of which one is made like the other.
import type { Command, Option } from "commander";
import { addAwsOptions } from "../aws-client.ts";
import { UsageError } from "../failure.ts";
import { addFieldOptions } from "../object-fields.ts";
import { addDiscoveryOption, addHeaderOptions, addKeyOptions, addWriteOptions } from "../options.ts";
import { addObjectOptions, addStoringOptions, isObjectAddress } from "../s3-options.ts";
import { oneOf } from "../values.ts";
import { parseTreeAddress } from "./address.ts";
import { addFilterOptions, addListOptions, FILTER_HELP } from "./filter-options.ts";
import { addRestoreOptions, type GetRunOptions, restoreFolder } from "./get.ts";
import { addJournalOptions } from "./journal-options.ts";
import { addManifestOption } from "./manifest-option.ts";
import { addNameOptions } from "./name-options.ts";
import { addComparisonOptions, type PutRunOptions, putFolder } from "./put.ts";
import { addWholeReportOptions } from "./report-options.ts";
import { addTransferOptions } from "./transfer-options.ts";

/** Which way the bytes go. */
type Direction = "into S3" | "out of S3";

/** Of those that are added with others, such as who pays. */
const BOTH_WAYS: ReadonlySet<string> = new Set([
  "--expected-bucket-owner",
  "--instruction-file-suffix",
  "--request-payer",
]);

/** Adds the command. */
export function register(program: Command): void {
  const command = program
    .command("sync")
    .description("make a prefix of S3 like a folder, or a folder like a prefix: only what differs is sent")
    .argument("<source>", "folder or s3://bucket/prefix/")
    .argument("<target>", "the other of the two");
  const directions = new Map<Option, Direction>();
  const only = (direction: Direction, add: () => Command): void => {
    const before = command.options.length;
    add();
    for (const option of command.options.slice(before))
      if (!BOTH_WAYS.has(option.long ?? "")) directions.set(option, direction);
  };

  command
    .optionsGroup("What is changed:")
    .option("--delete", "delete what is in the target and not in the source, but not what filters leave out");
  only("into S3", () => addComparisonOptions(command));
  addFilterOptions(command).option(
    "--links <policy>",
    "symbolic links: skip, keep; into S3 also follow, out of it also anywhere",
    oneOf("skip", "keep", "follow", "anywhere"),
  );
  only("into S3", () =>
    addListOptions(command).option("--one-file-system", "leave out what is mounted below the folder"),
  );
  only("out of S3", () => {
    addManifestOption(command, "the tree as this run stored it, and nothing that is not proven by it");
    return addRestoreOptions(command).option("--no-sync", "do not wait until files are on disk");
  });
  addNameOptions(command);
  command.optionsGroup("The run:");
  addJournalOptions(command);
  addTransferOptions(command);
  addWholeReportOptions(command);
  addKeyOptions(command);
  only("out of S3", () => addDiscoveryOption(command));
  addHeaderOptions(command);
  only("into S3", () => addWriteOptions(command));
  addObjectOptions(command);
  only("into S3", () => {
    addStoringOptions(command);
    return addFieldOptions(command.optionsGroup("Fields of S3, of what is stored:"), "sync");
  });
  addAwsOptions(command);
  command.addHelpText(
    "after",
    `
Into S3 this does what put -r does, out of it what get -r does, and replaces what is another. With
--delete it also removes what the source does not have: never what filters leave out, never what
is below .frameseal/, and nothing when not all of the source could be read, or when it is empty.

${FILTER_HELP}

Examples:
  frameseal sync --key backup.key --delete photos s3://backups/photos/
  frameseal sync --key backup.key --dry-run --delete s3://backups/photos/ photos`,
  );
  command.action((source: string, target: string, options: PutRunOptions & GetRunOptions) => {
    const direction = directionOf(source, target);
    for (const option of command.options) {
      const other = directions.get(option);
      const isGiven = command.getOptionValueSource(option.attributeName()) === "cli";
      if (isGiven && other !== undefined && other !== direction)
        throw new UsageError(`${option.long} is for syncing ${other}`);
    }
    return direction === "into S3"
      ? putFolder("sync", source, parseTreeAddress(target), options)
      : restoreFolder("sync", parseTreeAddress(source), target, options);
  });
}

function directionOf(source: string, target: string): Direction {
  if (isObjectAddress(source) === isObjectAddress(target))
    throw new UsageError("give a folder and s3://bucket/prefix/, in the order in which bytes go");
  return isObjectAddress(target) ? "into S3" : "out of S3";
}
