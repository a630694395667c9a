// reencrypt -r: new data keys for all objects below a prefix, in another format if that is asked for.
import { PutObjectCommand } from "@aws-sdk/client-s3";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { MANIFEST_CONTEXT, manifestKey } from "../../src/backup/manifest/place.ts";
import { reencryptTree } from "../../src/backup/reencrypt-tree.ts";
import { newKey, oldKey, RenewedTree, rowOf, told } from "./renewed-tree.ts";

let tree: RenewedTree;
beforeEach(async () => {
  tree = await RenewedTree.start();
});
afterEach(() => tree[Symbol.asyncDispose]());

const bodyOf = (name: string): Buffer => tree.server.object("b", `p/${name}`).body;

test("every object has another data key, and what it was otherwise", async () => {
  await tree.put("a", "A", { frameLength: 4096 }, { Metadata: { mode: "644" }, Tagging: "x=1" });
  await tree.put("v3", "V3", { format: "s3ec-v3" });
  await tree.put("link", "target", { encryptionContext: { type: "symlink" } });
  const before = ["a", "v3", "link"].map(bodyOf);
  const { headers: wasV3 } = tree.server.object("b", "p/v3");
  const context = tree.context();
  await reencryptTree(context, { from: oldKey });
  expect(told(context.report)).toEqual([
    "rewrap a: encrypted again",
    "rewrap link: encrypted again",
    "rewrap v3: encrypted again",
  ]);
  for (const [index, [name, text]] of [
    ["a", "A"],
    ["v3", "V3"],
    ["link", "target"],
  ].entries()) {
    expect(await tree.read(name ?? "", oldKey)).toBe(text);
    expect(bodyOf(name ?? "")).not.toEqual(before[index]);
    expect(bodyOf(name ?? "").length).toBe(before[index]?.length);
  }
  expect(await tree.read("link", oldKey, { encryptionContext: { type: "symlink" } })).toBe("target");
  expect(tree.server.object("b", "p/a").headers).toMatchObject({
    "x-amz-meta-mode": "644",
    "x-amz-tagging": "x=1",
  });
  const { headers } = tree.server.object("b", "p/v3");
  expect(headers["x-amz-meta-x-amz-c"]).toBe(wasV3["x-amz-meta-x-amz-c"]);
  expect(headers["x-amz-meta-x-amz-3"]).not.toBe(wasV3["x-amz-meta-x-amz-3"]);
});

test("formats change both ways, and the key with them", async () => {
  await tree.put("a", "A");
  await tree.put("v3", "V3", { format: "s3ec-v3" });
  await reencryptTree(tree.context(), { from: oldKey, to: newKey, newFormat: "s3ec-v3" });
  for (const [name, text] of [
    ["a", "A"],
    ["v3", "V3"],
  ] as const) {
    expect(tree.server.object("b", `p/${name}`).headers).not.toHaveProperty("x-amz-meta-frameseal-format");
    expect(bodyOf(name).length).toBe(text.length + 16);
    expect(await tree.read(name)).toBe(text);
  }
  const framed = {
    from: newKey,
    to: oldKey,
    newFormat: "framed",
    newBind: "bucket",
    frameLength: 4096,
  } as const;
  await reencryptTree(tree.context(), framed);
  for (const name of ["a", "v3"]) {
    expect(await tree.read(name, oldKey, { bind: "bucket" })).toBe(name.toUpperCase());
    await expect(tree.read(name, newKey)).rejects.toThrow();
  }
});

test("manifests stay framed, and bound to their keys", async () => {
  const Key = manifestKey(tree.place.address, 1);
  const sealing = { bind: "key", encryptionContext: MANIFEST_CONTEXT } as const;
  await tree.client(oldKey, sealing).send(new PutObjectCommand({ Bucket: "b", Key, Body: "lines" }));
  await reencryptTree(tree.context(), { from: oldKey, to: newKey, newFormat: "s3ec-v3", plain: true });
  expect(await tree.read(".frameseal/runs/00000001", newKey, sealing)).toBe("lines");
});

