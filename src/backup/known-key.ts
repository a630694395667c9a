// Knows a master key again: a journal keeps a data key that was wrapped once, and whoever can unwrap it has that key. The
// name alone would prove nothing of raw AES keys, which take any name; what wraps and cannot unwrap has only its name.
import { createHash } from "node:crypto";
import { equalConstantTime, wipe } from "../bytes.ts";
import { throwIfAborted } from "../errors.ts";
import type { EncryptedDataKey } from "../format/encrypted-data-key.ts";
import { DEFAULT_COMMITMENT_POLICY, defaultSuite } from "../format/suite.ts";
import type { DataKeyRequest, Keyring } from "../keyring/keyring.ts";
import { takeGeneratedKey, takeUnwrappedKey } from "../keyring/take-data-key.ts";

/** A master key, as a journal remembers it. Nothing of it is secret. */
export interface KnownKey {
  readonly wrapped: readonly {
    readonly providerId: string;
    readonly providerInfo: string;
    readonly ciphertext: string;
  }[];
  /** SHA-256 of the data key, which is used for nothing else. */
  readonly digest: string;
}

function request(signal: AbortSignal): DataKeyRequest {
  return {
    suite: defaultSuite(DEFAULT_COMMITMENT_POLICY),
    commitmentPolicy: DEFAULT_COMMITMENT_POLICY,
    encryptionContext: { purpose: "frameseal known key" },
    signal,
  };
}

/** What to remember of the key of `keyring`; undefined where a key service does not let us. */
export async function rememberKey(keyring: Keyring, signal: AbortSignal): Promise<KnownKey | undefined> {
  try {
    const { dataKey, encryptedDataKeys } = await takeGeneratedKey(keyring, request(signal));
    const digest = digestOf(dataKey);
    wipe(dataKey);
    return { wrapped: encryptedDataKeys.map(encode), digest };
  } catch {
    throwIfAborted(signal);
    return undefined; // what matters more will fail for the same reason, and tell it
  }
}

/** Whether `keyring` has the key that is remembered; false where that cannot be known. */
export async function isKnownKey(keyring: Keyring, known: KnownKey, signal: AbortSignal): Promise<boolean> {
  const digest = await unwrapped(keyring, known, signal);
  if (digest !== undefined) return equalConstantTime(Buffer.from(digest), Buffer.from(known.digest));
  // Public keys are called after their hash, and keys of AWS KMS have ARNs; what raw AES keyrings say is never the same.
  const now = await rememberKey(keyring, signal);
  const namesOf = ({ wrapped }: KnownKey): string =>
    JSON.stringify(wrapped.map(({ providerId, providerInfo }) => [providerId, providerInfo]));
  return now !== undefined && namesOf(now) === namesOf(known);
}

/** The digest of the data key, or undefined where `keyring` does not unwrap it. */
async function unwrapped(
  keyring: Keyring,
  { wrapped }: KnownKey,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    const dataKey = await takeUnwrappedKey(keyring, wrapped.map(decode), request(signal));
    if (dataKey === null) return undefined;
    const digest = digestOf(dataKey);
    wipe(dataKey);
    return digest;
  } catch {
    throwIfAborted(signal);
    return undefined;
  }
}

function digestOf(dataKey: Uint8Array): string {
  return createHash("sha256").update(dataKey).digest("hex");
}

function encode({ providerId, providerInfo, ciphertext }: EncryptedDataKey): KnownKey["wrapped"][number] {
  return {
    providerId,
    providerInfo: Buffer.from(providerInfo).toString("base64"),
    ciphertext: Buffer.from(ciphertext).toString("base64"),
  };
}

function decode({ providerId, providerInfo, ciphertext }: KnownKey["wrapped"][number]): EncryptedDataKey {
  return {
    providerId,
    providerInfo: Uint8Array.from(Buffer.from(providerInfo, "base64")),
    ciphertext: Uint8Array.from(Buffer.from(ciphertext, "base64")),
  };
}
