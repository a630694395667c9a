// What encrypt, decrypt and verify share: which ends they work on, progress, and the summary.

import type { FileResult } from "../file/file.ts";
import type { FileEnd } from "../file/source.ts";
import { formatSuiteId } from "../format/suite.ts";
import { refuseClosed } from "./closed.ts";
import { UsageError } from "./failure.ts";
import { interruptSignal } from "./interrupt.ts";
import { printJson } from "./output.ts";
import { Progress, type ProgressChoice } from "./progress.ts";

/** Options of these commands besides keys and messages. */
export interface FileCommandOptions {
  readonly output?: string;
  readonly force?: boolean;
  readonly sync?: boolean;
  readonly progress?: ProgressChoice;
  readonly json?: boolean;
}

/** Options that the library's file operations take. */
export interface FileOperationOptions {
  readonly overwrite: "refuse" | "replace";
  readonly sync: "full" | "none";
  readonly signal: AbortSignal;
  readonly onProgress: (done: number, total: number | undefined) => void;
}

/** Standard input for nothing, `-` and its device files. */
export function inputOf(name: string | undefined): FileEnd {
  if (name?.startsWith("s3://") === true)
    throw new UsageError("this command reads files: frameseal get and cat decrypt objects of S3");
  if (name !== undefined && name !== "-" && name !== "/dev/stdin" && name !== "/dev/fd/0") return name;
  refuseClosed(0);
  return 0;
}

/** Standard output for nothing, `-` and its device files, which are symbolic links on some systems. */
export function outputOf(name: string | undefined): FileEnd {
  if (name?.startsWith("s3://") === true)
    throw new UsageError("this command writes files: frameseal put encrypts into objects of S3");
  if (name !== undefined && name !== "-" && name !== "/dev/stdout" && name !== "/dev/fd/1") return name;
  refuseClosed(1);
  return 1;
}

/** Runs one operation with progress and prints what it did, if that was asked for. */
export async function runFileCommand(
  label: string,
  from: FileEnd,
  to: FileEnd | undefined,
  options: FileCommandOptions,
  operation: (options: FileOperationOptions) => Promise<FileResult>,
): Promise<void> {
  const progress = new Progress(label, options.progress);
  let result: FileResult;
  try {
    result = await operation({
      overwrite: options.force === true ? "replace" : "refuse",
      sync: options.sync === false ? "none" : "full",
      signal: interruptSignal,
      onProgress: (done, total) => progress.update(done, total),
    });
  } finally {
    progress.stop();
  }
  if (options.json === true) printSummary(from, to, result);
}

// Standard output belongs to the data where that goes there.
function printSummary(from: FileEnd, to: FileEnd | undefined, result: FileResult): void {
  const { header, bytesRead, bytesWritten, plaintextLength, durability } = result;
  const summary = {
    input: from === 0 ? "-" : from,
    ...(to === undefined ? {} : { output: to === 1 ? "-" : to, bytesWritten, durability }),
    bytesRead,
    plaintextLength,
    suite: formatSuiteId(header.suite.id),
    frameLength: header.frameLength,
    encryptionContext: header.encryptionContext,
  };
  printJson(summary, to === 1 ? 2 : 1);
}
