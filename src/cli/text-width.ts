// How many columns of a terminal a text takes, and text that fits in so many.

// Two columns each: East Asian scripts, full-width forms and what is drawn as an emoji.
const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{16fe0}-\u{18cff}\u{1aff0}-\u{1b2fb}\u{1f200}-\u{1f265}\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}/u;
const NONE = /^\p{M}$/u;

/** Columns of text in which everything can be seen (`visible` makes it so). */
export function columnsOf(text: string): number {
  let columns = 0;
  for (const char of text) columns += widthOf(char);
  return columns;
}

function widthOf(char: string): number {
  return WIDE.test(char) ? 2 : NONE.test(char) ? 0 : 1;
}

/** The text, or its beginning and its end around …, in at most `columns`. */
export function fitted(text: string, columns: number): string {
  if (columnsOf(text) <= columns) return text;
  if (columns < 1) return "";
  const chars = [...text];
  const head = taken(chars, Math.ceil((columns - 1) / 2));
  const tail = taken(chars.reverse(), columns - 1 - columnsOf(head.join("")));
  // A mark belongs to the letter before it.
  while (NONE.test(tail.at(-1) ?? "")) tail.pop();
  return `${head.join("")}…${tail.reverse().join("")}`;
}

function taken(chars: readonly string[], columns: number): string[] {
  let left = columns;
  const end = chars.findIndex((char) => {
    left -= widthOf(char);
    return left < 0;
  });
  return chars.slice(0, end < 0 ? chars.length : end);
}
