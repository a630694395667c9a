// What every command says when it may not write, has no descriptor left, or was started with closed descriptors: one
// line and an exit code of the table, and never a hang. A command without a row is red.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { createProgram } from "../../src/cli/program.ts";
import { FULL } from "../support/full.ts";

vi.setConfig({ testTimeout: 120_000 }); // machines can be busy

const program = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const HANG_MS = 60_000;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "frameseal-limits-"));
  writeFileSync(path.join(folder, "plain"), Buffer.alloc(300_000, 7));
  mkdirSync(path.join(folder, "tree"));
  writeFileSync(path.join(folder, "tree", "one"), "one");
  for (const line of ["$F keygen -o a.jwk", "$F encrypt -k a.jwk -o message plain"])
    expect((await shell(line)).code).toBe(0);
});
afterAll(() => {
  for (const name of [folder, `${folder}-state`]) rmSync(name, { recursive: true, force: true });
});

interface Outcome {
  /** null: it was killed because it did not end. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a line of the shell, in which $F is the program. */
function shell(line: string): Promise<Outcome> {
  const env = {
    ...process.env,
    NODE_NO_WARNINGS: "1",
    F: `${process.execPath} ${program}`,
    AWS_ACCESS_KEY_ID: "a",
    AWS_SECRET_ACCESS_KEY: "b",
    AWS_REGION: "us-east-1",
    XDG_STATE_HOME: `${folder}-state`,
  };
  const child = spawn("bash", ["-c", line], { cwd: folder, env, timeout: HANG_MS });
  child.stdin.end();
  const said = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const)
    child[name].on("data", (chunk: Buffer) => {
      said[name] += chunk.toString("latin1");
    });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, ...said }));
  });
}

interface Row {
  /** What comes after the name of the command. */
  readonly words: string;
  readonly reads?: "standard input";
  readonly writes?: "standard output" | "out";
  /** Of a run without any limit: nobody answers at the address. */
  readonly code: 0 | 1;
}
const nowhere = "--endpoint http://127.0.0.1:9 --connect-timeout 1";
const tree = `${nowhere} --retries 0`;
const rows: Readonly<Record<string, readonly Row[]>> = {
  keygen: [{ words: "-o out", writes: "out", code: 0 }],
  encrypt: [
    { words: "-k a.jwk plain", writes: "standard output", code: 0 },
    { words: "-k a.jwk -o out plain", writes: "out", code: 0 },
    { words: "-k a.jwk -o out", reads: "standard input", writes: "out", code: 0 },
  ],
  decrypt: [
    { words: "-k a.jwk message", writes: "standard output", code: 0 },
    { words: "-k a.jwk -o out message", writes: "out", code: 0 },
  ],
  inspect: [{ words: "message", writes: "standard output", code: 0 }],
  verify: [{ words: "-k a.jwk --json message", writes: "standard output", code: 0 }],
  put: [
    { words: `-k a.jwk ${nowhere} s3://bucket/key`, reads: "standard input", code: 1 },
    { words: `-r -k a.jwk --no-journal --json ${tree} tree s3://bucket/p/`, code: 1 },
  ],
  get: [
    { words: `-k a.jwk ${nowhere} s3://bucket/key -`, writes: "standard output", code: 1 },
    { words: `-r -k a.jwk ${tree} s3://bucket/p/ out`, code: 1 },
  ],
  sync: [{ words: `-k a.jwk ${tree} tree s3://bucket/p/`, code: 1 }],
  ls: [{ words: `-r ${nowhere} s3://bucket/p/`, writes: "standard output", code: 1 }],
  rm: [{ words: `-r ${nowhere} s3://bucket/p/`, code: 1 }],
  uploads: [{ words: `${nowhere} s3://bucket/p/`, writes: "standard output", code: 1 }],
  reencrypt: [{ words: `-r --from a.jwk ${tree} s3://bucket/p/`, code: 1 }],
  cat: [{ words: `-k a.jwk ${nowhere} s3://bucket/key`, writes: "standard output", code: 1 }],
  rewrap: [{ words: `--from a.jwk --to a.jwk ${nowhere} s3://bucket/key`, code: 1 }],
  policy: [{ words: "bucket", writes: "standard output", code: 0 }],
  engine: [{ words: "", writes: "standard output", code: 0 }],
  bench: [{ words: "--help", writes: "standard output", code: 0 }],
};
const cases = Object.entries(rows).flatMap(([command, each]) =>
  each.map((row) => ({ ...row, line: `$F ${command} ${row.words}` })),
);

