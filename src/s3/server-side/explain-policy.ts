// What a bucket policy says about encryption, in words and as verdicts. A verdict is told for all requests of a kind or not
// at all: what depends on more, or cannot be interpreted here, is said to.
import { type Checks, checkOptions, text, wrong } from "../../check-options.ts";
import { quote, shorten } from "../../quote.ts";
import { isBucketName, isDirectoryBucket } from "../bucket-name.ts";
import { serverSideNames } from "../object-metadata.ts";
import { allHold, allOf, type KnownValues, readOperator, type Truth } from "./policy-conditions.ts";
import { combinations, matches } from "./policy-patterns.ts";
import { type Condition, type Patterns, parseStatements, type Statement } from "./policy-statements.ts";

/**
 * How a policy treats a kind of request: all of them, or it `depends` on the object, the caller, or more of the request.
 * Callers, and values that are not known, are not weighed against each other.
 */
export type PolicyVerdict = "denied" | "not denied" | "depends" | "cannot be told";

/** What uploads may ask for; `none` names no server-side encryption and no customer key. */
const UPLOADS = ["none", "SSE-S3", "SSE-KMS", "DSSE-KMS", "SSE-C"] as const;
type UploadKind = (typeof UPLOADS)[number];

/** What a policy says about encryption. */
export interface PolicyExplanation {
  /** One sentence a statement, in order. */
  readonly sentences: readonly string[];
  /** Uploads over https by the encryption that they ask for; those of `none` are denied if they are over http as well. */
  readonly uploads: Readonly<Record<UploadKind, PolicyVerdict>>;
  /** Requests over plain http: `not denied` if none is that would not be over https. */
  readonly plainHttp: PolicyVerdict;
  /** True if no upload without a server-side encryption header or SSE-C key is let through. */
  readonly demandsEncryption: boolean;
  /** True if no request over plain http is let through. */
  readonly demandsTls: boolean;
  /** Demands that cannot be met together, gaps, and what could not be interpreted. */
  readonly warnings: readonly string[];
}

/** Options of `explainPolicy`. */
export interface ExplainPolicyOptions {
  /** The bucket that has the policy; by default the one that its resources name. */
  readonly bucket?: string | undefined;
}
const EXPLAIN_OPTIONS: Checks<ExplainPolicyOptions> = {
  bucket: (name, value) => {
    const bucket = text(name, value) as string;
    if (!isBucketName(bucket)) throw wrong(name, "no ARN, URL or alias of an access point", value);
    return bucket;
  },
};

const SSE = `s3:${serverSideNames.encryption}`;
const KMS_KEY = `s3:${serverSideNames.kmsKeyId}`;
const CUSTOMER = `s3:${serverSideNames.customerAlgorithm}`;
const SECURE = "aws:securetransport";

/** Keys that tell how a request has come. */
const TRANSPORT: ReadonlySet<string> = new Set([SECURE, "s3:tlsversion"]);
const OVER_HTTPS: KnownValues = { [SECURE]: { value: "true" } };
const OVER_HTTP: KnownValues = { [SECURE]: { value: "false" } };
const NOTHING: KnownValues = { [SSE]: "absent", [KMS_KEY]: "absent", [CUSTOMER]: "absent" };
const withKms = (value: string): readonly KnownValues[] =>
  (["absent", "some value"] as const).map((key) => ({
    ...OVER_HTTPS,
    ...NOTHING,
    [SSE]: { value },
    [KMS_KEY]: key,
  }));
/** The requests of each kind: every one of them must be treated alike. */
const REQUESTS: Readonly<Record<UploadKind, readonly KnownValues[]>> = {
  none: [{ ...OVER_HTTPS, ...NOTHING }],
  "SSE-S3": [{ ...OVER_HTTPS, ...NOTHING, [SSE]: { value: "AES256" } }],
  "SSE-KMS": withKms("aws:kms"),
  "DSSE-KMS": withKms("aws:kms:dsse"),
  "SSE-C": [{ ...OVER_HTTPS, ...NOTHING, [CUSTOMER]: { value: "AES256" } }],
};

/**
 * Tells in words what a policy says about encryption. Only denials count: what a policy allows, another one may allow too.
 * @param policy the policy or its JSON
 * @throws TypeError when it is no policy
 */
