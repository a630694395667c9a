// Options of what commands on trees tell while they run.
import type { Command } from "commander";
import { UsageError } from "../failure.ts";
import type { ProgressChoice } from "../progress.ts";

/** What `addTreeReportOptions` adds, with what `addReportOptions` has. */
export interface TreeReportOptions {
  readonly dryRun?: boolean;
  readonly quiet?: boolean;
  readonly logFile?: string;
  readonly json?: boolean;
  readonly progress?: ProgressChoice;
}

/** Adds what commands lack that have `addReportOptions`. @param changes what --dry-run speaks of: it is for commands that change something */
export function addTreeReportOptions(command: Command, changes = true): Command {
  if (changes) command.option("-n, --dry-run", "tell what would be done, and do nothing");
  return command
    .option("-q, --quiet", "tell of nothing but failures")
    .option("--log-file <file>", "append a record of everything to this file, as lines of JSON");
}

/** Adds all of it, to commands that work on nothing but trees. */
export function addWholeReportOptions(command: Command, changes = true): Command {
  command
    .option("--progress", "show progress even when stderr is no terminal")
    .option("--no-progress", "show no progress")
    .option("--json", "print a record of everything as lines of JSON");
  return addTreeReportOptions(command, changes);
}

/** @throws UsageError for what contradicts itself */
export function checkReportOptions(options: TreeReportOptions): void {
  if (options.quiet === true && options.progress === true)
    throw new UsageError("--quiet and --progress contradict each other");
}
