// Progress of a tree on stderr: what is done of how much, how fast, and which large files are on their way.
import { drawStatus, formatBytes, isTerminal, note, terminalColumns } from "../output.ts";
import { formatSeconds, type ProgressChoice } from "../progress.ts";
import { fitted } from "../text-width.ts";
import { visible } from "../visible.ts";

const INTERVAL_MS = 200;
/** Where lines cannot be drawn over, one is written each time so many intervals have passed. */
const INTERVALS_PER_LINE = 25;
/** The rate is that of the last ten seconds. */
const WINDOW = 50;
/** Files that are named. */
const MAX_NAMED = 2;
const MIN_NAMED_BYTES = 8 * 2 ** 20;

/** Draws while an operation runs. */
export class TreeProgress {
  readonly #label: string;
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #canDraw: boolean;
  readonly #samples: { readonly at: number; readonly bytes: number }[] = [];
  /** Bytes of entries that are not done yet. */
  readonly #underWay = new Map<string, number>();
  #total: { readonly entries: number; readonly bytes: number; readonly final: boolean } | undefined;
  #entries = 0;
  #bytes = 0;
  #moved = 0;
  #ticks = 0;

  /** @param label the name of the command */
  constructor(label: string, choice: ProgressChoice) {
    this.#label = label;
    this.#canDraw = isTerminal(2) && process.env.TERM !== "dumb";
    if (choice ?? this.#canDraw) {
      this.#sample();
      this.#timer = setInterval(() => this.#tick(), INTERVAL_MS);
      this.#timer.unref();
    }
  }

  total(entries: number, bytes: number, final: boolean): void {
    this.#total = { entries, bytes, final };
  }

  moved(path: string, bytes: number): void {
    if (this.#timer === undefined) return;
    this.#moved += bytes;
    this.#underWay.set(path, (this.#underWay.get(path) ?? 0) + bytes);
  }

  /** An entry of so many bytes is done, or has failed. */
  ended(path: string, bytes: number): void {
    this.#underWay.delete(path);
    this.#entries++;
    this.#bytes += bytes;
  }

  /** Removes the lines. */
  stop(): void {
    if (this.#timer === undefined) return;
    clearInterval(this.#timer);
    if (this.#canDraw) drawStatus([]);
  }

  #sample(): void {
    this.#samples.push({ at: performance.now(), bytes: this.#moved });
    if (this.#samples.length > WINDOW) this.#samples.shift();
  }

  #tick(): void {
    this.#sample();
    this.#ticks++;
    if (this.#canDraw) {
      const columns = terminalColumns() - 1;
      const lines = [fitting(this.#parts(), columns), ...this.#named(columns)];
      drawStatus(lines.filter((line) => line !== ""));
    } else if (this.#ticks % INTERVALS_PER_LINE === 0) note(this.#parts().join("  "));
  }

  // What matters most comes first: the last are left out where there is no room.
  #parts(): string[] {
    const total = this.#total;
    let underWay = 0;
    for (const bytes of this.#underWay.values()) underWay += bytes;
    const done = this.#bytes + underWay;
    const [first = { at: 0, bytes: 0 }] = this.#samples;
    const last = this.#samples.at(-1) ?? first;
    const rate = last.at > first.at ? ((last.bytes - first.bytes) * 1000) / (last.at - first.at) : 0;
    const of = (text: string | undefined): string =>
      text === undefined ? "" : `/${text}${total?.final === true ? "" : "+"}`;
    const parts = [
      `${this.#label} ${formatCount(this.#entries)}${of(total && formatCount(total.entries))} files`,
      `${formatBytes(done)}${of(total && formatBytes(total.bytes))}`,
    ];
    if (total?.final === true && total.bytes > 0)
      parts.push(`${Math.min(100, Math.floor((100 * done) / total.bytes))} %`);
    parts.push(`${formatBytes(rate)}/s`);
    if (total?.final === true && rate > 0)
      parts.push(`${formatSeconds(Math.max(0, total.bytes - done) / rate)} left`);
    return parts;
  }

  #named(columns: number): string[] {
    return [...this.#underWay]
      .filter(([, bytes]) => bytes >= MIN_NAMED_BYTES)
      .sort(([, a], [, b]) => b - a)
      .slice(0, MAX_NAMED)
      .map(([path, bytes]) => {
        const amount = `  ${formatBytes(bytes).padStart(8)}  `;
        return columns <= amount.length ? "" : `${amount}${fitted(visible(path), columns - amount.length)}`;
      });
  }
}

function fitting(parts: readonly string[], columns: number): string {
  for (let count = parts.length; count > 1; count--) {
    const line = parts.slice(0, count).join("  ");
    if (line.length <= columns) return line;
  }
  return fitted(parts[0] ?? "", columns);
}

/** `1,234` */
export function formatCount(count: number): string {
  return `${count}`.replace(/\B(?=(?:\d{3})+$)/g, ",");
}
