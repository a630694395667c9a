// Every keyring that passes over a key says why, and the error that follows tells it: for each kind of keyring, each
// reason; through every keyring that stands between; in one line of bounded length, whatever the header holds.
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import {
  buildClient,
  KeyringNode,
  KmsKeyringNode,
  MultiKeyringNode,
  type NodeDecryptionMaterial,
  type NodeEncryptionMaterial,
  RawAesKeyringNode,
} from "../../src/client-node.ts";
import { encodeHeader, encodeHeaderBody } from "../../src/format/header.ts";
import { suiteById } from "../../src/format/suite.ts";
import {
  CachingKeyring,
  decrypt,
  type EncryptedDataKey,
  type Keyring,
  MultiKeyring,
  RawAesKeyring,
  RawRsaKeyring,
} from "../../src/index.ts";
import { SkipList } from "../../src/keyring/skipped-keys.ts";
import { type KmsClient, KmsKeyring } from "../../src/kms.ts";
import { decryptObject, encryptObject } from "../../src/s3.ts";
import { expectPlain } from "../support/plain-text.ts";

const key = randomBytes(32);
const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const names = { keyNamespace: "own", keyName: "k" };
const aes = (changes: Partial<typeof names> = {}): RawAesKeyring =>
  new RawAesKeyring({ ...names, ...changes, wrappingKey: key });
const rsa = new RawRsaKeyring({ ...names, publicKey, privateKey, padding: "OAEP-SHA-256" });
const noClient = { send: () => Promise.reject(new Error("KMS must not be asked")) } as unknown as KmsClient;
const kms = (...keyIds: string[]): KmsKeyring => new KmsKeyring({ client: noClient, keyIds });
const discovery = (changes: object = {}): KmsKeyring =>
  new KmsKeyring({
    client: noClient,
    discovery: { partition: "aws", accountIds: ["111122223333"], ...changes },
  });

const id = "00000000-0000-0000-0000-000000000000";
const replicated = `mrk-${"0".repeat(32)}`;
const arn = (
  changes: { region?: string; account?: string; partition?: string; key?: string } = {},
): string => {
  const {
    region = "eu-west-1",
    account = "111122223333",
    partition = "aws",
    key: name = `key/${id}`,
  } = changes;
  return `arn:${partition}:kms:${region}:${account}:${name}`;
};
const inKms = (providerInfo: string): EncryptedDataKey => ({
  providerId: "aws-kms",
  providerInfo: Buffer.from(providerInfo),
  ciphertext: Buffer.alloc(184, 1),
});
const request = { suite: suiteById(0x0478), commitmentPolicy: "REQUIRE_ENCRYPT_REQUIRE_DECRYPT" } as const;
const wrapOf = async (keyring: Keyring): Promise<EncryptedDataKey> => {
  const [entry] = await keyring.wrapDataKey(randomBytes(32), { ...request, encryptionContext: {} });
  if (entry === undefined) throw new Error("nothing wrapped");
  return entry;
};

/** A message with these wrapped keys. Nobody opens it, so its tag is none. */
function messageWith(encryptedDataKeys: readonly EncryptedDataKey[]): Uint8Array {
  const body = encodeHeaderBody({
    version: 2,
    suite: request.suite,
    messageId: randomBytes(32),
    encryptionContext: {},
    encryptedDataKeys,
    contentType: "framed",
    frameLength: 1024,
    commitment: new Uint8Array(32),
  });
  return encodeHeader(2, body, new Uint8Array(12), new Uint8Array(16));
}
async function errorOf(keyring: Keyring, keys: readonly EncryptedDataKey[]): Promise<Error> {
  const limits = { maxEncryptedDataKeys: 65_535, maxHeaderLength: 2 ** 30 };
  const error = await decrypt(messageWith(keys), { keyring, ...limits }).then(
    () => expect.unreachable("it opened"),
    (refusal: unknown) => refusal,
  );
  expect(error).toMatchObject({ name: "FramesealError", code: "NO_DATA_KEY" });
  expectPlain(error);
  return error as Error;
}

