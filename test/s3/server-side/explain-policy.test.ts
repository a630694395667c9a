// What explainPolicy says of a policy is what the policy does: against the evaluation of the strict server for random
// policies and all kinds of requests, and case by case for what that server does not take.
import { describe, expect, test } from "vitest";
import {
  type EncryptionPolicyOptions,
  explainPolicy,
  type PolicyExplanation,
  requireEncryptionPolicy,
} from "../../../src/s3.ts";
import { FULL } from "../../support/full.ts";
import { denies, type PolicyRequest, type Statement } from "../../support/s3-policy.ts";

const KEY = "s3:x-amz-server-side-encryption-aws-kms-key-id";
const SSE = "s3:x-amz-server-side-encryption";
const CUSTOMER = "s3:x-amz-server-side-encryption-customer-algorithm";
const SECURE = "aws:SecureTransport";
const [ARN, OTHER] = ["1", "2"].map((id) => `arn:aws:kms:us-east-1:111122223333:key/${id}`) as [
  string,
  string,
];
const objects = "arn:aws:s3:::b/*";
const put = { Effect: "Deny", Principal: "*", Action: "s3:PutObject", Resource: objects } as const;
const absent = { Null: { [SSE]: "true" } };
const policyOf = (...Statement: readonly object[]): object => ({ Version: "2012-10-17", Statement });