export function explainPolicy(
  policy: object | string,
  options: ExplainPolicyOptions = {},
): PolicyExplanation {
  const { bucket } = checkOptions("options", options, EXPLAIN_OPTIONS);
  const statements = parseStatements(policy);
  const scope = scopeOf(statements, bucket);
  const denials = statements.filter(({ effect }) => effect === "Deny");
  const verdictOf = (kind: UploadKind): PolicyVerdict => {
    const verdict = agreed(REQUESTS[kind].flatMap((known) => judge(denials, scope, known, "s3:putobject")));
    if (kind !== "none" || verdict !== "denied") return verdict;
    return agreed([verdict, ...judge(denials, scope, { ...OVER_HTTP, ...NOTHING }, "s3:putobject")]);
  };
  const uploads = Object.fromEntries(UPLOADS.map((kind) => [kind, verdictOf(kind)])) as Record<
    UploadKind,
    PolicyVerdict
  >;
  const plainHttp = judgePlainHttp(denials, scope);
  return {
    sentences: statements.map((statement) => `${nameOf(statement)}: ${describe(statement, scope)}`),
    uploads,
    plainHttp,
    demandsEncryption: uploads.none === "denied",
    demandsTls: plainHttp === "denied",
    warnings: warningsOf(statements, scope, uploads, plainHttp),
  };
}

/** The resources that a policy is about. */
interface Scope {
  /** Undefined when it cannot be told which bucket is meant. */
  readonly bucket: string | undefined;
  /** Other buckets that are named. */
  readonly others: ReadonlySet<string>;
  readonly partitions: ReadonlySet<string>;
}

/** A resource of S3: the last part of its ARN is a bucket, or a bucket and a key. */
interface ResourcePattern {
  readonly partition: string;
  readonly name: string;
}

/** @returns undefined for what cannot be judged here */
function readResource(pattern: string): ResourcePattern | undefined {
  if (pattern === "*") return { partition: "*", name: "*" };
  const [arn, partition = "", service = "", region = "", account = "", ...rest] = pattern.split(":");
  const name = rest.join(":");
  if (arn !== "arn" || name === "" || pattern.includes("${") || !matches(service, "s3")) return undefined;
  // Access points, directory buckets and the like have a region: what is decided there is decided elsewhere.
  return matches(region, "") && matches(account, "") ? { partition, name } : undefined;
}

/** In small letters. @returns undefined for what cannot be judged here: directory buckets decide about sessions */
function readAction(pattern: string): string | undefined {
  const action = pattern.toLowerCase();
  return /^(\*|(?!s3express:)[a-z0-9*?-]+:[a-z0-9*?]+)$/.test(action) ? action : undefined;
}

function scopeOf(statements: readonly Statement[], given: string | undefined): Scope {
  const named = new Set<string>();
  const partitions = new Set<string>();
  let isAny = true; // no resource begins with what may be the name of a bucket
  for (const pattern of statements.flatMap(({ resources }) => resources.patterns)) {
    const resource = readResource(pattern);
    if (resource === undefined) continue;
    if (!/[*?]/.test(resource.partition)) partitions.add(resource.partition);
    const bucket = resource.name.split("/")[0] ?? "";
    if (!/[*?]/.test(bucket)) named.add(bucket);
    else if (!/^\*+$/.test(bucket)) isAny = false;
  }
  const only = named.size === 1 ? [...named][0] : named.size === 0 && isAny ? "any-bucket" : undefined;
  const bucket = given ?? only;
  named.delete(bucket ?? "");
  return { bucket, others: named, partitions };
}

/** What a denial does to requests: `applies` where both lists match. */
interface Denial {
  readonly applies: Truth;
  readonly actions: Patterns;
  readonly resources: Patterns;
}
const EVERYTHING: Patterns = { kind: "except", patterns: [] };

// A statement, and one more for those of its names that cannot be interpreted: it may apply to anything.
function denialsOf(statement: Statement, known: KnownValues): readonly Denial[] {
  const { principals } = statement;
  if (principals.kind === "nobody") return [];
  const applies = allOf([
    principals.kind === "everyone" ? "yes" : "depends",
    allHold(statement.conditions, known),
  ]);
  if (applies === "no") return [];
  const actions = readPatterns(statement.actions, readAction);
  const resources = readPatterns(statement.resources, (pattern) => readResource(pattern)?.name);
  const isClear = actions.isClear && resources.isClear;
  const readable = { actions: actions.patterns, resources: resources.patterns };
  if (isClear) return [{ applies, ...readable }];
  const unclear: Denial = {
    applies: "unclear",
    actions: actions.isClear ? actions.patterns : EVERYTHING,
    resources: resources.isClear ? resources.patterns : EVERYTHING,
  };
  const isList = statement.actions.kind === "these" && statement.resources.kind === "these";
  return isList ? [{ applies, ...readable }, unclear] : [unclear];
}

function readPatterns(
  { kind, patterns }: Patterns,
  read: (pattern: string) => string | undefined,
): { readonly patterns: Patterns; readonly isClear: boolean } {
  const known = patterns.map(read).filter((pattern) => pattern !== undefined);
  return { patterns: { kind, patterns: known }, isClear: known.length === patterns.length };
}

