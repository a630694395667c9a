// What is made of measured rounds: quantiles, claims, comparison of two runs, the choice of trials.
import { afterAll, describe, expect, it } from "vitest";
import { allTrials, removeFiles } from "../../dist/bench/all-trials.js";
import { changesText, compareRuns } from "../../dist/bench/baseline.js";
import { claimsOf, trialsOfClaims } from "../../dist/bench/claims.js";
import { type AnyTrial, selectTrials } from "../../dist/bench/run.js";
import { mannWhitney, median, quantile } from "../../dist/bench/statistics.js";
import { lengthText } from "../../dist/bench/trials/subjects.js";
import { run, subject, trial } from "./fixture.ts";

const all: readonly AnyTrial[] = allTrials();
afterAll(removeFiles);
const kernelSubjects = [
  "openssl-evp",
  "intel-ipsec-mb",
  "vaes512",
  "vaes256",
  "aesni",
  "frameseal native, through JavaScript",
];
const select = (words: readonly string[], full: boolean, forClaims = false): readonly string[] =>
  selectTrials(all, { words, full, forClaims }).map((entry) => entry.trial.id);

describe("statistics", () => {
  it("takes the middle, and the mean of two middles", () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(quantile([5, 1, 2, 3, 4], 0.9)).toBe(5);
    expect(quantile([5, 1, 2, 3, 4], 0.1)).toBe(1);
  });

  it("agrees with the exact distribution of ranks where that is known", () => {
    // All of one side above all of the other, 5 and 5: exactly 2 / C(10, 5) = 0.0079; the approximation gives 0.0122.
    const apart = mannWhitney([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]);
    expect(apart).toBeGreaterThan(0.005);
    expect(apart).toBeLessThan(0.02);
    expect(mannWhitney([1, 3, 5, 7], [2, 4, 6, 8])).toBeGreaterThan(0.5);
    expect(mannWhitney([1, 2], [9, 10])).toBe(1);
  });
});

describe("claims", () => {
  const claim = (rate: number) =>
    claimsOf([
      trial("frames/seal/64KiB", [
        subject("frameseal native:aesni", [rate / 2]),
        subject("frameseal native:vaes256", [rate]),
        subject("node:crypto per frame", [1e9]),
      ]),
    ]);

  it("takes the fastest kernel for the engine, and tells held from missed", () => {
    const of = (rate: number) => claim(rate).find(({ id }) => id === "frames-64KiB");
    expect(of(6e9)).toMatchObject({ bar: 5, measured: 6, held: true });
    expect(of(4.9e9)).toMatchObject({ held: false });
  });

  it("says which trial is missing rather than inventing a figure", () => {
    const missing = claim(6e9).filter(({ measured }) => measured === undefined);
    expect(missing.length).toBeGreaterThan(5);
    for (const { notRun, held } of missing) {
      expect(notRun).toMatch(/was not run|is not in/);
      expect(held).toBeUndefined();
    }
  });

  it("names trials and subjects that exist", () => {
    const trials = new Map(all.map((entry) => [entry.trial.id, entry]));
    for (const id of trialsOfClaims()) expect(trials.keys()).toContain(id);
    // With every subject of every trial measured, the only figures that can be missing are those of this machine's lack.
    const results = all.map((entry) => {
      const names = "subjects" in entry.trial ? entry.trial.subjects.map(({ name }) => name) : kernelSubjects;
      return trial(
        entry.trial.id,
        names.map((name) =>
          subject(name, [1e9], {
            peakBytes: 1,
            memory: Array.from({ length: 20 }, (_sample, i) => ({ seconds: i, bytes: 1 })),
            figures: { "requests a range": 1, "requests to open": 2, "cycles a 64 bytes": 16 },
          }),
        ),
      );
    });
    const without = claimsOf(results).filter(({ measured }) => measured === undefined);
    const needed = /frameseal native/; // where the addon, or a kernel of it, is missing
    for (const { notRun } of without) expect(notRun).toMatch(needed);
  });

  it("takes the smaller trials of the default set where the larger ones were not run", () => {
    const ranges = (id: string, rate: number) => trial(id, [subject("frameseal native", [rate])]);
    const of = (...trials: ReturnType<typeof trial>[]) =>
      claimsOf(trials).find(({ id }) => id === "ranges-aligned");
    expect(of(ranges("ranges/aligned/1GiB", 3e4))).toMatchObject({
      measured: 3e4,
      trials: ["ranges/aligned/1GiB"],
    });
    expect(of(ranges("ranges/aligned/1GiB", 3e4), ranges("ranges/aligned/4GiB", 1e4))).toMatchObject({
      measured: 1e4,
      held: false,
    });
    expect(of()?.notRun).toBe("the trial ranges/aligned/4GiB was not run");
  });

  it("compares memory of the later half of a trial with the earlier half", () => {
    const growing = (factor: number) =>
      claimsOf([
        trial("memory/messages", [
          subject("frameseal native", [1e9], {
            memory: Array.from({ length: 100 }, (_sample, i) => ({
              seconds: i,
              bytes: 1e8 * (i < 50 ? 1 : factor),
            })),
          }),
        ]),
      ]).find(({ id }) => id === "messages-memory-flat");
    expect(growing(1)).toMatchObject({ measured: 1, held: true });
    expect(growing(1.5)).toMatchObject({ measured: 1.5, held: false });
  });
});

