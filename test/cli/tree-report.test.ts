// What commands on trees tell: records, lines, the log, progress on terminals of any width, and the exit code.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { describe as describeFailure, exitCodeOf } from "../../src/cli/failure.ts";
import { note } from "../../src/cli/output.ts";
import { columnsOf, fitted } from "../../src/cli/text-width.ts";
import { reported, TreeReport } from "../../src/cli/tree/report.ts";
import type { TreeReportOptions } from "../../src/cli/tree/report-options.ts";
import { FramesealError } from "../../src/errors.ts";
import { type Observed, observe } from "../support/observed-command.ts";
import { Screen } from "../support/screen.ts";

vi.mock("node:fs", async (original) => {
  const { observedFs } = await import("../support/observed-command.ts");
  return observedFs(await original<typeof import("node:fs")>());
});

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), "frameseal-report-"));
});
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllEnvs();
});

/** Runs an operation as a command does. */
function tell(
  options: TreeReportOptions,
  operation: (report: TreeReport) => void | Promise<void>,
  terminal = false,
): Promise<Observed> {
  const run = async (): Promise<number> => {
    try {
      const report = new TreeReport("put", options);
      await reported(report, async () => operation(report));
      return 0;
    } catch (error) {
      note(describeFailure(error));
      return exitCodeOf(error);
    }
  };
  return observe(run, [], terminal);
}
const linesOf = (text: string): unknown[] =>
  text
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line));
const denied = (file: string): Error =>
  Object.assign(new Error(`EACCES: permission denied, open '${file}'`), {
    code: "EACCES",
    syscall: "open",
    path: file,
  });

const evil = "a\u001b[31m\u202eb\nc";

