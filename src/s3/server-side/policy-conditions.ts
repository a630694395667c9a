// Whether the conditions of a statement hold for a kind of request of which only some values are known.
import { matches } from "./policy-patterns.ts";
import type { Condition } from "./policy-statements.ts";

/** `depends` on what is not known of the request; `unclear` when a condition cannot be interpreted here. */
export type Truth = "yes" | "no" | "depends" | "unclear";

/** What is known of the value that a request has for a condition key. */
export type KnownValue = { readonly value: string } | "absent" | "some value";

/** What is known of a kind of request: by names of condition keys in small letters. Others may have any value, or none. */
export type KnownValues = Readonly<Record<string, KnownValue>>;

type Test = (value: string, wanted: string) => boolean;
const isEqual: Test = (value, wanted) => value === wanted;
const isLike: Test = (value, wanted) => matches(wanted, value);
/** Operators that are evaluated, and the test of each. Null is one of its own. */
const TESTS: Readonly<Record<string, Test>> = {
  StringEquals: isEqual,
  StringEqualsIgnoreCase: (value, wanted) => value.toLowerCase() === wanted.toLowerCase(),
  StringLike: isLike,
  Bool: (value, wanted) => value.toLowerCase() === wanted.toLowerCase(),
};
/** Operators whose values are not compared here. They are known for what an absent key means to them. */
const OTHERS: ReadonlySet<string> = new Set([
  ...["Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals"].flatMap(
    (end) => [`Numeric${end}`, `Date${end}`],
  ),
  ...["Equals", "NotEquals", "Like", "NotLike"].map((end) => `Arn${end}`),
  "IpAddress",
  "NotIpAddress",
  "BinaryEquals",
]);

/** The parts of an operator's name. */
export interface Operator {
  /** `ForAnyValue` or `ForAllValues`. */
  readonly set: string | undefined;
  /** Without `Not`. */
  readonly base: string;
  readonly isNegated: boolean;
  readonly ifExists: boolean;
  readonly isKnown: boolean;
}

/** Reads the name of an operator. */
export function readOperator(name: string): Operator {
  const [, set, test = "", ifExists] = /^(?:(ForAnyValue|ForAllValues):)?(.*?)(IfExists)?$/s.exec(name) ?? [];
  const base = test.replace(/^(String|Arn|Numeric|Date)Not|^Not(?=Ip)/, "$1");
  const isNull = base === "Null" && set === undefined && ifExists === undefined;
  return {
    set,
    base,
    isNegated: base !== test,
    ifExists: ifExists !== undefined,
    isKnown: isNull || Object.hasOwn(TESTS, base) || OTHERS.has(test),
  };
}

/** Whether all conditions hold. */
export function allHold(conditions: readonly Condition[], known: KnownValues): Truth {
  return allOf(conditions.map((condition) => holds(condition, known)));
}

/** All of several. */
export function allOf(truths: readonly Truth[]): Truth {
  for (const truth of ["no", "unclear", "depends"] as const) if (truths.includes(truth)) return truth;
  return "yes";
}

function holds({ operator, key, values }: Condition, known: KnownValues): Truth {
  const name = key.toLowerCase();
  const value = Object.hasOwn(known, name) ? known[name] : undefined;
  const { set, base, isNegated, ifExists, isKnown } = readOperator(operator);
  if (!isKnown) return "unclear";
  if (base === "Null") return isAbsent(value, values);
  if (value === undefined) return "depends";
  if (value === "absent") {
    if (set !== undefined && ifExists) return "unclear";
    if (set !== undefined) return set === "ForAllValues" ? "yes" : "no";
    return ifExists || isNegated ? "yes" : "no";
  }
  const test = TESTS[base];
  if (test === undefined && value === "some value") return "depends";
  if (test === undefined || (base === "Bool" && !values.every(isBoolean))) return "unclear";
  const found = anyMatches(test, value, values);
  if (!isNegated || found === "depends" || found === "unclear") return found;
  return found === "yes" ? "no" : "yes";
}

function isAbsent(value: KnownValue | undefined, values: readonly string[]): Truth {
  if (!values.every(isBoolean)) return "unclear";
  if (values.includes("true") && values.includes("false")) return "yes";
  if (value === undefined) return "depends";
  return values.includes(value === "absent" ? "true" : "false") ? "yes" : "no";
}

// A variable such as ${aws:username} stands for what is not known here.
function anyMatches(test: Test, value: Exclude<KnownValue, "absent">, values: readonly string[]): Truth {
  const [literal, variable] = [
    values.filter((each) => !each.includes("${")),
    values.some((each) => each.includes("${")),
  ];
  if (value === "some value") {
    if (test === isLike && literal.some((each) => /^\*+$/.test(each))) return "yes";
    return variable ? "unclear" : "depends";
  }
  if (literal.some((each) => test(value.value, each))) return "yes";
  return variable ? "unclear" : "no";
}

function isBoolean(value: string): boolean {
  return value === "true" || value === "false";
}
