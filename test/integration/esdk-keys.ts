// Sets of keys that both sides hold, to exchange messages of the AWS Encryption SDK.
import { constants, generateKeyPairSync, privateDecrypt, publicEncrypt, randomBytes } from "node:crypto";
import { CreateKeyCommand } from "@aws-sdk/client-kms";
import {
  type Keyring,
  MultiKeyring,
  RawAesKeyring,
  RawRsaKeyring,
  type RsaPadding,
} from "../../src/index.ts";
import { KmsKeyring } from "../../src/kms.ts";
import { kmsClient } from "./programs.ts";

/** A key as the other side is told of it: bytes in base64, RSA in PEM. */
export type PeerKey =
  | { readonly kind: "kms"; readonly keyIds: readonly string[] }
  | { readonly kind: "aes"; readonly namespace: string; readonly name: string; readonly key: string }
  | {
      readonly kind: "rsa";
      readonly namespace: string;
      readonly name: string;
      readonly padding: RsaPadding;
      readonly publicKey: string;
      readonly privateKey: string;
    };

/** The same keys for both sides. */
export interface KeySet {
  readonly name: string;
  readonly keys: readonly PeerKey[];
  readonly keyring: Keyring;
  /** A keyring for each key alone: each must open what all have wrapped. */
  readonly alone: readonly Keyring[];
  /** False where this platform does not unwrap with the padding. */
  readonly readableInNode: boolean;
}

async function createKmsKey(): Promise<string> {
  const { KeyMetadata } = await kmsClient.send(new CreateKeyCommand({}));
  if (KeyMetadata?.Arn === undefined) throw new Error("the service made no key");
  return KeyMetadata.Arn;
}

function kms(keyIds: readonly string[]): [PeerKey, Keyring] {
  const [generatorKeyId, ...others] = keyIds;
  return [{ kind: "kms", keyIds }, new KmsKeyring({ client: kmsClient, generatorKeyId, keyIds: others })];
}
function aes(length: number): [PeerKey, Keyring] {
  const wrappingKey = randomBytes(length);
  // ASCII: the Python SDK writes the length of a namespace in characters, so that others cannot parse it.
  const [namespace, name] = ["integration", `aes ${length * 8}`];
  const key = { kind: "aes", namespace, name, key: wrappingKey.toString("base64") } as const;
  return [key, new RawAesKeyring({ keyNamespace: namespace, keyName: name, wrappingKey })];
}
function rsa(padding: RsaPadding): [PeerKey, Keyring] {
  const pair = generateKeyPairSync("rsa", {
    modulusLength: 2048,
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  });
  const [namespace, name] = ["integration", `rsa ${padding}`];
  const key = { kind: "rsa", namespace, name, padding, ...pair } as const;
  return [key, new RawRsaKeyring({ keyNamespace: namespace, keyName: name, ...pair, padding })];
}

function platformUnwrapsPkcs1(): boolean {
  const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const padding = constants.RSA_PKCS1_PADDING;
  const wrapped = publicEncrypt({ key: publicKey, padding }, Buffer.from("key"));
  try {
    privateDecrypt({ key: privateKey, padding }, wrapped);
    return true;
  } catch {
    return false;
  }
}

/** All sets of keys that are exchanged. */
export async function createKeySets(): Promise<readonly KeySet[]> {
  const arns = [await createKmsKey(), await createKmsKey(), await createKmsKey()];
  const only = (keyId: string): Keyring => new KmsKeyring({ client: kmsClient, keyIds: [keyId] });
  const single = (name: string, [key, keyring]: [PeerKey, Keyring], readableInNode = true): KeySet => ({
    name,
    keys: [key],
    keyring,
    alone: [keyring],
    readableInNode,
  });
  const mixed = [kms(arns.slice(0, 2)), aes(32), rsa("OAEP-SHA-256")];
  const [generator, ...children] = mixed.map(([, keyring]) => keyring);
  const reversed = [aes(32), kms(arns.slice(1, 2))];
  const [rawGenerator, ...kmsChildren] = reversed.map(([, keyring]) => keyring);
  return [
    single("KMS, one key", kms(arns.slice(0, 1))),
    { ...single("KMS, three keys", kms(arns)), alone: arns.map(only) },
    ...[16, 24, 32].map((length) => single(`raw AES-${length * 8}`, aes(length))),
    ...(["OAEP-SHA-1", "OAEP-SHA-256", "OAEP-SHA-384", "OAEP-SHA-512"] as const).map((padding) =>
      single(`raw RSA, ${padding}`, rsa(padding)),
    ),
    single("raw RSA, PKCS1", rsa("PKCS1"), platformUnwrapsPkcs1()),
    {
      name: "KMS with two keys, raw AES and raw RSA",
      keys: mixed.map(([key]) => key),
      keyring: new MultiKeyring({ generator, children }),
      alone: [...arns.slice(0, 2).map(only), ...children],
      readableInNode: true,
    },
    {
      name: "raw AES and KMS",
      keys: reversed.map(([key]) => key),
      keyring: new MultiKeyring({ generator: rawGenerator, children: kmsChildren }),
      alone: [rawGenerator, ...kmsChildren].filter((keyring) => keyring !== undefined),
      readableInNode: true,
    },
  ];
}
