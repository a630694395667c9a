// Results as a run would give them, for tests that only look at what is made of them.
import type { BenchResult, SubjectResult, TrialResult } from "../../dist/bench/result.js";
import { summary } from "../../dist/bench/statistics.js";

export function subject(
  name: string,
  samples: readonly number[],
  more: Partial<SubjectResult> = {},
): SubjectResult {
  return {
    name,
    kind: name.startsWith("frameseal") ? "frameseal" : "library",
    ...summary(samples),
    cpuSeconds: 1,
    wallSeconds: 1,
    ...more,
  };
}

export function trial(
  id: string,
  subjects: readonly SubjectResult[],
  more: Partial<TrialResult> = {},
): TrialResult {
  const [group = ""] = id.split("/");
  return {
    id,
    group,
    title: `title of ${id}`,
    operation: "seal",
    unit: "bytes",
    size: 65_536,
    reference: subjects.at(-1)?.name ?? "",
    subjects,
    ...more,
  };
}

export function run(trials: readonly TrialResult[], more: Partial<BenchResult> = {}): BenchResult {
  return {
    format: "frameseal-bench-1",
    date: "2026-01-02T03:04:05.000Z",
    version: "9.9.9",
    command: "frameseal bench",
    seconds: 12,
    machine: {
      cpu: "A CPU",
      cores: 2,
      memoryBytes: 2 ** 34,
      system: "Linux",
      virtual: true,
      node: "v20",
      openssl: "3.0",
      engine: "native",
      kernel: "aesni",
    },
    versions: {},
    noise: { steal: 0, spread: 0.1 },
    trials,
    claims: [],
    ...more,
  };
}
