// What the peer's own tests of its keyrings and materials managers check, by their names (modules raw-aes-keyring-node,
// raw-rsa-keyring-node, kms-keyring, kms-keyring-node, material-management, cache-material) and in words of our own, on
// both packages.
import { constants, generateKeyPairSync, randomBytes } from "node:crypto";
import { inspect } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ACCOUNT, FakeKms } from "../support/fake-kms.ts";
import { kmsClient, packages, type Sdk } from "./packages.ts";

const names = { keyName: "name", keyNamespace: "namespace" };
const rsaKey = generateKeyPairSync("rsa", {
  modulusLength: 2048,
  publicKeyEncoding: { type: "spki", format: "pem" },
  privateKeyEncoding: { type: "pkcs8", format: "pem" },
});
const context = { some: "context" };
const SUITE = 0x0478;

type KeyringNode = InstanceType<Sdk["KeyringNode"]>;
type EncryptedDataKey = InstanceType<Sdk["EncryptedDataKey"]>;

/** Asks the keyring the peer's way for a data key, and for the same again. */
async function exchange(sdk: Sdk, writer: KeyringNode, reader: KeyringNode): Promise<EncryptedDataKey[]> {
  const suite = new sdk.NodeAlgorithmSuite(SUITE);
  const made = await writer.onEncrypt(new sdk.NodeEncryptionMaterial(suite, context));
  expect(made.hasValidKey()).toBe(true);
  const dataKey = Buffer.from(sdk.unwrapDataKey(made.getUnencryptedDataKey()));
  expect(dataKey).toHaveLength(suite.keyLengthBytes);
  const opened = await reader.onDecrypt(
    new sdk.NodeDecryptionMaterial(suite, context),
    made.encryptedDataKeys,
  );
  expect(dataKey.equals(sdk.unwrapDataKey(opened.getUnencryptedDataKey()))).toBe(true);
  for (const shown of [inspect(made, { depth: 9 }), JSON.stringify(made)])
    expect(shown).not.toContain(dataKey.toString("hex"));
  opened.zeroUnencryptedDataKey();
  expect(() => opened.getUnencryptedDataKey()).toThrow();
  return made.encryptedDataKeys;
}
const emptyMaterial = (sdk: Sdk) =>
  new sdk.NodeDecryptionMaterial(new sdk.NodeAlgorithmSuite(SUITE), context);

describe.each(packages)("RawAesKeyringNode of %s", (_name, sdk) => {
  const wrappingSuite = sdk.RawAesWrappingSuiteIdentifier.AES128_GCM_IV12_TAG16_NO_PADDING;
  const create = (input: object = {}) =>
    new sdk.RawAesKeyringNode({
      ...names,
      wrappingSuite,
      unencryptedMasterKey: new Uint8Array(16).fill(1),
      ...input,
    });

  test("constructor decorates", () => {
    expect(create()).toMatchObject(names);
    expect(create()).toBeInstanceOf(sdk.KeyringNode);
  });
  test.each([
    ["identifying information", { keyName: "" }],
    ["identifying information", { keyNamespace: undefined }],
    ["a valid wrappingSuite", { wrappingSuite: 111 }],
    ["a key that corresponds to the wrappingSuite", { unencryptedMasterKey: new Uint8Array(32).fill(1) }],
  ])("needs %s", (_what, input) => expect(() => create(input)).toThrow());
  test("can encrypt and create an unencrypted data key, and decrypt an EncryptedDataKey", async () => {
    const [edk, ...others] = await exchange(sdk, create(), create());
    expect(others).toEqual([]);
    expect(edk).toMatchObject({ providerId: names.keyNamespace });
    expect(edk?.providerInfo.startsWith(names.keyName)).toBe(true);
  });
  test("leaves entries of others alone", async () => {
    const edks = await exchange(sdk, create(), create());
    for (const other of [create({ keyName: "other" }), create({ keyNamespace: "other" })])
      expect((await other.onDecrypt(emptyMaterial(sdk), edks)).hasValidKey()).toBe(false);
  });
});

