// Access to AWS KMS for the modules of this package that store wrapped keys in other formats (S3 Encryption Client
// objects), through a KMS keyring. Not part of the public interface; knows no AWS types.
import type { EncryptionContext } from "../format/encryption-context.ts";
import type { Keyring } from "./keyring.ts";

/** What one call is told. */
export interface KmsRequest {
  /** Sent to KMS as it is. */
  readonly encryptionContext: EncryptionContext;
  /** Bytes of the data key. */
  readonly keyLength: number;
  readonly signal?: AbortSignal | undefined;
}

/** A data key of KMS. The receiver wipes `dataKey`. */
export interface KmsDataKey {
  readonly dataKey: Uint8Array;
  readonly ciphertext: Uint8Array;
  readonly keyArn: string;
}

/** KMS as a keyring is allowed to use it. */
export interface KmsAccess {
  /**
   * Asks the generator key for a data key. Only that key: formats with one wrapped key have no place for more.
   * @throws FramesealError KEY_SERVICE, NO_DATA_KEY for a keyring without generator, ABORTED
   */
  generateDataKey(request: KmsRequest): Promise<KmsDataKey>;
  /**
   * Unwraps a key that is stored without the name of its wrapping key. A strict keyring tries its key ARNs; a
   * discovery keyring lets KMS find the key, and refuses the answer if its filter does not allow that key.
   * @throws FramesealError KEY_SERVICE, NO_DATA_KEY, ABORTED
   */
  decrypt(ciphertext: Uint8Array, request: KmsRequest): Promise<Uint8Array>;
}

const accesses = new WeakMap<Keyring, KmsAccess>();

/** Remembers how `keyring` reaches KMS. */
export function registerKmsAccess(keyring: Keyring, access: KmsAccess): void {
  accesses.set(keyring, access);
}

/** How `keyring` reaches KMS; undefined unless it is a KMS keyring. */
export function kmsAccessOf(keyring: Keyring): KmsAccess | undefined {
  return accesses.get(keyring);
}
