// The suite of frameseal/testing on every keyring of this package, on the example for HashiCorp Vault, and on keyrings
// with a defect each, which it must find.
import { createCipheriv, createDecipheriv, generateKeyPairSync, randomBytes } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  CachingKeyring,
  type GeneratedDataKey,
  type Keyring,
  MultiKeyring,
  RawAesKeyring,
  RawRsaKeyring,
} from "../../src/index.ts";
import { KmsKeyring } from "../../src/kms.ts";
import { checkKeyring, type KeyringSubject } from "../../src/testing.ts";
import { FakeKms } from "../support/fake-kms.ts";
import { VaultKeyring } from "../support/vault-keyring.ts";

const names = { keyNamespace: "n", keyName: "k" };
const pair = generateKeyPairSync("rsa", { modulusLength: 2048 });
const otherPair = generateKeyPairSync("rsa", { modulusLength: 2048 });
const [key, otherKey] = [randomBytes(32), randomBytes(32)];
let kms: FakeKms;
let vault: Server;
let subjects: Readonly<Record<string, KeyringSubject>>;

beforeAll(async () => {
  kms = await FakeKms.start();
  const [one, two] = [kms.createKey(), kms.createKey()];
  const client = kms.client();
  const address = await startVault();
  const aes = (wrappingKey: Buffer) => () => new RawAesKeyring({ ...names, wrappingKey });
  const rsa = (keys: typeof pair) => () => new RawRsaKeyring({ ...names, ...keys, padding: "OAEP-SHA-256" });
  const strict = (generatorKeyId: string) => () => new KmsKeyring({ client, generatorKeyId });
  const inVault = (keyName: string) => () => new VaultKeyring({ address, token: "t", keyName });
  const many = (make: () => Keyring) => () => new MultiKeyring({ generator: make(), children: [aes(key)()] });
  const cached = (make: () => Keyring) => () => new CachingKeyring({ keyring: make(), maxAgeMs: 60_000 });
  subjects = {
    "raw AES": { writer: aes(key), stranger: aes(otherKey) },
    "raw RSA": { writer: rsa(pair), stranger: rsa(otherPair), encryptionContext: "unbound" },
    KMS: { writer: strict(one), stranger: strict(two) },
    multi: { writer: many(strict(one)), reader: aes(key), stranger: aes(otherKey) },
    caching: { writer: cached(aes(key)), stranger: cached(aes(otherKey)) },
    "Vault (example)": { writer: inVault("one"), stranger: inVault("two") },
  };
});
afterAll(async () => {
  await kms[Symbol.asyncDispose]();
  vault.closeAllConnections();
  await new Promise((resolve) => vault.close(resolve));
});

