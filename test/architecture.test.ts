// The layers as data: an import that points the wrong way fails here.
import { readdirSync, readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const src = fileURLToPath(new URL("../src", import.meta.url));

/** What the files of a layer may import besides their own layer. Entry files at the top import what they export. */
const layers: Readonly<Record<string, readonly string[]>> = {
  shapes: [],
  errors: ["shapes"],
  "sdk-copy": ["errors"],
  bytes: ["errors", "shapes"],
  format: ["shapes", "errors", "bytes"],
  engine: ["shapes", "errors", "bytes", "format"],
  keyring: ["sdk-copy", "shapes", "errors", "bytes", "format", "engine"],
  message: ["shapes", "errors", "bytes", "format", "engine", "keyring"],
  stream: ["shapes", "errors", "bytes", "format", "engine", "keyring", "message"],
  reader: ["shapes", "errors", "bytes", "format", "engine", "keyring", "message", "stream"],
  file: ["shapes", "errors", "bytes", "format", "engine", "keyring", "message", "stream"],
  compat: ["shapes", "errors", "bytes", "format", "engine", "keyring", "message", "stream"],
  s3: ["sdk-copy", "shapes", "errors", "bytes", "format", "engine", "keyring", "message", "stream"],
  bench: [
    "shapes",
    "errors",
    "bytes",
    "format",
    "engine",
    "keyring",
    "message",
    "stream",
    "reader",
    "file",
    "s3",
  ],
  cli: [
    "shapes",
    "errors",
    "bytes",
    "format",
    "engine",
    "keyring",
    "message",
    "stream",
    "reader",
    "file",
    "s3",
    "bench",
  ],
};
const entries = new Set(["client-node.ts", "index.ts", "kms.ts", "s3.ts", "testing.ts"]);
/** Packages, and the only files that may name them. */
const packages: Readonly<Record<string, RegExp>> = {
  commander: /^cli\//,
  "#addon": /^engine\/native\/addon\.ts$/,
  "@aws-sdk/client-kms": /^(cli\/options|compat\/kms-clients|keyring\/kms-(keyring|access))\.ts$/,
  "@aws-sdk/client-s3": /^(cli|s3)\//,
  "@observablehq/plot": /^bench\/page\//,
};

interface Import {
  readonly from: string;
  readonly to: string;
  readonly isType: boolean;
}

/** Imports of a file; relative ones as paths below src. */
function importsOf(from: string, text: string): Import[] {
  const pattern =
    /(?:^|\n)\s*(?:import|export)\s+(type\s)?[^;"]*?from\s+"([^"]+)"|\bimport\("([^"]+)"\)|\brequire\("([^"]+)"\)/g;
  return [...text.matchAll(pattern)].map((match) => {
    const name = match[2] ?? match[3] ?? match[4] ?? "";
    const to = name.startsWith(".")
      ? path.posix.normalize(path.posix.join(path.posix.dirname(from), name))
      : name;
    return { from, to, isType: match[1] !== undefined };
  });
}

const layerOf = (file: string): string =>
  (file.includes("/") ? file.split("/")[0] : file.replace(/\.ts$/, "")) ?? "";

/** What is wrong with an import, or undefined. */
function fault({ from, to }: Import): string | undefined {
  const line = `${from} imports ${to}`;
  if (to.startsWith("node:")) return builtinModules.includes(to.slice(5)) ? undefined : line;
  if (!to.endsWith(".ts")) {
    if (to === "../package.json") return undefined;
    const name = to.split("/", /^(@|\.\.)/.test(to) ? 2 : 1).join("/");
    return packages[name]?.test(from) === true ? undefined : line;
  }
  if (to.startsWith("..")) return line;
  if (entries.has(from)) return undefined;
  const [own, other] = [layerOf(from), layerOf(to)];
  return own === other || layers[own]?.includes(other) === true ? undefined : line;
}

/** One cycle of imports at run time, if there is any. */
function findCycle(imports: readonly Import[]): string[] | undefined {
  const graph = new Map<string, string[]>();
  for (const { from, to, isType } of imports)
    if (!isType && to.endsWith(".ts")) graph.set(from, [...(graph.get(from) ?? []), to]);
  const done = new Set<string>();
  const visit = (file: string, trail: readonly string[]): string[] | undefined => {
    if (trail.includes(file)) return [...trail.slice(trail.indexOf(file)), file];
    if (done.has(file)) return undefined;
    for (const next of graph.get(file) ?? []) {
      const cycle = visit(next, [...trail, file]);
      if (cycle !== undefined) return cycle;
    }
    done.add(file);
    return undefined;
  };
  for (const file of graph.keys()) {
    const cycle = visit(file, []);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}

const files = readdirSync(src, { recursive: true, encoding: "utf8" })
  .map((file) => file.replaceAll(path.sep, "/"))
  .filter((file) => file.endsWith(".ts"));
const texts = new Map(files.map((file) => [file, readFileSync(path.join(src, file), "utf8")]));
const imports = [...texts].flatMap(([file, text]) => importsOf(file, text));

describe("architecture", () => {
  test("every import points down", () => {
    expect(files.length).toBeGreaterThan(60);
    expect(imports.length).toBeGreaterThan(200);
    expect(imports.map(fault).filter((line) => line !== undefined)).toEqual([]);
  });

  test("there are no cycles", () => expect(findCycle(imports)).toBeUndefined());

  test("every file begins with what it is for", () => {
    const silent = [...texts]
      .filter(([, text]) => !/^(#!.*\n)?(\/\/ |\/\*\*)/.test(text))
      .map(([file]) => file);
    expect(silent).toEqual([]);
  });

  test("the package stays small", () => {
    const { dependencies } = JSON.parse(readFileSync(path.join(src, "../package.json"), "utf8"));
    expect(Object.keys(dependencies).length).toBeLessThanOrEqual(3);
  });

  test.each([
    ["format/header.ts", "engine/engine.ts"],
    ["engine/node/engine.ts", "message/seal-message.ts"],
    ["file/file.ts", "s3/requests/multipart.ts"],
    ["s3/requests/multipart.ts", "cli/output.ts"],
    ["file/file.ts", "commander"],
    ["message/seal-message.ts", "@aws-sdk/client-kms"],
    ["bytes.ts", "./support/fake-kms.ts"],
    ["bytes.ts", "node:nothing"],
  ])("%s may not import %s", (from, to) => {
    expect(fault({ from, to, isType: false })).toBe(`${from} imports ${to}`);
  });

  test("a cycle is found", () => {
    const edge = (from: string, to: string): Import => ({ from, to, isType: false });
    expect(findCycle([edge("a.ts", "b.ts"), edge("b.ts", "c.ts"), edge("c.ts", "a.ts")])).toHaveLength(4);
  });
});
