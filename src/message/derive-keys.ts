// Data key + message id -> message key and commitment. The data key itself encrypts nothing, except in the read-only
// suites without derivation.
import { copySecret, wipe } from "../bytes.ts";
import type { AlgorithmSuite } from "../format/suite.ts";
import { hkdf, hkdfExpand, hkdfExtract } from "../hkdf.ts";

const COMMITKEY = Buffer.from("COMMITKEY", "ascii");
const DERIVEKEY = Buffer.from("DERIVEKEY", "ascii");

/** Keys of one message. The message key is made on demand, after the commitment was compared. */
export interface DerivedKeys {
  /** 32 bytes in committing suites, else empty. */
  readonly commitment: Uint8Array;
  /** Makes the key the engine seals with. The caller wipes it. */
  messageKey(): Uint8Array;
  /** Wipes what is left. Must be called. */
  dispose(): void;
}

/**
 * Derives by HKDF (RFC 5869). Version 2 extracts once with the message id as salt; both outputs fit into one HMAC-SHA-512
 * block, so expanding is a single HMAC. The caller keeps and wipes `dataKey`.
 */
export function deriveKeys(suite: AlgorithmSuite, dataKey: Uint8Array, messageId: Uint8Array): DerivedKeys {
  const id = Buffer.of(suite.id >> 8, suite.id & 0xff);
  if (suite.version === 2) {
    const extracted = hkdfExtract("sha512", messageId, dataKey);
    return {
      commitment: hkdfExpand("sha512", extracted, [COMMITKEY], 32),
      messageKey: () => hkdfExpand("sha512", extracted, [id, DERIVEKEY], 32),
      dispose: () => wipe(extracted),
    };
  }
  const { kdf } = suite;
  const messageKey = (): Uint8Array =>
    kdf === "none" ? copySecret(dataKey) : hkdf(kdf, dataKey, NO_SALT, [id, messageId], suite.keyLength);
  return { commitment: new Uint8Array(0), messageKey, dispose: () => {} };
}
const NO_SALT = new Uint8Array(0);