/** As much of Vault's transit engine as the example needs; a key for every name. */
async function startVault(): Promise<string> {
  const keys = new Map<string, Buffer>();
  vault = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const [, , , operation, name = ""] = (request.url ?? "").split("/");
    const input = JSON.parse(Buffer.concat(chunks).toString()) as Record<string, string>;
    const wrapping = keys.get(name) ?? randomBytes(32);
    keys.set(name, wrapping);
    const aad = Buffer.from(input.associated_data ?? "", "base64");
    try {
      let data: Record<string, string>;
      if (operation === "encrypt") {
        const nonce = randomBytes(12);
        const cipher = createCipheriv("aes-256-gcm", wrapping, nonce).setAAD(aad);
        const text = [cipher.update(input.plaintext ?? "", "base64"), cipher.final(), cipher.getAuthTag()];
        data = { ciphertext: `vault:v1:${Buffer.concat([nonce, ...text]).toString("base64")}` };
      } else {
        const match = /^vault:v1:([A-Za-z0-9+/]+=*)$/.exec(input.ciphertext ?? "");
        const blob = Buffer.from(match?.[1] ?? "", "base64");
        if (blob.toString("base64") !== match?.[1]) throw new Error("not a blob");
        const decipher = createDecipheriv("aes-256-gcm", wrapping, blob.subarray(0, 12)).setAAD(aad);
        decipher.setAuthTag(blob.subarray(-16));
        data = {
          plaintext: Buffer.concat([decipher.update(blob.subarray(12, -16)), decipher.final()]).toString(
            "base64",
          ),
        };
      }
      response.end(JSON.stringify({ data }));
    } catch {
      response.writeHead(400).end("{}");
    }
  });
  await new Promise<void>((resolve) => vault.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(vault.address() as AddressInfo).port}`;
}

test.each(["raw AES", "raw RSA", "KMS", "multi", "caching", "Vault (example)"])("%s", async (name) => {
  const subject = subjects[name];
  if (subject === undefined) throw new Error("no subject");
  expect((await checkKeyring({ ...subject, reasons: "told" })).length).toBeGreaterThan(5);
});

/** A raw AES keyring with something changed. */
function broken(change: (keyring: Keyring) => Partial<Keyring>): () => Keyring {
  return () => {
    const keyring = new RawAesKeyring({ ...names, wrappingKey: key });
    const methods: Keyring = {
      generateDataKey: (request) => keyring.generateDataKey(request),
      wrapDataKey: (dataKey, request) => keyring.wrapDataKey(dataKey, request),
      unwrapDataKey: (keys, request) => keyring.unwrapDataKey(keys, request),
    };
    return { ...methods, ...change(keyring) };
  };
}

describe("defects are found", () => {
  const without = { encryptionContext: {} };
  test.each<[string, string, () => Keyring]>([
    [
      "the encryption context is not bound",
      "it opens under another encryption context",
      broken((keyring) => ({
        generateDataKey: (request) => keyring.generateDataKey({ ...request, ...without }),
        wrapDataKey: (dataKey, request) => keyring.wrapDataKey(dataKey, { ...request, ...without }),
        unwrapDataKey: (keys, request) => keyring.unwrapDataKey(keys, { ...request, ...without }),
      })),
    ],
    [
      "entries of others make it fail",
      "returns null for entries of others: none of mine",
      broken((keyring) => ({
        unwrapDataKey: async (keys, request) => {
          const dataKey = await keyring.unwrapDataKey(keys, request);
          if (dataKey === null) throw new Error("none of mine");
          return dataKey;
        },
      })),
    ],
    [
      "the data key it is given is wiped",
      "it changed the data key",
      broken((keyring) => ({
        wrapDataKey: async (dataKey, request) => {
          const wrapped = await keyring.wrapDataKey(dataKey, request);
          dataKey.fill(0);
          return wrapped;
        },
      })),
    ],
    [
      "a data key is always the same",
      "a data key was made twice",
      broken((keyring) => ({
        generateDataKey: async (request) => {
          const dataKey = new Uint8Array(request.suite.keyLength).fill(1);
          return { dataKey, encryptedDataKeys: await keyring.wrapDataKey(dataKey, request) };
        },
      })),
    ],
    [
      "a data key is in memory that it keeps",
      "wiping one data key changes another",
      broken((keyring) => {
        const kept = new Map<number, Uint8Array>();
        return {
          generateDataKey: async (request) => {
            const { keyLength } = request.suite;
            const dataKey = kept.get(keyLength) ?? new Uint8Array(keyLength);
            kept.set(keyLength, dataKey);
            dataKey.set(randomBytes(keyLength));
            return { dataKey, encryptedDataKeys: await keyring.wrapDataKey(dataKey, request) };
          },
        };
      }),
    ],
    [
      "a data key is wiped after it was given",
      "a data key is changed after it was given",
      broken((keyring) => ({
        generateDataKey: async (request) => {
          const made = await keyring.generateDataKey(request);
          setImmediate(() => made.dataKey.fill(0));
          return made;
        },
      })),
    ],
    [
      "an opened key is given away twice",
      "wiping one data key changes another",
      broken((keyring) => {
        const opened = new Map<string, Uint8Array>();
        return {
          unwrapDataKey: async (keys, request) => {
            const name = Buffer.concat(keys.map(({ ciphertext }) => ciphertext)).toString("hex");
            const dataKey = opened.get(name) ?? (await keyring.unwrapDataKey(keys, request));
            if (dataKey !== null) opened.set(name, dataKey);
            return dataKey;
          },
        };
      }),
    ],
    [
      "a data key is in shared memory",
      "a data key is in shared memory",
      broken((keyring) => ({
        generateDataKey: async (request) => {
          const { dataKey, encryptedDataKeys } = await keyring.generateDataKey(request);
          const shared = new Uint8Array(new SharedArrayBuffer(dataKey.length));
          shared.set(dataKey);
          return { dataKey: shared, encryptedDataKeys };
        },
      })),
    ],
    [
      "an entry is in memory that it keeps",
      "gives its entries away: it returns null for an entry of its own",
      broken((keyring) => {
        let made: Promise<GeneratedDataKey> | undefined;
        return {
          generateDataKey: async (request) => {
            if (Object.keys(request.encryptionContext).length < 4 || request.suite.keyLength !== 32)
              return keyring.generateDataKey(request);
            made ??= keyring.generateDataKey(request);
            const { dataKey, encryptedDataKeys } = await made;
            return { dataKey: Uint8Array.from(dataKey), encryptedDataKeys };
          },
        };
      }),
    ],
    [
      "a reason shows names as they are",
      "a reason has control characters",
      broken((keyring) => ({
        unwrapDataKey: (keys, request) => {
          for (const { providerId } of keys) request.skipped?.add(`not ${providerId}`);
          return keyring.unwrapDataKey(keys, request);
        },
      })),
    ],
  ])("%s", async (_, said, writer) => {
    await expect(checkKeyring({ writer })).rejects.toThrow(said);
  });
  test("nothing is said where reasons are demanded", async () => {
    const writer = broken((keyring) => ({
      unwrapDataKey: (keys, { skipped: _, ...request }) => keyring.unwrapDataKey(keys, request),
    }));
    await expect(checkKeyring({ writer, reasons: "told" })).rejects.toThrow("violates 1 of");
    expect(await checkKeyring({ writer })).toContain(
      "says in plain words why it passes over them, if it does",
    );
  });
});
