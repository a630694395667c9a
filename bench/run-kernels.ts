// The kernels alone, in C++: runs the program in bench/native, which measures them beside OpenSSL's EVP and
// intel-ipsec-mb, and between its runs a subject that reaches the same kernel through JavaScript.
import { once } from "node:events";
import { existsSync, readdirSync, statSync } from "node:fs";
import path from "node:path";
import { text } from "node:stream/consumers";
import { Child, thisNode } from "./child-process.ts";
import { packageFolder } from "./packages.ts";
import { startProcess } from "./processes.ts";
import type { SubjectResult, TrialResult } from "./result.ts";
import type { Effort } from "./run-trial.ts";
import { median, summary } from "./statistics.ts";
import { defaults } from "./trials/subjects.ts";

/** One work of the program as a trial. */
export interface KernelTrial extends Omit<TrialResult, "subjects"> {
  readonly direction: "seal" | "open" | "setKey";
  readonly length: number;
  /** Whether runs of frames of this length through JavaScript are shown beside it. */
  readonly besideJavaScript?: boolean;
}

/** A line that the program prints for one subject and one work. */
interface Row {
  readonly subject: string;
  readonly direction: string;
  readonly length: number;
  readonly nanoseconds: number;
  readonly cyclesPer64?: number;
}
interface Head {
  readonly versions: string;
  readonly clockHertz: number;
}
interface Absence {
  readonly subject: string;
  readonly notRun: true;
}

/** Everything that was printed and measured. */
export interface Measured {
  readonly head: Head;
  readonly rows: readonly Row[];
  readonly absent: readonly string[];
  /** Bytes a second of processor time through JavaScript, one for each run of the program. */
  readonly javascript: readonly number[];
}

export const throughJavaScript = "frameseal native, through JavaScript";

const sources = ["native", "native/gcm", "bench/native"].map((folder) => path.join(packageFolder, folder));
const script = path.join(packageFolder, "bench/native/run.sh");
const program = path.join(packageFolder, "build/kernel-bench/kernel_bench");

/** The program's figures, measured when the first trial asks for them and shared by all. */
export class KernelProgram {
  #measured: Promise<Measured> | undefined;
  #versions: Readonly<Record<string, string>> = {};

  /** Of what the program compares with, once it ran. */
  get versions(): Readonly<Record<string, string>> {
    return this.#versions;
  }
  async measure(trial: KernelTrial, effort: Effort): Promise<TrialResult> {
    const { direction, length, besideJavaScript, ...description } = trial;
    try {
      this.#measured ??= measureAll(effort);
      const measured = await this.#measured;
      this.#versions = { "in C++ beside": measured.head.versions };
      return { ...description, subjects: subjectsOf(measured, trial) };
    } catch (error) {
      const notRun = (error as Error).message.split("\n")[0] ?? "";
      return { ...description, subjects: [{ name: trial.reference, kind: "library", notRun }] };
    }
  }
}

/** The subjects of one trial, of what the program printed. */
export function subjectsOf({ rows, absent, javascript }: Measured, trial: KernelTrial): SubjectResult[] {
  const mine = rows.filter(
    ({ direction, length }) => direction === trial.direction && length === trial.length,
  );
  const subjects = [...new Set(mine.map(({ subject }) => subject))].map((name): SubjectResult => {
    const own = mine.filter(({ subject }) => subject === name);
    const rates = own.map(
      ({ nanoseconds }) => (trial.unit === "bytes" ? trial.length : 1) / (nanoseconds * 1e-9),
    );
    const cycles = own.flatMap(({ cyclesPer64 }) => cyclesPer64 ?? []);
    return {
      name,
      kind: name === "openssl-evp" || name === "intel-ipsec-mb" ? "library" : "frameseal",
      ...summary(rates),
      ...(cycles.length === 0 ? {} : { figures: { "cycles a 64 bytes": median(cycles) } }),
    };
  });
  if (trial.besideJavaScript === true && javascript.length > 0)
    subjects.push({ name: throughJavaScript, kind: "frameseal", ...summary(javascript) });
  for (const name of absent)
    subjects.push({ name, kind: "library", notRun: `${name} is not installed, or not for this CPU` });
  return subjects;
}

async function measureAll({ rounds, roundSeconds }: Effort): Promise<Measured> {
  if (!existsSync(script)) throw new Error("the C++ program is in the repository alone, not in the package");
  if (!isBuilt()) await outputOf("bash", [script, "--json", "--rounds", "1"]);
  const child = await Child.start(thisNode, {
    workload: "buffers",
    adaptor: "our frame runs",
    operation: "seal",
    options: { ...defaults, engine: "native" },
    inFlight: 1,
    roundSeconds,
    unitsPerCall: defaults.size,
    byBenchmark: false,
  });
  const rows: Row[] = [];
  const javascript: number[] = [];
  let head: Head | undefined;
  let absent: readonly string[] = [];
  try {
    for (let round = 0; round < rounds; round++) {
      const { rate, seconds, cpuSeconds } = await child.round();
      javascript.push((rate * seconds) / cpuSeconds); // of processor time, as the program's
      const output = await outputOf(program, ["--json", "--rounds", "5"]);
      const lines = output
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Head | Row | Absence);
      head = lines.find((line): line is Head => "clockHertz" in line);
      absent = lines.flatMap((line) => ("notRun" in line ? line.subject : []));
      rows.push(...lines.filter((line): line is Row => "nanoseconds" in line));
    }
  } finally {
    await child.end().catch(() => {});
  }
  if (head === undefined) throw new Error("the C++ program printed no figures");
  return { head, rows, absent, javascript };
}

/** What a program prints. */
async function outputOf(command: string, args: readonly string[]): Promise<string> {
  const child = startProcess(command, args, { stdio: ["ignore", "pipe", "ignore"] });
  if (child.stdout === null) throw new Error("internal error: no pipe");
  const [output, [code]] = await Promise.all([text(child.stdout), once(child, "close")]);
  if (code !== 0) throw new Error(`${path.basename(command)} failed with exit code ${String(code)}`);
  return output;
}

function isBuilt(): boolean {
  if (!existsSync(program)) return false;
  const built = statSync(program).mtimeMs;
  return sources
    .flatMap((folder) => readdirSync(folder).map((name) => path.join(folder, name)))
    .every((file) => statSync(file).mtimeMs <= built);
}
