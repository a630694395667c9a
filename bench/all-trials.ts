// The whole matrix, and the files that some trials work on.
import type { AnyTrial } from "./run.ts";
import { listBufferTrials } from "./trials/buffer-trials.ts";
import { listFileTrials } from "./trials/file-trials.ts";
import { listKernelTrials } from "./trials/kernel-trials.ts";
import { listRangeTrials } from "./trials/range-trials.ts";
import { listS3Trials } from "./trials/s3-trials.ts";
import { listStartTrials } from "./trials/start-trials.ts";
import { listStepTrials } from "./trials/step-trials.ts";
import { listStreamTrials } from "./trials/stream-trials.ts";
import { WorkFiles } from "./work-files.ts";

const files = new WorkFiles();

/** All trials; files are made when a trial first needs them. */
export function allTrials(): readonly AnyTrial[] {
  const children = [
    ...listStepTrials(files),
    ...listBufferTrials(),
    ...listStreamTrials(),
    ...listRangeTrials(files),
    ...listS3Trials(files),
  ];
  return [
    ...[...listKernelTrials()].map((entry): AnyTrial => ({ kind: "kernels", ...entry })),
    ...children.map((entry): AnyTrial => ({ kind: "children", ...entry })),
    ...[...listFileTrials(files), ...listStartTrials(files)].map(
      (entry): AnyTrial => ({ kind: "programs", ...entry }),
    ),
  ];
}

/** Removes the files. */
export function removeFiles(): void {
  files.remove();
}
