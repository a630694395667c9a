// Text in metadata headers. S3 carries only ASCII through unchanged, so what is written is ASCII; what others wrote may
// come back as encoded words.
import { FramesealError } from "../../errors.ts";
import type { EncryptionContext } from "../../format/encryption-context.ts";

/** JSON of strings in which every character outside printable ASCII is escaped. Any JSON parser reads it alike. */
export function encodeAsciiJson(context: EncryptionContext): string {
  return JSON.stringify(context).replace(
    /[^\x20-\x7e]/g,
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
  } catch (cause) {
    throw new FramesealError("INVALID_METADATA", `"${name}" of the object is not JSON`, { cause });
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

const ENCODED_WORD = /=\?([A-Za-z0-9-]{1,20})\?([BbQq])\?([^?\s]*)\?=/g;

/**
 * Undoes what S3 does to a metadata value that was sent as UTF-8: the value comes back as encoded words (RFC 2047), and
 * what they encode is the UTF-8 read as Latin-1 and encoded once more. A value that is not of this kind stays as it is.
 */
export function decodeMetadataText(value: string): string {
  if (!value.includes("=?")) return value;
  let failed = false;
  // White space between adjacent encoded words does not count. (RFC 2047, 6.2)
  const text = value
    .replace(/\?=\s+=\?/g, "?==?")
    .replace(ENCODED_WORD, (word, charset, encoding, content) => {
      const bytes = /^b$/i.test(encoding) ? Buffer.from(content, "base64") : decodeQ(content);
      const decoded = decodeWord(bytes, charset);
      if (decoded === undefined) failed = true;
      return decoded ?? word;
    });
  if (failed) return value;
  return asUtf8(text) ?? text;
}

function decodeQ(content: string): Buffer {
  const text = content
    .replaceAll("_", " ")
    .replace(/=([0-9A-Fa-f]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(text, "latin1");
}

function decodeWord(bytes: Buffer, charset: string): string | undefined {
  try {
    return new TextDecoder(charset, { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

// The second layer: Latin-1 characters that are the bytes of UTF-8.
function asUtf8(text: string): string | undefined {
  if (!/^[\0-\xff]*$/.test(text)) return undefined;
  return decodeWord(Buffer.from(text, "latin1"), "utf-8");
}
