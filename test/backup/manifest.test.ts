// Manifests: written last and never over another, read line by line, and refused when they are not exactly what they
// must be.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { compareKeys } from "../../src/backup/key-order.ts";
import {
  type ManifestEntry,
  type ManifestHeader,
  readHeader,
  readLine,
  writeEntry,
  writeHeader,
  writeSummary,
} from "../../src/backup/manifest/format.ts";
import { manifestKey } from "../../src/backup/manifest/place.ts";
import { openManifest, readWhole } from "../../src/backup/manifest/reader.ts";
import { ManifestWriter } from "../../src/backup/manifest/writer.ts";
import { isWellFormed } from "../../src/shapes.ts";
import { S3Server } from "../support/s3-server.ts";
import { notes, treePlace } from "../support/tree-place.ts";

let server: S3Server;
beforeAll(async () => {
  server = await S3Server.start();
});
afterAll(() => server[Symbol.asyncDispose]());
beforeEach(() => {
  server.buckets.clear();
  server.calls.length = 0;
  server.fault = () => undefined;
});

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
const entry = (path: string, more: Partial<ManifestEntry> = {}): ManifestEntry => ({
  path,
  key: path,
  type: "file",
  size: path.length,
  mtimeNs: 1_700_000_000_123_456_789n,
  mode: 0o644,
  uid: 1000,
  gid: 1000,
  sha256: sha256(path),
  eTag: '"e"',
  versionId: undefined,
  gone: undefined,
  stale: undefined,
  hardLinkOf: undefined,
  ...more,
});
type Place = ReturnType<typeof treePlace>;
async function write(place: Place, entries: readonly ManifestEntry[], failed = 0) {
  const writer = await ManifestWriter.create(place, { kind: "put", names: "plain" });
  try {
    for (const each of entries) writer.add(each);
    return await writer.finish({ failed });
  } finally {
    writer.close();
  }
}
async function read(place: Place, which: number | "latest" = "latest") {
  const manifest = await openManifest(place, which);
  const entries: ManifestEntry[] = [];
  for (const reading = manifest.entries(); ; ) {
    const next = await reading.next();
    if (next.done === true) return { ...manifest, ...next.value, entries };
    entries.push(next.value);
  }
}
/** Stores text as the manifest of a run. */
async function store(place: Place, run: number, text: string | Uint8Array): Promise<void> {
  const Key = manifestKey(place.address, run);
  await place.sealed.send(
    new place.sdk.PutObjectCommand({ Bucket: place.address.bucket, Key, Body: Buffer.from(text) }),
  );
}

