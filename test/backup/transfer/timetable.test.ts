// Rates by the hours of a week.
import { expect, test } from "vitest";
import { parseTimetable, rateAt } from "../../../src/backup/transfer/timetable.ts";

const M = 2 ** 20;
/** Local time; the 1st of March 2026 is a Sunday. */
const at = (day: number, hours: number, minutes = 0): Date => new Date(2026, 2, 1 + day, hours, minutes);

test.each([
  ["10M", at(0, 0), 10 * M],
  ["10m", at(3, 5), 10 * M],
  ["1.5M", at(3, 5), 1.5 * M],
  ["1500000", at(0, 0), 1_500_000],
  ["512KiB", at(0, 0), 512 * 1024],
  ["off", at(0, 0), Number.POSITIVE_INFINITY],
  ["08:00,1M 19:00,off", at(2, 8), M],
  ["08:00,1M 19:00,off", at(2, 18, 59), M],
  ["08:00,1M 19:00,off", at(2, 19), Number.POSITIVE_INFINITY],
  ["08:00,1M 19:00,off", at(0, 0), Number.POSITIVE_INFINITY],
  ["  19:00,off\t08:00,1M ", at(2, 8), M],
  ["Mon-08:00,512K Fri-18:00,4M", at(1, 7, 59), 4 * M],
  ["Mon-08:00,512K Fri-18:00,4M", at(1, 8), 512 * 1024],
  ["Mon-08:00,512K Fri-18:00,4M", at(5, 17, 59), 512 * 1024],
  ["Mon-08:00,512K Fri-18:00,4M", at(6, 12), 4 * M],
  ["Mon-08:00,512K Fri-18:00,4M", at(0, 12), 4 * M],
  ["08:00,1M sat-09:00,off", at(6, 8, 30), M],
  ["08:00,1M sat-09:00,off", at(6, 9), Number.POSITIVE_INFINITY],
  ["08:00,1M sat-09:00,off", at(0, 8), M],
])("%s at %s", (text, moment, rate) => expect(rateAt(parseTimetable(text), moment)).toBe(rate));

test.each([
  "",
  " ",
  "fast",
  "10X",
  "-1",
  "0",
  "1023",
  "1e9",
  "08:00",
  "8:00,1M",
  "24:00,1M",
  "08:60,1M",
  "08:00,",
  "08:00,fast",
  "Xyz-08:00,1M",
  "08:00,1M 08:00,2M",
  "Mon-08:00,1M 08:00,2M",
  "10M 08:00,1M",
  "08:00,1M,2M",
])("%j is refused", (text) => expect(() => parseTimetable(text)).toThrow(RangeError));
