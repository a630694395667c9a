// A bucket that somebody has tampered with: whatever is done to an object of a run, or to its manifest, is noticed and
// named.
import { createHash } from "node:crypto";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { manifestKey } from "../../src/backup/manifest/place.ts";
import { type VerifyOptions, verifyTree } from "../../src/backup/verify-tree.ts";
import { exitCodeOf } from "../../src/cli/failure.ts";
import { S3Server, type StoredS3Object } from "../support/s3-server.ts";
import {
  KeptReport,
  notes,
  type Place,
  storeTree as put,
  type Tree,
  treePlace,
} from "../support/tree-place.ts";

let server: S3Server;
beforeAll(async () => {
  server = await S3Server.start();
});
afterAll(() => server[Symbol.asyncDispose]());

/** What verifying says, and the exit code that it means. */
async function verify(place: Place, options: VerifyOptions = {}) {
  const report = new KeptReport();
  let exitCode = 0;
  let error: unknown;
  try {
    await verifyTree({ ...place, report }, options);
    if (report.items.some((item) => item.error !== undefined)) exitCode = 4;
    if (report.items.some((item) => item.untrusted === true)) exitCode = 3;
  } catch (thrown) {
    error = thrown;
    exitCode = exitCodeOf(thrown);
  }
  return { report, exitCode, error, untrusted: report.untrusted };
}

const tree: Tree = {
  "a.txt": "first",
  "b.txt": "other",
  "deep/er/c": "x".repeat(200_000),
  "deep/link@": "er/c",
  "empty/": "",
  zero: "",
};
const names = Object.keys(tree);
const latest = { manifest: "latest" } as const;
const objects = (): Map<string, StoredS3Object> => server.buckets.get("b") ?? new Map();

/** Two runs: the second stores every object again, so that there is an older version of each. */
async function twoRuns(place: Place): Promise<Map<string, StoredS3Object>> {
  await put(
    place,
    Object.fromEntries(names.map((name) => [name, name.endsWith("/") ? "" : `old ${tree[name]}`])),
  );
  const old = new Map(objects());
  await put(place, tree);
  return old;
}

/** The same bucket for every test that does not make its own. */
let place: Place;
let old: ReadonlyMap<string, StoredS3Object>;
let whole: ReadonlyMap<string, StoredS3Object>;
beforeAll(async () => {
  server.buckets.clear();
  place = treePlace(server);
  old = await twoRuns(place);
  whole = new Map(objects());
});
function restoreBucket(): void {
  server.buckets.set("b", new Map(whole));
}

test("a bucket that nobody has touched is verified, with and without the manifest", async () => {
  for (const options of [{}, latest, { manifest: 2 }]) {
    restoreBucket();
    const { exitCode, report } = await verify(place, options);
    expect([exitCode, report.warnings]).toEqual([0, []]);
    const verified = report.items.filter(({ type }) => type !== "manifest");
    expect(verified.map(({ key }) => key).toSorted()).toEqual(names.toSorted());
    expect(verified.every(({ action }) => action === "verify")).toBe(true);
  }
});

