// A process that works on a tree ends at one of its system calls, before it or right after it: the next run goes on, and
// nothing is left behind. Calls that write, name and sync files, the journal among them, and those upon its connections.
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FULL } from "../support/full.ts";
import { S3Server } from "../support/s3-server.ts";
import { complaintsOf, type TreeRun, TreeRuns, treeCommands } from "../support/tree-runs.ts";
import { type CallPoint, isOfModules, pointsOf } from "./call-points.ts";
import { compileFailCalls } from "./compile-fail-calls.ts";
import { randomFrom, sampleOf } from "./samples.ts";

/** Another seed tries other calls. */
const seed = Number(process.env.FRAMESEAL_SEED ?? 21);
/** Of each command. */
const SAMPLE = 2;
const LONG = 3 * 3600 * 1000;
/** Calls after which something is there that was not there before. */
const changing = new Set([
  ...["open", "write", "pwrite", "fsync", "ftruncate", "rename", "link", "unlink", "mkdir", "rmdir"],
  ...["symlink", "times", "chmod", "fchmod", "send", "flock"],
]);

const root = mkdtempSync(path.join(tmpdir(), "frameseal-tree-calls-"));
const library = compileFailCalls(root);
if (library === undefined) console.log("trees: not run: no compiler for a library to preload");

let server: S3Server;
let runs: TreeRuns;
beforeAll(async () => {
  server = await S3Server.start();
  runs = new TreeRuns(server);
});
afterAll(async () => {
  runs[Symbol.dispose]();
  rmSync(root, { recursive: true });
  await server[Symbol.asyncDispose]();
});

/** Runs with the library; what was called, if nothing ended the process. */
async function runWith(run: TreeRun, args: readonly string[], point?: CallPoint) {
  const log = path.join(root, "log");
  rmSync(log, { force: true });
  const env = {
    LD_PRELOAD: library ?? "",
    FAIL_FROM: "/modules/open-journal",
    FAIL_LOG: log,
    ...(point === undefined ? {} : { FAIL_CALL: `${point.name}:${point.number}`, FAIL_WITH: point.how }),
  };
  const outcome = await run.run(args, { env });
  return { ...outcome, log: existsSync(log) ? readFileSync(log, "utf8") : "" };
}

describe.skipIf(library === undefined)("a process ends at a system call", () => {
  test.each(treeCommands.map((command, index) => ({ command, index, name: command.name })))(
    "of $name",
    async ({ command, index }) => {
      const run = runs.next();
      await command.before?.(run);
      const reset = run.snapshot();
      const whole = await runWith(run, command.args(run));
      expect([whole.code, await complaintsOf(run, command)], whole.stderr).toEqual([0, []]);
      const points = pointsOf(whole.log).filter(
        (point) => /^kill/.test(point.how) && !isOfModules(point) && changing.has(point.name),
      );
      expect(points.length).toBeGreaterThan(50);
      const chosen = FULL ? points : sampleOf(points, SAMPLE, randomFrom(seed + index));
      const complaints: string[] = [];
      let reached = 0;
      for (const point of chosen) {
        reset();
        const killed = await runWith(run, command.args(run), point);
        if (killed.log.includes("hit ")) reached += 1;
        const where = `${point.name} ${point.number} ${point.how} (${point.target})`;
        if (killed.log.includes("hit ") && killed.code !== null)
          complaints.push(`${where}: not killed, ${killed.code}`);
        // What other runs restore in part would be seen here.
        const partial =
          command.name === "get -r" && command.target !== undefined ? run.partial(command.target) : [];
        const { code, stderr } = await run.run(command.args(run));
        const found = [...(await complaintsOf(run, command)), ...partial.map((name) => `in part: ${name}`)];
        if (code !== 0) found.push(`the next run: ${code} ${stderr}`);
        complaints.push(...found.map((complaint) => `${where}: ${complaint}`));
      }
      console.log(
        `${command.name}: killed at ${reached} of ${chosen.length} chosen of ${points.length} points, ${complaints.length} wrong`,
      );
      expect(complaints, `seed ${seed}`).toEqual([]);
      runs.nonces.finish(64 * 2 ** 10);
      expect(runs.nonces.repeats).toEqual([]);
    },
    LONG,
  );
});