test("links stay framed in every format, and nothing is told of it", async () => {
  await tree.put("a", "A");
  const pairs = { backup: "daily", type: "symlink" };
  await tree.put("link", "target", { encryptionContext: pairs, bind: "key" });
  const context = tree.context();
  await reencryptTree(context, { from: oldKey, to: newKey, newFormat: "s3ec-v3" });
  expect(told(context.report)).toEqual(["rewrap a: encrypted again", "rewrap link: encrypted again"]);
  expect(context.report.warnings).toEqual([]);
  expect(tree.server.object("b", "p/a").headers).not.toHaveProperty("x-amz-meta-frameseal-format");
  expect(await tree.read("link", newKey, { encryptionContext: pairs, bind: "key" })).toBe("target");
  await expect(tree.read("link", oldKey)).rejects.toThrow();
});

describe("what is not encrypted", () => {
  beforeEach(async () => {
    const fields = { ContentType: "text/x", Metadata: { mtime: "5" }, ContentEncoding: "gzip" };
    for (const [name, Body] of [
      ["clear", "in clear".repeat(4000)],
      ["empty", ""],
    ] as const)
      await tree.place.plain.send(new PutObjectCommand({ Bucket: "b", Key: `p/${name}`, Body, ...fields }));
  });
  test("fails unless it is asked for", async () => {
    const context = tree.context();
    expect(await tree.changesOf(() => reencryptTree(context, { from: oldKey }))).toEqual([]);
    expect(told(context.report)).toEqual(["failed clear: NOT_ENCRYPTED", "failed empty: NOT_ENCRYPTED"]);
  });
  test("is sealed as it is, with all that it has", async () => {
    const context = tree.context();
    await reencryptTree(context, { from: oldKey, plain: true });
    expect(told(context.report)).toEqual([
      "rewrap clear: encrypted, which it was not",
      "rewrap empty: encrypted, which it was not",
    ]);
    expect(await tree.read("clear", oldKey)).toBe("in clear".repeat(4000));
    expect(await tree.read("empty", oldKey)).toBe("");
    expect(bodyOf("clear").includes("in clear")).toBe(false);
    expect(tree.server.object("b", "p/clear").headers).toMatchObject({
      "content-type": "text/x",
      "x-amz-meta-mtime": "5",
    });
    const again = tree.context();
    await reencryptTree(again, { from: oldKey, plain: true });
    expect(told(again.report)).toEqual(["rewrap clear: encrypted again", "rewrap empty: encrypted again"]);
    expect(await tree.read("clear", oldKey)).toBe("in clear".repeat(4000));
  });
  test("of another key is not sealed as if it were clear", async () => {
    await tree.put("other", "O", { keyring: newKey });
    await tree.put("other-v3", "O", { keyring: newKey, format: "s3ec-v3" });
    const context = tree.context();
    await reencryptTree(context, { from: oldKey, plain: true });
    expect(told(context.report)).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^failed other:/),
        expect.stringMatching(/^failed other-v3:/),
      ]),
    );
    expect(await tree.read("other-v3", newKey)).toBe("O");
  });
});

test.each(["framed", "s3ec-v3"] as const)("a forged object (%s) is not stored again", async (format) => {
  await tree.put("a", "A".repeat(300_000), { format });
  const stored = tree.server.object("b", "p/a");
  const at = stored.body.length - 20;
  stored.body[at] = (stored.body[at] ?? 0) ^ 1;
  const context = tree.context();
  await reencryptTree(context, { from: oldKey, to: newKey });
  expect(told(context.report)).toEqual(["failed a: AUTHENTICATION_FAILED"]);
  expect(tree.server.object("b", "p/a")).toBe(stored);
  expect(tree.server.uploads.size).toBe(0);
});

