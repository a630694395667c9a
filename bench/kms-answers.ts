// The least that AWS KMS can be: one key that lives as long as the process, two operations, no checks.
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";

/** The only key there is. */
export const benchKmsKeyId = "arn:aws:kms:us-east-1:111122223333:key/11111111-1111-1111-1111-111111111111";

const NONCE_LENGTH = 12;
const TAG_LENGTH = 16;
const wrappingKey = randomBytes(32);

/** What both operations answer; `CiphertextBlob` only where a data key is made. */
export interface KmsAnswer {
  readonly KeyId: string;
  readonly Plaintext: Buffer;
  readonly CiphertextBlob?: Buffer;
}

/** GenerateDataKey; the encryption context is not looked at. */
export function generateDataKey(): KmsAnswer {
  const dataKey = randomBytes(32);
  const nonce = randomBytes(NONCE_LENGTH);
  const cipher = createCipheriv("aes-256-gcm", wrappingKey, nonce);
  const CiphertextBlob = Buffer.concat([nonce, cipher.update(dataKey), cipher.final(), cipher.getAuthTag()]);
  return { KeyId: benchKmsKeyId, Plaintext: dataKey, CiphertextBlob };
}

/** Decrypt. */
export function decryptDataKey(blob: Uint8Array): KmsAnswer {
  const nonce = blob.subarray(0, NONCE_LENGTH);
  const decipher = createDecipheriv("aes-256-gcm", wrappingKey, nonce);
  decipher.setAuthTag(blob.subarray(-TAG_LENGTH));
  const dataKey = Buffer.concat([
    decipher.update(blob.subarray(NONCE_LENGTH, -TAG_LENGTH)),
    decipher.final(),
  ]);
  return { KeyId: benchKmsKeyId, Plaintext: dataKey };
}

/** The answer to a request in JSON whose header X-Amz-Target is `target`, in JSON. */
export function answerKms(target: string, request: string): string {
  const { CiphertextBlob: blob = "" } = JSON.parse(request) as { readonly CiphertextBlob?: string };
  const { KeyId, Plaintext, CiphertextBlob } = target.endsWith(".GenerateDataKey")
    ? generateDataKey()
    : decryptDataKey(Buffer.from(blob, "base64"));
  return JSON.stringify({
    KeyId,
    Plaintext: Plaintext.toString("base64"),
    CiphertextBlob: CiphertextBlob?.toString("base64"),
  });
}
