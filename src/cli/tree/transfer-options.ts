// Options that say how much of the network and of the memory an operation on a tree takes.
import type { Command } from "commander";
import { parseTimetable, type Timetable } from "../../backup/transfer/timetable.ts";
import { isErrorNamed } from "../../shapes.ts";
import { UsageError } from "../failure.ts";
import { parseSize } from "../values.ts";

/** What `addTransferOptions` adds. */
export interface TransferOptions {
  readonly transfers?: number;
  readonly memory?: number;
  readonly bwlimit?: Timetable;
  readonly retries?: number;
}

/** What holds where nothing is given. */
export const TRANSFER_DEFAULTS = { transfers: 64, memory: 256 * 2 ** 20, retries: 5 } as const;

/** Adds them; `put` has `--memory` already. */
export function addTransferOptions(command: Command): Command {
  command.option(
    "--transfers <count>",
    "requests in flight at most; fewer when the server is busy (default: 64)",
    wholeNumber(1, 1000),
  );
  if (!command.options.some(({ long }) => long === "--memory"))
    command.option("--memory <bytes>", "for all that is in flight (default: 256M)", parseMemory);
  return command
    .option(
      "--bwlimit <rate>",
      "bytes a second, up and down together: 10M, or '08:00,1M 19:00,off'",
      parseRate,
    )
    .option("--retries <count>", "how often a file is tried again (default: 5)", wholeNumber(0, 100));
}

function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const count = /^[0-9]{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (!(count >= min && count <= max))
      throw new UsageError(`expected a whole number from ${min} to ${max}`);
    return count;
  };
}

function parseMemory(text: string): number {
  const size = parseSize(text);
  if (size < LEAST_MEMORY) throw new UsageError("expected at least 1M");
  return size;
}
const LEAST_MEMORY = 2 ** 20;

function parseRate(text: string): Timetable {
  try {
    return parseTimetable(text);
  } catch (error) {
    throw isErrorNamed(error, "RangeError") ? new UsageError(error.message) : error;
  }
}
