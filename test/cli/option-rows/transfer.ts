// Rows of how much of network and memory operations on trees take.
import { rmSync } from "node:fs";
import path from "node:path";
import { type Kind, ofTrees, type Place, type Row, row } from "../../support/option-rows.ts";

const of = ["put", "get", "verify"];
const readers = ["get", "verify"];

/** Nothing is remembered of the rows before. */
function forget({ folder }: Place): void {
  rmSync(path.join(folder, "state"), { recursive: true, force: true });
}

/** More failures than the SDK gets over, and fewer than a run with retries. */
const failing =
  (method: string, key: string, times: number) =>
  (place: Place): void => {
    forget(place);
    let left = times;
    place.server.fault = (call) =>
      call.method === method && call.key === key && left-- > 0
        ? { kind: "error", status: 503, code: "SlowDown" }
        : undefined;
  };
const trees = { line: ofTrees(), before: forget };

export const rows: readonly Row[] = [
  row(["put"], "--transfers 1", undefined, { ...trees, hides: /^at once 2$/m }),
  row(readers, "--transfers 1", undefined, { ...trees, hides: /^at once 3$/m }),
  row(readers, "--memory 1M", undefined, { ...trees, hides: /^at once 3$/m }),
  row(of, "--bwlimit 64K", /^timer [0-9]+\.[0-9]/m, trees),
  row(["put"], "--retries 0", /^exit 4\n/, { ...trees, before: failing("PUT", "new/a.txt", 4) }),
  row(readers, "--retries 0", /^exit 4\n/, { ...trees, before: failing("GET", "tree/a.txt", 20) }),
];

export const kinds: Readonly<Record<string, Kind>> = {
  counts: { of: ["--transfers"] },
  retries: {
    of: ["--retries"],
    junk: ["-1", "1.5", "101", "many", "1e1", " ", "0x1"],
    says: /whole number from 0 to 100/,
  },
  rates: {
    of: ["--bwlimit"],
    junk: ["0", "fast", "10X", "-1", "08:00", "25:00,1M", "08:00,1M 08:00,2M", "Xyz-08:00,1M", "\u001b[2J"],
    says: /rate|time|day/,
  },
};
