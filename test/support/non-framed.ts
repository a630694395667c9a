// A message without frames, as other writers make them.
import { createCipheriv, randomBytes } from "node:crypto";
import { nonFramedAad } from "../../src/format/frame.ts";
import { encodeHeader, encodeHeaderBody } from "../../src/format/header.ts";
import { suiteById } from "../../src/format/suite.ts";
import type { EncryptionContext, Keyring } from "../../src/index.ts";
import { deriveKeys } from "../../src/message/derive-keys.ts";

/** Seals `plaintext` whole. */
export async function nonFramedMessage(
  keyring: Keyring,
  plaintext: Uint8Array,
  encryptionContext: EncryptionContext = {},
): Promise<Buffer> {
  const suite = suiteById(0x0478);
  const { dataKey, encryptedDataKeys } = await keyring.generateDataKey({
    suite,
    commitmentPolicy: "REQUIRE_ENCRYPT_REQUIRE_DECRYPT",
    encryptionContext,
  });
  const messageId = new Uint8Array(randomBytes(suite.messageIdLength));
  const derived = deriveKeys(suite, dataKey, messageId);
  const messageKey = derived.messageKey();
  const body = encodeHeaderBody({
    version: 2,
    suite,
    messageId,
    encryptionContext,
    encryptedDataKeys,
    contentType: "non-framed",
    frameLength: 0,
    commitment: derived.commitment,
  });
  const nonce = new Uint8Array(12);
  const header = encodeHeader(2, body, nonce, sealGcm(messageKey, nonce, body, Buffer.alloc(0)));
  const bodyNonce = Buffer.alloc(12);
  bodyNonce[11] = 1;
  const length = Buffer.alloc(8);
  length.writeBigUInt64BE(BigInt(plaintext.length));
  const sealed = sealGcm(messageKey, bodyNonce, nonFramedAad(messageId, plaintext.length), plaintext);
  return Buffer.concat([header, bodyNonce, length, sealed]);
}

/** Ciphertext and tag of AES-256-GCM. */
export function sealGcm(key: Uint8Array, iv: Uint8Array, aad: Uint8Array, bytes: Uint8Array): Buffer {
  const cipher = createCipheriv("aes-256-gcm", key, iv, { authTagLength: 16 });
  cipher.setAAD(aad);
  return Buffer.concat([cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
}