/** What can be done to one object, from what the bucket held. */
type Deed = (key: string, all: Map<string, StoredS3Object>) => void;
const at = (all: ReadonlyMap<string, StoredS3Object>, key: string): StoredS3Object => {
  const found = all.get(key);
  if (found === undefined) throw new Error(`no object ${key}`);
  return found;
};
const other = (key: string): string => (key === "p/a.txt" ? "p/b.txt" : "p/a.txt");
/** An object with other attributes. */
const unlike = (key: string): string => (/p\/[ab]\./.test(key) ? "p/deep/er/c" : "p/b.txt");
const changed = (object: StoredS3Object, fields: Partial<StoredS3Object>): StoredS3Object => ({
  ...object,
  eTag: `"${createHash("md5")
    .update(fields.body ?? object.body)
    .digest("hex")}"`,
  ...fields,
});
const withHeader = (object: StoredS3Object, header: string, value: string | undefined): StoredS3Object => {
  const headers = { ...object.headers };
  if (value === undefined) delete headers[header];
  else headers[header] = value;
  return { ...object, headers };
};
const flipped = (body: Buffer, position: number): Buffer => {
  const copy = Buffer.from(body);
  copy[position % copy.length] = (copy[position % copy.length] ?? 0) ^ 1;
  return copy;
};
const deeds: Readonly<Record<string, Deed>> = {
  removed: (key, all) => void all.delete(key),
  "replaced by another": (key, all) => void all.set(key, at(whole, other(key))),
  "replaced by an older version of itself": (key, all) => void all.set(key, at(old, key)),
  "bytes of another with its own metadata": (key, all) =>
    void all.set(key, changed(at(whole, key), { body: at(whole, other(key)).body })),
  "metadata of another": (key, all) =>
    void all.set(key, { ...at(whole, key), headers: at(whole, unlike(key)).headers }),
  "the name of a link": (key, all) =>
    void all.set(
      key,
      withHeader(at(whole, key), "x-amz-meta-type", key.endsWith("@") ? undefined : "symlink"),
    ),
  "another mode": (key, all) => void all.set(key, withHeader(at(whole, key), "x-amz-meta-mode", "4755")),
  "no time": (key, all) => void all.set(key, withHeader(at(whole, key), "x-amz-meta-mtime", undefined)),
  truncated: (key, all) =>
    void all.set(key, changed(at(whole, key), { body: at(whole, key).body.subarray(0, -1) })),
  emptied: (key, all) => void all.set(key, changed(at(whole, key), { body: Buffer.alloc(0) })),
  longer: (key, all) =>
    void all.set(
      key,
      changed(at(whole, key), { body: Buffer.concat([at(whole, key).body, Buffer.from("more")]) }),
    ),
  "the first bit": (key, all) =>
    void all.set(key, changed(at(whole, key), { body: flipped(at(whole, key).body, 0) })),
  "a bit in the middle, with the old ETag": (key, all) => {
    const object = at(whole, key);
    all.set(key, { ...object, body: flipped(object.body, object.body.length >> 1) });
  },
  "in clear": (key, all) =>
    void all.set(key, changed(at(whole, key), { body: Buffer.from("in clear"), headers: {} })),
};
/** The folder is the same in both runs. */
const isTheSame = (deed: string, name: string): boolean => deed.includes("older") && name === "empty/";

describe("every object of a run", () => {
  test.each(Object.keys(deeds))("%s", async (deed) => {
    restoreBucket();
    const done = names.filter((name) => !isTheSame(deed, name));
    for (const name of done) deeds[deed]?.(`p/${name}`, objects());
    const { exitCode, untrusted } = await verify(place, latest);
    expect(exitCode).toBe(3);
    const named = untrusted.map((text) => text.split(": ")[0]);
    expect(named.toSorted()).toEqual(done.map((name) => name.replace(/\/$/, "")).toSorted());
  });
});

