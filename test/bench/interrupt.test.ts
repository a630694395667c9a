// An interrupted run of the bench leaves nothing behind: no files, no processes.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, expect, test } from "vitest";

const main = path.resolve(import.meta.dirname, "../../dist/cli/main.js");
const folder = mkdtempSync(path.join(tmpdir(), "frameseal-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Waits until `probe` gives something; the test's own time limit ends it. */
async function until<T>(probe: () => T | undefined): Promise<T> {
  for (;;) {
    const found = probe();
    if (found !== undefined) return found;
    await sleep(20);
  }
}

/** The processes below `pid`. */
function descendants(pid: number): number[] {
  let children: number[] = [];
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
    children = text.trim().split(" ").filter(Boolean).map(Number);
  } catch {}
  return children.flatMap((child) => [child, ...descendants(child)]);
}

const isGone = (pid: number): boolean => {
  try {
    return /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return true;
  }
};

test.runIf(process.platform === "linux").each([
  ["SIGTERM", 143, "ranges/http-aligned", 3],
  ["SIGINT", 130, "starts/encrypt", 1],
] as const)("%s ends it with %i: %s", { timeout: 60_000 }, async (signal, status, trial, count) => {
  const bench = spawn(process.execPath, [main, "bench", trial, "--rounds", "1000"], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, TMPDIR: folder },
  });
  let output = "";
  bench.stdout.on("data", (text: Buffer) => {
    output += text.toString();
  });
  const ended = once(bench, "close");
  const processes = await until(() => {
    const found = descendants(bench.pid ?? 0);
    return found.length >= count && readdirSync(folder).length > 0 ? found : undefined;
  });
  bench.kill(signal);
  expect(await ended).toEqual([status, null]);
  expect(output).toBe("");
  expect(readdirSync(folder)).toEqual([]);
  await until(() => processes.every(isGone) || undefined);
});
