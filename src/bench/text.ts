// A run as text for a terminal.
import type { BenchResult, ClaimResult, SubjectResult, TrialResult } from "./result.ts";

/** "12.3 GB/s", "123 MB/s", "1,234 /s". GB are 10^9 bytes. */
export function rateText(rate: number, unit: TrialResult["unit"]): string {
  if (unit !== "bytes") return `${Math.round(rate).toLocaleString("en")} ${unit}/s`;
  return rate >= 1e9 ? `${(rate / 1e9).toFixed(2)} GB/s` : `${(rate / 1e6).toFixed(rate < 1e7 ? 2 : 0)} MB/s`;
}

/** What one call takes, for the smallest inputs. */
function timeText({ size, unit }: TrialResult, rate: number): string | undefined {
  if (unit === "calls" || unit === "starts") return `${(1e9 / rate).toFixed(0)} ns`;
  return unit === "bytes" && size !== undefined && size <= 1024
    ? `${((size / rate) * 1e9).toFixed(0)} ns`
    : undefined;
}

/** One trial: a line for each subject. */
export function trialText(trial: TrialResult): string {
  const reference = trial.subjects.find(({ name }) => name === trial.reference)?.median;
  const width = Math.max(...trial.subjects.map(({ name }) => name.length)) + 2;
  const lines = trial.subjects.map(
    (subject) => `  ${subject.name.padEnd(width)}${figures(trial, subject, reference)}`,
  );
  return [`${trial.id}: ${trial.title}, ${trial.operation}`, ...lines].join("\n");
}

function figures(trial: TrialResult, subject: SubjectResult, reference: number | undefined): string {
  const { median, best, worst, notRun, cpuSeconds, wallSeconds, peakBytes } = subject;
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
  ]
    .join(" ")
    .trimEnd();
}

/** The table of claims. */
export function claimsText(claims: readonly ClaimResult[]): string {
  const rows = claims.map(({ id, text, bar, higher, unit, measured, held, notRun }) => [
    held === undefined ? "-" : held ? "held" : "MISSED",
    id,
    `${higher ? "≥" : "≤"} ${bar} ${unit}`,
    measured === undefined
      ? `not run: ${notRun ?? ""}`
      : `${measured.toFixed(measured < 10 ? 2 : 0)} ${unit}`,
    text,
  ]);
  const widths = [0, 1, 2, 3].map((column) =>
    Math.max(...rows.map((row) => (column === 3 && row[0] === "-" ? 0 : (row[column]?.length ?? 0)))),
  );
  return rows
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
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
