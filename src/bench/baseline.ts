// Before and after: the same trials of two runs.
import type { BenchResult } from "./result.ts";
import { mannWhitney } from "./statistics.ts";

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
  const ratios = changes.flatMap(({ ratioBefore, ratioAfter }) =>
    ratioBefore === undefined || ratioAfter === undefined ? [] : [ratioAfter / ratioBefore],
  );
  const agreeing = ratios.filter((ratio) => ratio >= 0.9 && ratio <= 1 / 0.9).length;
  return [
    ...lines,
    `${agreeing} of ${ratios.length} best-decile ratios agree within 10 %`,
    "(changed: rounds this different have a probability below 1 % if nothing changed; rank test of the rounds)",
  ].join("\n");
}
