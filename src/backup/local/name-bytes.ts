// Names as the system has them: bytes, as Latin-1 strings, which compare as the bytes do.

/** The text of UTF-8 bytes; undefined for bytes that are no UTF-8. */
export function textOf(bytes: string): string | undefined {
  if (isAscii(bytes)) return bytes;
  try {
    return strict.decode(Buffer.from(bytes, "latin1"));
  } catch {
    return undefined;
  }
}
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The bytes of a text in UTF-8. */
export function bytesOf(text: string): string {
  return isAscii(text) ? text : Buffer.from(text, "utf8").toString("latin1");
}

/** Any bytes for people to read: those that are no ASCII as `\xE9`. */
export function shownBytes(bytes: string): string {
  return bytes.replace(
    /[\x80-\xff]/g,
    (byte) => `\\x${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`,
  );
}

function isAscii(text: string): boolean {
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) > 0x7f) return false;
  return true;
}
