// The same steps of the AWS Encryption SDK for JavaScript, from the packages it consists of.
import { concatBytes } from "#frameseal/bytes.js";
import { isBytes } from "#frameseal/shapes.js";
import type { Adaptor, BufferSubject } from "../adaptor.ts";
import { importPackage } from "../packages.ts";
import { benchKey, benchKeyName, benchNamespace } from "./ours.ts";
import {
  deriving,
  stepAesInfo,
  stepAesInfoLength,
  stepCommitment,
  stepContext,
  stepFrameLength,
  stepMessageId,
  stepRsaKey,
  stepSizes,
  stepTag,
  stepWrapped,
} from "./steps-ours.ts";

const sizes = stepSizes;
const SUITE = 0x0478;

interface WrappedKey {
  readonly rawInfo?: Uint8Array;
  readonly encryptedDataKey: Uint8Array;
}
interface Keyring {
  onEncrypt(material: object): Promise<{ readonly encryptedDataKeys: readonly WrappedKey[] }>;
  onDecrypt(
    material: object,
    keys: readonly WrappedKey[],
  ): Promise<{ getUnencryptedDataKey(): KeyObjectLike | Uint8Array }>;
}
interface KeyObjectLike {
  export(): Uint8Array;
}
interface Material {
  setUnencryptedDataKey(key: Uint8Array, trace: object): this;
}
interface Sdk {
  readonly NodeAlgorithmSuite: new (id: number) => object;
  readonly NodeEncryptionMaterial: new (suite: object, context: object) => Material;
  readonly NodeDecryptionMaterial: new (suite: object, context: object) => object;
  readonly EncryptedDataKey: new (parts: object) => WrappedKey;
  readonly KeyringTraceFlag: { readonly WRAPPING_KEY_GENERATED_DATA_KEY: number };
  readonly RawAesKeyringNode: new (options: object) => Keyring;
  readonly RawRsaKeyringNode: new (options: object) => Keyring;
  readonly RawAesWrappingSuiteIdentifier: { readonly AES256_GCM_IV12_TAG16_NO_PADDING: unknown };
}

const names = { keyNamespace: benchNamespace, keyName: benchKeyName };

async function wrapping(keyringOf: (sdk: Sdk) => Keyring, infoLength: number): Promise<BufferSubject> {
  const sdk = await importPackage<Sdk>("@aws-crypto/client-node");
  const keyring = keyringOf(sdk);
  const suite = new sdk.NodeAlgorithmSuite(SUITE);
  const flags = sdk.KeyringTraceFlag.WRAPPING_KEY_GENERATED_DATA_KEY;
  return {
    async seal(dataKey) {
      const material = new sdk.NodeEncryptionMaterial(suite, stepContext);
      material.setUnencryptedDataKey(Uint8Array.from(dataKey), { ...names, flags }); // it takes ownership
      const [wrapped] = (await keyring.onEncrypt(material)).encryptedDataKeys;
      if (wrapped === undefined) throw new Error("nothing was wrapped");
      return infoLength === 0
        ? wrapped.encryptedDataKey
        : concatBytes([wrapped.rawInfo ?? new Uint8Array(0), wrapped.encryptedDataKey]);
    },
    async open(sealed) {
      const wrapped = new sdk.EncryptedDataKey({
        providerId: benchNamespace,
        providerInfo: benchKeyName,
        ...(infoLength === 0 ? {} : { rawInfo: sealed.subarray(0, infoLength) }),
        encryptedDataKey: sealed.subarray(infoLength),
      });
      const material = await keyring.onDecrypt(new sdk.NodeDecryptionMaterial(suite, stepContext), [wrapped]);
      const key = material.getUnencryptedDataKey();
      return isBytes(key) ? key : key.export();
    },
  };
}

