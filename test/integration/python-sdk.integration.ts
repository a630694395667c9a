// What Python alone does: AWS's command line on files, suite by suite, and the keys of SSE-C derived from the README.
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { decrypt, encrypt } from "../../src/index.ts";
import { deriveSseCKey } from "../../src/s3.ts";
import vectors from "../s3/server-side/sse-c-vectors.json" with { type: "json" };
import { createKeySets, type KeySet, type PeerKey } from "./esdk-keys.ts";
import { policyFor, startPython } from "./esdk-peers.ts";
import { awsEncryptionCli, kmsClient } from "./programs.ts";

let folder: string;
let keySets: readonly KeySet[];
const done = { tried: 0, right: 0 };
beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "frameseal-aws-cli-"));
  keySets = await createKeySets();
});
afterAll(() => {
  rmSync(folder, { recursive: true });
  kmsClient.destroy();
  const { tried, right } = done;
  console.log(`AWS's command line: ${right} of ${tried} files exchanged, ${tried - right} failures`);
});

const file = (name: string): string => path.join(folder, name);

/** How the command line is told of a key; raw ones come from a file, through the plugin. */
function wrappingKeys(key: PeerKey): string[] {
  if (key.kind === "kms") return ["--wrapping-keys", `key=${key.keyIds[0]}`, "region=us-east-1"];
  writeFileSync(file("key.json"), JSON.stringify(key));
  return ["--wrapping-keys", "provider=frameseal-test-keys", `key=${key.name}`, `file=${file("key.json")}`];
}

const algorithms = [
  [0x0114, "AES_128_GCM_IV12_TAG16_HKDF_SHA256"],
  [0x0146, "AES_192_GCM_IV12_TAG16_HKDF_SHA256"],
  [0x0178, "AES_256_GCM_IV12_TAG16_HKDF_SHA256"],
  [0x0214, "AES_128_GCM_IV12_TAG16_HKDF_SHA256_ECDSA_P256"],
  [0x0346, "AES_192_GCM_IV12_TAG16_HKDF_SHA384_ECDSA_P384"],
  [0x0378, "AES_256_GCM_IV12_TAG16_HKDF_SHA384_ECDSA_P384"],
  [0x0478, "AES_256_GCM_HKDF_SHA512_COMMIT_KEY"],
  [0x0578, "AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384"],
] as const;

test.each(algorithms)(
  "AWS's command line and ours read each other's files, suite %i, %s",
  async (suite, algorithm) => {
    const commitmentPolicy = policyFor(suite);
    const plaintext = randomBytes(3 * 65_536);
    writeFileSync(file("plain"), plaintext);
    for (const { keys, keyring } of keySets.filter(
      ({ name }) => name === "KMS, one key" || name === "raw AES-256",
    )) {
      const options = { keyring, commitmentPolicy, encryptionContext: { a: "1" } } as const;
      const common = [
        ...wrappingKeys(keys[0] as PeerKey),
        ...["--encryption-context", "a=1", "--suppress-metadata"],
        ...["--commitment-policy", commitmentPolicy.toLowerCase().replaceAll("_", "-")],
      ];
      done.tried += 2;
      writeFileSync(file("ours"), await encrypt(plaintext, { ...options, suite }));
      await awsEncryptionCli(["--decrypt", "--input", file("ours"), "--output", file("opened"), ...common]);
      expect(readFileSync(file("opened")).equals(plaintext)).toBe(true);
      done.right += 1;
      const sealing = [
        "--encrypt",
        "--input",
        file("plain"),
        "--output",
        file("theirs"),
        "--algorithm",
        algorithm,
      ];
      await awsEncryptionCli([...sealing, ...common]);
      const theirs = await decrypt(readFileSync(file("theirs")), options);
      expect(theirs.header.suite.id).toBe(suite);
      expect(plaintext.equals(theirs.plaintext)).toBe(true);
      done.right += 1;
    }
  },
);

test("SSE-C keys are those that Python derives", async () => {
  await using python = startPython();
  for (const vector of vectors) {
    const { sseCKey, md5, ...input } = vector;
    const masterKey = Buffer.from(input.masterKey, "hex");
    const ours = deriveSseCKey({ ...input, masterKey, salt: Buffer.from(input.salt, "hex") });
    expect(await python.ask("sse-c", input)).toEqual({ sseCKey, md5 });
    expect(Buffer.from(ours.SSECustomerKey).toString("hex")).toBe(sseCKey);
    expect(ours.SSECustomerKeyMD5).toBe(md5);
  }
  console.log(`SSE-C keys: ${vectors.length} of ${vectors.length} vectors derived alike by Python`);
});
