// Trees are restored as they were; what is there is left or replaced as asked; and buckets that lie make nothing outside
// of the target, and nothing in it that was not verified.
import { createHash, randomBytes } from "node:crypto";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import * as sdk from "@aws-sdk/client-s3";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { RestoreContext } from "../../src/backup/get-entry.ts";
import { type GetOptions, getTree } from "../../src/backup/get-tree.ts";
import type { DownloadRow } from "../../src/backup/journal/journal.ts";
import { metadataOf } from "../../src/backup/local/attributes.ts";
import { type TargetOptions, TargetTree } from "../../src/backup/local/target-tree.ts";
import type { ManifestEntry } from "../../src/backup/manifest/format.ts";
import { plainNames } from "../../src/backup/names/plain-names.ts";
import type { ItemRecord } from "../../src/backup/report.ts";
import { createTransferQueue } from "../../src/backup/transfer/queue.ts";
import { RawAesKeyring } from "../../src/index.ts";
import { type EncryptS3ClientOptions, encryptS3Client } from "../../src/s3.ts";
import { S3Server } from "../support/s3-server.ts";

const MIB = 2 ** 20;
const Bucket = "bucket";
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
/** 2020-09-13T12:26:40.123456Z */
const mtimeNs = 1_600_000_000_123_456_000n;

let folder: string;
let target: string;
let server: S3Server;
let abort: AbortController;
let items: ItemRecord[];
let warnings: string[];
let moved: number;
let rows: Map<string, DownloadRow>;
beforeAll(async () => {
  server = await S3Server.start();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});
beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "frameseal-get-tree-"));
  target = path.join(folder, "target");
  server.buckets.clear();
  await server.client().send(new sdk.CreateBucketCommand({ Bucket }));
  abort = new AbortController();
  rows = new Map();
  [items, warnings, moved] = [[], [], 0];
});
afterEach(() => {
  server.fault = () => undefined;
  server.delay = async () => {};
  rmSync(folder, { recursive: true, force: true });
});

function encrypting(options: Partial<EncryptS3ClientOptions> = {}): sdk.S3Client {
  return encryptS3Client(server.client({ maxAttempts: 1 }), {
    keyring,
    authentication: "delayed",
    ...options,
  });
}
const asLink = { encryptionContext: { type: "symlink" } };

interface Stored {
  readonly type?: "file" | "directory" | "symlink";
  readonly mode?: number;
  readonly client?: sdk.S3Client;
  readonly metadata?: Record<string, string>;
}
async function put(name: string, contents: string | Uint8Array, stored: Stored = {}): Promise<void> {
  const { type = "file", mode = 0o640 } = stored;
  const client = stored.client ?? encrypting(type === "symlink" ? asLink : {});
  const Metadata = stored.metadata ?? metadataOf({ type, mtimeNs, mode });
  const Body = typeof contents === "string" ? Buffer.from(contents) : contents;
  await client.send(new sdk.PutObjectCommand({ Bucket, Key: `p/${name}`, Body, Metadata }));
}
const putClear = (name: string, Body: string) =>
  server.client().send(new sdk.PutObjectCommand({ Bucket, Key: `p/${name}`, Body }));

function contextOf(more: Partial<RestoreContext> = {}): RestoreContext {
  const { signal } = abort;
  const after = (_: number, then: () => void) => {
    setImmediate(then);
    return () => {};
  };
  return {
    sdk,
    client: encrypting(),
    links: encrypting(asLink),
    plain: server.client({ maxAttempts: 1 }),
    queue: createTransferQueue({ maxInFlight: 16, memory: 64 * MIB, retries: 2, signal, after }),
    signal,
    address: { bucket: Bucket, prefix: "p/" },
    names: plainNames,
    journal: undefined,
    report: {
      total: () => {},
      moved: (_, bytes) => {
        moved += bytes;
      },
      item: (record) => items.push(record),
      warn: (text, about) => warnings.push(`${about}: ${text}`),
      fact: () => {},
    },
    dryRun: false,
    ...more,
  };
}
const journal = {
  allDownloads: () => [...rows.values()],
  download: (file: string) => rows.get(file),
  putDownload: (row: DownloadRow) => void rows.set(row.target, row),
  endDownload: (file: string) => void rows.delete(file),
};
async function get(
  more: Partial<GetOptions> & { context?: Partial<RestoreContext>; choice?: TargetOptions } = {},
): Promise<Record<string, ItemRecord>> {
  const { context, choice, ...options } = more;
  const overwrite = options.existing ?? "refuse";
  [items, warnings, moved] = [[], [], 0];
  await getTree(contextOf(context), {
    openTarget: () => TargetTree.open(target, { overwrite, sync: "none", ...choice }),
    links: "keep",
    existing: overwrite,
    instructionFileSuffix: ".instruction",
    ...options,
  });
  return Object.fromEntries(items.map((item) => [item.path, item]));
}
const at = (name: string): string => path.join(target, name);
const text = (name: string): string => readFileSync(at(name), "utf8");
/** Everything below the folder of the test that is not below the target. */
const outside = (): string[] => readdirSync(folder).filter((name) => name !== "target");
const left = (): string[] =>
  existsSync(target) ? (readdirSync(target, { recursive: true }) as string[]).sort() : [];

