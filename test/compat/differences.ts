// Where `frameseal/client-node` does not do what the peer does, as data: each is observed on both packages.
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { PassThrough, Readable } from "node:stream";
import { finished, pipeline } from "node:stream/promises";
import { setTimeout } from "node:timers/promises";
import type { FakeKms } from "../support/fake-kms.ts";
import { collect, kmsClient, packages, type Sdk } from "./packages.ts";

/** One difference. `observe` gives a word for what a package does. */
export interface Difference {
  readonly what: string;
  readonly peer: string;
  readonly ours: string;
  readonly why: string;
  observe(sdk: Sdk, kms: FakeKms): Promise<string>;
}

/** Exports of the peer that are not here. */
export const missingExports: Readonly<Record<string, string>> = {
  BranchKeyStoreNode: "no hierarchical keyring: NodeCachingMaterialsManager makes fewer calls",
  isIBranchKeyStoreNode: "no hierarchical keyring",
  KmsHierarchicalKeyRingNode: "no hierarchical keyring",
  KmsKeyConfig: "no hierarchical keyring",
  KMS: "import it from @aws-sdk/client-kms, which is loaded only when it is used",
  CommitmentPolicySuites: "the policies are checked inside",
  SignaturePolicySuites: "the policies are checked inside",
  getDecryptionHelper: "inside of the peer's decryption",
  getEncryptHelper: "inside of the peer's encryption",
  frozenClass: "Object.freeze",
  immutableBaseClass: "immutableClass",
};

const [, theirs] = packages[0] ?? [];
const UNSIGNED = 0x0478;
const context = { _x: "1", apple: "2", Zebra: "3" };

const keyringOf = (sdk: Sdk, input: object = {}) =>
  new sdk.RawAesKeyringNode({
    keyName: "k",
    keyNamespace: "n",
    wrappingSuite: sdk.RawAesWrappingSuiteIdentifier.AES256_GCM_IV12_TAG16_NO_PADDING,
    unencryptedMasterKey: new Uint8Array(32).fill(1),
    utf8Sorting: true,
    ...input,
  });

async function accepts(run: () => unknown): Promise<"accepted" | "refused"> {
  try {
    await run();
    return "accepted";
  } catch {
    return "refused";
  }
}
async function seal(sdk: Sdk, plaintext: Buffer | string, options: object = {}): Promise<Buffer> {
  return (await sdk.buildClient().encrypt(keyringOf(sdk), plaintext, options)).result;
}
async function distinctKeys(count: number, message: () => Promise<Uint8Array | undefined>): Promise<string> {
  const keys = new Set<string>();
  for (let i = 0; i < count; i++) keys.add(Buffer.from((await message()) ?? []).toString("hex"));
  return `${keys.size} data keys`;
}
const caching = (sdk: Sdk) =>
  new sdk.NodeCachingMaterialsManager({
    backingMaterials: keyringOf(sdk),
    cache: sdk.getLocalCryptographicMaterialsCache(10),
    maxAge: 60_000,
  });
const provider = (kms: FakeKms) => (region: string) => kmsClient(kms, region || "us-west-2");

