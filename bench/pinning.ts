// Keeps single-threaded subjects on one CPU, where taskset(1) is there: the last one that this process may use.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

let cpu: number | undefined;
let isAvailable = true;

/** The CPU that subjects were pinned to in this process; undefined if none was. */
export function pinnedCpu(): number | undefined {
  return cpu;
}

/** Pins the main thread alone: those of the garbage collector and of libuv keep their freedom. */
export function pinMainThread(pid: number | undefined): void {
  const wanted = cpu ?? lastCpu();
  if (pid === undefined || wanted === undefined || !isAvailable) return;
  try {
    execFileSync("taskset", ["--cpu-list", "--pid", String(wanted), String(pid)], { stdio: "ignore" });
    cpu = wanted;
  } catch {
    isAvailable = false; // not installed, or not allowed
  }
}

function lastCpu(): number | undefined {
  try {
    const list = /^Cpus_allowed_list:\s+(\S+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
    return Number(/\d+$/.exec(list ?? "")?.[0]);
  } catch {
    return undefined;
  }
}
