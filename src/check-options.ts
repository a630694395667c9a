// The one validator of public options, of every entry. A table holds a check for every name of an options type, and
// the compiler refuses a table that lacks one; what a caller gives beyond the table is refused, so that no option is
// accepted and ignored.
import { constants } from "node:buffer";
import { quote, shorten } from "./quote.ts";
import { isAbortSignal, isBytes, isWellFormed } from "./shapes.ts";

/** Refuses a wrong value of the option `name`, or returns the value as it is to be used: copied where it could change. */
export interface Check {
  (name: string, value: unknown): unknown;
  /** Called for `undefined` too, which otherwise stands for the default. */
  readonly needed?: true;
}

/** A check for every name of `Options`. */
export type Checks<Options> = { readonly [Name in keyof Options]-?: Check };

/**
 * Returns a copy of `given`, each option read once and checked. It has every name of the table, those that were not given
 * as undefined: nothing is inherited where it is read.
 * @param what how messages call `given`
 * @throws TypeError, RangeError
 */
export function checkOptions<Options extends object>(
  what: string,
  given: Options,
  checks: Checks<Options>,
): Options {
  checkObject(what, given);
  // Inherited names too: defaults often stand behind an object.
  for (const name in given)
    if (!Object.hasOwn(checks, name) && !isPolluted(given, name)) throw unknownName(what, name, checks);
  return takeOptions(given, checks);
}

/**
 * As `checkOptions`, for an interface whose other implementation ignores what it does not know: of unknown names only
 * those are refused that look like a mistyped one.
 */
export function checkKnownOptions<Options extends object>(
  what: string,
  given: Options,
  checks: Checks<Options>,
): Options {
  checkObject(what, given);
  for (const name in given)
    if (
      !Object.hasOwn(checks, name) &&
      nearest(name, Object.keys(checks)) !== undefined &&
      !isPolluted(given, name)
    )
      throw unknownName(what, name, checks);
  return takeOptions(given, checks);
}

function takeOptions<Options extends object>(given: Options, checks: Checks<Options>): Options {
  const checked: Record<string, unknown> = {};
  for (const [name, check] of rowsOf(checks)) {
    let value = (given as Readonly<Record<string, unknown>>)[name];
    if (value !== undefined && isPolluted(given, name)) value = undefined;
    checked[name] = value === undefined && check.needed !== true ? undefined : check(name, value);
  }
  return checked as Options;
}

type Row = readonly [name: string, check: Check];
const rowsOfTables = new WeakMap<object, readonly Row[]>();

/** A table as it is walked through in each call. */
function rowsOf(checks: object): readonly Row[] {
  let rows = rowsOfTables.get(checks);
  if (rows === undefined) {
    rows = Object.entries(checks as Readonly<Record<string, Check>>);
    rowsOfTables.set(checks, rows);
  }
  return rows;
}

// Options may be of any class, but not of one whose content would be taken for none.
function checkObject(what: string, given: unknown): void {
  if (typeof given === "object" && given !== null) {
    const prototype: unknown = Object.getPrototypeOf(given);
    if (prototype === Object.prototype || prototype === null || hint(given) === "") return;
  }
  throw noObject(what, "an object", given);
}

/** Whether `given` has `name` only because somebody has added it to all objects: that is nobody's option. */
function isPolluted(given: object, name: string): boolean {
  if (Object.hasOwn(given, name)) return false;
  let holder: object | null = given;
  while (holder !== null && !Object.hasOwn(holder, name)) holder = Object.getPrototypeOf(holder);
  return holder !== null && isRoot(holder);
}

/** `Object.prototype`, of any realm. */
function isRoot(prototype: object): boolean {
  return Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, "isPrototypeOf");
}

/** Those of `given` that `checks` has a name for. */
export function pickOptions<Options extends object>(
  given: Partial<Options>,
  checks: Checks<Options>,
): Partial<Options> {
  const picked: Partial<Options> = {};
  for (const [name] of rowsOf(checks) as readonly (readonly [keyof Options, Check])[])
    if (given[name] !== undefined) picked[name] = given[name];
  return picked;
}

/** The same check for an option that has no default. */
export function needed(check: Check): Check {
  return Object.assign((name: string, value: unknown): unknown => check(name, value), {
    needed: true as const,
  });
}

/** No check here: the value is looked at where it is used, before anything is done. */
export const asItIs: Check = (_, value) => value;

/** The same check for an option inside of the option `outer`, which messages name with it. */
export function within(outer: string, check: Check): Check {
  return (name, value) => check(`${outer}.${name}`, value);
}

/** A string that is not empty. */
export const text: Check = (name, value) => {
  if (typeof value !== "string" || value === "") throw wrong(name, "a string that is not empty", value);
  if (!isWellFormed(value)) throw new TypeError(`"${name}" expected well-formed Unicode`);
  return value;
};

export const flag: Check = (name, value) => {
  if (typeof value !== "boolean") throw wrong(name, "true or false", value);
  return value;
};

/** One of a few words. */
export function oneOf(...words: readonly string[]): Check {
  return (name, value) => {
    if (typeof value !== "string" || !words.includes(value))
      throw wrong(name, `one of ${words.join(", ")}`, value);
    return value;
  };
}

