// The layers as data: an import that points the wrong way fails here.
import { readdirSync, readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));

/** What everything stands on. */
const ground = ["shapes", "quote", "errors", "check-options", "bytes", "hkdf", "until-aborted"];
const belowStream = [...ground, "secret-transport", "format", "engine", "disk", "keyring", "message"];
/** What the files of a layer may import besides their own layer. Entry files at the top import what they export. */
const layers: Readonly<Record<string, readonly string[]>> = {
  shapes: [],
  quote: [],
  errors: ["shapes", "quote"],
  "check-options": ["shapes", "quote"],
  "until-aborted": ["errors"],
  "sdk-copy": ["errors"],
  "secret-transport": ["errors"],
  bytes: ["errors", "shapes"],
  hkdf: ["bytes"],
  format: [...ground],
  engine: [...ground, "format"],
  disk: [...ground, "engine"],
  keyring: ["sdk-copy", "secret-transport", ...ground, "format", "engine", "disk"],
  message: [...ground, "format", "engine", "keyring"],
  stream: [...belowStream],
  reader: [...belowStream, "stream"],
  file: [...belowStream, "stream"],
  compat: [...belowStream, "stream"],
  s3: ["sdk-copy", ...belowStream, "stream"],
  backup: [...belowStream, "stream", "reader", "file", "s3"],
  bench: [...belowStream, "stream", "reader", "file", "s3", "backup"],
  "bench/scripts": ["bench", "index", "kms", "s3"],
  cli: [...belowStream, "stream", "reader", "file", "s3", "backup"],
};
/** The rooms of `s3/`: what their files may import of it besides their own room. Its files outside of rooms are the rest. */
const s3Rooms: Readonly<Record<string, readonly string[]>> = {
  framed: ["the rest"],
  "single-message": ["the rest"],
  requests: ["the rest", "server-side"],
  "server-side": ["the rest"],
};
/** Files of `s3/` that join the rooms. */
const s3Joints = new Set(
  ["encrypt-s3-client", "formats", "reencrypt", "replaced-object", "rewrap", "whole-object"].map(
    (name) => `s3/${name}.ts`,
  ),
);
/** The command line loads the benchmarks by name, and they know what it gives them; nothing else crosses. */
const crossings = new Set([
  "cli/bench.ts imports bench/command.ts",
  "bench/command.ts imports cli/harness.ts",
]);
const entries = new Set(["client-node.ts", "index.ts", "kms.ts", "s3.ts", "testing.ts"]);
/** Packages, and the only files that may name them. */
const packages: Readonly<Record<string, RegExp>> = {
  commander: /^cli\//,
  "@noble/curves": /^message\/sign-digest\.ts$/,
  "#addon": /^engine\/native\/addon\.ts$/,
  "@aws-sdk/client-kms":
    /^(cli\/aws-client|compat\/kms-clients|keyring\/kms-(keyring|access))\.ts$|^bench\/scripts\//,
  "@aws-sdk/client-s3": /^(backup|cli|s3|bench\/scripts)\//,
  "node-sqlite3-wasm": /^backup\/journal\/sqlite\.ts$/,
  "@aws-sdk/lib-storage": /^bench\/scripts\//,
  "playwright-core": /^bench\/scripts\//,
  "@observablehq/plot": /^bench\/page\//,
};

interface Import {
  readonly from: string;
  readonly to: string;
}

