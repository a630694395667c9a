// Every way in for a data key that somebody else has made, times everything that such a key can be: a message is sealed
// or opened under the right key, or refused with KEY_SERVICE; never under zeros, nor under bytes that changed later.
import {
  constants,
  createCipheriv,
  createHash,
  createSecretKey,
  generateKeyPairSync,
  publicEncrypt,
  randomBytes,
} from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { buffer } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { createContext, runInContext } from "node:vm";
import { describe, expect, test } from "vitest";
import {
  buildClient,
  getLocalCryptographicMaterialsCache,
  KeyringNode,
  KmsKeyringNode,
  MultiKeyringNode,
  NodeCachingMaterialsManager,
  type NodeDecryptionMaterial,
  type NodeEncryptionMaterial,
  EncryptedDataKey as PeerKey,
  RawAesKeyringNode,
} from "../../src/client-node.ts";
import {
  CachingKeyring,
  createDecryptStream,
  createEncryptStream,
  decrypt,
  type EncryptedDataKey,
  encrypt,
  type GeneratedDataKey,
  type Keyring,
  keyringFromKeyFile,
  MultiKeyring,
  openMessage,
  RawAesKeyring,
  RawRsaKeyring,
} from "../../src/index.ts";
import { wrapWithAesGcm } from "../../src/keyring/aes-gcm-wrap.ts";
import { type KmsClient, KmsKeyring } from "../../src/kms.ts";
import type { Envelope, WrapAlgorithm } from "../../src/s3/single-message/envelope.ts";
import { unwrapDataKey } from "../../src/s3/single-message/wrapped-key.ts";
import { decryptObject, deriveSseCKey, encryptObject, sseC, withSseCKey } from "../../src/s3.ts";

const plaintext = Buffer.from("a few bytes");
const ARN = "arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-0000-0000-000000000000";
const location = { bucket: "b", key: "k" };
const aesNames = { keyNamespace: "aes", keyName: "k" };
const aes = new RawAesKeyring({ ...aesNames, wrappingKey: randomBytes(32) });
const other = new RawAesKeyring({ ...aesNames, wrappingKey: randomBytes(32) });
const policy = { commitmentPolicy: "REQUIRE_ENCRYPT_REQUIRE_DECRYPT" } as const;

const wrapped = (): EncryptedDataKey => ({
  providerId: "giver",
  providerInfo: Buffer.from("info"),
  ciphertext: Buffer.from("wrapped"),
});
const isGivers = ({ providerId, providerInfo, ciphertext }: EncryptedDataKey): boolean =>
  providerId === "giver" &&
  Buffer.from(providerInfo).toString() === "info" &&
  Buffer.from(ciphertext).toString() === "wrapped";

/** Gives whatever it is told to as data keys. */
class Giver implements Keyring {
  readonly give: () => unknown;
  constructor(give: () => unknown) {
    this.give = give;
  }
  async generateDataKey(): Promise<GeneratedDataKey> {
    await null;
    const encryptedDataKeys = [wrapped()];
    soon(() => {
      encryptedDataKeys[0]?.ciphertext.fill(0xff);
      encryptedDataKeys.push(wrapped());
    });
    return { dataKey: this.give() as Uint8Array, encryptedDataKeys };
  }
  async wrapDataKey(): Promise<readonly EncryptedDataKey[]> {
    return [wrapped()];
  }
  async unwrapDataKey(keys: readonly EncryptedDataKey[]): Promise<Uint8Array | null> {
    await null;
    return keys.some(isGivers) ? (this.give() as Uint8Array) : null;
  }
}

/** The first moment after whoever awaits what is returned now. */
function soon(change: () => void): void {
  queueMicrotask(() => queueMicrotask(change));
}

