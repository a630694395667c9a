// ECDSA over a finished digest without an engine that signs: in JavaScript. Loaded only then.
import { p256, p384 } from "@noble/curves/nist.js";
import type { Curve } from "../format/suite.ts";

const curves = { "P-256": p256, "P-384": p384 } as const;

/** Returns a DER signature of exactly `length` bytes. @param privateKey the number, big-endian; the caller wipes it */
export function signDigest(
  curveName: Curve,
  privateKey: Uint8Array,
  digest: Uint8Array,
  length: number,
): Uint8Array {
  const curve = curves[curveName];
  for (;;) {
    // With random bytes beside key and digest (RFC 6979, 3.6), so that each signature is another one.
    const options = { prehash: false, lowS: false, extraEntropy: true } as const;
    const { r, s } = curve.Signature.fromBytes(curve.sign(digest, privateKey, options));
    // (r, s) and (r, n - s) are both valid: one of them nearly always has the commonest length.
    for (const candidate of [s, curve.Point.Fn.neg(s)]) {
      const der = new curve.Signature(r, candidate).toBytes("der");
      if (der.length === length) return der;
    }
  }
}
