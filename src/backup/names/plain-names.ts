// Names as they are: the key is the path, and that of a directory has a slash behind it.
import { FramesealError } from "../../errors.ts";
import { isWellFormed } from "../../shapes.ts";
import type { EntryType } from "../entry.ts";
import type { KeyNames } from "./key-names.ts";

/** Keys that are paths. What is no safe path is for whoever writes files to refuse. */
export const plainNames: KeyNames = {
  keyOf: pathText,
  entryOf(key) {
    const isDirectory = key === "" || key.endsWith("/"); // the empty one is the prefix itself
    return { path: isDirectory ? key.slice(0, -1) : key, isDirectory };
  },
};

/**
 * The path of an entry as a text that tells its kind.
 * @throws FramesealError UNSUPPORTED for what no key can stand for, or what would stand for another entry
 */
export function pathText(path: string, type: EntryType): string {
  if (path === "") throw unnameable("it is empty");
  if (path.includes("\0")) throw unnameable("it contains NUL");
  if (!isWellFormed(path)) throw unnameable("it is no Unicode");
  if (type === "directory") return `${path}/`;
  if (path.endsWith("/")) throw unnameable("it ends with a slash, as those of directories do");
  return path;
}

function unnameable(why: string): FramesealError {
  return new FramesealError("UNSUPPORTED", `S3 cannot store this name: ${why}`);
}