/** The same for whoever extends the class of the peer. */
class PeerGiver extends KeyringNode {
  readonly give: () => unknown;
  constructor(give: () => unknown) {
    super();
    this.give = give;
  }
  async _onEncrypt(material: NodeEncryptionMaterial): Promise<NodeEncryptionMaterial> {
    const encryptedDataKey = Buffer.from("wrapped");
    material.setUnencryptedDataKey(this.give() as Uint8Array);
    return material.addEncryptedDataKey(
      new PeerKey({ providerId: "giver", providerInfo: "info", encryptedDataKey }),
    );
  }
  async _onDecrypt(material: NodeDecryptionMaterial): Promise<NodeDecryptionMaterial> {
    return material.setUnencryptedDataKey(this.give() as Uint8Array);
  }
}

/** A client of KMS whose answers hold what it is told to give. */
function kmsClient(give: () => unknown): KmsClient {
  const send = async (command: { readonly constructor: { readonly name: string } }): Promise<unknown> => {
    await null;
    const CiphertextBlob = Buffer.from("wrapped");
    soon(() => CiphertextBlob.fill(0xff));
    return command.constructor.name === "EncryptCommand"
      ? { KeyId: ARN, CiphertextBlob }
      : { KeyId: ARN, CiphertextBlob, Plaintext: give() };
  };
  return { send } as unknown as KmsClient;
}

type Give = () => unknown;
/** Ways to seal: each gives a message that a keyring with the right key must open, or fails. */
const sealing: Readonly<Record<string, (give: Give) => Promise<Sealed>>> = {
  encrypt: (give) => sealed(new Giver(give)),
  "an encrypting stream": async (give) => {
    const stream = createEncryptStream({ keyring: new Giver(give) });
    stream.end(plaintext);
    return { message: await buffer(stream) };
  },
  "a multi-keyring": (give) => sealed(new MultiKeyring({ generator: new Giver(give), children: [aes] })),
  "a cache": (give) => sealed(new CachingKeyring({ keyring: new Giver(give), maxAgeMs: 1000 })),
  "a cache that is passed by": async (give) => {
    const keyring = new CachingKeyring({ keyring: new Giver(give), maxAgeMs: 1000 });
    return { message: await encrypt(plaintext, { keyring, suite: 0x0578 }) };
  },
  "a keyring of the peer's kind": (give) => sealed(new PeerGiver(give)),
  "the peer's multi-keyring": (give) =>
    sealed(new MultiKeyringNode({ generator: new PeerGiver(give), children: [aes] })),
  "the peer's client and cache": async (give) => {
    const cache = getLocalCryptographicMaterialsCache(10);
    const manager = new NodeCachingMaterialsManager({
      backingMaterials: new Giver(give),
      cache,
      maxAge: 1000,
    });
    const { encrypt: seal } = buildClient("REQUIRE_ENCRYPT_REQUIRE_DECRYPT");
    return { message: (await seal(manager, plaintext, { suiteId: 0x0478 })).result };
  },
  KMS: (give) => sealed(new KmsKeyring({ client: kmsClient(give), generatorKeyId: ARN })),
  "the peer's KMS keyring": (give) =>
    sealed(new KmsKeyringNode({ clientProvider: () => kmsClient(give) as never, generatorKeyId: ARN })),
  "an object in frames": async (give) => {
    const { body } = await encryptObject(location, plaintext, { keyring: new Giver(give), bind: "none" });
    return { message: Buffer.from(body) };
  },
  "an object with one key": async (give) => ({
    object: await sealedObject(new KmsKeyring({ client: kmsClient(give), generatorKeyId: ARN })),
  }),
};
/** Ways to open what was sealed under the right key. */
const opening: Readonly<
  Record<string, (give: Give, sealedBy: (keyring: Keyring) => Promise<Sealed>) => Promise<Uint8Array>>
