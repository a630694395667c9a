// The footer of signing suites: 2-byte length and a DER signature.
import { ByteWriter } from "../bytes.ts";
import { FramesealError } from "../errors.ts";
import { MAX_SIGNATURE_LENGTH } from "./limits.ts";

/** Encodes a signature as footer. */
export function encodeFooter(signature: Uint8Array): Uint8Array {
  return new ByteWriter().uint16(signature.length).bytes(signature).finish();
}

/**
 * Reads the length field at the start of `footer` (2 bytes at least).
 * @throws FramesealError LIMIT_EXCEEDED for a length no signature has
 */
export function signatureLengthOf(footer: Uint8Array): number {
  const length = ((footer[0] ?? 0) << 8) | (footer[1] ?? 0);
  if (length > MAX_SIGNATURE_LENGTH)
    throw new FramesealError(
      "LIMIT_EXCEEDED",
      `signature of ${length} bytes is longer than ${MAX_SIGNATURE_LENGTH}`,
    );
  return length;
}
