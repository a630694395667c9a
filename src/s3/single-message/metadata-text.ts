// JSON in metadata headers. S3 carries only plain ASCII through unchanged, so that is what is written; what others wrote
// may come back as encoded words.
import { FramesealError } from "../../errors.ts";
import type { EncryptionContext } from "../../format/encryption-context.ts";
import { decodeEncodedWords, readAsUtf8 } from "../encoded-words.ts";

/** Characters outside printable ASCII, the start of an encoded word, and spaces that could be taken for one. */
const NOT_CARRIED = /[^\x20-\x7e]|=(?=\?)|(?<= ) /g;

/** JSON of strings in which everything is escaped that could change on its way. Any JSON parser reads it alike. */
export function encodeAsciiJson(context: EncryptionContext): string {
  return JSON.stringify(context).replace(
    NOT_CARRIED,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/**
 * Parses JSON that must be one object of strings.
 * @param name of the metadata entry, for the error
 * @throws FramesealError INVALID_METADATA
 */
export function parseStringMap(text: string, name: string): EncryptionContext {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // No cause: the parser's error quotes the text as it is.
    throw new FramesealError("INVALID_METADATA", `"${name}" of the object is not JSON`);
  }
  const map: Record<string, string> = Object.create(null);
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw notStrings(name);
  for (const [key, entry] of Object.entries(value)) {
    if (typeof entry !== "string") throw notStrings(name);
    map[key] = entry;
  }
  return Object.freeze(map);
}

function notStrings(name: string): FramesealError {
  return new FramesealError("INVALID_METADATA", `"${name}" of the object is not a JSON object of strings`);
}

/**
 * Undoes what servers do to JSON that was sent as UTF-8: S3 returns encoded words from the first character on, others the
 * bytes, which Node takes for Latin-1. JSON that has come through as it is stays so, whatever is in its strings.
 */
export function decodeMetadataText(value: string): string {
  return value.startsWith("=?") ? decodeEncodedWords(value) : (readAsUtf8(value) ?? value);
}
