// Commands whose output is stored: it counts only when the command exited with 0, and nothing of the command stays.
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { CreateBucketCommand } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { type CommandLine, RunningCommand } from "../../src/cli/from-command.ts";
import { frameseal, type RunOptions, type RunResult } from "../support/command-line.ts";
import { FULL } from "../support/full.ts";
import { S3Server } from "../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 }); // machines can be busy

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), "frameseal-command-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Of what takes a process for each case, every third but in the long run. */
const sample = <Case>(cases: readonly Case[]): readonly Case[] =>
  cases.filter((_, at) => FULL || at % 3 === 0);

const shell = (text: string): CommandLine => ({ kind: "shell", text });
const program = (...words: string[]): CommandLine => ({ kind: "program", words });

async function outputOf(line: CommandLine): Promise<Buffer> {
  const running = await RunningCommand.start(line);
  const chunks: Uint8Array[] = [];
  try {
    for await (const chunk of running.output()) chunks.push(chunk);
    return Buffer.concat(chunks);
  } finally {
    await running.stop();
  }
}

/** True while a process runs; one that waits to be collected runs no more. */
function runs(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

describe.skipIf(process.platform !== "linux")("commands", () => {
  test.each<[string, CommandLine, string]>([
    ["of a shell, with quotes and a pipe", shell(`printf '%s' "a  b" | tr a-z A-Z`), "A  B"],
    [
      "a program, whose arguments nobody splits",
      program("printf", "%s|", "a  b", `'"$HOME`),
      `a  b|'"$HOME|`,
    ],
    ["standard input is empty", shell("cat; printf done"), "done"],
    [
      "what a background process writes after the end belongs to it",
      shell("(sleep 0.3; printf late) &"),
      "late",
    ],
    ["nothing", program("true"), ""],
    ["a pipe of its own for standard output", shell("printf x >&1"), "x"],
  ])("%s", async (_name, line, output) => {
    expect((await outputOf(line)).toString()).toBe(output);
  });

  test("long output comes whole", async () => {
    const bytes = randomBytes(3_000_000);
    writeFileSync(path.join(folder, "long"), bytes);
    expect((await outputOf(program("cat", path.join(folder, "long")))).equals(bytes)).toBe(true);
  });

  test.each<[string, CommandLine, string]>([
    ["fails", program("false"), "the command failed with exit code 1; what it wrote is not stored"],
    ["fails after it wrote", shell("printf abc; exit 3"), "failed with exit code 3;"],
    ["closes its output and then fails", shell("printf a; exec 1>&-; sleep 0.1; exit 4"), "exit code 4;"],
    ["fails and leaves a process that holds the pipe", shell("sleep 60 & exit 5"), "exit code 5;"],
    ["is killed", shell("printf abc; kill -9 $$"), "was ended by SIGKILL;"],
    ["dies of a signal", shell("kill -TERM $$"), "was ended by SIGTERM;"],
    ["is not found by the shell", shell("no-such-command-7 secret"), "exit code 127: it was not found;"],
    ["is a folder for the shell", shell("/tmp"), "exit code 126: it could not be run;"],
    ["is wrong shell", shell("if ("), "failed with exit code 2;"],
    [
      "does not exist",
      program("no-such-command-7", "secret"),
      "cannot run no-such-command-7: no such command",
    ],
    ["is no program", program("/etc/passwd"), "cannot run passwd: permission denied"],
    ["fails in its first line", shell("set -e; false; printf x"), "exit code 1;"],
    ["fails in the middle of a pipeline", shell("printf a | (cat; exit 6) | cat"), "exit code 6;"],
  ])("one that %s has no output that ends", async (_name, line, text) => {
    const failure = await outputOf(line).then(
      () => undefined,
      (error: Error) => error,
    );
    expect(failure?.message).toContain(text);
    expect(failure?.message).not.toContain("secret");
  });

  test("all that it started ends with it, even what ignores SIGTERM", async () => {
    const text = `trap '' TERM; sleep 60 & echo $!; (trap '' TERM; sleep 61) & echo $!; echo $$; sleep 62`;
    const running = await RunningCommand.start(shell(text));
    let said = "";
    for await (const chunk of running.output()) {
      said += Buffer.from(chunk).toString();
      if (said.split("\n").length > 3) break;
    }
    const pids = said.trim().split("\n").map(Number);
    expect(pids.map(runs)).toEqual([true, true, true]);
    await running.stop();
    await vi.waitFor(() => expect(pids.map(runs)).toEqual([false, false, false]));
  });
});

describe.skipIf(process.platform !== "linux")("put", () => {
  const Bucket = "bucket";
  let server: S3Server;
  beforeAll(async () => {
    server = await S3Server.start();
    await server.client().send(new CreateBucketCommand({ Bucket }));
    await frameseal(["keygen", "-o", "a.jwk"], { cwd: folder });
  });
  afterAll(() => server[Symbol.asyncDispose]());
  beforeEach(() => {
    server.fault = () => undefined;
    server.buckets.get(Bucket)?.clear();
  });

  const env = { AWS_ACCESS_KEY_ID: "a", AWS_SECRET_ACCESS_KEY: "b", AWS_REGION: "us-east-1" };
  const run = (args: readonly string[], options: Partial<RunOptions> = {}): Promise<RunResult> =>
    frameseal(["put", "-k", "a.jwk", "--endpoint", server.endpoint, ...args], {
      cwd: folder,
      env,
      ...options,
    });
  const address = `s3://${Bucket}/object`;
  const isThere = (): boolean => server.buckets.get(Bucket)?.has("object") === true;
  const expectNothing = (): void =>
    expect({ isThere: isThere(), uploads: server.uploads.size }).toEqual({ isThere: false, uploads: 0 });

  test("stores what a command wrote that exited with 0", async () => {
    const { code, stdout } = await run([
      "--json",
      address,
      "--",
      "printf",
      "%s%s%s",
      "",
      "-k 'a  b'",
      "--json",
    ]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout.toString())).toMatchObject({
      stored: true,
      plaintextLength: 15,
      command: { exitCode: 0, signal: null },
    });
    expect(isThere()).toBe(true);
  });

  test.each<[string, readonly string[], string]>([
    ["fails", ["--from-command", "false", address], "exit code 1"],
    [
      "fails after parts have left",
      ["--part-size", "5M", "--from-command", "head -c 20000000 /dev/zero; exit 3", address],
      "exit code 3",
    ],
    [
      "writes nothing",
      [address, "--", "true"],
      "the command wrote nothing; nothing is stored (--allow-empty",
    ],
    ["does not exist", [address, "--", "no-such-command-7"], "no such command"],
  ])("a command that %s leaves the old object", async (_name, args, text) => {
    await run(["--from-command", "printf old", address]);
    const before = server.object(Bucket, "object").body;
    const { code, stderr } = await run(args);
    expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining(text) });
    expect(stderr).toMatch(/^frameseal: [^\n]+\n$/);
    expect(server.object(Bucket, "object").body).toBe(before);
    expect(server.uploads.size).toBe(0);
  });

  test("its own errors are passed on, and JSON tells how it ended", async () => {
    const { code, stdout, stderr } = await run([
      "--json",
      "--from-command",
      "echo no luck >&2; exit 9",
      address,
    ]);
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: "no luck\nframeseal: the command failed with exit code 9; what it wrote is not stored\n",
    });
    expect(JSON.parse(stdout.toString())).toMatchObject({
      stored: false,
      command: { exitCode: 9, signal: null },
    });
    expectNothing();
  });

  test.each<[string, readonly string[]]>([
    ["no address before the command", ["--", "printf", "x"]],
    ["a file and a command", ["a.jwk", address, "--", "printf", "x"]],
    ["two commands", ["--from-command", "printf x", address, "--", "printf", "x"]],
    ["a file beside --from-command", ["--from-command", "printf x", "a.jwk", address]],
    ["an empty text", ["--from-command", " ", address]],
    ["no command", [address, "--"]],
    ["an empty command", [address, "--", "", "x"]],
    ["no name to go with a folder", ["--from-command", "printf x", `s3://${Bucket}/folder/`]],
  ])("%s is a mistake, and nothing runs", async (_name, args) => {
    const calls = server.calls.length;
    const { code, stderr } = await run(args);
    expect({ code, stderr }).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^frameseal: [^\n]+\n/),
    });
    expect(server.calls.length).toBe(calls);
  });

  test("nothing runs when something else is wrong", async () => {
    const marker = path.join(folder, "ran");
    const { code } = await run(["-k", "missing.jwk", "--from-command", `touch ${marker}; printf x`, address]);
    expect(code).toBe(1);
    expect(existsSync(marker)).toBe(false);
  });

  test.each<[NodeJS.Signals, number]>(
    sample([
      ["SIGTERM", 143],
      ["SIGINT", 130],
      ["SIGHUP", 129],
    ]),
  )("%s ends it, and the upload", async (signal, exitCode) => {
    const file = path.join(folder, `pids-${signal}`);
    const text = `sleep 60 & echo $! $$ > ${file}; head -c 12000000 /dev/zero; sleep 60`;
    const result = await run(["--part-size", "5M", "--from-command", text, address], {
      onStart: (child) =>
        void vi
          .waitFor(() => expect(server.uploads.size).toBe(1), { timeout: 50_000 })
          .then(() => child.kill(signal)),
    });
    expect({ code: result.code, stderr: result.stderr }).toEqual({ code: exitCode, stderr: "" });
    const pids = readFileSync(file, "utf8").trim().split(" ").map(Number);
    await vi.waitFor(() => expect(pids.map(runs)).toEqual([false, false]));
    expectNothing();
  });

  test("a failed upload ends it", async () => {
    server.fault = ({ method }) =>
      method === "PUT" || method === "POST"
        ? { kind: "error", status: 403, code: "AccessDenied" }
        : undefined;
    const file = path.join(folder, "pids-denied");
    const text = `echo $$ > ${file}; head -c 20000000 /dev/zero; sleep 60`;
    const { code, stderr } = await run(["--part-size", "5M", "--from-command", text, address]);
    expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining("AccessDenied") });
    await vi.waitFor(() => expect(runs(Number(readFileSync(file, "utf8")))).toBe(false));
    expectNothing();
  });

  test("when frameseal is killed, its next write fails", async () => {
    const file = path.join(folder, "pids-killed");
    const text = `echo $$ > ${file}; head -c 12000000 /dev/zero; while sleep 0.05; do echo x || exit 1; done`;
    const result = await run(["--part-size", "5M", "--from-command", text, address], {
      onStart: (child) =>
        void vi
          .waitFor(() => expect(server.uploads.size).toBeGreaterThan(0), { timeout: 50_000 })
          .then(() => child.kill("SIGKILL")),
    });
    expect(result.signal).toBe("SIGKILL");
    await vi.waitFor(() => expect(runs(Number(readFileSync(file, "utf8")))).toBe(false), { timeout: 10_000 });
    expect(isThere()).toBe(false);
    server.uploads.clear();
  });

  test("a command that never exits ends with the time limit", async () => {
    const { code, stderr } = await run([
      "--timeout",
      "3",
      "--from-command",
      "printf x; exec 1>&-; sleep 60",
      address,
    ]);
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(/^frameseal: not done within 3 s \(--timeout\); .*\n$/),
    });
    expectNothing();
  });

  test.each<[string, string, number, string]>(
    sample([
      ["a failed producer", "false | %", 1, "standard input is empty; nothing is stored (--allow-empty"],
      ["the null device", "% < /dev/null", 1, "standard input is empty"],
      ["an empty file as standard input", ": > empty; % < empty", 1, "standard input is empty"],
      ["a closed descriptor", "% <&-", 1, "standard input is closed"],
      ["a closed descriptor, whatever is allowed", "% --allow-empty <&-", 1, "standard input is closed"],
      ["a folder", "% --allow-empty < .", 1, "standard input is a folder"],
      ["a failed producer, allowed", "false | % --allow-empty", 0, ""],
      ["a pipe that nobody writes to", "mkfifo fifo; % --timeout 2 fifo", 1, "(--timeout)"],
      ["an empty pipe by name", "% /dev/fd/3 3< <(false)", 1, "is no ordinary file"],
      ["the null device by name", "% /dev/null", 1, "is no ordinary file"],
      ["an empty file by name", ": > empty; % empty", 0, ""],
    ]),
  )("%s", async (_name, line, exitCode, text) => {
    const { execFile } = await import("node:child_process");
    const main = path.resolve(import.meta.dirname, "../../dist/cli/main.js");
    const words = [process.execPath, main, "put", "-k", "a.jwk", "--endpoint", server.endpoint];
    const put = words.map((word) => `'${word}'`).join(" ");
    const [before = "", after = ""] = line.split("%");
    const [, operands = "", redirection = ""] = /^([^<]*?)( \d?<.*)?$/.exec(after) ?? [];
    const script = `${before}${put}${operands} ${address}${redirection ?? ""}`;
    const result = await new Promise<{ code: number; stderr: string }>((resolve) => {
      execFile(
        "bash",
        ["-c", script],
        { cwd: folder, env: { ...process.env, ...env } },
        (error, _stdout, stderr) => resolve({ code: error === null ? 0 : Number(error.code), stderr }),
      );
    });
    expect(result).toMatchObject({ code: exitCode, stderr: expect.stringContaining(text) });
    if (exitCode === 0) expect(isThere()).toBe(true);
    else expectNothing();
  });
});
