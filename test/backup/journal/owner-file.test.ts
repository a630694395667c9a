// Where no lock of the system can be relied on (no addon, a network file system), a file names the owner of a journal: it
// is taken over only from a process that is known to be gone.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, test, vi } from "vitest";
import { openJournal } from "../../../src/backup/journal/open-journal.ts";
import { afterKill, identity, newPlace } from "./rows.ts";

vi.mock("../../../src/disk/file-lock.ts", () => ({ lockFile: () => "unknown", canLock: () => false }));

const open = (file: string) => openJournal({ file, identity });

/** A journal that another process has left or has, as its owner file says. */
async function ownedBy(change: (owner: Record<string, unknown>) => Record<string, unknown>): Promise<string> {
  const file = newPlace();
  const journal = await open(file);
  const left = afterKill(file);
  const owner = JSON.parse(readFileSync(`${file}.owner`, "utf8"));
  journal.close();
  writeFileSync(`${left}.owner`, JSON.stringify({ ...owner, ...change(owner) }));
  return left;
}
/** Of a process that has ended. */
const goneProcess = (): number => spawnSync(process.execPath, ["-e", ""]).pid;

test("a second one in the same process is refused", async () => {
  const file = newPlace();
  const journal = await open(file);
  await expect(open(file)).rejects.toThrow(`in use by process ${process.pid}`);
  journal.close();
  (await open(file)).close();
});

test("a process that is gone has left it", async () => {
  const file = await ownedBy(() => ({ pid: goneProcess() }));
  const journal = await open(file);
  expect(JSON.parse(readFileSync(`${file}.owner`, "utf8")).pid).toBe(process.pid);
  journal.close();
  expect(readdirSync(path.dirname(file)).sort()).toEqual(["tree.journal", "tree.journal.guard"]);
});

test.runIf(process.platform === "linux")("so has one whose number another process has now", async () => {
  (await open(await ownedBy(() => ({ began: "1" })))).close();
});

test.each([
  ["lives", () => ({})],
  ["is of another host", () => ({ pid: goneProcess(), host: "elsewhere" })],
  ["is of another start of the system", () => ({ pid: goneProcess(), boot: "another" })],
  ["is of another container", () => ({ pid: goneProcess(), processes: "pid:[1]" })],
])("a process that %s keeps it, and the file to remove is named", async (_, change) => {
  const file = await ownedBy(change);
  await expect(open(file)).rejects.toMatchObject({
    code: "JOURNAL",
    message: expect.stringContaining(`remove "${file}.owner"`),
  });
  expect(existsSync(`${file}.owner`)).toBe(true);
  expect(readdirSync(path.dirname(file)).filter((name) => /owner-|gone/.test(name))).toEqual([]);
});

test("of many that take over at once, one does", async () => {
  const file = await ownedBy(() => ({ pid: goneProcess() }));
  const results = await Promise.allSettled(Array.from({ length: 8 }, () => open(file)));
  expect(results.filter(({ status }) => status === "fulfilled").length).toBe(1);
  for (const result of results) if (result.status === "fulfilled") result.value.close();
});