describe.each(packages)("RawRsaKeyringNode of %s", (_name, sdk) => {
  const create = (input: object = {}) => new sdk.RawRsaKeyringNode({ ...names, rsaKey, ...input });

  test("constructor decorates, also with one key alone", () => {
    expect(create()).toMatchObject(names);
    expect(create()).toBeInstanceOf(sdk.KeyringNode);
    create({ rsaKey: { publicKey: rsaKey.publicKey } });
    create({ rsaKey: { privateKey: rsaKey.privateKey } });
  });
  test.each([
    ["either a public or a private key", { rsaKey: {} }],
    ["a supported hash", { oaepHash: "rmd160" }],
    ["no hash for another padding than OAEP", { padding: constants.RSA_PKCS1_PADDING, oaepHash: "sha256" }],
    ["identifying information", { keyName: undefined }],
    ["identifying information", { keyNamespace: "" }],
  ])("needs %s", (_what, input) => expect(() => create(input)).toThrow());
  test.each([undefined, "sha1", "sha256", "sha384", "sha512"])(
    "encrypts and decrypts with oaepHash %s",
    async (oaepHash) => {
      const publicOnly = create({ oaepHash, rsaKey: { publicKey: rsaKey.publicKey } });
      const privateOnly = create({ oaepHash, rsaKey: { privateKey: rsaKey.privateKey } });
      const edks = await exchange(sdk, publicOnly, privateOnly);
      await expect(exchange(sdk, privateOnly, privateOnly)).rejects.toThrow();
      const opened = publicOnly
        .onDecrypt(emptyMaterial(sdk), edks)
        .then((material) => material.hasValidKey());
      expect(await opened.catch(() => false)).toBe(false);
    },
  );
});

describe.each(packages)("MultiKeyringNode of %s", (_name, sdk) => {
  const aes = (keyName: string) =>
    new sdk.RawAesKeyringNode({
      keyName,
      keyNamespace: "n",
      wrappingSuite: sdk.RawAesWrappingSuiteIdentifier.AES128_GCM_IV12_TAG16_NO_PADDING,
      unencryptedMasterKey: new Uint8Array(16).fill(keyName.charCodeAt(0)),
    });
  const broken = () => {
    class Broken extends sdk.KeyringNode {
      override async _onEncrypt(material: InstanceType<Sdk["NodeEncryptionMaterial"]>) {
        return material;
      }
      override async _onDecrypt(): Promise<InstanceType<Sdk["NodeDecryptionMaterial"]>> {
        throw new Error("broken keyring");
      }
    }
    return new Broken();
  };

  test("must have keyrings, and only keyrings", () => {
    expect(() => new sdk.MultiKeyringNode({})).toThrow();
    expect(() => new sdk.MultiKeyringNode({ generator: {} as never })).toThrow();
    expect(() => new sdk.MultiKeyringNode({ children: [{} as never] })).toThrow();
  });
  test("calls the generator, then its children, in order", async () => {
    const [generator, child] = [aes("a"), aes("b")];
    const multi = new sdk.MultiKeyringNode({ generator, children: [child] });
    expect([multi.generator, ...multi.children]).toEqual([generator, child]);
    const edks = await exchange(sdk, multi, multi);
    expect(edks.map(({ providerInfo }) => providerInfo[0])).toEqual(["a", "b"]);
    for (const alone of [generator, child]) await alone.onDecrypt(emptyMaterial(sdk), edks);
  });
  test("Only keyrings explicitly designated as generators can generate material.", async () => {
    const material = () => new sdk.NodeEncryptionMaterial(new sdk.NodeAlgorithmSuite(SUITE), context);
    const children = new sdk.MultiKeyringNode({ children: [aes("a")] });
    await expect(children.onEncrypt(material())).rejects.toThrow();
    const noop = new sdk.MultiKeyringNode({ generator: broken() });
    await expect(noop.onEncrypt(material())).rejects.toThrow();
  });
  test("If material already exists, you do not need a generator.", async () => {
    const children = new sdk.MultiKeyringNode({ children: [aes("a"), aes("b")] });
    const material = new sdk.NodeEncryptionMaterial(new sdk.NodeAlgorithmSuite(SUITE), context);
    const flags = sdk.KeyringTraceFlag.WRAPPING_KEY_GENERATED_DATA_KEY;
    material.setUnencryptedDataKey(new Uint8Array(32).fill(7), { keyNamespace: "k", keyName: "k", flags });
    expect((await children.onEncrypt(material)).encryptedDataKeys).toHaveLength(2);
  });
  test("will call subsequent keyrings after errors, and report the errors of all when none can", async () => {
    const edks = await exchange(sdk, aes("a"), aes("a"));
    const able = new sdk.MultiKeyringNode({ generator: broken(), children: [aes("a")] });
    expect((await able.onDecrypt(emptyMaterial(sdk), edks)).hasValidKey()).toBe(true);
    const unable = new sdk.MultiKeyringNode({ generator: broken(), children: [broken()] });
    const error = await unable.onDecrypt(emptyMaterial(sdk), edks).catch((reason: Error) => reason);
    expect(inspect(error, { depth: 9 })).toContain("broken keyring");
    const others = new sdk.MultiKeyringNode({ generator: aes("b"), children: [aes("c")] });
    expect((await others.onDecrypt(emptyMaterial(sdk), edks)).hasValidKey()).toBe(false);
  });
});