describe("against an evaluation of requests", () => {
  type Conditions = Readonly<Record<string, string>>;
  const kinds: Readonly<Record<keyof PolicyExplanation["uploads"], readonly Conditions[]>> = {
    none: [{}],
    "SSE-S3": [{ [SSE]: "AES256" }],
    "SSE-KMS": [{ [SSE]: "aws:kms" }, ...[ARN, OTHER].map((key) => ({ [SSE]: "aws:kms", [KEY]: key }))],
    "DSSE-KMS": [
      { [SSE]: "aws:kms:dsse" },
      ...[ARN, OTHER].map((key) => ({ [SSE]: "aws:kms:dsse", [KEY]: key })),
    ],
    "SSE-C": [{ [CUSTOMER]: "AES256" }],
  };
  const principals = ["arn:aws:iam::111122223333:user/a", "arn:aws:iam::111122223333:user/b"] as const;
  // One of each class that the patterns below tell apart.
  const keys = [
    "z",
    "x",
    "zz",
    "private/",
    "private/q",
    "private/x",
    "public/q",
    "public/x",
    "pub/x",
    "a:b/x",
  ];
  const actions = [
    "PutObject",
    "GetObject",
    "PutObjectTagging",
    "DeleteObject",
    "GetBucketPolicy",
    "New",
    "PxtObject",
  ];
  const patterns = {
    Action: [
      "s3:PutObject",
      "S3:putobject",
      "s3:Put*",
      "s3:*",
      "*",
      "s3:GetObject",
      "s3:P?tObject",
      "sns:Publish",
    ],
    Resource: [
      objects,
      "arn:aws:s3:::b",
      "*",
      "arn:aws:s3:::b/private/*",
      "arn:aws:s3:::b/pub?ic/*",
      "arn:aws:s3:::*/x",
      "arn:aws:s3:::b*",
      "arn:*:s3:::b/*",
      "arn:aws:s3:::b/?",
      "arn:aws:s3:::b/??*",
      "arn:aws:s3:::other/*",
    ],
  };
  const conditions: readonly (readonly [string, string, unknown])[] = [
    ["Null", SSE, "true"],
    ["Null", SSE, "false"],
    ["Null", SSE, ["true", "false"]],
    ["StringEquals", SSE, "AES256"],
    ["StringNotEquals", SSE, "AES256"],
    ["StringNotEquals", SSE.toUpperCase().replace("S3:", "S3:"), ["AES256", "aws:kms"]],
    ["StringNotEqualsIfExists", SSE, ["aws:kms", "aws:kms:dsse"]],
    ["StringEqualsIfExists", SSE, "aws:kms"],
    ["StringEqualsIgnoreCase", SSE, "aes256"],
    ["StringNotEqualsIgnoreCase", SSE, "AWS:KMS"],
    ["StringLike", SSE, "aws:*"],
    ["StringNotLike", SSE, ["aws:kms*", "AES???"]],
    ["ForAnyValue:StringEquals", SSE, "AES256"],
    ["ForAnyValue:StringNotEquals", SSE, "AES256"],
    ["ForAllValues:StringNotEquals", SSE, "AES256"],
    ["Null", CUSTOMER, "true"],
    ["Null", CUSTOMER, "false"],
    ["StringEquals", CUSTOMER, "AES256"],
    ["StringNotEquals", CUSTOMER, "AES256"],
    ["Null", KEY, "true"],
    ["StringEquals", KEY, ARN],
    ["StringNotEquals", KEY, ARN],
    ["StringNotEqualsIfExists", KEY, [ARN, OTHER]],
    ["Bool", SECURE, "false"],
    ["Bool", SECURE, "true"],
    ["BoolIfExists", "AWS:securetransport", "false"],
    ["StringEquals", SECURE, "false"],
  ];

  let seed = 1;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff;
    return Math.floor((seed / 0x80000000) * below);
  };
  const one = <Item>(items: readonly Item[]): Item => items[random(items.length)] as Item;
  const some = <Item>(items: readonly Item[]): Item | Item[] =>
    random(2) === 0 ? one(items) : Array.from({ length: 1 + random(3) }, () => one(items));

  function randomStatement(): Statement {
    const statement: Record<string, unknown> = { Effect: random(5) === 0 ? "Allow" : "Deny" };
    const who = one(["*", "*", "*", { AWS: "*" }, { AWS: [principals[0], "*"] }, { AWS: principals[0] }]);
    statement[random(12) === 0 ? "NotPrincipal" : "Principal"] = who;
    for (const name of ["Action", "Resource"] as const)
      statement[random(5) === 0 ? `Not${name}` : name] = some(patterns[name]);
    const tests: Record<string, Record<string, unknown>> = {};
    for (let count = random(3); count > 0; count--) {
      const [operator, key, values] = one(conditions);
      tests[operator] = { ...tests[operator], [key]: values };
    }
    if (Object.keys(tests).length > 0) statement.Condition = tests;
    return statement as unknown as Statement;
  }

  function outcomes(
    statements: readonly Statement[],
    requests: readonly PolicyRequest[],
  ): ReadonlySet<boolean> {
    const policy = { text: "", statements };
    return new Set(requests.map((request) => denies(policy, request)));
  }
  const request = (
    action: string,
    key: string | undefined,
    values: Conditions,
    secure: boolean,
    principal: string,
  ): PolicyRequest => ({
    action: `s3:${action}`,
    resource: `arn:aws:s3:::b${key === undefined ? "" : `/${key}`}`,
    conditions: new Map([
      ["aws:securetransport", String(secure)],
      ...Object.entries(values).map(([name, value]) => [name.toLowerCase(), value] as const),
    ]),
    principal,
  });
  const uploadsOf = (values: readonly Conditions[], secure: boolean): readonly PolicyRequest[] =>
    principals.flatMap((principal) =>
      keys.flatMap((key) => values.map((each) => request("PutObject", key, each, secure, principal))),
    );
  const anyOver = (secure: boolean): readonly PolicyRequest[] =>
    principals.flatMap((principal) =>
      [...keys, undefined].flatMap((key) =>
        actions.flatMap((action) =>
          Object.values(kinds)
            .flat()
            .map((values) => request(action, key, values, secure, principal)),
        ),
      ),
    );
  const [overHttp, overHttps] = [anyOver(false), anyOver(true)];
  /** `not denied` is what is treated as over https. */
  function httpVerdict(statements: readonly Statement[]): string {
    const policy = { text: "", statements };
    const denied = overHttp.map((each) => denies(policy, each));
    if (denied.every((each) => each)) return "denied";
    const differs = denied.some((each, at) => each && !denies(policy, overHttps[at] as PolicyRequest));
    return differs ? "depends" : "not denied";
  }
  const verdictFor = (found: ReadonlySet<boolean>): string =>
    found.size === 2 ? "depends" : found.has(true) ? "denied" : "not denied";

  const counted: Record<string, number> = {};
  /** What was said, against what the requests met. Only where a verdict cannot be exact, may it be `depends` instead. */
  function check(said: string, met: string, isExact: boolean, policy: object): void {
    counted[said] = (counted[said] ?? 0) + 1;
    if (said !== met && !(said === "depends" && !isExact))
      expect.fail(`${said} was said, ${met} is so: ${JSON.stringify(policy)}`);
  }

  test("random policies", () => {
    const rounds = FULL ? 2000 : 200;
    for (let round = 0; round < rounds; round++) {
      const statements = Array.from({ length: 1 + random(4) }, randomStatement);
      const policy = policyOf(...statements);
      const explained = explainPolicy(JSON.stringify(policy), { bucket: "b" });
      const keysUsed = statements.flatMap(({ Condition = {} }) =>
        Object.values(Condition).flatMap((tests) => Object.keys(tests).map((key) => key.toLowerCase())),
      );
      // Principals are not told apart.
      const forAll = statements.every(({ Principal }) => JSON.stringify(Principal ?? "").includes('"*"'));
      for (const [kind, values] of Object.entries(kinds)) {
        const found = outcomes(statements, uploadsOf(values, true));
        const isClosed = kind === "none" && found.size === 1 && found.has(true);
        const met = isClosed ? new Set([...found, ...outcomes(statements, uploadsOf(values, false))]) : found;
        const isExact = forAll && (!kind.endsWith("KMS") || !keysUsed.includes(KEY));
        check(explained.uploads[kind as keyof typeof kinds], verdictFor(met), isExact, { kind, ...policy });
      }
      const met = httpVerdict(statements);
      // What is denied over https as well is not weighed against what is denied over http.
      const isWeighed = met === "not denied" && outcomes(statements, overHttp).has(true);
      const isExact = forAll && !isWeighed && keysUsed.every((key) => key === SECURE.toLowerCase());
      check(explained.plainHttp, met, isExact, policy);
      expect(explained.demandsEncryption).toBe(explained.uploads.none === "denied");
      expect(explained.demandsTls).toBe(explained.plainHttp === "denied");
    }
    console.log(`${rounds} policies: ${JSON.stringify(counted)}`);
    for (const verdict of ["denied", "not denied", "depends"])
      expect(counted[verdict]).toBeGreaterThan(rounds / 10);
  });
});

