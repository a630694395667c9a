// Walks of local trees: every entry once, in the order of the keys, and everything told that is no entry.
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import { link, mkdir, mkdtemp, rename, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Filters } from "../../../src/backup/local/filters.ts";
import { NamedPaths } from "../../../src/backup/local/named-paths.ts";
import { type WalkOptions, walk } from "../../../src/backup/local/walk.ts";
import type { WalkEvent } from "../../../src/backup/local/walk-event.ts";

const isRoot = process.getuid?.() === 0;
let root: string;
beforeEach(async () => {
  root = await mkdtemp(path.join(fs.realpathSync(tmpdir()), "frameseal-walk-"));
});
afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});
const at = (name: string): string => path.join(root, name);
async function file(name: string, content: string | Buffer = ""): Promise<void> {
  await mkdir(path.dirname(at(name)), { recursive: true });
  await writeFile(at(name), content);
}
async function events(options: Partial<WalkOptions> = {}): Promise<WalkEvent[]> {
  const all: WalkEvent[] = [];
  for await (const event of walk({ root, ...options })) all.push(event);
  return all;
}
/** In one line each: keys of entries, and what is told of others. */
const lines = async (options?: Partial<WalkOptions>): Promise<string[]> =>
  (await events(options)).map((event) => {
    if (event.kind === "entry") return event.entry.path + (event.entry.type === "directory" ? "/" : "");
    if (event.kind !== "failed") return `${event.reason} ${event.path}`;
    return `${event.incomplete ? "incomplete" : "failed"} ${event.path}: ${(event.error as { code: string }).code}`;
  });
const named = (...paths: string[]): NamedPaths =>
  new NamedPaths(paths.map((each) => Buffer.from(each).toString("latin1")));

describe("entries", () => {
  test("what is known of each", async () => {
    await file("d/a.txt", "hello");
    fs.chmodSync(at("d/a.txt"), 0o4750);
    fs.utimesSync(at("d/a.txt"), 1, 1_234_567_890.5);
    await mkdir(at("empty"));
    await symlink("d/a.txt", at("link"));
    const [a, empty, linkTo] = (await events({ links: "keep" })).map((event) =>
      event.kind === "entry" ? event.entry : undefined,
    );
    const stats = fs.lstatSync(at("d/a.txt"), { bigint: true });
    expect(a).toEqual({
      path: "d/a.txt",
      type: "file",
      size: 5,
      mtimeNs: 1_234_567_890_500_000_000n,
      mode: 0o4750,
      uid: Number(stats.uid),
      gid: Number(stats.gid),
      absolute: at("d/a.txt"),
      ctimeNs: stats.ctimeNs,
      inode: stats.ino,
      device: stats.dev,
      links: 1,
      allocated: Number(stats.blocks) * 512,
      target: undefined,
    });
    expect(empty).toMatchObject({ path: "empty", type: "directory", size: 0, absolute: at("empty") });
    expect(linkTo).toMatchObject({ path: "link", type: "symlink", size: 7, target: Buffer.from("d/a.txt") });
  });
  test("directories that have something in them are none, also if it is all excluded", async () => {
    await file("d/x.tmp");
    await mkdir(at("e/f"), { recursive: true });
    expect(await lines()).toEqual(["d/x.tmp", "e/f/"]);
    expect(await lines({ filters: new Filters([{ kind: "exclude", pattern: "*.tmp" }]) })).toEqual(["e/f/"]);
  });
  test("an excluded directory is not entered, so that nothing is told of it", async () => {
    await file("a/b/c");
    await file("x");
    execFileSync("mkfifo", [at("a/fifo")]);
    expect(await lines({ filters: new Filters([{ kind: "exclude", pattern: "a/" }]) })).toEqual(["x"]);
  });
});

