// Verifying trees beside what tampering does: versions, samples, names, servers that list in disorder, aborts.
import { PutObjectCommand } from "@aws-sdk/client-s3";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { writeHeader, writeSummary } from "../../src/backup/manifest/format.ts";
import { manifestKey } from "../../src/backup/manifest/place.ts";
import { openManifest } from "../../src/backup/manifest/reader.ts";
import { createKeyNames } from "../../src/backup/names/encrypted-names.ts";
import { chooser } from "../../src/backup/sample.ts";
import { type Line, SortedLines } from "../../src/backup/sorted-lines.ts";
import { isUntrusted } from "../../src/backup/untrusted.ts";
import { type VerifyOptions, verifyTree } from "../../src/backup/verify-tree.ts";
import { exitCodeOf } from "../../src/cli/failure.ts";
import { type ErrorCode, FramesealError } from "../../src/errors.ts";
import { S3Server } from "../support/s3-server.ts";
import { KeptReport, type Place, storeTree, treePlace } from "../support/tree-place.ts";

let server: S3Server;
beforeAll(async () => {
  server = await S3Server.start();
});
afterAll(() => server[Symbol.asyncDispose]());
beforeEach(() => {
  server.buckets.clear();
  server.fault = () => undefined;
  server.calls.length = 0;
});
const latest = { manifest: "latest" } as const;
async function verify(place: Place, options: VerifyOptions = latest): Promise<KeptReport> {
  const report = new KeptReport();
  await verifyTree({ ...place, report }, options);
  return report;
}
const tree = { a: "first", "b/c": "second", "d@": "a", "e/": "" };

test("an object that was encrypted again is what it was", async () => {
  const place = treePlace(server);
  const entries = await storeTree(place, tree);
  const before = new Map(server.buckets.get("b"));
  await storeTree(place, tree);
  const after = server.buckets.get("b") ?? new Map();
  after.delete("p/.frameseal/runs/00000002");
  expect(after.get("p/a")?.eTag).not.toBe(before.get("p/a")?.eTag);
  for (const options of [latest, { ...latest, sample: { seed: "s", size: { share: 0 } } }]) {
    const report = await verify(place, options);
    expect(report.untrusted).toEqual([]);
    expect(report.items.filter(({ action }) => action === "verify")).toHaveLength(entries.length);
  }
});

test("entries that are gone from the source, or stale, are verified too", async () => {
  const place = treePlace(server);
  const entries = await storeTree(place, tree);
  await storeTree(place, {}, [
    ...entries.map((entry) => ({
      ...entry,
      ...(entry.path === "a" ? { gone: true as const } : { stale: true as const }),
    })),
  ]);
  expect((await verify(place)).untrusted).toEqual([]);
  server.buckets.get("b")?.delete("p/a");
  expect((await verify(place)).untrusted).toEqual(["a: it is missing"]);
});

test("without a digest the ETag decides", async () => {
  const place = treePlace(server);
  const entries = await storeTree(place, tree);
  await storeTree(
    place,
    {},
    entries.map((entry) => ({ ...entry, sha256: undefined })),
  );
  expect((await verify(place)).untrusted).toEqual([]);
  await storeTree(
    place,
    {},
    entries.map((entry) => ({ ...entry, sha256: undefined, eTag: '"other"' })),
  );
  expect((await verify(place)).untrusted).toHaveLength(entries.length);
});

test("instruction files beside objects are no entries; alone they are named", async () => {
  const settings = { format: "s3ec-v3", instructionFiles: "write" } as const;
  const place = treePlace(server, undefined, settings);
  await storeTree(place, { a: "first", "b/c": "second" });
  for (const options of [{}, latest]) {
    const report = await verify(place, options);
    expect(report.untrusted).toEqual([]);
    expect(report.items.filter(({ reason }) => reason === "instruction file").map(({ key }) => key)).toEqual([
      "a.instruction",
      "b/c.instruction",
    ]);
  }
  server.buckets.get("b")?.set("p/0.instruction", server.object("b", "p/a.instruction"));
  for (const options of [{}, latest])
    expect((await verify(place, options)).untrusted).toEqual([expect.stringMatching(/^0\.instruction: /)]);
});

