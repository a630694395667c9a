// The checksums that S3 takes, as the headers `x-amz-checksum-…` hold them.
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";

export const checksumAlgorithms = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"] as const;
export type ChecksumAlgorithm = (typeof checksumAlgorithms)[number];

/** One checksum. */
export interface Checksum {
  readonly algorithm: ChecksumAlgorithm;
  /** Base64. */
  readonly value: string;
}

/** The checksum of `bytes`. */
export function checksumOf(algorithm: ChecksumAlgorithm, bytes: Uint8Array): string {
  if (algorithm === "sha1" || algorithm === "sha256")
    return createHash(algorithm).update(bytes).digest("base64");
  const sum = Buffer.alloc(algorithm === "crc64nvme" ? 8 : 4);
  if (algorithm === "crc32") sum.writeUInt32BE(crc32(bytes));
  else if (algorithm === "crc32c") sum.writeUInt32BE(Number(reflectedCrc(bytes, 0x82f63b78n, 32)));
  else sum.writeBigUInt64BE(reflectedCrc(bytes, 0x9a6c9329ac4bc9b5n, 64));
  return sum.toString("base64");
}

const tables = new Map<bigint, Uint32Array>();

// A table of 256 entries, low and high half of each.
function tableOf(polynomial: bigint): Uint32Array {
  const known = tables.get(polynomial);
  if (known !== undefined) return known;
  const table = new Uint32Array(512);
  for (let byte = 0; byte < 256; byte++) {
    let value = BigInt(byte);
    for (let bit = 0; bit < 8; bit++) value = value & 1n ? (value >> 1n) ^ polynomial : value >> 1n;
    table[2 * byte] = Number(value & 0xffffffffn);
    table[2 * byte + 1] = Number(value >> 32n);
  }
  tables.set(polynomial, table);
  return table;
}

function reflectedCrc(bytes: Uint8Array, polynomial: bigint, bits: 32 | 64): bigint {
  const table = tableOf(polynomial);
  let low = 0xffffffff;
  let high = bits === 64 ? 0xffffffff : 0;
  for (const byte of bytes) {
    const at = 2 * ((low ^ byte) & 0xff);
    low = ((low >>> 8) | (high << 24)) ^ (table[at] ?? 0);
    high = (high >>> 8) ^ (table[at + 1] ?? 0);
  }
  const value = (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
  return value ^ (bits === 64 ? 0xffffffffffffffffn : 0xffffffffn);
}
