// What the command line and the benchmarks are to each other. They are compiled after what they measure and loaded by
// name, so neither imports the other.

/** The options of the command. */
export interface HarnessOptions {
  readonly full?: boolean;
  readonly list?: boolean;
  readonly claims?: boolean;
  readonly json?: string;
  readonly html?: string;
  readonly baseline?: string;
  readonly rounds: number;
  readonly roundMs: number;
}

/** What the harness has of the command line. */
export interface HarnessConsole {
  /** Of the package. */
  readonly version: string;
  /** Aborted when the user asks the program to stop. */
  readonly interrupted: AbortSignal;
  print(text: string): void;
  note(text: string): void;
  /** Replaces the line of progress on a terminal; "" clears it. */
  showProgress(text: string): void;
  /** An error that ends the command with exit code 1 and this text. */
  failure(message: string): Error;
}

/** What the benchmarks export. */
export interface Harness {
  bench(words: readonly string[], options: HarnessOptions, console: HarnessConsole): Promise<void>;
}
