// Where the figures come from, and how noisy it was.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { engineInfo } from "#frameseal/engine/select-engine.js";
import { packageFolder } from "./packages.ts";
import type { Machine } from "./result.ts";

export function describeMachine(): Machine {
  const { engine, kernel } = engineInfo();
  return {
    cpu: cpuName(),
    cores: os.availableParallelism(),
    memoryBytes: os.totalmem(),
    system: `${os.type()} ${os.release()} ${os.arch()}`,
    virtual: textOf("/proc/cpuinfo").includes(" hypervisor"),
    node: process.version,
    openssl: process.versions.openssl ?? "",
    engine,
    kernel,
  };
}

function cpuName(): string {
  const name = os.cpus()[0]?.model.trim() ?? "unknown CPU";
  const model = (key: string): string | undefined =>
    new RegExp(`${key}\\s*:\\s*(.+)`).exec(textOf("/proc/cpuinfo"))?.[1];
  const family = model("cpu family");
  return family === undefined ? name : `${name} (family ${family}, model ${model("model")})`;
}

/** The commit of this checkout, with "+" if files differ from it; undefined in an installed package. */
export function currentCommit(): string | undefined {
  try {
    const git = (...args: string[]): string =>
      execFileSync("git", ["-C", packageFolder, ...args], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
      });
    if (path.resolve(git("rev-parse", "--show-toplevel").trim()) !== packageFolder) return undefined;
    const changed = git("status", "--porcelain", "--untracked-files=no") !== "";
    return git("rev-parse", "--short=10", "HEAD").trim() + (changed ? "+" : "");
  } catch {
    return undefined;
  }
}

/** Ticks of all CPUs so far, and those that the hypervisor gave to others (proc(5)). */
export function cpuTicks(): { readonly total: number; readonly stolen: number } {
  const fields = (/^cpu +(.*)$/m.exec(textOf("/proc/stat"))?.[1] ?? "").split(" ").map(Number);
  // Guest time, the ninth and tenth field, is counted in the first two already.
  return { total: fields.slice(0, 8).reduce((sum, ticks) => sum + ticks, 0), stolen: fields[7] ?? 0 };
}

function textOf(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