export const differences: readonly Difference[] = [
  {
    what: "bytes behind an unsigned message",
    peer: "accepted",
    ours: "refused",
    why: "they are not authenticated, and nobody would notice them",
    async observe(sdk) {
      const sealed = await seal(sdk, "asdf", { suiteId: UNSIGNED });
      const longer = Buffer.concat([sealed, Buffer.from("more")]);
      return accepts(() => sdk.buildClient().decrypt(keyringOf(sdk), longer));
    },
  },
  {
    what: "plaintext of the final frame before the signature has come",
    peer: "100 bytes released",
    ours: "0 bytes released",
    why: "a message that was not verified must not be used",
    async observe(sdk) {
      const sealed = await seal(sdk, randomBytes(100));
      const stream = sdk.buildClient().decryptStream(keyringOf(sdk));
      let released = 0;
      stream.on("data", (chunk) => {
        released += chunk.length;
      });
      stream.write(sealed.subarray(0, -1));
      await setTimeout(200);
      const early = released;
      stream.end(sealed.subarray(-1));
      await finished(stream);
      return `${early} bytes released`;
    },
  },
  {
    what: "a raw AES key wrapped under the context in locale order, the peer's default",
    peer: "accepted",
    ours: "refused",
    why: 'no other SDK reads it; `utf8Sorting: false` or `localeSortedContext: "accept"` reads it here',
    async observe(sdk) {
      if (theirs === undefined) throw new Error("no peer");
      const writer = keyringOf(theirs, { utf8Sorting: false });
      const { result } = await theirs.buildClient().encrypt(writer, "asdf", { encryptionContext: context });
      const reader = keyringOf(sdk, { utf8Sorting: undefined });
      return accepts(() => sdk.buildClient().decrypt(reader, result));
    },
  },
  {
    what: "more plaintext than plaintextLength, behind a write that reaches it",
    peer: "accepted",
    ours: "refused",
    why: "the length is a promise, which the cache counts on",
    async observe(sdk) {
      const stream = sdk.buildClient().encryptStream(keyringOf(sdk), { plaintextLength: 100 });
      const source = new PassThrough();
      source.write(Buffer.alloc(100));
      void setTimeout(50).then(() => source.end(Buffer.alloc(1000)));
      return accepts(() => Promise.all([pipeline(source, stream), collect(stream)]));
    },
  },
  {
    what: "pairs of the caller under aws-crypto-",
    peer: "accepted",
    ours: "refused",
    why: "the specification reserves the prefix",
    observe: (sdk) => accepts(() => seal(sdk, "asdf", { encryptionContext: { "aws-crypto-own": "1" } })),
  },
  {
    what: "writing a suite without key derivation",
    peer: "accepted",
    ours: "refused",
    why: "a data key that is used twice would repeat nonces; such messages are read",
    observe: (sdk) => {
      const client = sdk.buildClient(sdk.CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT);
      return accepts(() => client.encrypt(keyringOf(sdk), "asdf", { suiteId: 0x0078 }));
    },
  },
  {
    what: "a frameLength that is no multiple of 16",
    peer: "accepted",
    ours: "refused",
    why: "other SDKs refuse to write it; such messages are read",
    observe: (sdk) => accepts(() => seal(sdk, "asdf", { frameLength: 5 })),
  },
  {
    what: "a message with 17 wrapped keys, without maxEncryptedDataKeys",
    peer: "accepted",
    ours: "refused",
    why: "each may cost a call of a key service; `maxEncryptedDataKeys: false` lifts the bound of 16",
    observe: (sdk) => {
      const children = Array.from({ length: 16 }, (_, i) => keyringOf(sdk, { keyName: `k${i}` }));
      const keyring = new sdk.MultiKeyringNode({ generator: keyringOf(sdk), children });
      return accepts(() => sdk.buildClient().encrypt(keyring, "asdf"));
    },
  },
  {
    what: "a KMS keyring with discovery and no filter",
    peer: "accepted",
    ours: "refused",
    why: "whoever writes a message would choose the account that is asked",
    observe: (sdk) => accepts(() => new sdk.KmsKeyringNode({ discovery: true })),
  },
  {
    what: "the same KMS key twice",
    peer: "accepted",
    ours: "refused",
    why: "it makes messages longer and calls dearer, and nothing safer",
    observe: (sdk, kms) => {
      const generatorKeyId = kms.createKey("us-west-2");
      const keyIds = [generatorKeyId];
      const keyring = new sdk.KmsKeyringNode({ clientProvider: provider(kms), generatorKeyId, keyIds });
      return accepts(() => sdk.buildClient().encrypt(keyring, "asdf"));
    },
  },
  {
    what: "a clientProvider without client for one of the keys when writing",
    peer: "accepted",
    ours: "refused",
    why: "the message would lack a key that its owner counts on",
    observe: (sdk, kms) => {
      const keyring = new sdk.KmsKeyringNode({
        clientProvider: sdk.limitRegions(["us-west-2"], provider(kms)),
        generatorKeyId: kms.createKey("us-west-2"),
        keyIds: [kms.createKey("us-east-1")],
      });
      return accepts(() => sdk.buildClient().encrypt(keyring, "asdf"));
    },
  },
  {
    what: "a materials manager of one's own",
    peer: "accepted",
    ours: "refused",
    why: "keyrings are the one interface: extend KeyringNode or implement Keyring",
    observe: (sdk) => {
      const inner = new sdk.NodeDefaultCryptographicMaterialsManager(keyringOf(sdk)) as unknown as Record<
        string,
        (request: unknown) => unknown
      >;
      const own = { getEncryptionMaterials: (request: unknown) => inner.getEncryptionMaterials?.(request) };
      return accepts(() => sdk.buildClient().encrypt(own as never, "asdf"));
    },
  },
  {
    what: "the cache, with the default suite, which signs",
    peer: "1 data keys",
    ours: "3 data keys",
    why: "each message has a key pair of its own here; name suiteId 0x0478 to make use of the cache",
    observe: (sdk) => {
      const manager = caching(sdk);
      return distinctKeys(3, async () => {
        const { messageHeader } = await sdk.buildClient().encrypt(manager, "asdf");
        return messageHeader.encryptedDataKeys[0]?.encryptedDataKey;
      });
    },
  },
  {
    what: "the cache, with streams of unknown length",
    peer: "3 data keys",
    ours: "1 data keys",
    why: "their bytes are counted when they end",
    observe: (sdk) => {
      const manager = caching(sdk);
      return distinctKeys(3, async () => {
        const stream = sdk.buildClient().encryptStream(manager, { suiteId: UNSIGNED });
        let wrapped: Uint8Array | undefined;
        stream.on("MessageHeader", (header) => {
          wrapped = header.encryptedDataKeys[0]?.encryptedDataKey;
        });
        await Promise.all([pipeline(Readable.from([Buffer.from("asdf")]), stream), collect(stream)]);
        return wrapped;
      });
    },
  },
  {
    what: "the bytes given as unencryptedMasterKey, afterwards",
    peer: "wiped",
    ours: "as they were",
    why: "an argument is not changed; wipe it yourself",
    async observe(sdk) {
      const unencryptedMasterKey = new Uint8Array(32).fill(1);
      keyringOf(sdk, { unencryptedMasterKey });
      return unencryptedMasterKey[0] === 1 ? "as they were" : "wiped";
    },
  },
  {
    what: "the options given to encrypt, afterwards",
    peer: "have a plaintextLength",
    ours: "as they were",
    why: "an argument is not changed",
    async observe(sdk) {
      const options = {};
      await seal(sdk, "asdf", options);
      return "plaintextLength" in options ? "have a plaintextLength" : "as they were";
    },
  },
  {
    what: "an encryptionContext given to decrypt that the message does not have",
    peer: "accepted",
    ours: "refused",
    why: "the peer leaves the check to its caller",
    async observe(sdk) {
      const sealed = await seal(sdk, "asdf", { encryptionContext: { a: "1" } });
      const options = { encryptionContext: { a: "2" } };
      return accepts(() => sdk.buildClient().decrypt(keyringOf(sdk), sealed, options));
    },
  },
  {
    what: "decryptStream with a maxBodySize below the frame length of a message that is shorter",
    peer: "accepted",
    ours: "refused",
    why: "a stream bounds what it may have to buffer; decrypt accepts it",
    async observe(sdk) {
      const sealed = await seal(sdk, "asdf");
      const stream = sdk.buildClient().decryptStream(keyringOf(sdk), { maxBodySize: 4 });
      return accepts(() => Promise.all([pipeline(Readable.from([sealed]), stream), collect(stream)]));
    },
  },
  {
    what: "an RSA key of 1024 bits",
    peer: "accepted",
    ours: "refused",
    why: "it is too short",
    observe: (sdk) => {
      const rsaKey = generateKeyPairSync("rsa", {
        modulusLength: 1024,
        publicKeyEncoding: { type: "spki", format: "pem" },
        privateKeyEncoding: { type: "pkcs8", format: "pem" },
      });
      return accepts(() => new sdk.RawRsaKeyringNode({ keyName: "k", keyNamespace: "n", rsaKey }));
    },
  },
  {
    what: "a KMS client with methods and without send",
    peer: "accepted",
    ours: "refused",
    why: "clients of AWS SDK v3 have send; those of v2 are out of support",
    observe: (sdk, kms) => {
      const client = kmsClient(kms, "us-west-2");
      const clientProvider = () =>
        ({ generateDataKey: client.generateDataKey.bind(client), config: client.config }) as never;
      const keyring = new sdk.KmsKeyringNode({ clientProvider, generatorKeyId: kms.createKey("us-west-2") });
      return accepts(() => sdk.buildClient().encrypt(keyring, "asdf"));
    },
  },
  {
    what: "what an error says about itself",
    peer: "Error without code",
    ours: "FramesealError NO_DATA_KEY",
    why: "match on the code",
    async observe(sdk) {
      const sealed = await seal(sdk, "asdf");
      const reader = keyringOf(sdk, { unencryptedMasterKey: new Uint8Array(32).fill(2) });
      const error = await sdk
        .buildClient()
        .decrypt(reader, sealed)
        .catch((reason: unknown) => reason);
      const { name, code } = error as { name: string; code?: string };
      return `${name} ${code ?? "without code"}`;
    },
  },
];
