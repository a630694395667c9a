// A tree goes into a bucket: what is new or changed is sent, what is not is left, and what fails keeps nothing else from
// being stored.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import * as sdk from "@aws-sdk/client-s3";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { BUCKET, clientsOf, manifestOf, put, type RunSettings, TemporaryTree } from "../support/put-run.ts";
import { S3Server } from "../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

let server: S3Server;
let tree: TemporaryTree;
beforeAll(async () => {
  server = await S3Server.start();
});
afterAll(() => server[Symbol.asyncDispose]());
beforeEach(() => {
  // Later than all that the tree has, so that no file looks as if it might still change.
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 60_000 });
  server.buckets.set(BUCKET, new Map());
  server.fault = () => undefined;
  tree = new TemporaryTree({ a: "alpha", "d/b.txt": "beta", "d/ü \u{1f600}": "", "empty/": "" });
});
afterEach(() => {
  tree[Symbol.dispose]();
  vi.useRealTimers();
});

const keys = () => [...(server.buckets.get(BUCKET)?.keys() ?? [])].sort();
const run = (settings: RunSettings = {}) => put(server, tree.root, { journal: tree.journal, ...settings });
/** What a run asked of the server: methods with keys; listings as `LIST`, without that of uploads and without probes. */
async function asked(settings: RunSettings = {}) {
  const from = server.calls.length;
  const done = await run(settings);
  const calls = server.calls
    .slice(from)
    .filter(({ query, key }) => !query.has("uploads") && !key.includes("probe-"))
    .map(({ method, key }) => (key === "" ? "LIST" : `${method} ${key}`));
  return { ...done, calls: calls.sort() };
}
async function read(key: string): Promise<string> {
  const { client } = clientsOf(server, undefined);
  const { Body } = await client.send(new sdk.GetObjectCommand({ Bucket: BUCKET, Key: key }));
  return (await Body?.transformToString()) ?? "";
}
function replace(file: string, by: () => void): void {
  rmSync(file);
  by();
}
const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
const manifestKey = (run: number): string => `p/.frameseal/runs/0000000${run}`;

describe("a first run", () => {
  test("stores files, links and empty folders, and a manifest of them", async () => {
    tree.link("d/link", "b.txt");
    const { report, result } = await run({ links: "keep" });
    expect(report.told).toEqual([
      "put a new",
      "put d/b.txt new",
      "put d/link new",
      "put d/ü \u{1f600} new",
      "put empty new",
    ]);
    const stored = ["p/a", "p/d/b.txt", "p/d/link", "p/d/ü \u{1f600}", "p/empty/"];
    expect(keys()).toEqual([manifestKey(1), ...stored]);
    expect(await read("p/a")).toBe("alpha");
    expect(await read("p/d/ü \u{1f600}")).toBe("");
    expect(result).toMatchObject({ sent: 5, sentBytes: 14, unchanged: 0, failed: 0, manifest: { run: 1 } });
    const { entries, header } = await manifestOf(server);
    expect(header).toMatchObject({ kind: "put", run: 1, previous: undefined });
    expect(entries.get("a")).toMatchObject({
      size: 5,
      sha256: sha256("alpha"),
      eTag: server.object(BUCKET, "p/a").eTag,
      mtimeNs: 1_000_000_000_250_000_000n,
    });
    expect(entries.get("d/link")).toMatchObject({ type: "symlink", sha256: sha256("b.txt") });
    expect(entries.get("empty")).toMatchObject({ type: "directory", key: "empty/", size: 0 });
  });
  test("a link is what its encryption context says, and not its metadata", async () => {
    tree.link("link", "a");
    await run({ links: "keep" });
    const { client, links } = clientsOf(server, undefined);
    const get = (key: string) => links.send(new sdk.GetObjectCommand({ Bucket: BUCKET, Key: key }));
    expect(await (await get("p/link")).Body?.transformToString()).toBe("a");
    await expect(get("p/a")).rejects.toMatchObject({
      code: expect.stringMatching(/CONTEXT_MISMATCH|NO_DATA_KEY/),
    });
    // Who does not ask for the pair may read it: the context does not forbid that.
    expect(
      await (
        await client.send(new sdk.GetObjectCommand({ Bucket: BUCKET, Key: "p/link" }))
      ).Body?.transformToString(),
    ).toBe("a");
  });
  test("of an empty folder is a run too", async () => {
    for (const name of ["a", "d", "empty"]) rmSync(tree.at(name), { recursive: true });
    const { result } = await run();
    expect(result).toMatchObject({ entries: 0, manifest: { run: 1 } });
  });
});

