// Calls of AWS KMS for many small messages under one encryption context, with a caching keyring and without.
//   npm run bench:kms-calls -- [--messages N]
import { randomBytes } from "node:crypto";
import process from "node:process";
import { parseArgs } from "node:util";
import type { KMSClient } from "@aws-sdk/client-kms";
import { CachingKeyring, decrypt, encrypt, type Keyring } from "#frameseal/index.js";
import { KmsKeyring } from "#frameseal/kms.js";
import { benchKmsKeyId, decryptDataKey, generateDataKey, type KmsAnswer } from "../kms-answers.ts";

const { values } = parseArgs({ options: { messages: { type: "string", default: "10000" } } });
const messages = Number(values.messages);
if (!(Number.isInteger(messages) && messages > 0)) {
  process.stderr.write("--messages expected a whole number from 1\n");
  process.exit(2);
}

let calls = 0;
// KMS in this process: it counts.
const client = {
  async send({ input }: { readonly input: { readonly CiphertextBlob?: Uint8Array } }): Promise<KmsAnswer> {
    calls += 1;
    return input.CiphertextBlob === undefined ? generateDataKey() : decryptDataKey(input.CiphertextBlob);
  },
} as unknown as KMSClient;
const kms = (): Keyring => new KmsKeyring({ client, generatorKeyId: benchKmsKeyId });
const bounds = { maxAgeMs: 3_600_000, maxMessages: 1000, maxBytes: 2 ** 30 };
const keyrings: Readonly<Record<string, Keyring>> = {
  "no cache": kms(),
  "cache: an hour, 1,000 messages, 1 GiB": new CachingKeyring({ keyring: kms(), ...bounds }),
  "cache: an hour, 100 messages": new CachingKeyring({ keyring: kms(), ...bounds, maxMessages: 100 }),
};
const plaintext = randomBytes(1000);
const encryptionContext = { purpose: "benchmark" };
console.log(`${messages} messages of ${plaintext.length} bytes under one encryption context`);
console.log("                                        GenerateDataKey   Decrypt   messages/s");
for (const [name, keyring] of Object.entries(keyrings)) {
  calls = 0;
  const start = performance.now();
  const sealed: Uint8Array[] = [];
  for (let n = 0; n < messages; n++) sealed.push(await encrypt(plaintext, { keyring, encryptionContext }));
  const generated = calls;
  calls = 0;
  for (const message of sealed) await decrypt(message, { keyring, encryptionContext });
  const rate = Math.round((2 * messages) / ((performance.now() - start) / 1000));
  console.log(
    `${name.padEnd(40)} ${String(generated).padStart(14)} ${String(calls).padStart(9)} ${String(rate).padStart(12)}`,
  );
}
