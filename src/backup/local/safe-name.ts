// Keys of a bucket -> paths that may be made below a folder. Keys come from whoever may write to the bucket.
import { FramesealError } from "../../errors.ts";
import { quote } from "../../quote.ts";
import { isWellFormed } from "../../shapes.ts";
import { RESERVED_FOLDER } from "../entry.ts";
import { isPartialName } from "./partial-name.ts";

/** What is wrong with a key as a path. */
export type NameFault =
  | "empty"
  | "absolute"
  | "empty-name"
  | "dot"
  | "dot-dot"
  | "nul"
  | "ill-formed"
  | "too-long"
  | "partial"
  | "reserved"
  | "windows-character"
  | "windows-device"
  | "windows-end";

/** A key that may be a path, or why it may not. */
export type SafeName =
  | { readonly kind: "path"; readonly path: string; readonly isDirectory: boolean }
  | { readonly kind: "refused"; readonly fault: NameFault; readonly error: FramesealError };

const MAX_NAME_LENGTH = 255; // bytes, of nearly all file systems

const texts: Readonly<Record<NameFault, string>> = {
  empty: "it is empty",
  absolute: "it begins with a slash",
  "empty-name": "it has two slashes in a row",
  dot: 'it has a part "."',
  "dot-dot": 'it has a part ".."',
  nul: "it has a NUL",
  "ill-formed": "it is no well-formed Unicode",
  "too-long": `a part of it is longer than ${MAX_NAME_LENGTH} bytes`,
  partial: "it has the name of a file that is not complete",
  reserved: "this name is kept for manifests",
  "windows-character": "it has a character that Windows does not take in names",
  "windows-device": "a part of it is the name of a device of Windows",
  "windows-end": "a part of it ends with a dot or a space, which Windows takes off",
};

/**
 * Checks a key without its prefix: in the clear, if names are encrypted. Whatever the system can name otherwise is a
 * name, also line ends; whoever shows names escapes them.
 */
export function safeNameOf(key: string, platform: NodeJS.Platform = process.platform): SafeName {
  const isDirectory = key.endsWith("/");
  const path = isDirectory ? key.slice(0, -1) : key;
  const fault = faultOf(key, path, platform);
  if (fault === undefined) return { kind: "path", path, isDirectory };
  const text = `the name ${quote(key)} cannot be a path here: ${texts[fault]}`;
  return { kind: "refused", fault, error: new FramesealError("UNSUPPORTED", text) };
}

function faultOf(key: string, path: string, platform: NodeJS.Platform): NameFault | undefined {
  if (key === "") return "empty";
  if (key.startsWith("/")) return "absolute";
  if (key.includes("\0")) return "nul";
  if (!isWellFormed(key)) return "ill-formed";
  if (path === RESERVED_FOLDER.slice(0, -1) || path.startsWith(RESERVED_FOLDER)) return "reserved";
  for (const name of path.split("/")) {
    const fault = faultOfName(name) ?? (platform === "win32" ? faultOnWindows(name) : undefined);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function faultOfName(name: string): NameFault | undefined {
  if (name === "") return "empty-name";
  if (name === ".") return "dot";
  if (name === "..") return "dot-dot";
  if (Buffer.byteLength(name) > MAX_NAME_LENGTH) return "too-long";
  return isPartialName(name) ? "partial" : undefined;
}

// A colon begins a drive or a stream of a file, a backslash parts names. Devices are found with whatever extension.
function faultOnWindows(name: string): NameFault | undefined {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: Windows takes none of them
  if (/[\u0000-\u001f<>:"\\|?*]/.test(name)) return "windows-character";
  if (/[. ]$/.test(name)) return "windows-end";
  const stem = name.replace(/[.].*$/s, "").replace(/ +$/, "");
  return /^(?:con|prn|aux|nul|conin\$|conout\$|clock\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3])$/i.test(stem)
    ? "windows-device"
    : undefined;
}
