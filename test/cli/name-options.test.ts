// --encrypt-names and --names-key: which key hides names, and what is refused before anything is done.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createKeyNames } from "../../src/backup/names/encrypted-names.ts";
import { namesFrom } from "../../src/cli/tree/name-options.ts";
import { writeRsaKeyFiles } from "../../src/keyring/key-file.ts";

let folder: string;
const file = (name: string): string => path.join(folder, name);
const keyOf = (name: string): Buffer => createHash("sha256").update(name).digest();

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "name-options-"));
  const writeKey = (name: string, length = 32): void =>
    writeFileSync(
      file(name),
      JSON.stringify({ kty: "oct", kid: name, k: keyOf(name).subarray(0, length).toString("base64url") }),
      { mode: 0o600 },
    );
  writeKey("master.key");
  writeKey("names.key");
  writeKey("short.key", 16);
  await writeRsaKeyFiles(file("rsa.key"), { modulusBits: 2048 });
  if (process.platform !== "win32") execFileSync("mkfifo", [file("pipe")]);
});
afterAll(() => rmSync(folder, { recursive: true }));

test("names are plain unless they shall be hidden", async () => {
  const names = await namesFrom({ key: [file("master.key")] }, "p/");
  expect(names.keyOf("a/b", "file")).toBe("a/b");
});

test.each(["tree", "flat"] as const)("%s: the key is that of --key, or of --names-key", async (mode) => {
  const own = createKeyNames(mode, keyOf("master.key")).keyOf("a/b", "file");
  const other = createKeyNames(mode, keyOf("names.key")).keyOf("a/b", "file");
  const given = { encryptNames: mode, key: [file("master.key")] };
  expect((await namesFrom(given, "p/")).keyOf("a/b", "file")).toBe(own);
  for (const more of [{}, { key: [file("rsa.key")] }, { kms: ["arn:x"] }, { key: [], kmsDiscovery: "1" }])
    expect(
      (await namesFrom({ ...given, ...more, namesKey: file("names.key") }, "p/")).keyOf("a/b", "file"),
    ).toBe(other);
});

test("the prefix counts for the length of keys", async () => {
  const names = await namesFrom({}, `${"p".repeat(1000)}/`);
  expect(names.keyOf("x".repeat(23), "file")).toHaveLength(23);
  expect(() => names.keyOf("x".repeat(24), "file")).toThrow(
    expect.objectContaining({ code: "LIMIT_EXCEEDED" }),
  );
});

const encryptNames = "tree";
test.each([
  ["no key", () => ({ encryptNames })],
  ["two files", () => ({ encryptNames, key: [file("master.key"), file("names.key")] })],
  ["AWS KMS", () => ({ encryptNames, kms: ["arn:x"] })],
  ["a file and AWS KMS", () => ({ encryptNames, key: [file("master.key")], kms: ["arn:x"] })],
  ["any key of AWS KMS", () => ({ encryptNames, kmsDiscovery: "1" })],
  ["a key in the place of its file", () => ({ encryptNames, namesKey: keyOf("x").toString("hex") })],
  ["a names key for plain names", () => ({ namesKey: file("names.key") })],
])("%s: a mistake of the command line", async (_, options) => {
  await expect(namesFrom(options(), "")).rejects.toMatchObject({
    name: "UsageError",
    message: expect.stringMatching(/--names-key/),
  });
});

test.skipIf(process.platform === "win32")("a pipe is not read twice", async () => {
  await expect(namesFrom({ encryptNames, key: [file("pipe")] }, "")).rejects.toMatchObject({
    name: "UsageError",
    message: expect.stringMatching(/second time: give --names-key/),
  });
});

test.each([
  ["rsa.key", /expected an AES key \(JWK\), got an RSA key; .*--names-key/],
  ["short.key", /expected an AES key of 32 bytes, got 16; .*--names-key/],
])("%s cannot hide names, and the message says what can", async (name, message) => {
  for (const options of [{ key: [file(name)] }, { namesKey: file(name) }])
    await expect(namesFrom({ encryptNames, ...options }, "")).rejects.toMatchObject({
      name: "CommandFailure",
      message: expect.stringMatching(message),
    });
});

test("a file that is not there is named", async () => {
  for (const options of [{ key: [file("none")] }, { namesKey: file("none") }])
    await expect(namesFrom({ encryptNames, ...options }, "")).rejects.toMatchObject({
      code: "ENOENT",
      path: file("none"),
    });
});
