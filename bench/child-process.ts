// The parent's side of a subject in a process of its own.
import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Absent } from "./adaptor.ts";
import type { ChildCommand, ChildTask, Ready, Round } from "./child-protocol.ts";
import { pinMainThread } from "./pinning.ts";
import { endProcess, startProcess } from "./processes.ts";

const script = fileURLToPath(new URL("./child.js", import.meta.url));

/** A program that runs JavaScript, and what it is called with before the script. */
export interface Runtime {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
}

export const thisNode: Runtime = { name: "", command: process.execPath, args: [] };

interface Answer {
  readonly absent?: string;
  readonly failed?: string;
  readonly sealed?: string;
  readonly ready?: Ready;
  readonly round?: Round;
  readonly figures?: Readonly<Record<string, number>>;
  readonly peakBytes?: number;
}

/** Resident memory of a process at one moment. */
export interface MemorySample {
  readonly seconds: number;
  readonly bytes: number;
}

/** One subject, ready to be measured. Call `end` in any case. */
export class Child {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #memory: MemorySample[] = [];
  #sampler: NodeJS.Timeout | undefined;
  #timer: string | undefined;

  private constructor(runtime: Runtime) {
    this.#process = startProcess(runtime.command, [...runtime.args, script], {
      stdio: ["pipe", "pipe", "ignore"],
      env: { ...process.env, NODE_NO_WARNINGS: "1" },
    });
    this.#process.on("error", () => {}); // its output then ends, which is reported
    this.#process.stdin?.on("error", () => {});
    const { stdout } = this.#process;
    if (stdout === null) throw new Error("internal error: no pipe");
    this.#lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  }

  /** @throws Absent when the subject cannot run here */
  static async start(runtime: Runtime, task: ChildTask): Promise<Child> {
    const child = new Child(runtime);
    try {
      const { ready } = await child.#ask({ do: "start", task });
      if (ready?.synchronous === true) pinMainThread(child.#process.pid);
      child.#timer = ready?.timer;
      return child;
    } catch (error) {
      endProcess(child.#process);
      throw error;
    }
  }

  /** What takes the times, unless the rounds do. */
  get timer(): string | undefined {
    return this.#timer;
  }

  /**
   * Takes a sample of resident memory every so many milliseconds, from outside: a stream that is always busy lets no
   * timer of its own process run. Nothing where there is no /proc.
   */
  sampleMemory(everyMs: number): void {
    const start = performance.now();
    this.#sampler = setInterval(() => {
      const bytes = residentBytes(this.#process.pid);
      if (bytes !== undefined) this.#memory.push({ seconds: (performance.now() - start) / 1000, bytes });
    }, everyMs);
  }

  async round(): Promise<Round> {
    const { round } = await this.#ask({ do: "round" });
    if (round === undefined) throw new Error("internal error: no figures");
    return round;
  }

  /** A message over known bytes, base64. */
  async produce(size: number): Promise<string> {
    const { sealed } = await this.#ask({ do: "produce", size });
    return sealed ?? "";
  }

  /** @throws Error if this subject does not open what another one made */
  async accept(size: number, sealed: string): Promise<void> {
    await this.#ask({ do: "accept", size, sealed });
  }

  async end(): Promise<Pick<Answer, "peakBytes" | "figures"> & { readonly memory: readonly MemorySample[] }> {
    clearInterval(this.#sampler);
    try {
      return { ...(await this.#ask({ do: "end" })), memory: this.#memory };
    } finally {
      endProcess(this.#process);
    }
  }

  async #ask(command: ChildCommand): Promise<Answer> {
    this.#process.stdin?.write(`${JSON.stringify(command)}\n`);
    const { done, value } = await this.#lines.next();
    if (done === true) throw new Absent("its process does not start, or ended early");
    const answer = JSON.parse(value) as Answer;
    if (answer.absent !== undefined) throw new Absent(answer.absent);
    if (answer.failed !== undefined) throw new Error(answer.failed);
    return answer;
  }
}

function residentBytes(pid: number | undefined): number | undefined {
  try {
    const kibibytes = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return kibibytes === undefined ? undefined : Number(kibibytes) * 1024;
  } catch {
    return undefined;
  }
}
