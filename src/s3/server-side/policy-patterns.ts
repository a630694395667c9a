// Which of several lists of wildcard patterns can match one text at the same time, decided for all texts of a kind and not
// by examples: the patterns run together as one automaton over the characters that they name and one that stands for all
// others.
import type { Patterns } from "./policy-statements.ts";

/** States, and characters of patterns looked at, beyond which nothing is decided. */
const MAX_STATES = 2000;
const MAX_WORK = 20_000_000;

/** True if `pattern`, in which `*` is any text and `?` any character, matches `text`. */
export function matches(pattern: string, text: string): boolean {
  return isAccepted(pattern, run(pattern, start(pattern), text));
}

/**
 * For every text of a kind, which of `lists` match it, as one string of 0 and 1 for each combination that occurs.
 * @param begin how the texts begin
 * @param rest what follows it: nothing, or any text that is not empty
 * @returns undefined when there are too many combinations to tell
 */
export function combinations(
  lists: readonly Patterns[],
  begin: string,
  rest: "nothing" | "anything",
): ReadonlySet<string> | undefined {
  const patterns = [...new Set(lists.flatMap((list) => list.patterns))];
  const first = patterns.map((pattern) => run(pattern, start(pattern), begin));
  const tell = (positions: readonly bigint[]): string => {
    const matching = new Set(patterns.filter((pattern, at) => isAccepted(pattern, positions[at] ?? 0n)));
    return lists
      .map((list) => (list.patterns.some((one) => matching.has(one)) === (list.kind === "these") ? "1" : "0"))
      .join("");
  };
  if (rest === "nothing") return new Set([tell(first)]);
  const characters: readonly (string | undefined)[] = [...new Set(patterns.join("")), undefined];
  const found = new Set<string>();
  const seen = new Set<string>();
  const open = [first];
  let work = 0;
  for (let positions = open.pop(); positions !== undefined; positions = open.pop()) {
    for (const character of characters) {
      const next = patterns.map((pattern, at) => {
        const from = positions?.[at] ?? 0n;
        if (from === 0n) return from; // cannot match any more
        work += pattern.length;
        return step(pattern, from, character);
      });
      if (work > MAX_WORK) return undefined;
      const name = next.join();
      if (seen.has(name)) continue;
      if (seen.size >= MAX_STATES) return undefined;
      seen.add(name);
      found.add(tell(next));
      open.push(next);
    }
  }
  return found;
}

// Positions in a pattern, as bits: that before its first character is bit 0, that behind its last is accepted.
function start(pattern: string): bigint {
  return skipStars(pattern, 1n);
}

function run(pattern: string, positions: bigint, text: string): bigint {
  let now = positions;
  for (const character of text.split("")) now = step(pattern, now, character);
  return now;
}

// `undefined` is a character that no pattern names.
function step(pattern: string, positions: bigint, character: string | undefined): bigint {
  let next = 0n;
  for (let at = 0; at < pattern.length; at++) {
    if ((positions & (1n << BigInt(at))) === 0n) continue;
    const wanted = pattern[at];
    if (wanted === "*") next |= 1n << BigInt(at);
    else if (wanted === "?" || wanted === character) next |= 1n << BigInt(at + 1);
  }
  return skipStars(pattern, next);
}

function skipStars(pattern: string, positions: bigint): bigint {
  let all = positions;
  for (let at = 0; at < pattern.length; at++)
    if (pattern[at] === "*" && (all & (1n << BigInt(at))) !== 0n) all |= 1n << BigInt(at + 1);
  return all;
}

function isAccepted(pattern: string, positions: bigint): boolean {
  return (positions & (1n << BigInt(pattern.length))) !== 0n;
}
