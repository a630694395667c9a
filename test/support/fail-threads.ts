// A library to be preloaded under which the system has no thread for the addon, or not all that it asks for.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const source = fileURLToPath(new URL("../native/fail_threads.c", import.meta.url));

export interface FailThreads {
  /** What a process needs in its environment: `which` as "2", "1-3" or, for all, "1-". */
  environment(which: string): Record<string, string>;
  remove(): void;
}

/** Compiles it; undefined where that cannot be done. @throws Error where it must be, under CI */
export function compileFailThreads(): FailThreads | undefined {
  if (process.platform !== "linux") return undefined;
  const folder = mkdtempSync(path.join(tmpdir(), "frameseal-fail-threads-"));
  const library = path.join(folder, "fail_threads.so");
  const compiler = process.env.CC ?? "cc";
  const { status, error, stderr } = spawnSync(compiler, ["-shared", "-fPIC", source, "-ldl", "-o", library], {
    encoding: "utf8",
  });
  if (status === 0)
    return {
      environment: (which) => ({ LD_PRELOAD: library, FAIL_THREADS: which }),
      remove: () => rmSync(folder, { recursive: true }),
    };
  rmSync(folder, { recursive: true });
  if (process.env.CI === "true")
    throw new Error(`cannot compile fail_threads.c: ${error?.message ?? stderr}`);
  return undefined;
}
