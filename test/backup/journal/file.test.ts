// The file of a journal: whose it is, who works on it, what becomes of a damaged one, and what a kill leaves.
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { defaultJournalFile } from "../../../src/backup/journal/default-file.ts";
import { openJournal } from "../../../src/backup/journal/open-journal.ts";
import { afterKill, identity, newPlace, storedRow } from "./rows.ts";

const open = (file: string) => openJournal({ file, identity });

/** Makes a journal with rows in it, and closes it. */
async function filled(rows = 300): Promise<string> {
  const file = newPlace();
  const journal = await open(file);
  for (let index = 0; index < rows; index++) journal.putStored(storedRow(`p/${index}`));
  journal.close();
  return file;
}

/** Code and text of the refusal, and that nothing was changed by it. */
async function refusal(file: string, of = identity): Promise<string> {
  const before = readFileSync(file);
  const told = await openJournal({ file, identity: of }).then(
    (journal) => {
      journal.close();
      return "opened";
    },
    (error) => `${error.code}: ${error.message}`,
  );
  expect(readFileSync(file).equals(before)).toBe(true);
  return told;
}

describe("a file", () => {
  test("is private, and leaves nothing behind but its guard when it is closed", async () => {
    const file = path.join(path.dirname(newPlace()), "new/folder/tree.journal");
    const journal = await open(file);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(statSync(path.dirname(file)).mode & 0o777).toBe(0o700);
    expect(statSync(path.dirname(path.dirname(file))).mode & 0o777).toBe(0o700);
    journal.close();
    journal.close();
    expect(readdirSync(path.dirname(file)).sort()).toEqual(["tree.journal", "tree.journal.guard"]);
    chmodSync(file, 0o644);
    (await open(file)).close();
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  test.each([
    ["endpoint", { ...identity, endpoint: "https://other" }],
    ["bucket", { ...identity, bucket: "other" }],
    ["prefix", { ...identity, prefix: "" }],
    ["target", { ...identity, target: "/restored" }],
  ])("of another %s is refused by name", async (name, other) => {
    const file = await filled();
    expect(await refusal(file, other)).toMatch(
      new RegExp(`^JOURNAL: .* is of (the|no) ${name}.*, not of the ${name} ".*--journal`),
    );
    expect(await refusal(file)).toBe("opened");
  });

  test("of a newer version is refused, and told so", async () => {
    const file = await filled();
    const bytes = readFileSync(file);
    bytes.writeUInt32BE(2, 60);
    writeFileSync(file, bytes);
    expect(await refusal(file)).toMatch(/^JOURNAL: .*newer version/);
  });

  test("of another program is refused without advice to remove it", async () => {
    const file = newPlace();
    const { Database } = createRequire(import.meta.url)("node-sqlite3-wasm");
    const database = new Database(file);
    database.exec("CREATE TABLE precious (a)");
    database.close();
    expect(await refusal(file)).toMatch(/^JOURNAL: .*another program/);
    expect(await refusal(file)).not.toContain("remove");
  });

  test("that is empty becomes a journal, as mktemp makes them", async () => {
    const file = newPlace();
    writeFileSync(file, "");
    (await open(file)).close();
    expect(statSync(file).size).toBeGreaterThan(0);
  });

  test("is never a link, a folder or a device", async () => {
    const [file, other] = [newPlace(), newPlace()];
    writeFileSync(other, "");
    symlinkSync(other, file);
    expect(await refusal(file)).toMatch(/^JOURNAL: .*no file of its own/);
    expect(readdirSync(path.dirname(file))).toEqual(["tree.journal"]);
    await expect(open(path.dirname(file))).rejects.toThrow(/no file of its own/);
    await expect(open("/dev/null")).rejects.toThrow(/no file of its own/);
    const [guarded, victim] = [newPlace(), newPlace()];
    writeFileSync(victim, "as it was");
    symlinkSync(victim, `${guarded}.guard`);
    await expect(open(guarded)).rejects.toThrow(/ELOOP/);
    expect(readFileSync(victim, "utf8")).toBe("as it was");
  });

  test("has a default name for each place", () => {
    const home = "/home/u";
    const file = defaultJournalFile(identity, home, undefined);
    expect(file).toMatch(/^\/home\/u\/\.local\/state\/frameseal\/[0-9a-f]{16}\.journal$/);
    expect(defaultJournalFile(identity, home, "/state")).toMatch(/^\/state\/frameseal\//);
    expect(defaultJournalFile(identity, home, "relative")).toBe(file);
    const others = [
      { ...identity, target: "/t" },
      { ...identity, prefix: "p" },
      { ...identity, bucket: "bucketp/", prefix: "" },
      { ...identity, endpoint: "e" },
    ];
    expect(new Set([file, ...others.map((each) => defaultJournalFile(each, home, undefined))]).size).toBe(5);
  });
});

describe("damage", () => {
  test("a file that is cut at any place is refused with what to do, or as it was", async () => {
    const file = await filled();
    const whole = readFileSync(file);
    for (let length = 1; length < whole.length; length += Math.ceil(whole.length / 12)) {
      const cut = newPlace();
      writeFileSync(cut, whole.subarray(0, length));
      expect(await refusal(cut), `${length} bytes`).toMatch(
        /^JOURNAL: .*(damaged|no journal).*: remove it; the next run takes what is stored from the newest manifest$/,
      );
    }
  });

  test("bytes that are flipped are found when it is opened or where they are read, and never believed", async () => {
    const file = await filled();
    const whole = readFileSync(file);
    for (let at = 0; at < whole.length; at += Math.ceil(whole.length / 60)) {
      const bytes = Buffer.from(whole);
      bytes[at] = (bytes[at] ?? 0) ^ 0x55;
      const flipped = newPlace();
      writeFileSync(flipped, bytes);
      try {
        const journal = await open(flipped);
        try {
          for (const row of journal.allStored()) expect(row).toEqual(storedRow(row.key));
        } finally {
          journal.close();
        }
      } catch (error) {
        expect(error, `byte ${at}`).toMatchObject({ name: "FramesealError", code: "JOURNAL" });
      }
    }
  });

  test("after one failure nothing is written any more", async () => {
    const file = newPlace();
    const journal = await open(file);
    journal.putStored(storedRow("p/a"));
    journal.flush();
    const page = statSync(file).size;
    for (const name of [file, `${file}-wal`]) writeFileSync(name, Buffer.alloc(Math.max(page, 70_000), 0x5a));
    const keys = Array.from({ length: 200 }, (_, index) => `p/${index}`);
    const failures = keys.flatMap((key) => {
      try {
        journal.putStored(storedRow(key));
        journal.flush();
        return [];
      } catch (error) {
        return [error];
      }
    });
    // Whether it is noticed depends on what SQLite has in memory; if it is, all later calls say the same.
    expect(new Set(failures).size).toBeLessThanOrEqual(1);
    try {
      journal.close();
    } catch {}
    await expect(open(file).then((again) => again.close())).rejects.toMatchObject({ code: "JOURNAL" });
  });

  test("a log that belongs to a removed file is not taken for part of the next one", async () => {
    const file = newPlace();
    const journal = await open(file);
    journal.putStored(storedRow("p/old"));
    journal.flush();
    const left = afterKill(file);
    journal.close();
    rmSync(left);
    expect(existsSync(`${left}-wal`)).toBe(true);
    const again = await open(left);
    expect([...again.allStored()]).toEqual([]);
    again.close();
  });
});

const inProcess = fileURLToPath(new URL("journal-process.mjs", import.meta.url));

/** Another process that opens a journal, puts a row and says so. */
function otherProcess(file: string, mode: "hold" | "full", shell?: string) {
  const args = [inProcess, file, mode];
  return shell === undefined
    ? spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] })
    : spawnSync("bash", ["-c", `${shell}; exec "$0" "$@"`, process.execPath, ...args], { encoding: "utf8" });
}

