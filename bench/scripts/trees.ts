// frameseal, rclone through a crypt remote and restic on the same trees and server, each in turn: many small files and
// some large ones, stored, stored again, and restored.
//   npm run bench -- trees [--files N] [--large N] [--large-mib N] [--rounds N] [--only NAMES] [--rgw] [--full] [--no-counts] [--json FILE]
// By default a run of a minute or two. --full: 50,000 files of 4 to 64 KiB, and 20 of 1 GiB; it needs 45 GB of disk.
// Requests and bytes are counted in a round of their own, in which a proxy stands before the server and nothing is timed.
import { execFileSync } from "node:child_process";
import { createCipheriv, createHash } from "node:crypto";
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { cpus, tmpdir } from "node:os";
import path from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { packageFolder } from "../packages.ts";
import { median } from "../statistics.ts";
import { measure, type ProcessCost } from "./measured-process.ts";
import { frameseal, rclone, restic, type TreeProgram } from "./tree-programs.ts";
import {
  BUCKET,
  CountingProxy,
  startRgw,
  startVersity,
  type Traffic,
  type TreeServer,
} from "./tree-server.ts";

const MiB = 2 ** 20;
const SMALLEST = 4 * 1024;
const LARGEST = 64 * 1024;
const FILES_PER_FOLDER = 100;

const { values: options } = parseArgs({
  options: {
    files: { type: "string" },
    large: { type: "string" },
    "large-mib": { type: "string" },
    rounds: { type: "string", default: "1" },
    only: { type: "string", default: "frameseal,rclone,restic" },
    rgw: { type: "boolean", default: false },
    "no-counts": { type: "boolean", default: false },
    full: { type: "boolean", default: false },
    json: { type: "string" },
  },
});
const full = options.full === true;
const fileCount = countOf("files", options.files ?? (full ? "50000" : "2000"));
const largeCount = countOf("large", options.large ?? (full ? "20" : "4"));
const largeMebibytes = countOf("large-mib", options["large-mib"] ?? (full ? "1024" : "128"));
const rounds = countOf("rounds", options.rounds);

function countOf(name: string, text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 0) return count;
  process.stderr.write(`--${name} expected a whole number\n`);
  process.exit(2);
}

/** Bytes that nobody compresses, and that are the same in every run. */
function* bytesOf(seed: string): Generator<Buffer> {
  const key = createHash("sha256").update(seed).digest();
  const cipher = createCipheriv("aes-256-ctr", key, Buffer.alloc(16));
  const zeros = Buffer.alloc(MiB);
  for (;;) yield cipher.update(zeros);
}

function writeBytes(file: string, seed: string, size: number): void {
  const descriptor = openSync(file, "w");
  let left = size;
  for (const chunk of bytesOf(seed)) {
    left -= writeSync(descriptor, chunk, 0, Math.min(left, chunk.length));
    if (left === 0) break;
  }
  closeSync(descriptor);
}

function makeSmallTree(folder: string): void {
  // Sizes come from the same generator.
  let [sizes, at]: [Buffer, number] = [Buffer.alloc(0), 0];
  const source = bytesOf("sizes");
  for (let number = 0; number < fileCount; number++) {
    if (at === sizes.length) [sizes, at] = [source.next().value as Buffer, 0];
    const size = SMALLEST + (sizes.readUInt32LE(at) % (LARGEST - SMALLEST + 1));
    at += 4;
    const place = path.join(folder, `folder-${Math.floor(number / FILES_PER_FOLDER)}`);
    if (number % FILES_PER_FOLDER === 0) mkdirSync(place, { recursive: true });
    writeBytes(path.join(place, `file-${number}`), `small ${number}`, size);
  }
}

function makeLargeTree(folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (let number = 0; number < largeCount; number++)
    writeBytes(path.join(folder, `large-${number}`), `large ${number}`, largeMebibytes * MiB);
}

/** @throws Error unless what was restored is what was stored, byte for byte */
function checkRestored(source: string, target: string): void {
  execFileSync("diff", ["-r", source, target], { stdio: "inherit" });
}

/** The same for large files, whose source has made room for them. */
function checkLarge(target: string): void {
  const names = readdirSync(target);
  if (names.length !== largeCount) throw new Error(`${target} has ${names.length} files`);
  for (const name of names) {
    const file = path.join(target, name);
    if (statSync(file).size !== largeMebibytes * MiB) throw new Error(`${file} has another size`);
    const [descriptor, begin] = [openSync(file, "r"), Buffer.alloc(MiB)];
    closeSync(descriptor);
    const first = bytesOf(name.replace("large-", "large ")).next().value as Buffer;
    execFileSync("cmp", ["-n", String(begin.length), file, "-"], { input: first });
  }
}

interface Figure extends ProcessCost {
  readonly traffic?: Traffic;
}
/** Figures by step and program. */
type Results = Map<string, Map<string, Figure[]>>;

const SMALL_STEPS = ["put, small files", "nothing changed", "one file changed", "get, small files"] as const;
const LARGE_STEPS = ["put, large files", "get, large files"] as const;

class Run {
  readonly #folder: string;
  readonly #server: TreeServer;
  readonly #timed: Results = new Map();
  readonly counted: Results = new Map();
  #number = 0;

  constructor(folder: string, server: TreeServer) {
    this.#folder = folder;
    this.#server = server;
  }
  get timed(): Results {
    return this.#timed;
  }