describe("records", () => {
  test("are pure lines of JSON, whose keys read back as they are", async () => {
    const { code, stdout, stderr } = await tell({ json: true }, (report) => {
      report.item({
        action: "put",
        path: evil,
        key: `p/${evil}`,
        type: "file",
        size: 5,
        mtimeNs: 2n ** 62n + 1n,
        reason: "new",
      });
      report.item({ action: "skip", path: "same", size: 7, reason: "unchanged" });
      report.warn("a socket is skipped", "socket");
      report.fact("server", { checksums: true, weakETags: false });
    });
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: expect.stringMatching(
        /^frameseal: warning: socket: [^\n]*\nframeseal: put: 1 stored \(5 B\), 1 unchanged \(7 B\), 1 warning in [\d.]+ s\n$/,
      ),
    });
    expect(stdout.replaceAll("\n", "")).not.toMatch(/\p{C}/u);
    expect(linesOf(stdout)).toEqual([
      {
        record: "item",
        action: "put",
        path: evil,
        key: `p/${evil}`,
        type: "file",
        size: 5,
        mtimeNs: "4611686018427387905",
        reason: "new",
      },
      { record: "item", action: "skip", path: "same", size: 7, reason: "unchanged" },
      { record: "warning", text: "a socket is skipped", path: "socket" },
      { record: "server", checksums: true, weakETags: false },
      {
        record: "summary",
        command: "put",
        complete: true,
        exitCode: 0,
        done: { put: { entries: 1, bytes: 5 }, skip: { entries: 1, bytes: 7 } },
        failed: 0,
        untrusted: 0,
        warnings: 1,
        seconds: expect.any(Number),
        failures: [],
        facts: { server: { checksums: true, weakETags: false } },
      },
    ]);
  });

  test("of failures say why; the exit code is 4", async () => {
    const { code, stdout, stderr } = await tell({ json: true }, (report) => {
      report.item({ action: "put", path: "fine", size: 1 });
      report.item({ action: "put", path: "a", size: 9, error: denied("a") });
      report.item({ action: "put", path: evil, error: denied("other") });
    });
    expect(code).toBe(4);
    expect(stderr.split("\n")).toEqual([
      "frameseal: a: permission denied",
      "frameseal: a\\u001b[31m\\u202eb\\u000ac: other: permission denied",
      expect.stringMatching(/^frameseal: put: 1 stored \(1 B\), 2 failed in /),
      "frameseal: 2 failed: a, a\\u001b[31m\\u202eb\\u000ac",
      "",
    ]);
    const [, first, , summary] = linesOf(stdout);
    expect(first).toMatchObject({ record: "item", path: "a", error: "a: permission denied", code: "EACCES" });
    expect(summary).toMatchObject({
      exitCode: 4,
      failed: 2,
      complete: true,
      failures: [{ path: "a", error: "a: permission denied" }, { path: evil }],
    });
  });

  test.each([
    { error: new FramesealError("AUTHENTICATION_FAILED", "frame 3 is not authentic") },
    { error: new Error("is missing"), untrusted: true },
  ])("of what cannot be trusted: the exit code is 3", async (failure) => {
    const { code, stdout } = await tell({ json: true }, (report) => {
      report.item({ action: "get", path: "a", ...failure });
      report.item({ action: "get", path: "b", error: denied("b") });
    });
    expect(code).toBe(3);
    expect(linesOf(stdout)).toMatchObject([
      { untrusted: true },
      {},
      { exitCode: 3, failed: 2, untrusted: 1 },
    ]);
  });

  test("name the entry, though its name be part of what is told", async () => {
    const { stderr } = await tell({}, (report) => {
      for (const path of ["a", "key", "no"])
        report.item({
          action: "get",
          path,
          error: new FramesealError("AUTHENTICATION_FAILED", "no keyring has a key: none"),
        });
      report.item({ action: "put", path: "sub/b", error: denied("/srv/sub/b") });
    });
    expect(stderr).toContain("frameseal: a: no keyring has");
    expect(stderr).toContain("frameseal: key: no keyring has");
    expect(stderr).toContain("frameseal: no: no keyring has");
    expect(stderr).toMatch(/^frameseal: \/srv\/sub\/b: /m);
  });

  test("of a run that ends before its end say so", async () => {
    const { code, stdout, stderr } = await tell({ json: true }, (report) => {
      report.item({ action: "put", path: "a", size: 1 });
      throw new FramesealError("NETWORK", "the connection broke off");
    });
    expect(code).toBe(1);
    expect(linesOf(stdout).at(-1)).toMatchObject({
      complete: false,
      exitCode: 1,
      done: { put: { entries: 1, bytes: 1 } },
      error: "the connection broke off",
      code: "NETWORK",
    });
    expect(stderr).toMatch(/put: 1 stored[^\n]*\nframeseal: the connection broke off\n$/);
  });

  test("with --quiet are those of failures, and the summary", async () => {
    const operation = (report: TreeReport): void => {
      report.item({ action: "put", path: "fine", size: 1 });
      report.item({ action: "put", path: "a", error: denied("a") });
      report.warn("a socket is skipped", "socket");
      report.fact("server", {});
    };
    const json = await tell({ json: true, quiet: true }, operation);
    expect(linesOf(json.stdout)).toMatchObject([{ path: "a" }, { record: "summary", warnings: 1 }]);
    const { stdout, stderr } = await tell({ quiet: true }, operation);
    expect({ stdout, stderr }).toEqual({
      stdout: "",
      stderr: "frameseal: a: permission denied\nframeseal: 1 failed: a\n",
    });
    expect(await tell({ quiet: true }, (report) => report.warn("w"))).toMatchObject({ stderr: "", code: 0 });
  });

  test("of a dry run are lines of what would be done", async () => {
    const { stdout, stderr } = await tell({ dryRun: true }, (report) => {
      report.item({ action: "put", path: evil, type: "file", size: 2048, reason: "new", dryRun: true });
      report.item({
        action: "delete",
        path: "old/",
        type: "directory",
        reason: "not in the source",
        dryRun: true,
      });
      report.item({ action: "skip", path: "same", dryRun: true });
    });
    expect(stdout).toBe(
      "would store a\\u001b[31m\\u202eb\\u000ac (new, 2.00 KiB)\nwould delete old/ (directory, not in the source)\n",
    );
    expect(stderr).toMatch(/^frameseal: put: 1 would store \(2\.00 KiB\), 1 would delete, 1 unchanged in /);
  });
});

