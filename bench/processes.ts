// The processes that a run of the bench starts. Each leads a group of its own, so that it ends with all that it has
// started itself; an interrupted run leaves none of them behind.
import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import process from "node:process";

const running = new Set<ChildProcess>();
let allEnded = false;

/**
 * As `spawn`.
 * @throws Error once `endProcesses` was called
 */
export function startProcess(command: string, args: readonly string[], options: SpawnOptions): ChildProcess {
  if (allEnded) throw new Error("the run was interrupted");
  const child = spawn(command, args, { ...options, detached: true });
  running.add(child);
  child.once("exit", () => running.delete(child));
  child.once("error", () => running.delete(child));
  return child;
}

/** Ends a process of ours with its group, if it still runs. */
export function endProcess(child: ChildProcess): void {
  if (child.pid === undefined || !running.has(child)) return;
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    child.kill("SIGKILL"); // a system without groups
  }
}

/** Ends all of them, and lets none start any more. */
export function endProcesses(): void {
  allEnded = true;
  for (const child of running) endProcess(child);
}
