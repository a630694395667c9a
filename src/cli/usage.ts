// What can be wrong in a command line before a command runs. No option is accepted and ignored: one that is given twice,
// that contradicts another, that is empty, or that took the next option for its value is an error.
import type { Command, CommanderError, Option } from "commander";
import { nearest } from "../check-options.ts";
import { UsageError } from "./failure.ts";
import { shown } from "./names.ts";
import { isForRepeatable } from "./values.ts";
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
  const isRepeatable = parseArg !== undefined && isForRepeatable(parseArg);
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
 * Refuses options that do not exist, before anything else is said about the line: who mistypes one should not read that
 * it is missing. So are long ones with one hyphen, which would be read as a short one and its value.
 * @param args what stands behind the name of the command
 */
export function refuseUnknownOptions(command: Command, args: readonly string[]): void {
  for (let at = 0; at < args.length && args[at] !== "--"; at++) {
    const arg = args[at] ?? "";
    const [, flag = "", value] = /^(-[^=]+)(=.*)?$/s.exec(arg) ?? [];
    const option = command.options.find((each) => flagsOf(each).includes(flag));
    if (option?.required === true && value === undefined) at++; // what follows is its value
    if (option !== undefined || !/^--?[a-z][\w-]/i.test(flag) || flag === "--help") continue;
    const isLong = flag.startsWith("--");
    if (isLong || command.options.some(({ long }) => long === `-${flag}`))
      throw new UsageError(unknownOption(command, isLong ? flag : `-${flag}`, flag));
  }
}

function unknownOption(command: Command, wanted: string, given: string): string {
  const known = [...command.options.flatMap(flagsOf), "--help"];
  const near = nearestOf(wanted, known);
  return `unknown option ${shown(given)}${near === undefined ? `; ${seeHelp(command)}` : `: did you mean ${near}?`}`;
}

function seeHelp(command: Command): string {
  return `see frameseal ${command.parent === null ? "" : `${command.name()} `}--help`;
}

/** What commander found wrong, in our words. */
export function describeUsage(
  { code, message }: CommanderError,
  command: Command,
  commands: readonly string[],
): string {
  const quoted = /'(.*)'/s.exec(message)?.[1] ?? "";
  const see = seeHelp(command);
  const near = nearestOf(quoted, commands);
  switch (code) {
    case "commander.unknownCommand":
      return `unknown command ${shown(quoted)}${near === undefined ? `; ${see}` : `: did you mean ${near}?`}`;
    case "commander.unknownOption": {
      const flag = quoted.replace(/=.*$/s, ""); // what stands behind the sign is not for the terminal
      return unknownOption(command, flag, flag);
    }
    case "commander.optionMissingArgument":
      return `${/--[\w-]+/.exec(quoted)?.[0] ?? quoted} needs a value; ${see}`;
    case "commander.missingMandatoryOptionValue":
      return `${/--[\w-]+/.exec(quoted)?.[0] ?? quoted} is needed; ${see}`;
    case "commander.missingArgument":
      return `${quoted} is missing; ${see}`;
    case "commander.excessArguments":
      return `too many operands: ${command.name()} takes ${operandsOf(command)}; ${see}`;
    default:
      return `the command line is wrong; ${see}`;
  }
}

function nearestOf(given: string, known: readonly string[]): string | undefined {
  if (given.length < 3) return undefined;
  const similar = known.filter(
    (each) => given.length > 3 && (each.startsWith(given) || given.startsWith(`${each}-`)),
  );
  return similar.length === 1 ? similar[0] : nearest(given, known);
}

function operandsOf(command: Command): string {
  const names = command.registeredArguments.map((argument) => argument.name());
  return names.length === 0 ? "none" : `${names.length === 1 ? "one" : names.length} (${names.join(", ")})`;
}
