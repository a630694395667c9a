// What a command says: results on stdout, everything else on stderr. All of it goes through here, so that nothing that
// came from outside (a name, a header, an answer) reaches a terminal as anything but text that can be seen.

import { fstatSync } from "node:fs";
import { escapeUnseen } from "../quote.ts";
import { refuseClosed } from "./closed.ts";
import { columnsOf } from "./text-width.ts";
import { visible } from "./visible.ts";
import { writeWhole } from "./write-whole.ts";

/** Writes a line to stderr, behind the name of the program. */
export function note(text: string): void {
  writeText(2, `frameseal: ${visible(text)}\n`);
}

/** Writes a line to stdout. */
export function print(text: string): void {
  writeText(1, `${visible(text)}\n`);
}

/** Writes text of several lines, whose line ends are our own, to stdout. */
export function printLines(text: string): void {
  for (const line of text.split("\n")) print(line);
}

/** Writes a value as one line of JSON, which reads back as the same value. @param descriptor by default stdout */
export function printJson(value: unknown, descriptor: 1 | 2 = 1): void {
  writeText(descriptor, `${escapeUnseen(JSON.stringify(value))}\n`);
}

/** Writes a help text, which is our own. @param descriptor 2 where it stands for what was missing */
export function writeHelp(descriptor: 1 | 2, text: string): void {
  writeText(descriptor, text);
}

/** Columns of a help text: those of the terminal, up to what is easy to read. */
export function helpWidth(): number {
  return Math.min(isTerminal(1) ? process.stdout.columns : MAX_HELP_WIDTH, MAX_HELP_WIDTH);
}
const MAX_HELP_WIDTH = 100;

/** Writes `text` over the line of stderr that the last call wrote. @param width how much of that is to be covered */
export function rewriteLine(text: string, width: number): void {
  writeText(2, `\r${visible(text).padEnd(width)}${text === "" ? "\r" : ""}`);
}

/** What stands at the end of the terminal, line by line. */
let status: readonly string[] = [];

/**
 * Draws lines that stay below everything else that is said, until others are drawn. Only for a terminal.
 * @param lines each fits in the width of the terminal, less one
 */
export function drawStatus(lines: readonly string[]): void {
  const erased = erasure();
  status = lines.map(visible);
  writeAll(2, `${erased}${status.join("\n")}`);
}

// A terminal that became narrower has wrapped the lines.
function erasure(): string {
  if (status.length === 0) return "";
  const columns = terminalColumns();
  const rows = status.reduce((sum, line) => sum + Math.max(1, Math.ceil(columnsOf(line) / columns)), 0);
  return `\r\u001b[K${"\u001b[A\u001b[2K".repeat(rows - 1)}`;
}

/** Width of the terminal on stderr. */
export function terminalColumns(): number {
  return Math.max(1, process.stderr.columns || 80);
}

function writeText(descriptor: 1 | 2, text: string): void {
  if (descriptor === 1) refuseClosed(1);
  const isAbove = status.length > 0 && (descriptor === 2 || isTerminal(1));
  if (isAbove) writeAll(2, erasure());
  writeAll(descriptor, text);
  if (isAbove) writeAll(2, status.join("\n"));
}

// All of it before it returns. The streams of `process` would do the same, but take longer to make than a small file
// takes to encrypt.
function writeAll(descriptor: 1 | 2, text: string): void {
  try {
    writeWhole(descriptor, Buffer.from(text));
  } catch (error) {
    if (descriptor === 1) throw error;
    // of what is said on stderr there is nobody to tell
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

/** `1.5 GiB` */
export function formatBytes(count: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = count;
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${units[unit]}`;
}
