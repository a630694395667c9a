// A terminal that understands what the command line draws with, and nothing else: lines, CR, erasing, the cursor up.
import { columnsOf } from "../../src/cli/text-width.ts";

/** Lines are kept whole however wide the terminal is; how many rows they take follows from its width. */
export class Screen {
  readonly #columns: number;
  /** Rows, each as wide as the terminal at most. */
  #rows: string[] = [""];
  #at = 0;
  /** The widest line that stood while the cursor was on it, without an end of line. */
  widest = 0;
  /** Escape sequences that it does not know. */
  readonly unknown: string[] = [];
  /** Every row that stood there at some time. */
  readonly history: string[] = [];

  constructor(columns: number) {
    this.#columns = columns;
  }

  get text(): string {
    return this.#rows.join("\n").replace(/\n+$/, "");
  }

  write(text: string): void {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: what terminals obey
    for (const [part] of text.matchAll(/\u001b\[[\d;?]*[A-Za-z]|[\r\n]|[^\u001b\r\n]+|\u001b/g))
      this.#take(part);
  }

  #take(part: string): void {
    if (part === "\n") this.#down();
    else if (part === "\u001b[A") this.#at = Math.max(0, this.#at - 1);
    else if (part === "\u001b[K" || part === "\u001b[2K") this.#rows[this.#at] = "";
    else if (part === "\r")
      return; // always before what is erased
    else if (part.startsWith("\u001b")) this.unknown.push(JSON.stringify(part));
    else this.#print(part);
  }

  #print(text: string): void {
    // What begins with the name of the program is a line that may be wrapped; what is drawn may not.
    if (!text.startsWith("frameseal: ")) this.widest = Math.max(this.widest, columnsOf(text));
    this.history.push(text);
    for (const char of text) {
      if (columnsOf((this.#rows[this.#at] ?? "") + char) > this.#columns) this.#down();
      this.#rows[this.#at] = (this.#rows[this.#at] ?? "") + char;
    }
  }

  #down(): void {
    this.#at++;
    this.#rows[this.#at] ??= "";
  }
}
