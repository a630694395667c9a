// What raw keyrings share: names of keys, and access to their wrapping keys for the modules of this package that wrap
// in other formats. Not part of the public interface.
import type { KeyObject } from "node:crypto";
import { type Check, describe, text } from "../check-options.ts";
import type { EncryptionContext } from "../format/encryption-context.ts";
import type { Keyring } from "./keyring.ts";

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