describe("a second run", () => {
  beforeEach(async () => void (await run()));

  test("sends nothing but a manifest when nothing has changed", async () => {
    const { report, result, calls } = await asked();
    expect(report.told).toEqual([
      "skip a unchanged",
      "skip d/b.txt unchanged",
      "skip d/ü \u{1f600} unchanged",
      "skip empty unchanged",
    ]);
    expect(calls).toEqual(["LIST", "LIST", `PUT ${manifestKey(2)}`]);
    expect(result).toMatchObject({ sent: 0, unchanged: 4, manifest: { run: 2 } });
    const { entries, header } = await manifestOf(server);
    expect([...entries.keys()]).toEqual(["a", "d/b.txt", "d/ü \u{1f600}", "empty"]);
    expect(header.previous?.run).toBe(1);
  });
  test("does not list the tree where the journal is trusted", async () => {
    server.buckets.get(BUCKET)?.delete("p/a");
    const { result, calls } = await asked({ trustJournal: true });
    expect(calls).toEqual(["LIST", `PUT ${manifestKey(2)}`]); // the manifests
    expect(result).toMatchObject({ sent: 0, unchanged: 4 });
  });
  test.each<[string, () => void]>([
    ["other bytes", () => tree.write("a", "other bytes")],
    ["other bytes of the same length and time", () => tree.write("a", "ALPHA")],
    ["another time", () => utimesSync(tree.at("a"), 2e9, 2e9)],
    ["another mode", () => chmodSync(tree.at("a"), 0o640)],
  ])("sends one file that has %s", async (_, change) => {
    change();
    const { report, calls } = await asked();
    expect(calls).toEqual(["LIST", "LIST", `PUT ${manifestKey(2)}`, "PUT p/a"]);
    expect(report.told).toContain("put a changed");
    expect((await manifestOf(server)).entries.get("a")?.eTag).toBe(server.object(BUCKET, "p/a").eTag);
    expect((await asked()).calls).toEqual(["LIST", "LIST", `PUT ${manifestKey(3)}`]);
  });
  test("sends nothing of a file that was copied to its own place", async () => {
    copyFileSync(tree.at("a"), tree.at("copy"));
    utimesSync(tree.at("copy"), 1e9 + 0.25, 1e9 + 0.25);
    renameSync(tree.at("copy"), tree.at("a"));
    expect((await asked()).calls).toEqual(["LIST", "LIST", `PUT ${manifestKey(2)}`]);
  });
  test("compares bytes and not times if asked to", async () => {
    utimesSync(tree.at("a"), 2e9, 2e9);
    tree.write("d/b.txt", "BETA");
    expect((await asked({ checksum: true })).calls).toEqual([
      "LIST",
      "LIST",
      `PUT ${manifestKey(2)}`,
      "PUT p/d/b.txt",
    ]);
  });
  test("sends again what somebody has removed or replaced", async () => {
    server.buckets.get(BUCKET)?.delete("p/a");
    await server
      .client()
      .send(new sdk.PutObjectCommand({ Bucket: BUCKET, Key: "p/d/b.txt", Body: "not ours" }));
    const { report } = await run();
    expect(report.told).toContain("put a missing in the bucket");
    expect(report.told).toContain("put d/b.txt replaced in the bucket");
    expect(report.warnings.filter((text) => text.startsWith("d/b.txt: "))).toHaveLength(1);
    expect([await read("p/a"), await read("p/d/b.txt")]).toEqual(["alpha", "beta"]);
  });
  test("sends all again when the bucket was emptied", async () => {
    server.buckets.get(BUCKET)?.clear();
    const { result, report } = await run();
    expect(result.sent).toBe(4);
    expect(report.warnings.join()).toContain("not in the bucket any more");
  });
  test("replaces a file by a folder, and a folder by a file", async () => {
    rmSync(tree.at("a"));
    rmSync(tree.at("d"), { recursive: true });
    tree.write("a/", "");
    tree.write("d", "a file");
    const { report } = await run();
    expect(report.told).toEqual(["put a new", "put d new", "skip empty unchanged"]);
    const { all } = await manifestOf(server);
    expect(all.map(({ key, gone }) => `${key} ${gone === true}`)).toEqual([
      "a true",
      "a/ false",
      "d false",
      "d/b.txt true",
      "d/ü \u{1f600} true",
      "empty/ false",
    ]);
  });
  test("keeps what is not in the source any more, and says so", async () => {
    rmSync(tree.at("a"));
    await run();
    expect((await manifestOf(server)).entries.get("a")).toMatchObject({
      gone: true,
      sha256: sha256("alpha"),
    });
    tree.write("a", "alpha");
    await run();
    expect((await manifestOf(server)).entries.get("a")).not.toHaveProperty("gone", true);
  });
  test("would do the same as a dry run tells, without a key", async () => {
    tree.write("a", "other");
    tree.write("new", "");
    const before = keys();
    const { report, result, calls } = await asked({ dryRun: true });
    expect(calls).toEqual(["LIST"]);
    expect(keys()).toEqual(before);
    expect(report.items.every(({ dryRun }) => dryRun === true)).toBe(true);
    const { report: real, result: done } = await run();
    expect(real.told).toEqual(report.told);
    expect(done.sent).toBe(result.sent);
  });
});

