// What a claim is, and the figures that it is computed from.
import type { SubjectResult, TrialResult } from "../result.ts";

/** One promise. */
export interface Claim {
  readonly id: string;
  readonly text: string;
  readonly bar: number;
  readonly higher: boolean;
  readonly unit: string;
  /** Names of the trials that it is computed from. */
  readonly trials: readonly string[];
  /** As many smaller ones, of the default set, that stand for them where those were not run. */
  readonly instead?: readonly string[];
  /** @throws MissingFigure */
  readonly measure: (figures: Figures, trials: readonly string[]) => number;
}

/** Why a claim has no figure. */
export class MissingFigure extends Error {}

/** Figures of a run by the names of trials and subjects. */
export class Figures {
  readonly #trials: ReadonlyMap<string, TrialResult>;

  constructor(trials: readonly TrialResult[]) {
    this.#trials = new Map(trials.map((trial) => [trial.id, trial]));
  }

  /** Whether all of these were run. */
  has(ids: readonly string[]): boolean {
    return ids.every((id) => this.#trials.has(id));
  }
  subject(id: string, name: string): SubjectResult {
    const trial = this.#trials.get(id);
    if (trial === undefined) throw new MissingFigure(`the trial ${id} was not run`);
    const found = trial.subjects.find((subject) => subject.name === name) ?? bestKernel(trial, name);
    if (found === undefined) throw new MissingFigure(`${name} is not in ${id}`);
    if (found.notRun !== undefined) throw new MissingFigure(`${name}: ${found.notRun}`);
    return found;
  }
  /** Units per second, the median. */
  rate(id: string, name = "frameseal native"): number {
    return this.subject(id, name).median ?? Number.NaN;
  }
  ratio(id: string, peer: string, name = "frameseal native"): number {
    return this.rate(id, name) / this.rate(id, peer);
  }
  /** Of the fastest of several subjects that ran. */
  rateOfBest(id: string, names: readonly string[]): number {
    if (!this.has([id])) throw new MissingFigure(`the trial ${id} was not run`);
    const rates = names.flatMap((name) => {
      try {
        return this.rate(id, name);
      } catch (error) {
        if (error instanceof MissingFigure) return [];
        throw error;
      }
    });
    if (rates.length === 0) throw new MissingFigure(`none of ${names.join(", ")} is in ${id}`);
    return Math.max(...rates);
  }
  /** Peak memory in bytes. */
  peak(id: string, name = "frameseal native"): number {
    return given(this.subject(id, name).peakBytes, `${id} has no memory figure`);
  }
  /** What was counted besides. */
  figure(id: string, subject: string, name: string): number {
    return given(this.subject(id, subject).figures?.[name], `${id} has no figure of ${name}`);
  }
  /** Peak of resident memory in the later half of a trial as a share of that in the earlier half, its start left out. */
  memoryGrowth(id: string, name = "frameseal native"): number {
    const { memory = [] } = this.subject(id, name);
    if (memory.length < 20) throw new MissingFigure(`${id} has too few samples of memory`);
    const peakOf = (from: number, to: number): number =>
      Math.max(
        ...memory
          .slice(Math.floor(from * memory.length), Math.floor(to * memory.length))
          .map(({ bytes }) => bytes),
      );
    return peakOf(0.5, 1) / peakOf(0.1, 0.5);
  }
}

function given(value: number | undefined, otherwise: string): number {
  if (value === undefined) throw new MissingFigure(otherwise);
  return value;
}

// Where kernels are measured by name, "frameseal native" is the fastest of them.
function bestKernel(trial: TrialResult, name: string): SubjectResult | undefined {
  return trial.subjects
    .filter((subject) => subject.kind === "frameseal" && subject.name.startsWith(`${name}:`))
    .toSorted((a, b) => (b.median ?? 0) - (a.median ?? 0))[0];
}

/** "64 KiB" for the "64KiB" of names. */
export const spaced = (length: string): string => length.replace(/(?<=\d)(?=[KMG])/, " ");

/** Makes claims of one trial. */
type One = Omit<Claim, "trials" | "instead" | "measure" | "higher"> & {
  readonly trial: string;
  readonly instead?: string;
};
const one = (
  { trial, instead, ...claim }: One,
  higher: boolean,
  measure: (figures: Figures, trial: string) => number,
): Claim => ({
  ...claim,
  higher,
  trials: [trial],
  ...(instead === undefined ? {} : { instead: [instead] }),
  measure: (figures, [id = trial]) => measure(figures, id),
});

type Ratio = Omit<One, "unit"> & { readonly peer: string; readonly name?: string };
/** `name`, by default our native engine, at least `bar` times as fast as `peer`. */
export const faster = ({ peer, name, ...claim }: Ratio): Claim =>
  one({ ...claim, unit: "×" }, true, (figures, trial) => figures.ratio(trial, peer, name));
/** Wall time of `name` at most `bar` times that of `peer`. */
export const slower = ({ peer, name, ...claim }: Ratio): Claim =>
  one({ ...claim, unit: "×" }, false, (figures, trial) => 1 / figures.ratio(trial, peer, name));
/** At least `bar` of what `measure` gives. */
export const atLeast = (claim: One, measure: (figures: Figures, trial: string) => number): Claim =>
  one(claim, true, measure);
/** At most `bar` of what `measure` gives. */
export const atMost = (claim: One, measure: (figures: Figures, trial: string) => number): Claim =>
  one(claim, false, measure);
