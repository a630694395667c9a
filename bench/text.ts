// A run as text for a terminal.
import type { BenchResult, ClaimResult, SubjectResult, TrialResult } from "./result.ts";

/** "12.3 GB/s", "123 MB/s", "1,234 /s". GB are 10^9 bytes. */
export function rateText(rate: number, unit: TrialResult["unit"]): string {
  if (unit !== "bytes") return `${Math.round(rate).toLocaleString("en")} ${unit}/s`;
  return rate >= 1e9 ? `${(rate / 1e9).toFixed(2)} GB/s` : `${(rate / 1e6).toFixed(rate < 1e7 ? 2 : 0)} MB/s`;
}

/** "16.2", "1", "0.94": enough digits to tell figures apart. */
export function figureText(value: number): string {
  return value >= 10 || Number.isInteger(value)
    ? value.toFixed(value < 100 ? 1 : 0).replace(".0", "")
    : value.toFixed(2);
}

/** "250 ns", "1.25 µs", "3.1 ms". */
export function durationText(seconds: number): string {
  if (seconds < 1e-6) return `${(seconds * 1e9).toFixed(0)} ns`;
  return seconds < 1e-3 ? `${(seconds * 1e6).toFixed(2)} µs` : `${(seconds * 1e3).toFixed(1)} ms`;
}

/** What one call takes, where that says more than a rate. */
function timeText({ size, unit }: TrialResult, rate: number): string | undefined {
  if (unit === "calls" || unit === "starts") return durationText(1 / rate);
  return unit === "bytes" && size !== undefined && size <= 1024 ? durationText(size / rate) : undefined;
}

/** One trial: a line for each subject. */
export function trialText(trial: TrialResult): string {
  const reference = trial.subjects.find(({ name }) => name === trial.reference)?.median;
  const width = Math.max(...trial.subjects.map(({ name }) => name.length)) + 2;
  const lines = trial.subjects.map(
    (subject) => `  ${subject.name.padEnd(width)}${figures(trial, subject, reference)}`,
  );
  const timer = trial.timer === undefined ? "" : ` (timed by ${trial.timer})`;
  return [`${trial.id}: ${trial.title}, ${trial.operation}${timer}`, ...lines].join("\n");
}

function figures(trial: TrialResult, subject: SubjectResult, reference: number | undefined): string {
  const { median, best, worst, notRun, cpuSeconds, wallSeconds, peakBytes, figures: others = {} } = subject;
  if (median === undefined) return `not run: ${notRun ?? ""}`;
  const ratio = reference === undefined ? "" : `${(median / reference).toFixed(2)}x`;
  const spread =
    best === undefined || worst === undefined ? "" : `±${(((best - worst) / median) * 50).toFixed(0)} %`;
  const cpu =
    cpuSeconds === undefined || wallSeconds === undefined
      ? ""
      : `${(cpuSeconds / wallSeconds).toFixed(1)} CPU`;
  const memory = peakBytes === undefined ? "" : `${(peakBytes / 2 ** 20).toFixed(0)} MiB`;
  return [
    rateText(median, trial.unit).padStart(14),
    ratio.padStart(9),
    spread.padStart(7),
    cpu.padStart(9),
    memory.padStart(9),
    (timeText(trial, median) ?? "").padStart(11),
    ...Object.entries(others).map(([name, value]) => ` ${figureText(value)} ${name}`),
  ]
    .join(" ")
    .trimEnd();
}

/** The table of claims: claim, bar, measured, held or not; what was measured where. */
export function claimsText(claims: readonly ClaimResult[]): string {
  const rows = claims.map(({ id, text, bar, higher, unit, measured, held, notRun, trials }) => [
    held === undefined ? "-" : held ? "held" : "MISSED",
    id,
    `${higher ? "≥" : "≤"} ${bar} ${unit}`,
    measured === undefined ? `not run: ${notRun ?? ""}` : `${figureText(measured)} ${unit}`,
    `${text}${trials.length === 1 ? ` [${trials[0]}]` : ""}`,
  ]);
  const widths = [0, 1, 2, 3].map((column) =>
    Math.max(...rows.map((row) => (column === 3 && row[0] === "-" ? 0 : (row[column]?.length ?? 0)))),
  );
  const count = (state: string): number => rows.filter(([first]) => first === state).length;
  return [
    ...rows.map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join("  ")
        .trimEnd(),
    ),
    `${count("held")} held, ${count("MISSED")} missed, ${count("-")} not run`,
  ].join("\n");
}

/** Machine, versions and noise. */
export function headText(result: Pick<BenchResult, "machine" | "versions" | "commit" | "version">): string {
  const { machine, versions, commit, version } = result;
  const peers = Object.entries(versions).map(([name, number]) => `${name} ${number}`);
  return [
    `frameseal ${version}${commit === undefined ? "" : ` (${commit})`}, engine ${machine.engine} (${machine.kernel})`,
    `${machine.cpu}, ${machine.cores} cores${machine.virtual ? ", virtual" : ""}; ${machine.system}; Node ${machine.node}, OpenSSL ${machine.openssl}`,
    ...(peers.length === 0 ? [] : [peers.join(", ")]),
  ].join("\n");
}

/** How long it took and how far to trust it. */
export function noiseText({ seconds, noise }: Pick<BenchResult, "seconds" | "noise">): string {
  const pinned =
    noise.pinnedCpu === undefined
      ? "single-threaded subjects not pinned"
      : `single-threaded subjects on CPU ${noise.pinnedCpu}`;
  return `${seconds.toFixed(0)} s; spread of rounds ±${(noise.spread * 50).toFixed(0)} %, time taken by the hypervisor ${(noise.steal * 100).toFixed(1)} %, ${pinned}`;
}