describe.each(packages)("materials and keyrings of one's own, with %s", (_name, sdk) => {
  const suite = new sdk.NodeAlgorithmSuite(SUITE);
  const flags = sdk.KeyringTraceFlag.WRAPPING_KEY_GENERATED_DATA_KEY;
  const trace = { keyNamespace: "k", keyName: "k", flags };

  test("The data key must have the length of the suite, and is set once.", () => {
    const material = new sdk.NodeEncryptionMaterial(suite, context);
    expect(material.hasUnencryptedDataKey).toBe(false);
    expect(() => material.getUnencryptedDataKey()).toThrow();
    expect(() => material.setUnencryptedDataKey(new Uint8Array(31).fill(1), trace)).toThrow();
    material.setUnencryptedDataKey(new Uint8Array(32).fill(1), trace);
    expect(material.keyringTrace).toEqual([trace]);
    expect(() => material.setUnencryptedDataKey(new Uint8Array(32).fill(2), trace)).toThrow();
    material.zeroUnencryptedDataKey();
    expect(() => material.getUnencryptedDataKey()).toThrow();
    expect(() => material.setUnencryptedDataKey(new Uint8Array(32).fill(2), trace)).toThrow();
  });
  test("The materials that a keyring returns must be those it was given.", async () => {
    class Other extends sdk.KeyringNode {
      override async _onEncrypt() {
        return new sdk.NodeEncryptionMaterial(suite, context);
      }
      override async _onDecrypt() {
        return new sdk.NodeDecryptionMaterial(suite, context);
      }
    }
    const keyring = new Other();
    await expect(keyring.onEncrypt(new sdk.NodeEncryptionMaterial(suite, context))).rejects.toThrow();
    await expect(keyring.onDecrypt(emptyMaterial(sdk), [])).rejects.toThrow();
  });
  test("helpers do what their names say", () => {
    expect(() => sdk.needs(false, "why", RangeError)).toThrow(new RangeError("why"));
    expect(() => sdk.needs(true, "why")).not.toThrow();
    const target = {} as { key?: string };
    sdk.readOnlyProperty(target, "key", "value");
    expect(() => {
      target.key = "other";
    }).toThrow(TypeError);
    expect(sdk.getCompatibleCommitmentPolicy(0x0178)).toBe("FORBID_ENCRYPT_ALLOW_DECRYPT");
    expect(sdk.getCompatibleCommitmentPolicy(0x0578)).toBe("REQUIRE_ENCRYPT_REQUIRE_DECRYPT");
    expect(sdk.AlgorithmSuiteIdentifier[0x0578]).toBe(
      "ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY_ECDSA_P384",
    );
    expect(suite).toMatchObject({ id: SUITE, keyLength: 256, name: sdk.AlgorithmSuiteIdentifier[SUITE] });
  });
});

