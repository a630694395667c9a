// Small things that keyrings written for the peer import from it.

/** Throws an error with `message` unless `condition` holds. */
export function needs(
  condition: unknown,
  message: string,
  ErrorClass: new (message: string) => Error = Error,
): asserts condition {
  if (!condition) throw new ErrorClass(message);
}

/** The peer's error for what it does not support; this package throws FramesealError UNSUPPORTED instead. */
export class NotSupported extends Error {
  readonly code = "NOT_SUPPORTED";
}

/** What a keyring did, as bits of `flags` in a trace. */
export const KeyringTraceFlag = Object.freeze({
  WRAPPING_KEY_GENERATED_DATA_KEY: 1,
  WRAPPING_KEY_ENCRYPTED_DATA_KEY: 2,
  WRAPPING_KEY_DECRYPTED_DATA_KEY: 4,
  WRAPPING_KEY_SIGNED_ENC_CTX: 8,
  WRAPPING_KEY_VERIFIED_ENC_CTX: 16,
  ENCRYPT_FLAGS: 10,
  SET_FLAGS: 5,
  DECRYPT_FLAGS: 20,
} as const);

/** Defines a property that can be neither changed nor deleted. */
export function readOnlyProperty<Target extends object, Key extends PropertyKey, Value>(
  target: Target,
  name: Key,
  value: Value,
): Target & Readonly<Record<Key, Value>> {
  Object.defineProperty(target, name, { value, enumerable: true, writable: false, configurable: false });
  return target as Target & Readonly<Record<Key, Value>>;
}

/** Freezes a class and its prototype. */
export function immutableClass<Class extends abstract new (...args: never[]) => object>(value: Class): Class {
  Object.freeze(value.prototype);
  return Object.freeze(value);
}

/** The hash of OAEP can be chosen on every Node.js that this package runs on. */
export const oaepHashSupported = true;