/** What passes over which key, and the words that must be said. */
const reasons: [string, () => Keyring, () => Promise<EncryptedDataKey>, ...string[]][] = [
  [
    "AES, another namespace",
    aes,
    () => wrapOf(aes({ keyNamespace: "theirs" })),
    'AES key "k" of "own"',
    "another key namespace",
    '"k" of "theirs"',
  ],
  ["AES, another name", aes, () => wrapOf(aes({ keyName: "old" })), "another key name", '"old" of "own"'],
  ["AES, an RSA key of the name", aes, () => wrapOf(rsa), "wrapped with an RSA key of this name"],
  [
    "AES, malformed info",
    aes,
    async () => ({ ...(await wrapOf(aes())), providerInfo: Buffer.from("k\0\0") }),
    "malformed provider info",
  ],
  ["AES, a key of KMS", aes, async () => inKms(arn()), "another key namespace", `"${arn()}" of "aws-kms"`],
  [
    "RSA, another namespace",
    () => rsa,
    async () => ({ ...(await wrapOf(rsa)), providerId: "theirs" }),
    'RSA key "k" of "own"',
    "another key namespace",
  ],
  [
    "RSA, another name",
    () => rsa,
    async () => ({ ...(await wrapOf(rsa)), providerInfo: Buffer.from("old") }),
    "another key name",
    '"old" of "own"',
  ],
  ["RSA, an AES key of the name", () => rsa, () => wrapOf(aes()), "wrapped with an AES key of this name"],
  [
    "RSA without private key",
    () => new RawRsaKeyring({ ...names, publicKey, padding: "OAEP-SHA-256" }),
    () => wrapOf(rsa),
    "no private key",
  ],
  ["KMS, a raw key", () => kms(arn()), () => wrapOf(aes()), "not wrapped by AWS KMS"],
  [
    "KMS, a hierarchical key",
    () => kms(arn()),
    async () => ({ ...inKms(arn()), providerId: "aws-kms-hierarchy" }),
    "not wrapped by AWS KMS",
    "aws-kms-hierarchy",
  ],
  ["KMS, no ARN", () => kms(arn()), async () => inKms(id), "malformed provider info"],
  [
    "KMS, an ARN that is no UTF-8",
    () => kms(arn()),
    async () => ({ ...inKms(""), providerInfo: Buffer.of(0xff) }),
    "malformed provider info",
  ],
  [
    "KMS, the ARN of an alias",
    () => kms(arn()),
    async () => inKms(arn({ key: "alias/a" })),
    "malformed provider info: the ARN of an alias",
  ],
  [
    "KMS, with an alias",
    () => kms("alias/backup"),
    async () => inKms(arn()),
    "alias/backup can only encrypt",
    "name the key by its ARN",
    arn(),
  ],
  [
    "KMS, with the ARN of an alias",
    () => kms(arn({ key: "alias/a" })),
    async () => inKms(arn()),
    "alias/a can only encrypt",
    "by its ARN",
  ],
  ["KMS, with a bare id", () => kms(id), async () => inKms(arn()), `${id} can only encrypt`, "by its ARN"],
  [
    "KMS, a replica",
    () => kms(arn({ key: `key/${replicated}` })),
    async () => inKms(arn({ key: `key/${replicated}`, region: "us-east-1" })),
    "a replica of the multi-region key",
    '"multiRegionKeys" is exact',
  ],
  [
    "KMS, another key",
    () => kms(arn()),
    async () => inKms(arn({ key: `key/${id.replace("0", "1")}` })),
    `not ${arn()}`,
  ],
  [
    "KMS, another region",
    () => kms(arn()),
    async () => inKms(arn({ region: "us-east-1" })),
    "a key of another region",
  ],
  [
    "KMS, another account",
    () => kms(arn()),
    async () => inKms(arn({ account: "999999999999" })),
    "a key of another account",
  ],
  [
    "KMS, another partition",
    () => kms(arn()),
    async () => inKms(arn({ partition: "aws-cn" })),
    "a key of another partition",
  ],
  [
    "discovery, another account",
    () => discovery(),
    async () => inKms(arn({ account: "999999999999" })),
    "an account that the discovery filter does not have",
    "999999999999",
  ],
  [
    "discovery, another partition",
    () => discovery(),
    async () => inKms(arn({ partition: "aws-cn" })),
    "another partition than the aws of the discovery filter",
  ],
  [
    "discovery, another region",
    () => discovery({ region: "eu-west-1" }),
    async () => inKms(arn({ region: "us-east-1" })),
    "another region than the eu-west-1",
  ],
  ["discovery, a raw key", () => discovery(), () => wrapOf(aes()), "not wrapped by AWS KMS"],
];