/** What is said of uploads without encryption, and of plain http. */
type Verdicts = readonly [none: string, plainHttp: string];
const http = { Bool: { [SECURE]: "false" } };
const whole = ["arn:aws:s3:::b", objects];
const cases: Readonly<Record<string, readonly [policy: object, expected: Verdicts, bucket?: string]>> = {
  "a denial of one prefix": [
    policyOf({ ...put, Resource: "arn:aws:s3:::b/private/*", Condition: absent }),
    ["depends", "not denied"],
  ],
  "prefixes that are all there is": [
    policyOf(
      { ...put, Resource: "arn:aws:s3:::b/?", Condition: absent },
      { ...put, Resource: ["arn:aws:s3:::b/??", "arn:aws:s3:::b/???*"], Condition: absent },
    ),
    ["denied", "not denied"],
  ],
  "all but one prefix": [
    policyOf({ ...put, Resource: undefined, NotResource: "arn:aws:s3:::b/public/*", Condition: absent }),
    ["depends", "not denied"],
  ],
  "the bucket alone, which has no uploads": [
    policyOf({ ...put, Action: "s3:*", Resource: "arn:aws:s3:::b", Condition: absent }),
    ["not denied", "not denied"],
    "b",
  ],
  "an allowance, whatever it demands": [
    policyOf({ ...put, Effect: "Allow", Condition: { StringEquals: { [SSE]: "aws:kms" } } }),
    ["not denied", "not denied"],
  ],
  "all actions but reading": [
    policyOf({ ...put, Action: undefined, NotAction: "s3:Get*", Condition: absent }),
    ["denied", "not denied"],
  ],
  "everyone but an administrator": [
    policyOf({
      ...put,
      Principal: undefined,
      NotPrincipal: { AWS: "arn:aws:iam::111122223333:root" },
      Condition: absent,
    }),
    ["depends", "not denied"],
  ],
  "one user": [
    policyOf({ ...put, Principal: { AWS: "arn:aws:iam::111122223333:user/a" }, Condition: absent }),
    ["depends", "not denied"],
  ],
  "a service": [
    policyOf({ ...put, Principal: { Service: "logging.s3.amazonaws.com" }, Condition: absent }),
    ["depends", "not denied"],
  ],
  "a condition that is not of this matter": [
    policyOf({ ...put, Condition: { ...absent, NotIpAddress: { "aws:SourceIp": "192.0.2.0/24" } } }),
    ["depends", "not denied"],
  ],
  "IfExists, which lets an absent value meet the test": [
    policyOf({ ...put, Condition: { StringNotEqualsIfExists: { [SSE]: "aws:kms" } } }),
    ["denied", "not denied"],
  ],
  "a list that holds both truth values": [
    policyOf({ ...put, Condition: { Null: { [SSE]: ["true", "false"] } } }),
    ["denied", "not denied"],
  ],
  "a test of a present value": [
    policyOf({ ...put, Condition: { StringEquals: { [SSE]: "AES256" } } }),
    ["not denied", "not denied"],
  ],
  "unencrypted uploads over https only": [
    policyOf({ ...put, Condition: { ...absent, Bool: { [SECURE]: "true" } } }),
    ["depends", "not denied"],
  ],
  "plain http, to objects only": [
    policyOf({ ...put, Action: "s3:*", Condition: http }),
    ["not denied", "depends"],
  ],
  "plain http": [
    policyOf({ ...put, Action: "*", Resource: whole, Condition: http }),
    ["not denied", "denied"],
  ],
  "plain http, in other words": [
    policyOf({
      ...put,
      Action: "s3:*",
      Resource: "arn:aws:s3:::b*",
      Condition: { StringNotEquals: { [SECURE]: "true" } },
    }),
    ["not denied", "denied"],
    "b",
  ],
  "plain http, by its version of TLS": [
    policyOf({
      ...put,
      Action: "s3:*",
      Resource: whole,
      Condition: { NumericLessThan: { "s3:TlsVersion": 1.2 } },
    }),
    ["depends", "depends"],
  ],
  "another bucket": [policyOf({ ...put, Condition: absent }), ["not denied", "not denied"], "c"],
  "a bucket whose name begins alike": [
    policyOf({ ...put, Resource: "arn:aws:s3:::bucket/*", Condition: absent }),
    ["not denied", "not denied"],
    "b",
  ],
  "several buckets, none of them named by the caller": [
    policyOf({ ...put, Condition: absent }, { ...put, Resource: "arn:aws:s3:::c/*", Condition: absent }),
    ["cannot be told", "cannot be told"],
  ],
  "several buckets, one of them named by the caller": [
    policyOf({ ...put, Condition: absent }, { ...put, Resource: "arn:aws:s3:::c/*", Condition: absent }),
    ["denied", "not denied"],
    "c",
  ],
  "buckets by pattern": [
    policyOf({ ...put, Resource: "arn:aws:s3:::prod-*/*", Condition: absent }),
    ["cannot be told", "cannot be told"],
  ],
  "any bucket": [policyOf({ ...put, Resource: "*", Condition: absent }), ["denied", "not denied"]],
  "another partition": [
    policyOf({ ...put, Resource: "arn:aws-cn:s3:::b/*", Condition: absent }),
    ["denied", "not denied"],
  ],
  "two partitions": [
    policyOf({ ...put, Condition: absent }, { ...put, Resource: "arn:aws-cn:s3:::b/*", Condition: absent }),
    ["cannot be told", "cannot be told"],
  ],
  "an access point": [
    policyOf({
      ...put,
      Resource: "arn:aws:s3:us-east-1:111122223333:accesspoint/ap/object/*",
      Condition: absent,
    }),
    ["cannot be told", "not denied"],
    "b",
  ],
  "an access point beside what is certain": [
    policyOf({
      ...put,
      Resource: [objects, "arn:aws:s3:us-east-1:111122223333:accesspoint/ap/object/*"],
      Condition: absent,
    }),
    ["denied", "not denied"],
  ],
  "a directory bucket": [
    policyOf({
      ...put,
      Action: "s3express:CreateSession",
      Resource: "arn:aws:s3express:us-east-1:111122223333:bucket/b--use1-az4--x-s3",
      Condition: { StringNotEquals: { "s3express:SessionMode": "ReadOnly" } },
    }),
    ["cannot be told", "cannot be told"],
    "b--use1-az4--x-s3",
  ],
  "a directory bucket, whatever is said": [
    policyOf({ ...put, Resource: "*", Condition: absent }),
    ["cannot be told", "cannot be told"],
    "b--use1-az4--x-s3",
  ],
  "a hundred prefixes": [
    policyOf(
      ...Array.from({ length: 100 }, (_, at) => ({
        ...put,
        Resource: [`arn:aws:s3:::b/prefix-${at}/*`, `arn:aws:s3:::b/*/folder-${at % 7}/*.csv`],
        Condition: absent,
      })),
    ),
    ["depends", "not denied"],
  ],
  "an operator of tomorrow": [
    policyOf({ ...put, Condition: { StringSoundsLike: { [SSE]: "kms" } } }),
    ["cannot be told", "not denied"],
  ],
  "an operator of tomorrow beside what is certain": [
    policyOf({ ...put, Condition: { StringSoundsLike: { [SSE]: "kms" } } }, { ...put, Condition: absent }),
    ["denied", "not denied"],
  ],
  "an operator in small letters": [
    policyOf({ ...put, Condition: { null: { [SSE]: "true" } } }),
    ["cannot be told", "not denied"],
  ],
  "a variable": [
    policyOf({ ...put, Resource: `${objects.slice(0, -1)}\${aws:username}/*`, Condition: absent }),
    ["cannot be told", "not denied"],
    "b",
  ],
  "a variable as value": [
    policyOf({ ...put, Condition: { StringNotEquals: { [CUSTOMER]: `\${aws:PrincipalTag/a}` } } }),
    ["denied", "not denied"],
  ],
  "an ARN that is not whole": [
    policyOf({ ...put, Resource: "arn:aws:s3:b/*", Condition: absent }),
    ["cannot be told", "not denied"],
    "b",
  ],
  "patterns that would take for ever": [
    policyOf(
      { ...put, Resource: `arn:aws:s3:::b/*a${"?".repeat(40)}`, Condition: absent },
      { ...put, Resource: undefined, NotResource: `arn:aws:s3:::b/*a${"?".repeat(40)}`, Condition: absent },
    ),
    ["cannot be told", "not denied"],
  ],
};

