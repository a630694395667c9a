// rewrap -r: all objects below a prefix under another master key, and nothing is called done that is not.
import { GetObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  MANIFEST_CONTEXT,
  manifestKey,
  rememberedRun,
  rememberRun,
} from "../../src/backup/manifest/place.ts";
import { rewrapTree } from "../../src/backup/rewrap-tree.ts";
import { keyringOf, newKey, oldKey, RenewedTree, rowOf, told } from "./renewed-tree.ts";

let tree: RenewedTree;
beforeEach(async () => {
  tree = await RenewedTree.start();
});
afterEach(() => tree[Symbol.asyncDispose]());

const options = { from: oldKey, to: newKey };

test("every object is under the new key, and under the old one no more", async () => {
  await tree.put("a", "A");
  await tree.put("b/c", "C", { frameLength: 4096 }, { Metadata: { mtime: "1" }, ContentType: "text/x" });
  await tree.put("v3", "V3", { format: "s3ec-v3" });
  await tree.put("file", "F", { format: "s3ec-v3", instructionFiles: "write" });
  await tree.put("v2", "V2", { format: "s3ec-v2", commitmentPolicy: "FORBID_ENCRYPT_ALLOW_DECRYPT" });
  await tree.put("link", "target", { encryptionContext: { type: "symlink" } });
  const context = tree.context();
  await rewrapTree(context, {
    ...options,
    enforceRotation: true,
    commitmentPolicy: "REQUIRE_ENCRYPT_ALLOW_DECRYPT",
  });
  expect(told(context.report)).toEqual([
    "rewrap a: encrypted again",
    "rewrap b/c: encrypted again",
    "rewrap file: data key wrapped again in its instruction file",
    "rewrap link: encrypted again",
    "rewrap v2: data key wrapped again",
    "rewrap v3: data key wrapped again",
    "skip file.instruction: instruction file: it goes with its object",
  ]);
  const legacy = { commitmentPolicy: "REQUIRE_ENCRYPT_ALLOW_DECRYPT" } as const;
  const texts = { a: "A", "b/c": "C", v3: "V3", file: "F", v2: "V2", link: "target" };
  for (const [name, text] of Object.entries(texts)) {
    expect(await tree.read(name, newKey, legacy)).toBe(text);
    await expect(tree.read(name, oldKey, legacy)).rejects.toThrow();
  }
  // What an object is bound to, and what it says of itself, stays.
  expect(await tree.read("link", newKey, { encryptionContext: { type: "symlink" } })).toBe("target");
  await expect(tree.read("a", newKey, { encryptionContext: { type: "symlink" } })).rejects.toThrow();
  expect(tree.server.object("b", "p/b/c").headers).toMatchObject({
    "x-amz-meta-mtime": "1",
    "content-type": "text/x",
  });
  expect(context.report.facts).toEqual([
    {
      record: "rewrap",
      fields: expect.objectContaining({ objects: 7, skipped: 1, failed: 0 }),
    },
  ]);
});

test("manifests open under the new key, whatever the tree is bound to", async () => {
  const key = manifestKey(tree.place.address, 1);
  const sealing = { bind: "key", encryptionContext: { backup: "daily", ...MANIFEST_CONTEXT } } as const;
  const written = await tree
    .client(oldKey, sealing)
    .send(new PutObjectCommand({ Bucket: "b", Key: key, Body: "lines" }));
  const journal = await tree.journal();
  rememberRun({ journal }, { run: 1, sha256: "0".repeat(64), eTag: written.ETag ?? "" });
  await tree.put("a", "A", { bind: "prefix", encryptionContext: { backup: "daily" } });
  await tree.server.buckets.get("b")?.set("p/.frameseal/other", tree.server.object("b", "p/a"));
  const context = tree.context({ journal });
  await rewrapTree(context, { ...options, bind: "prefix", encryptionContext: { backup: "daily" } });
  expect(told(context.report)).toEqual([
    "rewrap .frameseal/runs/00000001: encrypted again",
    "rewrap a: encrypted again",
    "skip .frameseal/other: of no run",
  ]);
  const read = await tree.client(newKey, sealing).send(new GetObjectCommand({ Bucket: "b", Key: key }));
  expect(await read.Body?.transformToString()).toBe("lines");
  expect(rememberedRun({ journal })?.eTag).toBe(tree.server.object("b", key).eTag);
  expect(await tree.read("a", newKey, { bind: "prefix", encryptionContext: { backup: "daily" } })).toBe("A");
});

