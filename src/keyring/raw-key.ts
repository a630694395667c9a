// What raw keyrings share: names of keys, and access to their wrapping keys for the modules of this package that wrap
// in other formats. Not part of the public interface.
import type { KeyObject } from "node:crypto";
import { wipe } from "../bytes.ts";
import { type Check, describe, text } from "../check-options.ts";
import type { EncryptionContext } from "../format/encryption-context.ts";
import { quote } from "../quote.ts";
import type { Keyring } from "./keyring.ts";
import { isAllZeros } from "./take-data-key.ts";

/** The wrapping keys of a raw keyring. */
export interface WrappingKeys {
  readonly secretKey?: KeyObject;
  readonly publicKey?: KeyObject;
  readonly privateKey?: KeyObject;
  /** Tells the keys of one owner apart in formats that have no key names. */
  readonly materialDescription: EncryptionContext;
}

const wrappingKeys = new WeakMap<Keyring, WrappingKeys>();

/** Remembers the keys of `keyring`, without making them visible on it. */
export function registerWrappingKeys(keyring: Keyring, keys: WrappingKeys): void {
  wrappingKeys.set(keyring, keys);
}

/** The keys of a raw keyring; undefined for any other keyring. */
export function wrappingKeysOf(keyring: Keyring): WrappingKeys | undefined {
  return wrappingKeys.get(keyring);
}

/**
 * Checks that a secret key is not the zeros of memory that nobody has filled.
 * @throws RangeError
 */
export function checkSecret(name: string, key: KeyObject): void {
  const bytes = key.export();
  const isEmpty = isAllZeros(bytes);
  wipe(bytes);
  if (isEmpty) throw new RangeError(`"${name}" expected a secret key, got all zeros`);
}

/** How errors name a raw keyring. */
export function describeKeyring(
  kind: "AES" | "RSA",
  { keyNamespace, keyName }: { readonly keyNamespace: string; readonly keyName: string },
): string {
  return `raw ${kind} key ${quote(keyName, 60)} of ${quote(keyNamespace, 60)}`;
}

const MAX_NAME_LENGTH = 65_000; // in every message, beside a nonce, in a field of 65,535 bytes

/** What goes into every message beside a wrapped key. */
export const keyNameOption: Check = (name, value) => {
  const checked = text(name, value) as string;
  const length = Buffer.byteLength(checked, "utf8");
  if (length > MAX_NAME_LENGTH)
    throw new RangeError(`"${name}" expected at most ${MAX_NAME_LENGTH} bytes, got ${length}`);
  return checked;
};

/** A name that does not belong to AWS KMS. */
export const keyNamespaceOption: Check = (name, value) => {
  const checked = keyNameOption(name, value) as string;
  if (checked.startsWith("aws-kms"))
    throw new RangeError(`"${name}" expected no name that starts with aws-kms, got ${describe(checked)}`);
  return checked;
};

/** The description of those who give none. */
export const NO_DESCRIPTION: EncryptionContext = Object.freeze(Object.create(null));