describe("what was stored", () => {
  test("is restored: files, folders and links, with times and permissions", async () => {
    await put("a/b/file", "contents", { mode: 0o4751 });
    await put("empty", "");
    await put("folder/", "", { type: "directory", mode: 0o750 });
    await put("a/link", "b/file", { type: "symlink", mode: 0o777 });
    await put("large", Buffer.alloc(9 * MIB, 7));
    await put("ümlaut\n\u202e", "odd");
    const told = await get();
    expect(Object.values(told).map(({ action, error }) => [action, error])).toEqual(
      Array(6).fill(["get", undefined]),
    );
    expect([text("a/b/file"), text("empty"), text("ümlaut\n\u202e")]).toEqual(["contents", "", "odd"]);
    expect(readFileSync(at("large")).equals(Buffer.alloc(9 * MIB, 7))).toBe(true);
    expect(readlinkSync(at("a/link"))).toBe("b/file");
    // Nobody has proven that it is to be setuid.
    expect(statSync(at("a/b/file")).mode & 0o7777).toBe(0o751);
    expect(statSync(at("folder")).mode & 0o7777).toBe(0o750);
    for (const name of ["a/b/file", "large", "folder", "a/link"])
      expect(lstatSync(at(name), { bigint: true }).mtimeNs / 1000n, name).toBe(mtimeNs / 1000n);
    expect(told["a/link"]).toMatchObject({ type: "symlink" });
    expect(moved).toBe("contents".length + 9 * MIB + "b/file".length + 3);
  });

  test("is left when it is there and equal, without fetching it", async () => {
    await put("file", "contents");
    await put("link", "file", { type: "symlink" });
    await put("folder/", "", { type: "directory" });
    await put("large", Buffer.alloc(9 * MIB, 7));
    await get();
    const before = server.calls.length;
    const told = await get();
    expect(Object.values(told).map(({ action }) => action)).toEqual(Array(4).fill("skip"));
    const gets = server.calls
      .slice(before)
      .filter(({ method, headers }) => method === "GET" && headers.range === undefined);
    // The listing, and the link: whether it says the same only its contents tell.
    expect(gets.map(({ key }) => key)).toEqual(["", "p/link", "p/link"]);
  });

  test("replaces nothing else unless that was asked for", async () => {
    await put("file", "contents");
    await put("other", "contents");
    mkdirSync(target);
    writeFileSync(at("file"), "mine");
    symlinkSync("/nowhere", at("other"));
    const refused = await get();
    expect([refused.file?.error, refused.other?.error]).toMatchObject([
      { code: "EEXIST" },
      { code: "EEXIST" },
    ]);
    expect([text("file"), readlinkSync(at("other"))]).toEqual(["mine", "/nowhere"]);
    const replaced = await get({ existing: "replace" });
    expect([replaced.file?.error, replaced.other?.error]).toEqual([undefined, undefined]);
    expect([text("file"), text("other")]).toEqual(["contents", "contents"]);
  });

  test("never replaces a folder by a file, nor a file by a folder", async () => {
    await put("a", "contents");
    await put("b/", "", { type: "directory" });
    await put("c/d", "contents");
    mkdirSync(at("a"), { recursive: true });
    writeFileSync(at("b"), "mine");
    writeFileSync(at("c"), "mine");
    const told = await get({ existing: "replace" });
    expect([told.a?.error, told.b?.error, told["c/d"]?.error]).toMatchObject([
      { code: "EISDIR" },
      { code: "EEXIST" },
      { code: "ENOTDIR" },
    ]);
    expect(left()).toEqual(["a", "b", "c"]);
  });

  test("is only told in a dry run, and nothing is fetched or made", async () => {
    await put("file", "contents");
    await put("folder/", "", { type: "directory" });
    const before = server.calls.filter(({ method, key }) => method === "GET" && key !== "").length;
    const told = await get({ context: { dryRun: true }, choice: { make: "never" } });
    expect([told.file, told.folder]).toMatchObject([{ dryRun: true }, { dryRun: true }]);
    expect(existsSync(target)).toBe(false);
    // One of them, for the sizes of the listing.
    expect(
      server.calls.filter(({ method, key }) => method === "GET" && key !== "").length - before,
    ).toBeLessThan(2);
  });

  test("is chosen by its path", async () => {
    await put("a/file", "contents");
    await put("b/file", "contents");
    await get({ selects: (name) => name.startsWith("a/") });
    expect(left()).toEqual(["a", path.join("a", "file")]);
  });

  test("of the s3ec formats is restored too, and instruction files are none of it", async () => {
    const beside = encrypting({ format: "s3ec-v3", instructionFiles: "write" });
    await put("beside", "contents", { client: beside });
    await put("large", Buffer.alloc(9 * MIB, 7), { client: encrypting({ format: "s3ec-v3" }) });
    const told = await get();
    expect(text("beside")).toBe("contents");
    expect(statSync(at("large")).size).toBe(9 * MIB);
    expect(told["beside.instruction"]).toBe(undefined);
    expect(warnings).toEqual([expect.stringContaining("beside.instruction")]);
  });
});