/** Imports of a file; those of our own files as paths below src, or as bench/... */
function importsOf(from: string, text: string): Import[] {
  const pattern =
    /(?:^|\n)\s*(?:import|export)\s+[^;"]*?from\s+"([^"]+)"|\bimport\("([^"]+)"(?: as string)?\)|\brequire\("([^"]+)"\)/g;
  return [...text.matchAll(pattern)].map((match) => {
    const name = match[1] ?? match[2] ?? match[3] ?? "";
    const to = name.startsWith(".")
      ? path.posix.normalize(path.posix.join(path.posix.dirname(from), name))
      : name.replace(/^#frameseal\/(.*)\.js$/, "$1.ts");
    return { from, to };
  });
}

// What is not in the package is a layer of its own: nothing in the package may need it.
const layerOf = (file: string): string => /^(bench\/scripts|[^/.]+)/.exec(file)?.[0] ?? "";

/** Whether an import between two files of `s3/` points the wrong way. */
function crossesRooms(from: string, to: string): boolean {
  const roomOf = (file: string): string => {
    const [, room = "", inside] = file.split("/");
    return inside === undefined ? "the rest" : room;
  };
  const [own, other] = [roomOf(from), roomOf(to)];
  if (s3Joints.has(from) || own === other) return false;
  return s3Joints.has(to)
    ? !(own === "requests" && to === "s3/formats.ts")
    : s3Rooms[own]?.includes(other) !== true;
}

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
  if (entries.has(from) || crossings.has(line)) return undefined;
  const [own, other] = [layerOf(from), layerOf(to)];
  if (own === "s3" && other === "s3" && crossesRooms(from, to)) return line;
  return own === other || layers[own]?.includes(other) === true ? undefined : line;
}

/** One cycle of imports, also of types alone, if there is any. */
function findCycle(imports: readonly Import[]): string[] | undefined {
  const graph = new Map<string, string[]>();
  for (const { from, to } of imports)
    if (to.endsWith(".ts")) graph.set(from, [...(graph.get(from) ?? []), to]);
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

function listFiles(folder: string): string[] {
  return readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" })
    .map((file) => file.replaceAll(path.sep, "/"))
    .filter((file) => file.endsWith(".ts") && !file.includes("node_modules/"));
}

/** The files of src/ by their paths in it, those of bench/ as a layer beside them. */
const files = [
  ...listFiles("src").map((file) => [file, path.join(root, "src", file)] as const),
  ...listFiles("bench").map((file) => [`bench/${file}`, path.join(root, "bench", file)] as const),
];
const texts = new Map(files.map(([file, place]) => [file, readFileSync(place, "utf8")]));
const imports = [...texts].flatMap(([file, text]) => importsOf(file, text));

describe("architecture", () => {
  test("every import points down", () => {
    expect(files.length).toBeGreaterThan(60);
    expect(imports.length).toBeGreaterThan(200);
    expect(imports.map(fault).filter((line) => line !== undefined)).toEqual([]);
  });

  test("what a page under jsdom has not as a global is imported", () => {
    const used = (text: string): string[] =>
      ["setImmediate", "clearImmediate", "structuredClone"].filter((name) =>
        new RegExp(`(?<![.\\w])${name}\\(`).test(text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "")),
      );
    const isImported = (text: string, name: string): boolean =>
      new RegExp(`^import \\{[^}]*\\b${name}\\b[^}]*\\} from "node:timers";`, "m").test(text);
    const missing = [...texts]
      .filter(([file]) => !file.startsWith("bench/"))
      .flatMap(([file, text]) => used(text).map((name) => ({ file, name, ok: isImported(text, name) })));
    expect(missing.length).toBeGreaterThan(0);
    expect(missing.filter(({ ok }) => !ok)).toEqual([]);
  });

  test("there are no cycles", () => expect(findCycle(imports)).toBeUndefined());

  test("every file begins with what it is for", () => {
    const silent = [...texts]
      .filter(([, text]) => !/^(#!.*\n)?(\/\/ |\/\*\*)/.test(text))
      .map(([file]) => file);
    expect(silent).toEqual([]);
  });

  test("the package stays small", () => {
    const { dependencies } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
    expect(Object.keys(dependencies).length).toBeLessThanOrEqual(3);
  });

  test.each([
    ["format/header.ts", "engine/engine.ts"],
    ["engine/node/engine.ts", "message/seal-message.ts"],
    ["file/file.ts", "s3/requests/multipart.ts"],
    ["s3/requests/multipart.ts", "cli/output.ts"],
    ["s3/framed/frame-range.ts", "s3/single-message/envelope.ts"],
    ["s3/single-message/format.ts", "s3/framed/key-binding.ts"],
    ["s3/framed/framed-format.ts", "s3/requests/put.ts"],
    ["s3/server-side/server-side.ts", "s3/requests/put.ts"],
    ["s3/transport.ts", "s3/requests/get.ts"],
    ["s3/object-format.ts", "s3/framed/framed-format.ts"],
    ["file/file.ts", "commander"],
    ["message/seal-message.ts", "@aws-sdk/client-kms"],
    ["s3/encrypt-s3-client.ts", "bench/command.ts"],
    ["cli/main.ts", "bench/run.ts"],
    ["bench/run.ts", "cli/output.ts"],
    ["bench/run.ts", "bench/scripts/s3.ts"],
    ["bench/run.ts", "@aws-sdk/client-s3"],
    ["bytes.ts", "./support/fake-kms.ts"],
    ["bytes.ts", "node:nothing"],
  ])("%s may not import %s", (from, to) => {
    expect(fault({ from, to })).toBe(`${from} imports ${to}`);
  });

  test("a cycle is found", () => {
    const edge = (from: string, to: string): Import => ({ from, to });
    expect(findCycle([edge("a.ts", "b.ts"), edge("b.ts", "c.ts"), edge("c.ts", "a.ts")])).toHaveLength(4);
  });
});

test("what has a longer form is run in it by `npm run test:full`", async () => {
  const { default: config } = await import("../vitest.config.ts");
  const { include } = (config as (environment: { mode: string }) => { test: { include: string[] } })({
    mode: "full",
  }).test;
  const folder = fileURLToPath(new URL(".", import.meta.url));
  const withLongerForm = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".test.ts"))
    .filter((file) => /^import .*\/full\.ts";$/m.test(readFileSync(path.join(folder, file), "utf8")))
    .map((file) => `test/${file.replaceAll(path.sep, "/")}`);
  expect(withLongerForm.length).toBeGreaterThan(2);
  const matches = (file: string, pattern: string): boolean =>
    new RegExp(`^${pattern.replaceAll(".", "\\.").replaceAll("*", "[^/]*")}$`).test(file);
  expect(withLongerForm.filter((file) => !include.some((pattern) => matches(file, pattern)))).toEqual([]);
});

test("which engines there are is asked in one place, so that tests pass without the addon", () => {
  const folder = fileURLToPath(new URL(".", import.meta.url));
  const lists = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((file) => file.replaceAll(path.sep, "/"))
    .filter((file) => file.endsWith(".ts"))
    .filter((file) =>
      /\[\s*"(native|node)",\s*"(native|node)"\s*\]/.test(readFileSync(path.join(folder, file), "utf8")),
    );
  // The second and the third leave out what needs the addon, in their own ways; the last only looks at a name.
  expect(lists.sort()).toEqual(
    [
      "message/fixtures.ts",
      "file/pump.test.ts",
      "stream/behaviour.test.ts",
      "engine/select-engine.test.ts",
    ].sort(),
  );
});
