// Runs the trials that a filter names and puts everything about the run together.
import { claimsOf, trialsOfClaims } from "./claims.ts";
import { cpuTicks, currentCommit, describeMachine } from "./machine.ts";
import { packageVersion } from "./packages.ts";
import { pinnedCpu } from "./pinning.ts";
import type { BenchResult, TrialResult } from "./result.ts";
import { KernelProgram, type KernelTrial } from "./run-kernels.ts";
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
  | { readonly kind: "programs"; readonly full: boolean; readonly trial: ProgramTrial }
  | { readonly kind: "kernels"; readonly full: boolean; readonly trial: KernelTrial };

const peers: readonly string[] = [
  "@aws-crypto/client-node",
  "@aws-sdk/client-s3",
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

/** Which trials to run. */
export interface Selection {
  /** All of them must be in the name of a trial. */
  readonly words: readonly string[];
  /** Also those of the full set. */
  readonly full: boolean;
  /** Only those that claims are computed from. */
  readonly forClaims: boolean;
}

/** The trials of a selection. One that is named in full is always taken. */
export function selectTrials(all: readonly AnyTrial[], { words, full, forClaims }: Selection): AnyTrial[] {
  const claimed = forClaims ? trialsOfClaims() : undefined;
  return all.filter(
    (entry) =>
      (full || !entry.full || words.includes(entry.trial.id)) &&
      (claimed?.has(entry.trial.id) ?? true) &&
      words.every((word) => entry.trial.id.includes(word)),
  );
}

/**
 * Runs `trials`.
 * @throws the reason of `signal`, after the trial in which it was aborted; the caller ends the processes, which ends that
 */
export async function runBench(trials: readonly AnyTrial[], options: BenchOptions): Promise<BenchResult> {
  const start = performance.now();
  const before = cpuTicks();
  const kernels = new KernelProgram();
  const results: TrialResult[] = [];
  for (const entry of trials) {
    options.signal?.throwIfAborted();
    const trialStart = performance.now();
    const measured = await runOne(entry, options.effort, kernels);
    options.signal?.throwIfAborted(); // its figures are of processes that were ended
    const result = { ...measured, seconds: (performance.now() - trialStart) / 1000 };
    results.push(result);
    options.onTrial(result, results.length, trials.length);
  }
  const after = cpuTicks();
  const commit = currentCommit();
  const cpu = pinnedCpu();
  return {
    format: "frameseal-bench-1",
    date: new Date().toISOString(),
    version: options.version,
    ...(commit === undefined ? {} : { commit }),
    command: options.command,
    seconds: (performance.now() - start) / 1000,
    machine: describeMachine(),
    versions: { ...peerVersions(), ...kernels.versions },
    noise: {
      steal: after.total === before.total ? 0 : (after.stolen - before.stolen) / (after.total - before.total),
      spread: spreadOf(results),
      ...(cpu === undefined ? {} : { pinnedCpu: cpu }),
    },
    trials: results,
    claims: claimsOf(results),
  };
}

function peerVersions(): Record<string, string> {
  return Object.fromEntries(
    peers.flatMap((name) => {
      const version = packageVersion(name);
      return version === undefined ? [] : [[name, version]];
    }),
  );
}

function runOne(entry: AnyTrial, effort: Effort, kernels: KernelProgram): Promise<TrialResult> {
  if (entry.kind === "children") return runTrial(entry.trial, effort);
  if (entry.kind === "programs") return runProgramTrial(entry.trial, effort);
  return kernels.measure(entry.trial, effort);
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
