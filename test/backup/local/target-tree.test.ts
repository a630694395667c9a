// What is restored: complete under its name or not there, with its attributes, and nowhere but below the folder, whatever
// somebody puts in the way.
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import { link, mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { extraneousIn } from "../../../src/backup/local/extraneous.ts";
import { Filters } from "../../../src/backup/local/filters.ts";
import { probeFolding } from "../../../src/backup/local/folding.ts";
import { dataRuns } from "../../../src/backup/local/holes.ts";
import { isSameTime, type RestoredAttributes } from "../../../src/backup/local/restored-attributes.ts";
import { type TargetOptions, TargetTree } from "../../../src/backup/local/target-tree.ts";
import { canLock } from "../../../src/disk/file-lock.ts";

const isRoot = process.getuid?.() === 0;
const hint: RestoredAttributes = { proof: "hint" };
let folder: string;
let root: string;
let outside: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(fs.realpathSync(tmpdir()), "frameseal-target-"));
  root = path.join(folder, "root");
  outside = path.join(folder, "outside");
  await mkdir(root);
  await mkdir(outside);
});
afterEach(async () => {
  expect(await readdir(outside), "nothing is written outside").toEqual([]);
  for (const each of trees.splice(0)) each.close();
  await expect.poll(openFiles, { message: "no file stays open" }).toEqual([]);
  await rm(folder, { recursive: true, force: true });
});
const at = (name: string): string => path.join(root, name);
const trees: TargetTree[] = [];
async function tree(options?: TargetOptions): Promise<TargetTree> {
  const opened = await TargetTree.open(root, { sync: "none", ...options });
  trees.push(opened);
  return opened;
}
async function restore(into: TargetTree, name: string, content: string, attributes = hint): Promise<void> {
  const file = await into.openPartial(name);
  try {
    await file.write(Buffer.from(content), 0);
    await file.publish(attributes);
  } finally {
    await file.discard();
  }
}
const codeOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => "none",
    (error) => (error as { code?: unknown }).code ?? String(error),
  );
function openFiles(): string[] {
  if (process.platform !== "linux") return [];
  return fs.readdirSync("/proc/self/fd").flatMap((each) => {
    try {
      const name = fs.readlinkSync(`/proc/self/fd/${each}`);
      return name.startsWith(folder) ? name : [];
    } catch {
      return [];
    }
  });
}
const all = (): string[] => fs.readdirSync(root, { recursive: true, encoding: "utf8" }).sort();