describe("without a journal", () => {
  test("what is stored is known from the newest manifest", async () => {
    await run({ journal: undefined });
    tree.write("a", "other bytes");
    const { report, calls } = await asked({ journal: undefined });
    expect(report.told).toContain("put a changed");
    expect(calls.filter((call) => call.startsWith("PUT"))).toEqual([`PUT ${manifestKey(2)}`, "PUT p/a"]);
    expect(calls.filter((call) => call.startsWith("GET"))).toEqual([`GET ${manifestKey(1)}`]);
  });
  test("a journal that was deleted is made again from it", async () => {
    await run();
    rmSync(tree.journal);
    expect((await run()).result).toMatchObject({ sent: 0, unchanged: 4 });
    const { calls } = await asked();
    expect(calls).toEqual(["LIST", "LIST", `PUT ${manifestKey(3)}`]);
  });
  test("objects are asked where there is no manifest either", async () => {
    await run();
    server.buckets.get(BUCKET)?.delete(manifestKey(1));
    rmSync(tree.journal);
    tree.write("a", "other bytes");
    tree.write("new", "");
    const { report, calls } = await asked();
    expect(report.told).toContain("put a changed");
    expect(calls.filter((call) => call.startsWith("PUT"))).toEqual([
      `PUT ${manifestKey(1)}`,
      "PUT p/a",
      "PUT p/new",
    ]);
    expect(calls.filter((call) => call === "HEAD p/new")).toEqual([]);
    expect((await manifestOf(server)).entries.get("d/b.txt")?.sha256).toBe(sha256("beta"));
  });
  test("an object that somebody else has put there is replaced", async () => {
    await server.client().send(new sdk.PutObjectCommand({ Bucket: BUCKET, Key: "p/a", Body: "alpha" }));
    const { report } = await run();
    expect(report.told).toContain("put a changed");
    expect(await read("p/a")).toBe("alpha");
  });
  test("a manifest under another key is told, and all goes on", async () => {
    await run({ wrappingKey: new Uint8Array(32).fill(1) });
    rmSync(tree.journal);
    const { report, result } = await run();
    expect(report.warnings.join()).toMatch(/manifest/);
    expect(result).toMatchObject({ failed: 0, manifest: { run: 2 } });
  });
});

