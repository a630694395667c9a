// A journal against plain maps, with kills between its operations: whatever was durable is there afterwards, and what was
// gathered is there up to some moment, never in part.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Journal, RunKind } from "../../../src/backup/journal/journal.ts";
import { openJournal } from "../../../src/backup/journal/open-journal.ts";
import type { MultipartState } from "../../../src/s3/requests/multipart-state.ts";
import { afterKill, identity, newPlace, storedRow, uploadRow } from "./rows.ts";

/** Everything that a journal knows, as one value that can be compared. */
function contentOf(journal: Journal, keys: readonly string[]): unknown {
  return {
    stored: [...journal.allStored()],
    single: keys.map((key) => journal.stored(key)),
    begun: journal.unended(),
    uploads: journal.allUploads(),
    parts: keys.map((key) => journal.parts(key)),
    downloads: journal.allDownloads(),
    done: keys.map((key) => journal.done("rewrap", key)),
    notes: keys.map((key) => journal.note(key)),
    listed: [...journal.allListed()],
    foreign: keys.map((key) => journal.isForeignUpload(key)),
  };
}

class Model {
  stored = new Map<string, ReturnType<typeof storedRow>>();
  begun = new Set<string>();
  uploads = new Map<string, string>();
  parts = new Map<string, number>();
  downloads = new Map<string, number>();
  done = new Map<string, string>();
  notes = new Map<string, string>();
  listed = new Set<string>();
  foreign = new Set<string>();

  content(keys: readonly string[]): unknown {
    return structuredClone({
      stored: sorted(this.stored.keys()).map((key) => this.stored.get(key)),
      single: keys.map((key) => this.stored.get(key)),
      begun: sorted(this.begun),
      uploads: sorted(this.uploads.keys()).map((key) => uploadRow(key, this.uploads.get(key) ?? "")),
      parts: keys.map((key) => partsUpTo(this.parts.get(key) ?? 0)),
      downloads: sorted(this.downloads.keys()).map((key) => downloadRow(key, this.downloads.get(key) ?? 0)),
      done: keys.map((key) => this.done.get(key)),
      notes: keys.map((key) => this.notes.get(key)),
      listed: sorted(this.listed).map((key) => ({ key, eTag: '"l"', size: 7 })),
      foreign: keys.map((key) => this.foreign.has(key)),
    });
  }
}

const sorted = (keys: Iterable<string>): string[] =>
  [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
const partsUpTo = (count: number): unknown[] =>
  Array.from({ length: count }, (_, index) => ({ number: index + 1, eTag: `"${index}"`, sha256: "cd" }));
const downloadRow = (target: string, verified: number) => ({
  target,
  temporary: `${target}.tmp`,
  key: "k",
  eTag: '"d"',
  versionId: undefined,
  verified,
});

interface Step {
  readonly name: keyof typeof steps;
  readonly key: string;
  readonly number: number;
}

/** What one step does to both; true for one that is durable at once. */
const steps = {
  putStored(journal: Journal, model: Model, { key, number }: Step) {
    const row = storedRow(key, { size: number, path: number % 2 === 0 ? key : key.slice(1) });
    journal.putStored(row);
    model.stored.set(key, row);
    return false;
  },
  removeStored(journal: Journal, model: Model, { key }: Step) {
    journal.removeStored(key);
    model.stored.delete(key);
    return false;
  },
  begin(journal: Journal, model: Model, { key }: Step) {
    journal.begin([key, `${key}+`]);
    model.begun.add(key).add(`${key}+`);
    return true;
  },
  end(journal: Journal, model: Model, { key }: Step) {
    journal.end(key);
    model.begun.delete(key);
    return false;
  },
  beginUpload(journal: Journal, model: Model, { key }: Step) {
    journal.beginUpload(uploadRow(key, key));
    model.uploads.set(key, key);
    return true;
  },
  putPart(journal: Journal, model: Model, { key }: Step) {
    const number = (model.parts.get(key) ?? 0) + 1;
    journal.putPart(key, { number, eTag: `"${number - 1}"`, sha256: "cd" });
    model.parts.set(key, number);
    return true;
  },
  endUpload(journal: Journal, model: Model, { key }: Step) {
    journal.endUpload(key);
    model.uploads.delete(key);
    model.parts.delete(key);
    return true;
  },
  putDownload(journal: Journal, model: Model, { key, number }: Step) {
    const isNew = !model.downloads.has(key);
    journal.putDownload(downloadRow(key, number));
    model.downloads.set(key, number);
    return isNew;
  },
  endDownload(journal: Journal, model: Model, { key }: Step) {
    journal.endDownload(key);
    model.downloads.delete(key);
    return true;
  },
  putDone(journal: Journal, model: Model, { key, number }: Step) {
    journal.putDone("rewrap" satisfies RunKind, key, `"${number}"`);
    model.done.set(key, `"${number}"`);
    return false;
  },
  putNote(journal: Journal, model: Model, { key, number }: Step) {
    journal.putNote(key, String(number));
    model.notes.set(key, String(number));
    return true;
  },
  list(journal: Journal, model: Model, { key, number }: Step) {
    if (number % 4 === 0) {
      journal.beginListing();
      model.listed.clear();
    }
    journal.addListed([{ key, eTag: '"l"', size: 7 }]);
    model.listed.add(key);
    return false;
  },
  setForeign(journal: Journal, model: Model, { key }: Step) {
    journal.clearForeignUploads();
    journal.addForeignUploads([key]);
    model.foreign = new Set([key]);
    return false;
  },
  flush(journal: Journal) {
    journal.flush();
    return true;
  },
} satisfies Record<string, (journal: Journal, model: Model, step: Step) => boolean>;

/** Sorted by bytes they stand in another order than by UTF-16; some hold what texts in databases end at. */
const keys = ["p/a", "p/a/", "p/a+", "p/é", "p/\uffee", "p/😀", "p/\0", "p/\0b", "p/ % ' \"", "\n"];

const step = fc.record({
  name: fc.constantFrom(...(Object.keys(steps) as (keyof typeof steps)[])),
  key: fc.constantFrom(...keys),
  number: fc.nat(9),
});

test("a journal holds what a map would, and after a kill what was durable", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(step, { maxLength: 25 }), { minLength: 1, maxLength: 3 }),
      async (rounds) => {
        let file = newPlace();
        let model = new Model();
        for (const round of rounds) {
          const journal = await openJournal({ file, identity });
          // What may be there after a kill, with the model that goes on from there.
          let possible = [structuredClone({ ...model })];
          for (const each of round) {
            const isDurable = steps[each.name](journal, model, each);
            if (isDurable) possible = [];
            possible.push(structuredClone({ ...model }));
          }
          expect(contentOf(journal, keys)).toEqual(model.content(keys));
          const left = afterKill(file);
          journal.close();
          const again = await openJournal({ file: left, identity });
          const found = contentOf(again, keys);
          again.close();
          const models = possible.map((each) => Object.assign(new Model(), each));
          const same = models.find((each) => equal(each.content(keys), found));
          expect(same, "is as it was at some moment after the last durable one").toBeDefined();
          model = same ?? model;
          file = left;
        }
      },
    ),
    { numRuns: 15 },
  );
});

