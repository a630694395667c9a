// Runs that are killed: at their requests, at any moment, by a signal that can be answered, with everything that may
// happen to source, journal and disk before the next run. Afterwards the trees are the same, nothing is left behind, and
// no nonce came twice with other bytes.
import type { ChildProcess } from "node:child_process";
import { readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openJournal } from "../../src/backup/journal/open-journal.ts";
import { FULL } from "../support/full.ts";
import { type S3Call, S3Server } from "../support/s3-server.ts";
import {
  complaintsOf,
  type Outcome,
  type TreeCommand,
  type TreeRun,
  TreeRuns,
  treeCommands,
  type Watching,
} from "../support/tree-runs.ts";

let server: S3Server;
let runs: TreeRuns;
/** What is done at each request of a bucket. */
const hooks = new Map<string, (call: S3Call) => Promise<void> | void>();

beforeAll(async () => {
  server = await S3Server.start();
  runs = new TreeRuns(server);
  server.delay = async (call) => hooks.get(call.bucket)?.(call);
});
afterAll(async () => {
  runs[Symbol.dispose]();
  await server[Symbol.asyncDispose]();
});
const LONG_MS = FULL ? 3 * 3600_000 : 180_000;
const checkNonces = (): void => {
  runs.nonces.finish(64 * 2 ** 10);
  expect(runs.nonces.repeats).toEqual([]);
  expect(runs.nonces.frames).toBeGreaterThan(0);
};

/** Prepares a place for a command. */
async function prepared(command: TreeCommand): Promise<TreeRun> {
  const run = runs.next();
  await command.before?.(run);
  return run;
}

/** Requests that one process of a command sends. */
async function requestsOf(run: TreeRun, command: TreeCommand): Promise<number> {
  let seen = 0;
  hooks.set(run.bucket, () => void seen++);
  const { code, stderr } = await run.run(command.args(run));
  hooks.delete(run.bucket);
  expect([code, await complaintsOf(run, command)], stderr).toEqual([0, []]);
  return seen;
}

const closed = (child: ChildProcess): Promise<unknown> =>
  new Promise((resolve) =>
    child.exitCode === null && child.signalCode === null ? child.once("close", resolve) : resolve(0),
  );

/** Runs a command that is killed when its n-th request arrives, which takes effect or does not. */
async function killedAt(
  run: TreeRun,
  args: readonly string[],
  number: number,
  takesEffect: boolean,
): Promise<Outcome> {
  let seen = 0;
  let child: ChildProcess | undefined;
  hooks.set(run.bucket, async () => {
    seen += 1;
    if (seen < number || child === undefined) return;
    child.kill("SIGKILL");
    await closed(child);
    if (!takesEffect && seen === number) throw new Error("never arrived");
  });
  const onStart = (started: ChildProcess): void => {
    child = started;
  };
  const outcome = await run.run(args, { onStart });
  hooks.delete(run.bucket);
  return outcome;
}

/** The next run, and what is wrong after it. */
async function complaintsAfter(run: TreeRun, command: TreeCommand): Promise<string[]> {
  const partial =
    command.target === undefined
      ? []
      : run.partial(command.target).filter((name) => name !== "a.txt" && name !== "gone.txt");
  const { code, stderr } = await run.run(command.args(run));
  const complaints = await complaintsOf(run, command);
  if (partial.length > 0) complaints.push(`in part: ${partial.join()}`);
  if (code !== 0) complaints.push(`the next run: ${code} ${stderr}`);
  return complaints;
}

/** Another one for each command. */
const chainOf = (index: number): number[] => [2 + index, 5 + ((index * 3) % 7)];

