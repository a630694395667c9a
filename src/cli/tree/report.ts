// What a command on a tree tells: records for --json and --log-file, failures and warnings for people, progress, and at
// the end a summary. Nothing that it does can fail an entry: where standard output breaks off, the run ends.
import type { Action, ItemRecord, Report } from "../../backup/report.ts";
import { errorCode, isErrorNamed } from "../../shapes.ts";
import { codeToldOf, describe, exitCodeOf, exitCodes, PartialFailure } from "../failure.ts";
import { beforeSuddenEnd, interruptedExitCode, interruptSignal, timeLimitFailure } from "../interrupt.ts";
import { formatBytes, isTerminal, note, print, printJson } from "../output.ts";
import { formatSeconds } from "../progress.ts";
import { bounded, visible } from "../visible.ts";
import { LogFile } from "./log-file.ts";
import { actionWords, itemRecord, plannedLine, withoutBigints } from "./records.ts";
import { checkReportOptions, type TreeReportOptions } from "./report-options.ts";
import { formatCount, TreeProgress } from "./tree-progress.ts";

/** Lines about failures, and about warnings, on a terminal. */
const MAX_LINES = 20;
/** Failures that the summary names. */
const MAX_NAMED = 10;
const MAX_NAME_LENGTH = 100;

interface Amount {
  entries: number;
  bytes: number;
}
interface NamedFailure {
  readonly path: string;
  readonly error: string;
  readonly code: string | undefined;
}

/** The report of one run. `end` must be called. */
export class TreeReport implements Report {
  /** Aborted when the run has to end: by a signal, or since nobody can be told any more. */
  readonly signal: AbortSignal;
  readonly #command: string;
  readonly #options: TreeReportOptions;
  readonly #progress: TreeProgress;
  #log: LogFile | undefined;
  readonly #stop = new AbortController();
  readonly #done = new Map<Action, Amount>();
  readonly #facts = new Map<string, Readonly<Record<string, unknown>>>();
  readonly #named: NamedFailure[] = [];
  readonly #started = performance.now();
  readonly #isBounded = isTerminal(2);
  readonly #forget: () => void;
  #failed = 0;
  #untrusted = 0;
  #warnings = 0;
  #broken: { readonly error: unknown } | undefined;
  #ended = false;