test("what fails fails alone, and what was never encrypted is no success", async () => {
  await tree.put("a", "A");
  await tree.put("other", "O", { keyring: keyringOf("third") });
  for (const [name, text] of [
    ["clear", "in clear"],
    ["folder/", ""],
    ["", ""],
  ] as const)
    await tree.place.plain.send(new PutObjectCommand({ Bucket: "b", Key: `p/${name}`, Body: text }));
  const context = tree.context();
  await rewrapTree(context, options);
  expect(told(context.report)).toEqual([
    "failed clear: NOT_ENCRYPTED",
    "failed other: NO_DATA_KEY",
    "rewrap a: encrypted again",
    "skip : not encrypted, and empty",
    "skip folder: not encrypted, and empty",
  ]);
});

describe("what is done already", () => {
  beforeEach(async () => {
    await tree.put("a", "A");
    await tree.put("v3", "V3", { format: "s3ec-v3" });
  });

  test("is known to the journal: nothing is asked again", async () => {
    const journal = await tree.journal();
    await rewrapTree(tree.context({ journal }), options);
    const before = tree.server.calls.length;
    const context = tree.context({ journal });
    await rewrapTree(context, options);
    expect(told(context.report)).toEqual([
      "skip a: done by an earlier run",
      "skip v3: done by an earlier run",
    ]);
    expect(tree.server.calls.slice(before).filter(({ key }) => key !== "")).toEqual([]);
  });
  test("is proven by the object without one", async () => {
    await rewrapTree(tree.context(), options);
    const context = tree.context();
    expect(await tree.changesOf(() => rewrapTree(context, options))).toEqual([]);
    expect(told(context.report)).toEqual(["skip a: done already", "skip v3: done already"]);
  });
  test("is not what another key of the same name has done", async () => {
    const journal = await tree.journal();
    await rewrapTree(tree.context({ journal }), { from: oldKey, to: newKey });
    const third = keyringOf("third", "new");
    const context = tree.context({ journal });
    await rewrapTree(context, { from: newKey, to: third });
    expect(told(context.report)).toEqual(["rewrap a: encrypted again", "rewrap v3: data key wrapped again"]);
    expect(await tree.read("a", third)).toBe("A");
  });
  test("is not an object that was stored since", async () => {
    const journal = await tree.journal();
    await rewrapTree(tree.context({ journal }), options);
    await tree.put("a", "again");
    const context = tree.context({ journal });
    await rewrapTree(context, options);
    expect(told(context.report)).toEqual(["rewrap a: encrypted again", "skip v3: done by an earlier run"]);
    expect(await tree.read("a")).toBe("again");
  });
  test("is not what hints say", async () => {
    const { headers } = tree.server.object("b", "p/a");
    const forged = Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name, value.replaceAll("old", "new")]),
    );
    tree.server.buckets.get("b")?.set("p/a", { ...tree.server.object("b", "p/a"), headers: forged });
    const context = tree.context();
    await rewrapTree(context, options);
    expect(told(context.report)).toContain("rewrap a: encrypted again");
    expect(await tree.read("a")).toBe("A");
  });
});

test("rows of the journal follow the objects that they were of, and no others", async () => {
  const journal = await tree.journal();
  journal.putStored(rowOf("a", await tree.put("a", "A")));
  journal.putStored(rowOf("b", '"of another object"'));
  await tree.put("b", "B");
  const file = await tree.put("file", "F", { format: "s3ec-v3", instructionFiles: "write" });
  journal.putStored({ ...rowOf("file", file), versionId: "v" });
  await tree.put("unknown", "U");
  await rewrapTree(tree.context({ journal }), options);
  expect(journal.stored("p/a")?.eTag).toBe(tree.server.object("b", "p/a").eTag);
  expect(journal.stored("p/b")?.eTag).toBe('"of another object"');
  expect(journal.stored("p/file")).toMatchObject({ eTag: file, versionId: "v" });
  expect(journal.stored("p/unknown")).toBeUndefined();
  expect(journal.unended()).toEqual([]);
});

