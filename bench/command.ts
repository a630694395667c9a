// What `frameseal bench` does, once the command line has read its options: selects trials, runs them, writes the results.
import { readFileSync, writeFileSync } from "node:fs";
import type { Harness, HarnessConsole, HarnessOptions } from "#frameseal/cli/harness.js";
import { allTrials, removeFiles } from "./all-trials.ts";
import { changesText, compareRuns } from "./baseline.ts";
import { endProcesses } from "./processes.ts";
import { renderReport } from "./report.ts";
import type { BenchResult, TrialResult } from "./result.ts";
import { runBench, selectTrials } from "./run.ts";
import { claimsText, headText, noiseText, trialText } from "./text.ts";

/** Runs the trials whose names have all of `words`; prints as it goes. */
export const bench: Harness["bench"] = async (words, options, console) => {
  const baseline = options.baseline === undefined ? undefined : readRun(options.baseline, console);
  const trials = selectTrials(allTrials(), selectionOf(words, options));
  if (trials.length === 0)
    throw console.failure("no trial has all these words in its name; --list prints the names");
  if (options.list === true) {
    for (const { trial } of trials) console.print(trial.id);
    return;
  }
  const quiet = options.json === "-";
  const announce = (done: number): void => {
    const next = trials[done]?.trial.id;
    console.showProgress(next === undefined ? "" : `${done + 1}/${trials.length} ${next}`);
  };
  announce(0);
  const interrupt = (): void => {
    endProcesses();
    removeFiles(); // now: what is done with them may last longer than the program has left
  };
  console.interrupted.addEventListener("abort", interrupt, { once: true });
  let result: BenchResult;
  try {
    result = await runBench(trials, {
      effort: { rounds: options.rounds, roundSeconds: options.roundMs / 1000 },
      version: console.version,
      command: commandLine(words, options),
      signal: console.interrupted,
      onTrial(trial: TrialResult, done: number) {
        console.showProgress("");
        if (!quiet) console.print(`${trialText(trial)}\n`);
        announce(done);
      },
    });
  } finally {
    removeFiles();
  }
  if (!quiet) {
    console.print(headText(result));
    console.print(noiseText(result));
    if (options.claims === true) console.print(`\n${claimsText(result.claims)}`);
    if (baseline !== undefined) console.print(`\n${changesText(compareRuns(baseline, result))}`);
  }
  if (options.json === "-") console.print(JSON.stringify(result));
  else if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(result)}\n`);
  if (options.html !== undefined) {
    writeFileSync(options.html, renderReport(result));
    console.note(`the page is in ${options.html}`);
  }
};

const selectionOf = (words: readonly string[], { full = false, claims = false }: HarnessOptions) => ({
  words,
  full,
  forClaims: claims && full && words.length === 0,
});

// What to type to get the same again; outputs are left out.
function commandLine(words: readonly string[], { full, rounds, roundMs }: HarnessOptions): string {
  const effort = rounds === 6 && roundMs === 100 ? [] : [`--rounds ${rounds}`, `--round-ms ${roundMs}`];
  return ["frameseal bench", ...(full === true ? ["--full"] : []), ...effort, ...words].join(" ");
}

function readRun(file: string, { failure }: HarnessConsole): BenchResult {
  let run: Partial<BenchResult>;
  try {
    run = JSON.parse(readFileSync(file, "utf8")) as Partial<BenchResult>;
  } catch (error) {
    if (error instanceof SyntaxError) throw failure(`${file} is not JSON`);
    throw error;
  }
  if (run.format !== "frameseal-bench-1") throw failure(`${file} was not written by frameseal bench --json`);
  return run as BenchResult;
}
