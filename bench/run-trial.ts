// One trial: subjects are started, must agree, and then take turns, so that noise hits all alike.
import { Absent, type Adaptor, type TrialOptions } from "./adaptor.ts";
import { bufferAdaptors, streamAdaptors } from "./adaptors/table.ts";
import { Child, type Runtime, thisNode } from "./child-process.ts";
import type { ChildTask } from "./child-protocol.ts";
import type { SubjectResult, TrialResult } from "./result.ts";
import { summary } from "./statistics.ts";

/** One subject of a trial, as it is asked for. */
export interface Subject {
  readonly name: string;
  readonly kind: SubjectResult["kind"];
  readonly adaptor: ChildTask["adaptor"];
  readonly runtime?: Runtime;
  readonly options?: Partial<TrialOptions>;
  /** Calls or streams in flight, by default 1. */
  readonly inFlight?: number;
}

/** A trial whose subjects run in children. */
export interface Trial extends Omit<TrialResult, "subjects"> {
  readonly workload: ChildTask["workload"];
  readonly direction: "seal" | "open" | "set up";
  readonly options: TrialOptions;
  readonly subjects: readonly Subject[];
  /** Makes the file or the address that the subjects work on, before the first of them starts. */
  readonly place?: () => Promise<string>;
  /** Times calls of microseconds with the package `benchmark`. */
  readonly byBenchmark?: boolean;
  readonly memoryEveryMs?: number;
  /** Instead of the run's own. */
  readonly rounds?: number;
}

/** How long to measure. */
export interface Effort {
  readonly rounds: number;
  readonly roundSeconds: number;
}

const AGREEMENT_SIZES: readonly number[] = [1, 4095, 4096, 65_537, 300_000];

/** Measures all subjects. One that cannot run says why; if any two of one format disagree, none has figures. */
export async function runTrial(trial: Trial, effort: Effort): Promise<TrialResult> {
  const place = await trial.place?.();
  const started = await Promise.all(trial.subjects.map((subject) => start(trial, subject, effort, place)));
  const running = started.filter((entry): entry is Running => "child" in entry);
  const samples = new Map<Running, { rates: number[]; cpu: number; wall: number }>();
  const results: SubjectResult[] = [];
  try {
    const disagreement = isExchanging(trial) ? await findDisagreement(trial, running) : undefined;
    if (trial.memoryEveryMs !== undefined)
      for (const { child } of running) child.sampleMemory(trial.memoryEveryMs);
    if (disagreement === undefined)
      for (let round = trial.rounds === 1 ? 1 : 0; round <= (trial.rounds ?? effort.rounds); round++)
        for (const entry of running) {
          const { rate, seconds, cpuSeconds } = await entry.child.round();
          if (round === 0) continue; // until now all worked at once, and each has to find its caches again
          const sum = samples.get(entry) ?? { rates: [], cpu: 0, wall: 0 };
          samples.set(entry, sum);
          sum.rates.push(rate);
          sum.cpu += cpuSeconds;
          sum.wall += seconds;
        }
    for (const entry of started) {
      const { name, kind } = entry.subject;
      if (!("child" in entry)) results.push({ name, kind, notRun: entry.notRun });
      else {
        const { peakBytes, memory, figures } = await entry.child.end();
        const sum = samples.get(entry);
        if (sum === undefined) results.push({ name, kind, notRun: disagreement ?? "no round was run" });
        else
          results.push({
            name,
            kind,
            ...summary(sum.rates),
            cpuSeconds: sum.cpu,
            wallSeconds: sum.wall,
            ...(peakBytes === undefined ? {} : { peakBytes }),
            ...(figures === undefined ? {} : { figures }),
            ...(memory.length === 0 ? {} : { memory }),
          });
      }
    }
  } finally {
    for (const { child } of running) await child.end().catch(() => {});
  }
  const { id, group, title, operation, unit, size, frameLength, threads, suite, reference } = trial;
  const timers = [...new Set(running.flatMap(({ child }) => child.timer ?? []))].join(" or ");
  const timer = timers === "" ? undefined : timers;
  const description = {
    id,
    group,
    title,
    operation,
    unit,
    size,
    frameLength,
    threads,
    suite,
    reference,
    timer,
  };
  return { ...(JSON.parse(JSON.stringify(description)) as typeof trial), subjects: results };
}

// Ranges and transfers check what they read themselves.
const isExchanging = ({ workload }: Trial): boolean =>
  !["ranges", "ranges over HTTP", "S3 transfers", "small S3 objects"].includes(workload);

interface Running {
  readonly subject: Subject;
  readonly child: Child;
}

async function start(
  trial: Trial,
  subject: Subject,
  effort: Effort,
  place: string | undefined,
): Promise<Running | { readonly subject: Subject; readonly notRun: string }> {
  const task: ChildTask = {
    workload: trial.workload,
    adaptor: subject.adaptor,
    operation: trial.direction,
    options: { ...trial.options, ...subject.options, ...(place === undefined ? {} : { place }) },
    inFlight: subject.inFlight ?? 1,
    roundSeconds: effort.roundSeconds,
    unitsPerCall: trial.unit === "bytes" ? trial.options.size : 1,
    byBenchmark: trial.byBenchmark === true,
  };
  try {
    return { subject, child: await Child.start(subject.runtime ?? thisNode, task) };
  } catch (error) {
    if (error instanceof Absent) return { subject, notRun: error.message };
    return { subject, notRun: `failed: ${(error as Error).message}` };
  }
}

// Within a format each opens what the first one made, and the first one opens what each made.
async function findDisagreement(trial: Trial, running: readonly Running[]): Promise<string | undefined> {
  const adaptors: Readonly<Record<string, Pick<Adaptor<unknown>, "format" | "sizes">>> = {
    ...bufferAdaptors,
    ...streamAdaptors,
  };
  const formatOf = ({ subject }: Running): string | undefined => adaptors[subject.adaptor]?.format;
  for (const first of running) {
    const format = formatOf(first);
    if (format === undefined) continue;
    if (running.find((entry) => formatOf(entry) === format) !== first) continue;
    const sizes = adaptors[first.subject.adaptor]?.sizes?.(trial.options) ?? AGREEMENT_SIZES;
    for (const other of running.filter((entry) => formatOf(entry) === format))
      for (const size of sizes)
        try {
          await other.child.accept(size, await first.child.produce(size));
          await first.child.accept(size, await other.child.produce(size));
        } catch (error) {
          const names = `${first.subject.name} and ${other.subject.name}`;
          return `not timed: ${names} disagree at ${size} bytes (${(error as Error).message})`;
        }
  }
  return undefined;
}