describe("says why it passes over a key:", () => {
  test.each(reasons.map(([what, make, entry, ...words]) => [what, { make, entry, words }] as const))(
    "%s",
    async (_, { make, entry, words }) => {
      const keys = [await entry()];
      for (const keyring of through(make)) {
        const error = await errorOf(keyring, keys);
        for (const word of words) expect(error.message).toContain(word);
        const { errors } = error.cause as AggregateError;
        expect(errors.some((each) => words.every((word) => (each as Error).message.includes(word)))).toBe(
          true,
        );
      }
    },
  );

  test("the peer's keyrings and client too", async () => {
    const clientProvider = (): never => noClient as never;
    const rows: [Keyring, EncryptedDataKey, string][] = [
      [
        new RawAesKeyringNode({ ...names, unencryptedMasterKey: key, wrappingSuite: 0x0078 }),
        await wrapOf(aes({ keyName: "old" })),
        "another key name",
      ],
      [new KmsKeyringNode({ clientProvider, keyIds: ["alias/a"] }), inKms(arn()), "alias/a can only encrypt"],
      [
        new KmsKeyringNode({
          clientProvider,
          discovery: true,
          discoveryFilter: { partition: "aws", accountIDs: ["111122223333"] },
        }),
        inKms(arn({ account: "999999999999" })),
        "the discovery filter does not have",
      ],
    ];
    for (const [keyring, entry, word] of rows) {
      expect((await errorOf(keyring, [entry])).message).toContain(word);
      const { decrypt: open } = buildClient();
      await expect(open(keyring, Buffer.from(messageWith([entry])))).rejects.toThrow(word);
    }
  });

  test("a keyring of others that says nothing is named, one that says something is quoted", async () => {
    class Silent extends MultiKeyring {
      override async unwrapDataKey(): Promise<null> {
        return null;
      }
    }
    const entry = await wrapOf(aes());
    const silent = new Silent({ children: [aes()] });
    expect((await errorOf(silent, [entry])).message).toContain("Silent: it does not say why");
    const telling: Keyring = Object.assign(new Silent({ children: [aes()] }), {
      unwrapDataKey: async (...[keys, { skipped }]: Parameters<Keyring["unwrapDataKey"]>) => {
        for (const each of keys) skipped?.add("Vault keyring: sealed", each);
        return null;
      },
    });
    const both = await errorOf(new MultiKeyring({ children: [telling, silent] }), [entry]);
    expect(both.message).toContain('Vault keyring: sealed ("k" of "own")');
    expect(both.message).toContain("Silent: it does not say why");
  });

  test("what was passed over stands beside what was tried", async () => {
    const tried = { ...(await wrapOf(aes())), ciphertext: randomBytes(48) };
    const error = await errorOf(aes(), [await wrapOf(aes({ keyName: "old" })), tried]);
    expect(error.message).toContain("does not unwrap the data key");
    expect(error.message).toContain('another key name ("old" of "own")');
    const more = await errorOf(new MultiKeyring({ children: [aes(), rsa, kms("alias/a")] }), [
      tried,
      inKms(arn()),
    ]);
    for (const words of [
      "does not unwrap",
      "wrapped with an AES key of this name",
      "alias/a can only encrypt",
    ])
      expect(more.message).toContain(words);
  });

  test("all who wait for one answer of a cache are told", async () => {
    const keyring = new CachingKeyring({ keyring: aes(), maxAgeMs: 1000 });
    const keys = [await wrapOf(aes({ keyName: "old" })), await wrapOf(aes({ keyName: "older" }))];
    const errors = await Promise.all(Array.from({ length: 5 }, () => errorOf(keyring, keys)));
    for (const error of errors)
      expect(error.message).toContain('another key name ("old" of "own", "older" of "own")');
  });

  test("objects with one key: every keyring that could not be used", async () => {
    const location = { bucket: "b", key: "k" };
    const writers = { "AES/GCM": aes(), "RSA-OAEP-SHA1": rsa };
    const publicOnly = new RawRsaKeyring({ ...names, publicKey, padding: "OAEP-SHA-1" });
    const own: Keyring = Object.assign(Object.create({ constructor: class OwnKeyring {} }), {
      generateDataKey: async () => expect.unreachable(),
      wrapDataKey: async () => [],
      unwrapDataKey: async () => null,
    });
    for (const [wrap, writer] of Object.entries(writers)) {
      const { body, metadata } = await encryptObject(location, Buffer.from("x"), {
        keyring: writer,
        format: "s3ec-v3",
      });
      const others = [kms(arn()), own, ...(writer === rsa ? [aes(), publicOnly] : [rsa])];
      const keyring = new MultiKeyring({ children: others });
      const error = await decryptObject(location, { body, metadata }, { keyring }).catch((e) => e);
      expect(error).toMatchObject({ code: "NO_DATA_KEY" });
      expectPlain(error);
      const words = [wrap, "KMS keyring: it has no", "OwnKeyring: objects of this format"];
      if (writer === rsa) words.push('AES key "k" of "own": it is no RSA key', "it has no private key");
      else words.push('RSA key "k" of "own": it is no AES key');
      for (const word of words) expect(error.message).toContain(word);
    }
  });
});

