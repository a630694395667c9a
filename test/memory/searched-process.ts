// Starts the program of this folder, and searches its memory each time that it waits for it.
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";
import { encrypt, RawAesKeyring } from "../../src/index.ts";
import { FULL } from "../support/full.ts";
import { type Marker, markersOf, type Seen } from "./markers.ts";
import type { Done, Plan } from "./program.ts";
import { searchMemory } from "./search.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** A process that hangs ends even if nobody waits for it any more. */
const TIMEOUT_MS = FULL ? 3_600_000 : 110_000;

export interface Program {
  readonly file: string;
  remove(): void;
}

/** Joins the program, and the worker of the Node engine where it looks for that, inside the package: for its addon. */
export async function buildProgram(): Promise<Program> {
  mkdirSync(path.join(root, "build"), { recursive: true });
  const directory = mkdtempSync(path.join(root, "build", "test-memory-"));
  const inputs = {
    "engine/node/worker": "src/engine/node/worker.ts",
    "a/b/program": "test/memory/program.ts",
  };
  for (const [name, file] of Object.entries(inputs)) {
    const bundle = await rolldown({
      input: { [name]: path.join(root, file) },
      platform: "node",
      transform: { target: "es2023" },
      external: (id) => id.startsWith("#") || /^(@aws-sdk|@noble|rolldown)\//.test(id),
      logLevel: "silent",
    });
    await bundle.write({ dir: directory, format: "esm", codeSplitting: false });
  }
  return {
    file: path.join(directory, "a/b/program.js"),
    remove: () => rmSync(directory, { recursive: true }),
  };
}

/** Why this process may not read the memory of its children; undefined if it may. */
export function cannotSearch(): string | undefined {
  if (process.platform !== "linux") return "only Linux lets a process read another's memory in a file";
  const scope = (() => {
    try {
      return Number(readFileSync("/proc/sys/kernel/yama/ptrace_scope", "latin1"));
    } catch {
      return 0;
    }
  })();
  return scope > 1 ? `ptrace_scope is ${scope}` : undefined;
}

interface MarkerOfWay extends Marker {
  readonly way: string;
}

/** What was looked for in one search, and what was found. */
export interface Searched {
  readonly ways: readonly string[];
  readonly operationCount: number;
  /** By way. */
  readonly markerCounts: ReadonlyMap<string, number>;
  readonly found: readonly string[];
  readonly bytes: number;
}

/**
 * Runs the program with `groups` of ways; yields what was found after each, and at last what was when the process exits,
 * where everything is looked for that came before.
 */
export async function* search(
  program: Program,
  given: Pick<Plan, "engine" | "groups" | "keep">,
): AsyncGenerator<Searched> {
  const mask = randomBytes(32);
  const wrappingKey = randomBytes(32);
  const foreign = await uncommittedMessages(wrappingKey);
  const plan: Plan = {
    ...given,
    mask: mask.toString("hex"),
    wrappingKey: wrappingKey.toString("hex"),
    uncommitted: foreign.map(({ message }) => message.toString("base64")),
  };
  const file = path.join(path.dirname(program.file), `plan-${given.engine}.json`);
  writeFileSync(file, JSON.stringify(plan));
  const child = spawn(process.execPath, [program.file, file], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, FRAMESEAL_ENGINE: "", FRAMESEAL_KERNEL: "", NODE_OPTIONS: "" },
    timeout: TIMEOUT_MS,
    killSignal: "SIGKILL",
  });
  const all: MarkerOfWay[] = [];
  try {
    for await (const _ of child.stdout as NonNullable<typeof child.stdout>) {
      const done = JSON.parse(readFileSync(`${file}.done`, "utf8")) as Done;
      const markers = done.flatMap(({ way, noted }) => {
        const own: Seen = {
          dataKeys: noted.dataKeys.map((hex) => unmasked(hex, mask)),
          messageIds: noted.messageIds.map((hex) => Buffer.from(hex, "hex")),
          secretCommitments: false,
        };
        return markersOf(own).map((marker) => ({ way, ...marker }));
      });
      const way = "decrypt: another commitment";
      if (done.some((each) => each.way === way))
        for (const { seen } of foreign)
          markers.push(...markersOf(seen).map((marker) => ({ way, ...marker })));
      all.push(...markers);
      const wanted = done.length === 0 ? all : markers;
      const { hits, length } = searchMemory(
        child.pid as number,
        wanted.map(({ bytes }) => bytes),
      );
      yield {
        ways: [...new Set(done.map(({ way }) => way))],
        operationCount: done.length,
        markerCounts: countBy(wanted),
        found: hits.map(
          ({ index, mapping }) => `${wanted[index]?.way}: ${wanted[index]?.name} in ${mapping}`,
        ),
        bytes: length,
      };
      child.stdin?.write("\n");
    }
    const code = child.exitCode ?? (await new Promise((resolve) => child.once("exit", resolve)));
    if (code !== 0) throw new Error(`the program ended with ${code}`);
  } finally {
    child.kill("SIGKILL");
  }
}

function countBy(markers: readonly MarkerOfWay[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { way } of markers) counts.set(way, (counts.get(way) ?? 0) + 1);
  return counts;
}

function unmasked(hex: string, mask: Uint8Array): Uint8Array {
  return Buffer.from(hex, "hex").map((byte, i) => byte ^ (mask[i] as number));
}

/** Messages that commit to another key than theirs: the right commitment has never been where they are opened. */
async function uncommittedMessages(wrappingKey: Buffer): Promise<{ message: Buffer; seen: Seen }[]> {
  const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey });
  const made = Array.from({ length: 100 }, async () => {
    const dataKeys: Uint8Array[] = [];
    const noting = Object.assign(Object.create(keyring) as RawAesKeyring, {
      async generateDataKey(request: never) {
        const generated = await keyring.generateDataKey(request);
        dataKeys.push(Uint8Array.from(generated.dataKey));
        return generated;
      },
    });
    const message = await encrypt(Buffer.alloc(100), { keyring: noting });
    const messageIds = [Buffer.from(message.subarray(3, 35))];
    // Behind the fixed part, in front of the tag of the header.
    const header = message.length - (4 + 4 + 12 + 4 + 100 + 16);
    message.fill(0x55, header - 48, header - 16);
    return { message, seen: { dataKeys, messageIds, secretCommitments: true } };
  });
  return Promise.all(made);
}