test.each(Object.entries(cases))("%s", (_, [policy, [none, plainHttp], bucket]) => {
  const json = JSON.stringify(policy);
  const explained = explainPolicy(json, bucket === undefined ? {} : { bucket });
  expect([explained.uploads.none, explained.plainHttp]).toEqual([none, plainHttp]);
});

test("what requireEncryptionPolicy makes is explained as what it was asked for", () => {
  const kms = ["SSE-KMS", "DSSE-KMS"];
  const all = ["none", "SSE-S3", ...kms, "SSE-C"];
  const rows: readonly (readonly [Partial<EncryptionPolicyOptions>, readonly string[]])[] = [
    [{ require: "SSE-S3" }, ["SSE-S3"]],
    [{ require: "SSE-KMS" }, kms],
    [{ require: "SSE-KMS", kmsKeyId: ARN }, kms],
    [{ require: "SSE-C" }, ["SSE-C"]],
    [{ require: "any" }, ["SSE-S3", ...kms]],
    [{ require: "none" }, all],
    [{ require: "none", customerKeys: "forbid" }, all.slice(0, -1)],
    [{ require: "any", partition: "aws-us-gov" }, ["SSE-S3", ...kms]],
  ];
  for (const [options, admitted] of rows) {
    const made = requireEncryptionPolicy({ bucket: "backups", require: "any", ...options });
    const { uploads, plainHttp, warnings } = explainPolicy(made);
    const verdict = options.kmsKeyId === undefined ? "not denied" : "depends"; // on the key
    expect(uploads).toEqual(
      Object.fromEntries(all.map((kind) => [kind, admitted.includes(kind) ? verdict : "denied"])),
    );
    expect([plainHttp, warnings]).toEqual(["denied", []]);
  }
});

