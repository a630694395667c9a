// Bucket policies as S3 evaluates them, for one account that owns the bucket and may do everything which no statement
// denies. What is not understood is refused when the policy is put, never passed over.
import { S3Error } from "./s3-error.ts";

/** What a request wants, with the values of condition keys; names in lower case, absent ones left out. */
export interface PolicyRequest {
  readonly action: string;
  readonly resource: string;
  readonly conditions: ReadonlyMap<string, string>;
  /** Who asks; by default the owner. */
  readonly principal?: string;
}

/** One statement. */
export interface Statement {
  readonly Effect: "Allow" | "Deny";
  readonly Principal?: unknown;
  readonly NotPrincipal?: unknown;
  readonly Action?: string | string[];
  readonly NotAction?: string | string[];
  readonly Resource?: string | string[];
  readonly NotResource?: string | string[];
  readonly Condition?: Record<string, Record<string, string | boolean | (string | boolean)[]>>;
}

/** A policy that was checked. */
export interface ParsedPolicy {
  readonly text: string;
  readonly statements: readonly Statement[];
}

type Test = (value: string, wanted: string) => boolean;
const equal: Test = (value, wanted) => value === wanted;
const like: Test = (value, wanted) => wildcard(wanted).test(value);
/** Positive operators, and what stands behind the negated ones. */
const operators: Readonly<Record<string, Test>> = {
  StringEquals: equal,
  StringEqualsIgnoreCase: (value, wanted) => value.toLowerCase() === wanted.toLowerCase(),
  StringLike: like,
  ArnEquals: like,
  ArnLike: like,
  Bool: (value, wanted) => value.toLowerCase() === wanted.toLowerCase(),
};
const negated: Readonly<Record<string, string>> = {
  StringNotEquals: "StringEquals",
  StringNotEqualsIgnoreCase: "StringEqualsIgnoreCase",
  StringNotLike: "StringLike",
  ArnNotEquals: "ArnEquals",
  ArnNotLike: "ArnLike",
};

const list = <Value>(value: Value | readonly Value[]): readonly Value[] =>
  Array.isArray(value) ? value : [value as Value];

/** @throws S3Error MalformedPolicy */
export function parsePolicy(text: string, bucket: string): ParsedPolicy {
  const malformed = (what: string): S3Error => new S3Error(400, "MalformedPolicy", what);
  let value: { Version?: string; Statement?: Statement | Statement[] };
  try {
    value = JSON.parse(text);
  } catch {
    throw malformed("JSON");
  }
  const statements = list(value.Statement ?? []);
  if (value.Version !== "2012-10-17" || statements.length === 0) throw malformed("Version or Statement");
  for (const statement of statements) {
    const { Effect, Principal, Condition = {} } = statement;
    const [Action = [], Resource = []] = [
      statement.Action ?? statement.NotAction,
      statement.Resource ?? statement.NotResource,
    ];
    if (Effect !== "Allow" && Effect !== "Deny") throw malformed("Effect");
    if (Principal === undefined && statement.NotPrincipal === undefined)
      throw malformed("Missing required field Principal");
    for (const action of list(Action))
      if (!/^(s3:[A-Za-z*?]+|\*)$/.test(String(action))) throw malformed("Action");
    for (const resource of list(Resource))
      if (!new RegExp(`^arn:aws:s3:::${bucket}(/.*)?$`).test(String(resource))) throw malformed("Resource");
    for (const operator of Object.keys(Condition)) {
      const name = operator.replace(/^For(AnyValue|AllValues):|IfExists$/g, "");
      if (operator !== "Null" && operators[name] === undefined && negated[name] === undefined)
        throw malformed(`Invalid Condition type: ${operator}`);
    }
  }
  return { text, statements };
}

/** True if a statement denies the request. */
export function denies(policy: ParsedPolicy, request: PolicyRequest): boolean {
  return policy.statements.some((statement) => statement.Effect === "Deny" && applies(statement, request));
}

const owner = "arn:aws:iam::111122223333:root";
function isNamed(principal: unknown, who: string): boolean {
  const names = list((principal as { AWS?: string | string[] }).AWS ?? (principal as string));
  return names.includes("*") || names.includes(who);
}

function applies(
  statement: Statement,
  { action, resource, conditions, principal = owner }: PolicyRequest,
): boolean {
  const { Principal, NotPrincipal, Action, NotAction, Resource, NotResource, Condition = {} } = statement;
  if (Principal === undefined ? isNamed(NotPrincipal, principal) : !isNamed(Principal, principal))
    return false;
  const isAction = list(Action ?? NotAction ?? []).some((each) =>
    wildcard(each.toLowerCase()).test(action.toLowerCase()),
  );
  if (isAction !== (Action !== undefined)) return false;
  const isResource = list(Resource ?? NotResource ?? []).some((each) => wildcard(each).test(resource));
  if (isResource !== (Resource !== undefined)) return false;
  return Object.entries(Condition).every(([operator, tests]) =>
    Object.entries(tests).every(([name, wanted]) =>
      holds(operator, conditions.get(name.toLowerCase()), list<string | boolean>(wanted).map(String)),
    ),
  );
}

function holds(operator: string, value: string | undefined, wanted: readonly string[]): boolean {
  if (operator === "Null") return wanted.some((each) => (each === "true") === (value === undefined));
  const ifExists = operator.endsWith("IfExists");
  const [, set, name = ""] = /^(?:For(Any|All)Values?:)?(.*?)(?:IfExists)?$/.exec(operator) ?? [];
  const positive = negated[name];
  const test = operators[positive ?? name];
  if (test === undefined) throw new Error(`operator ${operator}`);
  if (value === undefined) return set === undefined ? ifExists || positive !== undefined : set === "All";
  const matches = wanted.some((each) => test(value, each));
  return positive === undefined ? matches : !matches;
}

function wildcard(pattern: string): RegExp {
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replaceAll("*", ".*")
    .replaceAll("?", ".");
  return new RegExp(`^${source}$`, "s");
}