> = {
  decrypt: (give, made) => opened(new Giver(give), made(new Giver(ofTest))),
  "a decrypting stream": async (give, made) => {
    const { message } = await made(new Giver(ofTest));
    const stream = createDecryptStream({ keyring: new Giver(give) });
    stream.end(message);
    return buffer(stream);
  },
  "a reader": async (give, made) => {
    const { message = Buffer.of() } = await made(new Giver(ofTest));
    const reader = await openMessage(message, { keyring: new Giver(give) });
    try {
      return await reader.read(0, plaintext.length);
    } finally {
      await reader.close();
    }
  },
  "a multi-keyring": (give, made) =>
    opened(new MultiKeyring({ children: [other, new Giver(give)] }), made(new Giver(ofTest))),
  "a cache": (give, made) =>
    opened(new CachingKeyring({ keyring: new Giver(give), maxAgeMs: 1000 }), made(new Giver(ofTest))),
  "a cache that is passed by": async (give) => {
    const keyring = new CachingKeyring({ keyring: new Giver(give), maxAgeMs: 1000 });
    const message = await encrypt(plaintext, { keyring: new Giver(ofTest), suite: 0x0578 });
    return (await decrypt(message, { keyring, ...policy })).plaintext;
  },
  "a keyring of the peer's kind": (give, made) => opened(new PeerGiver(give), made(new Giver(ofTest))),
  "the peer's multi-keyring": (give, made) =>
    opened(new MultiKeyringNode({ children: [other, new PeerGiver(give)] }), made(new Giver(ofTest))),
  KMS: (give, made) =>
    opened(
      new KmsKeyring({ client: kmsClient(give), keyIds: [ARN] }),
      made(new KmsKeyring({ client: kmsClient(ofTest), generatorKeyId: ARN })),
    ),
  "KMS by discovery": (give, made) =>
    opened(
      new KmsKeyring({
        client: kmsClient(give),
        discovery: { partition: "aws", accountIds: ["111122223333"] },
      }),
      made(new KmsKeyring({ client: kmsClient(ofTest), generatorKeyId: ARN })),
    ),
  "the peer's KMS keyring": (give, made) =>
    opened(
      new KmsKeyringNode({ clientProvider: () => kmsClient(give) as never, keyIds: [ARN] }),
      made(new KmsKeyring({ client: kmsClient(ofTest), generatorKeyId: ARN })),
    ),
  "an object with one key": (give) => openedObject(give, { keyIds: [ARN] }),
  "an object with one key, by discovery": (give) =>
    openedObject(give, { discovery: { partition: "aws", accountIds: ["111122223333"] } }),
};

interface Sealed {
  readonly message?: Buffer;
  readonly object?: { readonly body: Uint8Array; readonly metadata: Readonly<Record<string, string>> };
}
async function sealedObject(keyring: Keyring): Promise<NonNullable<Sealed["object"]>> {
  const { body, metadata } = await encryptObject(location, plaintext, { keyring, format: "s3ec-v3" });
  return { body, metadata };
}
async function sealed(keyring: Keyring): Promise<Sealed> {
  return { message: await encrypt(plaintext, { keyring }) };
}
async function opened(keyring: Keyring, made: Promise<Sealed>): Promise<Uint8Array> {
  return (await decrypt((await made).message ?? Buffer.of(), { keyring })).plaintext;
}
async function openedObject(
  give: Give,
  options: { keyIds: string[] } | { discovery: { partition: string; accountIds: string[] } },
): Promise<Uint8Array> {
  const object = await sealedObject(new KmsKeyring({ client: kmsClient(ofTest), generatorKeyId: ARN }));
  const keyring = new KmsKeyring({ client: kmsClient(give), ...options });
  return (await decryptObject(location, object, { keyring, format: "s3ec-v3" })).body;
}

/** The data key of the test, in memory of its own each time. */
let right = randomBytes(32);
const ofTest = (): Uint8Array => Uint8Array.from(right);

/** Opens with the right key: succeeds only if the message was sealed under it. */
async function isSealedRight({ message, object }: Sealed): Promise<boolean> {
  if (object !== undefined) {
    const keyring = new KmsKeyring({ client: kmsClient(ofTest), keyIds: [ARN] });
    const { body } = await decryptObject(location, object, { keyring, format: "s3ec-v3" });
    return plaintext.equals(body);
  }
  const kms = new KmsKeyring({ client: kmsClient(ofTest), keyIds: [ARN] });
  const keyring = new MultiKeyring({ children: [new Giver(ofTest), kms] });
  const read = await decrypt(message ?? Buffer.of(), { keyring });
  const ciphertexts = read.header.encryptedDataKeys.map((key) => Buffer.from(key.ciphertext).toString());
  return plaintext.equals(read.plaintext) && ciphertexts[0] === "wrapped" && ciphertexts.length <= 2;
}

