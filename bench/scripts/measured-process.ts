// What a program costs: wall time, processor time with that of its children, and the most memory that it had.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import process from "node:process";

/** What one run cost. */
export interface ProcessCost {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly mebibytes: number;
}

const SAMPLE_MS = 50;

/** Runs a program to its end. @throws Error with what it said, unless it exits with one of `codes` */
export async function measure(
  command: readonly string[],
  env: NodeJS.ProcessEnv,
  codes: readonly number[] = [0],
): Promise<ProcessCost> {
  // Bash adds up the times of its children, and tells them behind everything else.
  const script = 'TIMEFORMAT="%U %S"; time "$@"';
  const began = performance.now();
  const child = spawn("bash", ["-c", script, "bash", ...command], {
    env,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.on("data", (chunk) => {
    said = `${said}${chunk}`.slice(-4000);
  });
  let peak = 0;
  const timer = setInterval(() => {
    peak = Math.max(peak, peakOfChildren(child.pid ?? 0));
  }, SAMPLE_MS);
  const [code] = (await once(child, "close")) as [number | null];
  clearInterval(timer);
  const seconds = (performance.now() - began) / 1000;
  if (!codes.includes(code ?? -1)) throw new Error(`${command.join(" ")} exited with ${code}: ${said}`);
  const [user = 0, system = 0] = said.trim().split("\n").at(-1)?.split(" ").map(Number) ?? [];
  return { seconds, cpuSeconds: user + system, mebibytes: peak / 1024 };
}

// In KiB, of all children together. Each keeps its own highest mark, so that samples need not be dense.
function peakOfChildren(pid: number): number {
  let sum = 0;
  for (const child of childrenOf(pid)) {
    const status = read(`/proc/${child}/status`);
    sum += Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1] ?? 0) + peakOfChildren(child);
  }
  return sum;
}
function childrenOf(pid: number): number[] {
  return read(`/proc/${pid}/task/${pid}/children`).split(" ").filter(Boolean).map(Number);
}
function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return ""; // it has ended
  }
}

/** Processor seconds of a process that runs, and of what it has waited for. */
export function cpuSecondsOf(pid: number): number {
  const fields = read(`/proc/${pid}/stat`)
    .replace(/^.*\) /s, "")
    .split(" ");
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  return ticks / 100;
}

/** The environment without what would change how programs find their services. */
export function cleanEnvironment(more: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(AWS|RCLONE|RESTIC|XDG)_/.test(name));
  return { ...Object.fromEntries(kept), ...more };
}
