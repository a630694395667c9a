// Paths <-> keys, in the clear and hidden: what is written comes back, and nothing else is taken for a name.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { EntryType } from "../../../src/backup/entry.ts";
import { createKeyNames } from "../../../src/backup/names/encrypted-names.ts";
import { namesBelow } from "../../../src/backup/names/key-length.ts";
import { plainNames } from "../../../src/backup/names/plain-names.ts";

const key = createHash("sha256").update("a key of tests").digest();
const kinds = {
  plain: plainNames,
  tree: createKeyNames("tree", key),
  flat: createKeyNames("flat", key),
} as const;
const hidden = ["tree", "flat"] as const;
const modes = ["plain", ...hidden] as const;

const odd = [
  "a",
  "a/b",
  "a/b/c",
  "b",
  "a b",
  "a//b",
  "/a",
  "/",
  "//",
  "..",
  "../x",
  ".",
  ".frameseal/runs/00000001",
  "A",
  "\u00e9",
  "e\u0301",
  "\u{1f600}/\u{1f600}",
  "\ufffd",
  "line\nbreak",
  "\u0001",
  "back\\slash",
  "C:\\x",
  "x".repeat(255),
  `${"deep/".repeat(2000)}end`,
];

/** Texts of all kinds of characters, the same in every run. */
function* someNames(count: number): Generator<string> {
  let state = 1;
  const next = (below: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
  const character = (): string => {
    const point = 1 + next([0x7f, 0x7ff, 0xffff, 0x10fffe][next(4)] ?? 1);
    return point >= 0xd800 && point < 0xe000 ? "/" : String.fromCodePoint(point);
  };
  for (let at = 0; at < count; at++) yield Array.from({ length: 1 + next(40) }, character).join("");
}

describe.each(modes)("%s names", (mode) => {
  const names = kinds[mode];

  test("of all characters come back, and no two are the same", () => {
    const paths = new Set(someNames(1000));
    const made = new Set<string>();
    for (const path of paths) {
      const key = names.keyOf(path, "directory");
      expect(names.entryOf(key)).toEqual({ path, isDirectory: true });
      made.add(key);
    }
    expect(made.size).toBe(paths.size);
    expect(paths.size).toBeGreaterThan(900);
  });

  test("come back, and are different for different entries", () => {
    const seen = new Map<string, string>();
    for (const path of odd)
      for (const type of ["file", "directory"] as const) {
        if (type === "file" && path.endsWith("/")) continue;
        const made = names.keyOf(path, type);
        expect(names.entryOf(made)).toEqual({ path, isDirectory: type === "directory" });
        expect(seen.get(made)).toBeUndefined();
        seen.set(made, path);
        expect(names.keyOf(path, type)).toBe(made);
      }
  });
  test("are the same for links as for files", () => {
    expect(names.keyOf("a/b", "symlink")).toBe(names.keyOf("a/b", "file"));
  });
  test.each(["", "a\0b", "\ud800", "a/\udc00"])("refuse %j", (path) => {
    for (const type of ["file", "directory", "symlink"] as const)
      expect(() => names.keyOf(path, type)).toThrow(expect.objectContaining({ code: "UNSUPPORTED" }));
  });
  test("refuse a file with the name of a directory", () => {
    expect(() => names.keyOf("a/", "file")).toThrow(expect.objectContaining({ code: "UNSUPPORTED" }));
  });
  test("take the key of the prefix itself for the root", () => {
    expect(names.entryOf("")).toEqual({ path: "", isDirectory: true });
  });
  test("below a prefix are as long as S3 takes them, in bytes", () => {
    const prefix = "backups/\u00e9s/"; // 12 bytes
    const below = namesBelow(prefix, names);
    const length = { plain: 1012, flat: 743, tree: 743 }[mode];
    const path = `\u00e9${"x".repeat(length - 2)}`;
    const longest = below.keyOf(path, "file");
    expect(Buffer.byteLength(prefix + longest)).toBe(1024);
    expect(below.entryOf(longest).path).toBe(path);
    expect(() => below.keyOf(`${path}x`, "file")).toThrow(
      expect.objectContaining({ code: "LIMIT_EXCEEDED" }),
    );
    const far = namesBelow("x".repeat(1100), names);
    expect(() => far.keyOf("a", "file")).toThrow(expect.objectContaining({ code: "LIMIT_EXCEEDED" }));
  });
});

test("plain names are what they are", () => {
  expect(plainNames.keyOf("a/\u00e9", "file")).toBe("a/\u00e9");
  expect(plainNames.keyOf("a/b", "directory")).toBe("a/b/");
});

describe.each(hidden)("hidden names: %s", (mode) => {
  const names = kinds[mode];
  const notAuthentic = expect.objectContaining({ code: "AUTHENTICATION_FAILED" });

  test("with any character changed, removed, added or exchanged are none", () => {
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=/+ %.\u00e9\0";
    for (const type of ["file", "directory"] as const) {
      const made = names.keyOf("folder/name.txt", type);
      for (let at = 0; at < made.length; at++) {
        for (const letter of alphabet)
          if (letter !== made[at])
            expect(() => names.entryOf(made.slice(0, at) + letter + made.slice(at + 1))).toThrow(
              notAuthentic,
            );
        expect(() => names.entryOf(made.slice(0, at) + made.slice(at + 1))).toThrow(notAuthentic);
        expect(() => names.entryOf(`${made.slice(0, at)}A${made.slice(at)}`)).toThrow(notAuthentic);
      }
      for (const more of ["A", "/", "=", "\n", `/${made}`]) {
        expect(() => names.entryOf(made + more)).toThrow(notAuthentic);
        expect(() => names.entryOf(more + made)).toThrow(notAuthentic);
      }
    }
  });
  test("that nobody sealed are none, whatever they look like", () => {
    for (const other of [
      ".",
      "..",
      "/",
      "//",
      "a",
      "../x",
      "A".repeat(22),
      "A".repeat(1024),
      "/".repeat(1024),
    ])
      expect(() => names.entryOf(other)).toThrow(notAuthentic);
  });
  test("are none under another key, or of the other kind", () => {
    const other = createKeyNames(mode, createHash("sha256").update("another key").digest());
    const otherKind = kinds[mode === "tree" ? "flat" : "tree"];
    const made = names.keyOf("a", "file");
    expect(() => other.entryOf(made)).toThrow(notAuthentic);
    expect(() => otherKind.entryOf(made)).toThrow(notAuthentic);
    expect(other.keyOf("a", "file")).not.toBe(made);
    expect(otherKind.keyOf("a", "file")).not.toBe(made);
  });
  test("show nothing of what they stand for", () => {
    const made = names.keyOf("payroll/2026/salaries.csv", "file");
    expect(made).toMatch(/^[A-Za-z0-9_/-]+$/);
    expect(made).not.toMatch(/payroll|2026|salaries|csv/);
  });
});

describe("hidden names of trees", () => {
  const { tree } = kinds;
  test("keep folders, and begin with the key of their folder", () => {
    const folder = tree.keyOf("a/b", "directory");
    const file = tree.keyOf("a/b/c", "file");
    expect(folder.split("/")).toHaveLength(3); // the last is empty
    expect(file.startsWith(folder)).toBe(true);
    expect(folder.startsWith(tree.keyOf("a", "directory"))).toBe(true);
  });
  test("differ for equal names in different folders", () => {
    const last = (path: string): string | undefined => tree.keyOf(path, "file").split("/").at(-1);
    expect(new Set([last("x"), last("a/x"), last("b/x"), last("a/b/x")]).size).toBe(4);
  });
  test("are none when they were moved to another folder, or made a folder", () => {
    const [a = "", x = ""] = tree.keyOf("a/x", "file").split("/");
    const [b = ""] = tree.keyOf("b", "directory").split("/");
    for (const moved of [`${b}/${x}`, x, `${a}/${a}`, `${a}/${x}/`, a, `${a}/${x}/${x}`, `${a}/`.repeat(2)])
      expect(() => tree.entryOf(moved)).toThrow(expect.objectContaining({ code: "AUTHENTICATION_FAILED" }));
  });
  test("stay the same while thousands of folders pass by", () => {
    const first = Array.from({ length: 1000 }, (_, index) => tree.keyOf(`f${index}/sub/x`, "file"));
    const again = first.map((_, index) => tree.keyOf(`f${index}/sub/x`, "file"));
    expect(again).toEqual(first);
    expect(first.map((each) => tree.entryOf(each).path)).toEqual(first.map((_, index) => `f${index}/sub/x`));
  });
});

test("a key of another length is refused", () => {
  for (const length of [0, 16, 31, 33, 64])
    expect(() => createKeyNames("tree", new Uint8Array(length))).toThrow(RangeError);
});

interface Vector {
  readonly key: string;
  readonly mode: "tree" | "flat";
  readonly path: string;
  readonly type: EntryType;
  readonly sealed: string;
}

/** Rows of the table of the documentation, as vectors. */
function documented(): Vector[] {
  const text = readFileSync(new URL("../../../docs/NAMES.md", import.meta.url), "utf8");
  const rows = /^\| mode \| path \| type \| key in the bucket \|\n.*\n((?:\|.*\n)+)/m.exec(text)?.[1] ?? "";
  const testKey = /`([0-9a-f]{64})`/.exec(text)?.[1] ?? "";
  return [...rows.matchAll(/^\| (tree|flat) \| `(.*)` \| (file|directory) \| `(.*)` \|$/gm)].map(
    ([, mode, path, type, sealed]) => ({
      key: testKey,
      mode: mode as Vector["mode"],
      path: path ?? "",
      type: type as EntryType,
      sealed: sealed ?? "",
    }),
  );
}
const vectors = JSON.parse(readFileSync(new URL("vectors.json", import.meta.url), "utf8")) as Vector[];

test.each([
  ["kept vectors", vectors],
  ["vectors of the documentation", documented()],
])("%s", (_, all) => {
  expect(all.length).toBeGreaterThan(5);
  for (const { key: keyText, mode, path, type, sealed } of all) {
    const names = createKeyNames(mode, Buffer.from(keyText, "hex"));
    expect(names.keyOf(path, type)).toBe(sealed);
    expect(names.entryOf(sealed)).toEqual({ path, isDirectory: type === "directory" });
  }
});
