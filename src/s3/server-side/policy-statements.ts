// What a bucket policy consists of, read as strictly as S3 reads it: whatever is not an element of a policy is an error,
// since a statement without its misspelled condition would say something else.

/** Names of actions or resources with wildcards; `except` means all but these. */
export interface Patterns {
  readonly kind: "these" | "except";
  readonly patterns: readonly string[];
}

/** Whom a statement is about. */
export interface Principals {
  readonly kind: "everyone" | "some" | "nobody";
  /** In words. */
  readonly who: string;
}

/** One test of a statement. All of them must hold. */
export interface Condition {
  readonly operator: string;
  /** As it is written; names of condition keys are the same in capitals. */
  readonly key: string;
  readonly values: readonly string[];
}

/** One statement. */
export interface Statement {
  /** Its Sid, or its number. */
  readonly name: string;
  readonly effect: "Allow" | "Deny";
  readonly principals: Principals;
  readonly actions: Patterns;
  readonly resources: Patterns;
  readonly conditions: readonly Condition[];
}

type Json = Readonly<Record<string, unknown>>;

const ELEMENTS = ["Version", "Id", "Statement"];
const STATEMENT_ELEMENTS = [
  "Sid",
  "Effect",
  "Principal",
  "NotPrincipal",
  "Action",
  "NotAction",
  "Resource",
  "NotResource",
  "Condition",
];
const PRINCIPAL_TYPES = ["AWS", "CanonicalUser", "Federated", "Service"];

/**
 * Reads a policy, or its JSON.
 * @throws TypeError when it is none
 */
export function parseStatements(policy: unknown): readonly Statement[] {
  const value: unknown = typeof policy === "string" ? parseJson(policy) : policy;
  checkElements(value, ELEMENTS, "a policy");
  const { Version, Statement } = value;
  if (Version !== undefined && Version !== "2012-10-17" && Version !== "2008-10-17")
    throw invalid("Version 2012-10-17 or 2008-10-17");
  const list: readonly unknown[] = Array.isArray(Statement) ? Statement : [Statement];
  if (Statement === undefined || list.length === 0) throw invalid("statements");
  return list.map(parseStatement);
}

function parseJson(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw invalid("JSON");
  }
  // Of two elements of one name JSON.parse keeps the last. In valid JSON, a string before a colon is a name.
  const written = [...text.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?/g)].filter(([, colon]) => colon !== undefined);
  if (written.length !== countNames(value)) throw invalid("each name once in an object");
  return value;
}

function countNames(value: unknown): number {
  let count = 0;
  const open = [value]; // not by recursion: whoever wrote the text decides how deep it is
  while (open.length > 0) {
    const each = open.pop();
    if (typeof each !== "object" || each === null) continue;
    const inside: unknown[] = Object.values(each);
    if (!Array.isArray(each)) count += inside.length;
    for (const one of inside) open.push(one);
  }
  return count;
}

function parseStatement(value: unknown, index: number): Statement {
  const where = `statement ${index + 1}`;
  checkElements(value, STATEMENT_ELEMENTS, where);
  const { Sid, Effect, Condition } = value;
  if (Sid !== undefined && typeof Sid !== "string") throw invalid(`a string as Sid of ${where}`);
  if (Effect !== "Allow" && Effect !== "Deny") throw invalid(`Allow or Deny as Effect of ${where}`);
  return {
    name: Sid === undefined || Sid === "" ? where : Sid,
    effect: Effect,
    principals: parsePrincipals(value, where),
    actions: parsePatterns(value, "Action", where),
    resources: parsePatterns(value, "Resource", where),
    conditions: Condition === undefined ? [] : parseConditions(Condition, where),
  };
}

function parsePatterns(statement: Json, name: "Action" | "Resource", where: string): Patterns {
  const [these, except] = oneOfTwo(statement, name, where);
  const patterns = listOfTexts(these ?? except);
  if (patterns === undefined) throw invalid(`strings as ${name} of ${where}`);
  return { kind: these === undefined ? "except" : "these", patterns };
}

function parsePrincipals(statement: Json, where: string): Principals {
  const [these, except] = oneOfTwo(statement, "Principal", where);
  const principal = these ?? except;
  const named: string[] = [];
  let isEveryone = principal === "*";
  if (principal !== "*") {
    checkElements(principal, PRINCIPAL_TYPES, `Principal of ${where}`);
    for (const [type, value] of Object.entries(principal)) {
      const names = listOfTexts(value);
      if (names === undefined) throw invalid(`strings as Principal of ${where}`);
      isEveryone ||= type === "AWS" && names.includes("*");
      named.push(...names);
    }
    if (named.length === 0) throw invalid(`somebody as Principal of ${where}`);
  }
  if (these !== undefined)
    return isEveryone
      ? { kind: "everyone", who: "everyone" }
      : { kind: "some", who: `only ${named.join(", ")}` };
  return isEveryone
    ? { kind: "nobody", who: "nobody" }
    : { kind: "some", who: `everyone but ${named.join(", ")}` };
}

function parseConditions(value: unknown, where: string): readonly Condition[] {
  const conditions: Condition[] = [];
  if (!isObject(value)) throw invalid(`an object as Condition of ${where}`);
  for (const [operator, tests] of Object.entries(value)) {
    if (!isObject(tests)) throw invalid(`an object for each operator in Condition of ${where}`);
    for (const [key, given] of Object.entries(tests)) {
      const values = (Array.isArray(given) ? given : [given]) as readonly unknown[];
      if (values.length === 0 || !values.every((each) => /^(string|boolean|number)$/.test(typeof each)))
        throw invalid(`strings as values in Condition of ${where}`);
      conditions.push({ operator, key, values: values.map(String) });
    }
  }
  return conditions;
}

function oneOfTwo(statement: Json, name: string, where: string): readonly [unknown, unknown] {
  const [these, except] = [statement[name], statement[`Not${name}`]];
  if ((these === undefined) === (except === undefined)) throw invalid(`${name} or Not${name} in ${where}`);
  return [these, except];
}

function listOfTexts(value: unknown): readonly string[] | undefined {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  return list.length > 0 && list.every((each) => typeof each === "string" && each !== "")
    ? (list as readonly string[])
    : undefined;
}

function checkElements(value: unknown, names: readonly string[], where: string): asserts value is Json {
  if (!isObject(value)) throw invalid(`an object as ${where}`);
  if (Object.keys(value).some((name) => !names.includes(name)))
    throw invalid(`nothing but ${names.join(", ")} in ${where}`);
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function invalid(expected: string): TypeError {
  return new TypeError(`"policy" expected ${expected}`);
}