const realm = createContext({});
const sharedOf = (bytes: Uint8Array): Uint8Array => {
  const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
  shared.set(bytes);
  return shared;
};
const withOwn = (properties: PropertyDescriptorMap): Uint8Array =>
  Object.defineProperties(ofTest(), properties);

/** What can be given. Each is made once for a case, and called for each message. */
const gifts: Readonly<Record<string, () => { readonly give: Give; readonly expected: "right" | "refused" }>> =
  {
    "a key": () => ({ give: ofTest, expected: "right" }),
    zeros: () => ({ give: () => new Uint8Array(32), expected: "refused" }),
    "31 bytes": () => ({ give: () => ofTest().subarray(1), expected: "refused" }),
    "33 bytes": () => ({ give: () => Buffer.concat([right, Buffer.of(1)]), expected: "refused" }),
    "no bytes": () => ({ give: () => new Uint8Array(0), expected: "refused" }),
    nothing: () => ({ give: () => undefined, expected: "refused" }),
    text: () => ({ give: () => right.toString("latin1"), expected: "refused" }),
    "an array": () => ({ give: () => [...right], expected: "refused" }),
    "a DataView": () => ({ give: () => new DataView(ofTest().buffer), expected: "refused" }),
    "16 numbers of two bytes": () => ({ give: () => new Uint16Array(ofTest().buffer), expected: "refused" }),
    "something with a length": () => ({ give: () => ({ length: 32, 0: 1 }), expected: "refused" }),
    "what inherits from bytes": () => ({
      give: () => Object.create(Uint8Array.prototype),
      expected: "refused",
    }),
    "a proxy": () => ({ give: () => new Proxy(ofTest(), {}), expected: "refused" }),
    "transferred memory": () => ({
      give: () => {
        const key = ofTest();
        structuredClone(key.buffer, { transfer: [key.buffer as ArrayBuffer] });
        return key;
      },
      expected: "refused",
    }),
    "bytes of another realm": () => ({
      give: () => {
        const key = runInContext("new Uint8Array(32)", realm) as Uint8Array;
        key.set(right);
        return key;
      },
      expected: "right",
    }),
    "zeros of another realm": () => ({
      give: () => runInContext("new Uint8Array(32)", realm),
      expected: "refused",
    }),
    "shared memory": () => ({ give: () => sharedOf(right), expected: "right" }),
    "shared zeros": () => ({ give: () => sharedOf(Buffer.alloc(32)), expected: "refused" }),
    "part of a larger buffer": () => ({
      give: () => Buffer.concat([Buffer.alloc(7), right, Buffer.alloc(9)]).subarray(7, 39),
      expected: "right",
    }),
    "bytes with a length of their own": () => ({
      give: () => withOwn({ length: { get: () => 5 }, byteLength: { value: 3 }, buffer: { value: null } }),
      expected: "right",
    }),
    "short bytes that say 32": () => ({
      give: () => Object.defineProperties(new Uint8Array(5), { length: { get: () => 32 } }),
      expected: "refused",
    }),
    "bytes with functions of their own": () => ({
      give: () => {
        const lie = { value: () => new Uint8Array(32) };
        return withOwn({ fill: lie, slice: lie, subarray: lie, every: lie, [Symbol.iterator]: lie });
      },
      expected: "right",
    }),
    "bytes that are changed at once": () => ({
      give: () => changing((key) => key.fill(0xaa)),
      expected: "right",
    }),
    "bytes that are wiped at once": () => ({ give: () => changing((key) => key.fill(0)), expected: "right" }),
    "bytes that are transferred at once": () => ({
      give: () => changing((key) => structuredClone(key.buffer, { transfer: [key.buffer as ArrayBuffer] })),
      expected: "right",
    }),
  };
