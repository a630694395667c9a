// Runs the built command line in a child process. No output of any run may hold the bytes of a key: every run checks.
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";

const program = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));

export interface RunOptions {
  readonly cwd: string;
  readonly stdin?: Uint8Array | Readable | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Descriptor for standard output in place of a pipe. */
  readonly stdout?: number | undefined;
  /** Called when the process runs. */
  readonly onStart?: ((child: ReturnType<typeof spawn>) => void) | undefined;
}

export interface RunResult {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** Runs `frameseal` with `args` to its end. */
export async function frameseal(args: readonly string[], options: RunOptions): Promise<RunResult> {
  if (!existsSync(program)) throw new Error("dist/ is missing: run npm run build");
  const child = spawn(process.execPath, [program, ...args], {
    cwd: options.cwd,
    env: { ...process.env, NODE_NO_WARNINGS: "1", ...options.env },
    stdio: ["pipe", options.stdout ?? "pipe", "pipe"],
  });
  const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []];
  child.stdout?.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr?.on("data", (chunk: Buffer) => stderr.push(chunk));
  child.stdin?.on("error", () => {}); // a program that refuses its arguments reads nothing
  const { stdin } = options;
  if (stdin === undefined || stdin instanceof Uint8Array) child.stdin?.end(stdin ?? "");
  else if (child.stdin !== null) stdin.pipe(child.stdin);
  options.onStart?.(child);
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (...end) => resolve(end));
  });
  const result = { code, signal, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() };
  expectNoKeys(options.cwd, result);
  return result;
}

function expectNoKeys(folder: string, { stdout, stderr }: RunResult): void {
  const said = stdout.toString("latin1") + stderr;
  for (const name of readdirSync(folder).filter((name) => name.endsWith(".jwk"))) {
    const text = readFileSync(path.join(folder, name), "utf8");
    const key = /"k"\s*:\s*"([^"]+)"/.exec(text)?.[1];
    if (key === undefined) continue;
    const bytes = Buffer.from(key, "base64url");
    for (const form of [key, bytes.toString("hex"), bytes.toString("base64"), bytes.toString("latin1")])
      expect(said.includes(form), `key of ${name} in the output`).toBe(false);
  }
}
