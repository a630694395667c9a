// Lists of paths: one a line, or ended by NUL. What a list names wrongly is a failed item; the others go on.
import path from "node:path";
import { FramesealError } from "../../errors.ts";
import { eachUntilAborted } from "../../until-aborted.ts";
import { bytesOf, shownBytes } from "./name-bytes.ts";
import { NamedPaths } from "./named-paths.ts";

/** How the paths of a list are told apart. */
export type ListFormat = "lines" | "nul";

/** A path of a list that cannot be one below the root. */
export interface RefusedPath {
  /** As the list has it; bytes that are no ASCII are written out. */
  readonly text: string;
  readonly error: FramesealError;
}

/** What a list names. */
export interface PathList {
  readonly named: NamedPaths;
  readonly refused: readonly RefusedPath[];
}

/** No system has longer paths. */
const MAX_PATH_LENGTH = 32 * 1024;

/**
 * Reads a list to its end: it is held in memory, since paths are visited in the order of their keys. `\r` at the end of a
 * line is not part of a path; empty lines are nothing.
 * @param root absolute paths of a list have to begin with it
 * @throws FramesealError LIMIT_EXCEEDED for what is no list of paths; ABORTED; errors of `source`
 */
export async function readPathList(
  source: AsyncIterable<Uint8Array>,
  format: ListFormat,
  root: string,
  signal?: AbortSignal | undefined,
): Promise<PathList> {
  const paths: string[] = [];
  const refused: RefusedPath[] = [];
  const end = format === "nul" ? "\0" : "\n";
  const roots = [bytesOf(root), bytesOf(path.resolve(root))];
  const take = (given: string): void => {
    const text = format === "nul" ? given : given.replace(/\r$/, "");
    if (text === "") return;
    const taken = pathOf(text, roots);
    if (typeof taken === "string") paths.push(taken);
    else refused.push({ text: shownBytes(text), error: taken });
  };
  let rest = "";
  for await (const chunk of eachUntilAborted(source, signal)) {
    const pieces = (rest + Buffer.from(chunk).toString("latin1")).split(end);
    rest = pieces.pop() ?? "";
    if (rest.length > MAX_PATH_LENGTH)
      throw new FramesealError(
        "LIMIT_EXCEEDED",
        `a path of the list is longer than ${MAX_PATH_LENGTH} bytes`,
      );
    for (const piece of pieces) take(piece);
  }
  take(rest);
  return { named: new NamedPaths(paths), refused };
}

/** A path below the root, in bytes, without what means nothing; empty for the root. */
function pathOf(text: string, roots: readonly string[]): string | FramesealError {
  let relative = process.platform === "win32" ? text.replaceAll("\\", "/") : text;
  if (path.isAbsolute(relative)) {
    const root = roots.map((each) => `${withoutEnd(each)}/`).find((each) => `${relative}/`.startsWith(each));
    if (root === undefined) return refusal("it is not below the root of the tree");
    relative = relative.slice(root.length);
  }
  const names = relative.split("/").filter((name) => name !== "" && name !== ".");
  if (names.includes("..")) return refusal('it has a part ".."');
  if (relative.includes("\0")) return refusal("it has a NUL");
  return names.join("/");
}

function withoutEnd(root: string): string {
  return process.platform === "win32"
    ? root.replaceAll("\\", "/").replace(/\/+$/, "")
    : root.replace(/\/+$/, "");
}

function refusal(why: string): FramesealError {
  return new FramesealError("UNSUPPORTED", `a path of the list is not taken: ${why}`);
}