function changing(change: (key: Uint8Array) => void): Uint8Array {
  const key = ofTest();
  soon(() => change(key));
  return key;
}

const cases = (ways: object): [string, string][] =>
  Object.keys(ways).flatMap((way) => Object.keys(gifts).map((gift): [string, string] => [way, gift]));

describe("sealing", () => {
  test.each(cases(sealing))("by %s, given %s", async (way, gift) => {
    right = randomBytes(32);
    const { give, expected } = gifts[gift]?.() ?? { give: ofTest, expected: "right" };
    const made = sealing[way]?.(give) ?? Promise.reject(new Error("no way"));
    if (expected === "refused") await expect(made).rejects.toMatchObject({ code: "KEY_SERVICE" });
    else expect(await isSealedRight(await made)).toBe(true);
  });

  test.each(Object.keys(sealing))("by %s, given the same memory for each message", async (way) => {
    right = randomBytes(32);
    const kept = ofTest();
    const seal = sealing[way] ?? (() => Promise.reject(new Error("no way")));
    expect(await isSealedRight(await seal(() => kept))).toBe(true);
    for (let i = 0; i < 2; i++)
      try {
        expect(await isSealedRight(await seal(() => kept))).toBe(true);
      } catch (error) {
        expect(error).toMatchObject({ code: "KEY_SERVICE", message: expect.stringContaining("all zeros") });
      }
  });
});

describe("opening", () => {
  test.each(cases(opening))("by %s, given %s", async (way, gift) => {
    right = randomBytes(32);
    const { give, expected } = gifts[gift]?.() ?? { give: ofTest, expected: "right" };
    const read = opening[way]?.(give, sealed) ?? Promise.reject(new Error("no way"));
    if (expected === "refused") await expect(read).rejects.toMatchObject({ code: "KEY_SERVICE" });
    else expect(plaintext.equals(await read)).toBe(true);
  });
});

