// The examples of the peer's documentation by their names, in words of our own. Each is one snippet that runs with
// either package as writer and either as reader.
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { KMS } from "@aws-sdk/client-kms";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { ACCOUNT, FakeKms } from "../support/fake-kms.ts";
import { collect, pairs, type Sdk, useByDefault } from "./packages.ts";

const encryptionContext = { stage: "demo", purpose: "simple demonstration app", origin: "us-west-2" };
const cleartext = "asdf";

let kms: FakeKms;
let keyArn: string;
let aliasArn: string;
let otherKeyArn: string;
// One service for all: both packages keep the clients that they make by default.
beforeAll(async () => {
  kms = await FakeKms.start();
  useByDefault(kms);
});
beforeEach(() => {
  kms.calls.length = 0;
  keyArn = kms.createKey("us-west-2");
  aliasArn = kms.createAlias("EncryptDecrypt", keyArn);
  otherKeyArn = kms.createKey("us-west-2");
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await kms[Symbol.asyncDispose]();
  console.log(`client-node examples: ${ran} of ${examples.length * pairs.length} run as with the peer`);
});

type Holder = Parameters<ReturnType<Sdk["buildClient"]>["encrypt"]>[0];

/** Writes with `writer`, reads with `reader`, and compares the text and the context. */
async function roundTrip(
  write: Sdk,
  writer: Holder,
  read: Sdk,
  reader: Holder,
  policy: keyof Sdk["CommitmentPolicy"] = "REQUIRE_ENCRYPT_REQUIRE_DECRYPT",
): Promise<number> {
  const { encrypt } = write.buildClient(write.CommitmentPolicy[policy]);
  const { decrypt } = read.buildClient(read.CommitmentPolicy[policy]);
  const { result } = await encrypt(writer, cleartext, { encryptionContext });
  const { plaintext, messageHeader } = await decrypt(reader, result);
  expect(plaintext.toString()).toBe(cleartext);
  expect(messageHeader.encryptionContext).toMatchObject(encryptionContext);
  return messageHeader.suiteId;
}

interface Example {
  readonly name: string;
  run(write: Sdk, read: Sdk): Promise<void>;
}

const aesKey = randomBytes(32);
const aesKeyring = (sdk: Sdk) =>
  new sdk.RawAesKeyringNode({
    keyName: "aes-name",
    keyNamespace: "aes-namespace",
    unencryptedMasterKey: Uint8Array.from(aesKey), // the peer wipes what it is given
    wrappingSuite: sdk.RawAesWrappingSuiteIdentifier.AES256_GCM_IV12_TAG16_NO_PADDING,
    utf8Sorting: true,
  });
const rsaKey = generateKeyPairSync("rsa", {
  modulusLength: 3072,
  publicKeyEncoding: { type: "pkcs1", format: "pem" },
  privateKeyEncoding: { type: "pkcs1", format: "pem" },
});