describe("the order is that of the keys", () => {
  test("a directory comes behind names that sort before its slash", async () => {
    for (const name of ["a/x", "a-/x", "a--", "a-/-", "a.txt", "a0", "a", "b"].slice(0, 6)) await file(name);
    await file("b");
    expect(await lines()).toEqual(["a--", "a-/-", "a-/x", "a.txt", "a/x", "a0", "b"]);
  });
  test("names are compared by their bytes, not by UTF-16", async () => {
    for (const name of ["\u{1f600}", "\uff5e", "\ue000", "é", "z", "Z"]) await file(name);
    expect(await lines()).toEqual(["Z", "z", "é", "\ue000", "\uff5e", "\u{1f600}"]);
  });
  test("of any tree, whatever is in it", async () => {
    const name = fc.string({
      unit: fc.constantFrom("a", "-", ".", "/", "0", " ", "!", "é", "\uff5e", "\u{1f600}", "\n", "\\"),
      minLength: 1,
      maxLength: 3,
    });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(name, fc.boolean()), { maxLength: 40 }), async (made) => {
        await rm(root, { recursive: true, force: true });
        await mkdir(root);
        for (const [each, isFolder] of made) {
          if (each.split("/").some((part) => ["", ".", ".."].includes(part))) continue;
          await (isFolder ? mkdir(at(each), { recursive: true }) : file(each)).catch(() => {}); // one is a file
        }
        const keys = (folder: string): string[] =>
          fs.readdirSync(at(folder), { withFileTypes: true }).flatMap((each) => {
            const inTree = folder + each.name;
            if (!each.isDirectory()) return inTree;
            const below = keys(`${inTree}/`);
            return below.length === 0 ? `${inTree}/` : below;
          });
        const wanted = keys("").sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
        expect(await lines()).toEqual(wanted);
      }),
      { numRuns: 60 },
    );
  });
  test("more names than are looked at together", async () => {
    for (let n = 0; n < 1000; n++) fs.writeFileSync(at(`f${n}`), "");
    for (let n = 0; n < 300; n++) fs.mkdirSync(at(`f${n}.d`));
    const all = await lines();
    expect(all).toEqual([...all].sort());
    expect(new Set(all).size).toBe(1300);
  });
});

describe("symbolic links", () => {
  beforeEach(async () => {
    await file("d/x", "content");
    await symlink("d/x", at("to-file"));
    await symlink("d", at("to-folder"));
    await symlink("nowhere", at("to-nothing"));
  });
  test("are skipped, and told", async () => {
    expect(await lines()).toEqual(["d/x", "symlink to-file", "symlink to-folder", "symlink to-nothing"]);
  });
  test("are kept as they are, also with bytes that are no UTF-8", async () => {
    fs.symlinkSync(Buffer.from([0x2e, 0xff]), at("odd"));
    expect(await lines({ links: "keep" })).toEqual(["d/x", "odd", "to-file", "to-folder", "to-nothing"]);
    const odd = (await events({ links: "keep" })).find(
      (each) => each.kind === "entry" && each.entry.path === "odd",
    );
    expect(odd).toMatchObject({ entry: { target: Buffer.from([0x2e, 0xff]), size: 2 } });
  });
  test("are followed: a link is what it leads to, and nothing leads to a failed item", async () => {
    expect(await lines({ links: "follow" })).toEqual([
      "d/x",
      "to-file",
      "to-folder/x",
      "incomplete to-nothing: ENOENT",
    ]);
    const followed = (await events({ links: "follow" })).flatMap((each) =>
      each.kind === "entry" ? each.entry : [],
    );
    expect(followed.map((each) => each.absolute)).toEqual([at("d/x"), at("d/x"), at("d/x")]);
  });
  test("loops are found", async () => {
    await symlink("..", at("d/up"));
    await symlink("self", at("self"));
    expect(await lines({ links: "follow" })).toEqual([
      "loop d/up",
      "d/x",
      "incomplete self: ELOOP",
      "to-file",
      "loop to-folder/up",
      "to-folder/x",
      "incomplete to-nothing: ENOENT",
    ]);
  });
});