describe("kill -9", () => {
  test.each(treeCommands.map((command, index) => ({ command, index, name: command.name })))(
    "at one request of $name after the other, until a run ends",
    async ({ command, index }) => {
      const run = await prepared(command);
      const codes: unknown[] = [];
      for (const [at, number] of chainOf(index).entries()) {
        const { code } = await killedAt(run, command.args(run), number, (number + at) % 2 === 0);
        codes.push(code);
      }
      expect(codes).toContain(null);
      expect(await complaintsAfter(run, command)).toEqual([]);
      checkNonces();
    },
    LONG_MS,
  );

  test.runIf(FULL).each(treeCommands.map((command) => ({ command, name: command.name })))(
    "at every request of $name",
    async ({ command }) => {
      const run = await prepared(command);
      const reset = run.snapshot();
      const count = await requestsOf(run, command);
      const complaints: string[] = [];
      for (let number = 1; number <= count; number++)
        for (const takesEffect of [true, false]) {
          reset();
          const { code, stderr } = await killedAt(run, command.args(run), number, takesEffect);
          // Runs differ by a request or two.
          if (code !== null && number < count - 2)
            complaints.push(`${number}: not killed, ${code} ${stderr}`);
          for (const complaint of await complaintsAfter(run, command))
            complaints.push(`${number} of ${count}, ${takesEffect ? "taken" : "lost"}: ${complaint}`);
        }
      console.log(`kills: every one of ${count} requests of ${command.name}, ${complaints.length} wrong`);
      expect(complaints).toEqual([]);
      checkNonces();
    },
    LONG_MS,
  );

  test.runIf(FULL)(
    "at 200 random moments",
    async () => {
      const complaints: string[] = [];
      let killed = 0;
      for (const command of treeCommands) {
        const run = await prepared(command);
        const reset = run.snapshot();
        const { milliseconds } = await run.run(command.args(run));
        for (let index = 0; index < 200 / treeCommands.length; index++) {
          reset();
          const ms = (0.2 + 0.9 * Math.random()) * milliseconds;
          const { code } = await run.run(command.args(run), {
            onStart: (child) => void setTimeout(() => child.kill("SIGKILL"), ms),
          });
          if (code === null) killed += 1;
          for (const complaint of await complaintsAfter(run, command))
            complaints.push(`${command.name}, ${ms.toFixed(1)} ms: ${complaint}`);
        }
      }
      console.log(
        `kills: ${killed} of 200 at random moments, ${complaints.length} wrong, ${runs.nonces.frames} nonces, ` +
          `${runs.nonces.repeats.length} repeats`,
      );
      expect(complaints).toEqual([]);
      expect(killed).toBeGreaterThan(50);
      checkNonces();
    },
    LONG_MS,
  );
});

const command = (name: string): TreeCommand => {
  const found = treeCommands.find((each) => each.name === name);
  if (found === undefined) throw new Error(name);
  return found;
};
const put = command("put -r");
const isPart = (number: number) => (call: S3Call) => call.query.get("partNumber") === String(number);

/** Runs until a request of a kind arrives, which is never answered, and then does something to the process. */
async function stoppedAt(
  run: TreeRun,
  args: readonly string[],
  matches: (call: S3Call) => boolean,
  stop: (child: ChildProcess) => void,
  watching: Watching = {},
): Promise<Outcome> {
  let child: ChildProcess | undefined;
  let isStopped = false;
  hooks.set(run.bucket, async (call) => {
    if (!matches(call) || child === undefined || isStopped) return;
    isStopped = true;
    stop(child);
    await closed(child);
    throw new Error("never arrived");
  });
  const onStart = (started: ChildProcess): void => {
    child = started;
  };
  const outcome = await run.run(args, { ...watching, onStart });
  hooks.delete(run.bucket);
  expect(isStopped).toBe(true);
  return outcome;
}
const kill = (child: ChildProcess): void => void child.kill("SIGKILL");

const journalFile = (run: TreeRun): string => {
  const folder = path.join(run.folder, "state/frameseal");
  const [name = ""] = readdirSync(folder).filter((each) => each.endsWith(".journal"));
  return path.join(folder, name);
};
const identityOf = (run: TreeRun) => ({
  endpoint: `${server.endpoint}/`,
  bucket: run.bucket,
  prefix: "tree/",
});