export const aesWrap: Adaptor<BufferSubject> = {
  format: "data key wrapped by AES",
  sizes,
  create: () =>
    wrapping(
      ({ RawAesKeyringNode, RawAesWrappingSuiteIdentifier: suites }) =>
        new RawAesKeyringNode({
          ...names,
          unencryptedMasterKey: Uint8Array.from(benchKey),
          wrappingSuite: suites.AES256_GCM_IV12_TAG16_NO_PADDING,
        }),
      stepAesInfoLength,
    ),
};

export const rsaWrap: Adaptor<BufferSubject> = {
  format: "data key wrapped by RSA",
  sizes,
  async create(options) {
    const { publicKey, privateKey } = stepRsaKey(options);
    // It takes text only, and parses it on every call.
    const rsaKey = {
      publicKey: publicKey.export({ type: "spki", format: "pem" }),
      privateKey: privateKey.export({ type: "pkcs8", format: "pem" }),
    };
    return wrapping(
      ({ RawRsaKeyringNode }) => new RawRsaKeyringNode({ ...names, rsaKey, oaepHash: "sha256" }),
      0,
    );
  },
};

interface Serialize {
  serializeFactory(
    fromUtf8: (text: string) => Uint8Array,
    sorting: object,
  ): {
    buildMessageHeader(parts: object): object;
    serializeMessageHeader(header: object): Uint8Array;
  };
  serializeMessageHeaderAuth(parts: object): Uint8Array;
  deserializeFactory(
    toUtf8: (bytes: Uint8Array) => string,
    suite: unknown,
  ): {
    deserializeMessageHeader(
      bytes: Uint8Array,
      options: object,
    ): { readonly messageHeader: { readonly messageId: Uint8Array } } | false;
  };
}

export const header: Adaptor<BufferSubject> = {
  format: "header",
  sizes,
  async create() {
    const sdk = await importPackage<Sdk>("@aws-crypto/client-node");
    const lib = await importPackage<Serialize>("@aws-crypto/serialize");
    const fromUtf8 = (text: string): Uint8Array => Buffer.from(text, "utf8");
    const toUtf8 = (bytes: Uint8Array): string =>
      Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
    const { buildMessageHeader, serializeMessageHeader } = lib.serializeFactory(fromUtf8, {
      utf8Sorting: true,
    });
    const { deserializeMessageHeader } = lib.deserializeFactory(toUtf8, sdk.NodeAlgorithmSuite);
    const suite = new sdk.NodeAlgorithmSuite(SUITE);
    const encryptedDataKeys = [
      new sdk.EncryptedDataKey({
        providerId: benchNamespace,
        providerInfo: benchKeyName,
        rawInfo: concatBytes([stepAesInfo, new Uint8Array(12)]),
        encryptedDataKey: stepWrapped,
      }),
    ];
    return {
      seal(messageId) {
        const messageHeader = buildMessageHeader({
          suite,
          messageId,
          encryptionContext: stepContext,
          encryptedDataKeys,
          frameLength: stepFrameLength,
          suiteData: stepCommitment,
        });
        const auth = lib.serializeMessageHeaderAuth({ headerAuthTag: stepTag, messageHeader });
        return concatBytes([serializeMessageHeader(messageHeader), auth]);
      },
      open(bytes) {
        const parsed = deserializeMessageHeader(bytes, { maxEncryptedDataKeys: false });
        if (parsed === false) throw new Error("not a whole header");
        return parsed.messageHeader.messageId;
      },
    };
  },
};

interface Hkdf {
  HKDF(hash: string): (key: Uint8Array, salt: Uint8Array) => (length: number, info: Uint8Array) => Uint8Array;
}

export const derive: Adaptor<BufferSubject> = {
  format: "derived keys",
  sizes,
  async create() {
    const { HKDF } = await importPackage<Hkdf>("@aws-crypto/hkdf-node");
    const extract = HKDF("sha512");
    const keyInfo = Buffer.from("\u0004xDERIVEKEY", "latin1");
    const commitInfo = Buffer.from("COMMITKEY", "latin1");
    return deriving((dataKey) => {
      const expand = extract(dataKey, stepMessageId);
      return concatBytes([expand(32, keyInfo), expand(32, commitInfo)]);
    });
  },
};