describe("files", () => {
  test("have their names when they are complete, and the folders above them", async () => {
    const into = await tree();
    const file = await into.openPartial("a/b/c.txt");
    await file.write(Buffer.from("lo"), 3);
    await file.write(Buffer.from("hel"), 0);
    expect(all()).toEqual(["a", "a/b", "a/b/.c.txt.frameseal-part"]);
    expect(fs.statSync(file.temporary).mode & 0o777).toBe(0o600);
    expect(await file.publish(hint)).toBe("not-synced");
    expect(all()).toEqual(["a", "a/b", "a/b/c.txt"]);
    expect(await readFile(at("a/b/c.txt"), "utf8")).toBe("hello");
    await file.discard();
    await file.keep();
    expect(all()).toEqual(["a", "a/b", "a/b/c.txt"]);
  });
  test("are on disk if that is asked for", async () => {
    const into = await tree({ sync: "full" });
    const file = await into.openPartial("x");
    await file.write(Buffer.from("x"), 0);
    await file.sync();
    expect(await file.publish(hint)).toBe("synced");
  });
  test("that are given up leave nothing, or what a later run goes on with", async () => {
    const into = await tree();
    const file = await into.openPartial("x");
    await file.write(Buffer.from("verified, not verified"), 0);
    await file.keep();
    expect(all()).toEqual([".x.frameseal-part"]);
    const again = await into.openPartial("x", 8);
    expect(again.resumed).toBe(8);
    expect(fs.statSync(again.temporary).size).toBe(8);
    await again.write(Buffer.from("!"), 8);
    await again.publish(hint);
    expect(await readFile(at("x"), "utf8")).toBe("verified!");

    const other = await into.openPartial("y", 5);
    expect(other.resumed).toBe(0);
    await other.write(Buffer.from("1234"), 0);
    await other.keep();
    const shorter = await into.openPartial("y", 5);
    expect(shorter.resumed).toBe(0);
    expect(fs.statSync(shorter.temporary).size).toBe(0);
    await shorter.discard();
    expect(all()).toEqual(["x"]);
  });
  test("that are not gone on with begin anew", async () => {
    await writeFile(at(".x.frameseal-part"), "old");
    const into = await tree();
    await restore(into, "x", "n");
    expect(await readFile(at("x"), "utf8")).toBe("n");
    expect(all()).toEqual(["x"]);
  });
  test("can be cut", async () => {
    const file = await (await tree()).openPartial("x");
    await file.write(Buffer.from("0123456789"), 0);
    await file.truncate(4);
    await file.publish(hint);
    expect(await readFile(at("x"), "utf8")).toBe("0123");
  });
  test("that are there are replaced only if asked", async () => {
    await writeFile(at("x"), "old");
    await symlink(path.join(outside, "target"), at("l"));
    await mkdir(at("d"));
    const into = await tree();
    for (const name of ["x", "l", "d"]) expect(await codeOf(restore(into, name, "new"))).toBe("EEXIST");
    // It appears while the file is on its way.
    const file = await into.openPartial("late");
    await writeFile(at("late"), "somebody's");
    expect(await codeOf(file.publish(hint))).toBe("EEXIST");
    await file.discard();
    expect(await readFile(at("late"), "utf8")).toBe("somebody's");

    const replacing = await tree({ overwrite: "replace" });
    for (const name of ["x", "l"]) await restore(replacing, name, "new");
    expect(await readFile(at("x"), "utf8")).toBe("new");
    expect(fs.lstatSync(at("l")).isFile()).toBe(true);
    expect(await codeOf(restore(replacing, "d", "new"))).toBe("EISDIR");
    expect(all()).toEqual(["d", "l", "late", "x"]);
  });
  test("with names as long as there may be", async () => {
    const name = "é".repeat(127);
    await restore(await tree(), `d/${name}`, "x");
    expect(all()).toEqual(["d", `d/${name}`]);
  });
  test.skipIf(!canLock())("are made by one at a time", async () => {
    const into = await tree();
    const file = await into.openPartial("x", 0);
    await file.write(Buffer.from("first"), 0);
    expect(await codeOf(into.openPartial("x", 0))).toBe("EBUSY");
    expect(await codeOf((await tree()).openPartial("x"))).toBe("EBUSY");
    await file.publish(hint);
    expect(await readFile(at("x"), "utf8")).toBe("first");
  });
  test("that run out of names tell it", async () => {
    const into = await tree();
    expect(await codeOf(into.openPartial("x".repeat(300)))).toBe("ENAMETOOLONG");
  });
});

