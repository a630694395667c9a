// Every option of every command has an effect: a row says what can be seen with it and not without it, and both are run.
// And every value that is none is refused, in one line that names the option. An option without a row, or a row
// without an option, is red.
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { CreateBucketCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { describeHeader } from "../../src/cli/header-description.ts";
import { createProgram, run } from "../../src/cli/program.ts";
import { inspectHeader } from "../../src/index.ts";
import { frameseal } from "../support/command-line.ts";
import { ACCOUNT, FakeKms } from "../support/fake-kms.ts";
import { FULL } from "../support/full.ts";
import { observe, startObserving } from "../support/observed-command.ts";
import { S3Server, type StoredS3Object } from "../support/s3-server.ts";
import vectors from "../vectors/s3ec-objects.json" with { type: "json" };

vi.mock("node:fs", async (original) => {
  const { observedFs } = await import("../support/observed-command.ts");
  return observedFs(await original<typeof import("node:fs")>());
});
vi.mock("#frameseal/bench/command.js", async () => {
  const { see } = await import("../support/observed-command.ts");
  return {
    bench: async (words: unknown, options: unknown) => see(`bench ${JSON.stringify({ words, options })}`),
  };
});

const Bucket = "bucket";
/** Several parts of the least length that S3 takes. */
const longPlaintext = randomBytes(11 * 2 ** 20);
let folder: string;
let server: S3Server;
let kms: FakeKms;
let kmsKey: string;
let home: string;
/** What the bucket has before every run. */
let stored: ReadonlyMap<string, StoredS3Object> = new Map();

/** Command lines as the rows write them; names in braces are filled in. */
const fill = (args: readonly string[]): string[] =>
  args.map((arg) =>
    arg.replaceAll(/\{(\w+)\}/g, (all, name: string) => {
      const values: Record<string, string> = {
        s3: server.endpoint,
        localhost: server.endpoint.replace("127.0.0.1", "localhost"),
        pipe: "cat long long",
        kms: kms.url,
        kmsKey,
        account: ACCOUNT,
        eTag: server.buckets.get(Bucket)?.get("framed")?.eTag ?? "",
      };
      return values[name] ?? all;
    }),
  );

/** The files that are there before every run. */
const fixed: Record<string, string | Uint8Array> = {};
const environment = {
  AWS_ACCESS_KEY_ID: "a",
  AWS_SECRET_ACCESS_KEY: "b",
  AWS_REGION: "us-east-1",
  AWS_EC2_METADATA_DISABLED: "true",
};

beforeAll(async () => {
  home = process.cwd();
  folder = mkdtempSync(path.join(tmpdir(), "frameseal-options-"));
  process.chdir(folder);
  [server, kms] = await Promise.all([S3Server.start(), FakeKms.start()]);
  kmsKey = kms.createKey("us-east-1");
  await server.client().send(new CreateBucketCommand({ Bucket }));
  Object.assign(process.env, environment, { AWS_SHARED_CREDENTIALS_FILE: path.join(folder, "profiles") });
  for (const name of ["a", "b"])
    fixed[`${name}.jwk`] = JSON.stringify({
      kty: "oct",
      kid: name,
      k: randomBytes(32).toString("base64url"),
    });
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  fixed["rsa.pem"] = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  fixed["rsa.pub"] = publicKey.export({ type: "spki", format: "pem" }).toString();
  fixed.profiles = "[other]\naws_access_key_id = OTHER\naws_secret_access_key = b\n";
  fixed.plain = "plaintext of some length";
  fixed.long = longPlaintext;
  fixed["sse-c.key"] = randomBytes(32);
  fixed["policy.json"] =
    '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"*"}]}';
  restore();
  const s3 = ["--endpoint", "{s3}"];
  const loose = ["--commitment-policy", "FORBID_ENCRYPT_ALLOW_DECRYPT"];
  const suffix = ["--instruction-file", "--instruction-file-suffix", ".other"];
  for (const line of [
    ["encrypt", "-k", "a.jwk", "-c", "x=1", "plain", "-o", "sealed"],
    ["encrypt", "-k", "a.jwk", "-k", "b.jwk", "plain", "-o", "sealed.two"],
    ["encrypt", "-k", "a.jwk", ...loose, "plain", "-o", "sealed.loose"],
    ["encrypt", "-k", "rsa.pub", "plain", "-o", "sealed.rsa"],
    ["encrypt", "--kms", "{kmsKey}", "--endpoint", "{kms}", "plain", "-o", "sealed.kms"],
    ["put", "-k", "a.jwk", "-c", "x=1", "plain", "s3://bucket/framed", ...s3],
    ["put", "-k", "a.jwk", "-k", "b.jwk", "plain", "s3://bucket/two", ...s3],
    ["put", "-k", "a.jwk", ...loose, "plain", "s3://bucket/loose", ...s3],
    ["put", "-k", "rsa.pub", "plain", "s3://bucket/rsa", ...s3],
    ["put", "--kms", "{kmsKey}", "--kms-endpoint", "{kms}", "plain", "s3://bucket/kms", ...s3],
    ["put", "-k", "a.jwk", "--format", "s3ec-v3", "long", "s3://bucket/single", ...s3],
    ["put", "-k", "a.jwk", "--format", "s3ec-v3", ...suffix, "plain", "s3://bucket/beside", ...s3],
  ]) {
    const { code, stderr } = await observe(run, fill(line));
    expect({ code, stderr }, line.join(" ")).toEqual({ code: 0, stderr: "" });
  }
  for (const name of readdirSync(folder)) if (name.startsWith("sealed")) fixed[name] = readFileSync(name);
  const moved = server.object(Bucket, "framed");
  server.buckets.get(Bucket)?.set("moved", moved);
  for (const [name, part] of [
    ["wrapped", "Java SDK 1, AESWrap, aes, 17 bytes"],
    ["unauthentic", "Java SDK 1, s3ec-v1, aes, 17 bytes"],
  ] as const) {
    const vector = vectors.find((each) => each.name === part);
    if (vector === undefined) throw new Error(`no vector ${part}`);
    const key = Buffer.from((vector as { aesKey?: string }).aesKey ?? "", "base64");
    fixed[`${name}.jwk`] = JSON.stringify({ kty: "oct", kid: name, k: key.toString("base64url") });
    const Metadata = Object.fromEntries(
      Object.entries(vector.metadata).map(([entry, value]) => [entry, value ?? ""]),
    );
    await server
      .client()
      .send(new PutObjectCommand({ Bucket, Key: name, Body: Buffer.from(vector.body, "base64"), Metadata }));
  }
  restore();
  stored = new Map(server.buckets.get(Bucket));
  startObserving();
}, 60_000);
afterAll(async () => {
  process.chdir(home);
  await Promise.all([server[Symbol.asyncDispose](), kms[Symbol.asyncDispose]()]);
  rmSync(folder, { recursive: true });
});

function restore(): void {
  for (const name of readdirSync(folder))
    if (!(name in fixed)) rmSync(path.join(folder, name), { recursive: true });
  for (const [name, content] of Object.entries(fixed))
    if (!existsSync(name)) writeFileSync(name, content, { mode: 0o600 });
  const bucket = server.buckets.get(Bucket);
  if (stored.size === 0) return;
  for (const key of [...(bucket?.keys() ?? [])]) if (!stored.has(key)) bucket?.delete(key);
  for (const [key, object] of stored) bucket?.set(key, object);
}

interface Row {
  /** Commands of which this is said. */
  readonly of: readonly string[];
  readonly option: string;
  /** The command line without the option. */
  readonly line: (command: string) => string;
  /** What is added to it; by default nothing but the option. */
  readonly given: string;
  /** Seen with the option, and not without it. */
  readonly shows?: RegExp;
  /** Seen without the option, and not with it. */
  readonly hides?: RegExp;
  /** Run afterwards, and seen too. */
  readonly after?: string;
  readonly before?: () => void;
  readonly terminal?: true;
  /** In a process of its own, since it writes to standard output. */
  readonly child?: true;
}

/** What a command was seen to do: itself, the files it made, the objects it stored, and the command that follows. */
async function seenOf(row: Row, line: string): Promise<string> {
  restore();
  row.before?.();
  const files = new Set(readdirSync(folder));
  const args = fill(line.split(" ").filter((word) => word !== ""));
  let all: string;
  if (row.child === true) {
    const { code, stdout, stderr } = await frameseal(args, { cwd: folder });
    all = `exit ${code}\nout ${stdout.length}\nerr ${stderr}`;
  } else ({ all } = await observe(run, args, row.terminal));
  for (const [name, content] of newFiles(files)) all += `\nfile ${name} ${contentOf(content)}`;
  for (const [key, object] of server.buckets.get(Bucket) ?? []) {
    if (stored.get(key) === object) continue;
    all += `\nstored ${key} ${JSON.stringify(object.headers)} ${contentOf(object.body)}`;
  }
  if (row.after !== undefined) all += `\nthen ${(await observe(run, fill(row.after.split(" ")))).all}`;
  return all;
}
function newFiles(before: ReadonlySet<string>): readonly (readonly [string, Buffer])[] {
  const made = readdirSync(folder).filter((name) => !before.has(name));
  return made.map((name) => [name, readFileSync(path.join(folder, name))] as const);
}
const contentOf = (bytes: Buffer): string => {
  try {
    return JSON.stringify(describeHeader({ ...inspectHeader(bytes), headerLength: 0 }));
  } catch {
    return `${bytes.length} bytes ${bytes.subarray(0, 20).toString("hex")}`;
  }
};

const files = ["encrypt", "decrypt"];
const messages = [...files, "verify", "put", "get", "cat"];
const readers = ["decrypt", "verify", "get", "cat"];
const writers = ["encrypt", "put"];
const objects = ["put", "get", "cat", "verify", "inspect", "rewrap"];
const objectReaders = ["get", "cat", "verify"];
const reporting = messages.filter((name) => name !== "cat");
const aws = [...messages, "inspect", "rewrap", "policy"];

/** A line that works, of which rows change the key and what is read. */
function line(command: string, { key = "-k a.jwk", of = "framed", more = "" } = {}): string {
  const sealed = of === "framed" ? "sealed" : `sealed.${of}`;
  const lines: Readonly<Record<string, string>> = {
    encrypt: `encrypt ${key} ${more} plain -o out`,
    decrypt: `decrypt ${key} ${more} ${sealed} -o out`,
    put: `put ${key} ${more} plain s3://bucket/new --endpoint {s3}`,
    get: `get ${key} ${more} s3://bucket/${of} out --endpoint {s3}`,
    cat: `cat ${key} ${more} s3://bucket/${of} --endpoint {s3}`,
    verify: `verify ${key} ${more} s3://bucket/${of} --endpoint {s3}`,
    inspect: `inspect ${more} s3://bucket/${of} --endpoint {s3}`,
    rewrap: `rewrap --from a.jwk --to b.jwk ${more} s3://bucket/${of} --endpoint {s3}`,
    policy: `policy bucket --show ${more} --endpoint {s3}`,
  };
  return lines[command] ?? `${command} ${more}`;
}
const plainLine = (command: string): string => line(command);
const lineWith =
  (how: { key?: string; of?: string; more?: string }) =>
  (command: string): string =>
    line(command, how);
const loosely = "--commitment-policy REQUIRE_ENCRYPT_ALLOW_DECRYPT";
const forbid = "--commitment-policy FORBID_ENCRYPT_ALLOW_DECRYPT";

/** One row for each option of a group of commands: option and value, what shows it, and how the line differs. */
const row = (
  of: readonly string[],
  given: string,
  shows: RegExp | undefined,
  more: Partial<Omit<Row, "of" | "given">> = {},
): Row => ({
  of,
  option: /^-\S+/.exec(given)?.[0] ?? "",
  line: plainLine,
  given,
  ...(shows === undefined ? {} : { shows }),
  ...more,
});

const failed = /^exit 1\n/;
const done = /^exit 0\n/;
const untrusted = /^exit 3\n/;
const existing = { before: () => writeFileSync("out", "older") };
const single = { of: "single" };
const wrapped = { key: "-k wrapped.jwk", of: "wrapped", more: loosely };
const unauthentic = {
  key: "-k unauthentic.jwk",
  of: "unauthentic",
  more: `${loosely} --enable-legacy-wrapping-algorithms`,
};
const piped = "put -k a.jwk --from-command {pipe} s3://bucket/new --endpoint {s3}";

const rows: readonly Row[] = [
  // Keys.
  row(messages, "--key a.jwk", done, { line: lineWith({ key: "" }) }),
  row(writers, "--key-namespace other", /"providerId":"other"/),
  row(readers, "--key-namespace other", untrusted),
  row(writers, "--key-name other", /"keyName":"other"/),
  row(readers, "--key-name other", untrusted),
  row(["encrypt"], "--rsa-padding OAEP-SHA-1", /then exit 3/, {
    line: lineWith({ key: "-k rsa.pub" }),
    after: "decrypt -k rsa.pem out -o opened",
  }),
  row(["put"], "--rsa-padding OAEP-SHA-1", /then exit 3/, {
    line: lineWith({ key: "-k rsa.pub" }),
    after: "verify -k rsa.pem s3://bucket/new --endpoint {s3}",
  }),
  row(readers, "--rsa-padding OAEP-SHA-512", untrusted, { line: lineWith({ key: "-k rsa.pem", of: "rsa" }) }),
  row(["encrypt", "put"], "--kms {kmsKey} --kms-endpoint {kms}", /"kind":"AWS KMS"/),
  row(readers, "--kms {kmsKey} --kms-endpoint {kms}", done, { line: lineWith({ key: "", of: "kms" }) }),
  row(readers, "--kms-discovery {account} --kms-endpoint {kms}", done, {
    line: lineWith({ key: "", of: "kms" }),
  }),
  row(messages, "--kms-endpoint {kms}", done, {
    line: (command) =>
      `${line(command, { key: "--kms {kmsKey}", of: "kms" })}${files.includes(command) ? " --endpoint {s3}" : ""}`,
  }),
  // Messages.
  row(writers, "--context x=1", /"encryptionContext":\{[^}]*"x":"1"/),
  row([...readers, "rewrap"], "--context x=2", untrusted),
  row(writers, forbid, /"suite":"0x0178"/),
  row([...readers, "rewrap"], loosely, done, { line: lineWith({ of: "loose" }) }),
  row([...messages, "rewrap"], "--engine native:none", failed),
  row(messages, "--max-plaintext 10", failed),
  row([...readers, "rewrap"], "--max-frame-length 16", failed),
  row(writers, "--max-frame-length 128M", done, { line: lineWith({ more: "--frame-length 100M" }) }),
  row([...readers, "rewrap"], "--max-encrypted-data-keys 1", failed, { line: lineWith({ of: "two" }) }),
  row(writers, "--max-encrypted-data-keys 1", failed, { line: lineWith({ key: "-k a.jwk -k b.jwk" }) }),
  row(writers, "--frame-length 4K", /"frameLength":4096/),
  row(writers, "--suite 0x0146", /"suite":"0x0146"/, { line: lineWith({ more: forbid }) }),
  row(writers, "--required-context x", /"encryptionContext":\{("frameseal-key":"new")?\}/, {
    line: lineWith({ more: "-c x=1" }),
  }),
  // Reports.
  row(reporting, "--progress", /^interval 200$/m),
  row(reporting, "--no-progress", undefined, { hides: /^interval 200$/m, terminal: true }),
  row([...reporting, "inspect", "rewrap"], "--json", /^(out \d+|err) \{/m),
  // Files.
  row(files, "--output out", /^file out /m, {
    line: (command) => line(command).replace(" -o out", ""),
    child: true,
  }),
  row([...files, "get"], "--force", done, existing),
  row([...files, "get"], "--no-sync", undefined, { hides: /^sync$/m }),
  row(["keygen"], "--output new", /^file new /m),
  row(["keygen"], "--type rsa", /^file new\.pub /m, { line: () => "keygen -o new" }),
  row(["keygen"], "--json", /^out \d+ \{"file":"new"/m, { line: () => "keygen -o new" }),
  // Services.
  row(aws, "--endpoint {s3}", /^request .*\/\/127\.0\.0\.1:/m, {
    line: (command) =>
      `${line(command, files.includes(command) ? { key: "--kms {kmsKey}", of: "kms" } : {}).replace(" --endpoint {s3}", "")} --connect-timeout 1`,
  }),
  row(aws, "--region eu-north-1", /\/eu-north-1\/(s3|kms)\//, { line: withKms }),
  row(aws, "--profile other", /Credential=OTHER/, { line: withKms }),
  row(aws, "--connect-timeout 77", /connect 77000 /, { line: withKms }),
  row(aws, "--read-timeout 77", /read 77000$/m, { line: withKms }),
  row(aws, "--timeout 7h", /^timer 25200000$/m, { line: withKms }),
  // Objects.
  row(["put"], "--bind prefix", /"frameseal-prefix"/, {
    line: () => line("put").replace("/new", "/folder/new"),
  }),
  row(objectReaders, "--bind none", done, { line: lineWith({ of: "moved" }) }),
  row(["rewrap"], "--bind none", done, { line: lineWith({ of: "moved" }) }),
  row([...objects], "--sse-c-key sse-c.key", /customer-algorithm: AES256/),
  row(objects, "--addressing virtual", /^request .*\/\/bucket\.localhost:/m, {
    line: (command) => line(command).replace("{s3}", "{localhost}"),
  }),
  row([...objectReaders, "rewrap"], "--instruction-file-suffix .other", done, {
    line: lineWith({ of: "beside" }),
  }),
  row([...objectReaders], "--enable-legacy-wrapping-algorithms", done, { line: lineWith(wrapped) }),
  row(["rewrap"], "--enable-legacy-wrapping-algorithms", done, {
    line: () => `rewrap --from wrapped.jwk --to b.jwk ${loosely} s3://bucket/wrapped --endpoint {s3}`,
  }),
  row(objectReaders, "--enable-legacy-unauthenticated-modes", done, { line: lineWith(unauthentic) }),
  row(["get"], "--buffer-size 1M", /GET[\s\S]*GET/, {
    line: () => line("get", single).replace(" out ", " - "),
  }),
  row(["cat"], "--buffer-size 1M", /GET[\s\S]*GET/, { line: lineWith(single) }),
  row(["cat"], "--range 2-4", /^out 3 /m),
  row(["put"], "--format s3ec-v3", /x-amz-meta-x-amz-c/),
  row(["put"], "--material-description year=1", /year/, { line: lineWith({ more: "--format s3ec-v3" }) }),
  row(["put"], "--instruction-file", /^stored new\.instruction /m, {
    line: lineWith({ more: "--format s3ec-v3" }),
  }),
  row(["put"], "--instruction-file-suffix .mine", /^stored new\.mine /m, {
    line: lineWith({ more: "--format s3ec-v3 --instruction-file" }),
  }),
  row(["put"], "--sse s3", /x-amz-server-side-encryption: AES256/),
  row(["put"], "--sse-kms-key {kmsKey}", /aws-kms-key-id: arn/, { line: lineWith({ more: "--sse kms" }) }),
  row(["put"], "--part-size 5M", /partNumber=3/, { line: () => line("put").replace("plain", "long") }),
  row(["put"], "--concurrency 1", undefined, {
    hides: /^at once 2$/m,
    line: () => line("put", { more: "--part-size 5M" }).replace("plain", "long"),
  }),
  row(["put"], "--memory 16M", failed, { line: () => `${piped} --part-size 20M --spool-folder none` }),
  row(["put"], "--expected-size 120G", undefined, {
    hides: /partNumber=3/,
    line: () => `${piped} --memory 128M`,
  }),
  row(["put"], "--spool-folder none", /err .*--spool-folder/, {
    line: () => `${piped} --memory 16M --part-size 20M`,
  }),
  row(["put"], "--from-command {pipe}", done, {
    line: () => line("put").replace("plain ", ""),
    child: true,
  }),
  row(["put"], "--allow-empty", done, {
    line: () => "put -k a.jwk --from-command true s3://bucket/new --endpoint {s3}",
  }),
  // Fields of S3.
  row(["get", "cat", "verify", "inspect", "rewrap"], "--version-id one", /versionId=one/),
  row(["put"], "--metadata own=1", /x-amz-meta-own: 1/),
  row(["put"], "--tag own=1", /x-amz-tagging: own=1/),
  row(["put"], "--storage-class GLACIER_IR", /x-amz-storage-class: GLACIER_IR/),
  row(["put"], "--acl public-read", /x-amz-acl: public-read/),
  row(["put"], "--checksum-algorithm SHA256", /x-amz-checksum-sha256/),
  row(["put"], "--content-type text/csv", /content-type: text\/csv/i),
  row(["put"], "--content-encoding gzip", /gzip/),
  row(["put"], "--content-language de", /content-language: de/i),
  row(["put"], "--content-disposition inline", /content-disposition: inline/i),
  row(["put"], "--cache-control no-store", /cache-control: no-store/i),
  row(["put"], "--expires 2030-01-31", /expires: .*2030/i),
  row(
    ["put"],
    "--object-lock-mode GOVERNANCE --object-lock-until 2030-01-31",
    /x-amz-object-lock-mode: GOVERNANCE/,
  ),
  row(
    ["put"],
    "--object-lock-until 2030-01-31 --object-lock-mode GOVERNANCE",
    /x-amz-object-lock-retain-until-date: 2030-01-31/,
  ),
  row(["put"], "--object-lock-legal-hold", /x-amz-object-lock-legal-hold: ON/),
  row(["put"], "--no-overwrite", /if-none-match: \*/),
  row(["put", ...objectReaders], "--if-match {eTag}", /if-match: "/),
  row(objectReaders, "--if-none-match {eTag}", /if-none-match: "/),
  row(objects, "--expected-bucket-owner 111122223333", /x-amz-expected-bucket-owner: 111122223333/),
  row(objects, "--request-payer", /x-amz-request-payer: requester/),
  // rewrap.
  row(["rewrap"], "--from a.jwk", done, {
    line: () => "rewrap --to b.jwk s3://bucket/framed --endpoint {s3}",
  }),
  row(["rewrap"], "--to b.jwk", done, {
    line: () => "rewrap --from a.jwk s3://bucket/framed --endpoint {s3}",
  }),
  row(["rewrap"], "--enforce-rotation", failed, { line: () => line("rewrap").replace("b.jwk", "a.jwk") }),
  row(["rewrap"], "--new-context n=1", /"n":"1"/),
  row(["rewrap"], "--material-description year=1", /year/, { line: lineWith(single) }),
  row(["rewrap"], "--new-instruction-file-suffix .new", /^stored beside\.new /m, {
    line: lineWith({ of: "beside", more: "--instruction-file-suffix .other" }),
  }),
  row(["rewrap"], "--key-namespace other", untrusted),
  row(["rewrap"], "--rsa-padding OAEP-SHA-1", /then exit 3/, {
    line: () => line("rewrap").replace("b.jwk", "rsa.pub"),
    after: "verify -k rsa.pem s3://bucket/framed --endpoint {s3}",
  }),
  row(["rewrap"], "--kms-endpoint {kms}", done, { line: () => line("rewrap").replace("b.jwk", "{kmsKey}") }),
  // policy.
  row(["policy"], "--require kms", undefined, { hides: /AES256/, line: () => "policy bucket" }),
  row(["policy"], "--kms-key {kmsKey}", /arn:aws:kms/, { line: () => "policy bucket --require kms" }),
  row(["policy"], "--forbid-sse-c", /customer-algorithm/, { line: () => "policy bucket --require s3" }),
  row(["policy"], "--allow-http", undefined, { hides: /SecureTransport/, line: () => "policy bucket" }),
  row(["policy"], "--partition aws-cn", /arn:aws-cn/, { line: () => "policy bucket" }),
  row(["policy"], "--apply", /^request PUT /m, { line: () => "policy bucket --endpoint {s3}" }),
  row(["policy"], "--show", /^request GET /m, { line: () => "policy bucket --endpoint {s3}" }),
  row(["policy"], "--explain policy.json", /plain http/, { line: () => "policy bucket" }),
  row(["policy"], "--json", /^out \d+ \{/m, { line: () => "policy --explain policy.json" }),
  // engine and bench.
  row(["engine"], "--engine node", /--engine asks for it/),
  row(["engine"], "--json", /^out \d+ \{/m),
  ...[
    "--full",
    "--list",
    "--claims",
    "--json {s3}",
    "--html page",
    "--baseline run",
    "--rounds 9",
    "--round-ms 9",
  ].map((given) =>
    row(
      ["bench"],
      given,
      new RegExp(`^bench .*"${/[a-z]+/.exec(given)?.[0]}.*(true|${given.slice(-1)})`, "m"),
    ),
  ),
];

// For files, AWS is asked only for its keys.
function withKms(command: string): string {
  return files.includes(command)
    ? `${line(command, { key: "--kms {kmsKey}", of: "kms" })} --endpoint {kms}`
    : line(command);
}

test("every option has a row, and every row an option", async () => {
  const program = await createProgram();
  const options = program.commands.flatMap((command) =>
    command.options.map((option) => `${command.name()} ${option.long}`),
  );
  const told = rows.flatMap(({ of, option }) => of.map((command) => `${command} ${option}`));
  expect(told.sort()).toEqual(options.sort());
});

const seenWithout = new Map<string, string>();

// All commands of a row in the full run; in the ordinary one two, of which the second is another for each row.
const sample = rows.flatMap((each, index) =>
  each.of
    .filter((_, at) => FULL || at === 0 || at === 1 + (index % Math.max(1, each.of.length - 1)))
    .map((command) => ({ ...each, command })),
);

test.each(sample)("$command $given", async (each) => {
  const without = each.line(each.command);
  // Many rows differ from the same line.
  const { after: followed, before: prepared, terminal } = each;
  const name = JSON.stringify([without, followed, prepared?.toString(), terminal]);
  const before = seenWithout.get(name) ?? (await seenOf(each, without));
  seenWithout.set(name, before);
  const after = await seenOf(each, `${without} ${each.given}`);
  if (each.shows !== undefined) {
    expect(after, "with").toMatch(each.shows);
    expect(before, "without").not.toMatch(each.shows);
  }
  if (each.hides !== undefined) {
    expect(after, "with").not.toMatch(each.hides);
    expect(before, "without").toMatch(each.hides);
  }
  expect(each.shows ?? each.hides).toBeDefined();
});

/** What can be typed for options: values that are none, and what the refusal has to say besides the name. */
const kinds: Readonly<
  Record<string, { readonly of: readonly string[]; readonly junk: readonly string[]; readonly says?: RegExp }>
> = {
  bytes: {
    of: [
      ...["--max-plaintext", "--max-frame-length", "--frame-length", "--buffer-size"],
      ...["--part-size", "--memory", "--expected-size"],
    ],
    junk: [
      ...["NaN", "1e3", "-1", "0x10", "1.5", " ", " 1", "1 ", "+1", "1_000", "1,000", "Infinity"],
      ...["9".repeat(30), "\u0661", "1X", "1KK", "K", "null", "1\n"],
    ],
    says: /such as 65536, 64K or 1M/,
  },
  counts: {
    of: ["--max-encrypted-data-keys", "--concurrency", "--rounds", "--round-ms"],
    junk: [
      ...["0", "NaN", "1e3", "-1", "0x10", "1.5", " ", " 1", "1 ", "+1", "1_000", "Infinity"],
      ...["9".repeat(30), "\u0661", "1K", "null"],
    ],
    says: /whole number/,
  },
  times: {
    of: ["--connect-timeout", "--read-timeout", "--timeout"],
    junk: ["0", "0s", "NaN", "1e3", "-1", "0x10", "1.5", " ", " 1", "1 s", "1w", "9".repeat(30), "Infinity"],
    says: /such as 30, 30s, 5m or 2h/,
  },
  suites: {
    of: ["--suite"],
    junk: ["NaN", "0x10", "-1", "1.5", " ", "0x0478 ", "0x0078", "GCM"],
    says: /0x0478/,
  },
  words: {
    of: [
      ...["--type", "--rsa-padding", "--commitment-policy", "--bind", "--addressing", "--format", "--sse"],
      ...["--require", "--checksum-algorithm", "--object-lock-mode"],
    ],
    junk: ["nonsense", " ", "toString", "__proto__", "\u001b[31m"],
    says: /expected .* or |is one of|no such word|is s3, kms|go together/,
  },
  engines: {
    of: ["--engine"],
    junk: ["nonsense", "Native", "native:", "native: ", "web"],
    says: /native, node/,
  },
  partitions: { of: ["--partition"], junk: ["nonsense", "AWS", "aws_cn"], says: /aws-cn/ },
  addresses: {
    of: ["--endpoint", "--kms-endpoint"],
    junk: [
      "nonsense",
      "ftp://127.0.0.1",
      "http:",
      "http://",
      "127.0.0.1:9000",
      "https://u:secret@h",
      "https://h/?a=secret",
    ],
    says: /address/,
  },
  regions: {
    of: ["--region"],
    junk: ["eu west 1", "eu/west", "-eu", "eu.west", "x".repeat(64)],
    says: /eu-central-1/,
  },
  accounts: {
    of: ["--kms-discovery"],
    junk: ["1", "11112222333", "111122223333:", "aws"],
    says: /12 digits/,
  },
  pairs: {
    of: ["--context", "--new-context", "--material-description", "--metadata", "--tag"],
    junk: ["nothing", "=value", "\u202enothing"],
    says: /key=value|name=value|does not go with/,
  },
  dates: {
    of: ["--expires", "--object-lock-until"],
    junk: ["tomorrow", "2030-13-01", "31.12.2030", "1"],
    says: /2030-01-31|go together/,
  },
  ranges: { of: ["--range"], junk: ["5", "a-b", "-", "5-1-2", " 0-1", "0-1,3-4"], says: /first-last/ },
  keyIds: { of: ["--kms"], junk: ["nonsense key", "arn:aws:s3:::bucket", "0".repeat(64)], says: /key/ },
  /** A name that no file has fails, with exit code 1, and names the file; a folder too. */
  files: { of: ["--key", "--sse-c-key", "--from", "--to", "--explain"], junk: [] },
  /** Everything that is not empty can be meant. */
  free: {
    of: [
      ...[
        "--output",
        "--key-namespace",
        "--key-name",
        "--profile",
        "--required-context",
        "--version-id",
        "--if-match",
      ],
      ...[
        "--if-none-match",
        "--expected-bucket-owner",
        "--instruction-file-suffix",
        "--new-instruction-file-suffix",
      ],
      ...["--sse-kms-key", "--spool-folder", "--from-command", "--storage-class", "--acl", "--content-type"],
      ...[
        "--content-encoding",
        "--content-language",
        "--content-disposition",
        "--cache-control",
        "--kms-key",
      ],
      ...["--json", "--html", "--baseline"],
    ],
    junk: [],
  },
};

const ordinary = (command: string): string[] =>
  fill(
    line(command)
      .split(" ")
      .filter((word) => word !== ""),
  ).concat(command === "keygen" ? ["-o", "new"] : []);

/** Refused with exit code 2, in one line that names the option. */
async function refused(args: readonly string[], name: string): Promise<string> {
  const { code, stdout, stderr } = await observe(run, args);
  const shown = args.map((arg) => JSON.stringify(arg)).join(" ");
  expect({ code, stdout }, `${shown}: ${stderr}`).toEqual({ code: 2, stdout: "" });
  expect(stderr, shown).toMatch(/^frameseal: [^\p{C}]{1,500}\n$/u);
  expect(stderr, shown).toContain(name);
  return stderr;
}

test("every value that is none is refused by name", async () => {
  const program = await createProgram();
  let count = 0;
  for (const command of program.commands) {
    const flags = new Set(command.options.map((option) => option.long ?? ""));
    for (const option of command.options) {
      const name = option.long ?? "";
      const args = [
        ...ordinary(command.name()).filter((word, at, all) => word !== name && all[at - 1] !== name),
      ];
      if (!option.required) {
        expect(Object.values(kinds).some(({ of }) => of.includes(name)) && !flags.has(name), name).toBe(
          false,
        );
        continue;
      }
      const kind = Object.values(kinds).filter(({ of }) => of.includes(name));
      expect(kind.length, `kinds of ${name}`).toBe(1);
      await refused([...args, name, ""], name);
      await refused([...args, `${name}=`], name);
      await refused([...args, name], name);
      const other = [...flags].find((flag) => flag !== name) ?? "";
      await refused([...args, name, other === "" ? name : other], name);
      count += 4;
      for (const value of kind[0]?.junk ?? []) {
        const text = await refused([...args, `${name}=${value}`], name);
        expect(text).toMatch(kind[0]?.says ?? /./);
        expect(text).not.toContain("secret");
        count++;
      }
    }
  }
  expect(count).toBeGreaterThan(1000);
});

test("an option that cannot be repeated is refused when it is given twice", async () => {
  const program = await createProgram();
  for (const command of program.commands)
    for (const { long, description, required } of command.options) {
      if (!required || description.includes("repeatable")) continue;
      const value =
        rows.find(({ of, option }) => option === long && of.includes(command.name()))?.given.split(" ")[1] ??
        "";
      const given = fill([`${long}=${value}`]);
      const { code, stderr } = await observe(run, [command.name(), ...given, ...given]);
      expect({ code, stderr }).toEqual({
        code: 2,
        stderr: `frameseal: ${long} is given twice
`,
      });
    }
  await refused(["encrypt", "--progress", "--no-progress"], "--no-progress");
});

test("what is no option is refused, with the nearest", async () => {
  const program = await createProgram();
  for (const command of program.commands)
    for (const { long } of command.options) {
      const name = long ?? "";
      if (name.length < 6) continue;
      const mistyped = `${name.slice(0, 4)}${name.slice(5)}`;
      const text = await refused([command.name(), `${mistyped}=secret`], mistyped);
      expect(text, mistyped).toMatch(/did you mean --/);
      expect(text).not.toContain("secret");
      await refused([command.name(), name.slice(1)], name);
    }
  expect(await refused(["encrpt"], "encrpt")).toContain("did you mean encrypt?");
});

test("a file that is none fails, and is named", async () => {
  for (const [option, command] of [
    ["--key", "verify"],
    ["--sse-c-key", "verify"],
    ["--from", "rewrap"],
    ["--to", "rewrap"],
    ["--explain", "policy"],
  ] as const)
    for (const [file, text] of [
      ["/var/run/secrets/frameseal/backup-master-key", "no such file"],
      ["absent-Key-2026-of-the-Backups-in-Frankfurt-1", "no such file"],
      [".", "is a folder"],
      ["absent/file", "no such file"],
    ] as const) {
      const args = ordinary(command).filter((word, at, all) => word !== option && all[at - 1] !== option);
      const { code, stderr } = await observe(run, [...args, option, file]);
      expect({ code, stderr }, `${option} ${file}`).toEqual({
        code: 1,
        stderr: expect.stringContaining(text),
      });
      expect(stderr).toContain(file);
    }
});

test("a key in place of a name is refused and not shown; a file of that name is taken", async () => {
  const bytes = randomBytes(32);
  const keys = [
    ...[bytes.toString("hex"), `0x${bytes.toString("hex")}`, `hex:${bytes.toString("hex")}`],
    ...[bytes.toString("base64"), bytes.toString("base64url"), `base64:${bytes.toString("base64")}`],
    ...[bytes.subarray(16).toString("hex"), bytes.subarray(16).toString("base64")],
    bytes
      .toString("hex")
      .replace(/..(?!$)/g, "$&:")
      .toUpperCase(),
    String(fixed["a.jwk"]),
    String(fixed["rsa.pem"]),
  ];
  for (const key of keys)
    for (const [option, command] of [
      ["--key", "encrypt"],
      ["--key", "get"],
      ["--kms", "put"],
      ["--sse-c-key", "cat"],
      ["--from", "rewrap"],
      ["--to", "rewrap"],
      ["--output", "keygen"],
    ] as const) {
      const args = ordinary(command).filter((word, at, all) => word !== option && all[at - 1] !== option);
      const text = await refused(
        [...args.filter((word, at, all) => word !== "-o" && all[at - 1] !== "-o"), option, key],
        option,
      );
      for (const part of [key, bytes.toString("hex"), bytes.toString("base64").slice(0, 20)])
        expect(text).not.toContain(part.slice(0, 20));
    }
  const name = bytes.toString("hex");
  writeFileSync(name, fixed["a.jwk"] ?? "", { mode: 0o600 });
  const { code, stderr } = await observe(run, ["encrypt", "-k", name, "plain", "-o", "out"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
});

test("text from outside is shown, wherever it comes from, and never obeyed", async () => {
  const evil = "\u001b[31m\u0007\u202ecba\u2066\u200b\u00a0";
  const name = `evil${evil}\nline`;
  writeFileSync(name, "plain");
  writeFileSync(
    "evil.json",
    JSON.stringify({
      Version: "2012-10-17",
      Statement: [{ Sid: name, Effect: "Deny", Principal: "*", Action: [name], Resource: name }],
    }),
  );
  server.fault = (call) =>
    call.key === "fails" ? { kind: "error", status: 400, code: `Code${"\u202e"}x` } : undefined;
  const s3 = ["--endpoint", server.endpoint];
  const put = [
    "put",
    "-k",
    "a.jwk",
    "--json",
    "plain",
    `s3://${Bucket}/${name}`,
    "-c",
    `${name}=${name}`,
    ...s3,
  ];
  const object = `s3://${Bucket}/${name}`;
  const lines: readonly (readonly string[])[] = [
    put,
    ["get", "-k", "a.jwk", "--json", object, `${name}.out`, ...s3],
    ["verify", "-k", "a.jwk", "--json", object, ...s3],
    ["inspect", object, ...s3],
    ["inspect", "--json", object, ...s3],
    ["rewrap", "--from", "a.jwk", "--to", "b.jwk", object, ...s3],
    ["rewrap", "--from", "b.jwk", "--to", "a.jwk", "--json", object, ...s3],
    ["verify", "-k", "a.jwk", "-c", `${name}=other`, object, ...s3],
    ["get", "-k", "b.jwk", object, "absent", ...s3],
    ["get", "-k", "a.jwk", `${object}.absent`, "absent", ...s3],
    ["get", "-k", "a.jwk", `s3://${Bucket}/fails`, "absent", ...s3],
    ["encrypt", "-k", "a.jwk", "--json", name, "-o", `${name}.fsl`, "-c", `${name}=${name}`],
    ["encrypt", "-k", "a.jwk", name, "-o", `${name}.fsl`],
    ["inspect", `${name}.fsl`],
    ["inspect", "--json", `${name}.fsl`],
    ["decrypt", "-k", "a.jwk", "--json", `${name}.fsl`, "-o", `${name}.opened`],
    ["decrypt", "-k", "b.jwk", `${name}.fsl`, "-o", "absent"],
    ["decrypt", "-k", "a.jwk", "-c", `${name}=x`, `${name}.fsl`, "-o", "absent"],
    ["decrypt", "-k", "a.jwk", `${name}.absent`, "-o", "absent"],
    ["encrypt", "-k", "a.jwk", "--key-name", name, "--key-namespace", name, "plain", "-o", "named.fsl"],
    ["inspect", "named.fsl"],
    ["decrypt", "-k", "a.jwk", "named.fsl", "-o", "absent"],
    ["encrypt", "-k", name, "plain", "-o", "absent"],
    ["encrypt", "-k", `absent${name}`, "plain", "-o", "absent"],
    ["encrypt", "--engine", name],
    ["encrypt", `--${name}`],
    [name],
    ["keygen", "-o", `${name}.key`],
    ["keygen", "--json", "-o", `${name}.key2`],
    ["keygen", "-o", `${name}.key`],
    ["policy", "--explain", "evil.json"],
    ["policy", "--explain", "evil.json", "--json"],
    ["policy", `bucket${name}`],
    ["policy", "--explain", `absent${name}`],
    ["engine", "--engine", name],
  ];
  let shownIn = 0;
  for (const args of lines) {
    const { code, stdout, stderr } = await observe(run, args);
    const said = stdout + stderr;
    expect(said.replaceAll("\n", ""), args[0]).not.toMatch(/[\p{C}\p{Default_Ignorable_Code_Point}\u00a0]/u);
    // A name with an end of line makes no line of its own.
    expect(said.split("\n"), args.join(" ")).not.toContainEqual(expect.stringMatching(/^line/));
    if (code !== 0) expect(stderr).toMatch(/^frameseal: [^\n]+\n$/);
    if (/\\u202e/.test(said)) shownIn++;
  }
  server.fault = () => undefined;
  expect(shownIn).toBeGreaterThan(20);
});