describe("a bucket that lies", () => {
  test("makes nothing outside of the target, and nothing that is not verified", async () => {
    mkdirSync(target);
    mkdirSync(path.join(folder, "elsewhere"));
    symlinkSync(path.join(folder, "elsewhere"), at("way-out"));
    const names = [
      "../up",
      "a/../../up",
      "/absolute",
      "a//b",
      "./c",
      "x/./y",
      "nul\0",
      ".x.frameseal-part",
      "way-out/f",
    ];
    await put("evil", "evil");
    const evil = server.object(Bucket, "p/evil");
    for (const name of names) server.buckets.get(Bucket)?.set(`p/${name}`, evil);
    server.buckets.get(Bucket)?.delete("p/evil");
    await putClear("clear", "evil");
    await putClear("mark/", "");
    await put("hint", "../..", { metadata: metadataOf({ type: "symlink", mtimeNs, mode: 0o777 }) });
    await put("out", "../../etc/passwd", { type: "symlink" });
    await put("absolute-link", "/etc/passwd", { type: "symlink" });
    await put("flipped", "contents");
    await put("good", "contents");
    const flipped = server.object(Bucket, "p/flipped");
    flipped.body = Buffer.from(flipped.body);
    flipped.body[flipped.body.length - 1] = (flipped.body.at(-1) ?? 0) ^ 1;
    const moved = server.object(Bucket, "p/good");
    server.buckets.get(Bucket)?.set("p/moved", moved);
    const told = await get();
    expect(outside()).toEqual(["elsewhere"]);
    expect(readdirSync(path.join(folder, "elsewhere"))).toEqual([]);
    expect(left()).toEqual(["good", "way-out"]);
    for (const name of [
      "../up",
      "a/../../up",
      "/absolute",
      "a//b",
      "./c",
      "x/./y",
      "nul\0",
      ".x.frameseal-part",
    ])
      expect(told[`p/${name}`], name).toMatchObject({ error: { code: "UNSUPPORTED" }, untrusted: true });
    const codes = ["clear", "hint", "flipped", "moved", "out", "absolute-link"].map(
      (name) => (told[name]?.error as { code?: string } | undefined)?.code,
    );
    expect(codes).toEqual([
      "NOT_ENCRYPTED",
      "CONTEXT_MISMATCH",
      "AUTHENTICATION_FAILED",
      "CONTEXT_MISMATCH",
      "POLICY",
      "POLICY",
    ]);
    expect(told["way-out/f"]?.error).toMatchObject({ code: "ENOTDIR" });
    expect(warnings).toEqual([expect.stringContaining("mark")]);
  });

  test("with one name for a file and a folder has one of them restored, and the other told", async () => {
    await put("a", "file");
    await put("a/b", "in folder");
    const told = await get();
    const failures = items.filter(({ error }) => error !== undefined);
    expect(failures).toHaveLength(1);
    expect(existsSync(at("a"))).toBe(true);
    expect(Object.keys(told).sort()).toEqual(["a", "a/b"]);
  });

  test("with folders that have contents restores none of them", async () => {
    await put("folder/", "contents", { type: "directory" });
    expect((await get()).folder?.error).toMatchObject({ code: "UNSUPPORTED" });
    expect(left()).toEqual([]);
  });

  test("whose objects are longer than listed costs no more memory than a large one", async () => {
    await put("file", Buffer.alloc(9 * MIB, 7));
    const stored = server.object(Bucket, "p/file");
    const whole = stored.body;
    stored.body = whole.subarray(0, 1000);
    server.delay = async ({ key }) => {
      if (key !== "") stored.body = whole;
    };
    const told = await get({ context: { client: encrypting({ listSizes: "stored" }) } });
    expect(told.file?.error).toBe(undefined);
    expect(statSync(at("file")).size).toBe(9 * MIB);
  });

  test("that cannot be listed to its end fails the whole", async () => {
    await put("file", "contents");
    server.fault = ({ query }) =>
      query.has("list-type") ? { kind: "error", status: 403, code: "AccessDenied" } : undefined;
    await expect(get()).rejects.toMatchObject({ name: "AccessDenied" });
  });
});