describe("two runs", () => {
  const rounds = (rate: number) => [0.98, 0.99, 1, 1.01, 1.02, 1.03, 0.97].map((factor) => factor * rate);
  const of = (ours: number) =>
    run([
      trial("frames/seal/64KiB", [subject("frameseal node", rounds(ours)), subject("peer", rounds(1e9))]),
    ]);

  it("tells a change from noise", () => {
    const [same] = compareRuns(of(2e9), of(2.001e9));
    expect(same?.probability).toBeGreaterThan(0.05);
    const [changed] = compareRuns(of(2e9), of(3e9));
    expect(changed?.probability).toBeLessThan(0.01);
    expect(changesText(compareRuns(of(2e9), of(3e9)))).toMatch(/\+ {2}50\.0 % {2}changed/);
    expect(changesText(compareRuns(of(2e9), of(2.001e9)))).toContain(
      "1 of 1 best-decile ratios agree within 10 %",
    );
  });
});

describe("the choice of trials", () => {
  it("takes those whose names have all words", () => {
    const ids = select(["frames", "open"], true);
    expect(ids.length).toBeGreaterThan(3);
    for (const id of ids) expect(id).toMatch(/frames.*open|open.*frames/);
  });

  it("leaves the full set out unless it is asked for, or a trial is named", () => {
    const full = new Set(all.filter((entry) => entry.full).map((entry) => entry.trial.id));
    expect(full.size).toBeGreaterThan(10);
    for (const id of select([], false)) expect(full).not.toContain(id);
    expect(select(["lengths/64GiB"], false)).toEqual(["lengths/64GiB"]);
  });

  it("takes for the claims exactly the trials that they need", () => {
    expect(new Set(select([], true, true))).toEqual(trialsOfClaims());
    expect(select([], true, true)).toContain("lengths/64GiB");
    expect(select([], true, true)).not.toContain("calls/seal/1MiB");
  });

  it("gives every trial a name of its own and a reference that is one of its subjects", () => {
    expect(new Set(all.map((entry) => entry.trial.id)).size).toBe(all.length);
    for (const { trial: one } of all)
      if ("subjects" in one && one.reference !== "frameseal native:openssl")
        expect(one.subjects.map(({ name }) => name)).toContain(one.reference);
  });
});

it("writes lengths in the largest unit that fits", () => {
  expect([16, 1024, 65_536, 2 ** 20, 2 ** 36, 4095].map(lengthText)).toEqual([
    "16 B",
    "1 KiB",
    "64 KiB",
    "1 MiB",
    "64 GiB",
    "4095 B",
  ]);
});
