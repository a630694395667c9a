// What a command says: results on stdout, everything else on stderr, one line each and free of control characters.

import { fstatSync, writeSync } from "node:fs";
import { errorCode } from "../shapes.ts";

/** Writes a line to stderr. */
export function note(text: string): void {
  writeText(2, `frameseal: ${oneLine(text)}\n`);
}

/** Writes a line of text to stdout. */
export function print(text: string): void {
  writeText(1, `${text}\n`);
}

/**
 * Writes text to descriptor 1 or 2, all of it before it returns. The streams of `process` would do the same, but take
 * longer to make than a small file takes to encrypt.
 * @throws Error EPIPE if nobody reads any more
 */
export function writeText(descriptor: 1 | 2, text: string): void {
  const bytes = Buffer.from(text);
  for (let written = 0; written < bytes.length; ) {
    try {
      written += writeSync(descriptor, bytes, written);
    } catch (error) {
      if (descriptor === 2) return; // there is nobody to tell
      if (!["EAGAIN", "EINTR"].includes(errorCode(error) ?? "")) throw error;
    }
  }
}

/** True if the descriptor is a terminal. */
export function isTerminal(descriptor: 0 | 1 | 2): boolean {
  try {
    if (!fstatSync(descriptor).isCharacterDevice()) return false;
  } catch {
    return false; // closed
  }
  const stream = descriptor === 0 ? process.stdin : descriptor === 1 ? process.stdout : process.stderr;
  return stream.isTTY;
}

/** Writes a value as one line of JSON to stdout. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value).replace(UNSEEN, escapeUnits));
}

/** What a terminal obeys or hides instead of showing it: control and format characters, halves of pairs, line ends. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu;

/** Text from outside, made safe for a terminal: what would not be seen is written out. */
export function oneLine(text: string): string {
  return text.replace(UNSEEN, (char) => (char === "\n" ? " " : escapeUnits(char)));
}

// As JSON has it, unit by unit.
function escapeUnits(char: string): string {
  let escaped = "";
  for (let at = 0; at < char.length; at++)
    escaped += `\\u${char.charCodeAt(at).toString(16).padStart(4, "0")}`;
  return escaped;
}

/** True for text that may be key material: long hexadecimal or Base64 without a dot or a folder, JWK, PEM. */
export function looksLikeKey(text: string): boolean {
  return (
    /^(0x)?[0-9a-f]{32,}$/i.test(text) ||
    /^[A-Za-z0-9+/_-]{40,}={0,2}$/.test(text) ||
    /-----BEGIN|"kty"/.test(text)
  );
}

/** A file name for a message, unless it may be a key that was given in its place. */
export function hideKeys(name: string): string {
  return looksLikeKey(name) ? "(name not shown: it looks like a key)" : oneLine(name);
}

/** `1.5 GiB` */
export function formatBytes(count: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = count;
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${units[unit]}`;
}