/** Of what is of one kind for all commands, a few stand for the rest. */
const some = (each: readonly (typeof cases)[number][]) =>
  FULL ? each : each.filter(({ line }) => /^\$F (encrypt|put|engine) /.test(line));

test("there is a row for every command", async () => {
  const { commands } = await createProgram();
  expect(Object.keys(rows).sort()).toEqual(commands.map((command) => command.name()).sort());
});

/** Nothing of a failed run stands. */
function expectNothingLeft(): void {
  expect(readdirSync(folder).sort()).toEqual(["a.jwk", "message", "plain", "tree"]);
}
function removeOut(): void {
  for (const name of ["out", "out.pub"]) rmSync(path.join(folder, name), { force: true });
}
/** A run on a tree ends with a summary as well. */
const toldIn = (line: string): RegExp =>
  line.includes("s3://bucket/p/") ? /^(frameseal: [^\n]+\n)+$/ : /^frameseal: [^\n]+\n$/;
const isDefect = /internal error|nknown (system )?error|\n\s+at /;

describe.skipIf(process.platform !== "linux")("limits", () => {
  test.each(some(cases))("$line <&-", async ({ line, reads, code }) => {
    const ended = await shell(`${line} <&-`);
    expect(ended.stderr).not.toMatch(isDefect);
    if (reads === undefined) expect(ended.code, ended.stderr).toBe(code);
    else
      expect(ended).toMatchObject({ code: 1, stderr: expect.stringMatching(/standard input:? is closed/) });
    if (ended.code !== 0) expect(ended.stderr).toMatch(toldIn(line));
    if (ended.code !== 0) expectNothingLeft();
    removeOut();
  });

  test.each(cases.filter(({ reads }) => reads === undefined))("$line >&-", async ({ line, writes, code }) => {
    const ended = await shell(`${line} >&-`);
    expect(ended.stderr).not.toMatch(isDefect);
    if (writes !== "standard output") expect(ended.code, ended.stderr).toBe(code);
    else expect(ended.code, "what nobody gets is no success").toBe(1);
    if (ended.code !== 0) expect(ended.stderr).toMatch(toldIn(line));
    removeOut();
  });

  test.each(some(cases.filter(({ reads }) => reads === undefined)))("$line 2>&-", async ({ line, code }) => {
    expect((await shell(`${line} 2>&-`)).code).toBe(code);
    removeOut();
  });

  test.each(cases.filter(({ writes, code }) => writes === "standard output" && code === 0))(
    "$line > /dev/full",
    async ({ line }) => {
      const stderr = expect.stringMatching(/^frameseal: [^\n]*no space left on the device[^\n]*\n$/);
      expect(await shell(`${line} > /dev/full`)).toEqual({ code: 1, stdout: "", stderr });
    },
  );

  test.each(cases.filter(({ writes, code }) => writes === "out" && code === 0))(
    "$line, where files may have no byte",
    async ({ line, reads }) => {
      const stdin = reads === undefined ? "" : "head -c 100000 plain | ";
      const { code, stderr } = await shell(`${stdin}(ulimit -f 0; ${line})`);
      expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(toldIn(line)) });
      expect(stderr).toMatch(/larger than allowed/);
      expectNothingLeft();
    },
  );

  test("a descriptor less than is needed", async () => {
    let limit = 16;
    while ((await shell(`ulimit -n ${limit}; exec $F --version`)).code !== 0) limit += 1;
    for (const { line, code, reads } of some(cases)) {
      const ended = await shell(`ulimit -n ${limit}; ${line} ${reads === undefined ? "" : "< plain"}`);
      expect([0, 1], `${line}: ${ended.stderr}`).toContain(ended.code);
      if (code === 1) expect(ended.code).toBe(1);
      if (ended.code === 1) expect(ended.stderr, line).toMatch(toldIn(line));
      expect(ended.stderr, line).not.toMatch(isDefect);
      expect(existsSync(path.join(folder, "out"))).toBe(ended.code === 0 && line.includes("-o out"));
      removeOut();
      expectNothingLeft();
    }
  });
});
