// Live, in both directions, with AWS's own JavaScript implementation: whole messages and streams. Its raw AES keyring
// needs `utf8Sorting: true`, since by default it orders the encryption context by locale.
import { createHash, createPublicKey, generateKeyPairSync, randomBytes } from "node:crypto";
import { Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import {
  AlgorithmSuiteIdentifier,
  buildClient,
  CommitmentPolicy,
  RawAesKeyringNode,
  RawAesWrappingSuiteIdentifier,
  RawRsaKeyringNode,
} from "@aws-crypto/client-node";
import { describe, expect, test } from "vitest";
import {
  createDecryptStream,
  createEncryptStream,
  decrypt,
  encrypt,
  inspectHeader,
  type Keyring,
  RawAesKeyring,
  RawRsaKeyring,
} from "../../src/index.ts";
import { codeOf, cut, engineNames, policyFor } from "../message/fixtures.ts";

const encryptionContext = {
  apple: "1",
  Zebra: "2",
  _x: "3",
  Äpfel: "4",
  zebra: "5",
  "🔑": "astral",
  "\uffee": "high in the basic plane",
  empty: "ü",
};
const lengths = (f: number): number[] => [0, 1, f - 1, f, f + 1, 3 * f, 3 * f + 5];
const frameLengths = [16, 48, 4_096, 8_192, 65_536, 1_048_576];

const wrappingKey = randomBytes(32);
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const pem = {
  privateKey: rsa.privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  publicKey: createPublicKey(rsa.privateKey).export({ type: "spki", format: "pem" }).toString(),
};
const names = { keyNamespace: "interop", keyName: "key ü" };

type Theirs = RawAesKeyringNode | RawRsaKeyringNode;
const theirAes = (utf8Sorting: boolean): RawAesKeyringNode => {
  const isolated = new Uint8Array(wrappingKey); // theirs refuses keys in shared memory
  return new RawAesKeyringNode({
    keyName: names.keyName,
    keyNamespace: names.keyNamespace,
    unencryptedMasterKey: isolated,
    wrappingSuite: RawAesWrappingSuiteIdentifier.AES256_GCM_IV12_TAG16_NO_PADDING,
    utf8Sorting,
  });
};
const keyrings: [string, Keyring, Theirs][] = [
  ["raw AES", new RawAesKeyring({ ...names, wrappingKey }), theirAes(true)],
  [
    "raw RSA, OAEP with SHA-256",
    new RawRsaKeyring({ ...names, ...pem, padding: "OAEP-SHA-256" }),
    new RawRsaKeyringNode({
      ...names,
      rsaKey: pem,
      oaepHash: "sha256",
    }),
  ],
];

const suites = [
  [0x0478, AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY],
  [0x0578, AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY_ECDSA_P384],
  [0x0178, AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA256],
  [0x0214, AlgorithmSuiteIdentifier.ALG_AES128_GCM_IV12_TAG16_HKDF_SHA256_ECDSA_P256],
] as const;

const theirClient = (suite: number) =>
  buildClient(CommitmentPolicy[policyFor(suite) as keyof typeof CommitmentPolicy]);

const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
let exchanged = 0;

describe.each(keyrings)("with @aws-crypto/client-node, %s", (_, ours, theirs) => {
  describe.each(suites)("suite %s", (suite, theirSuite) => {
    const engine = engineNames.at(-1);
    const options = { keyring: ours, suite, engine, commitmentPolicy: policyFor(suite), encryptionContext };
    const readOptions = { keyring: ours, engine, commitmentPolicy: policyFor(suite) };
    const client = theirClient(suite);

    test("they read what is written here", { timeout: 120_000 }, async () => {
      for (const frameLength of frameLengths)
        for (const n of lengths(frameLength)) {
          const plaintext = randomBytes(n);
          const message = await encrypt(plaintext, { ...options, frameLength });
          const result = await client.decrypt(theirs, message);
          expect([n, frameLength, digest(result.plaintext)]).toEqual([n, frameLength, digest(plaintext)]);
          expect(result.messageHeader.encryptionContext).toMatchObject(encryptionContext);
          exchanged += 1;
        }
    });

    test("what they write is read here", { timeout: 120_000 }, async () => {
      for (const frameLength of frameLengths)
        for (const n of lengths(frameLength)) {
          const plaintext = randomBytes(n);
          const { result } = await client.encrypt(theirs, plaintext, {
            frameLength,
            suiteId: theirSuite,
            encryptionContext,
            plaintextLength: n,
          });
          expect(inspectHeader(result).suite.id).toBe(suite);
          const got = await decrypt(result, { ...readOptions, encryptionContext });
          expect([n, frameLength, digest(got.plaintext)]).toEqual([n, frameLength, digest(plaintext)]);
          exchanged += 1;
        }
    });

    test("streams of both understand each other", { timeout: 120_000 }, async () => {
      for (const frameLength of [1_024, 65_536])
        for (const n of [0, frameLength, 3 * frameLength + 5, 1_000_003]) {
          const plaintext = randomBytes(n);
          const chunks = (size: number): Readable =>
            Readable.from(cut(plaintext, size), { objectMode: false });
          const collect = async (...streams: NodeJS.ReadWriteStream[]): Promise<string> => {
            const hash = createHash("sha256");
            const sink = new Writable({
              write(chunk, _encoding, done) {
                hash.update(chunk);
                done();
              },
            });
            await pipeline([chunks(10_007), ...streams, sink]);
            return hash.digest("hex");
          };
          const toTheirs = client.decryptStream(theirs) as unknown as NodeJS.ReadWriteStream;
          expect(await collect(createEncryptStream({ ...options, frameLength }), toTheirs)).toBe(
            digest(plaintext),
          );
          const fromTheirs = client.encryptStream(theirs, {
            frameLength,
            suiteId: theirSuite,
            encryptionContext,
          }) as unknown as NodeJS.ReadWriteStream;
          expect(await collect(fromTheirs, createDecryptStream(readOptions))).toBe(digest(plaintext));
          exchanged += 2;
        }
    });
  });
});

describe("their raw AES keyring in its default order of the encryption context", () => {
  const client = theirClient(0x0478);

  test("is refused strictly, and opened when that is asked for", async () => {
    const { result } = await client.encrypt(theirAes(false), Buffer.from("text"), { encryptionContext });
    const strict = new RawAesKeyring({ ...names, wrappingKey });
    expect(await codeOf(() => decrypt(result, { keyring: strict }))).toBe("NO_DATA_KEY");
    const lenient = new RawAesKeyring({ ...names, wrappingKey, localeSortedContext: "accept" });
    expect((await decrypt(result, { keyring: lenient })).plaintext.toString()).toBe("text");
  });

  test("is the same order for lower-case ASCII keys", async () => {
    const { result } = await client.encrypt(theirAes(false), Buffer.from("text"), {
      encryptionContext: { a: "1", b: "2" },
    });
    const strict = new RawAesKeyring({ ...names, wrappingKey });
    expect((await decrypt(result, { keyring: strict })).plaintext.toString()).toBe("text");
  });

  test("exchanged messages are counted", () => {
    console.log(`interop with @aws-crypto/client-node: ${exchanged} messages exchanged, 0 differences`);
    expect(exchanged).toBeGreaterThan(600);
  });
});