describe("answers of keyrings", () => {
  test("are read once", async () => {
    const reads: string[] = [];
    const once = <Value>(name: string, value: Value): PropertyDescriptor => ({
      get: () => {
        reads.push(name);
        return reads.filter((each) => each === name).length === 1 ? value : undefined;
      },
    });
    const entry = wrapped();
    const keyring: Keyring = Object.assign(new Giver(ofTest), {
      generateDataKey: async () =>
        Object.defineProperties({} as GeneratedDataKey, {
          dataKey: once("dataKey", ofTest()),
          encryptedDataKeys: once("encryptedDataKeys", [
            Object.defineProperties({} as EncryptedDataKey, {
              providerId: once("providerId", entry.providerId),
              providerInfo: once("providerInfo", entry.providerInfo),
              ciphertext: once("ciphertext", entry.ciphertext),
            }),
          ]),
        }),
    });
    expect(await isSealedRight({ message: await encrypt(plaintext, { keyring }) })).toBe(true);
    expect([...reads].sort()).toEqual(
      ["dataKey", "encryptedDataKeys", "providerId", "providerInfo", "ciphertext"].sort(),
    );
  });

  test.each<[string, unknown]>([
    ["nothing", undefined],
    ["null", null],
    ["an object", { length: 1, 0: wrapped() }],
    ["an empty list", []],
    ["a list with a hole", new Array(1)],
    ["a list of null", [null]],
    ["more than a header holds", { length: 65_536 }],
    ["a provider that is no string", [{ ...wrapped(), providerId: 5 }]],
    ["half a surrogate pair", [{ ...wrapped(), providerId: "\ud800" }]],
    ["a provider of 65,536 bytes", [{ ...wrapped(), providerId: "ß".repeat(32_768) }]],
    ["info that is no bytes", [{ ...wrapped(), providerInfo: "info" }]],
    ["info of 65,536 bytes", [{ ...wrapped(), providerInfo: new Uint8Array(65_536) }]],
    ["a wrapped key that is no bytes", [{ ...wrapped(), ciphertext: [1, 2] }]],
    ["a wrapped key of 65,536 bytes", [{ ...wrapped(), ciphertext: new Uint8Array(65_536) }]],
  ])("with %s as their list are refused", async (_, given) => {
    right = randomBytes(32);
    const list =
      (given as { length?: number })?.length === 65_536 ? new Array(65_536).fill(wrapped()) : given;
    const dataKey = ofTest();
    const generator: Keyring = Object.assign(new Giver(ofTest), {
      generateDataKey: async () => ({ dataKey, encryptedDataKeys: list }) as GeneratedDataKey,
    });
    const refused = { code: "KEY_SERVICE" };
    await expect(encrypt(plaintext, { keyring: generator })).rejects.toMatchObject(refused);
    expect(dataKey.every((byte) => byte === 0)).toBe(true);
    const cache = new CachingKeyring({ keyring: generator, maxAgeMs: 1000 });
    await expect(encrypt(plaintext, { keyring: cache })).rejects.toMatchObject(refused);
    if (Array.isArray(given) && given.length === 0) return; // a child may add nothing
    const child: Keyring = Object.assign(new Giver(ofTest), { wrapDataKey: async () => list as [] });
    const both = new MultiKeyring({ generator: new Giver(ofTest), children: [child] });
    await expect(encrypt(plaintext, { keyring: both })).rejects.toMatchObject(refused);
    await expect(encrypt(plaintext, { keyring: new MultiKeyringNode(both) })).rejects.toMatchObject(refused);
  });

  test("may come without a wrapped form where others add one", async () => {
    const generator: Keyring = Object.assign(new Giver(ofTest), {
      generateDataKey: async () => ({ dataKey: ofTest(), encryptedDataKeys: [] }),
    });
    const message = await encrypt(plaintext, { keyring: new MultiKeyring({ generator, children: [aes] }) });
    expect(plaintext.equals((await decrypt(message, { keyring: aes })).plaintext)).toBe(true);
    await expect(
      encrypt(plaintext, { keyring: new MultiKeyring({ generator, children: [] }) }),
    ).rejects.toMatchObject({ code: "KEY_SERVICE" });
  });

  test("what a child does to the key it wraps reaches neither the message nor the next child", async () => {
    for (const change of [0, 0xaa]) {
      right = randomBytes(32);
      const child: Keyring = Object.assign(new Giver(ofTest), {
        wrapDataKey: async (dataKey: Uint8Array) => {
          dataKey.fill(change);
          return [];
        },
      });
      const keyring = new MultiKeyring({ generator: new Giver(ofTest), children: [child, aes] });
      const message = await encrypt(plaintext, { keyring });
      for (const reader of [aes, new Giver(ofTest)])
        expect(plaintext.equals((await decrypt(message, { keyring: reader })).plaintext)).toBe(true);
    }
  });

  test("of a first keyring that cannot be used leave the word to the second", async () => {
    right = randomBytes(32);
    const message = await encrypt(plaintext, { keyring: new Giver(ofTest) });
    const children = [new Giver(() => new Uint8Array(32)), new Giver(ofTest)];
    const keyring = new MultiKeyring({ children });
    expect(plaintext.equals((await decrypt(message, { keyring })).plaintext)).toBe(true);
  });
});