describe("more than one object", () => {
  beforeEach(() => server.buckets.clear());
  test("two that were swapped are both named", async () => {
    const place = treePlace(server);
    await put(place, tree);
    const [a, b] = [at(objects(), "p/a.txt"), at(objects(), "p/b.txt")];
    objects().set("p/a.txt", b).set("p/b.txt", a);
    const { exitCode, untrusted } = await verify(place, latest);
    expect(exitCode).toBe(3);
    expect(untrusted).toEqual([
      expect.stringMatching(/^a\.txt: .*moved or swapped/),
      expect.stringMatching(/^b\.txt: .*moved or swapped/),
    ]);
    expect((await verify(place)).untrusted).toHaveLength(2);
  });
  test("also where nothing binds them to their names", async () => {
    const place = treePlace(server, undefined, { bind: "none" });
    await put(place, tree);
    const [a, b] = [at(objects(), "p/a.txt"), at(objects(), "p/b.txt")];
    objects().set("p/a.txt", b).set("p/b.txt", a);
    expect((await verify(place)).exitCode).toBe(0); // why there are manifests
    const { exitCode, untrusted } = await verify(place, latest);
    expect([exitCode, untrusted.length]).toEqual([3, 2]);
  });
  test("one that was renamed is missing, and was added", async () => {
    const place = treePlace(server);
    await put(place, tree);
    objects().set("p/deep/d", at(objects(), "p/deep/er/c"));
    objects().delete("p/deep/er/c");
    const { exitCode, untrusted } = await verify(place, latest);
    expect(exitCode).toBe(3);
    expect(untrusted.toSorted()).toEqual([
      expect.stringMatching(/^deep\/d: .*no entry.*moved or swapped/),
      "deep/er/c: it is missing",
    ]);
    expect((await verify(place)).untrusted).toEqual([expect.stringMatching(/^deep\/d: .*moved or swapped/)]);
  });
  test("one that was added, in clear or by somebody with the key, is named", async () => {
    const place = treePlace(server);
    await put(place, tree);
    for (const [client, Key] of [
      [place.plain, "p/0 in clear"],
      [place.client, "p/zz sealed"],
    ] as const)
      await client.send(new place.sdk.PutObjectCommand({ Bucket: "b", Key, Body: "foreign" }));
    const { exitCode, untrusted } = await verify(place, latest);
    expect(exitCode).toBe(3);
    expect(untrusted).toEqual([
      expect.stringMatching(/^0 in clear: .*not encrypted/),
      expect.stringMatching(/^zz sealed: .*somebody who has the key/),
    ]);
    expect((await verify(place)).untrusted).toEqual([expect.stringMatching(/^0 in clear: /)]);
  });
});

