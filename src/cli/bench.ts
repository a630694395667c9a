// frameseal bench: how fast it is here, beside whatever else is installed.
import type { Command } from "commander";
import { CommandFailure, UsageError } from "./failure.ts";
import type { Harness, HarnessOptions } from "./harness.ts";
import { interruptSignal } from "./interrupt.ts";
import { isTerminal, note, printLines, rewriteLine } from "./output.ts";

/** Adds the command. */
export function register(program: Command): void {
  program
    .command("bench")
    .description(
      "measure the engines, streams, files and pipes against node:crypto and every peer that is installed; " +
        "subjects must open each other's results before they are timed, and take turns",
    )
    .argument("[words...]", "only trials whose name has all these words; see --list")
    .option("--full", "the full set: more sizes, 64 GiB streams, 4 GiB files")
    .option("--list", "print the names of the trials and stop")
    .option(
      "--claims",
      "print which promised speeds hold; with --full and no words, run just the trials that all of them need",
    )
    .option("--json <file>", "write all figures as JSON (-: standard output)")
    .option("--html <file>", "write a page with pictures, complete in one file")
    .option("--baseline <file>", "compare with a run that --json wrote")
    .option("--rounds <count>", "rounds of each subject that count, after one that does not", wholeNumber, 6)
    .option("--round-ms <milliseconds>", "how long a round takes", wholeNumber, 100)
    .addHelpText(
      "after",
      `
Without words, the default set takes about five minutes, --claims --full about ten, --full longer;
both need 20 GiB in the system's temporary folder.
Ratios are of medians of this run. GB are 10^9 bytes.
Peers are found in ./node_modules and on the PATH; what is absent says "not run". Calls of
microseconds are timed by the package "benchmark" where it is installed, else by rounds as
everything else.`,
    )
    .action(bench);
}

function wholeNumber(text: string): number {
  const value = /^[0-9]{1,6}$/.test(text) ? Number(text) : 0;
  if (value < 1 || value > 100_000) throw new UsageError("expected a whole number from 1 to 100000");
  return value;
}

async function bench(words: readonly string[], options: HarnessOptions, command: Command): Promise<void> {
  // A string to the compiler: the harness is compiled after what it measures.
  const harness = (await import("#frameseal/bench/command.js" as string)) as Harness;
  await harness.bench(words, options, {
    version: command.parent?.version() ?? "",
    interrupted: interruptSignal,
    print: printLines,
    note,
    showProgress,
    failure: (message) => new CommandFailure(message),
  });
}

let progressWidth = 0;

function showProgress(text: string): void {
  if (!isTerminal(2)) return;
  rewriteLine(text, progressWidth);
  progressWidth = text.length;
}