describe.each(packages)("KMS keyrings of %s", (_name, sdk) => {
  let kms: FakeKms;
  beforeEach(async () => {
    kms = await FakeKms.start();
  });
  afterEach(() => kms[Symbol.asyncDispose]());
  const clientProvider = (region: string) => kmsClient(kms, region || "us-west-2");
  const discoveryFilter = { accountIDs: [ACCOUNT], partition: "aws" };
  const arn = `arn:aws:kms:us-west-2:${ACCOUNT}:key/12345678-1234-1234-1234-123456789012`;

  test("constructor decorates", () => {
    const keyring = new sdk.KmsKeyringNode({ clientProvider, generatorKeyId: "alias/a", keyIds: [arn] });
    expect(keyring).toMatchObject({
      generatorKeyId: "alias/a",
      keyIds: [arn],
      isDiscovery: false,
      clientProvider,
    });
    expect(keyring).toBeInstanceOf(sdk.KeyringNode);
    const discovery = new sdk.KmsKeyringNode({ discovery: true, discoveryFilter });
    expect(discovery).toMatchObject({ isDiscovery: true, discoveryFilter, keyIds: [] });
  });
  test.each([
    ["no key and no discovery", {}],
    ["both keys and discovery", { keyIds: [arn], discovery: true, discoveryFilter }],
    ["a filter without discovery", { keyIds: [arn], discoveryFilter }],
    ["a filter without account", { discovery: true, discoveryFilter: { accountIDs: [], partition: "aws" } }],
    [
      "a filter with an empty account",
      { discovery: true, discoveryFilter: { accountIDs: [""], partition: "aws" } },
    ],
    [
      "a filter without partition",
      { discovery: true, discoveryFilter: { accountIDs: [ACCOUNT], partition: "" } },
    ],
    ["an ARN that is none", { keyIds: ["arn:aws:kms"] }],
    ["a clientProvider that is no function", { keyIds: [arn], clientProvider: "not a function" }],
  ])("is not built with %s", (_what, input) => {
    expect(() => new sdk.KmsKeyringNode(input as never)).toThrow();
  });
  test.each(["an alias", "an alias ARN", "a key ARN"])(
    "generates with %s, wraps with more, opens",
    async (what) => {
      const keyArn = kms.createKey("us-west-2");
      const aliasArn = kms.createAlias("a", keyArn);
      const generatorKeyId = what === "an alias" ? "alias/a" : what === "a key ARN" ? keyArn : aliasArn;
      const input = {
        clientProvider,
        generatorKeyId,
        keyIds: [kms.createKey("us-east-1")],
        grantTokens: ["grant"],
      };
      const keyring = new sdk.KmsKeyringNode(input);
      expect(await exchange(sdk, keyring, keyring)).toHaveLength(2);
      expect(kms.calls[0]).toMatchObject({ context, grantTokens: ["grant"], keyId: generatorKeyId });
    },
  );
  test("decrypt errors should not halt; entries of other keys and providers are not asked for", async () => {
    const [first, second, third] = [
      kms.createKey("us-west-2"),
      kms.createKey("us-west-2"),
      kms.createKey("us-west-2"),
    ];
    const all = new sdk.KmsKeyringNode({ clientProvider, generatorKeyId: first, keyIds: [second, third] });
    const edks = await exchange(sdk, all, all);
    const foreign = new sdk.EncryptedDataKey({
      providerId: "other",
      providerInfo: second,
      encryptedDataKey: new Uint8Array(randomBytes(99)),
    });
    kms.setState(first, "Disabled");
    kms.calls.length = 0;
    const reader = new sdk.KmsKeyringNode({ clientProvider, keyIds: [first, second] });
    const opened = await reader.onDecrypt(emptyMaterial(sdk), [foreign, ...edks]);
    expect(opened.hasValidKey()).toBe(true);
    expect(kms.calls.map(({ keyId }) => keyId)).toEqual([first, second]);
    kms.setState(second, "Disabled");
    const error = await reader.onDecrypt(emptyMaterial(sdk), edks).catch((reason: Error) => reason);
    expect(inspect(error, { depth: 9 })).toContain("DisabledException");
  });
  test("The KeyId and the length of KMS's answer must be the asked ones.", async () => {
    const generatorKeyId = kms.createKey("us-west-2");
    const keyring = new sdk.KmsKeyringNode({ clientProvider, generatorKeyId });
    const edks = await exchange(sdk, keyring, keyring);
    for (const answer of [{ KeyId: arn }, { Plaintext: Buffer.alloc(16).toString("base64") }]) {
      kms.fault = () => ({ kind: "answer", change: (given) => ({ ...given, ...answer }) });
      await expect(keyring.onDecrypt(emptyMaterial(sdk), edks)).rejects.toThrow();
    }
  });
  test("A discovery keyring does not encrypt; as a child it adds nothing.", async () => {
    const discovery = new sdk.KmsKeyringNode({ clientProvider, discovery: true, discoveryFilter });
    const generator = new sdk.KmsKeyringNode({ clientProvider, generatorKeyId: kms.createKey("us-west-2") });
    const both = new sdk.MultiKeyringNode({ generator, children: [discovery] });
    expect(await exchange(sdk, both, discovery)).toHaveLength(1);
    await expect(sdk.buildClient().encrypt(discovery, "asdf")).rejects.toThrow();
  });
  test("buildAwsKmsMrkAware… keyrings refuse no keys, empty names, related keys and missing clients", () => {
    const strict = (input: object) => sdk.buildAwsKmsMrkAwareStrictMultiKeyringNode(input as never);
    const mrk = `arn:aws:kms:us-east-1:${ACCOUNT}:key/mrk-${"1".repeat(32)}`;
    for (const input of [
      {},
      { keyIds: [""] },
      { keyIds: [mrk, mrk.replace("us-east-1", "us-west-2")] },
      { generatorKeyId: mrk, clientProvider: () => false },
    ])
      expect(() => strict(input)).toThrow();
    expect(strict({ generatorKeyId: mrk, keyIds: [arn], clientProvider })).toBeInstanceOf(
      sdk.MultiKeyringNode,
    );
    const discover = (input: object) => sdk.buildAwsKmsMrkAwareDiscoveryMultiKeyringNode(input as never);
    for (const input of [{ regions: [] }, { regions: [""] }, { regions: ["a"], clientProvider: () => false }])
      expect(() => discover({ discoveryFilter, ...input })).toThrow();
    expect(discover({ regions: ["us-east-1"], discoveryFilter, clientProvider }).children).toHaveLength(1);
  });
  test("getClient, limitRegions, excludeRegions and cacheClients choose clients", () => {
    class Client {
      readonly config: { region?: string; other?: string };
      constructor(config: { region?: string; other?: string }) {
        this.config = config;
      }
      send(): never {
        throw new Error("not called");
      }
    }
    const supplier = sdk.getClient(Client as never, { other: "value" });
    const configOf = (region: string) => (supplier(region) as unknown as Client).config;
    expect(configOf("us-west-2")).toEqual({ region: "us-west-2", other: "value" });
    expect(sdk.limitRegions(["us-west-2"], supplier)("us-east-1")).toBe(false);
    expect(sdk.limitRegions(["us-west-2"], supplier)("us-west-2")).toBeInstanceOf(Client);
    expect(sdk.excludeRegions(["us-west-2"], supplier)("us-west-2")).toBe(false);
    expect(sdk.excludeRegions(["us-west-2"], supplier)("us-east-1")).toBeInstanceOf(Client);
    expect(() => sdk.limitRegions([""], supplier)).toThrow();
    expect(() => sdk.excludeRegions([1 as never], supplier)).toThrow();
  });
});