test("a run that was ended goes on; one that comes after it does all again", async () => {
  const names = Array.from({ length: 8 }, (_, index) => `f${index}`);
  const journal = await tree.journal();
  for (const name of names) journal.putStored(rowOf(name, await tree.put(name, name)));
  const { keyring: broken } = { keyring: oldKey };
  tree.server.fault = ({ method, key }) =>
    method === "PUT" && key === "p/f5" ? { kind: "error", status: 403, code: "AccessDenied" } : undefined;
  const first = tree.context({ journal });
  await reencryptTree(first, { from: broken });
  expect(first.report.items.filter(({ error }) => error !== undefined).map(({ path }) => path)).toEqual([
    "f5",
  ]);
  tree.server.fault = () => undefined;
  expect(await tree.changesOf(() => reencryptTree(tree.context({ journal }), { from: oldKey }))).toEqual([
    "PUT p/f5",
  ]);
  for (const name of names)
    expect(journal.stored(`p/${name}`)?.eTag).toBe(tree.server.object("b", `p/${name}`).eTag);
  const again = await tree.changesOf(() => reencryptTree(tree.context({ journal }), { from: oldKey }));
  expect(again).toHaveLength(names.length);
});

test("other settings are another run", async () => {
  await tree.put("a", "A");
  await tree.put("b", "B");
  const journal = await tree.journal();
  tree.server.fault = ({ method, key }) =>
    method === "PUT" && key === "p/b" ? { kind: "error", status: 403, code: "AccessDenied" } : undefined;
  await reencryptTree(tree.context({ journal }), { from: oldKey });
  tree.server.fault = () => undefined;
  const frameLength = 8192;
  const changes = await tree.changesOf(() =>
    reencryptTree(tree.context({ journal }), { from: oldKey, frameLength }),
  );
  expect([...changes].sort()).toEqual(["PUT p/a", "PUT p/b"]);
});

test("a server that wants If-Match without quotes has it so, and is asked once for all", async () => {
  tree.server.kind = "ceph-rgw";
  await tree.put("0", "0");
  await tree.put("v3", "V3", { format: "s3ec-v3" });
  await tree.put("large", "L".repeat(9 * 2 ** 20));
  const context = tree.context();
  const refused = () =>
    tree.server.calls.filter(
      ({ method, headers }) => /^P/.test(method) && headers["if-match"]?.startsWith('"') === true,
    ).length;
  await reencryptTree(context, { from: oldKey, newFormat: "s3ec-v3" });
  expect(context.report.items.filter(({ error }) => error !== undefined)).toEqual([]);
  expect(refused()).toBeGreaterThan(0);
  expect(refused()).toBeLessThanOrEqual(3); // those that were on their way together
  const before = refused();
  await reencryptTree(context, { from: oldKey, to: newKey });
  expect(refused()).toBe(before);
  expect(await tree.read("large")).toHaveLength(9 * 2 ** 20);
  expect(tree.server.uploads.size).toBe(0);
});

test("large objects go up in parts, within the memory they are given", async () => {
  await tree.put("large", "L".repeat(20 * 2 ** 20));
  const parts: string[] = [];
  tree.server.onBody = ({ query }) =>
    void (query.has("partNumber") && parts.push(query.get("partNumber") ?? ""));
  await reencryptTree(tree.context(), { from: oldKey, to: newKey });
  expect(parts.sort()).toEqual(["1", "2", "3"]);
  expect((await tree.read("large"))?.length).toBe(20 * 2 ** 20);
});

test("a run that is aborted leaves no upload behind", async () => {
  await tree.put("large", "L".repeat(20 * 2 ** 20));
  const stop = new AbortController();
  tree.server.delay = async ({ query }) => {
    if (query.get("partNumber") === "2") stop.abort(new Error("enough"));
  };
  const context = tree.context({ signal: stop.signal });
  await expect(reencryptTree(context, { from: oldKey })).rejects.toThrow();
  expect(tree.server.uploads.size).toBe(0);
  expect(await tree.read("large", oldKey)).toHaveLength(20 * 2 ** 20);
});

test("a dry run tells what would be done, and changes nothing", async () => {
  await tree.put("a", "A");
  await tree.put("v3", "V3", { format: "s3ec-v3" });
  await tree.place.plain.send(new PutObjectCommand({ Bucket: "b", Key: "p/clear", Body: "clear" }));
  const context = tree.context({ dryRun: true });
  expect(await tree.changesOf(() => reencryptTree(context, { from: oldKey, plain: true }))).toEqual([]);
  expect(told(context.report)).toEqual([
    "rewrap a: encrypted again",
    "rewrap clear: encrypted, which it was not",
    "rewrap v3: encrypted again",
  ]);
});
