// Every command of docs/backup.md is run, in its order, against a strict S3. Places of a real machine stand below a
// folder; PostgreSQL and the AWS command line are small programs that do what is needed of them.
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { CreateBucketCommand } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { run } from "../../src/cli/program.ts";
import { observe } from "../support/observed-command.ts";
import { S3Server } from "../support/s3-server.ts";

vi.mock("node:fs", async (original) => {
  const { observedFs } = await import("../support/observed-command.ts");
  return observedFs(await original<typeof import("node:fs")>());
});

const guide = readFileSync(new URL("../../docs/backup.md", import.meta.url), "utf8");
const blocks = [...guide.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, language = "", text = ""]) => ({
  language,
  text,
}));

/** Programs that are not here, as what they do for the guide. */
const standIns: Readonly<Record<string, string>> = {
  pg_dump: `for at in $(seq 2000); do echo "row $at of $*"; done`,
  pg_dumpall: "echo roles",
  createdb: `touch "$ROOT/$1.db"`,
  pg_restore: `case $1 in --list) grep -c . "$2";; --dbname=*) cat > "$ROOT/\${1#--dbname=}.db";; *) exit 1;; esac`,
  // Only that what it is given is JSON, and complete.
  aws: `for word in "$@"; do case $word in file://*) node -e 'JSON.parse(require("fs").readFileSync(process.argv[1]))' "\${word#file://}";; esac; done; echo "$@" >> "$ROOT/aws.log"`,
};

let root: string;
let home: string;
let server: S3Server;
beforeAll(async () => {
  home = process.cwd();
  server = await S3Server.start();
  await server.client().send(new CreateBucketCommand({ Bucket: "backups" }));
  root = mkdtempSync(path.join(tmpdir(), "frameseal-guide-"));
  const folders = ["bin", "etc/frameseal", "media/safe", "srv/data/cache", "srv/data/sub", "var/restore"];
  for (const name of [...folders, "var/log/frameseal", "var/lib"])
    mkdirSync(path.join(root, name), { recursive: true });
  for (const [name, text] of Object.entries(standIns))
    writeFileSync(path.join(root, "bin", name), `#!/usr/bin/env bash\nset -euo pipefail\n${text}\n`, {
      mode: 0o755,
    });
  const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
  writeFileSync(
    path.join(root, "bin/frameseal"),
    `#!/bin/sh\nexec ${JSON.stringify(process.execPath)} ${JSON.stringify(main)} "$@"\n`,
    { mode: 0o755 },
  );
  for (const [name, text] of [
    ["report.txt", "numbers"],
    ["draft.tmp", "not to be kept"],
    ["cache/page", "not to be kept"],
    ["sub/image", "bytes"],
  ] as const)
    writeFileSync(path.join(root, "srv/data", name), text);
  symlinkSync("report.txt", path.join(root, "srv/data/latest"));
  process.chdir(root);
  Object.assign(process.env, {
    PATH: `${path.join(root, "bin")}:${path.dirname(process.execPath)}:${process.env.PATH}`,
    HOME: root,
    ROOT: root,
    XDG_STATE_HOME: path.join(root, "var/lib"),
    AWS_ACCESS_KEY_ID: "a",
    AWS_SECRET_ACCESS_KEY: "b",
    AWS_REGION: "us-east-1",
    AWS_ENDPOINT_URL_S3: server.endpoint,
    NODE_NO_WARNINGS: "1",
  });
});
afterAll(async () => {
  process.chdir(home);
  await server[Symbol.asyncDispose]();
  rmSync(root, { recursive: true });
});

/** The same text with the places of a real machine below the folder of this test. */
const placed = (text: string): string =>
  text.replaceAll(/(?<![\w.:/-])\/(?=(?:etc|media|srv|var)\/)/g, `${root}/`);

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a line. What is no more than one call of the program runs in this process, which is fifty times as fast. */
async function runLine(line: string): Promise<Ran> {
  const words = wordsOf(line);
  return words?.[0] === "frameseal" ? observe(run, words.slice(1)) : shell(line);
}