test("an object that is replaced meanwhile is not overwritten, nor is its row changed", async () => {
  const journal = await tree.journal();
  const eTag = await tree.put("a", "A");
  journal.putStored(rowOf("a", eTag));
  let replaced: Promise<unknown> | undefined;
  tree.server.delay = async ({ method, key }) => {
    if (method !== "PUT" || key !== "p/a" || replaced !== undefined) return;
    replaced = Promise.resolve();
    await tree.put("a", "newer");
  };
  const context = tree.context({ journal });
  await rewrapTree(context, options);
  expect(told(context.report)).toEqual(["failed a: PreconditionFailed"]);
  expect(await tree.read("a", oldKey)).toBe("newer");
  expect(journal.stored("p/a")?.eTag).toBe(eTag);
  expect(journal.unended()).toEqual(["p/a"]);
});

test("on a server that wants If-Match without quotes all is done, and nothing newer overwritten", async () => {
  tree.server.kind = "ceph-rgw";
  await tree.put("a", "A");
  await tree.put("v3", "V3", { format: "s3ec-v3" });
  await tree.put("file", "F", { format: "s3ec-v3", instructionFiles: "write" });
  await tree.put("newer", "old");
  let replaced = false;
  tree.server.delay = async ({ method, key, headers }) => {
    if (method !== "PUT" || key !== "p/newer") return;
    if (headers["if-match"]?.startsWith('"') === false || replaced) return;
    replaced = true;
    await tree.put("newer", "newer");
  };
  const context = tree.context();
  await rewrapTree(context, options);
  expect(told(context.report).filter((line) => line.startsWith("failed"))).toEqual([
    "failed newer: PreconditionFailed",
  ]);
  expect(await tree.read("newer", oldKey)).toBe("newer");
  for (const [name, text] of Object.entries({ a: "A", v3: "V3", file: "F" }))
    expect(await tree.read(name)).toBe(text);
});

test("an object that is removed meanwhile is no failure", async () => {
  await tree.put("a", "A");
  tree.server.delay = async ({ method }) => {
    if (method === "HEAD") tree.server.buckets.get("b")?.delete("p/a");
  };
  const context = tree.context();
  await rewrapTree(context, options);
  expect(told(context.report)).toEqual(["skip a: removed meanwhile"]);
});

test("a dry run tells what would be done, and changes nothing", async () => {
  await tree.put("a", "A".repeat(100_000));
  await tree.put("v3", "V3", { format: "s3ec-v3" });
  await tree.put("v2", "V2", { format: "s3ec-v2", commitmentPolicy: "FORBID_ENCRYPT_ALLOW_DECRYPT" });
  await tree.place.plain.send(new PutObjectCommand({ Bucket: "b", Key: "p/clear", Body: "clear" }));
  const journal = await tree.journal();
  const context = tree.context({ journal, dryRun: true });
  const all = { ...options, commitmentPolicy: "REQUIRE_ENCRYPT_ALLOW_DECRYPT" } as const;
  expect(await tree.changesOf(() => rewrapTree(context, all))).toEqual([]);
  expect(
    context.report.items.map(({ path, reason, size, dryRun }) => ({ path, reason, size, dryRun })),
  ).toEqual(
    expect.arrayContaining([
      {
        path: "a",
        reason: "encrypted again",
        size: tree.server.object("b", "p/a").body.length,
        dryRun: true,
      },
      { path: "v3", reason: "data key wrapped again", size: undefined, dryRun: true },
      { path: "v2", reason: "data key wrapped again", size: 18, dryRun: true },
    ]),
  );
  expect(journal.unended()).toEqual([]);
  expect(journal.done("rewrap", "p/a")).toBeUndefined();
  expect(await tree.read("a", oldKey)).toBe("A".repeat(100_000));
});

test("a run that is ended goes on where it was, and finds what it had begun", async () => {
  const names = Array.from({ length: 12 }, (_, index) => `f${index}`);
  for (const name of names) await tree.put(name, name);
  const journal = await tree.journal();
  const stop = new AbortController();
  let puts = 0;
  tree.server.delay = async ({ method }) => {
    if (method === "PUT" && ++puts === 6) stop.abort(new Error("killed"));
  };
  await expect(rewrapTree(tree.context({ journal, signal: stop.signal }), options)).rejects.toThrow();
  tree.server.delay = async () => {};
  const context = tree.context({ journal });
  const changes = await tree.changesOf(() => rewrapTree(context, options));
  expect(context.report.items.filter(({ error }) => error !== undefined)).toEqual([]);
  expect(changes.length).toBeLessThan(names.length);
  for (const name of names) expect(await tree.read(name)).toBe(name);
  expect(journal.unended()).toEqual([]);
});
