// The order of keys in listings: that of their UTF-8 bytes, which differs from the order of JavaScript's strings where
// surrogates meet the last quarter of the basic plane.

/** Negative when `a` comes first, 0 for the same key. */
export function compareKeys(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at++) {
    const [one, other] = [a.charCodeAt(at), b.charCodeAt(at)];
    if (one !== other) return rank(one) - rank(other);
  }
  return a.length - b.length;
}

// Surrogates stand for characters behind all others.
function rank(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}
