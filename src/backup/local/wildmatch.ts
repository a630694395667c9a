// Patterns as git matches them (wildmatch.c): `*`, `?`, `[...]`, `\` and `**`, over bytes. Both pattern and text are
// Latin-1 strings whose characters are the bytes of UTF-8. Time is bounded by the product of both lengths.

/** What one piece of a pattern matches. */
type Token =
  | { readonly kind: "byte"; readonly byte: number }
  | { readonly kind: "class"; readonly has: (byte: number) => boolean }
  /** Any number of bytes, none of them a slash. */
  | { readonly kind: "star" }
  /** Any number of bytes. */
  | { readonly kind: "all" }
  /** Nothing, or any number of bytes and a slash. */
  | { readonly kind: "folders" };

/** A compiled pattern. */
export interface Wild {
  matches(text: string): boolean;
}

const SLASH = 0x2f;

/** @param mode `path`: only `**` goes beyond a slash, as git has it for patterns with a slash */
export function compileWild(pattern: string, mode: "name" | "path"): Wild {
  const tokens = tokensOf(pattern, mode);
  if (tokens === undefined) return { matches: () => false };
  return { matches: (text) => run(tokens, text) };
}

// Undefined for a pattern that cannot match: one that ends in the middle of a class, or in a backslash.
function tokensOf(pattern: string, mode: "name" | "path"): Token[] | undefined {
  const tokens: Token[] = [];
  for (let at = 0; at < pattern.length; ) {
    const char = pattern[at];
    if (char === "*") {
      let end = at + 1;
      while (pattern[end] === "*") end++;
      const isDouble = end - at > 1;
      const opens = at === 0 || pattern[at - 1] === "/";
      const closes = end === pattern.length || pattern[end] === "/" || pattern.startsWith("\\/", end);
      if (mode === "name" || (isDouble && opens && closes)) {
        const isFolders = mode === "path" && pattern[end] === "/";
        tokens.push({ kind: isFolders ? "folders" : "all" });
        at = isFolders ? end + 1 : end;
      } else {
        tokens.push({ kind: "star" });
        at = end;
      }
    } else if (char === "?") {
      tokens.push({ kind: "class", has: (byte) => mode === "name" || byte !== SLASH });
      at++;
    } else if (char === "[") {
      const read = readClass(pattern, at + 1);
      if (read === undefined) return undefined;
      const { has } = read;
      tokens.push({ kind: "class", has: (byte) => has(byte) && (mode === "name" || byte !== SLASH) });
      at = read.end;
    } else {
      if (char === "\\") at++;
      if (at === pattern.length) return undefined;
      tokens.push({ kind: "byte", byte: pattern.charCodeAt(at) });
      at++;
    }
  }
  return tokens;
}

const between =
  (first: string, last: string) =>
  (byte: number): boolean =>
    byte >= first.charCodeAt(0) && byte <= last.charCodeAt(0);
const [isUpper, isLower, isDigit] = [between("A", "Z"), between("a", "z"), between("0", "9")];
const isAlpha = (byte: number): boolean => isUpper(byte) || isLower(byte);
const isGraph = between("!", "~");

/** The classes of POSIX, in ASCII. */
const named: Readonly<Record<string, (byte: number) => boolean>> = {
  alnum: (byte) => isAlpha(byte) || isDigit(byte),
  alpha: isAlpha,
  blank: (byte) => byte === 0x20 || byte === 0x09,
  cntrl: (byte) => byte < 0x20 || byte === 0x7f,
  digit: isDigit,
  graph: isGraph,
  lower: isLower,
  print: (byte) => isGraph(byte) || byte === 0x20,
  punct: (byte) => isGraph(byte) && !isAlpha(byte) && !isDigit(byte),
  space: (byte) => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d),
  upper: isUpper,
  xdigit: (byte) => isDigit(byte) || between("a", "f")(byte) || between("A", "F")(byte),
};

interface ReadClass {
  readonly has: (byte: number) => boolean;
  /** Behind its bracket. */
  readonly end: number;
}

function readClass(pattern: string, start: number): ReadClass | undefined {
  let at = start;
  const isNegated = pattern[at] === "!" || pattern[at] === "^";
  if (isNegated) at++;
  const parts: ((byte: number) => boolean)[] = [];
  let previous: number | undefined; // what a range would begin with
  for (let isFirst = true; isFirst || pattern[at] !== "]"; isFirst = false) {
    if (at >= pattern.length) return undefined;
    if (pattern[at] === "-" && previous !== undefined && at + 1 < pattern.length && pattern[at + 1] !== "]") {
      at++;
      if (pattern[at] === "\\") at++;
      if (at >= pattern.length) return undefined;
      const [low, high] = [previous, pattern.charCodeAt(at)];
      parts.push((byte) => byte >= low && byte <= high);
      previous = undefined;
      at++;
    } else if (pattern.startsWith("[:", at)) {
      const end = pattern.indexOf("]", at + 2);
      if (end < 0) return undefined;
      if (pattern[end - 1] !== ":" || end - 1 < at + 2) {
        parts.push((byte) => byte === 0x5b); // no class: a bracket like others
        previous = 0x5b;
        at++;
      } else {
        const name = pattern.slice(at + 2, end - 1);
        const has = Object.hasOwn(named, name) ? named[name] : undefined;
        if (has === undefined) return undefined;
        parts.push(has);
        previous = undefined;
        at = end + 1;
      }
    } else {
      if (pattern[at] === "\\") at++;
      if (at >= pattern.length) return undefined;
      const byte = pattern.charCodeAt(at);
      parts.push((each) => each === byte);
      previous = byte;
      at++;
    }
  }
  return { has: (byte) => parts.some((part) => part(byte)) !== isNegated, end: at + 1 };
}

// All places of the text that the pattern may have come to, token by token.
function run(tokens: readonly Token[], text: string): boolean {
  let reached = new Uint8Array(text.length + 1);
  reached[0] = 1;
  for (const token of tokens) {
    const next = new Uint8Array(text.length + 1);
    let any = false;
    let open = false; // something before this place lets a star run on
    for (let at = 0; at <= text.length; at++) {
      const here = reached[at] === 1;
      const byte = at > 0 ? text.charCodeAt(at - 1) : -1;
      let hit: boolean;
      if (token.kind === "byte") hit = at > 0 && reached[at - 1] === 1 && byte === token.byte;
      else if (token.kind === "class") hit = at > 0 && reached[at - 1] === 1 && token.has(byte);
      else if (token.kind === "folders") {
        hit = here || (open && byte === SLASH);
        open ||= here;
      } else {
        if (token.kind === "star" && byte === SLASH) open = false;
        open ||= here;
        hit = open;
      }
      if (hit) {
        next[at] = 1;
        any = true;
      }
    }
    if (!any) return false;
    reached = next;
  }
  return reached[text.length] === 1;
}
