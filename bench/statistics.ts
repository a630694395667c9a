// What many rounds are reduced to.

/** The value below which `share` (0 to 1) of `values` lie; the nearest one, not between two. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

/** The middle value; of an even number of values the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  const upper = sorted[half] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[half - 1] ?? Number.NaN)) / 2;
}

/** Rates of rounds as a subject's figures. */
export function summary(samples: readonly number[]): {
  median: number;
  best: number;
  worst: number;
  samples: readonly number[];
} {
  return { median: median(samples), best: quantile(samples, 0.9), worst: quantile(samples, 0.1), samples };
}

/**
 * The two-sided probability of ranks as different as these if both runs measured the same thing (Mann and Whitney 1947,
 * normal approximation with continuity correction). 1 when there is too little to tell.
 */
export function mannWhitney(a: readonly number[], b: readonly number[]): number {
  if (a.length < 4 || b.length < 4) return 1;
  let u = 0;
  for (const x of a) for (const y of b) u += x > y ? 1 : x === y ? 0.5 : 0;
  const mean = (a.length * b.length) / 2;
  const deviation = Math.sqrt((a.length * b.length * (a.length + b.length + 1)) / 12);
  const z = Math.max(0, Math.abs(u - mean) - 0.5) / deviation;
  return Math.min(1, 2 * normalTail(z));
}

// The upper tail of the normal distribution. (Abramowitz and Stegun 26.2.17, error below 7.5e-8)
function normalTail(z: number): number {
  const t = 1 / (1 + 0.2316419 * z);
  const series =
    t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  return (series * Math.exp((-z * z) / 2)) / Math.sqrt(2 * Math.PI);
}