const equal = (a: unknown, b: unknown): boolean => {
  try {
    expect(b).toEqual(a);
    return true;
  } catch {
    return false;
  }
};

test("what was gathered and reached the disk in part is undone, since a kill cut it off", async () => {
  const file = newPlace();
  const journal = await openJournal({ file, identity });
  const names = Array.from({ length: 6000 }, (_, index) => `p/${String(index).padStart(6, "0")}`);
  for (const key of names) journal.putStored(storedRow(key, { path: "x".repeat(2000), size: 1 }));
  journal.flush();
  // More than SQLite keeps in memory.
  for (const key of names) journal.putStored(storedRow(key, { path: "y".repeat(2000), size: 2 }));
  const left = afterKill(file);
  journal.close();
  const again = await openJournal({ file: left, identity });
  const sizes = new Set([...again.allStored()].map(({ size }) => size));
  again.close();
  expect(sizes).toEqual(new Set([1]));
});

describe("states of uploads", () => {
  const state = (revision: number) => ({ revision, version: 2 }) as unknown as MultipartState;

  test("are on disk when they are kept, also with other writes gathered", async () => {
    const file = newPlace();
    const journal = await openJournal({ file, identity });
    journal.putStored(storedRow("p/gathered"));
    expect(await journal.states.compareAndSwap("id", state(1), undefined)).toBe(true);
    journal.putStored(storedRow("p/later"));
    expect(await journal.states.compareAndSwap("id", state(2), 1)).toBe(true);
    expect(await journal.states.compareAndSwap("id", state(2), 1)).toBe(false);
    const left = afterKill(file);
    journal.close();
    const again = await openJournal({ file: left, identity });
    expect(await again.states.load("id")).toEqual(state(2));
    expect(again.stored("p/gathered")).toBeDefined();
    await again.states.remove("id");
    expect(await again.states.load("id")).toBeUndefined();
    again.close();
  });
});

describe("a listing", () => {
  test("is compared with what is stored, page by page, in the order of S3", async () => {
    const journal = await openJournal({ file: newPlace(), identity });
    const name = (index: number): string => `p/${String(index).padStart(5, "0")}`;
    const all = Array.from({ length: 5000 }, (_, index) => index);
    for (const index of all) if (index % 7 !== 0) journal.putStored(storedRow(name(index)));
    journal.beginListing();
    journal.addListed([{ key: "forgotten", eTag: "", size: 0 }]);
    journal.beginListing();
    journal.addListed(
      all.filter((index) => index % 5 !== 0).map((index) => ({ key: name(index), eTag: '"e"', size: index })),
    );
    const extra: string[] = [];
    for await (const { key } of journal.listedNotStored()) {
      extra.push(key);
      journal.putStored(storedRow(key)); // what is written meanwhile disturbs nothing
    }
    const missing: string[] = [];
    for await (const row of journal.storedNotListed()) {
      missing.push(row.key);
      journal.removeStored(row.key);
    }
    expect(extra).toEqual(all.filter((index) => index % 7 === 0 && index % 5 !== 0).map(name));
    expect(missing).toEqual(all.filter((index) => index % 7 !== 0 && index % 5 === 0).map(name));
    expect(journal.listed(name(6))).toEqual({ key: name(6), eTag: '"e"', size: 6 });
    expect([...journal.allStored()].map(({ key }) => key)).toEqual(
      [...journal.allListed()].map(({ key }) => key),
    );
    journal.close();
  });
});