const examples: readonly Example[] = [
  {
    name: "aes simple",
    async run(write, read) {
      expect(await roundTrip(write, aesKeyring(write), read, aesKeyring(read))).toBe(0x0578);
    },
  },
  {
    name: "rsa simple",
    async run(write, read) {
      const keyring = (sdk: Sdk) =>
        new sdk.RawRsaKeyringNode({ keyName: "rsa-name", keyNamespace: "rsa-namespace", rsaKey });
      await roundTrip(write, keyring(write), read, keyring(read));
    },
  },
  {
    name: "kms simple",
    async run(write, read) {
      const keyring = (sdk: Sdk) =>
        new sdk.KmsKeyringNode({ generatorKeyId: aliasArn, keyIds: [otherKeyArn] });
      await roundTrip(write, keyring(write), read, keyring(read));
      expect(kms.calls.map(({ operation }) => operation)).toEqual(["GenerateDataKey", "Encrypt", "Decrypt"]);
    },
  },
  {
    name: "kms stream",
    async run(write, read) {
      const { encryptStream } = write.buildClient("REQUIRE_ENCRYPT_REQUIRE_DECRYPT");
      const { decryptUnsignedMessageStream } = read.buildClient("REQUIRE_ENCRYPT_REQUIRE_DECRYPT");
      const file = randomBytes(100_000);
      const writer = encryptStream(new write.KmsKeyringNode({ generatorKeyId: aliasArn }), {
        suiteId: write.AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY,
        encryptionContext,
      });
      const discoveryFilter = { accountIDs: [ACCOUNT], partition: "aws" };
      const reader = decryptUnsignedMessageStream(
        new read.KmsKeyringNode({ discovery: true, discoveryFilter }),
      );
      const contexts: unknown[] = [];
      reader.on("MessageHeader", (header) => contexts.push({ ...header.encryptionContext }));
      const source = Readable.from([file.subarray(0, 1), file.subarray(1, 70_001), file.subarray(70_001)]);
      const [, plaintext] = await Promise.all([pipeline(source, writer, reader), collect(reader)]);
      expect(file.equals(plaintext)).toBe(true);
      expect(contexts).toEqual([encryptionContext]);
    },
  },
  {
    name: "multi keyring",
    async run(write, read) {
      const keyring = (sdk: Sdk) =>
        new sdk.MultiKeyringNode({
          generator: new sdk.KmsKeyringNode({ generatorKeyId: aliasArn, keyIds: [otherKeyArn] }),
          children: [aesKeyring(sdk)],
        });
      await roundTrip(write, keyring(write), read, keyring(read));
      // Each of them alone opens what all have wrapped.
      await roundTrip(write, keyring(write), read, aesKeyring(read));
      await roundTrip(write, keyring(write), read, new read.KmsKeyringNode({ keyIds: [keyArn] }));
    },
  },
  {
    name: "caching CMM node",
    async run(write, read) {
      const manager = (sdk: Sdk) =>
        new sdk.NodeCachingMaterialsManager({
          backingMaterials: new sdk.KmsKeyringNode({ generatorKeyId: aliasArn, keyIds: [otherKeyArn] }),
          cache: sdk.getLocalCryptographicMaterialsCache(100),
          partition: "local partition name",
          maxAge: 1000 * 60,
          maxBytesEncrypted: 100,
          maxMessagesEncrypted: 10,
        });
      const { encrypt } = write.buildClient();
      const { decrypt } = read.buildClient();
      const [writer, reader] = [manager(write), manager(read)];
      const suiteId = write.AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY;
      for (let i = 0; i < 10; i++) {
        const { result } = await encrypt(writer, cleartext, {
          encryptionContext,
          suiteId,
          plaintextLength: 4,
        });
        expect((await decrypt(reader, result)).plaintext.toString()).toBe(cleartext);
      }
      expect([kms.count("GenerateDataKey"), kms.count("Encrypt"), kms.count("Decrypt")]).toEqual([1, 1, 1]);
      await encrypt(writer, cleartext, { encryptionContext, suiteId });
      expect(kms.count("GenerateDataKey")).toBe(2);
    },
  },
  {
    name: "disable commitment",
    async run(write, read) {
      const keyring = (sdk: Sdk) =>
        new sdk.KmsKeyringNode({ generatorKeyId: aliasArn, keyIds: [otherKeyArn] });
      const policy = "FORBID_ENCRYPT_ALLOW_DECRYPT";
      expect(await roundTrip(write, keyring(write), read, keyring(read), policy)).toBe(0x0378);
    },
  },
  ...[2, 3, 4].flatMap((count) =>
    (["encrypt", "decrypt"] as const).map((side) => ({
      name: `kms max encrypted data keys, ${count} of 3 allowed when we ${side}`,
      async run(write: Sdk, read: Sdk) {
        const commitmentPolicy = write.CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT;
        const bound = (at: string) =>
          ({ commitmentPolicy, maxEncryptedDataKeys: at === side ? 3 : false }) as const;
        const keyIds = Array.from({ length: count - 1 }, () => kms.createKey("us-west-2"));
        const keyring = (sdk: Sdk) => new sdk.KmsKeyringNode({ generatorKeyId: aliasArn, keyIds });
        const exchange = async (): Promise<string> => {
          const { result } = await write.buildClient(bound("encrypt")).encrypt(keyring(write), cleartext);
          const reader = new read.KmsKeyringNode({ keyIds: [keyArn] });
          return (await read.buildClient(bound("decrypt")).decrypt(reader, result)).plaintext.toString();
        };
        if (count <= 3) expect(await exchange()).toBe(cleartext);
        else
          await expect(exchange()).rejects.toThrow(
            /maxEncryptedDataKeys exceeded|at most 3|above the limit of 3/,
          );
      },
    })),
  ),
  {
    name: "kms filtered discovery",
    async run(write, read) {
      const { result } = await write
        .buildClient()
        .encrypt(new write.KmsKeyringNode({ generatorKeyId: aliasArn }), cleartext);
      const { decrypt } = read.buildClient();
      const keyring = (account: string, partition: string) =>
        new read.KmsKeyringNode({
          clientProvider: read.getKmsClient,
          discovery: true,
          discoveryFilter: { accountIDs: [account], partition },
        });
      expect((await decrypt(keyring(ACCOUNT, "aws"), result)).plaintext.toString()).toBe(cleartext);
      expect(kms.count("Decrypt")).toBe(1);
      await expect(decrypt(keyring("999999999999", "aws"), result)).rejects.toThrow();
      await expect(decrypt(keyring(ACCOUNT, "aws-cn"), result)).rejects.toThrow();
      expect(kms.count("Decrypt")).toBe(1);
    },
  },
  {
    name: "kms regional discovery, limited and excluded",
    async run(write, read) {
      const { result } = await write
        .buildClient()
        .encrypt(new write.KmsKeyringNode({ generatorKeyId: aliasArn }), cleartext);
      const { limitRegions, excludeRegions, getKmsClient } = read;
      const open = async (clientProvider: ReturnType<Sdk["limitRegions"]>): Promise<string> => {
        const discoveryFilter = { accountIDs: [ACCOUNT], partition: "aws" };
        const keyring = new read.KmsKeyringNode({ clientProvider, discovery: true, discoveryFilter });
        return (await read.buildClient().decrypt(keyring, result)).plaintext.toString();
      };
      expect(await open(limitRegions(["us-west-2"], getKmsClient))).toBe(cleartext);
      expect(await open(excludeRegions(["us-east-1"], getKmsClient))).toBe(cleartext);
      await expect(open(limitRegions(["us-east-1"], getKmsClient))).rejects.toThrow();
      await expect(open(excludeRegions(["us-west-2"], getKmsClient))).rejects.toThrow();
      expect(kms.count("Decrypt")).toBe(2);
    },
  },
  {
    name: "kms multi-Region simple",
    async run(write, read) {
      const east = kms.createKey("us-east-1", "us-west-2");
      const west = east.replace("us-east-1", "us-west-2");
      const keyring = (sdk: Sdk, generatorKeyId: string) =>
        sdk.buildAwsKmsMrkAwareStrictMultiKeyringNode({ generatorKeyId });
      await roundTrip(write, keyring(write, east), read, keyring(read, west));
      expect(kms.calls.map(({ region }) => region)).toEqual(["us-east-1", "us-west-2"]);
    },
  },
  {
    name: "kms multi-Region discovery",
    async run(write, read) {
      const generatorKeyId = kms.createKey("us-east-1", "us-west-2");
      const client = new KMS({ region: "us-west-2" });
      const discoveryFilter = { partition: "aws", accountIDs: [ACCOUNT] };
      const writer = write.buildAwsKmsMrkAwareStrictMultiKeyringNode({ generatorKeyId });
      const reader = new read.AwsKmsMrkAwareSymmetricDiscoveryKeyringNode({ client, discoveryFilter });
      await roundTrip(write, writer, read, reader);
      const regions = ["eu-west-1", "us-west-2"];
      const many = read.buildAwsKmsMrkAwareDiscoveryMultiKeyringNode({ regions, discoveryFilter });
      await roundTrip(write, writer, read, many);
      expect(kms.calls.at(-1)).toMatchObject({ operation: "Decrypt", region: "us-west-2" });
      client.destroy();
    },
  },
];

let ran = 0;
describe.each(pairs)("examples written by %s, read by %s", (_writer, _reader, write, read) => {
  test.each(examples)("$name", async ({ run }) => {
    await run(write, read);
    ran += 1;
  });
});
