// The engine compiled to JavaScript, for tests that need a process of their own.
import { execFileSync, spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

export interface CompiledEngine {
  /** URL of select-engine.js. */
  readonly url: string;
  /** A directory without any addon, and one whose addon is no program. */
  readonly withoutAddon: string;
  readonly withCorruptAddon: string;
  remove(): void;
}

/** Compiles src/engine into a directory of its own inside the package, so that dependencies are found. */
export function compileEngine(): CompiledEngine {
  mkdirSync(join(root, "build"), { recursive: true });
  const directory = mkdtempSync(join(root, "build", "test-engine-"));
  const config = join(directory, "tsconfig.json");
  const compilerOptions = { rootDir: join(root, "src"), outDir: join(directory, "dist"), declaration: false };
  const extending = join(root, "tsconfig.json");
  const files = ["select-engine.ts", "native/freed-memory.ts", "node/worker.ts"].map((name) =>
    join(root, "src/engine", name),
  );
  writeFileSync(config, JSON.stringify({ extends: extending, compilerOptions, files, include: [] }));
  const { imports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  writeFileSync(join(directory, "package.json"), JSON.stringify({ type: "module", imports }));
  for (const file of ["addon.js", "load.js", "package.json"])
    cpSync(join(root, "native", file), join(directory, "native", file));
  const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc");
  execFileSync(process.execPath, [tsc, "-p", config]);
  const withoutAddon = join(directory, "without");
  const withCorruptAddon = join(directory, "corrupt");
  mkdirSync(withoutAddon);
  mkdirSync(join(withCorruptAddon, "build", "Release"), { recursive: true });
  writeFileSync(join(withCorruptAddon, "build", "Release", "frameseal.node"), "not a program");
  return {
    url: pathToFileURL(join(directory, "dist", "engine", "select-engine.js")).href,
    withoutAddon,
    withCorruptAddon,
    remove: () => rmSync(directory, { recursive: true }),
  };
}

export interface ChildResult {
  readonly status: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `script` as an ES module in a process of its own, with the package's addon unless `env` says otherwise. */
export function runChild(
  script: string,
  options: { readonly env?: Record<string, string>; readonly flags?: readonly string[] } = {},
): Promise<ChildResult> {
  const { FRAMESEAL_ENGINE: _engine, FRAMESEAL_KERNEL: _kernel, ...inherited } = process.env;
  const child = spawn(process.execPath, [...(options.flags ?? []), "--input-type=module", "-e", script], {
    env: { ...inherited, FRAMESEAL_PREBUILD: root, ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 60_000,
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status, signal) => resolve({ status, signal, stdout, stderr }));
  });
}
