// Every command of docs/backup.md is run, in its order, against a strict S3. Places of a real machine stand below a
// folder; PostgreSQL and the AWS command line are small programs that do what is needed of them.
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { CreateBucketCommand } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { S3Server } from "../support/s3-server.ts";

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
let server: S3Server;
beforeAll(async () => {
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
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  rmSync(root, { recursive: true });
});

/** The same text with the places of a real machine below the folder of this test. */
const placed = (text: string): string =>
  text.replaceAll(/(?<![\w.:/-])\/(?=(?:etc|media|srv|var)\/)/g, `${root}/`);

/** Runs lines as a shell does that stops at the first that fails. */
function shell(
  text: string,
  more: Readonly<Record<string, string>> = {},
): Promise<{ code: number; out: string }> {
  const env = {
    PATH: `${path.join(root, "bin")}:${path.dirname(process.execPath)}:${process.env.PATH}`,
    HOME: root,
    ROOT: root,
    XDG_STATE_HOME: path.join(root, "var/lib"),
    AWS_ACCESS_KEY_ID: "a",
    AWS_SECRET_ACCESS_KEY: "b",
    AWS_REGION: "us-east-1",
    AWS_ENDPOINT_URL_S3: server.endpoint,
    NODE_NO_WARNINGS: "1",
    ...more,
  };
  return new Promise((resolve) =>
    execFile("bash", ["-euo", "pipefail", "-c", placed(text)], { cwd: root, env }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), out: stdout + stderr }),
    ),
  );
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
      const lines =
        language === "sh"
          ? [text]
          : language === "crontab"
            ? text
                .trim()
                .split("\n")
                .map((line) => line.replace(/^(?:\S+ ){5}/, ""))
            : [...text.matchAll(/^ExecStart=(.*)$/gm)].map(([, line = ""]) => line);
      for (const line of lines) {
        const { code, out } = await shell(line);
        expect({ code, out }, line).toEqual({ code: 0, out: expect.anything() });
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
    const { out } = await shell(command);
    expect(JSON.parse(out)).toMatchObject({ command: "put", exitCode: 0, complete: true });
  });

  test("says truly that a producer that fails replaces nothing", async () => {
    const before = server.object("backups", "shop/2026-11-27.dump");
    writeFileSync(path.join(root, "bin/pg_dump"), "#!/bin/sh\nhead -c 100000 /dev/zero\nkill -9 $$\n");
    const [, line = ""] = /^(frameseal put .*'pg_dump --format.*)$/m.exec(guide) ?? [];
    expect((await shell(line)).code).toBe(1);
    expect(server.object("backups", "shop/2026-11-27.dump")).toBe(before);
  });

  test("names the exit codes of the program", async () => {
    const { out } = await shell("frameseal --help");
    for (const [, code = ""] of guide.matchAll(/^\| (\d+)(?:, \d+)? \|/gm))
      expect(out).toMatch(new RegExp(`\\b${code}\\b`));
  });
});
