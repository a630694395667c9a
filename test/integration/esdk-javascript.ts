// AWS's Encryption SDK for JavaScript, which answers the same questions as the programs do, in this process.
import { constants } from "node:crypto";
import {
  buildClient,
  CommitmentPolicy,
  getClient,
  type KeyringNode,
  KMS,
  KmsKeyringNode,
  MultiKeyringNode,
  RawAesKeyringNode,
  RawAesWrappingSuiteIdentifier,
  RawRsaKeyringNode,
} from "@aws-crypto/client-node";
import manifest from "@aws-crypto/client-node/package.json" with { type: "json" };
import type { PeerKey } from "./esdk-keys.ts";
import type { Esdk } from "./esdk-peers.ts";
import { kmsCredentials, kmsEndpoint, region } from "./programs.ts";

const wrappingSuites = {
  16: RawAesWrappingSuiteIdentifier.AES128_GCM_IV12_TAG16_NO_PADDING,
  24: RawAesWrappingSuiteIdentifier.AES192_GCM_IV12_TAG16_NO_PADDING,
  32: RawAesWrappingSuiteIdentifier.AES256_GCM_IV12_TAG16_NO_PADDING,
};
// Its types do not know `exactOptionalPropertyTypes`.
const clientProvider = getClient(KMS as never, {
  endpoint: kmsEndpoint,
  credentials: kmsCredentials,
  region,
});

function keyringOf(key: PeerKey): KeyringNode {
  if (key.kind === "kms") {
    const [generatorKeyId = "", ...keyIds] = key.keyIds;
    return new KmsKeyringNode({ generatorKeyId, keyIds, clientProvider });
  }
  const names = { keyNamespace: key.namespace, keyName: key.name };
  if (key.kind === "aes") {
    const unencryptedMasterKey = new Uint8Array(Buffer.from(key.key, "base64")); // it refuses keys in shared memory
    const wrappingSuite = wrappingSuites[unencryptedMasterKey.length as keyof typeof wrappingSuites];
    // By default it orders the encryption context by locale.
    return new RawAesKeyringNode({ ...names, unencryptedMasterKey, wrappingSuite, utf8Sorting: true });
  }
  const rsaKey = { publicKey: key.publicKey, privateKey: key.privateKey };
  if (key.padding === "PKCS1")
    return new RawRsaKeyringNode({ ...names, rsaKey, padding: constants.RSA_PKCS1_PADDING });
  const oaepHash = key.padding.replace("OAEP-SHA-", "sha") as "sha1";
  return new RawRsaKeyringNode({ ...names, rsaKey, oaepHash });
}

/** The first key generates, the others wrap. */
function keyring(keys: readonly PeerKey[]): KeyringNode {
  const [generator, ...children] = keys.map(keyringOf);
  if (generator === undefined) throw new Error("no keys");
  return new MultiKeyringNode({ generator, children });
}

const client = (policy: string) => buildClient(CommitmentPolicy[policy as keyof typeof CommitmentPolicy]);

export const javascriptSdk: Esdk = {
  version: async () => manifest.version,
  async encrypt({ policy, keys, suite, context, frameLength, plaintext }) {
    const options = {
      suiteId: suite,
      encryptionContext: context,
      frameLength,
      plaintextLength: plaintext.length,
    };
    const { result } = await client(policy).encrypt(keyring(keys), plaintext, options);
    return result;
  },
  async decrypt({ policy, keys, message }) {
    const { plaintext, messageHeader } = await client(policy).decrypt(keyring(keys), message);
    return { plaintext, context: messageHeader.encryptionContext };
  },
  [Symbol.asyncDispose]: async () => {},
};
