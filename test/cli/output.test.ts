// Everything that a command says goes through one file, which shows what a terminal would obey or hide. What writes
// elsewhere is found in the source; and hostile text is put in every place where a command says something from outside.
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { bounded, visible } from "../../src/cli/visible.ts";

const folder = new URL("../../src/", import.meta.url);
const files = new Map(
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => [
      name,
      readFileSync(new URL(name, folder), "utf8").replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, ""),
    ]),
);

describe("the source", () => {
  const writing = /process\.(stdout|stderr)\.write|console\.\w+\(|writeSync\(\s*[12]\b|writeText\(/;
  test("writes to the standard streams in one file only", () => {
    expect(files.size).toBeGreaterThan(150);
    expect([...files].filter(([, text]) => writing.test(text)).map(([name]) => name)).toEqual([
      "cli/output.ts",
    ]);
  });
  test("takes the streams themselves nowhere else", () => {
    const streams = [...files].filter(([, text]) => /process\.(stdout|stderr)\b/.test(text));
    expect(streams.map(([name]) => name)).toEqual(["cli/output.ts"]);
  });
  test.each(["process.stdout.write(x)", "console.log(x)", "writeSync(2, x)", "console.error(x)"])(
    "%s would be found",
    (code) => expect(writing.test(code)).toBe(true),
  );
});

/** Texts that a terminal or a reader would take for something else, with what must not be in what is shown. */
const hostile: Readonly<Record<string, string>> = {
  colours: "\u001b[31mred\u001b[0m",
  "one-byte controls": "\u009b31m\u0090\u009c",
  "window titles": "\u001b]0;title\u0007",
  links: "\u001b]8;;https://other\u001b\\text\u001b]8;;\u001b\\",
  clipboard: "\u001b]52;c;aGk=\u0007",
  bells: "\u0007\u0008\u007f",
  "line ends": "\n\r\r\n\u0085\u2028\u2029\u000b\u000c",
  tabs: "a\tb",
  nothing: "\0",
  "halves of pairs": "\ud800x\udc00",
  directions: "\u202e\u202d\u2066\u2067\u2068\u2069\u200e\u200f\u061c",
  "characters without width": "\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f\u180e\u115f\u3164\uffa0\u2800",
  tags: "\u{e0041}\u{e0001}\u{e0100}\ufe0f",
  blanks: "\u00a0\u2000\u2003\u3000\u1680\u202f",
  "private characters": "\ue000\u{f0000}\u{10fffd}",
  "piles of marks": `Z${"\u0300\u0301".repeat(40)}`,
  "marks first": "\u0300x",
};

test.each(Object.entries(hostile))("%s are shown", (_name, text) => {
  const shown = visible(text);
  expect(shown).not.toMatch(
    /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]|(?! )\p{Zs}|\p{M}{5}|^\p{M}/u,
  );
  // As JSON has it, so that it can be read back.
  const inJson = visible(JSON.stringify({ [text]: text }));
  expect(JSON.parse(inJson)).toEqual({ [text]: text });
});

test("what everybody reads stays as it is", () => {
  for (const text of [
    "backup 2026/01 (größte).tar",
    "日本語",
    "é ñ à ",
    "emoji 🎉",
    "a\\b \"c\" 'd' %e",
    "क्षि",
  ])
    expect(visible(text)).toBe(text);
});

test("long text keeps its beginning and its end", () => {
  const text = bounded(`begin ${"x".repeat(1e6)} end`, 300);
  expect(text.length).toBeLessThanOrEqual(300);
  expect(text).toMatch(/^begin .*….* end$/);
  expect(bounded("short", 300)).toBe("short");
});

test("help is plain text", () => {
  const help = execFileSync(process.execPath, ["dist/cli/main.js", "--help"], { encoding: "utf8" });
  expect(help.replaceAll("\n", "")).not.toMatch(/[\p{C}]/u);
});