describe("a manifest that is written", () => {
  test("is read back in the order of its keys, and names the one before", async () => {
    const place = treePlace(server);
    const entries = ["b", "a/ü", "\u{1f600}", "\uffee", "a"].map((path) => entry(path));
    const first = await write(place, [...entries, entry("a", { size: 77 })], 2);
    expect(first).toMatchObject({ run: 1, key: "p/.frameseal/runs/00000001" });
    const back = await read(place);
    expect(back.entries.map(({ path }) => path)).toEqual(["a", "a/ü", "b", "\uffee", "\u{1f600}"]);
    expect(back.entries[0]).toEqual(entry("a", { size: 77 })); // the last that was added
    expect(back.header).toMatchObject({ run: 1, kind: "put", bucket: "b", prefix: "p/", names: "plain" });
    expect(back.header.previous).toBeUndefined();
    expect(back.summary).toEqual({ entries: 5, bytes: 77 + 3 + 1 + 1 + 2, failed: 2 });
    expect([back.sha256, back.eTag]).toEqual([first.sha256, first.eTag]);
    const second = await write(place, []);
    expect((await read(place, 2)).header.previous).toEqual({ run: 1, sha256: first.sha256 });
    expect(second.run).toBe(2);
    expect(server.object("b", first.key).body.includes("\u{1f600}")).toBe(false);
  });

  test("is not read again by a run whose journal remembers it", async () => {
    const place = { ...treePlace(server), journal: notes() };
    const first = await write(place, [entry("a")]);
    server.calls.length = 0;
    await write(place, [entry("a")]);
    expect(server.calls.map(({ method }) => method)).toEqual(["GET", "PUT"]);
    expect(server.calls[0]?.key).toBe("");
    expect((await read(place)).header.previous).toEqual({ run: 1, sha256: first.sha256 });
  });

  test("takes the next number when another run ends meanwhile", async () => {
    const place = treePlace(server);
    const [one, other] = await Promise.all(
      [1, 2].map(() => ManifestWriter.create(place, { kind: "sync", names: "tree" })),
    );
    one?.add(entry("one"));
    other?.add(entry("other"));
    const first = await one?.finish({ failed: 0 });
    const second = await other?.finish({ failed: 0 });
    expect([first?.run, second?.run]).toEqual([1, 2]);
    expect((await read(place, 1)).entries.map(({ path }) => path)).toEqual(["one"]);
    const back = await read(place, 2);
    expect(back.entries.map(({ path }) => path)).toEqual(["other"]);
    expect(back.header.previous).toEqual({ run: 1, sha256: first?.sha256 });
    expect(place.report.warnings[0]?.text).toContain("as run 1");
    for (const each of [one, other]) each?.close();
  });

  test("never replaces another, where the server does not keep the condition either", async () => {
    const place = treePlace(server);
    const start = { kind: "put", names: "plain", existence: "before-writing" } as const;
    const writers = [await ManifestWriter.create(place, start), await ManifestWriter.create(place, start)];
    const runs = [];
    for (const writer of writers) runs.push((await writer.finish({ failed: 0 })).run);
    expect(runs).toEqual([1, 2]);
    expect(server.calls.filter(({ headers }) => headers["if-none-match"] !== undefined)).toEqual([]);
    expect(place.report.warnings[0]?.text).toContain("does not keep the condition");
  });

  test("is written to a server that says only then that it knows no such condition", async () => {
    const place = treePlace(server);
    server.fault = ({ headers }) =>
      headers["if-none-match"] === undefined
        ? undefined
        : { kind: "error", status: 501, code: "NotImplemented" };
    expect([(await write(place, [])).run, (await write(place, [])).run]).toEqual([1, 2]);
    expect(place.report.warnings).toHaveLength(2);
  });

  test("never takes a number again, and tells that the newest was removed", async () => {
    const place = { ...treePlace(server), journal: notes() };
    await write(place, []);
    const second = await write(place, []);
    server.buckets.get("b")?.delete(second.key);
    expect((await write(place, [])).run).toBe(3);
    expect(place.report.warnings).toEqual([
      { text: expect.stringContaining("run 2"), path: ".frameseal/runs/00000002" },
    ]);
    expect((await read(place, 3)).header.previous).toEqual({ run: 2, sha256: second.sha256 });
  });

  test("is written though the one before cannot be read, which is told", async () => {
    const place = treePlace(server);
    await store(place, 1, "no manifest\n");
    await write(place, []);
    expect(place.report.warnings[0]?.text).toContain("cannot be read");
    expect((await read(place, 2)).header.previous).toEqual({ run: 1, sha256: undefined });
  });

  test("of many entries goes up in parts, and memory does not follow it", async () => {
    const place = treePlace(server);
    const writer = await ManifestWriter.create(place, {
      kind: "put",
      names: "plain",
      sort: { memory: 2 ** 20 },
    });
    const count = 40_000;
    // 7919 is prime to the count: each once, in no order.
    for (let index = 0; index < count; index++)
      writer.add(entry(`folder/file ${String((index * 7919) % count).padStart(6, "0")}`));
    const written = await writer.finish({ failed: 0 });
    writer.close();
    expect(server.calls.filter(({ query }) => query.has("partNumber")).length).toBeGreaterThan(0);
    let before = "";
    const manifest = await openManifest(place, "latest");
    let read = 0;
    for await (const { path } of manifest.entries()) {
      expect(path > before).toBe(true);
      before = path;
      read += 1;
    }
    expect([read, written.summary.entries]).toEqual([count, count]);
  });

  test("leaves nothing behind when it cannot be stored", async () => {
    const place = treePlace(server);
    server.fault = (call) =>
      call.method === "PUT" ? { kind: "error", status: 403, code: "AccessDenied" } : undefined;
    await expect(write(place, [entry("a")])).rejects.toMatchObject({ name: "AccessDenied" });
    expect([...(server.buckets.get("b")?.keys() ?? [])]).toEqual([]);
  });
});

