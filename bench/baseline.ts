// Before and after: the same trials of two runs.
import type { BenchResult } from "./result.ts";
import { mannWhitney, median } from "./statistics.ts";

/** How far apart the best-decile ratios of two runs of the same thing may be. */
const AGREEMENT = 0.1;

/** One subject of one trial in both runs. */
export interface Change {
  readonly trial: string;
  readonly subject: string;
  readonly before: number;
  readonly after: number;
  /** Probability of such a difference between two runs of the same thing; see `mannWhitney`. */
  readonly probability: number;
  /** Best tenth of both runs, as a ratio to the reference subject of the trial: what noise moves least. */
  readonly ratioBefore?: number;
  readonly ratioAfter?: number;
}

/** What both runs measured. */
export function compareRuns(before: BenchResult, after: BenchResult): Change[] {
  const old = new Map(before.trials.map((trial) => [trial.id, trial]));
  return after.trials.flatMap((trial) =>
    trial.subjects.flatMap((subject): Change[] => {
      const oldTrial = old.get(trial.id);
      const oldSubject = oldTrial?.subjects.find(({ name }) => name === subject.name);
      if (oldSubject?.median === undefined || subject.median === undefined) return [];
      const change = {
        trial: trial.id,
        subject: subject.name,
        before: oldSubject.median,
        after: subject.median,
        probability: mannWhitney(oldSubject.samples ?? [], subject.samples ?? []),
      };
      const bestOf = (run: typeof trial | undefined): number | undefined =>
        run?.subjects.find(({ name }) => name === trial.reference)?.best;
      const [oldReference, newReference] = [bestOf(oldTrial), bestOf(trial)];
      if (oldReference === undefined || newReference === undefined || subject.name === trial.reference)
        return [change];
      return [
        {
          ...change,
          ratioBefore: (oldSubject.best ?? Number.NaN) / oldReference,
          ratioAfter: (subject.best ?? Number.NaN) / newReference,
        },
      ];
    }),
  );
}

/** The table of both runs, and how many ratios agree within a tenth. */
export function changesText(changes: readonly Change[]): string {
  if (changes.length === 0) return "The two runs have no trial in common.";
  const width = Math.max(...changes.map(({ trial, subject }) => trial.length + subject.length)) + 2;
  const lines = changes.map(({ trial, subject, before, after, probability }) => {
    const percent = (after / before - 1) * 100;
    const note = probability < 0.01 ? "changed" : probability < 0.05 ? "perhaps changed" : "within noise";
    return `${`${trial} ${subject}`.padEnd(width)} ${percent >= 0 ? "+" : ""}${percent.toFixed(1).padStart(6)} %  ${note}`;
  });
  const ratios = changes.flatMap(({ trial, subject, ratioBefore, ratioAfter }) =>
    ratioBefore === undefined || ratioAfter === undefined
      ? []
      : [{ name: `${trial} ${subject}`, factor: ratioAfter / ratioBefore }],
  );
  const apart = ({ factor }: { factor: number }): number => Math.max(factor, 1 / factor) - 1;
  const agreeing = ratios.filter((ratio) => apart(ratio) <= AGREEMENT).length;
  const others = ratios.filter((ratio) => apart(ratio) > AGREEMENT).toSorted((a, b) => apart(b) - apart(a));
  const middle = ratios.length === 0 ? 0 : median(ratios.map(apart));
  return [
    ...lines,
    "(changed: rounds this different have a probability below 1 % if nothing changed; rank test of the rounds)",
    "",
    `${agreeing} of ${ratios.length} best-decile ratios agree within 10 %; the median difference is ${(middle * 100).toFixed(1)} %`,
    ...others.map(({ name, factor }) => `  not: ${name} ${(factor * 100 - 100).toFixed(0)} %`),
  ].join("\n");
}