describe("attributes", () => {
  const mtimeNs = 1_234_567_890_123_456_789n;
  test("times and permissions, by default", async () => {
    const into = await tree();
    await restore(into, "x", "x", { mtimeNs, mode: 0o640, uid: 4242, gid: 4242, proof: "hint" });
    const stats = fs.statSync(at("x"), { bigint: true });
    expect(Number(stats.mode & 0o7777n)).toBe(0o640);
    expect(isSameTime(mtimeNs, stats.mtimeNs)).toBe(true);
    expect(Number(stats.uid)).toBe(process.getuid?.());
  });
  test("none that are to be left", async () => {
    const into = await tree({ times: "leave", mode: "leave" });
    await restore(into, "x", "x", { mtimeNs, mode: 0o666, proof: "sealed" });
    const stats = fs.statSync(at("x"), { bigint: true });
    expect(Number(stats.mode & 0o7777n)).toBe(0o600);
    expect(isSameTime(mtimeNs, stats.mtimeNs)).toBe(false);
  });
  test.each([
    0n,
    1_000_000_000n,
    1_700_000_000_000_000_000n,
    1_700_000_000_999_999_999n,
    1_700_000_000_123_000_000n,
    1_000_000_000_789_000_000n,
    4_000_000_000_000_001_000n,
    -1n,
    -1_500_000_000n,
    -86_400_000_000_000n,
  ])("the time %s ns is as exact as Node allows", async (ns) => {
    await restore(await tree(), "x", "x", { mtimeNs: ns, proof: "hint" });
    const found = fs.statSync(at("x"), { bigint: true }).mtimeNs;
    expect(isSameTime(ns, found)).toBe(true);
    // Of times from 1970 to 2038 all is right that a microsecond can tell.
    if (ns >= 0n && ns < 2n ** 31n * 1_000_000_000n) expect(found / 1000n).toBe(ns / 1000n);
  });
  test("times that differ", () => {
    for (const other of [mtimeNs + 2000n, mtimeNs - 2000n, mtimeNs + 1_000_000n, 0n])
      expect(isSameTime(mtimeNs, other)).toBe(false);
  });
  test("setuid and setgid only from a manifest, and only for their owners", async () => {
    const [uid, gid] = [process.getuid?.() ?? 0, fs.statSync(root).gid];
    const into = await tree();
    const modeOf = (name: string): number => fs.statSync(at(name)).mode & 0o7777;
    await restore(into, "hint", "x", { mode: 0o6755, uid, gid, proof: "hint" });
    expect(modeOf("hint")).toBe(0o755);
    await restore(into, "sealed", "x", { mode: 0o4755, uid, gid, proof: "sealed" });
    expect(modeOf("sealed")).toBe(0o4755);
    await restore(into, "others", "x", { mode: 0o6755, uid: uid + 1, gid, proof: "sealed" });
    expect(modeOf("others")).toBe(0o755);
    await restore(into, "unknown", "x", { mode: 0o4755, proof: "sealed" });
    expect(modeOf("unknown")).toBe(0o755);
  });
  test.skipIf(!isRoot)("owners on request", async () => {
    const into = await tree({ owner: "restore" });
    const attributes = { mode: 0o4711, uid: 1234, gid: 5678, mtimeNs, proof: "sealed" } as const;
    await restore(into, "x", "x", attributes);
    await into.makeLink("l", Buffer.from("x"), attributes);
    await into.makeDirectory("d", attributes);
    for (const name of ["x", "l", "d"])
      expect(fs.lstatSync(at(name))).toMatchObject({ uid: 1234, gid: 5678 });
    expect(fs.lstatSync(at("x")).mode & 0o7777).toBe(0o4711);
  });
});

describe("holes", () => {
  test("are left out where there are zeros, and read as them", async () => {
    const content = Buffer.alloc(8 * 2 ** 20);
    content.write("begin", 0);
    content.write("middle", 5_000_001);
    const into = await tree({ sparse: true });
    const file = await into.openPartial("x", 0);
    for (let from = 0; from < content.length; from += 1_000_003)
      await file.write(content.subarray(from, from + 1_000_003), from);
    await file.publish(hint);
    expect((await readFile(at("x"))).equals(content)).toBe(true);
    if (process.platform === "linux") expect(fs.statSync(at("x")).blocks * 512).toBeLessThan(2 ** 20);
  });
  test("never hide what an earlier run wrote", async () => {
    const into = await tree({ sparse: true });
    const old = await into.openPartial("x", 0);
    await old.write(Buffer.alloc(20_000, 1), 0);
    await old.keep();
    const file = await into.openPartial("x", 4096);
    await file.write(Buffer.alloc(10_000), 4096);
    await file.publish(hint);
    const wanted = Buffer.concat([Buffer.alloc(4096, 1), Buffer.alloc(10_000)]);
    expect((await readFile(at("x"))).equals(wanted)).toBe(true);
  });
  test("of any bytes", () => {
    const run = fc.tuple(fc.constantFrom(0, 0, 1), fc.integer({ min: 0, max: 9000 }));
    fc.assert(
      fc.property(fc.array(run, { maxLength: 6 }), fc.integer({ min: 0, max: 10_000 }), (made, position) => {
        const bytes = Buffer.concat(made.map(([byte, length]) => Buffer.alloc(length, byte)));
        const copy = Buffer.alloc(bytes.length);
        let last = 0;
        for (const { from, to } of dataRuns(bytes, position)) {
          expect(from).toBeGreaterThanOrEqual(last);
          expect(to).toBeGreaterThan(from);
          bytes.copy(copy, from, from, to);
          last = to;
        }
        expect(copy.equals(bytes)).toBe(true);
      }),
    );
  });
});

