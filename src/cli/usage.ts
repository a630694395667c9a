// What can be wrong in a command line before a command runs. No option is accepted and ignored: one that is given twice,
// that contradicts another, that is empty, or that took the next option for its value is an error.
import type { Command, CommanderError, Option } from "commander";
import { nearest } from "../check-options.ts";
import { UsageError } from "./failure.ts";
import { shown } from "./names.ts";
import { collect } from "./values.ts";
import { wordsBehindHyphens } from "./words.ts";

/** Makes the options and operands of a command strict, and its errors name the option. */
export function makeStrict(command: Command): void {
  const flags = new Set(command.options.flatMap(flagsOf));
  const given = new Map<string, string>();
  for (const option of command.options)
    if (option.required) makeValueStrict(option, flags, given);
    else command.on(`option:${option.name()}`, () => refuseContradiction(option, given));
  command.hook("preAction", (_parent, { args }) => {
    const own = args.slice(0, args.length - (wordsBehindHyphens()?.length ?? 0)); // a command takes what it likes
    if (own.includes("")) throw new UsageError("an operand is empty: is a variable not set?");
  });
}

function makeValueStrict(option: Option, flags: ReadonlySet<string>, given: Map<string, string>): void {
  const { parseArg } = option;
  const name = nameOf(option);
  const isRepeatable = parseArg === collect;
  option.argParser((value: string, previous: unknown) => {
    if (value === "") throw new UsageError(`${name} is empty: is a variable not set?`);
    if (flags.has(value))
      throw new UsageError(
        `${name} needs a value, and ${value} is an option; a file of that name is ./${value}`,
      );
    if (!isRepeatable && given.has(option.attributeName())) throw new UsageError(`${name} is given twice`);
    given.set(option.attributeName(), name);
    if (parseArg === undefined) return value;
    try {
      return parseArg(value, previous);
    } catch (error) {
      throw error instanceof UsageError ? new UsageError(`${name} ${shown(value)}: ${error.message}`) : error;
    }
  });
}

function refuseContradiction(option: Option, given: Map<string, string>): void {
  const [name, before] = [nameOf(option), given.get(option.attributeName())];
  if (before !== undefined && before !== name)
    throw new UsageError(`${before} and ${name} contradict each other`);
  given.set(option.attributeName(), name);
}

function flagsOf({ long, short }: Option): string[] {
  return [long, short].filter((flag) => flag != null);
}

function nameOf(option: Option): string {
  return option.long ?? option.short ?? "";
}

/**
 * Refuses long options with one hyphen, which would be read as a short one and its value.
 * @param args what stands behind the name of the command
 */
export function refuseSingleHyphens(command: Command, args: readonly string[]): void {
  const end = args.indexOf("--");
  for (const arg of end < 0 ? args : args.slice(0, end)) {
    const name = /^-[a-z][a-z-]+/.exec(arg)?.[0];
    if (name !== undefined && command.options.some(({ long }) => long === `-${name}`))
      throw new UsageError(`unknown option ${name}: did you mean -${name}?`);
  }
}

/** What commander found wrong, in our words. */
export function describeUsage(
  { code, message }: CommanderError,
  command: Command,
  commands: readonly string[],
): string {
  const quoted = /'(.*)'/s.exec(message)?.[1] ?? "";
  const see = `see frameseal ${command.parent === null ? "" : `${command.name()} `}--help`;
  switch (code) {
    case "commander.unknownCommand":
      return `unknown command ${suggestion(quoted, commands) ?? `${shown(quoted)}; ${see}`}`;
    case "commander.unknownOption": {
      // What stands behind the sign is not for the terminal.
      const flag = quoted.replace(/=.*$/s, "");
      const known = [...command.options.flatMap(flagsOf), "--help"];
      return `unknown option ${suggestion(flag, known) ?? `${shown(flag)}; ${see}`}`;
    }
    case "commander.optionMissingArgument":
      return `${/--[\w-]+/.exec(quoted)?.[0] ?? quoted} needs a value; ${see}`;
    case "commander.missingMandatoryOptionValue":
      return `${/--[\w-]+/.exec(quoted)?.[0] ?? quoted} is needed; ${see}`;
    case "commander.missingArgument":
      return `${quoted} is missing; ${see}`;
    case "commander.excessArguments":
      return `too many operands: ${operandsOf(command)}; ${see}`;
    default:
      return `the command line is wrong; ${see}`;
  }
}

function suggestion(given: string, known: readonly string[]): string | undefined {
  const beginning = known.filter(
    (each) => given.length > 3 && (each.startsWith(given) || given.startsWith(`${each}-`)),
  );
  const near = beginning.length === 1 ? beginning[0] : nearest(given, known);
  return near === undefined ? undefined : `${shown(given)}: did you mean ${near}?`;
}

function operandsOf(command: Command): string {
  const names = command.registeredArguments.map((argument) => argument.name());
  return names.length === 0 ? "there are none" : `there is ${names.join(" and ")}`;
}
