// Rows of verify -r.
import { type Kind, ofTrees, type Row, row } from "../../support/option-rows.ts";

const of = ["verify"];
const trees = { line: ofTrees() };

export const rows: readonly Row[] = [
  row(of, "--manifest latest", /^request GET .*\/\.frameseal\/runs\/00000001\?/m, trees),
  row(of, "--sample 0%", undefined, { hides: /^request GET .*\/tree\/a\.txt\?/m, ...trees }),
  row(of, "--seed other", /"seed":"other"/, { line: ofTrees({ more: "--sample 1 --json" }) }),
];

export const kinds: Readonly<Record<string, Kind>> = {
  runs: {
    of: ["--manifest"],
    junk: ["0", "-1", "newest", "1.5", "123456789", "\u001b[2J"],
    says: /the number of a run, or latest/,
  },
  samples: {
    of: ["--sample"],
    junk: ["101%", "-1%", "5 %", "half", "1e3", "%", "\u001b[2J"],
    says: /a share such as 5%, or how many/,
  },
  free: { of: ["--seed"] },
};
