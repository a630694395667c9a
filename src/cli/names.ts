// Names that a user gave, as messages show them; and what is no name but a key, which is neither shown nor used.
import { existsSync } from "node:fs";
import { errorCode, isError } from "../shapes.ts";
import { bounded, visible } from "./visible.ts";

/** Longer than the names of nearly all files. */
const MAX_SHOWN_LENGTH = 160;

/** What a user gave, for a message, unless it may be a key. What addresses carry of users and signatures is left out. */
export function shown(given: string): string {
  if (isKey(given)) return "(not shown: it looks like a key)";
  const open = given.replace(/(:\/\/)[^/@]*@/, "$1…@").replace(/^(https?:\/\/[^?#]*)[?#].*$/is, "$1?…");
  return bounded(visible(open), MAX_SHOWN_LENGTH);
}

/** Names the file in errors of the system that do not, such as those of reading a folder. */
export async function ofFile<Result>(name: string, work: Promise<Result>): Promise<Result> {
  try {
    return await work;
  } catch (error) {
    if (errorCode(error) === undefined || !isError(error) || !("syscall" in error) || "path" in error)
      throw error;
    throw Object.assign(new Error(error.message, { cause: error }), { ...error, path: name });
  }
}

/** True for what looks like a key and not like a name. A name that exists is a name, whatever it looks like. */
export function isKey(text: string): boolean {
  return looksLikeKey(text) && !existsSync(text) && !isInFolder(text);
}

/** True if the first folder that a path names exists. */
function isInFolder(text: string): boolean {
  const first = /^(\/?[^/]+)\//.exec(text)?.[1];
  return first !== undefined && existsSync(first);
}

// Key material: PEM, JWK, hexadecimal digits or Base64 of 16 bytes or more.
function looksLikeKey(text: string): boolean {
  if (/-----BEGIN|\{.*["']?\b(?:kty|k)["']?\s*:|AGE-SECRET-KEY-/is.test(text)) return true;
  const value = text.trim();
  // What people write before them, as in hex:… or base64:…
  const bare = value.replace(/^(?:[a-z0-9_-]{1,12}[:=,]|0x)+/i, "");
  return isHex(value) || isHex(bare) || isBase64(bare);
}

function isHex(text: string): boolean {
  if (/^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i.test(text)) return false; // a UUID
  return /^(?:[0-9a-f]{2}[ :-]?){15,}[0-9a-f]{2}$/i.test(text);
}

const MIN_BASE64_LENGTH = 22;

// Random Base64 has letters of both cases and digits, and changes between them at two of three places; words and dates
// that are joined by hyphens, as in names of files, do so at one of five.
function isBase64(text: string): boolean {
  if (!/^[A-Za-z0-9+/_-]+={0,2}$/.test(text) || text.length < MIN_BASE64_LENGTH) return false;
  if (text.endsWith("=") && text.length % 4 === 0) return true; // no name is padded
  const kinds = [...text].map(kindOf).filter((kind) => kind !== "");
  if (new Set(kinds).size < 3) return false;
  const changes = kinds.filter((kind, at) => at > 0 && kind !== kinds[at - 1]).length;
  return changes * 3 >= kinds.length;
}

function kindOf(char: string): string {
  return /[a-z]/.test(char) ? "lower" : /[A-Z]/.test(char) ? "upper" : /[0-9]/.test(char) ? "digit" : "";
}
