// Rows of what runs on trees take of network and memory, and of what they remember.
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { run } from "../../../src/cli/program.ts";
import { type Kind, ofTrees, type Place, type Row, row } from "../../support/option-rows.ts";

const runs = ["put", "get", "sync", "verify"];
const trees = { line: ofTrees() };

/** Files that are longer than the least memory, in the tree and in the bucket. Without it several are on their way at once. */
async function storeLong({ server }: Place): Promise<void> {
  for (let at = 0; at < 6; at++) writeFileSync(`tree/long-${at}`, randomBytes(1_200_000));
  const words = ["put", "-r", "-k", "a.jwk", "--quiet", "--no-journal", "tree", "s3://bucket/tree/"];
  await run([...words, "--endpoint", server.endpoint]);
}

/** Each object fails once, in the words of a busy server. */
function busy({ server }: Place): void {
  const failed = new Set<string>();
  server.fault = ({ key = "" }) => {
    if (!key.endsWith("a.txt") || failed.size > 3) return undefined;
    failed.add(`${key} ${failed.size}`);
    return { kind: "error", status: 503, code: "SlowDown" };
  };
}

export const rows: readonly Row[] = [
  row(runs, "--transfers 1", undefined, { hides: /^at once 2$/m, ...trees }),
  row(["get", "sync", "verify"], "--memory 1M", /"peakMemory":[12]\d{6}\D/, {
    line: ofTrees({ more: "--json" }),
    before: storeLong,
  }),
  row(runs, "--bwlimit 16K", /^timer [0-9]+\.[0-9]/m, trees),
  row(runs, "--retries 0", /^exit 4\n/, { before: busy, ...trees }),
  row(runs, "--journal kept", /^file kept /m, trees),
  row(runs, "--no-journal", undefined, { hides: /^file state\/frameseal/m, ...trees }),
];

export const kinds: Readonly<Record<string, Kind>> = {
  counts: { of: ["--transfers"] },
  retries: {
    of: ["--retries"],
    junk: ["NaN", "1e3", "-1", "0x10", "1.5", " ", " 1", "1 ", "+1", "101", "9".repeat(30), "\u0661", "null"],
    says: /whole number from 0 to 100/,
  },
  rates: {
    of: ["--bwlimit"],
    junk: ["NaN", "1e3", "-1", "0x10", " ", "1X", "24:00,1M", "08:00", "08:00,", "08:00,1M 08:00,2M", "null"],
  },
  free: { of: ["--log-file"] },
};
