// What a raw AES keyring writes beside a wrapped key: name ‖ tag length in bits (4) ‖ nonce length (4) ‖ nonce.
import { asBuffer } from "../bytes.ts";
import { WRAP_NONCE_LENGTH, WRAP_TAG_LENGTH } from "./aes-gcm-wrap.ts";

/** All of it but the nonce. */
export function rawAesInfoPrefix(keyName: string): Buffer {
  return Buffer.concat([Buffer.from(keyName, "utf8"), LENGTHS]);
}

/** The name in it; undefined if no raw AES keyring wrote it. */
export function rawAesKeyName(providerInfo: Uint8Array): string | undefined {
  const at = providerInfo.length - LENGTHS.length - WRAP_NONCE_LENGTH;
  if (at < 1) return undefined;
  const info = asBuffer(providerInfo);
  return info.subarray(at, at + LENGTHS.length).equals(LENGTHS) ? info.toString("utf8", 0, at) : undefined;
}

const LENGTHS = Buffer.alloc(8);
LENGTHS.writeUInt32BE(WRAP_TAG_LENGTH * 8, 0);
LENGTHS.writeUInt32BE(WRAP_NONCE_LENGTH, 4);
