// A command whose output is read. The output counts as ended only when the command has exited with 0: what it wrote
// before it failed is never taken for all of it. The command is a process group of its own, which ends with us.
import { type ChildProcess, spawn } from "node:child_process";
import path from "node:path";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { errorCode } from "../shapes.ts";
import { CommandFailure } from "./failure.ts";
import { beforeSuddenEnd, interruptSignal } from "./interrupt.ts";
import { shown } from "./names.ts";

/** What is run: text for the shell, or a program and its arguments. */
export type CommandLine =
  | { readonly kind: "shell"; readonly text: string }
  | { readonly kind: "program"; readonly words: readonly string[] };

/** How a command ended. */
export interface CommandEnd {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** From SIGTERM to SIGKILL. */
const GRACE_MS = 1000;
/** How often a group that is being ended is looked at. */
const LOOK_MS = 20;

/** A command that runs. Its standard input is empty; its standard error is ours. */
export class RunningCommand {
  readonly #child: ChildProcess;
  readonly #stdout: Readable;
  readonly #ended: Promise<CommandEnd>;
  readonly #forget: () => void;
  #end: CommandEnd | undefined;

  private constructor(child: ChildProcess, stdout: Readable) {
    this.#child = child;
    this.#stdout = stdout;
    this.#ended = new Promise((resolve) => {
      child.once("exit", (exitCode, signal) => {
        this.#end = { exitCode, signal };
        // What is left of a failed command may hold the pipe for as long as it likes.
        if (exitCode !== 0) stdout.destroy(failureOf(this.#end));
        resolve(this.#end);
      });
    });
    stdout.on("error", () => {}); // told when it is read
    child.on("error", () => {}); // of signals that could not be sent
    this.#forget = beforeSuddenEnd(() => this.#signalGroup("SIGKILL"));
    interruptSignal.addEventListener("abort", this.#onInterrupt, { once: true });
  }

  /** @throws CommandFailure when it cannot be started */
  static async start(line: CommandLine): Promise<RunningCommand> {
    let failure: unknown;
    for (const words of line.kind === "shell" ? shellsFor(line.text) : [line.words]) {
      interruptSignal.throwIfAborted();
      const [program = "", ...args] = words;
      // Detached, it leads a group.
      const child = spawn(program, args, { detached: true, stdio: ["ignore", "pipe", "inherit"] });
      try {
        await new Promise<void>((resolve, reject) => {
          child.once("spawn", resolve);
          child.once("error", reject);
        });
        return new RunningCommand(child, child.stdout);
      } catch (error) {
        failure = error;
        if (errorCode(error) !== "ENOENT") break;
      }
    }
    throw notStarted(line, failure);
  }

  /** How it ended, once it has. */
  get end(): CommandEnd | undefined {
    return this.#end;
  }

  /**
   * All that the command, and what it started, writes.
   * @throws CommandFailure instead of ending, unless the command exited with 0
   */
  async *output(): AsyncGenerator<Uint8Array> {
    yield* this.#stdout as AsyncIterable<Uint8Array>;
    const end = await this.#ended;
    if (end.exitCode !== 0) throw failureOf(end);
  }

  /** Ends the command and what it has started, if its output has not ended. Resolves when nothing of it runs any more. */
  async stop(): Promise<void> {
    this.#release();
    if (this.#end?.exitCode === 0 && this.#stdout.readableEnded) return;
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      this.#signalGroup(signal);
      this.#stdout.destroy(); // after the signal, or the command would complain of a broken pipe
      for (let waited = 0; waited < GRACE_MS; waited += LOOK_MS) {
        if (!this.#groupExists()) return;
        await sleep(LOOK_MS);
      }
    }
  }

  readonly #onInterrupt = (): void => void this.stop();

  #release(): void {
    interruptSignal.removeEventListener("abort", this.#onInterrupt);
    this.#forget();
  }

  #signalGroup(signal: NodeJS.Signals | 0): boolean {
    const { pid } = this.#child;
    if (pid === undefined) return false;
    try {
      // There are no groups on Windows.
      return process.platform === "win32" ? this.#child.kill(signal) : process.kill(-pid, signal);
    } catch {
      return false; // nothing of it runs
    }
  }

  #groupExists(): boolean {
    return this.#signalGroup(0);
  }
}

/**
 * The shells to try. A pipeline fails when any part of it does, for which some shells have no option: these end in an
 * error of their own instead.
 */
function shellsFor(text: string): readonly (readonly string[])[] {
  if (process.platform === "win32") return [["cmd.exe", "/d", "/s", "/c", text]];
  return [
    ["bash", "-o", "pipefail", "-c", text],
    ["/bin/sh", "-c", text.includes("|") ? `set -o pipefail || exit; ${text}` : text],
  ];
}

/** What shells mean by an exit code of their own. */
const shellCodes: Readonly<Record<number, string>> = {
  126: ": it could not be run",
  127: ": it was not found",
};

function failureOf({ exitCode, signal }: CommandEnd): CommandFailure {
  const how =
    exitCode === null
      ? `was ended by ${signal}`
      : `failed with exit code ${exitCode}${shellCodes[exitCode] ?? ""}`;
  return new CommandFailure(`the command ${how}; what it wrote is not stored`);
}

const startTexts: Readonly<Record<string, string>> = {
  ENOENT: "no such command",
  EACCES: "permission denied",
  E2BIG: "the arguments are too long",
  EAGAIN: "no process to be had (see ulimit -u)",
  EMFILE: "too many open files (see ulimit -n)",
};

// Of a command for the shell nothing is shown: anything in it may be secret.
function notStarted(line: CommandLine, error: unknown): CommandFailure {
  const code = errorCode(error) ?? "";
  const name = line.kind === "shell" ? "the shell" : shown(path.basename(line.words[0] ?? ""));
  return new CommandFailure(`cannot run ${name}: ${startTexts[code] ?? code}; nothing is stored`);
}