  /**
   * @param command its name
   * @throws UsageError, errors of the system for a log that cannot be opened
   */
  constructor(command: string, options: TreeReportOptions) {
    checkReportOptions(options);
    this.#command = command;
    this.#options = options;
    this.#log = options.logFile === undefined ? undefined : new LogFile(options.logFile);
    this.signal = AbortSignal.any([interruptSignal, this.#stop.signal]);
    this.#progress = new TreeProgress(command, options.quiet === true ? false : options.progress);
    this.#forget = beforeSuddenEnd(() => this.#summarize(interruptSignal.reason));
  }

  total(entries: number, bytes: number, final: boolean): void {
    this.#progress.total(entries, bytes, final);
  }

  moved(path: string, bytes: number): void {
    this.#progress.moved(path, bytes);
  }

  item(item: ItemRecord): void {
    this.#progress.ended(item.path, item.size ?? 0);
    const { error, action } = item;
    const failed = error !== undefined;
    if (failed && this.#isOfTheEnd(error)) return;
    const untrusted = failed && (item.untrusted === true || exitCodeOf(error) === exitCodes.untrusted);
    if (failed) this.#fail(item.path, error, untrusted);
    else this.#count(action, item.size ?? 0);
    const { json, quiet } = this.#options;
    this.#record(itemRecord(item, untrusted), json === true && (failed || quiet !== true));
    if (item.dryRun === true && !failed && action !== "skip" && json !== true && quiet !== true)
      this.#guarded(() => print(plannedLine(item)));
  }

  warn(text: string, path?: string): void {
    this.#warnings++;
    const { json, quiet } = this.#options;
    this.#record({ record: "warning", text, path }, json === true && quiet !== true);
    if (quiet !== true)
      this.#tell(this.#warnings, `warning: ${path === undefined ? "" : `${path}: `}${text}`);
  }

  fact(record: string, fields: Readonly<Record<string, unknown>>): void {
    this.#facts.set(record, fields);
    const { json, quiet } = this.#options;
    this.#record({ record, ...fields }, json === true && quiet !== true);
  }

  /**
   * Tells what was done.
   * @param failure why the run ended before its end
   * @throws PartialFailure if some entries failed; what is wrong with standard output or the log
   */
  end(failure?: unknown): void {
    if (this.#ended) return;
    this.#forget();
    this.#progress.stop();
    this.#summarize(failure);
    this.#logged((log) => log.close());
    if (failure === undefined && this.#broken === undefined && this.#failed > 0) throw this.#partialFailure();
    // What was aborted for it says less.
    if (this.#broken !== undefined && interruptedExitCode() === undefined) throw this.#broken.error;
  }

  // What is under way when a run is aborted has not failed.
  #isOfTheEnd(error: unknown): boolean {
    if (!this.signal.aborted) return false;
    return (
      error === this.signal.reason || isErrorNamed(error, "AbortError") || errorCode(error) === "ABORTED"
    );
  }

  #count(action: Action, bytes: number): void {
    const amount = this.#done.get(action) ?? { entries: 0, bytes: 0 };
    amount.entries++;
    amount.bytes += bytes;
    this.#done.set(action, amount);
  }

  #fail(path: string, error: unknown, untrusted: boolean): void {
    this.#failed++;
    if (untrusted) this.#untrusted++;
    const text = describe(error);
    if (this.#named.length < MAX_NAMED) this.#named.push({ path, error: text, code: codeToldOf(error) });
    // Errors of the system name the file already, at their beginning. A short name is part of many words.
    const name = visible(path);
    const isNamed = text.startsWith(`${name}: `) || text.split(": ", 1)[0]?.endsWith(`/${name}`) === true;
    this.#tell(this.#failed, isNamed ? text : `${name}: ${text}`);
  }

  #tell(number: number, text: string): void {
    if (!this.#isBounded || number <= MAX_LINES) note(text);
    else if (number === MAX_LINES + 1)
      note("more of the same kind are counted and not shown: --log-file has all");
  }

  #record(record: Readonly<Record<string, unknown>>, isPrinted: boolean): void {
    const value = withoutBigints(record) as Readonly<Record<string, unknown>>;
    this.#logged((log) => log.append(value));
    if (isPrinted) this.#guarded(() => printJson(value));
  }

  // A log that cannot be written ends no backup, but is a failure.
  #logged(write: (log: LogFile) => void): void {
    const log = this.#log;
    if (log === undefined) return;
    try {
      write(log);
    } catch (error) {
      this.#log = undefined;
      this.#fail("--log-file", error, false);
    }
  }

  #guarded(write: () => void): void {
    if (this.#broken !== undefined) return;
    try {
      write();
    } catch (error) {
      this.#broken = { error };
      this.#stop.abort(error);
    }
  }

  #summarize(failure: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    const seconds = (performance.now() - this.#started) / 1000;
    const interrupted =
      interruptedExitCode() ?? (timeLimitFailure() === undefined ? undefined : exitCodes.failed);
    const exitCode = interrupted ?? (failure === undefined ? this.#exitCode() : exitCodeOf(failure));
    if (exitCode === exitCodes.usage) return; // nothing was begun
    const { json, quiet, dryRun } = this.#options;
    this.#record(
      {
        record: "summary",
        command: this.#command,
        ...(dryRun === true ? { dryRun } : {}),
        complete: failure === undefined && interrupted === undefined,
        exitCode,
        done: Object.fromEntries(this.#done),
        failed: this.#failed,
        untrusted: this.#untrusted,
        warnings: this.#warnings,
        seconds: Math.round(seconds * 1000) / 1000,
        ...(failure === undefined ? {} : { error: describe(failure), code: codeToldOf(failure) }),
        failures: this.#named,
        facts: Object.fromEntries(this.#facts),
      },
      json === true,
    );
    if (quiet !== true) note(this.#summaryLine(seconds, interrupted !== undefined));
  }

  #exitCode(): number {
    if (this.#failed === 0) return exitCodes.done;
    return this.#untrusted > 0 ? exitCodes.untrusted : exitCodes.someFailed;
  }

  #summaryLine(seconds: number, interrupted: boolean): string {
    const { dryRun } = this.#options;
    const parts = [...this.#done].map(([action, { entries, bytes }]) => {
      const word =
        dryRun === true && action !== "skip" ? actionWords[action].would : actionWords[action].done;
      return `${formatCount(entries)} ${word}${bytes > 0 ? ` (${formatBytes(bytes)})` : ""}`;
    });
    if (parts.length === 0) parts.push("nothing done");
    if (this.#failed > 0) parts.push(`${formatCount(this.#failed)} failed`);
    if (this.#warnings > 0)
      parts.push(`${formatCount(this.#warnings)} ${this.#warnings === 1 ? "warning" : "warnings"}`);
    const manifest = this.#facts.get("manifest")?.key;
    if (typeof manifest === "string") parts.push(`manifest ${manifest}`);
    const time = seconds < 10 ? `${seconds.toFixed(1)} s` : formatSeconds(seconds);
    return `${this.#command}${interrupted ? " interrupted" : ""}: ${parts.join(", ")} in ${time}`;
  }

  #partialFailure(): PartialFailure {
    const names = this.#named.map(({ path }) => bounded(visible(path), MAX_NAME_LENGTH));
    const more = this.#failed - names.length;
    return new PartialFailure(
      `${formatCount(this.#failed)} failed: ${names.join(", ")}${more > 0 ? `, and ${formatCount(more)} more` : ""}`,
      this.#untrusted > 0,
    );
  }
}

/**
 * Runs an operation that tells a report, to its end.
 * @throws PartialFailure if some entries failed; what `operation` throws
 */
export async function reported(report: TreeReport, operation: () => Promise<void>): Promise<void> {
  try {
    await operation();
  } catch (error) {
    report.end(error);
    throw error;
  }
  report.end();
}