describe("a bucket with versions", () => {
  /** Clients that find the version `v` of an object where it was kept. */
  const versioned = (place: Place): Place => {
    const of = <Client extends Place["client"]>(client: Client): Client =>
      new Proxy(client, {
        get(target, name) {
          if (name !== "send") return Reflect.get(target, name);
          return (command: { input: { Key: string; VersionId?: string } }, ...rest: unknown[]) => {
            const { VersionId, ...input } = command.input;
            if (VersionId === "v") command.input = { ...input, Key: `kept/${input.Key}` };
            return Reflect.apply(target.send, target, [command, ...rest]);
          };
        },
      });
    return { ...place, client: of(place.client), links: of(place.links) };
  };
  async function replaced(): Promise<Place> {
    const place = versioned(treePlace(server, undefined, { bind: "none" }));
    const first = await storeTree(place, { a: "first" });
    await storeTree(
      place,
      {},
      first.map((entry) => ({ ...entry, versionId: "v" })),
    );
    const bucket = server.buckets.get("b");
    bucket?.set("kept/p/a", server.object("b", "p/a"));
    return place;
  }
  test("the newest run names what was replaced, and says that the right version is still there", async () => {
    const place = await replaced();
    await place.client.send(new place.sdk.PutObjectCommand({ Bucket: "b", Key: "p/a", Body: "other" }));
    expect((await verify(place)).untrusted).toEqual([
      expect.stringMatching(
        /^a: it is another version.*version v, which the run has stored, is still there$/,
      ),
    ]);
    server.buckets.get("b")?.delete("p/a");
    expect((await verify(place)).untrusted).toEqual([expect.stringMatching(/^a: it is missing; version v/)]);
    server.buckets.get("b")?.delete("kept/p/a");
    expect((await verify(place)).untrusted).toEqual([
      expect.stringMatching(/is not there, or not authentic, either$/),
    ]);
  });
  test("an older run takes its version, and tells that it was replaced since", async () => {
    const place = await replaced();
    await storeTree(place, { a: "third", b: "new" });
    const report = await verify(place, { manifest: 2 });
    expect(report.untrusted).toEqual([]);
    expect(report.items).toContainEqual(
      expect.objectContaining({ path: "a", reason: "replaced since", versionId: "v" }),
    );
    expect(report.items).toContainEqual(expect.objectContaining({ path: "b", action: "skip" }));
    expect(report.warnings).toEqual([{ text: expect.stringContaining("replaced since"), path: "a" }]);
    server.buckets.get("b")?.delete("kept/p/a");
    expect((await verify(place, { manifest: 2 })).untrusted).toHaveLength(1);
  });
});

describe("hidden names", () => {
  test("are shown as what they hide, and refused when they are none", async () => {
    const names = createKeyNames("flat", new Uint8Array(32).fill(5));
    const place = { ...treePlace(server), names };
    const key = names.keyOf("b/c", "file");
    for (const Key of [`p/${key}`, "p/plain"])
      await place.client.send(new place.sdk.PutObjectCommand({ Bucket: "b", Key, Body: "text" }));
    const report = await verify(place, {});
    expect(report.items.map(({ path, key, untrusted }) => [path, key, untrusted === true]).sort()).toEqual(
      [
        ["b/c", key, false],
        ["plain", "plain", true],
      ].sort(),
    );
  });
});

describe("a server", () => {
  test("that lists in another order changes nothing", async () => {
    const place = treePlace(server);
    const names = [..."zyxwvutsrq"].map((letter, index) => [letter, `text ${index}`]);
    await storeTree(place, Object.fromEntries(names));
    const send = async (command: unknown, ...rest: unknown[]) => {
      const output = await Reflect.apply(place.plain.send, place.plain, [command, ...rest]);
      return { ...output, Contents: output.Contents?.toReversed() };
    };
    const plain = new Proxy(place.plain, {
      get: (target, name) => (name === "send" ? send : Reflect.get(target, name)),
    });
    const report = await verify({ ...place, plain });
    expect([report.untrusted, report.items.length]).toEqual([[], names.length]);
  });
  test("that lists what is not there when it is read is not called untrusted without a manifest", async () => {
    const place = treePlace(server);
    await storeTree(place, { a: "1", b: "2" });
    server.delay = async ({ key }) => {
      if (key === "p/a") server.buckets.get("b")?.delete("p/b");
    };
    const report = await verify({ ...place, queue: { ...place.queue, run: oneAfterTheOther(place) } }, {});
    server.delay = async () => {};
    expect(report.untrusted).toEqual([]);
    expect(report.items.filter(({ error }) => error !== undefined).map(({ path }) => path)).toEqual(["b"]);
  });
  test("that never answers is left when the signal says so", async () => {
    const place = treePlace(server);
    await storeTree(place, tree);
    const stop = new AbortController();
    server.fault = ({ key }) => (key === "p/a" ? { kind: "stall" } : undefined);
    server.delay = async ({ key }) => {
      if (key === "p/a") setImmediate(() => stop.abort(new Error("enough")));
    };
    const queue = {
      ...place.queue,
      run: <Result>(_: unknown, job: (signal: AbortSignal) => Promise<Result>) => job(stop.signal),
    };
    await expect(verify({ ...place, signal: stop.signal, queue })).rejects.toThrow();
    server.delay = async () => {};
  });
});
function oneAfterTheOther({ signal }: Place): Place["queue"]["run"] {
  let last: Promise<unknown> = Promise.resolve();
  return (_, job) => {
    const mine = last.then(() => job(signal));
    last = mine.catch(() => {});
    return mine;
  };
}

