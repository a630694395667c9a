// The steps of a message besides its body, one by one: wrapping a data key, deriving keys, the header. The "plaintext"
// of each is 32 bytes: the data key, or the message id of a header.
import { createPrivateKey, createPublicKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { concatBytes } from "#frameseal/bytes.js";
import type { EncryptionContext } from "#frameseal/format/encryption-context.js";
import { encodeHeader, encodeHeaderBody, parseHeader } from "#frameseal/format/header.js";
import { DEFAULT_COMMITMENT_POLICY, suiteById } from "#frameseal/format/suite.js";
import type { DataKeyRequest, Keyring } from "#frameseal/keyring/keyring.js";
import { RawRsaKeyring } from "#frameseal/keyring/raw-rsa-keyring.js";
import { deriveKeys } from "#frameseal/message/derive-keys.js";
import { Absent, type Adaptor, type BufferSubject, type TrialOptions } from "../adaptor.ts";
import { agreementBytes, mustBeEqual } from "../workloads/source.ts";
import { benchKeyName, benchKeyring, benchNamespace } from "./ours.ts";

const STEP_LENGTH = 32;
export const stepSizes = (): readonly number[] => [STEP_LENGTH];
export const stepContext: EncryptionContext = { purpose: "bench", tenant: "0815", "document id": "4711" };
export const stepFrameLength = 65_536;
/** In a header: the wrapped data key, and what follows from it. */
export const stepWrapped: Uint8Array = new Uint8Array(48).fill(5);
export const stepCommitment: Uint8Array = new Uint8Array(32).fill(6);
export const stepTag: Uint8Array = new Uint8Array(16).fill(7);
/** Key name ‖ tag length in bits ‖ nonce length: before the nonce in what a raw AES keyring stores beside the key. */
export const stepAesInfo: Uint8Array = concatBytes([
  Buffer.from(benchKeyName),
  Uint8Array.of(0, 0, 0, 128, 0, 0, 0, 12),
]);
export const stepAesInfoLength: number = stepAesInfo.length + 12;

const suite = suiteById(0x0478);
const request: DataKeyRequest = {
  suite,
  commitmentPolicy: DEFAULT_COMMITMENT_POLICY,
  encryptionContext: stepContext,
};

/** The RSA key of a trial. */
export function stepRsaKey({ place }: TrialOptions) {
  if (place === undefined) throw new Absent("no RSA key");
  const pem = readFileSync(place, "utf8");
  return { publicKey: createPublicKey(pem), privateKey: createPrivateKey(pem) };
}

/** One wrapped key as the bytes that differ between messages. */
function wrapping(keyring: Keyring, infoLength: number): BufferSubject {
  const fixedInfo = Buffer.from(benchKeyName);
  return {
    async seal(dataKey) {
      const [wrapped] = await keyring.wrapDataKey(dataKey, request);
      if (wrapped === undefined) throw new Error("internal error: nothing was wrapped");
      return infoLength === 0 ? wrapped.ciphertext : concatBytes([wrapped.providerInfo, wrapped.ciphertext]);
    },
    async open(sealed) {
      const providerInfo = infoLength === 0 ? fixedInfo : sealed.subarray(0, infoLength);
      const ciphertext = sealed.subarray(infoLength);
      const dataKey = await keyring.unwrapDataKey(
        [{ providerId: benchNamespace, providerInfo, ciphertext }],
        request,
      );
      if (dataKey === null) throw new Error("not unwrapped");
      return dataKey;
    },
  };
}

/** Raw AES keyring. */
export const aesWrap: Adaptor<BufferSubject> = {
  format: "data key wrapped by AES",
  sizes: stepSizes,
  create: async () => wrapping(benchKeyring, stepAesInfoLength),
};

/** Raw RSA keyring, OAEP with SHA-256. */
export const rsaWrap: Adaptor<BufferSubject> = {
  format: "data key wrapped by RSA",
  sizes: stepSizes,
  create: async (options) =>
    wrapping(
      new RawRsaKeyring({
        keyNamespace: benchNamespace,
        keyName: benchKeyName,
        padding: "OAEP-SHA-256",
        ...stepRsaKey(options),
      }),
      0,
    ),
};

/** A header of version 2 with three pairs of context and one wrapped key. */
export const header: Adaptor<BufferSubject> = {
  format: "header",
  sizes: stepSizes,
  async create() {
    const providerInfo = concatBytes([stepAesInfo, new Uint8Array(12)]);
    const nonce = new Uint8Array(0);
    return {
      seal(messageId) {
        const body = encodeHeaderBody({
          version: 2,
          suite,
          messageId,
          encryptionContext: stepContext,
          encryptedDataKeys: [{ providerId: benchNamespace, providerInfo, ciphertext: stepWrapped }],
          contentType: "framed",
          frameLength: stepFrameLength,
          commitment: stepCommitment,
        });
        return encodeHeader(2, body, nonce, stepTag);
      },
      open: (bytes) => parseHeader(bytes).messageId,
    };
  },
};

export const stepMessageId: Uint8Array = new Uint8Array(32).fill(1);

/** A subject that derives message key ‖ commitment from a data key; nothing can be opened there, so it is compared. */
export function deriving(derive: BufferSubject["seal"]): BufferSubject {
  const dataKey = agreementBytes(STEP_LENGTH);
  return {
    seal: derive,
    async open(derived) {
      mustBeEqual(derived, await derive(dataKey));
      return dataKey;
    },
  };
}

/** HKDF-SHA-512 as the committing suites use it. */
export const derive: Adaptor<BufferSubject> = {
  format: "derived keys",
  sizes: stepSizes,
  create: async () =>
    deriving((dataKey) => {
      const keys = deriveKeys(suite, dataKey, stepMessageId);
      const derived = concatBytes([keys.messageKey(), keys.commitment]);
      keys.dispose();
      return derived;
    }),
};
