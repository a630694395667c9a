// What must not be found: the data keys of messages and objects, and all that follows from them. Written from the standards
// alone, apart from the library: HKDF of RFC 5869, the suites of the AWS Encryption SDK, those of the S3 Encryption Client.
import { createCipheriv, createHmac, hkdfSync } from "node:crypto";

export interface Marker {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** One operation: its data keys and message ids, in any combination. */
export interface Seen {
  readonly dataKeys: readonly Uint8Array[];
  readonly messageIds: readonly Uint8Array[];
  /** Commitments do not stand in anything that the process had in hand, so that they are secret. */
  readonly secretCommitments: boolean;
}

export function markersOf({ dataKeys, messageIds, secretCommitments }: Seen): Marker[] {
  const markers: Marker[] = [];
  const add = (name: string, bytes: Uint8Array): void => void markers.push({ name, bytes });
  const addKey = (name: string, key: Uint8Array): void => {
    add(name, key);
    for (const encoding of ["hex", "base64", "base64url"] as const)
      add(`${name} in ${encoding}`, Buffer.from(Buffer.from(key).toString(encoding).slice(0, 40), "latin1"));
  };
  const addUploadKeys = (ledgerKey: Uint8Array): void => {
    add("ledger key", ledgerKey);
    add("state key", hkdf("sha256", ledgerKey, "", "frameseal upload state", 32));
  };
  for (const dataKey of dataKeys) {
    addKey("data key", dataKey);
    const info = Buffer.concat([
      Buffer.from("frameseal/sse-c/1\0\x06bucket\0\x03key"),
      Buffer.of(0, 0, 0, 1),
    ]);
    addKey("SSE-C key of a master key", hkdf("sha512", dataKey, "", info, 32));
    for (const messageId of messageIds) {
      if (messageId.length === 28 || messageId.length === 32)
        for (const [half, bytes] of halves(extract("sha512", messageId, dataKey)))
          add(`pseudorandom key, ${half} half`, bytes);
      if (messageId.length === 32)
        for (const suite of [0x0478, 0x0578]) {
          const key = hkdf(
            "sha512",
            dataKey,
            messageId,
            Buffer.concat([twoBytes(suite), Buffer.from("DERIVEKEY")]),
            32,
          );
          addKey(`message key of suite ${suite.toString(16)}`, key);
          addUploadKeys(framedLedgerKey(key));
        }
      if (messageId.length === 32 && secretCommitments)
        add("commitment", hkdf("sha512", dataKey, messageId, "COMMITKEY", 32));
      if (messageId.length === 16)
        for (const [suite, hash] of [
          [0x0178, "sha256"],
          [0x0378, "sha384"],
        ] as const)
          addKey(
            `message key of suite ${suite.toString(16)}`,
            hkdf(hash, dataKey, "", Buffer.concat([twoBytes(suite), messageId]), 32),
          );
      if (messageId.length === 28) {
        const suite = twoBytes(0x73);
        addKey(
          "content key",
          hkdf("sha512", dataKey, messageId, Buffer.concat([suite, Buffer.from("DERIVEKEY")]), 32),
        );
        if (secretCommitments)
          add(
            "commitment",
            hkdf("sha512", dataKey, messageId, Buffer.concat([suite, Buffer.from("COMMITKEY")]), 28),
          );
      }
      if (messageId.length === 28 || messageId.length === 12) {
        addUploadKeys(hkdf("sha512", dataKey, messageId, "frameseal part ledger", 32));
        add("key of states", hkdf("sha512", dataKey, messageId, "frameseal upload state", 32));
      }
    }
  }
  return markers;
}

function hkdf(
  hash: string,
  key: Uint8Array,
  salt: Uint8Array | string,
  info: Uint8Array | string,
  length: number,
): Uint8Array {
  return new Uint8Array(hkdfSync(hash, key, salt, info, length));
}

function extract(hash: string, salt: Uint8Array, key: Uint8Array): Uint8Array {
  return createHmac(hash, salt).update(key).digest();
}

function* halves(bytes: Uint8Array): Generator<[string, Uint8Array]> {
  yield ["first", bytes.subarray(0, 32)];
  yield ["second", bytes.subarray(32)];
}

const twoBytes = (value: number): Buffer => Buffer.of(value >> 8, value & 0xff);

/** The key stream under a nonce that no frame has. */
function framedLedgerKey(messageKey: Uint8Array): Uint8Array {
  const cipher = createCipheriv("aes-256-gcm", messageKey, Buffer.alloc(12, 0xff));
  return cipher.update(Buffer.alloc(32));
}
