// Keys do not stay in memory. A process does operations in all the ways in which they can end; then its whole memory is
// searched for data keys, message keys and what else follows from them: nothing is found, and no garbage collection was
// asked for. A commitment is looked for where it has not become public in a message.
// `npm run test:full`: 1,000 operations in each way, and a search after each.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { nativeKernels } from "../../src/engine/native/addon.ts";
import { FULL } from "../support/full.ts";
import { messageWays } from "./message-ways.ts";
import { objectWays } from "./object-ways.ts";
import { buildProgram, cannotSearch, type Program, type Searched, search } from "./searched-process.ts";

const obstacle = cannotSearch();
const hasAddon = nativeKernels().some(({ works }) => works);
const engines = [...(hasAddon ? ["native"] : []), "node"];
const names = [...Object.keys(messageWays), ...objectWayNames()];
const COUNT = FULL ? Number(process.env.FRAMESEAL_MEMORY_RUNS ?? 1_000) : 1;

describe.skipIf(obstacle !== undefined)(`memory of a process${obstacle ? ` (${obstacle})` : ""}`, () => {
  let program: Program;
  beforeAll(async () => {
    program = await buildProgram();
  });
  afterAll(() => program.remove());

  test.each(engines)(
    "engine %s leaves no key behind, whatever way an operation ends",
    async (engine) => {
      const each = names.map((name) => [name, COUNT] as const);
      const groups = FULL ? each.map((way) => [way]) : [each];
      const seen: Searched[] = [];
      for await (const searched of search(program, { engine, groups, keep: false })) {
        seen.push(searched);
        if (FULL)
          console.log(
            `${engine}, ${searched.ways}: ${searched.markerCount} markers, ${searched.found.length} found`,
          );
      }
      const summary = seen.map(({ ways, found }) => ({ ways: ways.join(), found: [...new Set(found)] }));
      expect(summary.filter(({ found }) => found.length > 0)).toEqual([]);
      expect(seen).toHaveLength(groups.length + 1);
      const idle = seen.filter(({ markerCount }) => markerCount < COUNT).map(({ ways }) => ways.join());
      expect(idle.filter((way) => way !== "encrypt: aborted before")).toEqual([]); // no key is made then
    },
    FULL ? 1_800_000 : 60_000,
  );

  test("what is kept is found: the search finds a key of every operation", async () => {
    const groups = [[["encrypt: success", 20] as const]];
    const found: string[] = [];
    for await (const searched of search(program, { engine: engines[0] as string, groups, keep: true }))
      found.push(...searched.found);
    const messageKeys = found.filter((name) => name.startsWith("message key of suite 478 in "));
    expect(messageKeys.length).toBeGreaterThanOrEqual(20);
  });
});

function objectWayNames(): string[] {
  const server = { client: () => ({}) };
  return Object.keys(objectWays(server as never));
}