describe("nothing is followed", () => {
  test("that stands where a folder should be", async () => {
    await symlink(outside, at("link"));
    await mkdir(at("d"));
    await symlink(outside, at("d/link"));
    await writeFile(at("file"), "");
    const into = await tree({ overwrite: "replace" });
    for (const parent of ["link", "d/link", "link/deeper", "file", "file/deeper"]) {
      const wanted = expect.stringMatching(/^(ELOOP|ENOTDIR)$/);
      expect(await codeOf(into.openPartial(`${parent}/x`)), parent).toEqual(wanted);
      expect(await codeOf(into.makeDirectory(`${parent}/x`, hint)), parent).toEqual(wanted);
      expect(await codeOf(into.makeLink(`${parent}/x`, Buffer.from("y"), hint)), parent).toEqual(wanted);
      // Where nothing is on the other side, there is nothing to see.
      const unseen = /deeper/.test(parent) ? expect.stringMatching(/^(ELOOP|ENOTDIR|none)$/) : wanted;
      expect(await codeOf(into.look(`${parent}/x`)), parent).toEqual(unseen);
      expect(await codeOf(into.remove(`${parent}/x`, "file")), parent).toEqual(unseen);
    }
    for (const name of ["link", "file"])
      expect(await codeOf(into.makeDirectory(name, hint))).toMatch(/^E(LOOP|NOTDIR)$/);
    expect(all()).toEqual(["d", "d/link", "file", "link"]);
  });
  test("that somebody puts in the place of a folder meanwhile", async () => {
    const into = await tree();
    const file = await into.openPartial("a/b/x");
    await file.write(Buffer.from("secret"), 0);
    await rename(at("a"), at("moved"));
    await mkdir(path.join(folder, "trap", "b"), { recursive: true });
    await symlink(path.join(folder, "trap"), at("a"));
    const outcome = await codeOf(file.publish(hint));
    await file.discard();
    expect(await readdir(path.join(folder, "trap/b"))).toEqual([]);
    // Where paths can begin at an open folder, the file is in the folder that it was begun in.
    if (process.platform === "linux") {
      expect(outcome).toBe("none");
      expect(await readFile(at("moved/b/x"), "utf8")).toBe("secret");
    }
    expect(await codeOf(into.openPartial("a/b/y"))).toMatch(/^E(LOOP|NOTDIR)$/);
  });
  test("that has the name of the partial file", async () => {
    const victim = path.join(folder, "victim");
    await writeFile(victim, "untouched", { mode: 0o644 });
    const traps: readonly ((name: string) => Promise<unknown> | unknown)[] = [
      (name) => symlink(victim, name),
      (name) => symlink("nowhere", name),
      (name) => link(victim, name),
      (name) => execFileSync("mkfifo", [name]),
    ];
    for (const [n, trap] of traps.entries()) {
      await trap(at(`.x${n}.frameseal-part`));
      await restore(await tree(), `x${n}`, "new");
      expect(fs.lstatSync(at(`x${n}`)).isFile()).toBe(true);
      expect(await readFile(at(`x${n}`), "utf8")).toBe("new");
    }
    expect(await readFile(victim, "utf8")).toBe("untouched");
    expect(fs.statSync(victim).mode & 0o777).toBe(0o644);
    await mkdir(at(".y.frameseal-part"));
    expect(await codeOf((await tree()).openPartial("y"))).toMatch(/^E/);
    expect(all().filter((name) => name.startsWith("."))).toEqual([".y.frameseal-part"]);
  });
  test("and a partial file that was replaced gets no name", async () => {
    const file = await (await tree()).openPartial("x");
    await file.write(Buffer.from("ours"), 0);
    await rm(file.temporary);
    await writeFile(file.temporary, "theirs");
    expect(await codeOf(file.publish(hint))).toBe("ENOENT");
    await file.discard();
    expect(all()).toEqual([".x.frameseal-part"]);
    expect(await readFile(at(".x.frameseal-part"), "utf8")).toBe("theirs");
  });
});

