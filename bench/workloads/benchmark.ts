// Times one function with the package `benchmark`, which finds how often to call it and takes the mean of samples. Where
// that package is not installed, or does not load in this runtime, the same is done by rounds of our own.
import { Absent } from "../adaptor.ts";
import { importPackage, packageVersion } from "../packages.ts";
import { callsFor, repeat } from "./repeat.ts";

/** Measures one function again and again. */
export interface CallTimer {
  /** What takes the time, for the report. */
  readonly name: string;
  /** Calls per second, measured afresh. */
  measure(): Promise<number>;
}

interface Deferred {
  readonly benchmark: { readonly subject: () => Promise<unknown> };
  resolve(): void;
}
interface Benchmark {
  readonly hz: number;
  readonly count: number;
  initCount: number;
  readonly error?: Error;
  on(event: "complete", listener: () => void): this;
  off(event: "complete"): this;
  run(options: { async: boolean }): this;
}
interface BenchmarkPackage {
  readonly default: new (options: object) => Benchmark;
}

/** Samples in a round. It needs about as long again to find the count and between samples. */
const SAMPLES = 5;
const SHARE_OF_SAMPLES = 0.3;

/** @param roundSeconds how long one measurement should take */
export async function createCallTimer(
  call: () => unknown,
  isAsync: boolean,
  roundSeconds: number,
): Promise<CallTimer> {
  let Benchmark: BenchmarkPackage["default"];
  try {
    ({ default: Benchmark } = await importPackage<BenchmarkPackage>("benchmark"));
  } catch (error) {
    if (error instanceof Absent) return ownRounds(call, roundSeconds);
    throw error;
  }
  // Its compiler copies the text of `fn`, so that names from here would not be found: hence `subject`.
  const bench = new Benchmark({
    subject: call,
    defer: isAsync,
    fn: isAsync
      ? (deferred: Deferred) => {
          deferred.benchmark.subject().then(() => deferred.resolve());
        }
      : call,
    minSamples: SAMPLES,
    minTime: (roundSeconds * SHARE_OF_SAMPLES) / SAMPLES,
    maxTime: roundSeconds * SHARE_OF_SAMPLES,
  });
  const measure = async (): Promise<number> => {
    await new Promise<void>((resolve) => {
      bench.off("complete").on("complete", resolve).run({ async: false });
    });
    if (bench.error !== undefined) throw bench.error;
    bench.initCount = bench.count;
    return bench.hz;
  };
  await measure(); // finds the count, warms up
  return { name: `benchmark ${packageVersion("benchmark")}`, measure };
}

async function ownRounds(call: () => unknown, roundSeconds: number): Promise<CallTimer> {
  const calls = await callsFor(roundSeconds, (count) => repeat(call, count));
  return {
    name: "own rounds",
    async measure() {
      const start = performance.now();
      await repeat(call, calls);
      return calls / ((performance.now() - start) / 1000);
    },
  };
}
