// Every guard has a caller, and every export a use: a check that nothing calls protects nothing, however well it is
// tested.
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));

/** The files of a folder without their comments, by their paths in the project. */
function filesOf(folder: string): ReadonlyMap<string, string> {
  const names = readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" })
    .map((file) => path.posix.join(folder, file.replaceAll(path.sep, "/")))
    .filter((file) => file.endsWith(".ts") && !file.includes("node_modules/"));
  return new Map(names.map((file) => [file, codeOf(readFileSync(path.join(root, file), "utf8"))]));
}
// What stands behind :// is an address and no comment.
const codeOf = (text: string): string => text.replace(/\/\*[\s\S]*?\*\/|(?<!:)\/\/.*$/gm, "");

type Files = ReadonlyMap<string, string>;
const entries = new Set(["client-node", "index", "kms", "s3", "testing"].map((name) => `src/${name}.ts`));

interface Exported {
  readonly file: string;
  readonly name: string;
}
/** Values that files export by declaring them. */
function exportsOf(files: Files): Exported[] {
  const pattern = /^export (?:async )?(?:function\*?|const|let|class) (\w+)/gm;
  return [...files].flatMap(([file, code]) =>
    [...code.matchAll(pattern)].map(([, name = ""]) => ({ file, name })),
  );
}

const counts = (code: string, name: string): number =>
  [...code.matchAll(new RegExp(`(?<![\\w$])${name}(?![\\w$])`, "g"))].length;

