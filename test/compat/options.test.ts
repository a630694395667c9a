// Every option of "frameseal/client-node" has an effect, and wrong values are refused, which the peer often takes for
// something else. What it takes for a default is one here, and so are names that it ignores: a program that moves over
// goes on as it is.
import { constants, createCipheriv, generateKeyPairSync, randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { describe, expect, test, vi } from "vitest";
import {
  AwsKmsMrkAwareSymmetricDiscoveryKeyringNode,
  AwsKmsMrkAwareSymmetricKeyringNode,
  buildAwsKmsMrkAwareDiscoveryMultiKeyringNode,
  buildAwsKmsMrkAwareStrictMultiKeyringNode,
  buildClient,
  buildDecrypt,
  buildEncrypt,
  EncryptedDataKey,
  getLocalCryptographicMaterialsCache,
  KmsKeyringNode,
  MultiKeyringNode,
  NodeCachingMaterialsManager,
  RawAesKeyringNode,
  RawAesWrappingSuiteIdentifier,
  RawRsaKeyringNode,
} from "../../src/client-node.ts";
import { suiteById } from "../../src/format/suite.ts";
import { inspectHeader, type Keyring, MultiKeyring } from "../../src/index.ts";
import { rawAesInfoPrefix } from "../../src/keyring/raw-aes-info.ts";
import { publicParameters } from "../support/public-options.ts";
import { outcomeOf } from "../support/s3-outcome.ts";
import { describeTaker, type Taker } from "../support/wrong-options.ts";
import { packages } from "./packages.ts";

const wrappingKey = randomBytes(32);
const aesInput = {
  keyNamespace: "n",
  keyName: "k",
  unencryptedMasterKey: wrappingKey,
  wrappingSuite: RawAesWrappingSuiteIdentifier.AES256_GCM_IV12_TAG16_NO_PADDING,
};
const aes = (options: object = {}): RawAesKeyringNode => new RawAesKeyringNode({ ...aesInput, ...options });
const keyring = aes();
const other = aes({ keyName: "other", unencryptedMasterKey: randomBytes(32) });
const two = new MultiKeyringNode({ generator: keyring, children: [other] });
const plaintext = randomBytes(10_000);
const client = buildClient();
const unsigned = { suiteId: 0x0478 } as const;
const sealed = async (options: object = {}): Promise<Buffer> =>
  (await client.encrypt(keyring, plaintext, { ...unsigned, ...options })).result;
const request = {
  suite: suiteById(0x0478),
  commitmentPolicy: "REQUIRE_ENCRYPT_REQUIRE_DECRYPT",
  encryptionContext: {},
} as const;
const entryOf = async (from: Keyring) => (await from.generateDataKey(request)).encryptedDataKeys[0];

const pair = generateKeyPairSync("rsa", {
  modulusLength: 2048,
  publicKeyEncoding: { type: "spki", format: "pem" },
  privateKeyEncoding: { type: "pkcs8", format: "pem" },
});
const rsa = (options: object = {}): RawRsaKeyringNode =>
  new RawRsaKeyringNode({ keyNamespace: "n", keyName: "k", rsaKey: pair, ...options });

const ACCOUNT = "111122223333";
const ARN = `arn:aws:kms:us-east-1:${ACCOUNT}:key/mrk-00000000000000000000000000000000`;
const ARN_ELSEWHERE = ARN.replace("us-east-1", "us-west-2");
const ARN_2 = `arn:aws:kms:us-east-1:${ACCOUNT}:key/00000000-0000-4000-8000-000000000000`;
const discoveryFilter = { accountIDs: [ACCOUNT], partition: "aws" };
/** A client that answers, and what it was asked. */
function fakeKms(region = "us-east-1") {
  const asked: Record<string, unknown>[] = [];
  const send = async ({ input }: { readonly input: Record<string, unknown> }): Promise<object> => {
    asked.push(input);
    return { Plaintext: Uint8Array.from(wrappingKey), CiphertextBlob: Uint8Array.of(1), KeyId: input.KeyId };
  };
  return { asked, client: { send, config: { region: async () => region } } as never };
}
type Asked = readonly Record<string, unknown>[];
/** What a keyring asks KMS when it makes a key, or opens one of `stored`. */
async function asks(make: (fake: ReturnType<typeof fakeKms>) => Keyring, stored?: string): Promise<Asked> {
  const fake = fakeKms();
  const made = make(fake);
  const providerInfo = Buffer.from(stored ?? "");
  const entry = { providerId: "aws-kms", providerInfo, ciphertext: Uint8Array.of(1) };
  if (stored === undefined) await made.generateDataKey(request);
  else await made.unwrapDataKey([entry], request);
  return fake.asked;
}
const grantTokens = ["token"];
const withToken = [{ GrantTokens: grantTokens }];

const policy = async (build: typeof buildClient): Promise<void> => {
  const { encrypt, decrypt } = { ...client, ...build({ commitmentPolicy: "FORBID_ENCRYPT_ALLOW_DECRYPT" }) };
  if (build !== (buildDecrypt as unknown)) {
    const { result } = await encrypt(keyring, plaintext);
    expect(inspectHeader(result).suite.id).toBe(0x0378);
  } else {
    const weak = buildClient("FORBID_ENCRYPT_ALLOW_DECRYPT");
    const { result } = await weak.encrypt(keyring, plaintext);
    expect(await outcomeOf(client.decrypt(keyring, result))).toBe("POLICY");
    expect(await outcomeOf(decrypt(keyring, result))).toBe("accepted");
  }
};
const clientTaker = (build: typeof buildClient): Taker => ({
  call: (options) => void build(options),
  bare: (options) => void build(options),
  refuses: "throws",
  effects: {
    commitmentPolicy: () => policy(build),
    maxEncryptedDataKeys: async () => {
      const one = { ...client, ...build({ maxEncryptedDataKeys: 1 }) };
      const result =
        build === (buildDecrypt as unknown)
          ? client.encrypt(two, plaintext).then((made) => one.decrypt(keyring, made.result))
          : one.encrypt(two, plaintext);
      expect(await outcomeOf(result)).toBe("LIMIT_EXCEEDED");
    },
  },
});

type Seal = (options: object, input?: string) => Promise<Buffer>;
const sealEffects = (seal: Seal): Record<string, () => Promise<void>> => ({
  suiteId: async () => expect(inspectHeader(await seal({ suiteId: 0x0478 })).suite.id).toBe(0x0478),
  encryptionContext: async () =>
    expect(
      inspectHeader(await seal({ ...unsigned, encryptionContext: { tenant: "a" } })).encryptionContext,
    ).toEqual({ tenant: "a" }),
  frameLength: async () => expect(inspectHeader(await seal({ frameLength: 1024 })).frameLength).toBe(1024),
  encoding: async () => {
    const message = await seal({ encoding: "hex" }, "0102");
    expect((await client.decrypt(keyring, message)).plaintext).toEqual(Buffer.of(1, 2));
  },
});
const streamed = async (stream: NodeJS.ReadWriteStream, input: Uint8Array | string): Promise<Buffer> => {
  const output = buffer(stream);
  if (typeof input === "string") stream.write(input);
  else stream.write(input);
  stream.end();
  return output;
};

type Open = (message: Buffer | string, options: object) => Promise<unknown>;
const openEffects = (open: Open): Record<string, () => Promise<void>> => ({
  encoding: async () => {
    const text = (await sealed()).toString("base64");
    expect(await outcomeOf(open(text, { encoding: "base64" }))).toBe("accepted");
    expect(await outcomeOf(open(text, {}))).not.toBe("accepted");
  },
  maxBodySize: async () => {
    const message = await sealed();
    expect(await outcomeOf(open(message, { maxBodySize: 4096 }))).toBe("accepted");
    expect(await outcomeOf(open(message, { maxBodySize: 4095 }))).toBe("LIMIT_EXCEEDED");
  },
  encryptionContext: async () => {
    const message = await sealed({ encryptionContext: { tenant: "a" } });
    expect(await outcomeOf(open(message, { encryptionContext: { tenant: "a" } }))).toBe("accepted");
    expect(await outcomeOf(open(message, { encryptionContext: { tenant: "b" } }))).toBe("CONTEXT_MISMATCH");
  },
});

const encryptStreamOf = (options: object) => client.encryptStream(keyring, options);
/** What the peer takes for a default. */
const nothing = ["null", "an empty string"];
const falsy = {
  suiteId: nothing,
  encoding: nothing,
  maxBodySize: [...nothing, "a fraction", "infinity", "2^60"],
};
const decryptTaker = (open: Open, taker: Pick<Taker, "call" | "bare" | "refuses">): Taker => ({
  ...taker,
  accepts: falsy,
  effects: openEffects(open),
});
const cache = getLocalCryptographicMaterialsCache(10);
const cachingInput = { backingMaterials: keyring, cache, maxAge: 60_000 };
/** How many data keys `count` messages are under. */
async function keysOf(options: object, count: number): Promise<number> {
  const manager = new NodeCachingMaterialsManager({ ...cachingInput, ...options });
  const keys = new Set<string>();
  for (let n = 0; n < count; n++) {
    const { result } = await client.encrypt(manager, plaintext, unsigned);
    keys.add(Buffer.from(inspectHeader(result).encryptedDataKeys[0]?.ciphertext ?? []).toString("hex"));
  }
  return keys.size;
}
const clientProvider = (fake: ReturnType<typeof fakeKms>) => () => fake.client;

const takers: Readonly<Record<string, Taker>> = {
  buildClient: clientTaker(buildClient),
  buildEncrypt: clientTaker(buildEncrypt as typeof buildClient),
  buildDecrypt: clientTaker(buildDecrypt as unknown as typeof buildClient),
  "Client.encrypt": {
    call: (options) => client.encrypt(keyring, plaintext, options),
    bare: (options) => client.encrypt(keyring, plaintext, options),
    refuses: "rejects",
    accepts: falsy,
    effects: {
      ...sealEffects(
        async (options, input) => (await client.encrypt(keyring, input ?? plaintext, options)).result,
      ),
      plaintextLength: async () => {
        const tooShort = client.encrypt(keyring, Readable.from([plaintext]), { plaintextLength: 5 });
        expect(await outcomeOf(tooShort)).toBe("LIMIT_EXCEEDED");
      },
    },
  },
  "Client.encryptStream": {
    call: encryptStreamOf,
    bare: encryptStreamOf,
    refuses: "throws",
    accepts: falsy,
    effects: {
      ...sealEffects((options, input) => streamed(encryptStreamOf(options), input ?? plaintext)),
      plaintextLength: async () =>
        expect(await outcomeOf(streamed(encryptStreamOf({ plaintextLength: 5 }), plaintext))).toBe(
          "LIMIT_EXCEEDED",
        ),
    },
  },
  "Client.decrypt": decryptTaker((message, options) => client.decrypt(keyring, message, options), {
    call: async (options) => client.decrypt(keyring, await sealed(), options),
    bare: async (options) => client.decrypt(keyring, await sealed(), options),
    refuses: "rejects",
  }),
  ...Object.fromEntries(
    (["decryptStream", "decryptUnsignedMessageStream"] as const).map((name) => {
      const create = (options: object) => client[name](keyring, options);
      const taker = { call: create, bare: create, refuses: "throws" } as const;
      return [
        `Client.${name}`,
        decryptTaker((message, options) => streamed(create(options), message), taker),
      ];
    }),
  ),
  "new EncryptedDataKey": {
    call: (options) =>
      new EncryptedDataKey({
        providerId: "p",
        providerInfo: "i",
        encryptedDataKey: Buffer.of(1),
        ...options,
      }),
    bare: (options) => new EncryptedDataKey(options),
    refuses: "throws",
    needed: ["providerId", "providerInfo", "encryptedDataKey"],
    accepts: {
      providerId: ["a word", "an empty string", "a number as text", "a lone surrogate"],
      providerInfo: ["a word", "an empty string", "a number as text", "a lone surrogate"],
      encryptedDataKey: ["bytes"],
      rawInfo: ["bytes"],
    },
    effects: Object.fromEntries(
      Object.entries({
        providerId: "of mine",
        providerInfo: "of mine",
        encryptedDataKey: Buffer.of(2),
        rawInfo: Buffer.of(3),
      }).map(([name, value]) => [
        name,
        () => {
          const base = { providerId: "p", providerInfo: "i", encryptedDataKey: Buffer.of(1), [name]: value };
          expect(new EncryptedDataKey(base)).toMatchObject({ [name]: value });
        },
      ]),
    ),
  },
  "new RawAesKeyringNode": {
    call: aes,
    bare: (options) => new RawAesKeyringNode(options),
    refuses: "throws",
    needed: ["keyNamespace", "keyName", "unencryptedMasterKey", "wrappingSuite"],
    accepts: { utf8Sorting: ["true"] },
    effects: {
      keyNamespace: async () =>
        expect(await entryOf(aes({ keyNamespace: "mine" }))).toMatchObject({ providerId: "mine" }),
      keyName: async () =>
        expect(
          Buffer.from((await entryOf(aes({ keyName: "mine" })))?.providerInfo ?? []).toString(),
        ).toContain("mine"),
      unencryptedMasterKey: async () => {
        const stranger = aes({ unencryptedMasterKey: randomBytes(32) });
        expect(await outcomeOf(client.decrypt(stranger, await sealed()))).toBe("NO_DATA_KEY");
      },
      wrappingSuite: async () => {
        const suite = RawAesWrappingSuiteIdentifier.AES128_GCM_IV12_TAG16_NO_PADDING;
        const short = { wrappingSuite: suite, unencryptedMasterKey: wrappingKey.subarray(0, 16) };
        expect(await outcomeOf(client.encrypt(aes(short), plaintext))).toBe("accepted");
      },
      utf8Sorting: () => readsLocaleOrder({ utf8Sorting: false }),
      localeSortedContext: () => readsLocaleOrder({ localeSortedContext: "accept" }),
    },
  },
  "new RawRsaKeyringNode": {
    call: rsa,
    bare: (options) => new RawRsaKeyringNode(options),
    refuses: "throws",
    needed: ["keyNamespace", "keyName", "rsaKey"],
    effects: {
      keyNamespace: async () =>
        expect(await entryOf(rsa({ keyNamespace: "mine" }))).toMatchObject({ providerId: "mine" }),
      keyName: async () =>
        expect(await entryOf(rsa({ keyName: "mine" }))).toMatchObject({
          providerInfo: new Uint8Array(Buffer.from("mine")),
        }),
      rsaKey: async () => {
        const { publicKey } = pair;
        const { result } = await client.encrypt(rsa({ rsaKey: { publicKey } }), plaintext);
        expect(await outcomeOf(client.decrypt(rsa({ rsaKey: { publicKey } }), result))).toBe("NO_DATA_KEY");
        expect(await outcomeOf(client.decrypt(rsa(), result))).toBe("accepted");
      },
      padding: () => {
        const pkcs1 = { padding: constants.RSA_PKCS1_PADDING, oaepHash: "sha256" };
        expect(() => rsa(pkcs1)).toThrow('"oaepHash" expected nothing beside RSA_PKCS1_PADDING');
      },
      oaepHash: async () => {
        const { result } = await client.encrypt(rsa({ oaepHash: "sha512" }), plaintext);
        expect(await outcomeOf(client.decrypt(rsa(), result))).toBe("NO_DATA_KEY");
        expect(await outcomeOf(client.decrypt(rsa({ oaepHash: "sha512" }), result))).toBe("accepted");
      },
    },
  },
  "new MultiKeyringNode": {
    call: (options) => new MultiKeyringNode({ generator: keyring, ...options }),
    bare: (options) => new MultiKeyringNode(options),
    refuses: "throws",
    needed: ["generator"],
    accepts: { children: ["an array"] },
    effects: {
      generator: async () => {
        const made = new MultiKeyringNode({ generator: keyring, children: [other] });
        expect(await outcomeOf(client.encrypt(made, plaintext))).toBe("accepted");
      },
      children: async () => {
        const made = new MultiKeyringNode({ generator: keyring, children: [other] });
        expect((await made.generateDataKey(request)).encryptedDataKeys.length).toBe(2);
      },
    },
  },
  "new NodeCachingMaterialsManager": {
    call: (options) => new NodeCachingMaterialsManager({ ...cachingInput, ...options }),
    bare: (options) => new NodeCachingMaterialsManager(options),
    refuses: "throws",
    needed: ["backingMaterials", "cache", "maxAge"],
    accepts: {
      maxAge: ["a fraction", "infinity", "2^60"],
      maxBytesEncrypted: nothing,
      maxMessagesEncrypted: nothing,
      partition: ["a word", "a number as text"],
    },
    effects: {
      backingMaterials: async () => expect(await keysOf({}, 3)).toBe(1),
      cache: async () => expect(await keysOf({}, 3)).toBe(1),
      maxAge: async () => {
        vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
        try {
          const { keyring: from } = new NodeCachingMaterialsManager({ ...cachingInput, maxAge: 5000 });
          const made = async (): Promise<string> =>
            Buffer.from((await from.generateDataKey(request)).dataKey).toString("hex");
          const first = await made();
          vi.advanceTimersByTime(4999);
          expect(await made()).toBe(first);
          vi.advanceTimersByTime(2);
          expect(await made()).not.toBe(first);
        } finally {
          vi.useRealTimers();
        }
      },
      maxBytesEncrypted: async () => expect(await keysOf({ maxBytesEncrypted: 20_000 }, 4)).toBe(2),
      maxMessagesEncrypted: async () => expect(await keysOf({ maxMessagesEncrypted: 2 }, 4)).toBe(2),
      partition: () => {
        const shared = { ...cachingInput, partition: "p" };
        const [one, more] = [
          new NodeCachingMaterialsManager(shared),
          new NodeCachingMaterialsManager(shared),
        ];
        expect(one.keyring).toBe(more.keyring);
      },
    },
  },
  "new KmsKeyringNode": {
    call: (options) =>
      new KmsKeyringNode({ clientProvider: clientProvider(fakeKms()), generatorKeyId: ARN, ...options }),
    bare: (options) => new KmsKeyringNode(options),
    refuses: "throws",
    needed: ["generatorKeyId"],
    accepts: {
      clientProvider: ["a function"],
      generatorKeyId: [...nothing, "a word", "a number as text", "a lone surrogate"],
      keyIds: ["an array"],
      discovery: nothing,
      discoveryFilter: nothing,
    },
    effects: {
      clientProvider: async () =>
        expect(
          await asks(
            (fake) => new KmsKeyringNode({ clientProvider: clientProvider(fake), generatorKeyId: ARN }),
          ),
        ).toHaveLength(1),
      generatorKeyId: async () =>
        expect(
          await asks(
            (fake) => new KmsKeyringNode({ clientProvider: clientProvider(fake), generatorKeyId: ARN_2 }),
          ),
        ).toMatchObject([{ KeyId: ARN_2 }]),
      keyIds: async () => {
        const named = { generatorKeyId: ARN, keyIds: [ARN_2] };
        const asked = await asks(
          (fake) => new KmsKeyringNode({ clientProvider: clientProvider(fake), ...named }),
        );
        expect(asked.map(({ KeyId }) => KeyId)).toEqual([ARN, ARN_2]);
      },
      grantTokens: async () => {
        const named = { generatorKeyId: ARN, grantTokens };
        const asked = await asks(
          (fake) => new KmsKeyringNode({ clientProvider: clientProvider(fake), ...named }),
        );
        expect(asked).toMatchObject(withToken);
      },
      discovery: async () => {
        const open = { discovery: true, discoveryFilter };
        const asked = await asks(
          (fake) => new KmsKeyringNode({ clientProvider: clientProvider(fake), ...open }),
          ARN,
        );
        expect(asked).toMatchObject([{ KeyId: ARN }]);
      },
      discoveryFilter: async () => {
        const elsewhere = { discovery: true, discoveryFilter: { ...discoveryFilter, partition: "aws-cn" } };
        const make = (fake: ReturnType<typeof fakeKms>) =>
          new KmsKeyringNode({ clientProvider: clientProvider(fake), ...elsewhere });
        expect(await asks(make, ARN)).toEqual([]);
      },
    },
  },
  "new AwsKmsMrkAwareSymmetricKeyringNode": {
    call: (options) =>
      new AwsKmsMrkAwareSymmetricKeyringNode({ keyId: ARN, client: fakeKms().client, ...options }),
    bare: (options) => new AwsKmsMrkAwareSymmetricKeyringNode(options),
    refuses: "throws",
    needed: ["keyId", "client"],
    accepts: { keyId: ["a word", "a number as text", "a lone surrogate"] },
    effects: {
      keyId: async () =>
        expect(
          await asks(
            ({ client: kms }) => new AwsKmsMrkAwareSymmetricKeyringNode({ keyId: ARN_2, client: kms }),
          ),
        ).toMatchObject([{ KeyId: ARN_2 }]),
      client: async () =>
        expect(
          await asks(
            ({ client: kms }) => new AwsKmsMrkAwareSymmetricKeyringNode({ keyId: ARN, client: kms }),
            ARN_ELSEWHERE,
          ),
        ).toMatchObject([{ KeyId: ARN }]),
      grantTokens: async () =>
        expect(
          await asks(
            ({ client: kms }) =>
              new AwsKmsMrkAwareSymmetricKeyringNode({ keyId: ARN, client: kms, grantTokens }),
          ),
        ).toMatchObject(withToken),
    },
  },
  "new AwsKmsMrkAwareSymmetricDiscoveryKeyringNode": {
    call: (options) =>
      new AwsKmsMrkAwareSymmetricDiscoveryKeyringNode({
        client: fakeKms().client,
        discoveryFilter,
        ...options,
      }),
    bare: (options) => new AwsKmsMrkAwareSymmetricDiscoveryKeyringNode(options),
    refuses: "throws",
    needed: ["client", "discoveryFilter"],
    effects: {
      client: async () =>
        expect(await asks((fake) => discovering(fake, {}), ARN_ELSEWHERE)).toMatchObject([{ KeyId: ARN }]),
      discoveryFilter: async () => {
        const accountIDs = ["000000000000"];
        const filter = { discoveryFilter: { ...discoveryFilter, accountIDs } };
        expect(await asks((fake) => discovering(fake, filter), ARN)).toEqual([]);
      },
      grantTokens: async () =>
        expect(await asks((fake) => discovering(fake, { grantTokens }), ARN)).toMatchObject(withToken),
    },
  },
  buildAwsKmsMrkAwareStrictMultiKeyringNode: {
    call: (options) =>
      void buildAwsKmsMrkAwareStrictMultiKeyringNode({
        clientProvider: clientProvider(fakeKms()),
        generatorKeyId: ARN,
        ...options,
      }),
    bare: (options) => buildAwsKmsMrkAwareStrictMultiKeyringNode(options),
    refuses: "throws",
    needed: ["generatorKeyId"],
    accepts: {
      generatorKeyId: [...nothing, "a word", "a number as text", "a lone surrogate"],
      keyIds: ["an array"],
    },
    effects: {
      generatorKeyId: async () =>
        expect(await asks((fake) => strict(fake, { generatorKeyId: ARN_2 }))).toMatchObject([
          { KeyId: ARN_2 },
        ]),
      keyIds: async () => expect(await asks((fake) => strict(fake, { keyIds: [ARN_2] }))).toHaveLength(2),
      clientProvider: async () => expect(await asks((fake) => strict(fake, {}))).toHaveLength(1),
      grantTokens: async () =>
        expect(await asks((fake) => strict(fake, { grantTokens }))).toMatchObject(withToken),
    },
  },
  buildAwsKmsMrkAwareDiscoveryMultiKeyringNode: {
    call: (options) =>
      void buildAwsKmsMrkAwareDiscoveryMultiKeyringNode({
        clientProvider: clientProvider(fakeKms()),
        regions: ["us-east-1"],
        discoveryFilter,
        ...options,
      }),
    bare: (options) => buildAwsKmsMrkAwareDiscoveryMultiKeyringNode(options),
    refuses: "throws",
    needed: ["regions", "discoveryFilter"],
    effects: {
      regions: async () =>
        expect(await asks((fake) => everywhere(fake, { regions: ["us-west-2"] }), ARN)).toMatchObject([
          { KeyId: ARN_ELSEWHERE },
        ]),
      discoveryFilter: async () => {
        const accountIDs = ["000000000000"];
        const filter = { discoveryFilter: { ...discoveryFilter, accountIDs } };
        expect(await asks((fake) => everywhere(fake, filter), ARN)).toEqual([]);
      },
      clientProvider: async () => expect(await asks((fake) => everywhere(fake, {}), ARN)).toHaveLength(1),
      grantTokens: async () =>
        expect(await asks((fake) => everywhere(fake, { grantTokens }), ARN)).toMatchObject(withToken),
    },
  },
};

function discovering(fake: ReturnType<typeof fakeKms>, options: object): Keyring {
  return new AwsKmsMrkAwareSymmetricDiscoveryKeyringNode({
    client: fake.client,
    discoveryFilter,
    ...options,
  });
}
function strict(fake: ReturnType<typeof fakeKms>, options: object): Keyring {
  const input = { clientProvider: clientProvider(fake), generatorKeyId: ARN, ...options };
  return buildAwsKmsMrkAwareStrictMultiKeyringNode(input);
}
function everywhere(fake: ReturnType<typeof fakeKms>, options: object): Keyring {
  const input = { clientProvider: clientProvider(fake), regions: ["us-east-1"], discoveryFilter, ...options };
  return buildAwsKmsMrkAwareDiscoveryMultiKeyringNode(input);
}
/** Opens what was wrapped under a context in the order of locales: b before B. */
async function readsLocaleOrder(options: object): Promise<void> {
  const encryptionContext = { B: "1", b: "2" };
  const field = (text: string): Buffer => Buffer.concat([Buffer.of(0, text.length), Buffer.from(text)]);
  const aad = Buffer.concat([Buffer.of(0, 2), ...["b", "2", "B", "1"].map(field)]);
  const nonce = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", wrappingKey, nonce).setAAD(aad);
  const ciphertext = Buffer.concat([cipher.update(randomBytes(32)), cipher.final(), cipher.getAuthTag()]);
  const entry = { providerId: "n", providerInfo: Buffer.concat([rawAesInfoPrefix("k"), nonce]), ciphertext };
  const opened = (from: Keyring) => from.unwrapDataKey([entry], { ...request, encryptionContext });
  expect(await outcomeOf(opened(aes(options)))).toBe("accepted");
  expect(await outcomeOf(opened(aes()))).toBe("NO_DATA_KEY");
}

/** Objects that are no options: made by the caller, or shown to keyrings. */
const NOT_OPTIONS = new Set([
  "DataKeyRequest",
  "EncryptedDataKey",
  "Keyring",
  "KeyringTrace",
  "MaterialsManager",
  "NodeDecryptionMaterial",
  "NodeEncryptionMaterial",
  "Key", // of `readOnlyProperty`
]);
const found = publicParameters("client-node").filter(({ type }) => !NOT_OPTIONS.has(type));
const namesOf = (callee: string): string[] => [
  ...new Set(found.filter((each) => each.callee === callee).flatMap(({ names }) => names)),
];

test("the table has every public function with options, and every option", () => {
  expect([...new Set(found.map(({ callee }) => callee))].sort()).toEqual(Object.keys(takers).sort());
  for (const [callee, { effects }] of Object.entries(takers))
    expect(Object.keys(effects).sort(), callee).toEqual(namesOf(callee).sort());
});

for (const [callee, taker] of Object.entries(takers))
  describeTaker(callee, namesOf(callee), { ...taker, ignoresUnknownNames: true });

describe.each(packages)("what the original takes is taken: %s", (_, sdk) => {
  // The original wipes the key that it is given.
  const input = () => ({
    ...aesInput,
    unencryptedMasterKey: Uint8Array.from(wrappingKey),
    utf8Sorting: true,
  });
  test.each([
    ["names that nobody knows", { somethingOfMine: true, cache: null }],
    ["nothing for the suite", { suiteId: null }],
    ["nothing for the encoding", { encoding: null }],
    [
      "undefined for everything",
      { suiteId: undefined, encryptionContext: undefined, frameLength: undefined },
    ],
    ["a context without prototype", { encryptionContext: Object.assign(Object.create(null), { a: "b" }) }],
  ])("%s", async (_what, options) => {
    const from = new sdk.RawAesKeyringNode({ ...input(), ...{ somethingOfMine: 1 } });
    const { encrypt, decrypt } = sdk.buildClient({
      maxEncryptedDataKeys: false,
      somethingOfMine: 1,
    } as never);
    const { result } = await encrypt(from, plaintext, { ...options } as never);
    const read = { maxBodySize: null, encoding: null, somethingOfMine: 1 } as never;
    expect((await decrypt(from, result, read)).plaintext.equals(plaintext)).toBe(true);
  });
});

test("a context that is a map, which the original takes for none, is refused", async () => {
  const encryptionContext = new Map([["tenant", "a"]]) as never;
  for (const [name, sdk] of packages) {
    const unencryptedMasterKey = Uint8Array.from(wrappingKey); // the original wipes it
    const from = new sdk.RawAesKeyringNode({ ...aesInput, unencryptedMasterKey, utf8Sorting: true });
    const outcome = await outcomeOf(sdk.buildClient().encrypt(from, plaintext, { encryptionContext }));
    expect(outcome, name).toBe(name === "peer" ? "accepted" : "TypeError");
  }
  expect(() => client.encryptStream(keyring, { encryptionContext })).toThrow(
    ": give Object.fromEntries(map)",
  );
});

test("keyrings of this package work beside those of the original's names", async () => {
  const mixed = new MultiKeyringNode({
    generator: new MultiKeyring({ generator: keyring }),
    children: [other],
  });
  const { result } = await client.encrypt(mixed, plaintext);
  expect(await outcomeOf(client.decrypt(other, result))).toBe("accepted");
});