describe("links", () => {
  test("are made as they were", async () => {
    const into = await tree();
    const mtimeNs = 1_000_000_000_000_000_000n;
    expect(await into.makeLink("d/l", Buffer.from("../x"), { mtimeNs, proof: "hint" })).toBe("made");
    expect(fs.readlinkSync(at("d/l"))).toBe("../x");
    expect(isSameTime(mtimeNs, fs.lstatSync(at("d/l"), { bigint: true }).mtimeNs)).toBe(true);
    expect(await into.makeLink("d/l", Buffer.from("../x"), hint)).toBe("there");
    expect(await codeOf(into.makeLink("d/l", Buffer.from("y"), hint))).toBe("EEXIST");
    expect(all()).toEqual(["d", "d/l"]);
  });
  test("take the place of files and links, not of folders, if asked", async () => {
    const into = await tree({ overwrite: "replace" });
    await writeFile(at("x"), "old");
    await symlink("a", at("l"));
    await mkdir(at("d"));
    for (const name of ["x", "l"]) expect(await into.makeLink(name, Buffer.from("b"), hint)).toBe("made");
    expect([fs.readlinkSync(at("x")), fs.readlinkSync(at("l"))]).toEqual(["b", "b"]);
    expect(await codeOf(into.makeLink("d", Buffer.from("b"), hint))).toBe("EISDIR");
    expect(all()).toEqual(["d", "l", "x"]);
  });
  test("that lead out of the tree are refused, unless that is allowed", async () => {
    const into = await tree();
    for (const target of ["/etc/passwd", "..", "../x", "a/../x"])
      expect(await codeOf(into.makeLink("l", Buffer.from(target), hint))).toBe("POLICY");
    expect(all()).toEqual([]);
    const anywhere = await tree({ linkTargets: "anywhere" });
    await anywhere.makeLink("l", Buffer.from("/etc/passwd"), hint);
    expect(fs.readlinkSync(at("l"))).toBe("/etc/passwd");
    expect(await codeOf(anywhere.makeLink("m", Buffer.from("a\0b"), hint))).toBe("UNSUPPORTED");
    expect(await codeOf(anywhere.openPartial("l/x"))).toMatch(/^E(LOOP|NOTDIR)$/);
  });
});

describe("directories", () => {
  test("are made with their attributes; one that is there keeps its own", async () => {
    const into = await tree();
    const attributes = { mtimeNs: 1_000_000_000_000_000_000n, mode: 0o710, proof: "hint" } as const;
    expect(await into.makeDirectory("a/b", attributes)).toBe("made");
    expect(fs.statSync(at("a/b")).mode & 0o777).toBe(0o710);
    expect(isSameTime(attributes.mtimeNs, fs.statSync(at("a/b"), { bigint: true }).mtimeNs)).toBe(true);
    expect(await into.makeDirectory("a/b", { mode: 0o700, proof: "hint" })).toBe("there");
    expect(fs.statSync(at("a/b")).mode & 0o777).toBe(0o710);
    expect(
      await (await tree({ overwrite: "replace" })).makeDirectory("a/b", { mode: 0o700, proof: "hint" }),
    ).toBe("there");
    expect(fs.statSync(at("a/b")).mode & 0o777).toBe(0o700);
  });
  test("many at once make the folders above them once", async () => {
    const into = await tree();
    await Promise.all(Array.from({ length: 20 }, (_, n) => restore(into, `a/b/c/d/${n}`, String(n))));
    expect(fs.readdirSync(at("a/b/c/d"))).toHaveLength(20);
  });
  test("are removed only when they are empty", async () => {
    const into = await tree();
    for (const name of ["a/b/x", "a/c"]) await restore(into, name, "");
    await into.remove("a/b/x", "file");
    await into.removeEmptyParents("a/b/x", () => false);
    expect(all()).toEqual(["a", "a/c"]);
    expect(await codeOf(into.remove("a", "directory"))).toBe("ENOTEMPTY");
    expect(await codeOf(into.remove("gone/x", "file"))).toBe("none");
    await into.remove("a/c", "file");
    await into.removeEmptyParents("a/c", (folder) => folder === "a");
    expect(all()).toEqual(["a"]);
    await into.removeEmptyParents("a/c", () => false);
    expect(all()).toEqual([]);
  });
});