describe("the log", () => {
  test("has every record with its time, is appended to and for its owner alone", async () => {
    const file = path.join(folder, "log");
    for (const name of ["one", "two"])
      await tell({ logFile: file, quiet: true }, (report) => {
        report.item({ action: "put", path: `${name}${evil}`, mtimeNs: 1n });
        report.warn("a socket is skipped");
      });
    const lines = linesOf(readFileSync(file, "utf8"));
    expect(lines).toMatchObject(
      ["one", "two"].flatMap((name) => [
        { record: "item", path: `${name}${evil}`, mtimeNs: "1" },
        { record: "warning" },
        { record: "summary" },
      ]),
    );
    for (const line of lines) expect(line).toMatchObject({ time: expect.stringMatching(/^\d{4}-.*Z$/) });
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  test("that cannot be opened is told before anything is done", async () => {
    let ran = false;
    const { code, stderr } = await tell({ logFile: path.join(folder, "absent", "log") }, () => {
      ran = true;
    });
    expect({ code, ran }).toEqual({ code: 1, ran: false });
    expect(stderr).toContain("no such file or folder");
    expect((await tell({ logFile: folder }, () => {})).stderr).toContain("is a folder");
  });

  test.runIf(existsSync("/dev/full"))("that is full fails the run, and does not end it", async () => {
    const { code, stderr } = await tell({ logFile: "/dev/full" }, (report) => {
      report.item({ action: "put", path: "a", size: 1 });
      report.item({ action: "put", path: "b", size: 1 });
      expect(report.signal.aborted).toBe(false);
    });
    expect(code).toBe(4);
    expect(stderr).toMatch(/^frameseal: --log-file: no space left on the device\nframeseal: put: 2 stored/);
  });
});

test.each(["a", "e", "is", "it is", "missing"])("a failure of %s is told with its name", async (name) => {
  const { stderr } = await tell({}, (report) => {
    report.item({
      action: "verify",
      path: name,
      error: new FramesealError("INVALID_MANIFEST", "it is missing"),
    });
  });
  expect(stderr).toMatch(new RegExp(`^frameseal: ${name}: it is missing$`, "m"));
});

test("on a terminal, lines are bounded; elsewhere all are there", async () => {
  const operation = (report: TreeReport): void => {
    for (let at = 0; at < 50; at++) {
      report.item({ action: "put", path: `f${at}`, error: denied(`f${at}`) });
      report.warn("a socket is skipped", `s${at}`);
    }
  };
  const count = (text: string, pattern: RegExp): number => [...text.matchAll(pattern)].length;
  const log = await tell({ progress: false }, operation);
  const terminal = await tell({ progress: false }, operation, true);
  expect(count(log.stderr, /permission denied/g)).toBe(50);
  expect(count(log.stderr, /is skipped/g)).toBe(50);
  expect(count(terminal.stderr, /permission denied/g)).toBe(20);
  expect(count(terminal.stderr, /is skipped/g)).toBe(20);
  expect(count(terminal.stderr, /--log-file has all/g)).toBe(2);
  for (const { stderr, code } of [log, terminal]) {
    expect(code).toBe(4);
    expect(stderr).toMatch(/50 failed: f0, f1, [^\n]*f9, and 40 more\n$/);
  }
});

test("contradictions are refused", async () => {
  expect(await tell({ quiet: true, progress: true }, () => {})).toMatchObject({ code: 2 });
});

describe("progress", () => {
  /** What a terminal of so many columns shows while files are on their way, and what is left on it. */
  async function drawn(columns: number, options: TreeReportOptions = {}): Promise<Screen> {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
    const before = process.stderr.columns;
    process.stderr.columns = columns;
    const screen = new Screen(columns);
    try {
      const { stderr } = await tell(
        options,
        (report) => {
          report.total(2000, 40 * 2 ** 30, true);
          report.moved(`disk/${evil}/日本語のファイル名.qcow2`, 300 * 2 ** 20);
          report.moved("data/a-database-with-a-long-name.dump", 100 * 2 ** 20);
          report.moved("small", 20);
          vi.advanceTimersByTime(1000);
          report.item({ action: "put", path: "small", size: 20 });
          report.item({ action: "put", path: "bad", error: denied("bad") });
          vi.advanceTimersByTime(1000);
          note("between");
        },
        true,
      );
      screen.write(stderr);
      return screen;
    } finally {
      process.stderr.columns = before;
    }
  }

  test.each([20, 40, 80, 200])("fits in %i columns, and leaves nothing behind", async (columns) => {
    const screen = await drawn(columns);
    expect(screen.widest).toBeLessThan(columns);
    const seen = screen.history.join("\n");
    expect(seen).toContain("put 2/2,000");
    if (columns >= 80) {
      expect(seen).toMatch(/^put 2\/2,000 files {2}400 MiB\/40\.0 GiB {2}0 % {2}\d+ MiB\/s {2}.* left$/m);
      expect(seen).toMatch(
        /^ {3}300 MiB {2}disk\/a\\u001b\[31m\\u202eb\\u000ac\/日本語のファイル名\.qcow2$/m,
      );
    } else expect(seen).toMatch(/^ {3}300 MiB {2}d.*…/m);
    expect(seen).not.toContain("small");
    const left = screen.text.replace(/\n/g, "");
    expect(left).toMatch(/^frameseal: bad: permission deniedframeseal: betweenframeseal: put: 1 stored/);
    expect(left).toMatch(/1 failed: bad$/);
  });

  test("is no escape sequence of names", async () => {
    expect((await drawn(120)).unknown).toEqual([]);
  });

  test("is a line now and then where nothing can be drawn over", async () => {
    vi.stubEnv("TERM", "dumb");
    const dumb = await drawn(80, { progress: true });
    expect(dumb.unknown).toEqual([]);
    expect(dumb.text).not.toContain("/2,000 files"); // only after five seconds
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
    const { stderr } = await tell({ progress: true }, (report) => {
      report.total(10, 1000, false);
      report.item({ action: "put", path: "a", size: 100 });
      vi.advanceTimersByTime(10_000);
    });
    expect(stderr.match(/^frameseal: put 1\/10\+ files {2}100 B\/1000 B\+ {2}0 B\/s$/gm)).toHaveLength(2);
  });

  test("is nothing with --quiet, with --no-progress and where no terminal is", async () => {
    const operation = (report: TreeReport): void => {
      vi.advanceTimersByTime(10_000);
      report.item({ action: "put", path: "a", size: 100 });
    };
    for (const [options, terminal] of [
      [{ quiet: true }, true],
      [{ progress: false }, true],
      [{}, false],
    ] as const) {
      vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
      const { stderr } = await tell(options, operation, terminal);
      expect(stderr.replace(/^frameseal: put: 1 stored.*\n$/, "")).toBe("");
    }
  });
});

describe("the width of text", () => {
  test.each([
    ["abc", 3],
    ["日本", 4],
    ["e\u0301", 1],
    ["🙂", 2],
    ["한글", 4],
    ["ﾊﾝ", 2],
    ["Ｆ", 2],
  ])("%s takes %i columns", (text, columns) => expect(columnsOf(text)).toBe(columns));

  test("that does not fit is cut in its middle, and between characters", () => {
    for (const text of [
      "a-long-name-of-a-file.dump",
      "日本語のファイル名.dump",
      "e\u0301".repeat(40),
      "🙂".repeat(20),
    ])
      for (let columns = 0; columns < 50; columns++) {
        const cut = fitted(text, columns);
        expect(columnsOf(cut)).toBeLessThanOrEqual(columns);
        expect(Buffer.from(cut).toString()).toBe(cut);
        if (columnsOf(text) <= columns) expect(cut).toBe(text);
        else if (columns > 0) expect(columnsOf(cut)).toBeGreaterThan(columns - 4);
        if (cut !== text) expect(cut).not.toMatch(/…\p{M}/u);
      }
  });
});

/** Runs the built report in a process of its own. */
const script = (body: string): readonly string[] => [
  "--input-type=module",
  "--eval",
  `import { reported, TreeReport } from ${JSON.stringify(new URL("../../dist/cli/tree/report.js", import.meta.url).href)};
   import { listenForSignals, interruptedExitCode } from ${JSON.stringify(new URL("../../dist/cli/interrupt.js", import.meta.url).href)};
   import { exitCodeOf } from ${JSON.stringify(new URL("../../dist/cli/failure.js", import.meta.url).href)};
   listenForSignals();
   const item = (at) => ({ action: "put", path: "f" + at, size: 1 });
   const until = (signal) => new Promise((resolve, reject) => {
     if (signal.aborted) return reject(signal.reason);
     const timer = setInterval(() => {}, 1000);
     signal.addEventListener("abort", () => { clearInterval(timer); reject(signal.reason); });
   });
   const report = new TreeReport("put", { json: true });
   try { await reported(report, async () => { ${body} }); }
   catch (error) { process.exitCode = interruptedExitCode() ?? exitCodeOf(error); }`,
];

test("a reader of the records that ends, ends the run with 141", () => {
  const file = path.join(folder, "script.mjs");
  writeFileSync(
    file,
    script("for (let at = 0; at < 1e5; at++) report.item(item(at)); await until(report.signal);")[2] ?? "",
  );
  const shell = `"$0" "$1" | head -n 1; echo "exit \${PIPESTATUS[0]}"`;
  const out = execFileSync("bash", ["-c", shell, process.execPath, file], {
    encoding: "utf8",
    timeout: 20_000,
    stdio: ["ignore", "pipe", "ignore"],
  });
  expect(out).toMatch(/^\{"record":"item","action":"put","path":"f0","size":1\}\nexit 141\n$/);
});

test("SIGINT leaves a summary of what was done", async () => {
  const child = spawn(process.execPath, script("report.item(item(0)); await until(report.signal);"), {
    cwd: fileURLToPath(new URL("../..", import.meta.url)),
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [stdout, stderr] = ["", ""];
  child.stderr.on("data", (chunk) => (stderr += chunk));
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
    if (/"f0"/.test(stdout)) child.kill("SIGINT");
  });
  const code = await new Promise((resolve) => child.on("close", resolve));
  expect(code).toBe(130);
  expect(stderr).toMatch(/^frameseal: put interrupted: 1 stored \(1 B\) in [^\n]*\n$/);
  expect(linesOf(stdout).at(-1)).toMatchObject({ record: "summary", complete: false, exitCode: 130 });
});
