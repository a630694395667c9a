// How many bytes a second are allowed, by the hours of a week: `10M`, or `08:00,1M 19:00,off`, or with days
// `Mon-08:00,512K Sat-00:00,off`, as rclone writes it.

/** A rate that begins at a minute of the week. */
interface Line {
  /** Minutes since Sunday 00:00. */
  readonly from: number;
  readonly rate: number;
}

/** Lines in the order of the week, at least one. */
export type Timetable = readonly Line[];

const DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"] as const;
const MINUTES_OF_DAY = 24 * 60;
const UNLIMITED = Number.POSITIVE_INFINITY;
/** Below, requests would take so long that servers give them up. */
const LEAST_RATE = 1024;
const MULTIPLIERS: Readonly<Record<string, number>> = { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

/**
 * Reads a rate or a timetable. K is 1,024; a number alone is bytes.
 * @throws RangeError that says what was expected
 */
export function parseTimetable(text: string): Timetable {
  const words = text.split(/\s+/).filter((word) => word !== "");
  const [only = ""] = words;
  if (words.length === 1 && !only.includes(",")) return [{ from: 0, rate: rateOf(only) }];
  const rates = new Map<number, number>();
  for (const word of words)
    for (const { from, rate } of linesOf(word)) {
      if (rates.has(from)) throw new RangeError("a time is given twice");
      rates.set(from, rate);
    }
  if (rates.size === 0) throw new RangeError(EXPECTED);
  return [...rates].map(([from, rate]) => ({ from, rate })).sort((a, b) => a.from - b.from);
}

const EXPECTED = "expected a rate such as 10M, off, or times with rates such as 08:00,1M Sat-00:00,off";

// A time without a day is one of every day.
function linesOf(word: string): Line[] {
  const match = /^(?:([a-z]{3})-)?([01][0-9]|2[0-3]):([0-5][0-9]),(.+)$/i.exec(word);
  if (match === null) throw new RangeError(EXPECTED);
  const [, day, hours, minutes, text = ""] = match;
  const rate = rateOf(text);
  const days = day === undefined ? DAYS : DAYS.filter((each) => each === day.toLowerCase());
  if (days.length === 0) throw new RangeError(`a day is one of ${DAYS.join(", ")}`);
  return days.map((each) => ({
    from: DAYS.indexOf(each) * MINUTES_OF_DAY + Number(hours) * 60 + Number(minutes),
    rate,
  }));
}

/** Bytes a second. */
function rateOf(text: string): number {
  if (text.toLowerCase() === "off") return UNLIMITED;
  const match = /^([0-9]{1,9}(?:\.[0-9]{1,6})?)([KMG]?)(?:i?B)?$/i.exec(text);
  const rate = Number(match?.[1]) * (MULTIPLIERS[match?.[2]?.toUpperCase() ?? ""] ?? Number.NaN);
  if (Number.isNaN(rate)) throw new RangeError(EXPECTED);
  if (rate < LEAST_RATE) throw new RangeError("a rate is at least 1K, that is 1,024 bytes a second");
  return rate;
}

/** The rate in bytes a second at a moment of local time; infinite for none. */
export function rateAt(timetable: Timetable, moment: Date): number {
  const minute = moment.getDay() * MINUTES_OF_DAY + moment.getHours() * 60 + moment.getMinutes();
  // Before the first line of a week the last one of the week before still holds.
  const line = timetable.findLast(({ from }) => from <= minute) ?? timetable.at(-1);
  return line?.rate ?? UNLIMITED;
}