describe("the folder", () => {
  test("is made, unless it is only looked at", async () => {
    const later = await TargetTree.open(path.join(root, "new/folder"), { make: "never" });
    expect(later.root).toBe(at("new/folder"));
    expect(await later.look("x")).toBeUndefined();
    expect(all()).toEqual([]);
    const now = await TargetTree.open(path.join(root, "new/folder"));
    expect(now.root).toBe(at("new/folder"));
    expect(all()).toEqual(["new", "new/folder"]);
  });
  test("may be reached through a link, and is no file", async () => {
    await symlink(root, path.join(folder, "link"));
    expect((await TargetTree.open(path.join(folder, "link"))).root).toBe(root);
    await writeFile(at("file"), "");
    expect(await codeOf(TargetTree.open(at("file")))).toMatch(/^E(EXIST|NOTDIR)$/);
    expect(await codeOf(TargetTree.open(at("file"), { make: "never" }))).toBe("ENOTDIR");
  });
  test("is looked at without following anything", async () => {
    await writeFile(at("x"), "abc");
    await symlink("x", at("l"));
    await mkdir(at("d"));
    const into = await tree();
    expect(await into.look("x")).toMatchObject({ type: "file", stats: { size: 3n } });
    expect(await into.look("l")).toMatchObject({ type: "symlink", target: Buffer.from("x") });
    expect(await into.look("d")).toMatchObject({ type: "directory" });
    expect(await into.look("no")).toBeUndefined();
    expect(await into.look("no/x")).toBeUndefined();
  });
  test("tells which names it takes for one another", async () => {
    const folding = await probeFolding(root);
    expect(all()).toEqual([]);
    if (process.platform === "linux") expect(folding).toEqual({ letterCase: false, normalization: false });
    const into = await tree();
    into.claim("a");
    if (folding.letterCase) expect(() => into.claim("A")).toThrow('the same as that of "a"');
    else into.claim("A");
  });
});

describe("what a tree has not", () => {
  const given = async (options: Partial<Parameters<typeof extraneousIn>[0]> = {}): Promise<string[]> => {
    const paths: string[] = [];
    for await (const each of extraneousIn({ root, isWanted: () => false, ...options })) paths.push(each.path);
    return paths;
  };
  beforeEach(async () => {
    for (const name of ["a/x", "a/y", "b"]) await restore(await tree(), name, "");
    await mkdir(at("e"));
    await symlink("b", at("l"));
    await writeFile(at(".z.frameseal-part"), "");
  });
  test("is files, links and empty directories, without what filters exclude", async () => {
    expect(await given()).toEqual(["a/x", "a/y", "b", "e", "l"]);
    expect(await given({ isWanted: async (name) => name === "b" || name === "e" })).toEqual([
      "a/x",
      "a/y",
      "l",
    ]);
    expect(await given({ filters: new Filters([{ kind: "exclude", pattern: "/a/" }]) })).toEqual([
      "b",
      "e",
      "l",
    ]);
  });
  test("is not given where a part is beyond what paths can name", async () => {
    const name = "x".repeat(250);
    const script = `cd "$0"; for i in $(seq 20); do mkdir ${name}; cd ${name}; done; touch file`;
    execFileSync("bash", ["-c", script, root]);
    expect(await codeOf(given())).toBe("POLICY");
    execFileSync("rm", ["-r", root]);
  });
  test.skipIf(isRoot)("is not given where a part cannot be read", async () => {
    fs.chmodSync(at("a"), 0);
    expect(await codeOf(given())).toBe("POLICY");
    fs.chmodSync(at("a"), 0o700);
  });
});
