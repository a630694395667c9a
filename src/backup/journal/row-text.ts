// A row as one text with a checksum over it and its key: SQLite finds damage of its own structure, not of a value in it,
// and a digest with a bit changed would be taken for an object that is not authentic.
import { crc32 } from "node:zlib";

/** What stands in a row besides its key: anything that JSON has. */
export type Fields = readonly (string | number | null)[];

const CHECKSUM_LENGTH = 8;

export function encodeRow(key: string, fields: Fields): string {
  const text = JSON.stringify(fields);
  return checksum(key, text) + text;
}

/** Undefined for what `encodeRow` did not make with this key. */
export function decodeRow(key: string, row: unknown): Fields | undefined {
  if (typeof row !== "string") return undefined;
  const text = row.slice(CHECKSUM_LENGTH);
  if (row.slice(0, CHECKSUM_LENGTH) !== checksum(key, text)) return undefined;
  return JSON.parse(text) as Fields;
}

function checksum(key: string, text: string): string {
  return crc32(text, crc32(key)).toString(16).padStart(CHECKSUM_LENGTH, "0");
}