describe("two at once", () => {
  test("the second is refused at once and told who has it; after a kill -9 the next one goes on", async () => {
    const file = newPlace();
    const child = otherProcess(file, "hold") as ReturnType<typeof spawn>;
    await new Promise((resolve) => child.stdout?.once("data", resolve));
    await expect(open(file)).rejects.toMatchObject({
      code: "JOURNAL",
      message: expect.stringMatching(new RegExp(`in use by process ${child.pid} on `)),
    });
    const closed = new Promise((resolve) => child.once("close", resolve));
    child.kill("SIGKILL");
    await closed;
    expect(existsSync(`${file}.owner`)).toBe(true);
    const journal = await open(file);
    expect(journal.stored("p/held")).toEqual(storedRow("p/held"));
    expect(journal.unended()).toEqual(["p/begun"]);
    await expect(open(file)).rejects.toThrow(`in use by process ${process.pid}`);
    journal.close();
  });

  test("a folder that the package for SQLite left is in nobody's way", async () => {
    const file = await filled(3);
    mkdirSync(`${file}.lock`);
    const journal = await open(file);
    expect([...journal.allStored()].length).toBe(3);
    journal.close();
  });

  test("an owner file that tells nothing is left alone, unless the lock of the system decides", async () => {
    const file = await filled(3);
    writeFileSync(`${file}.owner`, "{");
    await expect(open(file)).rejects.toThrow(/in use by another process; .* remove .*\.owner/);
  });
});

test.runIf(process.platform === "linux")(
  "a disk that is full ends a run in one error, and loses nothing that was durable",
  async () => {
    const file = newPlace();
    const { stdout, status } = otherProcess(file, "full", "trap '' XFSZ; ulimit -f 3000") as ReturnType<
      typeof spawnSync
    >;
    expect([status, String(stdout)]).toEqual([
      0,
      expect.stringMatching(/^durable \d+\nJOURNAL same same\n$/),
    ]);
    const durable = Number(/durable (\d+)/.exec(String(stdout))?.[1]);
    const journal = await open(file);
    const found = [...journal.allStored()].length;
    expect(found).toBeGreaterThanOrEqual(durable);
    expect(durable).toBeGreaterThan(0);
    journal.close();
  },
);
