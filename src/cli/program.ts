// Arguments -> one command -> exit code. Each command is a file of its own that exports `register`, and is loaded only
// when it is asked for.
import { createRequire } from "node:module";
import type { Command, CommanderError } from "commander";
import { isErrorNamed } from "../shapes.ts";
import { describe, exitCodeOf, exitCodes, UsageError } from "./failure.ts";
import { interruptedExitCode, timeLimitFailure } from "./interrupt.ts";
import { helpWidth, note, writeHelp } from "./output.ts";
import { describeUsage, makeStrict, refuseUnknownOptions } from "./usage.ts";
import { rememberWords } from "./words.ts";

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
  sync: () => import("./tree/sync.ts"),
  cat: () => import("./cat.ts"),
  ls: () => import("./ls.ts"),
  rm: () => import("./rm.ts"),
  rewrap: () => import("./rewrap.ts"),
  reencrypt: () => import("./reencrypt.ts"),
  uploads: () => import("./tree/uploads.ts"),
  policy: () => import("./policy.ts"),
  engine: () => import("./engine.ts"),
  bench: () => import("./bench.ts"),
};

const description = `Streaming AES-256-GCM for files, pipes and Amazon S3 data, as AWS Encryption SDK messages.

Exit codes: 0 done; 1 failed; 2 usage; 3 not authentic, truncated, wrong key or wrong context;
4 done, but some of many failed; 130 and 143 on SIGINT and SIGTERM; 141 on a closed pipe.`;

/** The program with one command, or with all of them if `name` is none. */
export async function createProgram(name?: string | undefined): Promise<Command> {
  const program = new commander.Command("frameseal");
  program
    .description(description)
    .version(version(), "-V, --version")
    .showSuggestionAfterError(false)
    .enablePositionalOptions() // what follows -- in the words of a command is its own
    .exitOverride()
    .configureOutput({
      writeOut: (text) => writeHelp(1, text),
      writeErr: (text) => writeHelp(2, text),
      getOutHelpWidth: helpWidth,
      getErrHelpWidth: helpWidth,
      outputError: () => {}, // `run` says it in its own words
    });
  const load = name === undefined || !Object.hasOwn(commands, name) ? undefined : commands[name];
  const files = load === undefined ? Object.values(commands).map((file) => file()) : [load()];
  for (const file of await Promise.all(files)) file.register(program);
  for (const command of program.commands) makeStrict(command);
  return program;
}

function version(): string {
  const { version } = require("../../package.json") as { version: string };
  return version;
}

/** Runs the command that `args` ask for, to its end. @returns the exit code */
export async function run(args: readonly string[]): Promise<number> {
  let command: Command | undefined;
  rememberWords(args);
  try {
    const program = await createProgram(args[0]);
    if (args.length === 0) {
      writeHelp(2, program.helpInformation());
      return exitCodes.usage;
    }
    const [name, ...rest] = args;
    command = program.commands.find((each) => each.name() === name) ?? program;
    if (command !== program) refuseUnknownOptions(command, rest);
    if (name === "help") checkHelp(rest, program);
    await program.parseAsync([...args], { from: "user" });
    return exitCodes.done;
  } catch (error) {
    const interrupted = interruptedExitCode();
    if (interrupted !== undefined) return interrupted;
    if (command !== undefined && isOfCommander(error)) {
      if (error.exitCode === 0) return exitCodes.done; // help or version
      note(describeUsage(error, command, Object.keys(commands)));
      return exitCodes.usage;
    }
    const failure = timeLimitFailure() ?? error;
    const code = exitCodeOf(failure);
    if (code !== exitCodes.closedPipe) note(describe(failure));
    return code;
  }
}

function isOfCommander(error: unknown): error is CommanderError {
  return isErrorNamed(error, "CommanderError", "InvalidArgumentError") && "exitCode" in error;
}

function checkHelp([name, ...more]: readonly string[], program: Command): void {
  if (more.length > 0) throw new UsageError("help takes the name of one command");
  if (name !== undefined && name !== "help" && !name.startsWith("-") && !Object.hasOwn(commands, name))
    program.error(`unknown command '${name}'`, { code: "commander.unknownCommand" });
}
