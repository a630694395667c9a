// Keys that are known here must not be found in anything this package says: errors, inspection, JSON, warnings, and what
// Node.js writes with every debug switch on.
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const dist = fileURLToPath(new URL("../../dist/", import.meta.url));

/** Runs in a process of its own: uses the keys in every way, and says all it can about everything it touches. */
const program = `
const { inspect } = require("node:util");
(async () => {
  const frameseal = await import(process.env.DIST + "index.js");
  const { KmsKeyring } = await import(process.env.DIST + "kms.js");
  const s3 = await import(process.env.DIST + "s3.js");
  const [wrapping, dataKey, other] = process.env.CANARIES.split(",").map((hex) => Buffer.from(hex, "hex"));
  const say = (thing) => {
    console.log(inspect(thing, { depth: 30, showHidden: true, getters: true, maxArrayLength: null, maxStringLength: null }));
    try { console.log(JSON.stringify(thing)); } catch {}
    if (thing instanceof Error) console.error(thing.stack, thing);
  };
  const keyId = "arn:aws:kms:us-east-1:111122223333:key/11111111-1111-1111-1111-111111111111";
  const answers = (Plaintext) => ({ send: async () => ({ KeyId: keyId, CiphertextBlob: Buffer.alloc(64, 9), Plaintext: Uint8Array.from(Plaintext) }) });
  const names = { keyNamespace: "n", keyName: "k" };
  const raw = new frameseal.RawAesKeyring({ ...names, wrappingKey: wrapping });
  const kms = new KmsKeyring({ client: answers(dataKey), generatorKeyId: keyId });
  const keyrings = [
    raw, kms,
    new frameseal.MultiKeyring({ generator: kms, children: [raw] }),
    new frameseal.CachingKeyring({ keyring: kms, maxAgeMs: 1000 }),
    new KmsKeyring({ client: answers(dataKey.subarray(0, 16)), generatorKeyId: keyId }),
  ];
  const stranger = new frameseal.RawAesKeyring({ ...names, wrappingKey: other });
  const location = { bucket: "b", key: "k" };
  for (const keyring of keyrings) {
    say(keyring);
    try {
      const message = await frameseal.encrypt(Buffer.from("text"), { keyring });
      say(await frameseal.decrypt(message, { keyring }));
      for (const format of ["framed", "s3ec-v3"]) {
        const sealed = await s3.encryptObject(location, Buffer.from("text"), { keyring: keyring === keyrings[3] ? raw : keyring, format });
        say(sealed);
        sealed.body[sealed.body.length - 1] ^= 1;
        await s3.decryptObject(location, sealed, { keyring }).catch(say);
        await s3.decryptObject(location, sealed, { keyring: stranger }).catch(say);
      }
      message[message.length - 1] ^= 1;
      await frameseal.decrypt(message, { keyring }).catch(say);
      await frameseal.decrypt(message, { keyring: stranger }).catch(say);
      const stream = frameseal.createEncryptStream({ keyring });
      say(stream);
      stream.destroy();
    } catch (error) { say(error); }
  }
  say(stranger);
  const derived = s3.deriveSseCKey({ masterKey: wrapping, masterKeyVersion: 1, bucket: "b", key: "k" });
  say(s3.sseC(derived.SSECustomerKey));
  console.log("done");
})().catch((error) => { console.error(error); process.exit(1); });
`;

test("no key is told", { timeout: 60_000 }, async () => {
  const keys = [randomBytes(32), randomBytes(32), randomBytes(32)];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ["-e", program], {
    env: {
      ...process.env,
      DIST: `file://${dist}`,
      CANARIES: keys.map((key) => key.toString("hex")).join(","),
      NODE_DEBUG: "*",
      NODE_NO_WARNINGS: "1",
    },
    maxBuffer: 2 ** 28,
  });
  expect(stdout).toContain("done");
  expect(stdout.length).toBeGreaterThan(10_000);
  const said = stdout + stderr;
  for (const key of keys)
    for (const part of [key, key.subarray(0, 12), key.subarray(10, 22)]) {
      for (const form of ["hex", "base64url", "latin1"] as const)
        expect(said.includes(part.toString(form).slice(0, form === "base64url" ? 15 : undefined))).toBe(
          false,
        );
      // As inspect prints bytes, and as JSON does.
      expect(said.includes([...part].map((byte) => byte.toString(16).padStart(2, "0")).join(" "))).toBe(
        false,
      );
      expect(said.includes([...part].join(","))).toBe(false);
      expect(said.replaceAll(/\s/g, "").includes([...part].join(","))).toBe(false);
    }
});