function judgePlainHttp(denials: readonly Statement[], scope: Scope): PolicyVerdict {
  const verdicts = judge(denials, scope, OVER_HTTP, "any");
  if (!verdicts.includes("not denied")) return agreed(verdicts); // it may be that all of them are denied
  // What is denied over https as well says nothing of http.
  const aboutHttp = denials.filter(({ conditions }) => {
    const tests = conditions.filter(({ key }) => TRANSPORT.has(key.toLowerCase()));
    return allHold(tests, OVER_HTTP) !== "no" && allHold(tests, OVER_HTTPS) !== "yes";
  });
  const verdict = agreed(judge(aboutHttp, scope, OVER_HTTP, "any"));
  return verdict === "denied" ? "depends" : verdict;
}

/** How the requests of a kind are treated, for each combination of an action and a resource that is treated alike. */
function judge(
  statements: readonly Statement[],
  { bucket, partitions }: Scope,
  known: KnownValues,
  action: "s3:putobject" | "any",
): readonly PolicyVerdict[] {
  const denials = statements.flatMap((statement) => denialsOf(statement, known));
  if (denials.length === 0) return ["not denied"];
  if (bucket === undefined || isDirectoryBucket(bucket) || partitions.size > 1) return ["cannot be told"];
  const actionLists = denials.map(({ actions }) => actions);
  const resourceLists = denials.map(({ resources }) => resources);
  const actions = new Set(
    action === "any"
      ? combinations(actionLists, "s3:", "anything")
      : combinations(actionLists, action, "nothing"),
  );
  if (actions.has(undefined)) return ["cannot be told"];
  const isClear = denials.every(({ applies }) => applies !== "unclear");
  const verdicts = new Set<PolicyVerdict>();
  for (const byResource of resourcesOf(resourceLists, bucket, action)) {
    if (byResource === undefined) return [...verdicts, "cannot be told"];
    for (const byAction of actions) {
      const truths = denials
        .filter((_, at) => byAction?.[at] === "1" && byResource[at] === "1")
        .map(({ applies }) => applies);
      if (truths.includes("yes")) verdicts.add("denied");
      else if (truths.includes("unclear")) verdicts.add("cannot be told");
      else verdicts.add(truths.length === 0 ? "not denied" : "depends");
      // Whatever else there is, they are not treated alike.
      if (isClear && verdicts.size > 1 && verdicts.has("not denied")) return [...verdicts];
    }
  }
  return [...verdicts];
}

function* resourcesOf(
  lists: readonly Patterns[],
  bucket: string,
  action: "s3:putobject" | "any",
): Generator<string | undefined, void, void> {
  if (action === "any") yield* combinations(lists, bucket, "nothing");
  yield* combinations(lists, `${bucket}/`, "anything");
}

function agreed(verdicts: readonly PolicyVerdict[]): PolicyVerdict {
  const [first = "not denied"] = verdicts;
  if (verdicts.every((verdict) => verdict === first)) return first;
  return verdicts.includes("cannot be told") ? "cannot be told" : "depends";
}

function warningsOf(
  statements: readonly Statement[],
  scope: Scope,
  uploads: Readonly<Record<UploadKind, PolicyVerdict>>,
  plainHttp: PolicyVerdict,
): readonly string[] {
  const warnings: string[] = [];
  for (const statement of statements) {
    const name = nameOf(statement);
    warnings.push(...unclearParts(statement).map((what) => `${name}: ${what}`));
    if (statement.effect === "Deny" && isPartial(statement, scope))
      warnings.push(`${name} does not cover all objects of the bucket`);
  }
  if (scope.bucket === undefined)
    warnings.push("it cannot be told which bucket has this policy: name it to have it judged");
  else if (isDirectoryBucket(scope.bucket))
    warnings.push("directory buckets decide about sessions, which is not judged here");
  for (const other of scope.others)
    warnings.push(
      scope.bucket === undefined
        ? `bucket ${shown(other)} is named`
        : `bucket ${shown(other)} is another one than ${shown(scope.bucket)}: what is said of it has no effect here`,
    );
  if (scope.partitions.size > 1)
    warnings.push(
      `partitions ${[...scope.partitions].map(shown).join(", ")} are named, and a bucket is in one of them`,
    );
  if (UPLOADS.every((kind) => uploads[kind] === "denied"))
    warnings.push("no upload is let in, whatever encryption it names");
  if (plainHttp === "not denied") warnings.push("plain http is not denied");
  if (plainHttp === "depends") warnings.push("plain http is denied in part, or under conditions");
  return warnings;
}

// True if a denial of uploads leaves out some objects.
function isPartial(statement: Statement, { bucket }: Scope): boolean {
  if (bucket === undefined) return false;
  const all = { ...statement, principals: { kind: "everyone", who: "" }, conditions: [] } as const;
  const verdicts = judge([all], { bucket, others: new Set(), partitions: new Set() }, {}, "s3:putobject");
  return agreed(verdicts) === "depends";
}

