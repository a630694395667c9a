// Which objects of many are read: a share of them, or so many, chosen by a seed. The same seed chooses the same ones.
import { createHash } from "node:crypto";

export interface Sample {
  readonly seed: string;
  /** `share` from 0 to 1, of each object alone; `count` of them all. */
  readonly size: { readonly share: number } | { readonly count: number };
}

/**
 * Returns what tells, for one key after the other, whether it is chosen.
 * @param total keys that will be asked about, in an order that is always the same: of these exactly `count` are chosen
 */
export function chooser({ seed, size }: Sample, total: number): (key: string) => boolean {
  if ("share" in size) return (key) => drawn(seed, key) < size.share;
  let [left, remaining] = [size.count, total];
  // Each with the chance that fills the sample exactly. (Knuth, The Art of Computer Programming 2, 3.4.2, algorithm S)
  return (key) => {
    const chosen = drawn(seed, key) * remaining < left;
    remaining -= 1;
    if (chosen) left -= 1;
    return chosen;
  };
}

/** From 0 to 1, never 1: nobody who does not know the seed knows which it will be. */
function drawn(seed: string, key: string): number {
  return (
    createHash("sha256")
      .update(JSON.stringify([seed, key]))
      .digest()
      .readUIntBE(0, 6) /
    2 ** 48
  );
}
