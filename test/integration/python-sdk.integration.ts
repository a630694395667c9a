// Messages exchanged with AWS's Python SDK: every set of keys, signed and unsigned suites, both directions.
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { decrypt, encrypt } from "../../src/index.ts";
import { deriveSseCKey } from "../../src/s3.ts";
import { policyFor } from "../message/fixtures.ts";
import vectors from "../s3/server-side/sse-c-vectors.json" with { type: "json" };
import { awsEncryptionCli, createKeySets, type KeySet, kmsClient, PythonSdk } from "./programs.ts";

const suites = [0x0478, 0x0578, 0x0178, 0x0378, 0x0114, 0x0214, 0x0146, 0x0346];
const lengths = [0, 1, 4096, 100_003];
const context = { purpose: "integration", größe: "ß", Zebra: "1", _x: "2", "🔑": "astral", "\uffee": "high" };

let sdk: PythonSdk;
let keySets: readonly KeySet[];
let version: string | undefined;
const done = { written: 0, read: 0, tried: 0 };
beforeAll(async () => {
  sdk = new PythonSdk();
  ({ version } = await sdk.ask("version"));
  keySets = await createKeySets();
});
afterAll(async () => {
  await sdk[Symbol.asyncDispose]();
  kmsClient.destroy();
});

test.each(suites.map((suite) => [`0x${suite.toString(16).padStart(4, "0")}`, suite] as const))(
  "suite %s",
  async (_name, suite) => {
    const policy = policyFor(suite);
    const failures: string[] = [];
    for (const { name, keys, keyring, alone } of keySets)
      for (const length of lengths) {
        const plaintext = randomBytes(length);
        const common = { keys, suite, policy };
        done.tried += 2;
        try {
          const options = {
            keyring,
            suite,
            commitmentPolicy: policy,
            encryptionContext: context,
            frameLength: 4096,
          };
          const message = await encrypt(plaintext, options);
          const answer = await sdk.ask("decrypt", { ...common, message: message.toString("base64") });
          expect(plaintext.equals(Buffer.from(answer.plaintext ?? "", "base64"))).toBe(true);
          expect(answer.context).toMatchObject(context);
          done.written += 1;
        } catch (error) {
          failures.push(`${name}, ${length} bytes, written here: ${error}`);
        }
        try {
          const text = plaintext.toString("base64");
          const question = { ...common, context, frameLength: 4096, plaintext: text };
          const { message = "" } = await sdk.ask("encrypt", question);
          for (const reader of [keyring, ...alone]) {
            const options = { keyring: reader, commitmentPolicy: policy, encryptionContext: context };
            const opened = await decrypt(Buffer.from(message, "base64"), options);
            expect(plaintext.equals(opened.plaintext)).toBe(true);
          }
          done.read += 1;
        } catch (error) {
          failures.push(`${name}, ${length} bytes, read here: ${error}`);
        }
      }
    expect(failures).toEqual([]);
  },
);

test("the matrix is complete", () => {
  const { written, read, tried } = done;
  console.log(
    `aws-encryption-sdk ${version}: ${written + read} of ${tried} messages exchanged ` +
      `(${keySets.length} sets of keys x ${suites.length} suites x ${lengths.length} lengths x 2 directions), ` +
      `${tried - written - read} failures`,
  );
  expect(written + read).toBe(keySets.length * suites.length * lengths.length * 2);
});

test("a wrong encryption context is refused by both", async () => {
  const [{ keys, keyring } = {}] = keySets;
  if (keyring === undefined) throw new Error("no keys");
  const message = await encrypt(Buffer.from("text"), { keyring, encryptionContext: { a: "1" } });
  const at = message.indexOf(Buffer.from([0, 1, 0x61, 0, 1, 0x31]));
  message[at + 5] = 0x32;
  await expect(decrypt(message, { keyring })).rejects.toMatchObject({ code: "NO_DATA_KEY" });
  const question = { keys, policy: "REQUIRE_ENCRYPT_REQUIRE_DECRYPT", message: message.toString("base64") };
  await expect(sdk.ask("decrypt", question)).rejects.toThrow();
});

test("AWS's command line and ours read each other's files", async () => {
  const folder = mkdtempSync(path.join(tmpdir(), "frameseal-aws-cli-"));
  try {
    const [{ keys, keyring } = {}] = keySets;
    const [key] = keys ?? [];
    if (key?.kind !== "kms" || keyring === undefined) throw new Error("the first set is not KMS");
    const file = (name: string): string => path.join(folder, name);
    const plaintext = randomBytes(3 * 65_536);
    writeFileSync(file("plain"), plaintext);
    writeFileSync(file("ours"), await encrypt(plaintext, { keyring, encryptionContext: { a: "1" } }));
    const common = ["--suppress-metadata", "--commitment-policy", "require-encrypt-require-decrypt"];
    const wrapping = ["--wrapping-keys", `key=${key.keyIds[0]}`, "region=us-east-1"];
    const opened = ["--decrypt", "--input", file("ours"), "--output", file("opened")];
    await awsEncryptionCli([...opened, ...wrapping, "--encryption-context", "a=1", ...common]);
    expect(readFileSync(file("opened")).equals(plaintext)).toBe(true);
    const sealed = ["--encrypt", "--input", file("plain"), "--output", file("theirs")];
    await awsEncryptionCli([...sealed, ...wrapping, "--encryption-context", "a=1", ...common]);
    const theirs = await decrypt(readFileSync(file("theirs")), { keyring, encryptionContext: { a: "1" } });
    expect(plaintext.equals(theirs.plaintext)).toBe(true);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("SSE-C keys are those that Python derives", async () => {
  for (const vector of vectors) {
    const { sseCKey, md5, ...input } = vector;
    const masterKey = Buffer.from(input.masterKey, "hex");
    const ours = deriveSseCKey({ ...input, masterKey, salt: Buffer.from(input.salt, "hex") });
    const theirs = await sdk.ask("sse-c", input);
    expect(theirs).toEqual({ sseCKey, md5 });
    expect(Buffer.from(ours.SSECustomerKey).toString("hex")).toBe(sseCKey);
    expect(ours.SSECustomerKeyMD5).toBe(md5);
  }
  console.log(`SSE-C keys: ${vectors.length} of ${vectors.length} vectors derived alike by Python`);
});