function unclearParts({ actions, resources, conditions }: Statement): readonly string[] {
  const unclear: string[] = [];
  for (const pattern of actions.patterns)
    if (readAction(pattern) === undefined) unclear.push(`action ${shown(pattern)} is not judged here`);
  for (const pattern of resources.patterns)
    if (readResource(pattern) === undefined) unclear.push(`resource ${shown(pattern)} is not judged here`);
  for (const { operator, key, values } of conditions) {
    if (!readOperator(operator).isKnown) unclear.push(`operator ${shown(operator)} is not known here`);
    if (values.some((value) => value.includes("${")))
      unclear.push(`values of ${shown(key)} have variables, which are not judged here`);
  }
  return unclear;
}

function nameOf({ name }: Statement): string {
  return /^[\w .-]{1,100}$/.test(name) ? name : quote(name);
}

function describe(statement: Statement, scope: Scope): string {
  const { effect, principals } = statement;
  const who = principals.kind === "everyone" ? "" : `, for ${shown(principals.who)}`;
  if (effect === "Allow") return `allows ${requestsOf(statement, scope)}${who} (which denies nothing)`;
  return `denies ${requestsOf(statement, scope)}${who}`;
}

function requestsOf(statement: Statement, { bucket }: Scope): string {
  const { actions, resources, conditions } = statement;
  const isUpload = actions.kind === "these" && actions.patterns.every((one) => /^s3:putobject$/i.test(one));
  const isAll = actions.kind === "these" && actions.patterns.some((one) => /^(s3:)?\*$/i.test(one));
  const names = resources.kind === "these" ? resources.patterns.map((one) => readResource(one)?.name) : [];
  const isWhole =
    names.includes("*") || (names.includes(`${bucket}/*`) && (isUpload || names.includes(bucket)));
  const what = isUpload ? "uploads" : isAll ? "requests" : namesOf(actions, "actions");
  const where = isWhole ? "" : ` to ${namesOf(resources, "resources")}`;
  const [only] = conditions;
  const phrase =
    conditions.length === 1 && only !== undefined && (isUpload || isAll)
      ? phraseOf(only, isUpload)
      : undefined;
  if (phrase !== undefined) return `${what} ${phrase}${where}`;
  return `${what}${where}${conditions.length === 0 ? "" : ` when ${conditions.map(describeCondition).join(" and ")}`}`;
}

function namesOf({ kind, patterns }: Patterns, all: string): string {
  const names = patterns.map(shown).join(", ");
  return kind === "these" ? names : `all ${all} but ${names}`;
}

// The tests that policies about encryption are made of, as one would say them.
function phraseOf({ operator, key, values }: Condition, isUpload: boolean): string | undefined {
  const name = key.toLowerCase();
  const listed = values.map(shown).join(" or ");
  const [only] = values.length === 1 ? values : [];
  if (operator === "Bool" && name === SECURE && only === "false") return "over plain http";
  if (!isUpload) return undefined;
  if (operator === "Null" && name === SSE && only === "true")
    return "that do not name a server-side encryption";
  if (operator === "Null" && name === KMS_KEY && only === "true") return "that do not name a KMS key";
  if (operator === "Null" && name === CUSTOMER && only === "true") return "without a customer key (SSE-C)";
  if (operator === "Null" && name === CUSTOMER && only === "false") return "with a customer key (SSE-C)";
  // An absent value is not the wanted one either, with IfExists or without.
  if (/^StringNotEquals(IfExists)?$/.test(operator) && name === SSE)
    return `whose server-side encryption is not ${listed}, or not named`;
  if (/^(String|Arn)NotEquals(IfExists)?$/.test(operator) && name === KMS_KEY)
    return `with another KMS key than ${listed}, or none`;
  return undefined;
}

function describeCondition({ operator, key, values }: Condition): string {
  const { set, base, isNegated, ifExists, isKnown } = readOperator(operator);
  const listed = values.map(shown).join(" or ");
  const name = shown(key);
  if (base === "Null" && isKnown && values.length === 1)
    return `${name} is ${values[0] === "true" ? "absent" : "present"}`;
  if (!isKnown || set !== undefined || !/^(String|Arn|Bool)/.test(base))
    return `${shown(operator)} of ${name} and ${listed}`;
  const how = /Like$|^Arn/.test(base) ? "like " : "";
  const absent = ifExists || isNegated ? " absent or" : "";
  return `${name} is${absent}${isNegated ? " not" : ""} ${how}${listed}`;
}

/** Text of a policy: whoever wrote it may want a terminal to obey it. */
function shown(name: string): string {
  return shorten(name, 300);
}