test.each([
  [{ bucket: "\u001b[31mred" }],
  [{ bucket: "data--use1-az4--x-s3" }],
  [{ bucket: "point-s3alias" }],
  [{ partition: "aws\u001b[31m" }],
  [{ partition: "azure" }],
  [{ partition: "" }],
  [{ require: "SSE-KMS", kmsKeyId: "alias/mine" }],
  [{ require: "SSE-KMS", kmsKeyId: `${ARN}\u202e` }],
  [{ require: "SSE-KMS", kmsKeyId: "arn:aws:kms:us-east-1:111122223333:key/*" }],
] as const)("%j makes no policy", (options) => {
  expect(() => requireEncryptionPolicy({ bucket: "backups", require: "any", ...options })).toThrow(
    /expected/,
  );
});

describe("what is no policy is not explained", () => {
  const statement = { ...put, Condition: absent };
  test.each([
    ["", "JSON"],
    ["[]", "an object"],
    ["null", "an object"],
    ["{}", "statements"],
    [policyOf(), "statements"],
    [{ ...policyOf(statement), Version: "2013-01-01" }, "Version"],
    [{ ...policyOf(statement), Statements: [] }, "nothing but"],
    [policyOf({ ...statement, Effect: undefined }), "Effect of statement 1"],
    [policyOf({ ...statement, Effect: "deny" }), "Effect of statement 1"],
    [policyOf(statement, { ...statement, Principal: undefined }), "Principal or NotPrincipal in statement 2"],
    [policyOf({ ...statement, NotPrincipal: "*" }), "Principal or NotPrincipal"],
    [policyOf({ ...statement, Principal: "arn:aws:iam::111122223333:root" }), "Principal"],
    [policyOf({ ...statement, Principal: { Aws: "*" } }), "nothing but"],
    [policyOf({ ...statement, Principal: {} }), "somebody"],
    [policyOf({ ...statement, Action: [] }), "strings as Action"],
    [policyOf({ ...statement, Action: undefined }), "Action or NotAction"],
    [policyOf({ ...statement, NotResource: "*" }), "Resource or NotResource"],
    [policyOf({ ...statement, Resource: [objects, 1] }), "strings as Resource"],
    [policyOf({ ...statement, Conditions: absent, Condition: undefined }), "nothing but"],
    [policyOf({ ...statement, Condition: [absent] }), "an object as Condition"],
    [policyOf({ ...statement, Condition: { Null: [SSE] } }), "an object for each operator"],
    [policyOf({ ...statement, Condition: { Null: { [SSE]: [] } } }), "strings as values"],
    [policyOf({ ...statement, Condition: { Null: { [SSE]: null } } }), "strings as values"],
    [`{"Statement":${JSON.stringify(statement).replace("{", '{"Condition":{},')}}`, "each name once"],
  ])("%j", (policy, expected) => {
    const text = typeof policy === "string" ? policy : JSON.stringify(policy);
    expect(() => explainPolicy(text)).toThrow(TypeError);
    expect(() => explainPolicy(text)).toThrow(expected);
  });
  test("however deep it is", () => {
    const deep = `{"Statement":[${"[".repeat(100_000)}${"]".repeat(100_000)}]}`;
    expect(() => explainPolicy(deep)).toThrow("an object as statement 1");
  });
  test("names in strings are no names", () => {
    const odd = policyOf({ ...statement, Sid: '"Sid" : "x", {"Effect":' });
    expect(explainPolicy(JSON.stringify(odd)).uploads.none).toBe("denied");
  });
  test.each([[{ buckets: "b" }], [{ bucket: "" }], [{ bucket: 1 }], [{ bucket: "arn:aws:s3:::b" }]])(
    "options %j",
    (options) => {
      expect(() => explainPolicy(policyOf(statement), options as never)).toThrow(TypeError);
    },
  );
});

test("nothing of a policy is shown as it is that a terminal would obey", () => {
  const evil = "\u001b]0;x\u0007\u202e\u200b\r\n";
  const policy = policyOf({
    Sid: `fine: denies everything${evil}`,
    Effect: "Deny",
    Principal: { AWS: [`arn:aws:iam::1:${evil}`] },
    Action: [`s3:${evil}`],
    Resource: [`arn:aws:s3:::b${evil}/*`, `arn:aws:s3:::c${evil}/*`, `arn:${evil}:s3:::b/*`],
    Condition: { [`Null${evil}`]: { [`k${evil}`]: `v\${${evil}}` }, StringLike: { [SSE]: evil } },
  });
  const { sentences, warnings } = explainPolicy(JSON.stringify(policy));
  for (const text of [...sentences, ...warnings]) {
    expect(text).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
    expect(text.length).toBeLessThan(3000);
  }
  expect(sentences[0]).toMatch(/^"fine: denies everything\\u001b/);
});
