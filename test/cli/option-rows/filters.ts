// Rows of what chooses entries of a tree.
import { writeFileSync } from "node:fs";
import { type Kind, ofTrees, type Row, row } from "../../support/option-rows.ts";

const all = ["get", "rm"];
const a = /^(?:stored new|file out|removed tree)\/a\.txt/m;
const hidesA = { line: ofTrees(), hides: a };

export const rows: readonly Row[] = [
  row(all, "--exclude a.txt", undefined, hidesA),
  row(all, "--include a.txt", a, { line: ofTrees({ more: "--exclude *.txt" }) }),
  row(all, "--exclude-from rules", undefined, {
    ...hidesA,
    before: () => writeFileSync("rules", "*.txt\n"),
  }),
];

export const kinds: Readonly<Record<string, Kind>> = {
  words: { of: ["--links"] },
  free: { of: ["--exclude", "--include", "--files-from", "--files-from0"] },
  files: { of: ["--exclude-from"] },
};
