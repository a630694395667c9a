// One entry of a header's list of encrypted data keys.
import type { ByteWriter } from "../bytes.ts";
import { MAX_UINT16 } from "./limits.ts";

/** A data key wrapped by one wrapping key. Order in a header is significant: readers try them in order. */
export interface EncryptedDataKey {
  /** Key namespace of a raw keyring, or `aws-kms`. */
  readonly providerId: string;
  /** Which key wrapped it, in the keyring's own encoding. */
  readonly providerInfo: Uint8Array;
  readonly ciphertext: Uint8Array;
}

/**
 * Appends one entry: each field as 2-byte length and bytes.
 * @throws RangeError if a field is longer than 65,535 bytes
 */
export function writeEncryptedDataKey(writer: ByteWriter, key: EncryptedDataKey): void {
  for (const field of [Buffer.from(key.providerId, "utf8"), key.providerInfo, key.ciphertext]) {
    if (field.length > MAX_UINT16)
      throw new RangeError(
        `"encryptedDataKey" expected fields of at most ${MAX_UINT16} bytes, got ${field.length}`,
      );
    writer.uint16(field.length).bytes(field);
  }
}
