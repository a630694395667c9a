// --manifest: which run of a tree is meant.
import type { Command } from "commander";
import { UsageError } from "../failure.ts";

/** What `addManifestOption` adds. */
export interface ManifestOption {
  readonly manifest?: number | "latest";
}

/** Adds the option. @param what what is done with the run */
export function addManifestOption(command: Command, what: string): Command {
  return command.option("--manifest <run|latest>", what, parseRun);
}

function parseRun(text: string): number | "latest" {
  if (text === "latest") return text;
  const run = /^[0-9]{1,8}$/.test(text) ? Number(text) : 0;
  if (run > 0) return run;
  throw new UsageError("expected the number of a run, or latest");
}