describe("failures", () => {
  test("of one file keep nothing else from being stored, and the next run makes up for them", async () => {
    await run();
    tree.write("a", "changed");
    tree.write("d/b.txt", "changed");
    server.fault = ({ method, key }) =>
      method === "PUT" && key === "p/a" ? { kind: "error", status: 500, code: "InternalError" } : undefined;
    const { report, result } = await run();
    expect(report.told).toContain("failed a");
    expect(report.told).toContain("put d/b.txt changed");
    expect(result).toMatchObject({ failed: 1, manifest: { run: 2 } });
    const { entries } = await manifestOf(server);
    expect(entries.get("a")).toMatchObject({ stale: true, sha256: sha256("alpha") });
    expect(entries.get("d/b.txt")).not.toHaveProperty("stale", true);
    server.fault = () => undefined;
    expect((await run()).report.told).toContain("put a changed");
    expect((await manifestOf(server)).entries.get("a")).not.toHaveProperty("stale", true);
  });
  test("that pass are tried again", async () => {
    let failures = 2;
    server.fault = ({ method, key }) =>
      method === "PUT" && key === "p/a" && failures-- > 0
        ? { kind: "error", status: 503, code: "SlowDown" }
        : undefined;
    expect((await run({ retries: 3 })).result.failed).toBe(0);
    expect(await read("p/a")).toBe("alpha");
  });
  test.each<[string, (file: string) => void]>([
    ["vanishes", (file) => rmSync(file)],
    ["becomes a FIFO", (file) => replace(file, () => execFileSync("mkfifo", [file]))],
    ["becomes a folder", (file) => replace(file, () => tree.write("a/"))],
    ["becomes a link", (file) => replace(file, () => tree.link("a", "d/b.txt"))],
    ["becomes longer than a part", (file) => truncateSync(file, 6 * 2 ** 20)],
  ])("a file that %s after the walk fails alone", async (_, change) => {
    const { report, result } = await run({ onEntry: (name) => name === "a" && change(tree.at("a")) });
    expect(report.told).toContain("failed a");
    expect(result).toMatchObject({ failed: 1, sent: 3 });
    expect(keys()).not.toContain("p/a");
  });
  test("a file that is shorter or longer than the walk saw is stored as it is", async () => {
    const change: Record<string, () => void> = {
      a: () => appendFileSync(tree.at("a"), "bet"),
      "d/b.txt": () => truncateSync(tree.at("d/b.txt"), 2),
    };
    const { report } = await run({ onEntry: (name) => change[name]?.() });
    expect(await read("p/d/b.txt")).toBe("be");
    // More than memory was taken for: it is read at the second try, or fails.
    expect(report.told).toContain("failed a");
    expect((await manifestOf(server)).entries.get("d/b.txt")).toMatchObject({
      size: 2,
      sha256: sha256("be"),
    });
  });
  test.each([
    ["NoSuchBucket", 404],
    ["InvalidAccessKeyId", 403],
    ["SignatureDoesNotMatch", 403],
  ])("%s ends the run at once", async (code, status) => {
    for (let at = 0; at < 50; at++) tree.write(`many/${at}`, "x");
    server.fault = ({ method }) => (method === "PUT" ? { kind: "error", status, code } : undefined);
    const from = server.calls.length;
    await expect(run()).rejects.toMatchObject({ name: code });
    expect(server.calls.slice(from).filter(({ method }) => method === "PUT").length).toBeLessThan(20);
    expect(keys()).toEqual([]);
  });
  test("an abort ends the run, without a manifest", async () => {
    const abort = new AbortController();
    server.fault = ({ key }) => {
      if (key === "p/d/b.txt") abort.abort(new Error("enough"));
      return undefined;
    };
    await expect(run({ signal: abort.signal, transfers: 1 })).rejects.toThrow("enough");
    expect(keys().filter((key) => key.includes("runs"))).toEqual([]);
    server.fault = () => undefined;
    const { report } = await run();
    expect(report.told).toContain("skip a unchanged");
  });
});

describe("a file that was changed just now", () => {
  test("is compared by its bytes the next time", async () => {
    vi.useRealTimers();
    await run();
    const { ctimeMs } = statSync(tree.at("a"));
    writeFileSync(tree.at("a"), "ALPHA");
    utimesSync(tree.at("a"), 1e9 + 0.25, 1e9 + 0.25);
    // Whether or not the clock of the file system has gone on meanwhile.
    expect(statSync(tree.at("a")).ctimeMs).toBeGreaterThanOrEqual(ctimeMs);
    const { calls } = await asked();
    expect(calls.filter((call) => call.startsWith("PUT"))).toEqual([`PUT ${manifestKey(2)}`, "PUT p/a"]);
  });
});