/** Whether `code` in `from` imports `file`, by its name or by one put together. */
function imports(from: string, code: string, file: string): boolean {
  const folder = path.posix.dirname(from);
  for (const [, name = "", made] of code.matchAll(/(?:\bfrom\s*|\bimport\()(?:"([^"]+)"|(`))/g)) {
    if (made !== undefined && path.posix.dirname(file) === folder) return true;
    const target = name.startsWith("#frameseal/")
      ? name.replace(/^#frameseal\/(.*)\.js$/, "src/$1.ts")
      : path.posix.join(folder, name);
    if (target === file) return true;
  }
  return false;
}

const isUsedIn = (files: Files, { file, name }: Exported): boolean =>
  [...files].some(([from, code]) => from !== file && counts(code, name) > 0 && imports(from, code, file));

/** Exports that nothing in `src` uses; and those that are used in their own file alone and looked at by no test. */
function needless(src: Files, others: Files): string[] {
  return exportsOf(src)
    .filter((each) => !entries.has(each.file) && !isUsedIn(src, each))
    .filter((each) => counts(src.get(each.file) ?? "", each.name) < 2 || !isUsedIn(others, each))
    .map(({ file, name }) => `${file}: ${name}`);
}

const GUARD =
  /(?:function\*?|const|let|readonly)\s+((?:check|assert|refuse|throwIf)[A-Z]\w*)|^\s+(?:async\s+|readonly\s+)?(#?(?:check|assert|refuse|throwIf)(?:[A-Z]\w*)?)\(.*\{$/gm;

/** Guards that nothing in `src` calls, hands on or has in a table, exported or not. */
function withoutCaller(src: Files): string[] {
  const all = [...src.values()].join("\n");
  // Checks of what others implement are called by their tests.
  const offered = [...(src.get("src/testing.ts") ?? "").matchAll(/\bexport\s+\{([^}]*)\}/g)].join();
  return [...src].flatMap(([file, code]) =>
    [...code.matchAll(GUARD)]
      .map(([, name, method]) => name ?? method ?? "")
      .filter((name) => callsOf(all, name) === 0 && counts(offered, name) === 0)
      .map((name) => `${file}: ${name}`),
  );
}
// Neither where it is declared, imported or exported.
function callsOf(code: string, name: string): number {
  const uses = code
    .replace(/\b(?:import|export)\s+(?:type\s+)?\{[^}]*\}\s+from\s+"[^"]+"/g, "")
    .replaceAll(new RegExp(`(?:function\\*?|const|let)\\s+${name}\\b`, "g"), "")
    .replaceAll(new RegExp(`^\\s+(?:async\\s+)?${name}\\(.*\\{$`, "gm"), "")
    .replaceAll(new RegExp(`^\\s+${name}\\([^()]*\\): [\\w<>]+;$`, "gm"), "");
  return counts(uses, name);
}

const src = filesOf("src");
// The benchmarks are in the package, but for their scripts.
const bench = [...filesOf("bench")];
const isScript = ([file]: readonly [string, string]): boolean => file.startsWith("bench/scripts/");
const shipped: Files = new Map([...src, ...bench.filter((each) => !isScript(each))]);
const others: Files = new Map([...filesOf("test"), ...bench.filter(isScript)]);

describe("guards", () => {
  test("every one has a caller", () => {
    expect([...src.values()].join("\n").match(GUARD)?.length).toBeGreaterThan(50);
    const forTests = src.get("src/testing.ts") ?? "";
    // What "frameseal/testing" gives away is called by the tests of others.
    const silent = withoutCaller(src).filter((line) => counts(forTests, line.replace(/^.* /, "")) === 0);
    expect(silent).toEqual([]);
  });
  test("every export is of use", () => {
    expect(exportsOf(src).length).toBeGreaterThan(300);
    expect(needless(shipped, others).filter((line) => line.startsWith("src/"))).toEqual([]);
  });

  const made = (text: string, more: Readonly<Record<string, string>> = {}): Files =>
    new Map(Object.entries({ "src/a.ts": codeOf(text), ...more }));
  test.each([
    ["export function checkX(): void {}", {}],
    ["export function checkX(): void {}\n// checkX() is called", {}],
    ["export const refuseX = () => {};", { "src/s3.ts": 'export { refuseX } from "./a.ts";' }],
    ["class A {\n  checkX(value: string): void {\n  }\n}", {}],
    [
      "interface A {\n  checkX(value: string): void;\n}\nclass B {\n  checkX(value: string): void {\n  }\n}",
      {},
    ],
    ["export function throwIfX(): void {}", { "src/b.ts": 'import { throwIfX } from "./a.ts";' }],
  ])("one without a caller is found: %s", (text, more) => {
    expect(withoutCaller(made(text, more))).toHaveLength(1);
  });
  test("one with a caller is not found", () => {
    for (const text of [
      "function checkX(): void {}\ncheckX();",
      "const checkX: Check = () => {};\nconst table = { x: checkX };",
      "class A {\n  #checkX(): void {\n  }\n  y(): void { this.#checkX(); }\n}",
    ])
      expect(withoutCaller(made(text)), text).toEqual([]);
  });
  test.each([
    ["export const x = 1;", {}, 1],
    ["export const x = 1;\nconst y = x;", {}, 1],
    ["export const x = 1;\nconst y = x;", { "test/b.ts": 'import { x } from "../src/a.ts";' }, 0],
    ["export const x = 1;", { "test/b.ts": 'import { x } from "../src/a.ts";' }, 1],
    ["export const x = 1;", { "src/b.ts": 'import { x } from "./a.ts";\nx;' }, 0],
    ["export const x = 1;", { "src/b.ts": 'const { x } = await import("./a.ts");' }, 0],
    ["export const x = 1;", { "src/b.ts": "(await import(`./a.ts`)).x;" }, 0],
    ["export const x = 1;", { "src/b.ts": 'import { x } from "./c.ts";' }, 1],
  ])("an export is judged: %s %o", (text, more, count) => {
    const files = Object.entries(more);
    const inside = Object.fromEntries(files.filter(([file]) => file.startsWith("src/")));
    const outside = new Map(files.filter(([file]) => !file.startsWith("src/")));
    expect(needless(made(text, inside), outside)).toHaveLength(count);
  });
});
