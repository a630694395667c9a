// Objects of what is not in the source are deleted on request: only what the listing shows, nothing that filters leave out,
// and nothing at all when not all of the source was seen.
import { rmSync, symlinkSync } from "node:fs";
import * as sdk from "@aws-sdk/client-s3";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { BUCKET, manifestOf, put, type RunSettings, TemporaryTree } from "../support/put-run.ts";
import { S3Server } from "../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

let server: S3Server;
let tree: TemporaryTree;
beforeAll(async () => {
  server = await S3Server.start();
});
afterAll(() => server[Symbol.asyncDispose]());
beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 60_000 });
  server.buckets.set(BUCKET, new Map());
  server.fault = () => undefined;
  tree = new TemporaryTree({ a: "alpha", "d/b": "beta", "d/c": "gamma", "empty/": "" });
  await sync();
});
afterEach(() => {
  tree[Symbol.dispose]();
  vi.useRealTimers();
});

const sync = (settings: RunSettings = {}) =>
  put(server, tree.root, { journal: tree.journal, kind: "sync", deleteOthers: true, ...settings });
const keys = () =>
  [...(server.buckets.get(BUCKET)?.keys() ?? [])].filter((key) => !key.includes("/runs/")).sort();
async function store(key: string): Promise<void> {
  await server.client().send(new sdk.PutObjectCommand({ Bucket: BUCKET, Key: key, Body: "x" }));
}

describe("sync --delete", () => {
  test("deletes what is not in the source", async () => {
    rmSync(tree.at("a"));
    rmSync(tree.at("empty"), { recursive: true });
    await store("p/somebody/else");
    const { report, result } = await sync();
    expect(keys()).toEqual(["p/d/b", "p/d/c"]);
    expect(report.told.filter((line) => line.startsWith("delete"))).toEqual([
      "delete a not in the source",
      "delete empty not in the source",
      "delete somebody/else not in the source",
    ]);
    expect(result).toMatchObject({ deleted: 3, failed: 0 });
    expect([...(await manifestOf(server)).entries.keys()]).toEqual(["d/b", "d/c"]);
    expect((await sync()).result).toMatchObject({ deleted: 0, unchanged: 2 });
  });
  test("deletes nothing that is not below the prefix, or that is reserved", async () => {
    await store("p");
    await store("pp/x");
    await store("p/.frameseal/runs/00000099");
    await store("p/.frameseal/probe");
    rmSync(tree.at("a"));
    await sync();
    const all = [...(server.buckets.get(BUCKET)?.keys() ?? [])];
    for (const key of [
      "p",
      "pp/x",
      "p/.frameseal/runs/00000001",
      "p/.frameseal/runs/00000099",
      "p/.frameseal/probe",
    ])
      expect(all).toContain(key);
    expect(all).not.toContain("p/a");
  });
  test("deletes nothing without being asked to", async () => {
    rmSync(tree.at("a"));
    await sync({ deleteOthers: false });
    expect(keys()).toContain("p/a");
  });
  test("deletes nothing that filters leave out", async () => {
    rmSync(tree.at("d"), { recursive: true });
    rmSync(tree.at("a"));
    await store("p/x.tmp");
    await sync({
      filters: [
        { kind: "exclude", pattern: "d" },
        { kind: "exclude", pattern: "*.tmp" },
      ],
    });
    expect(keys()).toEqual(["p/d/b", "p/d/c", "p/empty/", "p/x.tmp"]);
  });
  test("tells in a dry run what it would delete", async () => {
    rmSync(tree.at("a"));
    const { report, result } = await sync({ dryRun: true });
    expect(report.told).toContain("delete a not in the source");
    expect(result.deleted).toBe(1);
    expect(keys()).toContain("p/a");
  });
  test("replaces a folder by a file, and a file by a folder", async () => {
    rmSync(tree.at("d"), { recursive: true });
    rmSync(tree.at("a"));
    tree.write("d", "a file");
    tree.write("a/x", "in a folder");
    await sync();
    expect(keys()).toEqual(["p/a/x", "p/d", "p/empty/"]);
  });
  test("deletes what stands for an empty folder that has something in it now", async () => {
    tree.write("empty/x", "");
    await sync();
    expect(keys()).toEqual(["p/a", "p/d/b", "p/d/c", "p/empty/x"]);
  });
  test("keeps what something else in the source has the name of", async () => {
    rmSync(tree.at("a"));
    symlinkSync("d/b", tree.at("a")); // links are skipped
    await sync();
    expect(keys()).toContain("p/a");
  });
  test("keeps what came after the walk", async () => {
    rmSync(tree.at("a"));
    await sync({ onEntry: (name) => name === "empty" && tree.write("a", "back again") });
    expect(keys()).toContain("p/a");
  });
  test("deletes nothing when the source is empty", async () => {
    for (const name of ["a", "d", "empty"]) rmSync(tree.at(name), { recursive: true });
    const { report, result } = await sync();
    expect(result.deleted).toBe(0);
    expect(keys()).toHaveLength(4);
    expect(report.warnings.join()).toContain("the source is empty");
  });
  test("deletes nothing when not all of the source could be read", async () => {
    rmSync(tree.at("a"));
    const { report, result } = await sync({
      failed: { kind: "failed", path: "d", error: new Error("EACCES"), incomplete: true },
    });
    expect(result).toMatchObject({ deleted: 0, failed: 1 });
    expect(keys()).toContain("p/a");
    expect(report.warnings.join()).toContain("nothing is deleted");
  });
  test("what could not be read is stale in the manifest, and not gone", async () => {
    rmSync(tree.at("d"), { recursive: true });
    rmSync(tree.at("a"));
    await sync({ failed: { kind: "failed", path: "d", error: new Error("EACCES"), incomplete: true } });
    const { entries } = await manifestOf(server);
    expect(entries.get("d/b")).toMatchObject({ stale: true });
    expect(entries.get("a")).toMatchObject({ gone: true });
  });
  test("tells which objects the server did not delete", async () => {
    rmSync(tree.at("a"));
    rmSync(tree.at("d"), { recursive: true });
    server.undeletable.add("p/a");
    const { report, result } = await sync();
    server.undeletable.clear();
    expect(report.told).toContain("failed a");
    expect(report.items.find(({ path }) => path === "a")?.error).toMatchObject({ name: "AccessDenied" });
    expect(result).toMatchObject({ deleted: 2, failed: 1 });
    expect((await manifestOf(server)).entries.get("a")).toMatchObject({ gone: true });
  });
  test.each([501, 405])("deletes one by one where the server has no other way (%i)", async (status) => {
    rmSync(tree.at("a"));
    rmSync(tree.at("d"), { recursive: true });
    server.fault = ({ query }) =>
      query.has("delete") ? { kind: "error", status, code: "NotImplemented" } : undefined;
    expect((await sync()).result).toMatchObject({ deleted: 3, failed: 0 });
    expect(keys()).toEqual(["p/empty/"]);
  });
  test("deletes more than one request takes", async () => {
    const objects = server.buckets.get(BUCKET);
    const one = server.object(BUCKET, "p/a");
    for (let at = 0; at < 2500; at++) objects?.set(`p/more/${at}`, one);
    expect((await sync()).result).toMatchObject({ deleted: 2500, failed: 0 });
    expect(keys()).toHaveLength(4);
  });
});
