// Names of an attacker: none of them leads out of the folder that a tree is restored to, and each refusal says why.
import path from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Folding, NameCollisions } from "../../../src/backup/local/folding.ts";
import { faultOfTarget } from "../../../src/backup/local/link-target.ts";
import { isPartialName, partialNameOf } from "../../../src/backup/local/partial-name.ts";
import { safeNameOf } from "../../../src/backup/local/safe-name.ts";

const faultOf = (key: string, platform: NodeJS.Platform = "linux"): string => {
  const name = safeNameOf(key, platform);
  return name.kind === "path" ? "none" : name.fault;
};

describe("names", () => {
  test.each<readonly [key: string, linux: string, windows?: string]>([
    ["a", "none"],
    ["a/b.txt", "none"],
    ["a/", "none"],
    ["...", "none", "windows-end"],
    ["..a/b..", "none", "windows-end"],
    ["", "empty"],
    ["/", "absolute"],
    ["/etc/passwd", "absolute"],
    ["//server/share", "absolute"],
    ["a//b", "empty-name"],
    ["a//", "empty-name"],
    [".", "dot"],
    ["./a", "dot"],
    ["a/./b", "dot"],
    ["a/.", "dot"],
    ["..", "dot-dot"],
    ["../a", "dot-dot"],
    ["a/../../b", "dot-dot"],
    ["a/..", "dot-dot"],
    ["a/../", "dot-dot"],
    ["..\\..\\a", "none", "windows-character"],
    ["a\\b", "none", "windows-character"],
    ["C:", "none", "windows-character"],
    ["C:/Windows/x", "none", "windows-character"],
    ["C:x", "none", "windows-character"],
    ["x:stream", "none", "windows-character"],
    ["a/x::$DATA", "none", "windows-character"],
    ["\\\\?\\C:\\x", "none", "windows-character"],
    ["a\0b", "nul"],
    ["../\0", "nul"],
    ["\ud800", "ill-formed"],
    ["a/\udc00x", "ill-formed"],
    ["a\nb", "none", "windows-character"],
    ["\u001b[2J", "none", "windows-character"],
    ["a?", "none", "windows-character"],
    ['"<>|*', "none", "windows-character"],
    ["con", "none", "windows-device"],
    ["NUL", "none", "windows-device"],
    ["a/Aux.txt", "none", "windows-device"],
    ["nul.tar.gz", "none", "windows-device"],
    ["COM1", "none", "windows-device"],
    ["com\u00b9.x", "none", "windows-device"],
    ["LPT9 .txt", "none", "windows-device"],
    ["CONIN$", "none", "windows-device"],
    ["prn/x", "none", "windows-device"],
    ["console", "none"],
    ["com10", "none"],
    ["x.con", "none"],
    ["a.", "none", "windows-end"],
    ["a ", "none", "windows-end"],
    ["a. /b", "none", "windows-end"],
    [`${"x".repeat(255)}/y`, "none"],
    ["x".repeat(256), "too-long"],
    ["é".repeat(128), "too-long"],
    ["a/.b.frameseal-part", "partial"],
    [".frameseal", "reserved"],
    [".frameseal/runs/00000001", "reserved"],
    [".frameseal/", "reserved"],
    ["a/.frameseal/b", "none"],
    [".framesealed", "none"],
    ["\ufe52\ufe52/a", "none"],
    ["\uff0e\uff0e/a", "none"],
  ])("%j", (...row) => {
    const [key = "", linux = "", windows = linux] = row;
    expect(faultOf(key)).toBe(linux);
    expect(faultOf(key, "darwin")).toBe(linux);
    expect(faultOf(key, "win32")).toBe(windows);
  });
  test("are told from directories, and kept as they are", () => {
    expect(safeNameOf("a/b/")).toEqual({ kind: "path", path: "a/b", isDirectory: true });
    expect(safeNameOf("a/\u0065\u0301")).toEqual({
      kind: "path",
      path: "a/\u0065\u0301",
      isDirectory: false,
    });
  });
  test("in a refusal are escaped and cut", () => {
    const name = safeNameOf(`../\u001b]0;x\u0007${"y".repeat(5000)}`);
    if (name.kind === "path") throw new Error("it was taken");
    expect(name.error).toMatchObject({ code: "UNSUPPORTED" });
    expect(name.error.message).toMatch(
      /^the name "\.\.\/\\u001b\]0;x\\u0007y+…" .* cannot be a path here: it has a part "\.\."$/,
    );
    expect(name.error.message.length).toBeLessThan(300);
  });
  test("that are taken stay below a folder, for both kinds of systems", () => {
    const key = fc.string({
      unit: fc.constantFrom("a", ".", "/", "\\", ":", "C", " ", "\0", "~", "%"),
      maxLength: 8,
    });
    fc.assert(
      fc.property(key, (text) => {
        for (const [platform, of, root] of [
          ["linux", path.posix, "/r/t"],
          ["win32", path.win32, "C:\\r\\t"],
        ] as const) {
          const name = safeNameOf(text, platform);
          if (name.kind === "refused") continue;
          const made = of.resolve(root, name.path);
          expect(made.startsWith(root + of.sep), text).toBe(true);
          expect(of.relative(root, made)).toBe(name.path.replaceAll("/", of.sep));
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe("names of what is not complete", () => {
  test("fit beside their files, and are no names of files", () => {
    for (const name of ["a", "é".repeat(120), "x".repeat(255), "x".repeat(239), "x".repeat(240)]) {
      const partial = partialNameOf(name);
      expect(Buffer.byteLength(partial)).toBeLessThanOrEqual(255);
      expect(isPartialName(partial)).toBe(true);
      expect(faultOf(partial)).toBe("partial");
    }
    expect(partialNameOf("x".repeat(254))).not.toBe(partialNameOf("x".repeat(255)));
    expect(isPartialName(".frameseal-part")).toBe(false);
    expect(isPartialName("x.frameseal-part")).toBe(false);
  });
});

describe("names that are one to a file system", () => {
  const collisions = (folding: Folding, ...paths: string[]): (string | undefined)[] => {
    const all = new NameCollisions(folding);
    return paths.map((each) => all.claim(each));
  };
  const both = { letterCase: true, normalization: true };
  test("the first wins", () => {
    expect(collisions(both, "a", "A", "b", "a")).toEqual([undefined, "a", undefined, undefined]);
    expect(collisions(both, "caf\u00e9", "cafe\u0301", "CAFE\u0301")).toEqual([
      undefined,
      "caf\u00e9",
      "caf\u00e9",
    ]);
    expect(collisions(both, "\u03a3", "\u03c2", "\u03c3")).toEqual([undefined, "\u03a3", "\u03a3"]);
  });
  test("folders are names too", () => {
    expect(collisions(both, "D/x", "d/y", "D/y", "d")).toEqual([undefined, "D", undefined, "D"]);
    expect(collisions(both, "x", "X/y", "x/z")).toEqual([undefined, "x", undefined]);
  });
  test("what was refused takes nothing", () => {
    expect(collisions(both, "D/x", "d/new", "D/NEW")).toEqual([undefined, "D", undefined]);
  });
  test("only what the file system folds counts", () => {
    expect(collisions({ letterCase: true, normalization: false }, "a", "A", "\u00e9", "e\u0301")).toEqual([
      undefined,
      "a",
      undefined,
      undefined,
    ]);
    expect(collisions({ letterCase: false, normalization: true }, "a", "A", "\u00e9", "e\u0301")).toEqual([
      undefined,
      undefined,
      undefined,
      "\u00e9",
    ]);
    expect(collisions({ letterCase: false, normalization: false }, "a", "A", "\u00e9", "e\u0301")).toEqual(
      Array(4).fill(undefined),
    );
  });
});

describe("what a symbolic link may say", () => {
  const fault = (at: string, target: string | Buffer, platform: NodeJS.Platform = "linux"): string =>
    faultOfTarget(at, Buffer.from(target), platform) ?? "none";
  test.each<readonly [at: string, target: string, fault: string]>([
    ["l", "a", "none"],
    ["l", "a/b", "none"],
    ["l", "./a", "none"],
    ["l", ".", "none"],
    ["l", "a//b/", "none"],
    ["d/l", "../a", "none"],
    ["d/l", "..", "none"],
    ["d/e/l", "./.././../a", "none"],
    ["l", "...", "none"],
    ["l", "..a", "none"],
    ["l", "a\nb", "none"],
    ["l", "..", "leads-out"],
    ["l", "../a", "leads-out"],
    ["d/l", "../../a", "leads-out"],
    ["l", "/etc/passwd", "leads-out"],
    ["l", "//a", "leads-out"],
    // Lexically inside, but `a` may be a link to a place further up.
    ["d/l", "a/../b", "leads-out"],
    ["l", "a/a/a/../../..", "leads-out"],
    ["l", "", "not-a-target"],
    ["l", "a\0b", "not-a-target"],
    ["l", "x".repeat(4096), "not-a-target"],
  ])("%s -> %j: %s", (at, target, expected) => expect(fault(at, target)).toBe(expected));
  test("any bytes", () => expect(fault("l", Buffer.from([0xff, 0x2f, 0xc3]))).toBe("none"));
  test("Windows has other ways out", () => {
    expect(fault("l", "..\\a", "win32")).toBe("leads-out");
    expect(fault("l", "C:a", "win32")).toBe("leads-out");
  });
});
