// The whole matrix, and the files that some trials work on.
import { listProgramTrials } from "./program-trials.ts";
import type { AnyTrial } from "./run.ts";
import { listTrials } from "./trials.ts";
import { WorkFiles } from "./work-files.ts";

const files = new WorkFiles();

/** All trials; files are made when a trial first needs them, and are larger in the full set. */
export function allTrials(full: boolean): readonly AnyTrial[] {
  return [
    ...listTrials(files).map(({ trial, full }): AnyTrial => ({ kind: "children", full, trial })),
    ...listProgramTrials(files, full).map(({ trial, full }): AnyTrial => ({ kind: "programs", full, trial })),
  ];
}

/** Removes the files. */
export function removeFiles(): void {
  files.remove();
}