describe("between a kill and the next run", () => {
  test("parts that arrived are not sent again", async () => {
    const run = runs.next();
    await stoppedAt(run, put.args(run), isPart(3), kill);
    const from = server.calls.length;
    expect(await complaintsAfter(run, put)).toEqual([]);
    const parts = server.calls
      .slice(from)
      .flatMap(({ query }) => (query.has("partNumber") ? [query.get("partNumber")] : []));
    expect(parts).not.toContain("1");
    expect(
      server.calls.slice(from).filter(({ query, method }) => method === "POST" && query.has("uploads")),
    ).toEqual([]);
    checkNonces();
  });

  test("a source with other bytes is sent under another key, though size and times are as they were", async () => {
    const run = runs.next();
    await stoppedAt(run, put.args(run), isPart(3), kill);
    const name = path.join(run.folder, "tree/large.bin");
    const { atime, mtime, size } = statSync(name);
    const bytes = readFileSync(name);
    bytes.fill(0x5a, 0, 100_000);
    writeFileSync(name, bytes);
    utimesSync(name, atime, mtime);
    expect(statSync(name).size).toBe(size);
    expect(await complaintsAfter(run, put)).toEqual([]);
    checkNonces();
  });

  test.runIf(FULL)("a source that is gone leaves no upload", async () => {
    const run = runs.next();
    await stoppedAt(run, put.args(run), isPart(2), kill);
    rmSync(path.join(run.folder, "tree/large.bin"));
    expect(await complaintsAfter(run, put)).toEqual([]);
  });

  test.runIf(FULL)(
    "a journal that is deleted is not missed, and the upload that only it knew is told of",
    async () => {
      const run = runs.next();
      await stoppedAt(run, put.args(run), isPart(2), kill);
      for (const name of readdirSync(path.dirname(journalFile(run))))
        rmSync(path.join(run.folder, "state/frameseal", name), { recursive: true });
      const { code, stderr } = await run.run(put.args(run));
      expect([code, stderr]).toEqual([0, expect.stringMatching(/never ended.*frameseal uploads/)]);
      expect((await run.run(["uploads", run.address, "--abort"])).code).toBe(0);
      expect(await complaintsOf(run, put)).toEqual([]);
      // Nothing is sent again without it, either: the newest manifest tells what is stored.
      rmSync(journalFile(run));
      const from = server.calls.length;
      expect((await run.run(put.args(run))).code).toBe(0);
      const sent = server.calls
        .slice(from)
        .filter(({ method, key }) => method === "PUT" && !key.includes("/.frameseal/"));
      expect(sent.map(({ key }) => key)).toEqual([]);
      checkNonces();
    },
  );

  test("a damaged journal and one of another bucket are refused, and nothing is sent", async () => {
    const [run, other] = [runs.next(), runs.next()];
    const journal = path.join(run.folder, "j");
    expect((await run.run([...put.args(run), "--journal", journal])).code).toBe(0);
    const from = server.calls.length;
    const refused = await other.run([...put.args(other), "--journal", journal]);
    expect([refused.code, refused.stderr]).toEqual([
      1,
      expect.stringMatching(/of the bucket "bucket\d+", not of the bucket/),
    ]);
    writeFileSync(journal, readFileSync(journal).subarray(0, 10_000));
    const damaged = await run.run([...put.args(run), "--journal", journal]);
    expect([damaged.code, damaged.stderr]).toEqual([1, expect.stringMatching(/damaged.*remove it/)]);
    expect(server.calls.slice(from).filter(({ method }) => method !== "GET" && method !== "HEAD")).toEqual(
      [],
    );
    rmSync(journal);
    expect((await run.run([...put.args(run), "--journal", journal])).code).toBe(0);
    expect(await complaintsOf(run, put)).toEqual([]);
  });

  test.runIf(FULL)("a clock that is set back changes nothing", async () => {
    const run = runs.next();
    await stoppedAt(run, put.args(run), isPart(2), kill);
    run.write("tree/a.txt", "written under the old clock", new Date("1999-01-01"));
    const back = "const now = Date.now; Date.now = () => now() - 40 * 86400e3;";
    const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(back)}` };
    const { code, stderr } = await run.run(put.args(run), { env });
    expect([code, await complaintsOf(run, put)], stderr).toEqual([0, []]);
    checkNonces();
  });
});

describe("a disk that is full", () => {
  test.runIf(process.platform === "linux")("ends a run in one error, and the next one goes on", async () => {
    const run = runs.next();
    for (let index = 0; index < 300; index++) run.write(`tree/many/${index}`, String(index));
    const through = ["bash", "-c", 'trap \'\' XFSZ; ulimit -f 40; exec "$0" "$@"'];
    const { code, stderr } = await run.run(put.args(run), { through });
    expect([code, stderr]).toEqual([1, expect.stringMatching(/is the disk full\?/)]);
    expect(await complaintsAfter(run, put)).toEqual([]);
  });

  test.runIf(FULL && process.platform === "linux")("leaves nothing in part below a target", async () => {
    const get = command("get -r");
    const run = await prepared(get);
    const through = ["bash", "-c", 'trap \'\' XFSZ; ulimit -f 4000; exec "$0" "$@"'];
    const { code } = await run.run(get.args(run), { through });
    expect(code).not.toBe(0);
    expect(run.partial("out")).toEqual([]);
    expect(await complaintsAfter(run, get)).toEqual([]);
  });
});

describe("two at once", () => {
  test("on one journal: the second is told who has it, and the first goes on", async () => {
    const run = runs.next();
    let second: Outcome | undefined;
    hooks.set(run.bucket, async (call) => {
      if (!isPart(2)(call) || second !== undefined) return;
      second = await run.run(put.args(run));
    });
    const first = await run.run(put.args(run));
    hooks.delete(run.bucket);
    expect([second?.code, second?.stderr]).toEqual([1, expect.stringMatching(/in use by process \d+ on /)]);
    expect([first.code, await complaintsOf(run, put)], first.stderr).toEqual([0, []]);
  });

  test.runIf(FULL)("on two journals of one prefix: both end, and the tree is whole", async () => {
    const run = runs.next();
    const results = await Promise.all(
      ["one", "two"].map((name) => run.run([...put.args(run), "--journal", path.join(run.folder, name)])),
    );
    expect(
      results.map(({ code }) => code),
      results.map(({ stderr }) => stderr).join(),
    ).toEqual([0, 0]);
    expect(await complaintsOf(run, put)).toEqual([]);
    checkNonces();
  });
});

describe("SIGINT", () => {
  test("is answered with exit code 130, and the next run goes on with what the journal knows", async () => {
    const run = runs.next();
    const { code } = await stoppedAt(run, put.args(run), isPart(2), (child) => void child.kill("SIGINT"));
    expect(code).toBe(130);
    const journal = await openJournal({ file: journalFile(run), identity: identityOf(run) });
    expect(run.uploads).toEqual(journal.allUploads().map(({ key }) => key));
    journal.close();
    expect(await complaintsAfter(run, put)).toEqual([]);
    checkNonces();
  });

  test.runIf(FULL)("without a journal nothing is left", async () => {
    const run = runs.next();
    const args = [...put.args(run), "--no-journal"];
    const { code } = await stoppedAt(run, args, isPart(2), (child) => void child.kill("SIGINT"));
    expect([code, run.uploads]).toEqual([130, []]);
  });

  test.runIf(FULL)("of a get leaves no file in part", async () => {
    const get = command("get -r");
    const run = await prepared(get);
    const isLarge = ({ method, key }: S3Call): boolean => method === "GET" && key.endsWith("large.bin");
    const { code } = await stoppedAt(run, get.args(run), isLarge, (child) => void child.kill("SIGINT"));
    expect([code, run.partial("out"), run.files("out")["large.bin"]]).toEqual([130, [], undefined]);
    expect(await complaintsAfter(run, get)).toEqual([]);
  });
});