describe("a sample", () => {
  const keys = fc.uniqueArray(fc.string(), { maxLength: 50 });
  test("of a count has exactly so many, the same for the same seed", () => {
    fc.assert(
      fc.property(keys, fc.nat(60), fc.string(), (all, count, seed) => {
        const chosen = () => all.filter(chooser({ seed, size: { count } }, all.length));
        expect(chosen()).toHaveLength(Math.min(count, all.length));
        expect(chosen()).toEqual(chosen());
      }),
    );
  });
  test("of a share chooses each object by itself, whatever else there is", () => {
    fc.assert(
      fc.property(keys, fc.double({ min: 0, max: 1, noNaN: true }), fc.string(), (all, share, seed) => {
        const isChosen = chooser({ seed, size: { share } }, all.length);
        const half = all.filter((_, index) => index % 2 === 0);
        expect(half.filter(isChosen)).toEqual(half.filter(chooser({ seed, size: { share } }, half.length)));
        if (share === 0) expect(all.some(isChosen)).toBe(false);
        if (share === 1) expect(all.every(isChosen)).toBe(true);
      }),
    );
  });
  test("is about as large as was asked, and another one for another seed", () => {
    const all = Array.from({ length: 2000 }, (_, index) => `file ${index}`);
    const of = (seed: string) => all.filter(chooser({ seed, size: { share: 0.05 } }, all.length));
    for (const seed of ["a", "b", "c"]) expect(Math.abs(of(seed).length - 100)).toBeLessThan(50);
    expect(of("a")).not.toEqual(of("b"));
  });
});

test("lines are sorted whatever of them fits into memory, and of one key the last counts", () => {
  const line = fc.record({
    key: fc.string({ unit: "grapheme", maxLength: 6 }),
    text: fc.string().map((text) => JSON.stringify(text)),
  });
  fc.assert(
    fc.property(fc.array(line, { maxLength: 200 }), fc.integer({ min: 1, max: 20_000 }), (lines, memory) => {
      const sorted = new SortedLines({ memory });
      for (const { key, text } of lines) sorted.add(key, text);
      const expected = new Map(lines.map(({ key, text }): [string, Line] => [key, { key, text }]));
      const order = [...expected.values()].sort((a, b) =>
        Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)),
      );
      for (let again = 0; again < 2; again++) expect([...sorted.lines()]).toEqual(order);
      sorted.close();
      sorted.close();
    }),
    { numRuns: 60 },
  );
});

test("a folder for lines that is none is told", () => {
  const lines = new SortedLines({ memory: 1, folder: "/nonexistent/folder" });
  expect(() => lines.add("a", "1")).toThrow(expect.objectContaining({ code: "LIMIT_EXCEEDED" }));
});

test("what is untrusted is what the command line exits with 3 for", () => {
  const codes: readonly ErrorCode[] = [
    "AUTHENTICATION_FAILED",
    "TRUNCATED",
    "TRAILING_DATA",
    "INVALID_HEADER",
    "INVALID_METADATA",
    "INVALID_MANIFEST",
    "UNSUPPORTED",
    "POLICY",
    "LIMIT_EXCEEDED",
    "NO_DATA_KEY",
    "KEY_SERVICE",
    "CONTEXT_MISMATCH",
    "NOT_ENCRYPTED",
    "RANGE_NOT_SATISFIABLE",
    "ENGINE_UNAVAILABLE",
    "NETWORK",
    "NOT_DURABLE",
    "ABORTED",
  ];
  for (const code of codes) {
    const error = new FramesealError(code, "text");
    expect(isUntrusted(error), code).toBe(exitCodeOf(error) === 3);
  }
  for (const cause of [
    new FramesealError("KEY_SERVICE", "no answer"),
    new FramesealError("NO_DATA_KEY", "x", { cause: new FramesealError("NETWORK", "broken") }),
    Object.assign(new Error("refused"), { code: "ECONNREFUSED", syscall: "connect" }),
    new FramesealError("NO_DATA_KEY", "another key"),
  ]) {
    const error = new FramesealError("NO_DATA_KEY", "no key", { cause: new AggregateError([cause]) });
    expect(isUntrusted(error), cause.message).toBe(exitCodeOf(error) === 3);
  }
  expect(isUntrusted(new Error("other"))).toBe(false);
});

test("a manifest that is given up keeps no connection", async () => {
  const place = treePlace(server);
  await storeTree(place, tree);
  for (let again = 0; again < 60; again++) (await openManifest(place, 1)).close();
});

test("runs whose manifests are not there are told, however many they are", async () => {
  const place = treePlace(server);
  await storeTree(place, tree);
  const far = manifestKey(place.address, 99_999_990);
  const manifest = await openManifest(place, 1);
  const { header } = manifest;
  manifest.close();
  const text = [
    writeHeader({ ...header, run: 99_999_990, previous: { run: 99_999_989 } }),
    writeSummary({ entries: 0, bytes: 0, failed: 0 }),
    "",
  ].join("\n");
  await place.sealed.send(new PutObjectCommand({ Bucket: "b", Key: far, Body: text }));
  const { untrusted } = await verify(place);
  expect(untrusted.filter((text) => /^.frameseal/.test(text)).slice(99)).toEqual([
    expect.stringContaining("manifest 99999890: it is not there any more"),
    expect.stringContaining("those of runs 2 to 99999889 are not there any more"),
  ]);
});
