// Rules of gitignore: a table of what its manual says, and the same answers as git gives, where there is git.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { type FilterSource, Filters } from "../../../src/backup/local/filters.ts";

const exclude = (pattern: string): FilterSource => ({ kind: "exclude", pattern });
const include = (pattern: string): FilterSource => ({ kind: "include", pattern });
const file = (text: string): FilterSource => ({ kind: "file", content: Buffer.from(text) });
/** Names of directories end with a slash here. */
const isOut = (filters: Filters, path: string): boolean =>
  filters.excludes(path.replace(/\/$/, ""), path.endsWith("/") ? "directory" : "other");

describe("one pattern", () => {
  test.each<readonly [pattern: string, out: readonly string[], others: readonly string[]]>([
    ["a", ["a", "x/a", "a/", "a/b", "x/a/b/c"], ["ab", "b", "A"]],
    ["/a", ["a", "a/b"], ["x/a"]],
    ["a/", ["a/", "a/b", "x/a/", "x/a/b"], ["a", "x/a"]],
    ["/a/", ["a/", "a/b"], ["x/a/", "a"]],
    ["a/b", ["a/b", "a/b/c"], ["x/a/b", "a"]],
    ["*.tmp", ["x.tmp", ".tmp", "d/x.tmp"], ["x.tmp2", "tmp"]],
    ["a*", ["a", "ab", "x/abc/d"], ["ba"]],
    ["a/*", ["a/b", "a/b/c"], ["a/", "x/a/b"]],
    ["a/*.c", ["a/b.c"], ["a/b/c.c", "a/bc"]],
    ["/*", ["a", "a/b"], []],
    ["?", ["a", "x/a"], ["ab"]],
    ["a?c", ["abc"], ["ac", "a/c"]],
    ["**/a", ["a", "x/a", "x/y/a"], ["xa"]],
    ["a/**", ["a/b", "a/b/c"], ["a/", "x/a/b"]],
    ["a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["a/xb", "x/a/b"]],
    ["**", ["a", "a/b"], []],
    ["a**b", ["ab", "axxb"], ["a"]],
    ["x/a**b", ["x/ab", "x/axb"], ["x/a/b"]],
    ["[abc]", ["a", "c"], ["d", "ab"]],
    ["[!abc]", ["d"], ["a"]],
    ["[^abc]", ["d"], ["a"]],
    ["[a-c]x", ["bx"], ["dx"]],
    ["[]-]", ["]", "-"], ["a"]],
    ["[a-]", ["a", "-"], ["b"]],
    ["[[:digit:]]", ["5"], ["a"]],
    ["[[:alpha:][:digit:]_]", ["a", "5", "_"], ["-"]],
    ["[[:nothing:]]", [], ["a"]],
    ["[a", [], ["[a", "a"]],
    ["a[/]b", [], ["a/b"]],
    ["\\*", ["*"], ["a"]],
    ["\\!a", ["!a"], ["a"]],
    ["\\#a", ["#a"], ["a"]],
    ["#a", ["#a"], ["a"]],
    ["a\\", [], ["a", "a\\"]],
    ["a ", ["a "], ["a"]],
    ["//a", [], ["a", "x/a"]],
    ["a//", [], ["a", "a/"]],
    ["/", [], ["a", "a/"]],
    ["caf\u00e9", ["caf\u00e9"], ["cafe\u0301"]],
    ["\u00fc/*", ["\u00fc/x"], ["u/x"]],
  ])("%s", (pattern, out, others) => {
    const filters = new Filters([exclude(pattern)]);
    for (const each of out) expect(isOut(filters, each), `${each} is out`).toBe(true);
    for (const each of others) expect(isOut(filters, each), `${each} is in`).toBe(false);
  });
});

describe("several", () => {
  test("the last that matches decides, wherever it comes from", () => {
    const filters = new Filters([
      exclude("*.log"),
      file("!keep.log\n*.gz\n"),
      exclude("/keep.log"),
      include("a.gz"),
    ]);
    expect(["a.log", "keep.log", "d/keep.log", "b.gz", "a.gz"].map((each) => isOut(filters, each))).toEqual([
      true,
      true,
      false,
      true,
      false,
    ]);
  });
  test("what lies in an excluded directory stays out", () => {
    const filters = new Filters([exclude("build"), include("build/keep")]);
    expect(isOut(filters, "build/keep")).toBe(true);
    expect(filters.excludesWithin("build/keep", "other")).toBe(false); // who asks so is in that directory already
  });
  test("some only", () => {
    const filters = new Filters([exclude("*"), include("*/"), include("*.jpg")]);
    expect(["a.jpg", "d/", "d/e/b.jpg", "c.png", "d/c.png"].map((each) => isOut(filters, each))).toEqual([
      false,
      false,
      false,
      true,
      true,
    ]);
  });
  test("lines of a file: comments, blank lines, ends of lines, spaces at the end, a mark of UTF-8", () => {
    const filters = new Filters([file("\ufeffa\r\n#b\n\n  \nc   \nd\\ \n\\e\n!f\nlast\r")]);
    const names = ["a", "#b", "b", "c", "c   ", "d ", "d", "e", "f", "last", "last\r", " "];
    expect(names.filter((each) => isOut(filters, each))).toEqual(["a", "c", "d ", "e", "last\r"]);
  });
  test("no rules exclude nothing", () => {
    expect(new Filters([]).isEmpty).toBe(true);
    expect(new Filters([file("# nothing\n")]).isEmpty).toBe(true);
    expect(isOut(new Filters(), "a/b")).toBe(false);
  });
  test("patterns that make others try every way take no time", () => {
    const filters = new Filters([exclude(`${"**/a*".repeat(20)}/b`), exclude(`${"*a".repeat(40)}b`)]);
    expect(isOut(filters, "a/".repeat(400) + "a".repeat(200))).toBe(false);
  });
});

const hasGit = spawnSync("git", ["--version"]).status === 0;

describe.skipIf(!hasGit)("as git", () => {
  const folder = mkdtempSync(path.join(tmpdir(), "filters-"));
  const environment = {
    PATH: process.env.PATH,
    HOME: folder,
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: path.join(folder, "none"),
  };
  const git = (args: readonly string[], input = ""): string =>
    spawnSync("git", args, { cwd: folder, env: environment, input, encoding: "latin1" }).stdout;
  git(["init", "-q"]);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** Which paths git leaves out. */
  function outOfGit(rules: string, paths: readonly string[]): boolean[] {
    writeFileSync(path.join(folder, ".git/info/exclude"), rules);
    const input = paths.map((each) => `${each.replace(/\/$/, "")}\0`).join("");
    const words = git(
      ["check-ignore", "--no-index", "-z", "--stdin", "-v", "-n"],
      Buffer.from(input).toString("latin1"),
    ).split("\0");
    const answers: boolean[] = [];
    for (let at = 0; at + 3 < words.length; at += 4) {
      const pattern = words[at + 2] ?? "";
      answers.push(pattern !== "" && !pattern.startsWith("!"));
    }
    return answers;
  }

  const piece = fc.constantFrom(
    ..."a a a b b c ab ba . - * * ? ** / / /**/ **/ /** [ab] [!a] [^b] [a-c] [[:alpha:]] [a \\ \\a \\* ! # [] [-a] [b-] é".split(
      " ",
    ),
    " ",
  );
  const line = fc
    .tuple(
      fc.constantFrom("", "", "", "!", "/", "\\"),
      fc.array(piece, { minLength: 1, maxLength: 5 }),
      fc.constantFrom("", "", "/", " ", "\r", "\\ "),
    )
    .map(([start, pieces, end]) => start + pieces.join("") + end);
  // On disk, since git looks there for what is a directory.
  const names = ["a", "b", "c", "ab", "ba", "aab", ".a", "a-b", "é", "*", "!a", "#", "a ", "[a"];
  const paths: string[] = [];
  const make = (path: string, depth: number): void => {
    for (const [at, name] of names.entries()) {
      const each = path + name;
      // Few of the folders have folders, and none has everything.
      if ((at * 7 + depth * 5 + path.length * 3) % 4 === 0) continue;
      if (depth < 3 && (at + path.length) % (depth + 2) === 0) {
        mkdirSync(fileIn(each));
        paths.push(`${each}/`);
        make(`${each}/`, depth + 1);
      } else {
        writeFileSync(fileIn(each), "");
        paths.push(each);
      }
    }
  };
  const fileIn = (each: string): string => path.join(folder, each);
  make("", 0);

  test("any rules and paths", () => {
    expect(paths.length).toBeGreaterThan(200);
    fc.assert(
      fc.property(fc.array(line, { minLength: 1, maxLength: 4 }), (lines) => {
        const rules = `${lines.join("\n")}\n`;
        const filters = new Filters([file(rules)]);
        const out = outOfGit(rules, paths);
        expect(out).toHaveLength(paths.length);
        expect(paths.filter((each) => isOut(filters, each))).toEqual(paths.filter((_, at) => out[at]));
      }),
      { numRuns: 100 },
    );
  });
});
