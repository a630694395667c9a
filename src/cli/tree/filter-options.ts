// Options that say which entries of a tree count, and what becomes of links: text -> what walks and listings take.
import { createReadStream } from "node:fs";
import type { Command } from "commander";
import { type ListFormat, type PathList, readPathList } from "../../backup/local/files-from.ts";
import { type FilterSource, Filters } from "../../backup/local/filters.ts";
import type { LinkPolicy } from "../../backup/local/walk.ts";
import { eachUntilAborted } from "../../until-aborted.ts";
import { refuseClosed } from "../closed.ts";
import { UsageError } from "../failure.ts";
import { interruptSignal } from "../interrupt.ts";
import { ofFile, shown } from "../names.ts";
import { refuseKey } from "../options.ts";
import { isTerminal } from "../output.ts";
import { forRepeatable, oneOf } from "../values.ts";

/** A value, and its place among those of other options. */
interface Placed {
  readonly place: number;
  readonly value: string;
}

/** What `addFilterOptions` adds. */
export interface FilterOptions {
  readonly include?: readonly Placed[];
  readonly exclude?: readonly Placed[];
  readonly excludeFrom?: readonly Placed[];
}

/** What `addListOptions` adds. */
export interface ListOptions {
  readonly filesFrom?: string;
  readonly filesFrom0?: string;
}

/** What `addWalkOptions` adds. */
export interface WalkingOptions {
  readonly links?: LinkPolicy;
  readonly oneFileSystem?: boolean;
}

/** The three ways to say it, for help texts of commands that have them. */
export const FILTER_HELP = `Patterns are those of gitignore, relative to the root of the tree: "*.tmp" is any such name,
"/cache" one at the root, "build/" directories of that name, "logs/**/*.gz" at any depth. Of all
that match, the last in the order given decides; --include P is --exclude '!P'. What lies in an
excluded directory is out, whatever follows: to take only some, give --exclude '*' --include '*/'
--include '*.jpg'.`;

let places = 0;
function placed(value: string, previous: readonly Placed[] = []): readonly Placed[] {
  return [...previous, { place: places++, value }];
}
forRepeatable(placed);

/** Adds the options that leave entries out. */
export function addFilterOptions(command: Command): Command {
  return command
    .optionsGroup("Which entries:")
    .option("--exclude <pattern>", "leave out what matches, as in .gitignore (repeatable)", placed)
    .option("--include <pattern>", "take in again what an earlier --exclude leaves out (repeatable)", placed)
    .option("--exclude-from <file>", "patterns of a file, one a line, as in .gitignore (repeatable)", placed);
}

/** Adds the options that name entries one by one. */
export function addListOptions(command: Command): Command {
  return command
    .optionsGroup("Which entries:")
    .option("--files-from <file>", "only the paths in this file (-: standard input), one a line")
    .option("--files-from0 <file>", "the same with a NUL behind each, as find -print0 writes them");
}

/** Adds what walks of local folders take. */
export function addWalkOptions(command: Command): Command {
  return command
    .optionsGroup("Which entries:")
    .option(
      "--links <policy>",
      "symbolic links: skip (default, with a warning), keep as links, or follow",
      oneOf("skip", "keep", "follow"),
    )
    .option("--one-file-system", "leave out what is mounted below the folder");
}

/** The rules that were given, in their order. */
export async function filtersFrom(options: FilterOptions): Promise<Filters> {
  const given = [
    ...(options.exclude ?? []).map((each) => ({ ...each, kind: "exclude" as const })),
    ...(options.include ?? []).map((each) => ({ ...each, kind: "include" as const })),
    ...(options.excludeFrom ?? []).map((each) => ({ ...each, kind: "file" as const })),
  ].sort((a, b) => a.place - b.place);
  if (given[0]?.kind === "include")
    throw new UsageError(
      "--include takes in again what an --exclude before it leaves out, and there is none: give --exclude '*' --include '*/' first to leave out all files",
    );
  const sources: FilterSource[] = [];
  for (const { kind, value } of given) {
    if (kind === "file") {
      if (value === "") throw new UsageError("--exclude-from expected the name of a file");
      refuseKey("--exclude-from", value);
      sources.push({ kind, content: await ofFile(value, readRules(value)) });
    } else {
      if (value.replace(/^!/, "") === "")
        throw new UsageError(`--${kind} expected a pattern that is not empty`);
      if (kind === "include" && value.startsWith("!"))
        throw new UsageError(`--include ${shown(value)} would leave out: give --exclude without !`);
      sources.push({ kind, pattern: value });
    }
  }
  return new Filters(sources);
}

const MAX_RULES_LENGTH = 16 * 2 ** 20;

async function readRules(file: string): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of eachUntilAborted<Buffer>(createReadStream(file), interruptSignal)) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > MAX_RULES_LENGTH)
      throw new UsageError(`--exclude-from ${shown(file)} is no file of patterns`);
  }
  return Buffer.concat(chunks);
}

/** The list that was named, if any. @param root see readPathList */
export async function pathListFrom(options: ListOptions, root: string): Promise<PathList | undefined> {
  const { filesFrom, filesFrom0 } = options;
  if (filesFrom !== undefined && filesFrom0 !== undefined)
    throw new UsageError("--files-from and --files-from0 exclude each other");
  const [file, format]: readonly [string | undefined, ListFormat] =
    filesFrom0 === undefined ? [filesFrom, "lines"] : [filesFrom0, "nul"];
  if (file === undefined) return undefined;
  const option = format === "nul" ? "--files-from0" : "--files-from";
  if (file === "") throw new UsageError(`${option} expected the name of a file`);
  refuseKey(option, file);
  if (file !== "-") return ofFile(file, readPathList(createReadStream(file), format, root, interruptSignal));
  if (isTerminal(0)) throw new UsageError(`${option} - reads paths from standard input: redirect it`);
  refuseClosed(0);
  return ofFile("standard input", readPathList(process.stdin, format, root, interruptSignal));
}
