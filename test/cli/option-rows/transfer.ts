// What can be typed for the options of how much of the network operations on trees take.
import type { Kind } from "../../support/option-rows.ts";

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
