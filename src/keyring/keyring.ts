// What a keyring is: it makes data keys, wraps them under wrapping keys, and unwraps them again.
import { type Check, wrong } from "../check-options.ts";
import type { EncryptedDataKey } from "../format/encrypted-data-key.ts";
import type { EncryptionContext } from "../format/encryption-context.ts";
import type { AlgorithmSuite, CommitmentPolicy } from "../format/suite.ts";
import type { SkippedKeys } from "./skipped-keys.ts";

/** What a keyring is told about the message. */
export interface DataKeyRequest {
  readonly suite: AlgorithmSuite;
  readonly commitmentPolicy: CommitmentPolicy;
  /** The full context: stored, required and, for signing suites, with the public key. */
  readonly encryptionContext: EncryptionContext;
  /** When writing: the plaintext length or an upper bound of it, if it is known. */
  readonly plaintextLength?: number;
  readonly signal?: AbortSignal;
  /** When reading: where the keyring may tell why it passes over a key. Shown if no keyring has one. */
  readonly skipped?: SkippedKeys;
}

/**
 * A fresh data key with its wrapped forms. `dataKey` is copied and wiped at once: it must be in memory of its own, or
 * the next message finds zeros, which are refused.
 */
export interface GeneratedDataKey {
  readonly dataKey: Uint8Array;
  readonly encryptedDataKeys: readonly EncryptedDataKey[];
}

/**
 * Implement this to hold keys elsewhere. Keyrings are free of per-message state: many messages use one at a time.
 * `frameseal/testing` has a suite that checks an implementation.
 */
export interface Keyring {
  /** Makes a data key of `request.suite.keyLength` bytes, not all zeros, and wraps it. The caller wipes the key. */
  generateDataKey(request: DataKeyRequest): Promise<GeneratedDataKey>;
  /** Wraps an existing data key, so that keyrings can be combined. Must not keep or change `dataKey`. */
  wrapDataKey(dataKey: Uint8Array, request: DataKeyRequest): Promise<readonly EncryptedDataKey[]>;
  /**
   * Returns the data key, which the caller wipes, or null when none of the entries is addressed to this keyring: then
   * `request.skipped` should be told why, entry by entry. Throws when at least one is addressed to it and none of those
   * can be unwrapped.
   */
  unwrapDataKey(
    encryptedDataKeys: readonly EncryptedDataKey[],
    request: DataKeyRequest,
  ): Promise<Uint8Array | null>;
  /**
   * Told once when a message under a generated or unwrapped key has ended and its plaintext length was not known
   * before; lets a cache count bytes.
   */
  recordUse?(request: DataKeyRequest, plaintextLength: number): void;
}

/** Something that makes and unwraps data keys. */
export const keyringOption: Check = (name, value) => {
  const { generateDataKey, unwrapDataKey } = Object(value) as Readonly<Record<string, unknown>>;
  if (typeof generateDataKey !== "function" || typeof unwrapDataKey !== "function")
    throw wrong(name, "a Keyring", value);
  return value;
};
