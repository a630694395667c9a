// Multiplication and inversion in the field of GHASH (SP 800-38D, 6.3), in constant time: masks instead of branches, no
// tables. Slow; it runs a few times per message, never per byte.

/**
 * An element of GF(2^128) as four 32-bit words, big-endian. The leftmost bit is the coefficient of x^0, as in the
 * standard.
 */
export type FieldElement = Uint32Array;

/** The neutral element of multiplication: the bit for x^0 alone. */
export function one(): FieldElement {
  return Uint32Array.of(0x80000000, 0, 0, 0);
}

/** Reads 16 bytes. */
export function toElement(bytes: Uint8Array): FieldElement {
  const view = new DataView(bytes.buffer, bytes.byteOffset, 16);
  return Uint32Array.of(view.getUint32(0), view.getUint32(4), view.getUint32(8), view.getUint32(12));
}

/** Writes 16 bytes. */
export function fromElement(element: FieldElement): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  for (const [i, word] of element.entries()) view.setUint32(4 * i, word);
  return bytes;
}

/** x + y, which is also x - y. */
export function add(x: FieldElement, y: FieldElement): FieldElement {
  return x.map((word, i) => word ^ (y[i] ?? 0));
}

/** x · y. SP 800-38D, algorithm 1. */
export function multiply(x: FieldElement, y: FieldElement): FieldElement {
  let [z0, z1, z2, z3] = [0, 0, 0, 0];
  let [v0 = 0, v1 = 0, v2 = 0, v3 = 0] = y;
  for (let word = 0; word < 4; word++) {
    const bits = x[word] ?? 0;
    for (let shift = 31; shift >= 0; shift--) {
      const mask = -((bits >>> shift) & 1);
      z0 ^= v0 & mask;
      z1 ^= v1 & mask;
      z2 ^= v2 & mask;
      z3 ^= v3 & mask;
      const reduction = 0xe1000000 & -(v3 & 1); // x^128 = x^7 + x^2 + x + 1
      v3 = (v3 >>> 1) | (v2 << 31);
      v2 = (v2 >>> 1) | (v1 << 31);
      v1 = (v1 >>> 1) | (v0 << 31);
      v0 = (v0 >>> 1) ^ reduction;
    }
  }
  return Uint32Array.of(z0, z1, z2, z3);
}

/** x to the power of `exponent`, a whole number from 0 to 2^53 - 1. The exponent is public, x is not. */
export function power(x: FieldElement, exponent: number): FieldElement {
  let result = one();
  let square = x;
  for (let rest = exponent; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) result = multiply(result, square);
    square = multiply(square, square);
  }
  return result;
}

/** 1 / x, as x^(2^128 - 2): all bits of the exponent but the lowest are set. The inverse of 0 is 0. */
export function invert(x: FieldElement): FieldElement {
  let result = one();
  let square = x;
  for (let bit = 1; bit < 128; bit++) {
    square = multiply(square, square);
    result = multiply(result, square);
  }
  return result;
}
