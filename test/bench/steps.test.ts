// The micro layer, ranges over HTTP and S3 transfers with real subjects: they agree, and say what they counted.
import { afterAll, describe, expect, it } from "vitest";
import { runTrial, type Trial } from "../../dist/bench/run-trial.js";
import { listRangeTrials } from "../../dist/bench/trials/range-trials.js";
import { listS3Trials } from "../../dist/bench/trials/s3-trials.js";
import { listStepTrials } from "../../dist/bench/trials/step-trials.js";
import { WorkFiles } from "../../dist/bench/work-files.js";
import { createCallTimer } from "../../dist/bench/workloads/benchmark.js";
import { engineNames } from "../message/fixtures.ts";

const effort = { rounds: 2, roundSeconds: 0.002 };
const files = new WorkFiles();
afterAll(() => files.remove());
const named = (trials: Iterable<{ readonly trial: Trial }>, id: string): Trial => {
  for (const { trial } of trials) if (trial.id === id) return trial;
  throw new Error(`no trial ${id}`);
};

describe("steps of a message", () => {
  const steps = [...listStepTrials(files)].map(({ trial }) => trial);

  it.each(steps.map((trial) => [trial.id, trial] as const))(
    "%s: all subjects agree and are timed",
    async (id, trial) => {
      const { subjects, timer } = await runTrial(trial, effort);
      for (const { name, notRun, median } of subjects) {
        if (name.startsWith("frameseal native") && !engineNames.includes("native"))
          expect(notRun).toMatch(/did not load/);
        else if (name === "@noble/ciphers") expect(notRun).toMatch(/no such step|is not installed/);
        else expect({ name, notRun, isTimed: (median ?? 0) > 0 }).toEqual({ name, isTimed: true });
      }
      expect(timer).toMatch(/^(benchmark \d|own rounds$)/);
      expect(id).toMatch(/^steps\//);
    },
    30_000,
  );
});

describe("the timer of calls", () => {
  it.each([
    ["a function", () => Math.sqrt(2), false],
    ["a promise", async () => Math.sqrt(2), true],
  ] as const)("counts calls of %s", async (_what, call, isAsync) => {
    let calls = 0;
    const counted = isAsync
      ? async () => {
          calls++;
          await call();
        }
      : () => {
          calls++;
          return call();
        };
    const timer = await createCallTimer(counted, isAsync, 0.005);
    const before = calls;
    const rate = await timer.measure();
    expect(calls).toBeGreaterThan(before);
    expect(rate).toBeGreaterThan(1000);
  });

  it("gives the error of what it calls", async () => {
    const broken = (): never => {
      throw new Error("broken");
    };
    await expect(createCallTimer(broken, false, 0.005)).rejects.toThrow("broken");
  });
});

describe("against the store", () => {
  it("counts one request a range, and two to open", async () => {
    const { subjects } = await runTrial(named(listRangeTrials(files), "ranges/http-unaligned"), effort);
    const ran = subjects.filter(
      ({ name }) => engineNames.includes("native") || !name.startsWith("frameseal native"),
    );
    expect(ran.map(({ notRun }) => notRun)).toEqual(ran.map(() => undefined));
    if (engineNames.includes("native"))
      expect(ran[0]?.figures).toEqual({ "requests to open": 2, "requests a range": 1 });
  }, 30_000);

  it.each(["put", "get"])(
    "transfers objects: %s",
    async (verb) => {
      const trial = named(listS3Trials(files), `s3/${verb}/128MiB`);
      const small = { ...trial, rounds: 1, options: { ...trial.options, size: 20 * 2 ** 20 + 5 } };
      const { subjects } = await runTrial(small, effort);
      for (const { name, notRun, median } of subjects)
        expect({ name, notRun, isTimed: (median ?? 0) > 0 }).toEqual({ name, isTimed: true });
    },
    60_000,
  );
});
