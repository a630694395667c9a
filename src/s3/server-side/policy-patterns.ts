// Which of several lists of wildcard patterns can match one text at the same time, decided for all texts of a kind and not
// by examples: the patterns run together as one automaton over the characters that they name and one that stands for all
// others.
import type { Patterns } from "./policy-statements.ts";

/** Steps beyond which nothing is decided. */
const MAX_STEPS = 2_000_000;

/** True if `pattern`, in which `*` is any text and `?` any character, matches `text`. */
export function matches(pattern: string, text: string): boolean {
  return isAccepted(pattern, run(pattern, text));
}

/**
 * For every text of a kind, which of `lists` match it: one string of 0 and 1 for each combination that occurs. The last is
 * undefined when there are too many to find all of them.
 * @param begin how the texts begin
 * @param rest what follows it: nothing, or any text that is not empty
 */
export function* combinations(
  lists: readonly Patterns[],
  begin: string,
  rest: "nothing" | "anything",
): Generator<string | undefined, void, void> {
  const patterns = [...new Set(lists.flatMap((list) => list.patterns))];
  const first = patterns.map((pattern) => run(pattern, begin));
  const tell = (states: readonly Positions[]): string => {
    const matching = new Set(patterns.filter((pattern, at) => isAccepted(pattern, states[at] ?? NOWHERE)));
    return lists
      .map((list) => (list.patterns.some((one) => matching.has(one)) === (list.kind === "these") ? "1" : "0"))
      .join("");
  };
  if (rest === "nothing") return yield tell(first);
  const characters: readonly (string | undefined)[] = [...new Set(patterns.join("")), undefined];
  const found = new Set<string>();
  const seen = new Set<string>();
  const open = [first];
  for (let states = open.pop(), steps = 0; states !== undefined; states = open.pop()) {
    for (const character of characters) {
      const next: Positions[] = [];
      for (const [at, pattern] of patterns.entries()) {
        const from = states[at] ?? NOWHERE;
        steps += from.length;
        next.push(from.length === 0 ? from : step(pattern, from, character));
      }
      const name = next.join(";");
      if (seen.has(name)) continue;
      seen.add(name);
      open.push(next);
      const told = tell(next);
      steps += patterns.length;
      if (steps > MAX_STEPS) return yield undefined;
      if (found.has(told)) continue;
      found.add(told);
      yield told;
    }
  }
}

/** Where in a pattern a text may have come to: before the character of that number, or behind the last. In order. */
type Positions = readonly number[];
const NOWHERE: Positions = [];

function run(pattern: string, text: string): Positions {
  let positions = closed(pattern, [0]);
  for (const character of text.split("")) positions = step(pattern, positions, character);
  return positions;
}

// `undefined` is a character that no pattern names.
function step(pattern: string, positions: Positions, character: string | undefined): Positions {
  const next: number[] = [];
  for (const at of positions) {
    const wanted = pattern[at];
    if (wanted === "*") next.push(at);
    else if (wanted !== undefined && (wanted === "?" || wanted === character)) next.push(at + 1);
  }
  return closed(pattern, next);
}

// A star may stand for no text.
function closed(pattern: string, positions: readonly number[]): Positions {
  const all = new Set(positions);
  for (const at of all) if (pattern[at] === "*") all.add(at + 1);
  return [...all].sort((a, b) => a - b);
}

function isAccepted(pattern: string, positions: Positions): boolean {
  return positions.includes(pattern.length);
}
