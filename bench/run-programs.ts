// Whole programs, start included: files, pipes and start-up. Rounds take turns as in run-trial.ts.
import { accessSync, constants, readFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { startProcess } from "./processes.ts";
import type { SubjectResult, TrialResult } from "./result.ts";
import type { Effort } from "./run-trial.ts";
import { summary } from "./statistics.ts";

/** A program of a trial. */
export interface ProgramSubject {
  readonly name: string;
  readonly kind: SubjectResult["kind"];
  /** Makes the command for `sh -c`, and the files it needs. */
  readonly command: () => string;
  /** Programs that must be on the PATH. */
  readonly needs: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Called before each round, not measured. */
  readonly before?: () => void;
}

/** A trial whose subjects are programs; `unitsPerRun` is what one run of them does. */
export interface ProgramTrial extends Omit<TrialResult, "subjects"> {
  readonly subjects: readonly ProgramSubject[];
  readonly unitsPerRun: number;
  readonly rounds?: number;
}

/** Where `name` is on the PATH, or undefined. */
export function findProgram(name: string): string | undefined {
  for (const folder of (process.env.PATH ?? "").split(path.delimiter))
    try {
      const file = path.join(folder, name);
      accessSync(file, constants.X_OK);
      return file;
    } catch {}
  return undefined;
}

/** Measures all programs; one that is missing or fails says why. The first round warms up and is not counted. */
export async function runProgramTrial(trial: ProgramTrial, effort: Effort): Promise<TrialResult> {
  const sums = trial.subjects.map(() => ({ rates: [] as number[], cpu: 0, wall: 0, peak: 0 }));
  const notRun = trial.subjects.map(({ needs }) => {
    const missing = needs.find((name) => findProgram(name) === undefined);
    return missing === undefined ? undefined : `${missing} is not installed`;
  });
  const rounds = trial.rounds ?? effort.rounds;
  for (let round = 0; round <= rounds; round++)
    for (const [i, subject] of trial.subjects.entries()) {
      const sum = sums[i];
      if (notRun[i] !== undefined || sum === undefined) continue;
      subject.before?.();
      try {
        const { seconds, cpuSeconds, peakBytes } = await runProgram(subject);
        if (round === 0) continue;
        sum.rates.push(trial.unitsPerRun / seconds);
        sum.cpu += cpuSeconds;
        sum.wall += seconds;
        sum.peak = Math.max(sum.peak, peakBytes);
      } catch (error) {
        notRun[i] = (error as Error).message;
      }
    }
  const { subjects, unitsPerRun: _units, rounds: _rounds, ...description } = trial;
  return {
    ...description,
    subjects: subjects.map(({ name, kind }, i) => {
      const reason = notRun[i];
      const sum = sums[i];
      if (reason !== undefined || sum === undefined) return { name, kind, notRun: reason ?? "" };
      const { cpu: cpuSeconds, wall: wallSeconds, peak } = sum;
      const measured = { name, kind, ...summary(sum.rates), cpuSeconds, wallSeconds };
      return peak === 0 ? measured : { ...measured, peakBytes: peak };
    }),
  };
}

interface Run {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly peakBytes: number;
}

async function runProgram(subject: ProgramSubject): Promise<Run> {
  const command = subject.command();
  const cpuBefore = childrenCpuSeconds();
  const start = performance.now();
  const child = startProcess("sh", ["-c", command], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, ...subject.environment },
  });
  let complaint = "";
  child.stderr?.on("data", (text: Buffer) => {
    complaint = (complaint + text.toString()).slice(0, 300);
  });
  let peakBytes = 0;
  const watch = setInterval(() => {
    peakBytes = Math.max(peakBytes, peakOf(child.pid));
  }, 20);
  const code = await new Promise((resolve) => child.on("close", resolve));
  clearInterval(watch);
  const seconds = (performance.now() - start) / 1000;
  if (code !== 0) throw new Error(`failed with exit code ${String(code)}: ${complaint.split("\n")[0]}`);
  return { seconds, cpuSeconds: childrenCpuSeconds() - cpuBefore, peakBytes };
}

// CPU of all children that have ended, in hundredths of a second (proc(5)); 0 where there is no /proc.
function childrenCpuSeconds(): number {
  try {
    const fields = readFileSync("/proc/self/stat", "utf8").split(") ")[1]?.split(" ") ?? [];
    return (Number(fields[13]) + Number(fields[14])) / 100;
  } catch {
    return 0;
  }
}

// The peak of resident memory of a process and of its children so far; short ones are missed.
function peakOf(pid: number | undefined): number {
  if (pid === undefined) return 0;
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const own = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024;
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ");
    return Math.max(own, ...children.filter(Boolean).map((child) => peakOf(Number(child))));
  } catch {
    return 0;
  }
}
