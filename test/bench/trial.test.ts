// Trials with real subjects: figures for those that agree, a reason for those that are absent, none at all for a group
// that disagrees.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { runProgramTrial } from "../../dist/bench/run-programs.js";
import { runTrial, type Subject, type Trial } from "../../dist/bench/run-trial.js";

const effort = { rounds: 2, roundSeconds: 0.002 };
const ours: Subject = {
  name: "frameseal node",
  kind: "frameseal",
  adaptor: "our gcm calls",
  options: { engine: "node" },
};
const node: Subject = { name: "node:crypto", kind: "library", adaptor: "node gcm calls" };

function gcmTrial(subjects: readonly Subject[], more: Partial<Trial> = {}): Trial {
  return {
    id: "test",
    group: "calls",
    title: "test",
    operation: "seal",
    direction: "seal",
    workload: "buffers",
    unit: "bytes",
    size: 1024,
    reference: "node:crypto",
    options: {
      size: 1024,
      frameLength: 4096,
      chunkLength: 4096,
      concurrency: 1,
      suite: 0x0478,
      reuse: false,
    },
    subjects,
    ...more,
  };
}

describe("a trial in processes of their own", () => {
  it("has figures for every subject", async () => {
    const { subjects } = await runTrial(gcmTrial([ours, node]), effort);
    for (const { median, samples, peakBytes, notRun } of subjects) {
      expect(notRun).toBeUndefined();
      expect(median).toBeGreaterThan(0);
      expect(samples).toHaveLength(2);
      expect(peakBytes).toBeGreaterThan(2 ** 20);
    }
  });

  it("counts the memory of the subject, not of the process that started it", async () => {
    const ballast = Buffer.alloc(512 * 2 ** 20, 1);
    const { subjects } = await runTrial(gcmTrial([node]), effort);
    expect(ballast.length).toBeGreaterThan(subjects[0]?.peakBytes ?? Number.NaN);
  });

  it("samples the memory of a subject that is always busy", async () => {
    const { subjects } = await runTrial(gcmTrial([node], { memoryEveryMs: 1, rounds: 5 }), {
      rounds: 5,
      roundSeconds: 0.03,
    });
    expect(subjects[0]?.memory?.length).toBeGreaterThan(20);
  });

  it("says why a subject is absent, and measures the others", async () => {
    const runtime = { name: "none", command: "/does/not/exist", args: [] };
    const engine: Subject = { ...ours, name: "no such kernel", options: { engine: "native:none" } };
    const { subjects } = await runTrial(
      gcmTrial([node, engine, { ...node, name: "elsewhere", runtime }]),
      effort,
    );
    expect(subjects.map(({ median }) => median !== undefined)).toEqual([true, false, false]);
    expect(subjects[1]?.notRun).toMatch(/native|kernel|engine/);
    expect(subjects[2]?.notRun).toMatch(/does not start/);
  });

  it("times nothing when two subjects of one format disagree", async () => {
    // Frames of another length are another format, whatever the name says.
    const other: Subject = {
      name: "other",
      kind: "library",
      adaptor: "node frame runs",
      options: { frameLength: 512 },
    };
    const runs: Subject = { ...ours, adaptor: "our frame runs" };
    const options = {
      size: 4096,
      frameLength: 4096,
      chunkLength: 4096,
      concurrency: 1,
      suite: 0x0478,
      reuse: false,
    };
    const { subjects } = await runTrial(gcmTrial([runs, other], { options }), effort);
    for (const { median, notRun } of subjects) {
      expect(median).toBeUndefined();
      expect(notRun).toMatch(/^not timed: frameseal node and other disagree at 4096 bytes/);
    }
  });

  it("runs streams both ways", async () => {
    const stream: Subject = {
      name: "frameseal node",
      kind: "frameseal",
      adaptor: "our streams",
      options: { engine: "node" },
    };
    const peer: Subject = { name: "client-node", kind: "library", adaptor: "client-node streams" };
    for (const direction of ["seal", "open"] as const) {
      const { subjects } = await runTrial(
        gcmTrial([stream, peer], { workload: "streams", direction, reference: "client-node" }),
        effort,
      );
      for (const { notRun } of subjects) expect(notRun).toBeUndefined();
    }
  }, 30_000);
});

describe("a trial of programs", () => {
  it("tells missing and failing programs from those that work", async () => {
    const program = (name: string, command: string, needs: string[] = []) =>
      ({ name, kind: "program", command: () => command, needs }) as const;
    const { subjects } = await runProgramTrial(
      {
        id: "files/test",
        group: "files",
        title: "",
        operation: "seal",
        unit: "bytes",
        reference: "true",
        unitsPerRun: 1,
        subjects: [
          program("true", "true"),
          program("false", "echo broken >&2; exit 3"),
          program("none", "true", ["no-such-program-here"]),
        ],
      },
      effort,
    );
    expect(subjects[0]?.samples).toHaveLength(2);
    expect(subjects[1]?.notRun).toBe("failed with exit code 3: broken");
    expect(subjects[2]?.notRun).toBe("no-such-program-here is not installed");
  });
});

describe("the command", () => {
  const folder = mkdtempSync(path.join(tmpdir(), "frameseal-test-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  const main = path.resolve(import.meta.dirname, "../../dist/cli/main.js");
  const bench = (...args: string[]): string =>
    execFileSync(process.execPath, [main, "bench", ...args], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });

  it("measures, writes JSON and a page, and compares with a run before", () => {
    const [json, html] = [path.join(folder, "a.json"), path.join(folder, "a.html")];
    const words = ["calls/seal/16B", "--rounds", "2", "--round-ms", "1"];
    expect(bench(...words, "--json", json, "--html", html)).toContain("calls/seal/16B");
    const run = JSON.parse(readFileSync(json, "utf8")) as {
      format: string;
      command: string;
      trials: { id: string }[];
    };
    expect(run).toMatchObject({
      format: "frameseal-bench-1",
      command: "frameseal bench --rounds 2 --round-ms 1 calls/seal/16B",
    });
    expect(run.trials.map(({ id }) => id)).toEqual(["calls/seal/16B"]);
    expect(readFileSync(html, "utf8")).toMatch(/^<!doctype html>/);
    expect(bench(...words, "--baseline", json)).toContain("best-decile ratios agree within 10 %");
  }, 60_000);

  it("refuses words that no trial has, and a file that is no run", () => {
    expect(() => bench("no-such-trial")).toThrow(/no trial has all these words/);
    expect(() => bench("calls", "--baseline", main)).toThrow(/is not JSON/);
  });
});