describe("what is no entry", () => {
  test("FIFOs, sockets and devices are told, and not opened", async () => {
    execFileSync("mkfifo", [at("fifo")]);
    const server = createServer().listen(at("socket"));
    await new Promise((resolve) => server.on("listening", resolve));
    await file("x");
    try {
      const all = await events();
      expect(all.slice(0, 2)).toEqual([
        { kind: "skipped", path: "fifo", reason: "special", text: "is a FIFO" },
        { kind: "skipped", path: "socket", reason: "special", text: "is a socket" },
      ]);
      expect(all).toHaveLength(3);
    } finally {
      server.close();
    }
  });
  test.skipIf(process.platform !== "linux")(
    "names that are no UTF-8 are failed items, whatever they name",
    async () => {
      const raw = (name: string): Buffer =>
        Buffer.concat([Buffer.from(`${root}/`), Buffer.from(name, "latin1")]);
      fs.writeFileSync(raw("caf\xe9"), "");
      fs.mkdirSync(raw("d\xff"));
      fs.writeFileSync(raw("d\xff/x"), "");
      fs.symlinkSync("x", raw("l\xc3"));
      await file("ok/x");
      expect(await lines({ links: "keep" })).toEqual([
        "failed caf\\xE9: UNSUPPORTED",
        "failed d\\xFF: UNSUPPORTED",
        "failed l\\xC3: UNSUPPORTED",
        "ok/x",
      ]);
      expect(await lines({ filters: new Filters([{ kind: "exclude", pattern: "[cdl]*" }]) })).toEqual([
        "ok/x",
      ]);
    },
  );
  test("the name that is kept for manifests, at the root alone", async () => {
    await file(".frameseal/runs/00000001");
    await file("d/.frameseal/x");
    expect(await lines()).toEqual(["failed .frameseal: UNSUPPORTED", "d/.frameseal/x"]);
    await rm(at(".frameseal"), { recursive: true });
    await file(".frameseal");
    expect(await lines()).toEqual(["failed .frameseal: UNSUPPORTED", "d/.frameseal/x"]);
    expect(await lines({ filters: new Filters([{ kind: "exclude", pattern: "/.frameseal" }]) })).toHaveLength(
      1,
    );
  });
  test("what an interrupted download left", async () => {
    await file("d/.x.frameseal-part");
    await file(".frameseal-part");
    expect(await lines()).toEqual([".frameseal-part", "partial d/.x.frameseal-part"]);
  });
  test("second names of a file are entries with a note", async () => {
    await file("a", "x");
    await link(at("a"), at("b"));
    await mkdir(at("d"));
    await link(at("a"), at("d/c"));
    expect(await lines()).toEqual(["a", "hard-link b", "b", "hard-link d/c", "d/c"]);
    const [, note] = await events();
    expect(note).toMatchObject({ text: "is another name of a: both are stored" });
  });
  test("a file with holes is an entry with a note", async () => {
    await file("holes", "x");
    await truncate(at("holes"), 4 * 2 ** 20);
    const isSparse = fs.statSync(at("holes")).blocks * 512 < 2 ** 20;
    expect(await lines()).toEqual(isSparse ? ["sparse holes", "holes"] : ["holes"]);
  });
  test.skipIf(isRoot)("a directory that cannot be read makes the walk incomplete", async () => {
    await file("d/x");
    await file("e");
    fs.chmodSync(at("d"), 0);
    expect(await lines()).toEqual(["incomplete d: EACCES", "e"]);
    fs.chmodSync(at("d"), 0o400); // names, but nothing about them
    expect(await lines()).toEqual(["incomplete d/x: EACCES", "e"]);
    fs.chmodSync(at("d"), 0o700);
  });
  test.skipIf(!fs.existsSync("/dev/shm") || fs.statSync("/dev/shm").dev === fs.statSync(tmpdir()).dev)(
    "other file systems are left out if asked",
    async () => {
      const other = await mkdtemp("/dev/shm/frameseal-walk-");
      try {
        await writeFile(path.join(other, "x"), "");
        await symlink(other, at("mounted"));
        await symlink(path.join(other, "x"), at("file"));
        expect(await lines({ links: "follow" })).toEqual(["file", "mounted/x"]);
        expect(await lines({ links: "follow", oneFileSystem: true })).toEqual([
          "mount-point file",
          "mount-point mounted",
          "mounted/",
        ]);
      } finally {
        await rm(other, { recursive: true });
      }
    },
  );
});

describe("what changes meanwhile", () => {
  test("what vanishes is told and nothing else", async () => {
    for (const name of ["a", "b/x", "c", "d/x"]) await file(name);
    const all: string[] = [];
    for await (const event of walk({ root })) {
      if (event.kind === "entry" && event.entry.path === "a") {
        await rm(at("b"), { recursive: true });
        await rm(at("d"), { recursive: true });
      }
      all.push(event.kind === "entry" ? event.entry.path : `${event.kind} ${event.path}`);
    }
    // It was read ahead, or it was not.
    expect(all.filter((each) => !/^b\/x$|^d\/x$|^skipped [bd]/.test(each))).toEqual(["a", "c"]);
  });

  describe("a directory that becomes a link is not followed", () => {
    let outside: string;
    beforeEach(async () => {
      outside = await mkdtemp(path.join(tmpdir(), "frameseal-outside-"));
      await mkdir(path.join(outside, "deep"));
      for (const name of ["secret", "deep/secret", "f299"]) await writeFile(path.join(outside, name), "");
    });
    afterEach(() => rm(outside, { recursive: true }));
    /** The lines of a walk that finds `name` replaced when `when` has come. */
    async function swapped(name: string, when: string): Promise<string[]> {
      const all: string[] = [];
      for await (const event of walk({ root })) {
        const where = event.kind === "entry" ? event.entry.path : event.path;
        all.push(event.kind === "failed" ? `${where} ${event.incomplete}` : where);
        if (where !== when) continue;
        await rename(at(name), path.join(outside, "moved"));
        await symlink(outside, at(name));
      }
      return all;
    }

    test("before it is opened", async () => {
      // More than are read ahead.
      const names = Array.from({ length: 30 }, (_, n) => `d${String(n).padStart(2, "0")}`);
      for (const name of names) await file(`${name}/x`);
      const all = await swapped("d25", "d00/x");
      expect(all).toEqual(names.map((name) => (name === "d25" ? "d25 true" : `${name}/x`)));
    });
    test("with another one above it", async () => {
      await file("d/a");
      await file("d/deep/x");
      expect(await swapped("d", "d/a")).toEqual(["d/a", "d/deep true"]);
    });
    test("before the rest of its names is looked at", async () => {
      for (let n = 0; n < 300; n++) await file(`d/f${String(n).padStart(3, "0")}`);
      const all = await swapped("d", "d/f000");
      expect(all).toHaveLength(300);
      expect(all.filter((each) => each.endsWith("true"))).toHaveLength(300 - 256);
    });
  });
});