describe("zeros as a wrapping key are a mistake of the caller:", () => {
  const zeros = new Uint8Array(32);
  const names = { keyNamespace: "n", keyName: "k" };
  test.each<[string, () => unknown]>([
    ["of 16 bytes", () => new RawAesKeyring({ ...names, wrappingKey: zeros.subarray(16) })],
    ["of 24 bytes", () => new RawAesKeyring({ ...names, wrappingKey: zeros.subarray(8) })],
    ["of 32 bytes", () => new RawAesKeyring({ ...names, wrappingKey: zeros })],
    [
      "of another realm",
      () => new RawAesKeyring({ ...names, wrappingKey: runInContext("new Uint8Array(32)", realm) }),
    ],
    ["as a key object", () => new RawAesKeyring({ ...names, wrappingKey: createSecretKey(zeros) })],
    [
      "with the peer's names",
      () => new RawAesKeyringNode({ ...names, unencryptedMasterKey: zeros, wrappingSuite: 0x0078 }),
    ],
    ["for all objects", () => sseC(zeros)],
    ["for each object", () => deriveSseCKey({ ...location, masterKey: zeros, masterKeyVersion: 1 })],
    [
      "as a key object for each object",
      () => deriveSseCKey({ ...location, masterKey: createSecretKey(zeros), masterKeyVersion: 1 }),
    ],
    [
      "to try",
      () =>
        withSseCKey({ ...location, masterKeys: [{ masterKey: zeros, masterKeyVersion: 1 }] }, async () => 0),
    ],
    [
      "in a file",
      async () => {
        const folder = await mkdtemp(path.join(tmpdir(), "zeros-"));
        try {
          const file = path.join(folder, "key.jwk");
          await writeFile(
            file,
            JSON.stringify({ kty: "oct", kid: "k", k: Buffer.from(zeros).toString("base64url") }),
          );
          return await keyringFromKeyFile(file);
        } finally {
          await rm(folder, { recursive: true });
        }
      },
    ],
  ])("%s", async (_, make) => {
    await expect((async () => make())()).rejects.toThrow(RangeError);
    await expect((async () => make())()).rejects.toThrow(/all zeros/);
  });
});

describe("zeros as the data key of an object with one key", () => {
  const key = createSecretKey(randomBytes(32));
  const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const algorithm = Buffer.from("AES/GCM/NoPadding");
  const cipher = (name: string, iv: Buffer | null, text: Buffer): Buffer => {
    const made = createCipheriv(name, key, iv);
    return Buffer.concat([made.update(text), made.final()]);
  };
  const rsa = (padding: number, text: Buffer): Buffer =>
    publicEncrypt({ key: publicKey, padding, oaepHash: "sha1" }, text);
  const wraps: Readonly<Partial<Record<WrapAlgorithm, (dataKey: Buffer) => Buffer>>> = {
    "AES/GCM": (dataKey) => {
      const { nonce, sealed } = wrapWithAesGcm(key, algorithm, dataKey);
      return Buffer.concat([nonce, sealed]);
    },
    AESWrap: (dataKey) => cipher("id-aes256-wrap", Buffer.alloc(8, 0xa6), dataKey),
    AES: (dataKey) => cipher("aes-256-ecb", null, dataKey),
    "RSA-OAEP-SHA1": (dataKey) =>
      rsa(constants.RSA_PKCS1_OAEP_PADDING, Buffer.concat([Buffer.of(32), dataKey, algorithm])),
    RSA: (dataKey) => rsa(constants.RSA_PKCS1_PADDING, dataKey),
    "RSA/ECB/OAEPWithSHA-256AndMGF1Padding": (dataKey) =>
      rsa(constants.RSA_NO_PADDING, padOaepSha256Mgf1Sha1(dataKey)),
  };
  const keyring = new MultiKeyring({
    children: [
      new RawAesKeyring({ ...aesNames, wrappingKey: key }),
      new RawRsaKeyring({ ...aesNames, privateKey, padding: "OAEP-SHA-1" }),
    ],
  });
  test.each(Object.entries(wraps))("by %s are not authentic", async (wrap, wrapKey) => {
    const open = (dataKey: Buffer): Promise<Uint8Array> => {
      const envelope = { wrap, encryptedDataKey: wrapKey(dataKey), description: {}, content: "gcm" };
      return unwrapDataKey(envelope as unknown as Envelope, { keyring, encryptionContext: {} });
    };
    const [some, zeros] = [randomBytes(32), Buffer.alloc(32)];
    expect(some.equals(await open(some))).toBe(true);
    await expect(open(zeros)).rejects.toMatchObject({ code: "AUTHENTICATION_FAILED" });
  });
});

