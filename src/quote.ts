// Text from outside in messages of ours: names in headers and metadata, answers of services, names that callers pass on.
// Whoever wrote it may want a terminal to obey it, a reader to misread it, or a log to fill up.

/** No message of this package is longer. */
export const MAX_MESSAGE_LENGTH = 2000;
const MAX_QUOTE_LENGTH = 100;

// What a terminal obeys, hides or lets run together: control, format, private and unassigned characters, halves of
// pairs, ends of lines, blanks other than the space, characters without width, and piles of marks.
const UNSEEN =
  /\p{C}|\p{Default_Ignorable_Code_Point}|(?! )\p{Z}|[\u115f\u1160\u2800\u3164\uffa0]|(?<=\p{M}{4})\p{M}/gu;

/** `text` with every character written out that would not be seen, as JSON has it. */
export function escapeUnseen(text: string): string {
  return text.replace(UNSEEN, (char) => {
    let escaped = "";
    for (let at = 0; at < char.length; at++)
      escaped += `\\u${char.charCodeAt(at).toString(16).padStart(4, "0")}`;
    return escaped;
  });
}

// Never half of a surrogate pair.
function head(text: string, length: number): string {
  const last = text.charCodeAt(length - 1);
  return text.slice(0, last >= 0xd800 && last < 0xdc00 ? length - 1 : length);
}

/** `text` escaped, and cut to `max` characters. */
export function shorten(text: string, max: number = MAX_MESSAGE_LENGTH): string {
  const shown = escapeUnseen(head(text, max));
  if (text.length <= max && shown.length <= max) return shown;
  const rest = `… (${text.length} characters)`;
  return `${head(shown, max - rest.length)}${rest}`;
}

/** A name in quotes, escaped and cut: what stands between them cannot be taken for text of ours. */
export function quote(name: string, max: number = MAX_QUOTE_LENGTH): string {
  const shown = escapeUnseen(head(name, max).replace(/["\\]/g, "\\$&"));
  if (name.length <= max && shown.length <= max) return `"${shown}"`;
  return `"${head(shown, max)}…" (${name.length} characters)`;
}

/** Texts one after the other, as many as `max` characters hold, and how many more there are. */
export function list(texts: readonly string[], max: number, count: number = texts.length): string {
  let shown = "";
  for (const [index, text] of texts.entries()) {
    const next = shorten(text, max);
    const longer = index === 0 ? next : `${shown}; ${next}`;
    if (longer.length > max) return `${shown}; and ${count - index} more`;
    shown = longer;
  }
  return count > texts.length ? `${shown}; and ${count - texts.length} more` : shown;
}
