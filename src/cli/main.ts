#!/usr/bin/env node
// argv -> one command -> exit code. Each command is a file of its own that exports `register`, and is loaded only when
// it is asked for.
import { createRequire } from "node:module";
import type { Command } from "commander";
import { isErrorNamed } from "../shapes.ts";
import { describe, exitCodeOf, exitCodes } from "./failure.ts";
import { interruptedExitCode, listenForSignals, timeLimitFailure } from "./interrupt.ts";
import { note, writeText } from "./output.ts";

// A bundle may have no URL of its own.
const require = createRequire(import.meta.url ?? process.execPath);
// As CommonJS, which it is: imported, it takes twice as long to load.
const commander = require("commander") as typeof import("commander");

/** What the file of a command exports: `register` adds the command to the program. */
interface CommandFile {
  register(program: Command): void;
}

/** All commands, in the order of the help. */
const commands: Readonly<Record<string, () => Promise<CommandFile>>> = {
  keygen: () => import("./keygen.ts"),
  encrypt: () => import("./encrypt.ts"),
  decrypt: () => import("./decrypt.ts"),
  inspect: () => import("./inspect.ts"),
  verify: () => import("./verify.ts"),
  put: () => import("./put.ts"),
  get: () => import("./get.ts"),
  cat: () => import("./cat.ts"),
  rewrap: () => import("./rewrap.ts"),
  policy: () => import("./policy.ts"),
  engine: () => import("./engine.ts"),
  bench: () => import("./bench.ts"),
};

const description = `Streaming AES-256-GCM for files, pipes and Amazon S3 data, as AWS Encryption SDK messages.

Exit codes: 0 done; 1 failed; 2 usage; 3 not authentic, truncated, wrong key or wrong context;
130 and 143 on SIGINT and SIGTERM; 141 on a closed pipe.`;

async function createProgram(name: string | undefined): Promise<Command> {
  const program = new commander.Command("frameseal");
  program
    .description(description)
    .version(version(), "-V, --version")
    .showHelpAfterError("(frameseal --help explains)")
    .enablePositionalOptions() // what follows -- in the words of a command is its own
    .exitOverride()
    .configureOutput({
      writeOut: (text) => writeText(1, text),
      writeErr: (text) => writeText(2, text),
      getOutHelpWidth: () => process.stdout.columns ?? 100,
      outputError: (text) => note(text.replace(/^error: /, "").trim()),
    });
  const load = name === undefined || !Object.hasOwn(commands, name) ? undefined : commands[name];
  const files = load === undefined ? Object.values(commands).map((file) => file()) : [load()];
  for (const file of await Promise.all(files)) file.register(program);
  return program;
}

function version(): string {
  const { version } = require("../../package.json") as { version: string };
  return version;
}

async function run(): Promise<number> {
  try {
    const program = await createProgram(process.argv[2]);
    if (process.argv.length < 3) {
      writeText(2, program.helpInformation());
      return exitCodes.usage;
    }
    await program.parseAsync();
    return exitCodes.done;
  } catch (error) {
    const interrupted = interruptedExitCode();
    if (interrupted !== undefined) return interrupted;
    // Commander has said what is wrong already.
    if (isErrorNamed(error, "CommanderError") && "exitCode" in error)
      return error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
    const failure = timeLimitFailure() ?? error;
    const code = exitCodeOf(failure);
    if (code !== exitCodes.closedPipe) note(describe(failure));
    return code;
  }
}

listenForSignals();
process.exitCode = await run();
