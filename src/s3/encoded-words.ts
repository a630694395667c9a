// Encoded words in headers (RFC 2047), as S3 returns metadata that is not ASCII.

const ENCODED_WORD = /=\?([A-Za-z0-9-]{1,20})\?([BbQq])\?([^?\s]*)\?=/g;

/**
 * Decodes the words in `value`, and what S3 adds: it reads the UTF-8 that it was sent as Latin-1 and encodes that once
 * more. A value with no words, or with one that cannot be decoded, stays as it is.
 */
export function decodeEncodedWords(value: string): string {
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
  return readAsUtf8(text) ?? text;
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

/** The text whose UTF-8 was read as Latin-1; undefined for other text. */
export function readAsUtf8(text: string): string | undefined {
  if (!/^[\0-\xff]*$/.test(text)) return undefined;
  return decodeWord(Buffer.from(text, "latin1"), "utf-8");
}
