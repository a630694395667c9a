// The words of a command line, of which commander forgets where `--` stood.

let behind: readonly string[] | undefined;

/** Remembers the words that the program was called with. */
export function rememberWords(args: readonly string[]): void {
  const at = args.indexOf("--");
  behind = at < 0 ? undefined : args.slice(at + 1);
}

/** What stands behind the first `--`, if there is one. */
export function wordsBehindHyphens(): readonly string[] | undefined {
  return behind;
}
