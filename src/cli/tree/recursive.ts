// Commands that take one object, and with -r a tree: which options go with which, in what is accepted and in the help.
import type { Command, Help, Option } from "commander";
import { UsageError } from "../failure.ts";

/** What `addRecursiveOption` adds. */
export interface RecursiveOptions {
  readonly recursive?: true;
}

const ofTreesOnly = new WeakSet<Option>();
const ofObjectsOnly = new WeakMap<Command, ReadonlySet<string>>();

/**
 * Adds -r.
 * @param what what it does, such as `store a folder and all below it`
 * @param alone options that a tree cannot honour, such as `--range`
 */
export function addRecursiveOption(command: Command, what: string, alone: readonly string[] = []): Command {
  ofObjectsOnly.set(command, new Set(alone));
  const text = `${what}: see frameseal ${command.name()} -r --help`;
  return command
    .addOption(command.createOption("-r, --recursive", text).helpGroup("Trees:"))
    .configureHelp({ visibleOptions })
    .addHelpText("after", () => (isTree(command) ? moreOptions(command) : ""));
}

/** Remembers that the options which `add` adds go with -r alone. They are shown by `-r --help`. */
export function ofTrees(command: Command, add: () => Command): Command {
  const before = command.options.length;
  add();
  for (const option of command.options.slice(before)) ofTreesOnly.add(option);
  return command;
}

/**
 * Whether -r was given.
 * @throws UsageError for options that do not go with it, or not without it
 */
export function isRecursive(command: Command): boolean {
  const tree = isTree(command);
  const alone = ofObjectsOnly.get(command);
  for (const option of command.options) {
    if (!wasGiven(command, option)) continue;
    if (!tree && ofTreesOnly.has(option)) throw new UsageError(`${option.long} goes with -r`);
    if (tree && alone?.has(option.long ?? "") === true)
      throw new UsageError(`${option.long} does not go with -r`);
  }
  return tree;
}

function isTree(command: Command): boolean {
  return command.getOptionValue("recursive") === true;
}

// --x and --no-x have one value.
function wasGiven(command: Command, option: Option): boolean {
  const name = option.attributeName();
  if (command.getOptionValueSource(name) !== "cli") return false;
  return option.negate === (command.getOptionValue(name) === false);
}

/** Options of one object that are worth a line in the help of trees too. */
const shownWithBoth = new Set(["--key", "--kms", "--recursive", "--progress", "--no-progress", "--json"]);

function visibleOptions(this: Help, command: Command): Option[] {
  const tree = isTree(command);
  const isShown = (option: Option): boolean =>
    tree ? ofTreesOnly.has(option) || shownWithBoth.has(option.long ?? "") : !ofTreesOnly.has(option);
  const help = command.createOption("-h, --help", "display help for command");
  return [...command.options.filter((option) => !option.hidden && isShown(option)), help];
}

function moreOptions(command: Command): string {
  const alone = [...(ofObjectsOnly.get(command) ?? [])];
  const except = alone.length === 0 ? "" : `, except ${alone.join(", ")}`;
  const others = `The options that frameseal ${command.name()} --help shows go with -r too${except}.`;
  const json = "With -r, --json prints a line of JSON for each entry, and at the end a summary.";
  return `\n${[others, json].map(wrapped).join("\n")}`;
}

// As wide as what commands say about themselves.
function wrapped(text: string): string {
  return text.replace(/(.{1,99})(?: |$)/g, "$1\n").trimEnd();
}