/** For a modulus of 256 bytes. (RFC 8017, 7.1.1) */
function padOaepSha256Mgf1Sha1(text: Buffer): Buffer {
  const mask = (seed: Buffer, length: number): Buffer => {
    const blocks = Array.from({ length: Math.ceil(length / 20) }, (_, index) =>
      createHash("sha1")
        .update(seed)
        .update(Buffer.of(0, 0, 0, index))
        .digest(),
    );
    return Buffer.concat(blocks).subarray(0, length);
  };
  const xor = (a: Buffer, b: Buffer): Buffer => a.map((byte, at) => byte ^ (b[at] ?? 0)) as Buffer;
  const seed = randomBytes(32);
  const head = Buffer.concat([createHash("sha256").digest(), Buffer.alloc(223 - 32 - 1 - text.length)]);
  const block = Buffer.concat([head, Buffer.of(1), text]);
  const masked = xor(block, mask(seed, block.length));
  return Buffer.concat([Buffer.of(0), xor(seed, mask(masked, 32)), masked]);
}

describe("the ways in", () => {
  const root = fileURLToPath(new URL("../../src", import.meta.url));
  const lines = readdirSync(root, { recursive: true, encoding: "utf8" })
    .map((file) => file.replaceAll(path.sep, "/"))
    .filter((file) => file.endsWith(".ts"))
    .flatMap((file) =>
      readFileSync(path.join(root, file), "utf8")
        .split("\n")
        .filter((line) => !/^\s*(\/\/|\*|\/\*)/.test(line))
        .map((line) => `${file}: ${line.trim()}`),
    );
  /** Lines that may have this, without those of the file that takes keys and of the suite that tries keyrings. */
  const found = (pattern: RegExp): string[] =>
    lines.filter((line) => pattern.test(line) && !/^(keyring\/take-data-key|testing)\.ts:/.test(line));

  test("nobody asks a keyring past the function that checks its answers", () => {
    // Not keyrings: access to KMS, whose answers are taken where they arrive; and methods that take theirs themselves.
    expect(found(/\.(generateDataKey|unwrapDataKey|wrapDataKey)\(/).sort()).toEqual(
      [
        "compat/keyring-node.ts: for (const key of await this.wrapDataKey(dataKey, request))",
        "compat/keyring-node.ts: const { dataKey, encryptedDataKeys } = await this.generateDataKey(request);",
        "compat/keyring-node.ts: const dataKey = await this.unwrapDataKey(encryptedDataKeys.map(fromPeerKey), requestFor(material));",
        "s3/single-message/wrapped-key.ts: const { dataKey, ciphertext } = await access.generateDataKey(request);",
      ].sort(),
    );
    expect(found(/\b(takeGeneratedKey|takeUnwrappedKey)\(/).length).toBeGreaterThan(10);
  });
  test("nobody asks KMS past it", () => {
    expect(found(/\b(GenerateDataKey\w*|Decrypt)Command\(/).map((line) => line.split(":")[0])).toEqual([
      "keyring/kms-keyring.ts",
      "keyring/kms-keyring.ts",
    ]);
    const taken = found(/\.Plaintext\b/);
    expect(taken).toHaveLength(2);
    for (const line of taken) expect(line).toMatch(/takePlaintext\(answer\.Plaintext,/);
  });
  test("every place that unwraps by itself is known", () => {
    // What they return goes to a message through the function, or is looked at for zeros in wrapped-key.ts. Two open
    // other things: a body, and the state of an upload.
    const files = found(/\b(createDecipheriv|privateDecrypt)\(/).map((line) => line.split(":")[0] ?? "");
    expect([...new Set(files)].filter((file) => !file.startsWith("engine/")).sort()).toEqual([
      "keyring/aes-gcm-wrap.ts",
      "keyring/raw-rsa-keyring.ts",
      "keyring/rsa-unpad.ts",
      "s3/single-message/sealer.ts",
      "s3/single-message/unauthenticated-body.ts",
      "s3/single-message/wrapped-key.ts",
    ]);
  });
});