// Undefined for what takes a shell.
function wordsOf(line: string): string[] | undefined {
  const words = [...placed(line).matchAll(/(?:'[^']*'|[^\s'])+/g)].map(([word]) => word);
  const bare = words.map((word) => word.replaceAll(/'[^']*'/g, ""));
  if (bare.some((word) => /[|&;<>()$`"\\*?~#]/.test(word))) return undefined;
  return words.map((word) => word.replaceAll("'", ""));
}

/** Runs a line as a shell does in which every part of a pipeline has to succeed. */
function shell(line: string): Promise<Ran> {
  const args = ["--norc", "-euo", "pipefail", "-c", placed(line)];
  return new Promise((resolve) =>
    execFile("bash", args, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr }),
    ),
  );
}

/** The commands of a block. */
function linesOf(language: string, text: string): string[] {
  const lines = text.trim().split("\n");
  if (language === "sh") return lines;
  if (language === "crontab") return lines.map((line) => line.replace(/^(?:\S+ ){5}/, ""));
  return lines.flatMap((line) => (/^ExecStart=\/usr\/bin\/env (.*)$/.exec(line) ?? []).slice(1));
}

test("every block is of a kind that is run or looked at", () => {
  expect(blocks.length).toBeGreaterThan(20);
  for (const { language, text } of blocks) expect(["sh", "json", "ini", "crontab"], text).toContain(language);
});

describe("the guide", () => {
  // The units and the crontab say what has run before.
  test.each(blocks.map((block, at) => ({ ...block, name: `${at} ${block.text.split("\n")[0]}` })))(
    "$name",
    async ({ language, text }) => {
      if (language === "json") {
        const name = "Rules" in JSON.parse(text) ? "lifecycle.json" : "lock.json";
        writeFileSync(path.join(root, name), text);
        return;
      }
      for (const line of linesOf(language, text)) {
        const { code, stderr } = await runLine(line);
        expect({ code, stderr }, line).toEqual({ code: 0, stderr: expect.anything() });
      }
      if (language === "ini") expect(text).toMatch(/^\[Unit\]\n[\s\S]*^\[(Service|Timer)\]\n/m);
    },
  );

  test("restores what it has stored", async () => {
    const read = (name: string): string => readFileSync(path.join(root, "var/restore/data", name), "utf8");
    expect([read("report.txt"), read("sub/image"), read("latest")]).toEqual(["numbers", "bytes", "numbers"]);
    expect(readFileSync(path.join(root, "shop_restored.db"), "utf8")).toContain(
      "row 2000 of --format=custom shop",
    );
    expect(readFileSync(path.join(root, "aws.log"), "utf8").trim().split("\n")).toHaveLength(3);
  });

  test("finds the last good run in the log", async () => {
    const [, command = ""] = /^(grep '"record":"summary"'.*)$/m.exec(guide) ?? [];
    const { stdout } = await shell(command);
    expect(JSON.parse(stdout)).toMatchObject({ command: "put", exitCode: 0, complete: true });
  });

  test("says truly that a producer that fails replaces nothing", async () => {
    const before = server.object("backups", "shop/2026-11-27.dump");
    writeFileSync(path.join(root, "bin/pg_dump"), "#!/bin/sh\nhead -c 100000 /dev/zero\nkill -9 $$\n");
    const [, line = ""] = /^(frameseal put .*'pg_dump --format.*)$/m.exec(guide) ?? [];
    expect((await runLine(line)).code).toBe(1);
    expect(server.object("backups", "shop/2026-11-27.dump")).toBe(before);
  });

  test("names the exit codes of the program", async () => {
    const { stdout: out } = await observe(run, ["--help"]);
    for (const [, code = ""] of guide.matchAll(/^\| (\d+)(?:, \d+)? \|/gm))
      expect(out).toMatch(new RegExp(`\\b${code}\\b`));
  });
});