describe("manifests", () => {
  beforeEach(() => server.buckets.clear());
  const key = (run: number): string => manifestKey({ bucket: "b", prefix: "p/" }, run);
  async function threeRuns(): Promise<Place> {
    const place = { ...treePlace(server), journal: notes() };
    await put(place, { one: "1" });
    await put(place, { one: "one" });
    await put(place, tree, []);
    objects().delete("p/one");
    return place;
  }
  const manifestDeeds: Readonly<Record<string, readonly [deed: () => void, named: readonly number[]]>> = {
    "the first removed": [() => objects().delete(key(1)), [1]],
    "the second removed": [() => objects().delete(key(2)), [2]],
    "two removed": [() => [1, 2].map((run) => objects().delete(key(run))), [2, 1]],
    "the second is the first": [() => objects().set(key(2), at(objects(), key(1))), [2]],
    "two swapped": [
      () => {
        const [one, two] = [at(objects(), key(1)), at(objects(), key(2))];
        objects().set(key(1), two).set(key(2), one);
      },
      [2, 1],
    ],
    "a bit of the first": [
      () => {
        const object = at(objects(), key(1));
        objects().set(key(1), { ...object, body: flipped(object.body, 400) });
      },
      [1],
    ],
    "the first cut": [
      () => {
        const object = at(objects(), key(1));
        objects().set(key(1), { ...object, body: object.body.subarray(0, -20) });
      },
      [1],
    ],
    "the second an object of the tree": [() => objects().set(key(2), at(objects(), "p/a.txt")), [2]],
  };
  test.each(Object.keys(manifestDeeds))("%s", async (name) => {
    const place = await threeRuns();
    expect((await verify(place, latest)).exitCode).toBe(0);
    const [deed, named] = manifestDeeds[name] ?? [() => {}, []];
    deed();
    const { exitCode, untrusted } = await verify(place, latest);
    expect(exitCode).toBe(3);
    expect(untrusted.map((text) => text.split(": ")[0])).toEqual(named.map((run) => key(run).slice(2)));
  });
  test("one removed is named by a sample too, which reads no others than the newest two", async () => {
    const mine = await threeRuns();
    objects().delete(key(1));
    const { exitCode, untrusted } = await verify(mine, {
      ...latest,
      sample: { seed: "s", size: { share: 0 } },
    });
    expect([exitCode, untrusted]).toEqual([3, [expect.stringMatching(/^\.frameseal\/runs\/00000001: /)]]);
  });
  test("one written anew, by somebody with the key, is another than the next one names", async () => {
    const mine = await threeRuns();
    for (const run of [2, 3]) objects().set(`kept ${run}`, at(objects(), key(run)));
    for (const run of [2, 3]) objects().delete(key(run));
    await put({ ...mine, journal: undefined }, {});
    objects().set(key(3), at(objects(), "kept 3"));
    for (const run of [2, 3]) objects().delete(`kept ${run}`);
    const { exitCode, untrusted } = await verify({ ...mine, journal: undefined }, latest);
    expect([exitCode, untrusted]).toEqual([
      3,
      [expect.stringMatching(/^\.frameseal\/runs\/00000002: .*another one than the run after it/)],
    ]);
  });
  test("the newest removed: the journal knows it", async () => {
    const place = await threeRuns();
    const before = new Map(objects());
    await put(place, tree);
    objects().clear();
    for (const [name, object] of before) objects().set(name, object); // as it was before the run
    const { exitCode, untrusted } = await verify(place, latest);
    expect(exitCode).toBe(3);
    expect(untrusted).toEqual([expect.stringMatching(/^\.frameseal\/runs\/00000004: .*has seen it/)]);
    // Nobody else can know.
    expect((await verify({ ...place, journal: undefined }, latest)).exitCode).toBe(0);
  });
  test.each(["an older one", "one of another prefix", "nothing", "garbage"])(
    "under the newest number %s",
    async (what) => {
      const place = await threeRuns();
      const objectsNow = objects();
      if (what === "an older one") objectsNow.set(key(3), at(objectsNow, key(2)));
      else if (what === "nothing")
        objectsNow.set(key(3), { ...at(objectsNow, key(3)), body: Buffer.alloc(0) });
      else if (what === "garbage")
        objectsNow.set(key(3), changed(at(objectsNow, key(3)), { body: Buffer.alloc(999, 7) }));
      else {
        const elsewhere = treePlace(server, { bucket: "b", prefix: "q/" });
        for (let run = 0; run < 3; run++) await put(elsewhere, {});
        objectsNow.set(key(3), at(objectsNow, manifestKey(elsewhere.address, 3)));
      }
      const { exitCode, error } = await verify(place, latest);
      expect(exitCode).toBe(3);
      expect((error as Error).message).toMatch(/^manifest 3: /);
    },
  );
  test("history written anew under numbers that were removed", async () => {
    const place = await threeRuns();
    for (const run of [1, 2, 3]) objects().delete(key(run));
    const forger = { ...place, journal: undefined };
    for (const entries of [{}, {}, tree]) await put(forger, entries);
    const { exitCode, untrusted } = await verify(place, latest);
    expect(exitCode).toBe(3);
    expect(untrusted).toEqual([expect.stringMatching(/^\.frameseal\/runs\/00000003: .*another one/)]);
  });
  test("none at all, or none of that number", async () => {
    const place = treePlace(server);
    for (const manifest of ["latest", 7] as const)
      expect((await verify(place, { manifest })).exitCode).toBe(3);
    await put(place, tree);
    expect((await verify(place, { manifest: 7 })).exitCode).toBe(3);
  });
});

test("whatever is done at random to some objects of a run, these are named and no others", async () => {
  const random = fc.uniqueArray(
    fc.record({ deed: fc.constantFrom(...Object.keys(deeds)), name: fc.constantFrom(...names) }),
    { maxLength: 3, selector: ({ name }) => name },
  );
  await fc.assert(
    fc.asyncProperty(random, async (steps) => {
      restoreBucket();
      const done = steps.filter(({ deed, name }) => !isTheSame(deed, name));
      for (const { deed, name } of done) deeds[deed]?.(`p/${name}`, objects());
      const { exitCode, untrusted } = await verify(place, latest);
      const named = untrusted.map((text) => text.split(": ")[0]);
      expect(named.toSorted()).toEqual(done.map(({ name }) => name.replace(/\/$/, "")).toSorted());
      expect(exitCode).toBe(done.length > 0 ? 3 : 0);
    }),
    { numRuns: 15 },
  );
});