describe("a large object", () => {
  const large = randomBytes(20 * MIB);
  beforeEach(() => put("large", large, { client: encrypting({ partSize: 16 * MIB }) }));
  /** Fails the second range. */
  const failBehind = (): void => {
    server.fault = ({ headers }) => {
      const start = Number(/^bytes=(\d+)/.exec(`${headers.range}`)?.[1] ?? 0);
      const isSecond = start > 15 * MIB && start < 19 * MIB;
      return isSecond ? { kind: "error", status: 403, code: "AccessDenied" } : undefined;
    };
  };

  test("that broke off is gone on with, with a journal", async () => {
    failBehind();
    const failed = await get({ context: { journal } });
    expect(failed.large?.error).toMatchObject({ name: "AccessDenied" });
    const [row] = rows.values();
    expect(row).toMatchObject({ key: "p/large", target: at("large") });
    // The second range stops the first, somewhere.
    expect(row?.verified).toBeLessThanOrEqual(16 * MIB);
    server.fault = () => undefined;
    const told = await get({ context: { journal } });
    expect(told.large?.error).toBe(undefined);
    expect(readFileSync(at("large")).equals(large)).toBe(true);
    expect(moved).toBe(large.length);
    expect([rows.size, left()]).toEqual([0, ["large"]]);
  });

  test("that broke off leaves nothing without one", async () => {
    failBehind();
    await get();
    expect(left()).toEqual([]);
  });

  test("that was replaced meanwhile begins anew", async () => {
    failBehind();
    await get({ context: { journal } });
    server.fault = () => undefined;
    const other = randomBytes(20 * MIB);
    await put("large", other, { client: encrypting({ partSize: 16 * MIB }) });
    await get({ context: { journal } });
    expect(readFileSync(at("large")).equals(other)).toBe(true);
  });

  test("that is not authentic leaves nothing to go on with", async () => {
    const stored = server.object(Bucket, "p/large");
    stored.body[19 * MIB] = (stored.body[19 * MIB] ?? 0) ^ 1;
    const told = await get({ context: { journal } });
    expect(told.large?.error).toMatchObject({ code: "AUTHENTICATION_FAILED" });
    expect([rows.size, left()]).toEqual([0, []]);
  });

  test("is given up at an abort, and kept with a journal", async () => {
    const report = { ...contextOf().report, moved: () => abort.abort(new Error("enough")) };
    await expect(get({ context: { journal, report } })).rejects.toThrow();
    expect(left()).toEqual([".large.frameseal-part"]);
    expect(rows.size).toBe(1);
  });
});

