// Rows of what commands on trees tell, and of -r.
import { done, ofTrees, type Row, row, treeLine } from "../../support/option-rows.ts";

const recursive = ["put", "get", "verify", "rewrap"];
/** A line that does one thing to a tree, of which an option changes what is told. */
const trees = { line: ofTrees() };
/** What a run says at its end. */
const summary = /: (\d+ \w+|nothing done)[^\n]* in [\d.]+ s$/m;

export const rows: readonly Row[] = [
  row(recursive, "--recursive", done, { line: (command) => treeLine(command).replace(" -r ", " ") }),
  row(["put", "get", "rewrap"], "--dry-run", /^out \d+ would /m, trees),
  row(["reencrypt", "rm"], "--dry-run", /^out \d+ would /m, trees),
  row([...recursive, "reencrypt"], "--quiet", undefined, { hides: summary, ...trees }),
  row([...recursive, "reencrypt"], "--log-file log", /^file log \d+ bytes /m, trees),
];