/** A whole number within bounds; without `max`, up to what a Buffer can hold. */
export function wholeNumber(min: number, max: number = constants.MAX_LENGTH): Check {
  return (name, value) => {
    const expected = `a whole number from ${min} to ${max}`;
    if (typeof value !== "number") throw wrong(name, expected, value);
    if (!Number.isSafeInteger(value) || value < min || value > max)
      throw new RangeError(`"${name}" expected ${expected}, got ${value}`);
    return value === 0 ? 0 : value; // not -0, which would be shown, and compared by some, as another number
  };
}

export const signal: Check = (name, value) => {
  if (!isAbortSignal(value)) throw wrong(name, "an AbortSignal", value);
  return value;
};

/** Bytes, of any length. */
export const bytes: Check = (name, value) => {
  if (!isBytes(value)) throw wrong(name, "a Uint8Array", value);
  return value;
};

export const callback: Check = (name, value) => {
  if (typeof value !== "function") throw wrong(name, "a function", value);
  return value;
};

/** An object with these functions. */
export function withFunctions(kind: string, ...functions: readonly string[]): Check {
  return (name, value) => {
    const has = (each: string): boolean =>
      typeof (value as Readonly<Record<string, unknown>>)[each] === "function";
    if (typeof value !== "object" || value === null || !functions.every(has))
      throw wrong(name, `${kind}, with ${functions.join(", ")}`, value);
    return value;
  };
}

/** Pairs of strings in a plain object; a copy of them. */
export const pairs: Check = (name, value) => {
  if (typeof value !== "object" || value === null || !isPlain(value))
    throw noObject(name, "a plain object of strings", value);
  const copy: Record<string, string> = Object.create(null);
  for (const [key, each] of Object.entries(value)) {
    if (typeof each !== "string")
      throw new TypeError(`"${name}" expected strings as values, got ${describe(each)}`);
    copy[key] = each;
  }
  return Object.freeze(copy);
};

/** Values in an array; a frozen copy of it. */
export function listOf(check: Check): Check {
  return (name, value) => {
    if (!Array.isArray(value)) throw wrong(name, "an array", value);
    return Object.freeze(Array.from(value, (each: unknown) => check(name, each))); // holes are undefined
  };
}

/** The same, for an array that is not empty. */
export function filledListOf(check: Check): Check {
  return (name, value) => {
    const list = listOf(check)(name, value) as readonly unknown[];
    if (list.length === 0) throw new RangeError(`"${name}" expected at least one, got none`);
    return list;
  };
}

/** Strings in an array; a frozen copy of it. */
export const listOfStrings: Check = listOf((name, value) => {
  if (typeof value !== "string") throw wrong(name, "strings", value);
  return value;
});

/** The error for a value that is something else than it should be. */
export function wrong(name: string, expected: string, value: unknown): TypeError {
  return new TypeError(`"${name}" expected ${expected}, got ${describe(value)}`);
}

/** The same where an object was to be given whose own names count. */
function noObject(name: string, expected: string, value: unknown): TypeError {
  return new TypeError(`"${name}" expected ${expected}, got ${describe(value)}${hint(value)}`);
}

/** A value in a message. Short words are shown, because they tell what was mistyped; long ones could be keys. */
export function describe(value: unknown): string {
  if (value === null) return "null";
  if (typeof value === "string" && /^[\w .-]{0,24}$/.test(value)) return JSON.stringify(value);
  if (typeof value === "number") return String(value);
  if (Array.isArray(value)) return "an array";
  if (typeof value !== "object" || isPlain(value)) return typeof value;
  const tag = tagOf(value);
  return tag === "Object" ? "an instance of a class" : `${/^[AEIOU]/.test(tag) ? "an" : "a"} ${tag}`;
}

/** What to write instead of values whose own names say nothing. */
function hint(value: unknown): string {
  if (typeof value !== "object" || value === null) return "";
  const tag = tagOf(value);
  if (tag === "Map") return ": give Object.fromEntries(map)";
  if (tag === "Headers" || tag === "URLSearchParams" || tag === "FormData")
    return ": give Object.fromEntries(it)";
  return /^(Array|Set|WeakMap|Promise)$/.test(tag) ? ": give a plain object" : "";
}

function tagOf(value: object): string {
  return shorten(Object.prototype.toString.call(value).slice("[object ".length, -1), 40);
}

// An object literal of any realm, or an object without prototype: what it has, it has itself.
function isPlain(value: object): boolean {
  const prototype: object | null = Object.getPrototypeOf(value);
  return (
    prototype === null || prototype === Object.prototype || (tagOf(value) === "Object" && isRoot(prototype))
  );
}

function unknownName(what: string, name: string, checks: object): TypeError {
  const near = nearest(name, Object.keys(checks));
  const shown = /^[\w.-]{1,60}$/.test(name) ? name : quote(name, 40);
  return new TypeError(
    `"${what}" expected only known names, got ${shown}${near === undefined ? "" : `: did you mean ${near}?`}`,
  );
}

/** The name that takes the fewest changes, unless that is nearly all of it. */
export function nearest(name: string, names: readonly string[]): string | undefined {
  const given = name.slice(0, 60).toLowerCase();
  const ranked = names
    .map((each) => ({ each, distance: distanceOf(given, each.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  const [best] = ranked;
  return best !== undefined && best.distance <= Math.max(2, given.length / 3) ? best.each : undefined;
}

/** Letters to insert, remove or replace. */
function distanceOf(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++)
      next[j] = Math.min(
        (row[j] ?? 0) + 1,
        (next[j - 1] ?? 0) + 1,
        (row[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1),
      );
    row = next;
  }
  return row[to.length] ?? 0;
}
