// Making data keys.
import { randomFillSync } from "node:crypto";
import { allocateSecret, wipe } from "../bytes.ts";
import type { DataKeyRequest, GeneratedDataKey, Keyring } from "./keyring.ts";
import { isAllZeros, takeWrappedKeys } from "./take-data-key.ts";

/** Returns a random key in memory of its own, which the caller wipes. */
export function randomDataKey(length: number): Uint8Array {
  const dataKey = randomFillSync(allocateSecret(length));
  if (isAllZeros(dataKey)) throw new Error("internal error: the random generator does not work");
  return dataKey;
}

/** Wraps `dataKey`, of which it takes ownership, with `keyring`. */
export async function generateWith(
  keyring: Keyring,
  dataKey: Uint8Array,
  request: DataKeyRequest,
): Promise<GeneratedDataKey> {
  try {
    return { dataKey, encryptedDataKeys: await takeWrappedKeys(keyring, dataKey, request) };
  } catch (error) {
    wipe(dataKey);
    throw error;
  }
}