/** The keyring itself, and behind every kind that asks others. */
function through(make: () => Keyring): Keyring[] {
  class Delegating extends KeyringNode {
    readonly inner = new MultiKeyringNode({ children: [make()] });
    async _onEncrypt(material: NodeEncryptionMaterial): Promise<NodeEncryptionMaterial> {
      return this.inner.onEncrypt(material);
    }
    async _onDecrypt(
      ...[material, keys]: Parameters<KeyringNode["_onDecrypt"]>
    ): Promise<NodeDecryptionMaterial> {
      return this.inner.onDecrypt(material, keys);
    }
  }
  const cached = (keyring: Keyring): Keyring => new CachingKeyring({ keyring, maxAgeMs: 1000 });
  return [
    make(),
    new MultiKeyring({ children: [make(), aes({ keyNamespace: "far" })] }),
    cached(make()),
    cached(new MultiKeyring({ children: [cached(make())] })),
    new MultiKeyringNode({ children: [make()] }),
    new Delegating(),
  ];
}

describe("whatever a header holds", () => {
  const hostile = "\u001b[2J\u202e\u0007\u2028\u{e0041}\u200f\r\n\u009b31m";
  const long = Buffer.from(hostile.repeat(3000)).subarray(0, 65_000).toString().replaceAll("\ufffd", "");
  test.each(["one name", "many names", "many keys"])("the text stays short and plain: %s", async (what) => {
    const count = what === "many keys" ? 65_535 : what === "many names" ? 200 : 1;
    const name = what === "many keys" ? hostile : long;
    const keys = Array.from({ length: count }, (_, index) => ({
      providerId: `${name}${index}`,
      providerInfo: Buffer.from(`${name}${index}`),
      ciphertext: Buffer.of(1),
    }));
    const own = keys.map((each) => ({ ...each, providerId: "own" }));
    const ofKms = keys.map((each) => ({ ...each, providerId: "aws-kms" }));
    const keyrings = [aes(), rsa, kms(arn()), kms("alias/a"), discovery()];
    const hostileOwn = aes({ keyNamespace: long.slice(0, 10_000), keyName: long.slice(0, 10_000) });
    const all = new MultiKeyring({ children: [...keyrings, hostileOwn] });
    // What is long takes long: the longest list once.
    const lists =
      what === "many keys" ? [[...own.slice(0, 30_000), ...ofKms.slice(0, 30_000)]] : [keys, own, ofKms];
    for (const list of lists) {
      const { message } = await errorOf(all, list);
      expect(message).toContain("no keyring has a key for this message");
      if (count > 2) expect(message).toMatch(/ and \d+ more/);
    }
  });
  test("more reasons than are kept are counted", () => {
    const list = new SkipList();
    for (let i = 0; i < 1000; i++) list.add(`${"reason ".repeat(30)}${i}`);
    expect(list.count).toBe(1000);
    expect(list.texts.length).toBeLessThan(20);
    const shown = String(list).match(/(\d+)(?=;|$)/g)?.length ?? 0;
    expect(String(list)).toMatch(/; and \d+ more$/);
    expect(Number(/and (\d+) more$/.exec(String(list))?.[1]) + shown).toBe(1000);
    expect(String(list).length).toBeLessThan(1800);
  });
});
