// Keys do not stay in memory. A process does operations in all the ways in which they can end; then its whole memory is
// searched for data keys, message keys and what else follows from them: nothing is found, and no garbage collection was
// asked for. A commitment is looked for where it has not become public in a message.
// `npm run test:full`: 1,000 operations in each way and a search after each, or FRAMESEAL_MEMORY_RUNS operations.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { nativeKernels } from "../../src/engine/native/addon.ts";
import { FULL } from "../support/full.ts";
import { messageWays } from "./message-ways.ts";
import { objectWays } from "./object-ways.ts";
import { buildProgram, cannotSearch, type Program, search } from "./searched-process.ts";

const obstacle = cannotSearch();
const hasAddon = nativeKernels().some(({ works }) => works);
const engines = [...(hasAddon ? ["native"] : []), "node"];
const names = [...Object.keys(messageWays), ...objectWayNames()];
const RUNS = Number(process.env.FRAMESEAL_MEMORY_RUNS ?? 1_000);
/** Objects have three formats, and most other ways up to four forms. */
const countOf = (name: string): number => (FULL ? RUNS : name.startsWith("objects") ? 3 : 4);
/** With many runs, what one way leaves must not be overwritten by those behind it. */
const GROUP = FULL ? (RUNS < 1_000 ? 8 : 1) : names.length;

describe.skipIf(obstacle !== undefined)(`memory of a process${obstacle ? ` (${obstacle})` : ""}`, () => {
  let program: Program;
  beforeAll(async () => {
    program = await buildProgram();
  });
  afterAll(() => program.remove());

  test.each(engines)(
    "engine %s leaves no key behind, whatever way an operation ends",
    async (engine) => {
      const each = names.map((name) => [name, countOf(name)] as const);
      const groups = Array.from({ length: Math.ceil(each.length / GROUP) }, (_, i) =>
        each.slice(i * GROUP, (i + 1) * GROUP),
      );
      const found = new Set<string>();
      const counts = new Map<string, number>();
      let searches = 0;
      for await (const searched of search(program, { engine, groups, keep: false })) {
        searches++;
        for (const each of searched.found) found.add(each);
        if (searched.operationCount > 0)
          for (const [way, count] of searched.markerCounts) counts.set(way, count);
      }
      if (FULL)
        console.log(
          `${engine}: ${RUNS} operations in each of ${names.length} ways, ${searches} searches, ${found.size} found; markers:`,
          Object.fromEntries(counts),
        );
      expect([...found]).toEqual([]);
      expect(searches).toBe(groups.length + 1);
      const idle = names.filter((name) => (counts.get(name) ?? 0) < countOf(name));
      expect(idle).toEqual(["encrypt: aborted before"]); // no key is made then
    },
    FULL ? 3_600_000 : 120_000,
  );

  test("what is kept is found: the search finds a key of every operation", async () => {
    const groups = [[["encrypt: success", 20] as const]];
    const found: string[] = [];
    for await (const searched of search(program, { engine: engines[0] as string, groups, keep: true }))
      found.push(...searched.found);
    const messageKeys = found.filter((name) => name.includes(": message key of suite 478 in "));
    expect(messageKeys.length).toBeGreaterThanOrEqual(20);
  });
});

function objectWayNames(): string[] {
  const server = { client: () => ({}) };
  return Object.keys(objectWays(server as never));
}
