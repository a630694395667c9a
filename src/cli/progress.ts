// Progress on stderr: bytes, rate and time left on one line that is rewritten.
import { formatBytes, isTerminal, rewriteLine } from "./output.ts";

/** What `--progress` and `--no-progress` ask for; by default a terminal on stderr decides. */
export type ProgressChoice = boolean | undefined;

const INTERVAL_MS = 200;

/** Draws while an operation runs. */
export class Progress {
  readonly #label: string;
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #started = performance.now();
  #total: number | undefined;
  #done = 0;
  #width = 0;

  constructor(label: string, choice: ProgressChoice) {
    this.#label = label;
    if (choice ?? isTerminal(2)) {
      this.#timer = setInterval(() => this.#draw(), INTERVAL_MS);
      this.#timer.unref();
    }
  }

  /** Takes what `onProgress` of the library tells. */
  update(done: number, total: number | undefined): void {
    this.#done = done;
    this.#total = total;
  }

  /** Removes the line. */
  stop(): void {
    if (this.#timer === undefined) return;
    clearInterval(this.#timer);
    if (this.#width > 0) rewriteLine("", this.#width);
  }

  #draw(): void {
    const seconds = (performance.now() - this.#started) / 1000;
    const rate = this.#done / seconds;
    const parts = [this.#label, formatBytes(this.#done), `${formatBytes(rate)}/s`];
    if (this.#total !== undefined && this.#total > 0) {
      parts.splice(2, 0, `${Math.min(100, Math.floor((100 * this.#done) / this.#total))} %`);
      if (rate > 0) parts.push(`${formatSeconds(Math.max(0, this.#total - this.#done) / rate)} left`);
    }
    const line = parts.join("  ");
    rewriteLine(line, this.#width);
    this.#width = Math.max(this.#width, line.length);
  }
}

/** `5 min 3 s` */
export function formatSeconds(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
