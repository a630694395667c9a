// Every speed that was promised, as ratios and figures of named trials.
import { type Claim, Figures, MissingFigure } from "./claims/claim.ts";
import { engineClaims } from "./claims/engine-claims.ts";
import { programClaims } from "./claims/program-claims.ts";
import { streamClaims } from "./claims/stream-claims.ts";
import type { ClaimResult, TrialResult } from "./result.ts";

const claims: readonly Claim[] = [...engineClaims, ...streamClaims, ...programClaims];

/** Names of the trials that all claims need. */
export function trialsOfClaims(): ReadonlySet<string> {
  return new Set(claims.flatMap(({ trials }) => trials));
}

/** All claims, with what a run says of them. */
export function claimsOf(results: readonly TrialResult[]): ClaimResult[] {
  const figures = new Figures(results);
  return claims.map(({ measure, trials: wanted, instead, ...claim }) => {
    const trials = instead !== undefined && !figures.has(wanted) && figures.has(instead) ? instead : wanted;
    try {
      const measured = measure(figures, trials);
      const held = claim.higher ? measured >= claim.bar : measured <= claim.bar;
      return { ...claim, trials, measured, held };
    } catch (error) {
      if (error instanceof MissingFigure) return { ...claim, trials, notRun: error.message };
      throw error;
    }
  });
}
