// Stores of upload states: those that come with the package keep their promises, and the check of promises finds out
// stores that do not.
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { RawAesKeyring } from "../../../src/index.ts";
import {
  encryptS3Client,
  fileMultipartStates,
  type MultipartState,
  type MultipartStateStore,
  type SqliteDatabase,
  sqliteMultipartStates,
} from "../../../src/s3.ts";
import { checkMultipartStateStore } from "../../../src/testing.ts";
import { memoryStates, stateOf } from "../../support/multipart-states.ts";
import { openDatabase, sqliteModules } from "../../support/sqlite.ts";

const folder = mkdtempSync(path.join(tmpdir(), "frameseal-states-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("files keep what is promised", async () => {
  const place = path.join(folder, "made", "when missing");
  expect((await checkMultipartStateStore(() => fileMultipartStates(place))).length).toBeGreaterThan(7);
  expect(readdirSync(place)).toEqual([]);
});

test.each(sqliteModules)("SQLite by %s keeps what is promised", async (module) => {
  const databases: SqliteDatabase[] = [];
  const open = async () => {
    const database = await openDatabase(module, path.join(folder, `${module}.db`.replaceAll(":", "-")));
    databases.push(database);
    return sqliteMultipartStates(database);
  };
  expect((await checkMultipartStateStore(open)).length).toBeGreaterThan(7);
  expect(Object.values(databases[0]?.prepare("PRAGMA synchronous").get() as object)).toEqual([2]);
});

test("a store in memory keeps what is promised", async () => {
  const store = memoryStates();
  await checkMultipartStateStore(() => store);
});

const good = memoryStates();
const broken: Record<string, MultipartStateStore> = {
  "only overwrites": {
    ...good,
    async compareAndSwap(uploadId, state) {
      good.states.set(uploadId, JSON.stringify(state));
      return true;
    },
  },
  "compares before others have written": {
    ...good,
    async compareAndSwap(uploadId, state, expected) {
      const known = await good.load(uploadId);
      await new Promise(setImmediate);
      if (known?.revision !== expected) return false;
      good.states.set(uploadId, JSON.stringify(state));
      return true;
    },
  },
  "never tells": {
    ...good,
    async compareAndSwap(uploadId, state, expected) {
      await good.compareAndSwap(uploadId, state, expected);
      return undefined as unknown as boolean;
    },
  },
  "swaps where nothing is": {
    ...good,
    async compareAndSwap(uploadId, state, expected) {
      return good.compareAndSwap(uploadId, state, good.states.has(uploadId) ? expected : undefined);
    },
  },
  "never forgets": { ...good, async remove() {} },
};
test.each(Object.keys(broken))("a store that %s is found out", async (name) => {
  good.states.clear();
  await expect(checkMultipartStateStore(() => broken[name] as MultipartStateStore)).rejects.toThrow(
    /violates/,
  );
});

test("what only overwrites, as stores of earlier versions did, is refused before anything is encrypted", () => {
  const keyring = new RawAesKeyring({
    keyNamespace: "n",
    keyName: "k",
    wrappingKey: new Uint8Array(32).fill(1),
  });
  const client = { config: {}, middlewareStack: { clone: () => ({}) }, send() {} };
  const old = { load: async () => undefined, save: async () => {}, remove: async () => {} };
  for (const store of [old, null, {}, new Map()])
    expect(() =>
      encryptS3Client(client, { keyring, multipartStates: store as unknown as MultipartStateStore }),
    ).toThrow(/"multipartStates" expected a/);
  for (const wrong of [undefined, "", 7])
    expect(() => fileMultipartStates(wrong as unknown as string)).toThrow(TypeError);
  for (const wrong of [undefined, null, "", { exec() {} }])
    expect(() => sqliteMultipartStates(wrong as unknown as SqliteDatabase)).toThrow(TypeError);
});

test("files: nobody else may read them, what a killed process left disturbs nobody, damage is told", async () => {
  const place = path.join(folder, "files");
  const store = fileMultipartStates(place);
  const id = "../upload";
  expect(await store.compareAndSwap(id, stateOf(id, 7), undefined)).toBe(true);
  const upload = path.join(place, readdirSync(place)[0] ?? "");
  expect(statSync(upload).mode & 0o77).toBe(0);
  expect(statSync(path.join(upload, "7")).mode & 0o77).toBe(0);
  // Half a new revision, and half an upload.
  writeFileSync(path.join(upload, ".cut off"), '{"version":');
  writeFileSync(path.join(place, ".cut off"), "");
  expect((await store.load(id))?.revision).toBe(7);
  expect(await store.compareAndSwap(id, stateOf(id, 8), 7)).toBe(true);
  expect(readFileSync(path.join(upload, "7"), "utf8")).toBe("");
  // Killed before the older revision was emptied; and a revision that was emptied long ago is not taken for the newest.
  writeFileSync(path.join(upload, "7"), JSON.stringify(stateOf(id, 7)));
  expect((await store.load(id))?.revision).toBe(8);
  expect(await store.compareAndSwap(id, stateOf(id, 8), 7)).toBe(false);
  writeFileSync(path.join(upload, "8"), '{"version":');
  await expect(store.load(id)).rejects.toMatchObject({ code: "TRUNCATED" });
  await store.remove(id);
  expect(await store.load(id)).toBeUndefined();
});

test.each(["files", ...sqliteModules])("%s: counting together loses nothing", async (kind) => {
  const name = `together ${kind.replaceAll(":", "-")}`;
  const open = async (): Promise<MultipartStateStore> =>
    kind === "files"
      ? fileMultipartStates(path.join(folder, name))
      : sqliteMultipartStates(await openDatabase(kind, path.join(folder, `${name}.db`)));
  const id = "together";
  await (await open()).compareAndSwap(id, stateOf(id, 1), undefined);
  const won: number[] = [];
  const count = async (store: MultipartStateStore): Promise<void> => {
    while (won.length < 60) {
      const { revision } = (await store.load(id)) as MultipartState;
      if (await store.compareAndSwap(id, stateOf(id, revision + 1), revision)) won.push(revision + 1);
    }
  };
  await Promise.all([count(await open()), count(await open()), count(await open())]);
  expect(won.sort((a, b) => a - b)).toEqual(won.map((_, index) => index + 2));
});