describe("the root", () => {
  const code = (options: Partial<WalkOptions>): Promise<unknown> =>
    events(options).then(
      () => "none",
      (error) => (error as { code: unknown }).code,
    );
  test("has to be a folder that can be read", async () => {
    await file("file");
    expect(await code({ root: at("missing") })).toBe("ENOENT");
    expect(await code({ root: at("file") })).toBe("ENOTDIR");
    if (isRoot) return;
    await mkdir(at("closed"), { mode: 0 });
    expect(await code({ root: at("closed") })).toBe("EACCES");
  });
  test("may be a link to one, and may be empty", async () => {
    await file("d/x");
    await symlink("d", at("link"));
    expect(await lines({ root: at("link") })).toEqual(["x"]);
    expect(await lines({ root: `${at("d")}/../d/.` })).toEqual(["x"]);
    await mkdir(at("empty"));
    expect(await lines({ root: at("empty") })).toEqual([]);
  });
});

describe("an abort", () => {
  test("ends a walk before it begins, and in the middle", async () => {
    for (let n = 0; n < 600; n++) await file(`f${n}`);
    expect(await lines({ signal: AbortSignal.abort() }).catch((error) => error.code)).toBe("ABORTED");
    const controller = new AbortController();
    let count = 0;
    await expect(async () => {
      for await (const _ of walk({ root, signal: controller.signal })) if (++count === 10) controller.abort();
    }).rejects.toMatchObject({ code: "ABORTED" });
    expect(count).toBeLessThan(600);
  });
  test("leaves no file open, nor does a walk that nobody ends", async () => {
    if (process.platform !== "linux") return;
    for (let n = 0; n < 20; n++) await file(`d${n}/x`);
    const open = (): string[] =>
      fs.readdirSync("/proc/self/fd").flatMap((each) => {
        try {
          return fs.readlinkSync(`/proc/self/fd/${each}`).startsWith(root) ? each : [];
        } catch {
          return [];
        }
      });
    for await (const _ of walk({ root })) break;
    await expect.poll(open).toEqual([]);
  });
});

describe("what a list names", () => {
  beforeEach(async () => {
    for (const name of ["a", "d/x", "d/y", "d/e/z", "d-", "f/g/h", "é/ü"]) await file(name);
    await symlink("d", at("link"));
    await symlink("a", at("to-a"));
  });
  test("is walked alone, in the order of the keys, each once", async () => {
    expect(await lines({ named: named("f/g/h", "d/x", "d-", "a", "d/x") })).toEqual([
      "a",
      "d-",
      "d/x",
      "f/g/h",
    ]);
    expect(await lines({ named: named("d", "d/x", "d-") })).toEqual(["d-", "d/e/z", "d/x", "d/y"]);
    expect(await lines({ named: named("é/ü") })).toEqual(["é/ü"]);
    expect(await lines({ named: named("", "a"), links: "keep" })).toHaveLength(9);
    expect(await lines({ named: named() })).toEqual([]);
  });
  test("is missing, or reached through a file or a link: failed items", async () => {
    expect(await lines({ named: named("no", "d/no", "no/x", "a/x", "link/x", "to-a") })).toEqual([
      "failed a/x: ENOTDIR",
      "incomplete d/no: ENOENT",
      "failed link/x: ENOTDIR",
      "incomplete no: ENOENT",
      "symlink to-a",
    ]);
  });
  test("is reached through links that are followed", async () => {
    expect(await lines({ named: named("link/x", "to-a"), links: "follow" })).toEqual(["link/x", "to-a"]);
  });
  test("is left out by filters", async () => {
    const filters = new Filters([{ kind: "exclude", pattern: "x" }]);
    expect(await lines({ named: named("d", "a"), filters })).toEqual(["a", "d/e/z", "d/y"]);
  });
});
