// Removes from a folder what a bucket does not have: only after the bucket was listed to its end, and never what filters
// exclude.
import { throwIfAborted } from "../errors.ts";
import type { GetResult } from "./get-tree.ts";
import { type ExtraneousOptions, extraneousIn } from "./local/extraneous.ts";
import type { Report } from "./report.ts";

/** What it needs of the context of an operation. */
export interface ExtraneousContext {
  readonly report: Report;
  readonly signal: AbortSignal;
  readonly dryRun: boolean;
}

/** Removes it. Nothing at all if there is doubt about what the bucket has, which is told. */
export async function removeExtraneous(
  { report, signal, dryRun }: ExtraneousContext,
  { target, paths, isComplete }: GetResult,
  filters: ExtraneousOptions["filters"],
): Promise<void> {
  if (!isComplete)
    return report.warn("some names in the bucket could not be read, so nothing is deleted here");
  if (target === undefined) return report.warn("there is nothing in the bucket, so nothing is deleted here");
  const isWanted = (path: string): boolean => paths.has(path);
  const extraneous = extraneousIn({ root: target.root, isWanted, signal, ...(filters && { filters }) });
  for await (const { path, type, size } of extraneous) {
    throwIfAborted(signal);
    const record = { action: "delete", path, type, size, reason: "not in the bucket" } as const;
    try {
      if (!dryRun) {
        await target.remove(path, type);
        await target.removeEmptyParents(path, isWanted);
      }
      report.item({ ...record, ...(dryRun ? { dryRun } : {}) });
    } catch (error) {
      throwIfAborted(signal);
      report.item({ ...record, error });
    }
  }
}