describe.each(packages)("materials managers of %s", (_name, sdk) => {
  const keyring = () =>
    new sdk.RawAesKeyringNode({
      ...names,
      wrappingSuite: sdk.RawAesWrappingSuiteIdentifier.AES256_GCM_IV12_TAG16_NO_PADDING,
      unencryptedMasterKey: new Uint8Array(32).fill(1),
    });
  const create = (input: object = {}) =>
    new sdk.NodeCachingMaterialsManager({
      backingMaterials: keyring(),
      cache: sdk.getLocalCryptographicMaterialsCache(10),
      maxAge: 1000,
      ...input,
    } as never);

  test("the default one is its keyring, and needs one", async () => {
    const manager = new sdk.NodeDefaultCryptographicMaterialsManager(keyring());
    expect(manager.keyring).toBeInstanceOf(sdk.KeyringNode);
    const { encrypt, decrypt } = sdk.buildClient();
    const { result } = await encrypt(manager, "asdf");
    expect((await decrypt(manager, result)).plaintext.toString()).toBe("asdf");
    expect(() => new sdk.NodeDefaultCryptographicMaterialsManager({} as never)).toThrow();
  });
  test.each([
    ["no cache", { cache: undefined }],
    ["no backing materials", { backingMaterials: undefined }],
    ["no maxAge", { maxAge: 0 }],
    ["a negative maxBytesEncrypted", { maxBytesEncrypted: -1 }],
    ["a negative maxMessagesEncrypted", { maxMessagesEncrypted: -1 }],
    ["too many maxMessagesEncrypted", { maxMessagesEncrypted: 2 ** 32 + 1 }],
    ["a partition that is no string", { partition: 1 }],
  ])("the caching one is not built with %s", (_what, input) => expect(() => create(input)).toThrow());

  test.each<[string, object, number]>([
    ["without other bounds", {}, 1],
    ["2 messages", { maxMessagesEncrypted: 2 }, 3],
    ["8 bytes", { maxBytesEncrypted: 8 }, 3],
    ["fewer bytes than one message has", { maxBytesEncrypted: 3 }, 6],
  ])("6 messages under a cache with bounds: %s", async (_what, bounds, expected) => {
    const manager = create({
      ...bounds,
      backingMaterials: new sdk.NodeDefaultCryptographicMaterialsManager(keyring()),
    });
    const wrapped = new Set<string>();
    for (let i = 0; i < 6; i++) {
      const { messageHeader } = await sdk.buildClient().encrypt(manager, "asdf", { suiteId: SUITE });
      wrapped.add(Buffer.from(messageHeader.encryptedDataKeys[0]?.encryptedDataKey ?? []).toString("hex"));
    }
    expect(wrapped.size).toBe(expected);
  });
});
