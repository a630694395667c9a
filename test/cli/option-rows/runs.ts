// Rows of what runs on trees take of network and memory, and of what they remember.
import { ofTrees, type Place, type Row, row } from "../../support/option-rows.ts";

const runs = ["put", "get", "sync", "verify"];
const trees = { line: ofTrees() };

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
  row(["get", "verify"], "--memory 1M", undefined, { hides: /^at once 4$/m, ...trees }),
  // The least there is takes one small file at a time.
  row(["sync"], "--memory 1M", undefined, { hides: /^at once 2$/m, ...trees }),
  row(runs, "--bwlimit 16K", /^timer [0-9]+\.[0-9]/m, trees),
  row(runs, "--retries 0", /^exit 4\n/, { before: busy, ...trees }),
  row(runs, "--journal kept", /^file kept /m, trees),
  row(runs, "--no-journal", undefined, { hides: /^file state\/frameseal/m, ...trees }),
];
