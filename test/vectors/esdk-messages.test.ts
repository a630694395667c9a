// Small messages as AWS's Encryption SDKs write them: esdk-messages.json, made by the integration tests (npm run
// test:integration:rust with FRAMESEAL_WRITE_MESSAGES). KMS is replaced by the data key that it would give.
import { createPublicKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { Readable } from "node:stream";
import { describe, expect, test } from "vitest";
import {
  createDecryptStream,
  decrypt,
  type Keyring,
  openMessage,
  RawAesKeyring,
  RawRsaKeyring,
  type RsaPadding,
} from "../../src/index.ts";
import { KmsKeyring } from "../../src/kms.ts";
import { engineNames } from "../message/fixtures.ts";

interface Message {
  readonly sdk: string;
  readonly version: string;
  readonly suite: number;
  readonly keys: string;
  readonly context: string;
  /** 0 is a message without frames. */
  readonly frameLength: number;
  readonly length: number;
  readonly kmsDataKey?: string;
  readonly message: string;
}
interface Key {
  readonly kind: "kms" | "aes" | "rsa";
  readonly namespace: string;
  readonly name: string;
  readonly key: string;
  readonly padding: RsaPadding;
  readonly privateKey: string;
  readonly keyIds: readonly string[];
}
interface Vectors {
  /** The plaintext of every message is a beginning of this. */
  readonly plaintext: string;
  readonly keys: Readonly<Record<string, readonly Key[]>>;
  readonly contexts: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly messages: readonly Message[];
}

const text = readFileSync(new URL("esdk-messages.json", import.meta.url), "utf8");
const { messages, keys, contexts, ...rest } = JSON.parse(text) as Vectors;
const data = Buffer.from(rest.plaintext, "base64");

function keyringsOf(key: Key, kmsDataKey: string | undefined): Keyring[] {
  const names = { keyNamespace: key.namespace, keyName: key.name };
  if (key.kind === "aes")
    return [new RawAesKeyring({ ...names, wrappingKey: Buffer.from(key.key, "base64") })];
  if (key.kind === "rsa") {
    const privateKey = `-----BEGIN PRIVATE KEY-----\n${key.privateKey}\n-----END PRIVATE KEY-----`;
    const publicKey = createPublicKey(privateKey);
    return [new RawRsaKeyring({ ...names, privateKey, publicKey, padding: key.padding })];
  }
  return key.keyIds.map((keyId) => {
    const client = {
      send: async () => ({ Plaintext: Buffer.from(kmsDataKey ?? "", "base64"), KeyId: keyId }),
    };
    return new KmsKeyring({ client: client as never, keyIds: [keyId] });
  });
}

const isSigned = (suite: number): boolean => [0x0214, 0x0346, 0x0378, 0x0578].includes(suite);
const suiteName = (suite: number): string => `0x${suite.toString(16).padStart(4, "0")}`;
/** Messages by their SDK and suite. */
const groups = new Map<string, Message[]>();
for (const message of messages) {
  const name = `${message.sdk} ${message.version}, ${suiteName(message.suite)}`;
  groups.set(name, [...(groups.get(name) ?? []), message]);
}

describe.each(engineNames)("on the %s engine", (engine) => {
  const options = { engine, commitmentPolicy: "FORBID_ENCRYPT_ALLOW_DECRYPT" } as const;

  async function streamed(message: Buffer, keyring: Keyring): Promise<Buffer> {
    const chunks: Buffer[] = [];
    for (let at = 0; at < message.length; at += 97) chunks.push(message.subarray(at, at + 97));
    const stream = Readable.from(chunks).pipe(createDecryptStream({ ...options, keyring }));
    return Buffer.concat(await stream.toArray());
  }

  async function ranged(message: Buffer, keyring: Keyring, plaintext: Buffer, f: number): Promise<void> {
    await using reader = await openMessage(message, { ...options, keyring });
    expect(reader.plaintextLength).toBe(plaintext.length);
    for (const [start, end] of [
      [0, plaintext.length],
      [0, 1],
      [f - 1, f + 1],
      [f, 2 * f],
      [plaintext.length - 1, plaintext.length],
    ] as const) {
      if (start < 0 || end > plaintext.length) continue;
      const bytes = await reader.read(start, end);
      expect(plaintext.subarray(start, end).equals(bytes)).toBe(true);
    }
  }

  test.each([...groups])("%s", async (_name, members) => {
    for (const [index, vector] of members.entries()) {
      const what = `${vector.keys}, context ${vector.context}, frames of ${vector.frameLength}, ${vector.length} bytes`;
      const message = Buffer.from(vector.message, "base64");
      const plaintext = data.subarray(0, vector.length);
      const encryptionContext = contexts[vector.context] ?? {};
      const keyrings = (keys[vector.keys] ?? []).flatMap((key) => keyringsOf(key, vector.kmsDataKey));
      expect(keyrings.length, what).toBeGreaterThan(0);
      for (const keyring of keyrings) {
        const opened = await decrypt(message, { ...options, keyring, encryptionContext });
        expect(plaintext.equals(opened.plaintext), what).toBe(true);
        const { header } = opened;
        expect(header.suite.id, what).toBe(vector.suite);
        expect(header.frameLength, what).toBe(vector.frameLength);
        expect(header.encryptedDataKeys.length, what).toBe(keyrings.length);
        const { "aws-crypto-public-key": publicKey, ...stored } = header.encryptionContext;
        expect(stored, what).toEqual(encryptionContext);
        expect(publicKey !== undefined, what).toBe(isSigned(vector.suite));
        expect(plaintext.equals(await streamed(message, keyring)), what).toBe(true);
        if (vector.frameLength > 0 && !isSigned(vector.suite))
          await ranged(message, keyring, plaintext, vector.frameLength);
        for (const at of [(index * 7919) % message.length, message.length - 1 - (index % 16)]) {
          const changed = Buffer.from(message);
          changed[at] = (changed[at] ?? 0) ^ (1 << (index % 8));
          const outcome = decrypt(changed, { ...options, keyring });
          await expect(outcome, `${what}, byte ${at}`).rejects.toMatchObject({ name: "FramesealError" });
        }
      }
    }
  });
});

test("every SDK is there with every suite, set of keys and context that it can write", () => {
  const suites = [0x0014, 0x0046, 0x0078, 0x0114, 0x0146, 0x0178, 0x0214, 0x0346, 0x0378, 0x0478, 0x0578];
  const sdks = ["Go 0.4.0", "Java 3.0.2", "JavaScript 5.0.2", "Python 4.0.7", "Rust 1.2.4"];
  expect([...groups.keys()].sort()).toEqual(
    sdks.flatMap((sdk) => suites.map((suite) => `${sdk}, ${suiteName(suite)}`)),
  );
  const count = (select: (message: Message) => string): Record<string, number> => {
    const seen: Record<string, Set<string>> = {};
    for (const message of messages) {
      const values = seen[message.sdk] ?? new Set();
      seen[message.sdk] = values.add(select(message));
    }
    return Object.fromEntries(Object.entries(seen).map(([sdk, values]) => [sdk, values.size]));
  };
  // RSA with PKCS#1 v1.5 is not recorded, since a platform may refuse to unwrap it.
  expect(count(({ keys }) => keys)).toEqual({ Go: 11, Java: 11, JavaScript: 11, Python: 11, Rust: 11 });
  // Java refuses empty values.
  expect(count(({ context }) => context)).toEqual({ Go: 5, Java: 4, JavaScript: 5, Python: 5, Rust: 5 });
  // Python and Java write messages without frames; Python's frames have whole 128 bytes.
  expect(count(({ frameLength }) => String(frameLength))).toEqual({
    Go: 4,
    Java: 5,
    JavaScript: 4,
    Python: 4,
    Rust: 4,
  });
  expect(messages.length).toBe(718);
  expect(text.length).toBeLessThanOrEqual(1_000_000);
});