describe("a manifest", () => {
  const sha256 = (contents: string): string => createHash("sha256").update(contents).digest("hex");
  function entry(name: string, contents: string, more: Partial<ManifestEntry> = {}): ManifestEntry {
    const { eTag } = server.object(Bucket, `p/${name}`);
    const size = contents.length;
    return {
      path: name,
      key: name,
      type: "file",
      size,
      mtimeNs,
      mode: 0o644,
      sha256: sha256(contents),
      eTag,
      ...more,
    };
  }
  async function* of(...entries: ManifestEntry[]): AsyncGenerator<ManifestEntry> {
    yield* entries;
  }

  test("says what is restored, and how", async () => {
    await put("file", "contents", { metadata: {} });
    await put("gone", "contents");
    await put("added", "contents");
    await put("link", "file", { type: "symlink" });
    const { uid, gid } =
      process.geteuid === undefined
        ? { uid: 0, gid: 0 }
        : { uid: process.geteuid(), gid: process.getegid?.() ?? 0 };
    const told = await get({
      entries: of(
        entry("file", "contents", { mode: 0o4755, uid, gid }),
        entry("gone", "contents", { gone: true }),
        entry("link", "file", { type: "symlink" }),
        { path: "folder", key: "folder/", type: "directory", size: 0, mtimeNs, mode: 0o700, eTag: "x" },
      ),
    });
    expect(Object.values(told).map(({ error }) => error)).toEqual([undefined, undefined, undefined]);
    expect(left()).toEqual(["file", "folder", "link"]);
    expect(statSync(at("file")).mode & 0o7777).toBe(0o4755);
    expect(statSync(at("folder")).mode & 0o7777).toBe(0o700);
    const again = await get({ entries: of(entry("file", "contents")) });
    expect(again.file).toMatchObject({ action: "skip" });
  });

  test("notices what was removed, swapped or changed", async () => {
    await put("missing", "contents");
    await put("changed", "contents");
    await put("large", Buffer.alloc(9 * MIB, 7));
    const entries = [
      entry("missing", "contents"),
      entry("changed", "contents"),
      entry("large", "", { size: 9 * MIB, sha256: sha256("something else") }),
      entry("changed", "contents", { path: "never-read", sha256: undefined, eTag: '"other"' }),
    ];
    await put("changed", "another");
    server.buckets.get(Bucket)?.delete("p/missing");
    const told = await get({ entries: of(...entries), context: { journal } });
    expect(told.missing).toMatchObject({ untrusted: true, error: { name: "NoSuchKey" } });
    for (const name of ["changed", "large", "never-read"])
      expect(told[name]?.error, name).toMatchObject({ code: "AUTHENTICATION_FAILED" });
    expect([left(), rows.size]).toEqual([[], 0]);
  });

  test("takes what was encrypted again for the same", async () => {
    await put("file", "contents");
    const before = entry("file", "contents");
    await put("file", "contents");
    await get({ entries: of(before) });
    expect(text("file")).toBe("contents");
  });

  test.each([
    ["a small file", 8],
    ["a large one", 9 * MIB],
  ])("names the version of %s that was replaced since", async (_, size) => {
    const contents = "x".repeat(size);
    await put("file", contents);
    const old = entry("file", contents, { versionId: "v1", size });
    const first = server.object(Bucket, "p/file");
    await put("file", "y".repeat(size));
    const second = server.object(Bucket, "p/file");
    // As a bucket that keeps versions.
    server.delay = async ({ query }) => {
      server.buckets.get(Bucket)?.set("p/file", query.get("versionId") === "v1" ? first : second);
    };
    expect((await get({ entries: of(old) })).file?.error).toBe(undefined);
    expect(text("file") === contents).toBe(true);
    // The version has expired: the digest of what is there decides.
    rmSync(target, { recursive: true });
    server.delay = async () => {};
    server.buckets.get(Bucket)?.set("p/file", second);
    server.fault = ({ query }) =>
      query.has("versionId") ? { kind: "error", status: 404, code: "NoSuchVersion" } : undefined;
    expect((await get({ entries: of(old) })).file?.error).toMatchObject({ code: "AUTHENTICATION_FAILED" });
  });
});
