// Text from outside as a terminal shows it: in one line, in which everything can be seen, and not too long.
import { escapeUnseen } from "../quote.ts";

/** Text in one line, in which everything can be seen: what could not is written as in JSON. */
export function visible(text: string): string {
  return escapeUnseen(text.replace(/^\p{M}/u, "\u25cc$&"));
}

/** Text of at most `length` characters: of longer text the beginning, where most is left, and the end. */
export function bounded(text: string, length: number): string {
  if (text.length <= length) return text;
  const last = Math.floor(length / 3);
  return `${text.slice(0, length - last - 1)}…${text.slice(-last)}`;
}