  /** One program through everything. @param proxy counts, if there is one */
  async program(make: (folder: string) => TreeProgram, proxy?: CountingProxy): Promise<void> {
    const number = this.#number++;
    const work = path.join(this.#folder, `run-${number}`);
    const endpoint = proxy?.endpoint ?? this.#server.endpoint;
    const program = make(path.join(work, "state"));
    const step = async (name: string, command: readonly string[]): Promise<void> => {
      proxy?.take();
      const cost = await measure(command, program.env);
      const figure = proxy === undefined ? cost : { ...cost, traffic: proxy.take() };
      add(proxy === undefined ? this.#timed : this.counted, name, program.name, figure);
    };
    const [small, large] = [path.join(this.#folder, "small"), path.join(this.#folder, "large")];
    if (fileCount > 0) {
      const prefix = `${program.name}-${number}-small`;
      await program.prepare(endpoint, prefix);
      await step(SMALL_STEPS[0], program.put(endpoint, prefix, small));
      await step(SMALL_STEPS[1], program.put(endpoint, prefix, small));
      writeFileSync(path.join(small, "folder-0", "file-1"), `changed in run ${number}`);
      await step(SMALL_STEPS[2], program.put(endpoint, prefix, small));
      const target = path.join(work, "small");
      await step(SMALL_STEPS[3], program.get(endpoint, prefix, small, target));
      checkRestored(small, target);
      rmSync(target, { recursive: true });
    }
    if (largeCount > 0) {
      const prefix = `${program.name}-${number}-large`;
      await program.prepare(endpoint, prefix);
      makeLargeTree(large);
      await step(LARGE_STEPS[0], program.put(endpoint, prefix, large));
      rmSync(large, { recursive: true });
      const target = path.join(work, "large");
      await step(LARGE_STEPS[1], program.get(endpoint, prefix, large, target));
      checkLarge(target);
    }
    rmSync(work, { recursive: true });
    if (this.#server.pid !== undefined)
      rmSync(path.join(this.#folder, "server", BUCKET, ""), { recursive: true });
    if (this.#server.pid !== undefined) mkdirSync(path.join(this.#folder, "server", BUCKET));
  }
}

function add(results: Results, step: string, program: string, figure: Figure): void {
  const ofStep = results.get(step) ?? new Map<string, Figure[]>();
  results.set(step, ofStep.set(program, [...(ofStep.get(program) ?? []), figure]));
}

function table(timed: Results, counted: Results): string {
  const lines = [
    "step               program      wall s   ratio  spread    CPU s  peak MiB  requests                        MiB up  MiB down",
  ];
  for (const [step, programs] of timed) {
    const ours = median((programs.get("frameseal") ?? []).map(({ seconds }) => seconds));
    for (const [program, figures] of programs) {
      const seconds = figures.map((each) => each.seconds);
      const middle = median(seconds);
      const spread = (Math.max(...seconds) - Math.min(...seconds)) / middle;
      const traffic = counted.get(step)?.get(program)?.[0]?.traffic;
      const requests = [...(traffic?.requests ?? [])].sort().map(([method, count]) => `${count} ${method}`);
      lines.push(
        [
          step.padEnd(18),
          program.padEnd(10),
          middle.toFixed(2).padStart(8),
          (middle / ours).toFixed(2).padStart(7),
          `${(spread * 100).toFixed(0)} %`.padStart(7),
          median(figures.map(({ cpuSeconds }) => cpuSeconds))
            .toFixed(2)
            .padStart(8),
          Math.max(...figures.map(({ mebibytes }) => mebibytes))
            .toFixed(0)
            .padStart(9),
          ` ${requests.join(", ").padEnd(31)}`,
          ((traffic?.sentBytes ?? 0) / MiB).toFixed(2).padStart(6),
          ((traffic?.receivedBytes ?? 0) / MiB).toFixed(2).padStart(9),
        ].join(" "),
      );
    }
  }
  return lines.join("\n");
}

async function main(): Promise<void> {
  const script = path.join(packageFolder, "bench/scripts/tree-peers.sh");
  const peers = execFileSync("bash", [script], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  }).trim();
  const makers: Readonly<Record<string, (folder: string) => TreeProgram>> = {
    frameseal,
    rclone: (folder) => rclone(path.join(peers, "rclone"), folder),
    restic: (folder) => restic(path.join(peers, "restic"), folder),
  };
  const chosen = options.only.split(",").flatMap((name) => {
    const maker = Object.hasOwn(makers, name) ? makers[name] : undefined;
    return maker === undefined ? [] : [maker];
  });
  const folder = mkdtempSync(path.join(tmpdir(), "frameseal-trees-"));
  process.once("SIGINT", () => process.exit(130));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const server = options.rgw
    ? await startRgw()
    : await startVersity(path.join(peers, "versitygw"), path.join(folder, "server"));
  const proxy = await CountingProxy.start(server.endpoint);
  const run = new Run(folder, server);
  try {
    makeSmallTree(path.join(folder, "small"));
    for (let round = 0; round < rounds; round++)
      // Each is first once.
      for (let at = 0; at < chosen.length; at++) {
        const maker = chosen[(at + round) % chosen.length];
        if (maker !== undefined) await run.program(maker);
      }
    if (options["no-counts"] !== true) for (const maker of chosen) await run.program(maker, proxy);
  } finally {
    await proxy.end();
    await server.end();
  }
  const [cpu] = cpus();
  const mebibytes = (fileCount * (SMALLEST + LARGEST)) / 2 / MiB;
  console.log(
    `${server.name}; ${fileCount} files of 4 to 64 KiB (${mebibytes.toFixed(0)} MiB), ${largeCount} of ${largeMebibytes} MiB; medians of ${rounds} rounds; ${cpu?.model}, ${cpus().length} CPUs, Node ${process.version}`,
  );
  console.log(table(run.timed, run.counted));
  if (options.json !== undefined)
    writeFileSync(
      options.json,
      JSON.stringify([...run.timed].map(([step, programs]) => [step, [...programs]])),
    );
}

await main();
