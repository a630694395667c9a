// The same steps with what Node offers: the bare cryptography, without formats around it.
import {
  createCipheriv,
  createDecipheriv,
  hkdfSync,
  privateDecrypt,
  publicEncrypt,
  randomBytes,
  webcrypto,
} from "node:crypto";
import { concatBytes } from "#frameseal/bytes.js";
import { encodeEncryptionContext } from "#frameseal/format/encryption-context.js";
import type { Adaptor, BufferSubject } from "../adaptor.ts";
import { benchKey } from "./ours.ts";
import {
  deriving,
  stepAesInfo,
  stepAesInfoLength,
  stepContext,
  stepMessageId,
  stepRsaKey,
  stepSizes,
} from "./steps-ours.ts";

const sizes = stepSizes;
const aad = encodeEncryptionContext(stepContext);
const KEY_INFO = Buffer.from("\u0004xDERIVEKEY", "latin1");
const COMMIT_INFO = Buffer.from("COMMITKEY", "latin1");

export const aesWrap: Adaptor<BufferSubject> = {
  format: "data key wrapped by AES",
  sizes,
  create: async () => ({
    seal(dataKey) {
      const nonce = randomBytes(12);
      const cipher = createCipheriv("aes-256-gcm", benchKey, nonce).setAAD(aad);
      const ciphertext = cipher.update(dataKey);
      cipher.final();
      return concatBytes([stepAesInfo, nonce, ciphertext, cipher.getAuthTag()]);
    },
    open(sealed) {
      const nonce = sealed.subarray(stepAesInfo.length, stepAesInfoLength);
      const decipher = createDecipheriv("aes-256-gcm", benchKey, nonce)
        .setAAD(aad)
        .setAuthTag(sealed.subarray(-16));
      const dataKey = decipher.update(sealed.subarray(stepAesInfoLength, -16));
      decipher.final();
      return dataKey;
    },
  }),
};

export const rsaWrap: Adaptor<BufferSubject> = {
  format: "data key wrapped by RSA",
  sizes,
  async create(options) {
    const { publicKey, privateKey } = stepRsaKey(options);
    const oaepHash = "sha256";
    return {
      seal: (dataKey) => publicEncrypt({ key: publicKey, oaepHash }, dataKey),
      open: (sealed) => privateDecrypt({ key: privateKey, oaepHash }, sealed),
    };
  },
};

export const derive: Adaptor<BufferSubject> = {
  format: "derived keys",
  sizes,
  create: async () =>
    deriving((dataKey) =>
      concatBytes([
        new Uint8Array(hkdfSync("sha512", dataKey, stepMessageId, KEY_INFO, 32)),
        new Uint8Array(hkdfSync("sha512", dataKey, stepMessageId, COMMIT_INFO, 32)),
      ]),
    ),
};

const { subtle } = webcrypto;

export const webRsaWrap: Adaptor<BufferSubject> = {
  format: "data key wrapped by RSA",
  sizes,
  async create(options) {
    const { publicKey, privateKey } = stepRsaKey(options);
    const algorithm = { name: "RSA-OAEP", hash: "SHA-256" };
    const [spki, pkcs8] = [
      publicKey.export({ type: "spki", format: "der" }),
      privateKey.export({ type: "pkcs8", format: "der" }),
    ];
    const wrapping = await subtle.importKey("spki", spki, algorithm, false, ["encrypt"]);
    const unwrapping = await subtle.importKey("pkcs8", pkcs8, algorithm, false, ["decrypt"]);
    return {
      seal: async (dataKey) => new Uint8Array(await subtle.encrypt(algorithm, wrapping, dataKey)),
      open: async (sealed) => new Uint8Array(await subtle.decrypt(algorithm, unwrapping, sealed)),
    };
  },
};

export const webDerive: Adaptor<BufferSubject> = {
  format: "derived keys",
  sizes,
  async create() {
    const how = (info: Uint8Array) => ({ name: "HKDF", hash: "SHA-512", salt: stepMessageId, info });
    return deriving(async (dataKey) => {
      const key = await subtle.importKey("raw", dataKey, "HKDF", false, ["deriveBits"]);
      const [messageKey, commitment] = await Promise.all([
        subtle.deriveBits(how(KEY_INFO), key, 256),
        subtle.deriveBits(how(COMMIT_INFO), key, 256),
      ]);
      return concatBytes([new Uint8Array(messageKey), new Uint8Array(commitment)]);
    });
  },
};