const header: ManifestHeader = {
  run: 2,
  kind: "put",
  bucket: "b",
  prefix: "p/",
  names: "plain",
  started: "2026-01-01T00:00:00.000Z",
  ended: "2026-01-01T00:00:01.000Z",
  previous: { run: 1, sha256: sha256("") },
};
const textOf = (...lines: string[]): string => lines.map((line) => `${line}\n`).join("");
const [a, b] = [writeEntry(entry("a")), writeEntry(entry("b"))];
const end = (entries: number, bytes: number): string => writeSummary({ entries, bytes, failed: 0 });

describe("a text that is no manifest", () => {
  const changed = (line: string, from: string | RegExp, to: string): string => {
    expect(line).toMatch(from);
    return line.replace(from, to);
  };
  const head = writeHeader(header);
  const cases: readonly (readonly [name: string, text: string, code?: string])[] = [
    ["nothing", ""],
    ["no line end", head],
    ["no summary", textOf(head, a)],
    ["something behind the summary", textOf(head, a, end(1, 1), b)],
    ["two summaries", textOf(head, end(0, 0), end(0, 0))],
    ["another count", textOf(head, a, end(2, 1))],
    ["other bytes", textOf(head, a, end(1, 2))],
    ["out of order", textOf(head, b, a, end(2, 2))],
    ["twice the same", textOf(head, a, a, end(2, 2))],
    [
      "a version of the future",
      textOf(changed(head, '"version":1', '"version":2'), end(0, 0)),
      "UNSUPPORTED",
    ],
    ["another run", textOf(changed(changed(head, '"run":2', '"run":3'), '"run":1', '"run":2'), end(0, 0))],
    ["another prefix", textOf(changed(head, '"p/"', '"q/"'), end(0, 0))],
    [
      "a run before that is none",
      textOf(changed(head, '"previous":{"run":1', '"previous":{"run":2'), end(0, 0)),
    ],
    ["an unknown kind", textOf(changed(head, '"put"', '"push"'), end(0, 0))],
    ["an unknown field", textOf(head, changed(a, "}", ',"more":1}'), end(1, 1))],
    [
      "fields in another order",
      textOf(head, changed(a, /"size":1,("mtime":"\d+")/, '$1,"size":1'), end(1, 1)),
    ],
    ["spaces", textOf(head, changed(a, ",", ", "), end(1, 1))],
    ["a path that climbs", textOf(head, changed(a, '"path":"a"', '"path":"../a"'), end(1, 1))],
    ["an absolute path", textOf(head, changed(a, '"path":"a"', '"path":"/a"'), end(1, 1))],
    ["a path with NUL", textOf(head, changed(a, '"path":"a"', '"path":"a\\u0000"'), end(1, 1))],
    ["a reserved key", textOf(head, changed(a, '"path":"a"', '"path":"a","key":".frameseal/x"'), end(1, 1))],
    ["a negative size", textOf(head, changed(a, '"size":1', '"size":-1'), end(1, 1))],
    ["a size of letters", textOf(head, changed(a, '"size":1', '"size":"1"'), end(1, 1))],
    ["a time as a number", textOf(head, changed(a, /"mtime":"(\d+)"/, '"mtime":$1'), end(1, 1))],
    [
      "a time too large",
      textOf(head, changed(a, /"mtime":"\d+"/, '"mtime":"9223372036854775808"'), end(1, 1)),
    ],
    ["a mode too large", textOf(head, changed(a, '"mode":"644"', '"mode":"100644"'), end(1, 1))],
    ["half a digest", textOf(head, changed(a, /[0-9a-f]{32}"/, '"'), end(1, 1))],
    ["no ETag", textOf(head, changed(a, ',"eTag":"\\"e\\""', ""), end(1, 1))],
    ["a type of its own", textOf(head, changed(a, '"file"', '"fifo"'), end(1, 1))],
    ["gone, but not", textOf(head, changed(a, "}", ',"gone":false}'), end(1, 1))],
    ["an array", textOf(head, "[]", end(1, 1))],
    ["the prototype", textOf(head, '{"__proto__":{"path":"a"}}', end(1, 1))],
    ["no JSON", textOf(head, "{", end(1, 1))],
    ["a line of 2 MiB", `${head}\n${" ".repeat(2 ** 21)}\n${end(0, 0)}\n`, "LIMIT_EXCEEDED"],
  ];
  test.each(cases)("%s", async (_, text = "", code = "INVALID_MANIFEST") => {
    const place = treePlace(server);
    await store(place, 2, text);
    await expect(readWhole(place, 2)).rejects.toMatchObject({
      code,
      message: expect.stringContaining("manifest 2: "),
    });
  });
  test("no UTF-8", async () => {
    const place = treePlace(server);
    await store(place, 2, Buffer.from(`${head}\n\xff\n`, "latin1"));
    await expect(readWhole(place, 2)).rejects.toMatchObject({ code: "INVALID_MANIFEST" });
  });
  test("what stands between the cases is one", async () => {
    const place = treePlace(server);
    await store(place, 2, textOf(head, a, b, end(2, 2)));
    expect((await readWhole(place, 2)).summary).toEqual({ entries: 2, bytes: 2, failed: 0 });
  });
});

describe("an object that is no manifest of the run", () => {
  test.each([1, "latest"] as const)("none at all: %s", async (which) => {
    await expect(openManifest(treePlace(server), which)).rejects.toMatchObject({ code: "INVALID_MANIFEST" });
  });
  test("an object of the tree, one of another number, one that is not encrypted, one that was cut", async () => {
    const place = treePlace(server);
    const [Bucket, Key] = ["b", manifestKey(place.address, 1)];
    const objects = () => server.buckets.get("b");
    const refused = (code: string) => expect(readWhole(place, 1)).rejects.toMatchObject({ code });
    const Body = textOf(writeHeader({ ...header, run: 1, previous: undefined }), end(0, 0));
    await place.client.send(new place.sdk.PutObjectCommand({ Bucket, Key, Body }));
    await refused("NO_DATA_KEY"); // the pairs that are demanded are in what wraps the key
    await place.plain.send(new place.sdk.PutObjectCommand({ Bucket, Key, Body }));
    await refused("NOT_ENCRYPTED");
    await store(place, 2, Body);
    objects()?.set(Key, server.object("b", manifestKey(place.address, 2)));
    await refused("CONTEXT_MISMATCH");
    await store(place, 1, Body);
    const whole = server.object("b", Key);
    objects()?.set(Key, { ...whole, body: whole.body.subarray(0, -1) });
    await refused("AUTHENTICATION_FAILED"); // what is taken for the final frame is not
  });
});

describe("lines", () => {
  const name = fc
    .string({ unit: "grapheme", minLength: 1, maxLength: 12 })
    .filter((text) => /^[^/\0]+$/.test(text) && !/^\.\.?$/.test(text) && isWellFormed(text));
  const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => names.join("/"));
  const digest = fc
    .uint8Array({ minLength: 32, maxLength: 32 })
    .map((bytes) => Buffer.from(bytes).toString("hex"));
  const some = fc
    .record({
      path,
      key: fc.option(
        path.map((text) => `k/${text}`),
        { nil: undefined },
      ),
      type: fc.constantFrom("file" as const, "symlink" as const),
      size: fc.maxSafeNat(),
      mtimeNs: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      mode: fc.nat(0o7777),
      uid: fc.option(fc.nat(2 ** 32 - 1), { nil: undefined }),
      gid: fc.option(fc.nat(2 ** 32 - 1), { nil: undefined }),
      sha256: fc.option(digest, { nil: undefined }),
      eTag: fc.string({ minLength: 1 }).filter(isWellFormed),
      versionId: fc.option(fc.string({ minLength: 1 }), { nil: undefined }),
      gone: fc.constantFrom(true as const, undefined),
      stale: fc.constantFrom(true as const, undefined),
      hardLinkOf: fc.option(path, { nil: undefined }),
    })
    .map((fields) => ({ ...fields, key: fields.key ?? fields.path }));
  test("are read as they were written", () => {
    fc.assert(
      fc.property(some, (one) => {
        expect(readLine(writeEntry(one), 2)).toEqual(one);
      }),
      { numRuns: 300 },
    );
  });
  test("of which a character is another are another entry, or none", () => {
    fc.assert(
      fc.property(some, fc.nat(), fc.string({ minLength: 1, maxLength: 1 }), (one, at, character) => {
        const line = writeEntry(one);
        const place = at % line.length;
        const other = line.slice(0, place) + character + line.slice(place + 1);
        fc.pre(other !== line && !other.includes("\n"));
        try {
          const read = readLine(other, 2);
          expect(read).not.toEqual(one);
        } catch (error) {
          expect(error).toMatchObject({ code: "INVALID_MANIFEST" });
        }
      }),
      { numRuns: 300 },
    );
  });
  test("the first one too", () => expect(readHeader(writeHeader(header))).toEqual(header));
  test("no entry is written that would not be read", () => {
    for (const wrong of [
      { path: "" },
      { path: "a//b" },
      { path: "a/.." },
      { size: -1 },
      { size: 2 ** 53 },
      { mode: 0o10000 },
      { eTag: "" },
      { sha256: "no" },
      { key: ".frameseal/runs/00000001" },
      { key: "k".repeat(1025) },
      { uid: -1 },
      { hardLinkOf: "/a" },
    ])
      expect(() => writeEntry(entry("a", wrong)), JSON.stringify(wrong)).toThrow(/^"entry" expected/);
  });
});

test("keys are in the order of their bytes", () => {
  const text = fc.string({
    unit: fc.constantFrom("a", "z", "\ud7ff", "\ue000", "\uffff", "\u{10000}", "\u{10ffff}"),
  });
  fc.assert(
    fc.property(text, text, (one, other) => {
      expect(Math.sign(compareKeys(one, other))).toBe(Buffer.compare(Buffer.from(one), Buffer.from(other)));
    }),
  );
});

test("the example in docs/MANIFEST.md is what is read and written", async () => {
  const guide = readFileSync(new URL("../../docs/MANIFEST.md", import.meta.url), "utf8");
  const text = /```\n(\{[^`]*)```/.exec(guide)?.[1] ?? "";
  const lines = text.split("\n").slice(0, -1);
  const place = treePlace(server, { bucket: "backups", prefix: "home/" });
  await store(place, 2, text);
  const back = await read(place);
  expect(textOf(writeHeader(back.header), ...back.entries.map(writeEntry), writeSummary(back.summary))).toBe(
    text,
  );
  expect([back.entries.length, lines.length]).toEqual([3, 5]);
  expect(guide).toContain(`is \`${back.sha256}\``);
  expect(sha256(text)).toBe(back.sha256);
});
