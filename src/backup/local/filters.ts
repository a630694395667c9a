// Which entries of a tree count: rules in the syntax of gitignore, from several places, of which the last that matches
// decides. What lies in an excluded directory is excluded, whatever other rules say of it.
import { bytesOf } from "./name-bytes.ts";
import { compileWild } from "./wildmatch.ts";

/** One rule. Names are given as Latin-1 strings of their UTF-8 bytes, as git compares them. */
interface Rule {
  readonly isNegated: boolean;
  readonly onlyDirectories: boolean;
  matches(path: string, name: string): boolean;
}

const SPECIAL = /[*?[\\]/;

/** What one line of a file of rules says; nothing for blank lines and comments. */
function ruleOfLine(line: string): Rule | undefined {
  const text = withoutTrailingSpaces(line);
  return text === "" || text.startsWith("#") ? undefined : ruleOf(text);
}

// Spaces at the end count only behind a backslash.
function withoutTrailingSpaces(line: string): string {
  let end = 0;
  for (let at = 0; at < line.length; at++) {
    if (line[at] === "\\") at++;
    else if (line[at] === " ") continue;
    end = Math.min(at + 1, line.length);
  }
  return line.slice(0, end);
}

function ruleOf(text: string): Rule {
  const isNegated = text.startsWith("!");
  let pattern = isNegated ? text.slice(1) : text;
  const onlyDirectories = pattern.endsWith("/");
  if (onlyDirectories) pattern = pattern.slice(0, -1);
  return { isNegated, onlyDirectories, matches: pattern.includes("/") ? ofPath(pattern) : ofName(pattern) };
}

function ofName(pattern: string): Rule["matches"] {
  if (!SPECIAL.test(pattern)) return (_, name) => name === pattern;
  const end = pattern.slice(1);
  if (pattern.startsWith("*") && !SPECIAL.test(end)) return (_, name) => name.endsWith(end);
  const wild = compileWild(pattern, "name");
  return (_, name) => wild.matches(name);
}

function ofPath(given: string): Rule["matches"] {
  const pattern = given.startsWith("/") ? given.slice(1) : given;
  const plainLength = pattern.search(SPECIAL);
  if (plainLength < 0) return (path) => path === pattern;
  // git compares what stands before the first wildcard by itself, and matches the rest as a pattern of its own.
  const plain = pattern.slice(0, plainLength);
  const wild = compileWild(pattern.slice(plainLength), "path");
  return (path) => path.startsWith(plain) && wild.matches(path.slice(plainLength));
}

/** Where rules come from, in the order given. */
export type FilterSource =
  /** A pattern of the command line; a leading `!` takes in. */
  | { readonly kind: "exclude"; readonly pattern: string }
  /** The same as excluding `!` and the pattern. */
  | { readonly kind: "include"; readonly pattern: string }
  /** Bytes of a file with one rule a line, as in `.gitignore`. */
  | { readonly kind: "file"; readonly content: Uint8Array };

/** All rules of a run. */
export class Filters {
  readonly #rules: readonly Rule[];

  constructor(sources: readonly FilterSource[] = []) {
    this.#rules = sources.flatMap(rulesOf);
  }

  get isEmpty(): boolean {
    return this.#rules.length === 0;
  }

  /** Whether an entry is out whose folder is in. */
  excludesWithin(path: string, kind: "directory" | "other"): boolean {
    if (this.#rules.length === 0) return false;
    return this.#excludes(bytesOf(path), kind === "directory");
  }

  /** Whether an entry is out, by itself or because it lies in a directory that is. */
  excludes(path: string, kind: "directory" | "other"): boolean {
    if (this.#rules.length === 0) return false;
    const bytes = bytesOf(path);
    for (let at = bytes.indexOf("/"); at >= 0; at = bytes.indexOf("/", at + 1))
      if (this.#excludes(bytes.slice(0, at), true)) return true;
    return this.#excludes(bytes, kind === "directory");
  }

  #excludes(path: string, isDirectory: boolean): boolean {
    const name = path.slice(path.lastIndexOf("/") + 1);
    for (let at = this.#rules.length - 1; at >= 0; at--) {
      const rule = this.#rules[at];
      if (rule !== undefined && (isDirectory || !rule.onlyDirectories) && rule.matches(path, name))
        return !rule.isNegated;
    }
    return false;
  }
}

function rulesOf(source: FilterSource): Rule[] {
  if (source.kind === "exclude") return [ruleOf(bytesOf(source.pattern))];
  if (source.kind === "include") return [ruleOf(`!${bytesOf(source.pattern)}`)];
  const text = Buffer.from(source.content).toString("latin1");
  const lines = text.replace(/^\xef\xbb\xbf/, "").split("\n");
  return lines.flatMap((line, at) => {
    const ended = at < lines.length - 1 ? line.replace(/\r$/, "") : line; // as git has it
    return ruleOfLine(ended) ?? [];
  });
}
