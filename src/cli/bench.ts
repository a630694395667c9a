// frameseal bench: how fast it is here, beside whatever else is installed.
import { readFileSync, writeFileSync } from "node:fs";
import { type Command, InvalidArgumentError } from "commander";
import type { BenchResult, TrialResult } from "../bench/result.ts";
import { isErrorNamed } from "../shapes.ts";
import { CommandFailure } from "./failure.ts";
import { interruptSignal } from "./interrupt.ts";
import { isTerminal, note, print, writeText } from "./output.ts";

interface BenchCommandOptions {
  readonly full?: boolean;
  readonly list?: boolean;
  readonly claims?: boolean;
  readonly json?: string;
  readonly html?: string;
  readonly baseline?: string;
  readonly rounds: number;
  readonly roundMs: number;
}

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
Without words, the default set takes about five minutes, --claims --full about ten, --full longer; both need 20 GiB in
the system's temporary folder.
Ratios are of medians of this run. GB are 10^9 bytes.
Peers are found in ./node_modules and on the PATH; what is absent says "not run". Calls of microseconds are
timed by the package "benchmark" where it is installed, else by rounds as everything else.`,
    )
    .action(bench);
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 100_000)
    throw new InvalidArgumentError("expected a whole number from 1 to 100000");
  return value;
}

async function bench(
  words: readonly string[],
  options: BenchCommandOptions,
  command: Command,
): Promise<void> {
  const { allTrials, removeFiles } = await import("../bench/all-trials.ts");
  const { endProcesses } = await import("../bench/processes.ts");
  const { runBench, selectTrials } = await import("../bench/run.ts");
  const { trialText, claimsText, headText, noiseText } = await import("../bench/text.ts");
  const baseline = options.baseline === undefined ? undefined : readRun(options.baseline);
  const trials = selectTrials(allTrials(), selectionOf(words, options));
  if (trials.length === 0)
    throw new CommandFailure("no trial has all these words in its name; --list prints the names");
  if (options.list === true) {
    for (const { trial } of trials) print(trial.id);
    return;
  }
  const quiet = options.json === "-";
  const progress = isTerminal(2);
  const announce = (done: number): void => {
    const next = trials[done]?.trial.id;
    if (progress)
      writeText(2, `\r\u001b[K${next === undefined ? "" : `${done + 1}/${trials.length} ${next}`}`);
  };
  announce(0);
  const interrupt = (): void => {
    endProcesses();
    removeFiles(); // now: what is done with them may last longer than the program has left
  };
  interruptSignal.addEventListener("abort", interrupt, { once: true });
  let result: BenchResult;
  try {
    result = await runBench(trials, {
      effort: { rounds: options.rounds, roundSeconds: options.roundMs / 1000 },
      version: command.parent?.version() ?? "",
      command: commandLine(words, options),
      signal: interruptSignal,
      onTrial(trial: TrialResult, done: number) {
        if (progress) writeText(2, "\r\u001b[K");
        if (!quiet) print(`${trialText(trial)}\n`);
        announce(done);
      },
    });
  } finally {
    removeFiles();
  }
  if (!quiet) {
    print(headText(result));
    print(noiseText(result));
    if (options.claims === true) print(`\n${claimsText(result.claims)}`);
    if (baseline !== undefined) {
      const { changesText, compareRuns } = await import("../bench/baseline.ts");
      print(`\n${changesText(compareRuns(baseline, result))}`);
    }
  }
  if (options.json === "-") print(JSON.stringify(result));
  else if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(result)}\n`);
  if (options.html !== undefined) {
    const { renderReport } = await import("../bench/report.ts");
    writeFileSync(options.html, renderReport(result));
    note(`the page is in ${options.html}`);
  }
}

const selectionOf = (words: readonly string[], { full = false, claims = false }: BenchCommandOptions) => ({
  words,
  full,
  forClaims: claims && full && words.length === 0,
});

// What to type to get the same again; outputs are left out.
function commandLine(words: readonly string[], { full, rounds, roundMs }: BenchCommandOptions): string {
  const effort = rounds === 6 && roundMs === 100 ? [] : [`--rounds ${rounds}`, `--round-ms ${roundMs}`];
  return ["frameseal bench", ...(full === true ? ["--full"] : []), ...effort, ...words].join(" ");
}

function readRun(file: string): BenchResult {
  let run: Partial<BenchResult>;
  try {
    run = JSON.parse(readFileSync(file, "utf8")) as Partial<BenchResult>;
  } catch (error) {
    if (isErrorNamed(error, "SyntaxError")) throw new CommandFailure(`${file} is not JSON`);
    throw error;
  }
  if (run.format !== "frameseal-bench-1")
    throw new CommandFailure(`${file} was not written by frameseal bench --json`);
  return run as BenchResult;
}
