// How the peer reads options: it ignores names that it does not know, and takes nothing, of whatever kind, for a default.
import type { Check } from "../check-options.ts";

/** The same check for an option of which null, false, 0 and an empty string mean the default, too. */
export function orNothing(check: Check): Check {
  return (name, value) =>
    value === null || value === false || value === 0 || value === "" ? undefined : check(name, value);
}
