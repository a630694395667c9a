// `policy --explain`, as a user meets it: right for prefixes, other buckets, denials and allowances, and safe to print.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { frameseal } from "../support/command-line.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), "frameseal-cli-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const SSE = "s3:x-amz-server-side-encryption";
const deny = {
  Sid: "DenyClear",
  Effect: "Deny",
  Principal: "*",
  Action: "s3:PutObject",
  Resource: "arn:aws:s3:::backups/*",
  Condition: { StringNotEquals: { [SSE]: "aws:kms" } },
};
async function explain(statement: object, ...args: readonly string[]) {
  writeFileSync(
    path.join(folder, "policy.json"),
    JSON.stringify({ Version: "2012-10-17", Statement: [statement] }),
  );
  const { code, stdout, stderr } = await frameseal(["policy", ...args, "--explain", "policy.json"], {
    cwd: folder,
  });
  return { code, stdout: stdout.toString(), stderr };
}

test("a denial, whole", async () => {
  expect(await explain(deny)).toEqual({
    code: 0,
    stdout: `DenyClear: denies uploads whose server-side encryption is not aws:kms, or not named
uploads without encryption: denied
plain http: not denied
uploads with SSE-S3: denied
uploads with SSE-KMS: not denied
uploads with DSSE-KMS: denied
uploads with SSE-C: denied
`,
    stderr: "frameseal: plain http is not denied\n",
  });
});

test.each([
  [
    { Resource: "arn:aws:s3:::backups/2026/*" },
    "depends",
    "DenyClear does not cover all objects of the bucket",
  ],
  [
    { Resource: "arn:aws:s3:::backups-old/*" },
    "not denied",
    "bucket backups-old is another one than backups",
  ],
  [{ Effect: "Allow" }, "not denied", "plain http is not denied"],
  [{ Action: "s3:Put*" }, "denied", "plain http is not denied"],
  [{ Condition: { StringNotEqualsIfExists: { [SSE]: "aws:kms" } } }, "denied", "plain http"],
  [
    { Condition: { StringIsNot: { [SSE]: "aws:kms" } } },
    "cannot be told",
    "operator StringIsNot is not known here",
  ],
])("%j: %s", async (change, verdict, warning) => {
  const { stdout, stderr } = await explain({ ...deny, ...change }, "backups");
  expect(stdout).toContain(`uploads without encryption: ${verdict}\n`);
  expect(stderr).toContain(warning);
});

test("escape sequences are shown, and not obeyed", async () => {
  const evil = "\u001b[2J\u009b31m\u202e\u200f\u2066";
  const statement = { ...deny, Sid: evil, Action: `s3:${evil}`, Resource: `arn:aws:s3:::b${evil}/*` };
  for (const json of [[], ["--json"]]) {
    const { code, stdout, stderr } = await explain(statement, ...json);
    expect(code).toBe(0);
    expect(stdout + stderr).not.toMatch(/[^\P{Cc}\n]|\p{Cf}/u);
    expect(stdout).toContain("u001b");
  }
  const { stderr, code } = await explain({ ...deny, [evil]: 1 });
  expect(stderr).toMatch(/^frameseal: this is no bucket policy: [ -~]+\n$/);
  expect(code).toBe(1);
});

test("standard input, and what is no policy", async () => {
  const args = ["policy", "--explain", "-", "--json"];
  const policy = Buffer.from(JSON.stringify({ Statement: deny }));
  const { stdout } = await frameseal(args, { cwd: folder, stdin: policy });
  expect(JSON.parse(stdout.toString())).toMatchObject({ demandsEncryption: true, plainHttp: "not denied" });
  const empty = await frameseal(args, { cwd: folder });
  expect(empty).toMatchObject({
    code: 1,
    stderr: "frameseal: this is no bucket policy: expected JSON\n",
  });
  const mistaken = await frameseal(["policy", "arn:aws:s3:::b", "--explain", "-"], {
    cwd: folder,
    stdin: policy,
  });
  expect(mistaken).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("the name of the bucket expected no ARN"),
  });
});

test("options that would be ignored are refused", async () => {
  const making = [
    ["--require", "kms"],
    ["--kms-key", "arn"],
    ["--forbid-sse-c"],
    ["--allow-http"],
    ["--partition", "aws"],
  ];
  for (const option of [...making, ["--apply"], ["--show"]]) {
    const { code, stderr, stdout } = await explain(deny, "backups", ...option);
    expect([option, code, stdout]).toEqual([option, 2, ""]);
    expect(stderr).toContain(option[0]);
  }
});
