// Writes test/vectors/esdk-messages.json: small messages of every SDK, with the keys that open them, when
// FRAMESEAL_WRITE_MESSAGES names a file.
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { DecryptCommand } from "@aws-sdk/client-kms";
import { afterAll, expect, test } from "vitest";
import { decrypt, inspectHeader } from "../../src/index.ts";
import { createKeySets, type KeySet, type PeerKey } from "./esdk-keys.ts";
import { type Esdk, esdks, policyFor, suites } from "./esdk-peers.ts";
import { kmsClient } from "./programs.ts";

const out = process.env.FRAMESEAL_WRITE_MESSAGES;
const data = randomBytes(5000);
const contexts: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  none: {},
  plain: { purpose: "vectors" },
  odd: {
    ...{
      größe: "ß",
      zebra: "1",
      Zebra: "2",
      apple: "3",
      _x: "4",
      "10": "5",
      "9": "6",
      " ": "\n",
      e\u0301: "\u00e9",
    },
    ...{
      "🔑": "astral 🗝",
      "\uffee": "high in the basic plane",
      "\ue000": "private",
      constructor: "toString",
    },
  },
  long: { long: "0123456789abcdef".repeat(250), ["k".repeat(300)]: "v" },
  "empty value": { a: "", b: "1" },
};

/** What is asked of every SDK that can do it. */
interface Case {
  readonly suite: number;
  readonly keySet: string;
  readonly context: string;
  readonly frameLength: number;
  readonly length: number;
}
// Python writes frames of whole 128 bytes only.
const frameLength = 128;
const lengths = [0, 1, frameLength - 1, frameLength, frameLength + 1, 2 * frameLength, 3 * frameLength + 5];
const simple = { keySet: "raw AES-256", context: "plain", frameLength };
const committing = [0x0478, 0x0578];
const cases = (keySets: readonly KeySet[]): Case[] => [
  ...suites.flatMap((suite) => lengths.map((length) => ({ ...simple, suite, length }))),
  ...[0x0178, ...committing].flatMap((suite) =>
    keySets.map(({ name }) => ({ ...simple, suite, keySet: name, context: "odd", length: 129 })),
  ),
  ...committing.flatMap((suite) =>
    Object.keys(contexts).flatMap((context) =>
      ["raw AES-128", "KMS, one key"].map((keySet) => ({ ...simple, suite, keySet, context, length: 10 })),
    ),
  ),
  ...committing.flatMap((suite) => [
    { ...simple, suite, frameLength: 50, length: 151 },
    { ...simple, suite, frameLength: 1024, length: 3077 },
    { ...simple, suite, frameLength: 4096, length: 4097 },
  ]),
  ...suites.flatMap((suite) => [0, 129].map((length) => ({ ...simple, suite, frameLength: 0, length }))),
];

/** Without what follows from the private key, which is PKCS#8 in base64. */
function recorded(key: PeerKey): object {
  if (key.kind !== "rsa") return key;
  const { publicKey: _, privateKey, ...rest } = key;
  return { ...rest, privateKey: privateKey.replace(/-----[A-Z ]+-----|\n/g, "") };
}

/** What KMS would give for the wrapped keys of `message`. */
async function kmsDataKey(message: Buffer): Promise<string | undefined> {
  const { encryptedDataKeys, encryptionContext } = inspectHeader(message);
  const wrapped = encryptedDataKeys.find(({ providerId }) => providerId === "aws-kms");
  if (wrapped === undefined) return undefined;
  const command = new DecryptCommand({
    CiphertextBlob: wrapped.ciphertext,
    EncryptionContext: { ...encryptionContext },
  });
  const { Plaintext } = await kmsClient.send(command);
  return Buffer.from(Plaintext ?? []).toString("base64");
}

afterAll(() => kmsClient.destroy());

test.runIf(out)("messages are recorded", { timeout: 600_000 }, async () => {
  const keySets = await createKeySets();
  const messages: object[] = [];
  const refused: string[] = [];
  for (const { name, start, writesWithoutFrames } of esdks) {
    if (start === undefined) throw new Error(`${name} is not prepared`);
    await using sdk: Esdk = start();
    const version = await sdk.version();
    for (const { suite, keySet, context, frameLength, length } of cases(keySets)) {
      const { keys, keyring, readableInNode } = keySets.find((set) => set.name === keySet) as KeySet;
      if (!readableInNode || (frameLength === 0 && !writesWithoutFrames)) continue;
      const [policy, plaintext] = [policyFor(suite), data.subarray(0, length)];
      const pairs = contexts[context] ?? {};
      const writing = { keys, policy, suite, context: pairs, frameLength, plaintext };
      let message: Buffer;
      try {
        message = await sdk.encrypt(writing);
      } catch (error) {
        refused.push(`${name}, ${keySet}, context ${context}: ${error}`);
        continue;
      }
      const opened = await decrypt(message, { keyring, commitmentPolicy: policy, encryptionContext: pairs });
      expect(plaintext.equals(opened.plaintext)).toBe(true);
      const dataKey = await kmsDataKey(message);
      messages.push({
        ...{ sdk: name, version, suite, keys: keySet, context, frameLength, length },
        ...(dataKey === undefined ? {} : { kmsDataKey: dataKey }),
        message: message.toString("base64"),
      });
    }
  }
  const used = keySets.filter(({ readableInNode }) => readableInNode);
  const keys = Object.fromEntries(used.map((set) => [set.name, set.keys.map(recorded)]));
  const lines = messages.map((message) => JSON.stringify(message)).join(",\n");
  const head = `"plaintext": ${JSON.stringify(data.toString("base64"))},\n"keys": ${JSON.stringify(keys)},\n"contexts": ${JSON.stringify(contexts)}`;
  const text = `{\n${head},\n"messages": [\n${lines}\n]\n}\n`;
  writeFileSync(out ?? "", text);
  console.log(
    `${messages.length} messages recorded, ${text.length} bytes; refused by their SDK:\n${refused.join("\n")}`,
  );
});
