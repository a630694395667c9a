// What raw keyrings share: names of keys, and access to their wrapping keys for the modules of this package that wrap
// in other formats. Not part of the public interface.
import type { KeyObject } from "node:crypto";
import { wipe } from "../bytes.ts";
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
 * Checks what goes into every message beside a wrapped key.
 * @throws TypeError, RangeError; namespaces that start with `aws-kms` belong to AWS KMS
 */
export function checkKeyName({ keyNamespace, keyName }: { keyNamespace: string; keyName: string }): void {
  for (const [name, value] of Object.entries({ keyNamespace, keyName })) {
    if (typeof value !== "string" || value === "")
      throw new TypeError(
        `"${name}" expected a string that is not empty, got ${value === "" ? '""' : typeof value}`,
      );
    const length = Buffer.byteLength(value, "utf8");
    if (Buffer.from(value, "utf8").toString("utf8") !== value)
      throw new TypeError(`"${name}" expected well-formed Unicode`);
    if (length > 65_000) throw new RangeError(`"${name}" expected at most 65000 bytes, got ${length}`);
  }
  if (keyNamespace.startsWith("aws-kms"))
    throw new RangeError(
      `"keyNamespace" expected no name that starts with aws-kms, got ${quote(keyNamespace)}`,
    );
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

/**
 * Copies a material description.
 * @throws TypeError unless it is an object of strings
 */
export function checkMaterialDescription(
  description: Readonly<Record<string, string>> | undefined,
): EncryptionContext {
  for (const [name, value] of Object.entries(description ?? {}))
    if (typeof value !== "string")
      throw new TypeError(`"materialDescription" expected strings, got ${typeof value} for ${quote(name)}`);
  return Object.freeze(Object.assign(Object.create(null), description));
}
