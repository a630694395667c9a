// Data key + message id -> message key and commitment. The data key itself encrypts nothing, except in the read-only
// suites without derivation.
import { createHmac, hkdfSync } from "node:crypto";
import { allocateSecret, wipe } from "../bytes.ts";
import type { AlgorithmSuite } from "../format/suite.ts";

const COMMITKEY = Buffer.from("COMMITKEY", "ascii");
const DERIVEKEY = Buffer.from("DERIVEKEY", "ascii");
const ONE = Uint8Array.of(1);

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
    const extracted = createHmac("sha512", messageId).update(dataKey).digest();
    const expand = (...info: Uint8Array[]): Uint8Array => {
      const hmac = createHmac("sha512", extracted);
      for (const part of info) hmac.update(part);
      const block = hmac.update(ONE).digest();
      const key = allocateSecret(32);
      key.set(block.subarray(0, 32));
      wipe(block);
      return key;
    };
    return {
      commitment: expand(COMMITKEY),
      messageKey: () => expand(id, DERIVEKEY),
      dispose: () => wipe(extracted),
    };
  }
  const { kdf } = suite;
  const messageKey = (): Uint8Array => {
    if (kdf === "none") return Uint8Array.from(dataKey);
    const info = Buffer.concat([id, messageId]);
    return new Uint8Array(hkdfSync(kdf, dataKey, new Uint8Array(0), info, suite.keyLength));
  };
  return { commitment: new Uint8Array(0), messageKey, dispose: () => {} };
}
