// Every option of every command has an effect: a row says what can be seen with it and not without it, and both are run.
// And every value that is none is refused, in one line that names the option. An option without a row, or a row
// without an option, is red.
import { generateKeyPairSync, randomBytes } from "node:crypto";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { CreateBucketCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { describeHeader } from "../../src/cli/header-description.ts";
import { createProgram, run } from "../../src/cli/program.ts";
import { inspectHeader } from "../../src/index.ts";
import { frameseal } from "../support/command-line.ts";
import { ACCOUNT, FakeKms } from "../support/fake-kms.ts";
import { changesIn, namesIn, stateOf } from "../support/folder-changes.ts";
import { FULL } from "../support/full.ts";
import { observe, startObserving } from "../support/observed-command.ts";
import { type Kind, line, type OptionGroup, type Row } from "../support/option-rows.ts";
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
/** The tree that commands work on, besides its files: an empty folder and a link. */
const treeFiles: Readonly<Record<string, string>> = {
  "tree/.hidden": "hidden",
  "tree/a.txt": "first",
  "tree/sub/b.txt": "second",
  "tree/sub/deep/c.log": "third, and somewhat longer",
};
const EMPTY_FOLDER = "tree/empty";
const LINK = "tree/link";
const TREE_TIME = new Date("2020-01-02T03:04:05.678Z");

/** The rows and kinds of all groups of options. */
const groups = await Promise.all(
  readdirSync(new URL("option-rows/", import.meta.url))
    .sort()
    .map((file): Promise<OptionGroup> => import(new URL(`option-rows/${file}`, import.meta.url).pathname)),
);
const rows: readonly Row[] = groups.flatMap((group) => group.rows ?? []);
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
  for (const name of [Bucket, "policies"])
    await server.client().send(new CreateBucketCommand({ Bucket: name }));
  Object.assign(process.env, environment, {
    AWS_SHARED_CREDENTIALS_FILE: path.join(folder, "profiles"),
    XDG_STATE_HOME: path.join(folder, "state"),
  });
  Object.assign(fixed, treeFiles);
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
    ["put", "-r", "-q", "-k", "a.jwk", "--links", "keep", "tree", "s3://bucket/tree/", ...s3],
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
beforeEach(restore);

function restore(): void {
  const kept = new Set([EMPTY_FOLDER, LINK]);
  for (const name of [...Object.keys(fixed), ...kept])
    for (let at = name; at !== "."; at = path.dirname(at)) kept.add(at);
  for (const name of namesIn(folder))
    if (!kept.has(name)) rmSync(path.join(folder, name), { recursive: true, force: true });
  for (const [name, content] of Object.entries(fixed)) {
    const isOfTree = Object.hasOwn(treeFiles, name);
    if (existsSync(name) && !(isOfTree && lstatSync(name).mtimeMs !== TREE_TIME.getTime())) continue;
    mkdirSync(path.dirname(name), { recursive: true });
    writeFileSync(name, content, { mode: 0o600 });
    if (isOfTree) utimesSync(name, TREE_TIME, TREE_TIME);
  }
  mkdirSync(EMPTY_FOLDER, { recursive: true });
  if (!namesIn(path.dirname(LINK)).includes(path.basename(LINK))) symlinkSync("a.txt", LINK);
  const bucket = server.buckets.get(Bucket);
  if (stored.size === 0) return;
  for (const key of [...(bucket?.keys() ?? [])]) if (!stored.has(key)) bucket?.delete(key);
  for (const [key, object] of stored) bucket?.set(key, object);
}

/** What a command was seen to do: itself, the files it made, the objects it stored, and the command that follows. */
async function seenOf(row: Row, line: string): Promise<string> {
  restore();
  await row.before?.({ server, folder });
  const before = stateOf(folder);
  const objectsBefore = new Map(server.buckets.get(Bucket));
  const args = fill(line.split(" ").filter((word) => word !== ""));
  let all: string;
  if (row.child === true) {
    const { code, stdout, stderr } = await frameseal(args, { cwd: folder });
    all = `exit ${code}\nout ${stdout.length}\nerr ${stderr}`;
  } else ({ all } = await observe(run, args, row.terminal));
  for (const change of changesIn(folder, before, contentOf)) all += `\n${change}`;
  const objects = new Map(server.buckets.get(Bucket));
  for (const [key, object] of objects) {
    if (objectsBefore.get(key) === object) continue;
    all += `\nstored ${key} ${JSON.stringify(object.headers)} ${contentOf(object.body)}`;
  }
  for (const key of objectsBefore.keys()) if (!objects.has(key)) all += `\nremoved ${key}`;
  if (row.after !== undefined) all += `\nthen ${(await observe(run, fill(row.after.split(" ")))).all}`;
  return all;
}
const contentOf = (bytes: Buffer): string => {
  try {
    return JSON.stringify(describeHeader({ ...inspectHeader(bytes), headerLength: 0 }));
  } catch {
    return `${bytes.length} bytes ${bytes.subarray(0, 20).toString("hex")}`;
  }
};

test("every option has a row, and every row an option", async () => {
  const program = await createProgram();
  const options = program.commands.flatMap((command) =>
    command.options.map((option) => `${command.name()} ${option.long}`),
  );
  const told = rows.flatMap(({ of, option }) => of.map((command) => `${command} ${option}`));
  expect(told.sort()).toEqual(options.sort());
});

const seenWithout = new Map<string, string>();

// All commands of a row in the full run; in the ordinary one, one of them, another for each row.
const sample = rows.flatMap((each, index) =>
  each.of.filter((_, at) => FULL || at === index % each.of.length).map((command) => ({ ...each, command })),
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

/** The kinds of values of all groups; those that several name are one. */
const kinds: Record<string, Required<Kind>> = {};
for (const [name, kind] of groups.flatMap((group) => Object.entries(group.kinds ?? {}))) {
  const known = kinds[name] ?? { of: [], junk: [], says: /./ };
  kinds[name] = {
    of: [...known.of, ...kind.of],
    junk: [...known.junk, ...(kind.junk ?? [])],
    says: kind.says ?? known.says,
  };
}

const ordinary = (command: string): string[] => {
  if (command === "policy") return ["policy", Bucket];
  const words = fill(
    line(command)
      .split(" ")
      .filter((word) => word !== ""),
  );
  return command === "keygen" ? [...words, "-o", "new"] : words;
};

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
  let bytes = randomBytes(32);
  // One key in a thousand has no digit as Base64, and is not told from words.
  while (!/[0-9]/.test(bytes.toString("base64url"))) bytes = randomBytes(32);
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
