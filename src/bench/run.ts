// Runs the trials that a filter names and puts everything about the run together.
import { type ClaimsContext, claimsOf } from "./claims.ts";
import { cpuTicks, currentCommit, describeMachine } from "./machine.ts";
import { packageVersion } from "./packages.ts";
import type { BenchResult, TrialResult } from "./result.ts";
import { type ProgramTrial, runProgramTrial } from "./run-programs.ts";
import { type Effort, runTrial, type Trial } from "./run-trial.ts";
import { median } from "./statistics.ts";

/** What to run and how. */
export interface BenchOptions {
  readonly effort: Effort;
  readonly version: string;
  readonly command: string;
  readonly onTrial: (result: TrialResult, done: number, count: number) => void;
  readonly signal?: AbortSignal;
}

/** A trial of either kind, ready to be run. */
export type AnyTrial =
  | { readonly kind: "children"; readonly full: boolean; readonly trial: Trial }
  | { readonly kind: "programs"; readonly full: boolean; readonly trial: ProgramTrial };

const peers: readonly string[] = [
  "@aws-crypto/client-node",
  "@noble/ciphers",
  "sodium-native",
  "age-encryption",
  "benchmark",
  "node22",
  "node24",
  "node26",
  "@oven/bun-linux-x64",
  "@deno/linux-x64-glibc",
];

/** The trials that `options` ask for. */
export function selectTrials(all: readonly AnyTrial[], words: readonly string[], full: boolean): AnyTrial[] {
  return all.filter(
    (entry) =>
      (full || !entry.full || words.includes(entry.trial.id)) &&
      words.every((word) => entry.trial.id.includes(word)),
  );
}

export async function runBench(trials: readonly AnyTrial[], options: BenchOptions): Promise<BenchResult> {
  const start = performance.now();
  const before = cpuTicks();
  const results: TrialResult[] = [];
  for (const entry of trials) {
    options.signal?.throwIfAborted();
    const result =
      entry.kind === "children"
        ? await runTrial(entry.trial, options.effort)
        : await runProgramTrial(entry.trial, options.effort);
    results.push(result);
    options.onTrial(result, results.length, trials.length);
  }
  const after = cpuTicks();
  const commit = currentCommit();
  const context: ClaimsContext = { trials: results };
  return {
    format: "frameseal-bench-1",
    date: new Date().toISOString(),
    version: options.version,
    ...(commit === undefined ? {} : { commit }),
    command: options.command,
    seconds: (performance.now() - start) / 1000,
    machine: describeMachine(),
    versions: Object.fromEntries(
      peers.flatMap((name) => {
        const version = packageVersion(name);
        return version === undefined ? [] : [[name, version]];
      }),
    ),
    noise: {
      steal: after.total === before.total ? 0 : (after.stolen - before.stolen) / (after.total - before.total),
      spread: spreadOf(results),
    },
    trials: results,
    claims: claimsOf(context),
  };
}

// The middle, over all subjects, of how far the worst tenth lies below the best, as a share of the median.
function spreadOf(results: readonly TrialResult[]): number {
  const spreads = results.flatMap(({ subjects }) =>
    subjects.flatMap(({ best, worst, median: middle }) =>
      best === undefined || worst === undefined || middle === undefined ? [] : [(best - worst) / middle],
    ),
  );
  return spreads.length === 0 ? 0 : median(spreads);
}
