// Calls of AWS KMS for many small messages under one encryption context, with a caching keyring and without.
//   node bench/scripts/kms-calls.mjs [--messages N]
import { randomBytes } from "node:crypto";
import { CachingKeyring, decrypt, encrypt } from "../../dist/index.js";
import { KmsKeyring } from "../../dist/kms.js";

const at = process.argv.indexOf("--messages");
const messages = at < 0 ? 10_000 : Number(process.argv[at + 1]);
const keyId = "arn:aws:kms:us-east-1:111122223333:key/11111111-1111-1111-1111-111111111111";
const wrapped = new Map();
let calls = 0;
// KMS in this process: it counts.
const client = {
  async send(command) {
    calls += 1;
    const { CiphertextBlob } = command.input;
    if (CiphertextBlob !== undefined)
      return {
        KeyId: keyId,
        Plaintext: Uint8Array.from(wrapped.get(Buffer.from(CiphertextBlob).toString("hex"))),
      };
    const [dataKey, blob] = [randomBytes(32), randomBytes(64)];
    wrapped.set(blob.toString("hex"), Uint8Array.from(dataKey));
    return { KeyId: keyId, Plaintext: dataKey, CiphertextBlob: blob };
  },
};
const kms = () => new KmsKeyring({ client, generatorKeyId: keyId });
const bounds = { maxAgeMs: 3_600_000, maxMessages: 1000, maxBytes: 2 ** 30 };
const keyrings = {
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
  const sealed = [];
  for (let n = 0; n < messages; n++) sealed.push(await encrypt(plaintext, { keyring, encryptionContext }));
  const generated = calls;
  calls = 0;
  for (const message of sealed) await decrypt(message, { keyring, encryptionContext });
  const rate = Math.round((2 * messages) / ((performance.now() - start) / 1000));
  console.log(
    `${name.padEnd(40)} ${String(generated).padStart(14)} ${String(calls).padStart(9)} ${String(rate).padStart(12)}`,
  );
}
