// Removal of objects: what is selected and nothing else, a thousand with one request; what cannot be removed is told.
import { randomBytes } from "node:crypto";
import * as sdk from "@aws-sdk/client-s3";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { plainNames } from "../../src/backup/names/plain-names.ts";
import {
  type RemoveContext,
  type RemoveOptions,
  removeObject,
  removeTree,
} from "../../src/backup/remove-tree.ts";
import type { ItemRecord } from "../../src/backup/report.ts";
import { createTransferQueue } from "../../src/backup/transfer/queue.ts";
import { RawAesKeyring } from "../../src/index.ts";
import { encryptS3Client } from "../../src/s3.ts";
import { S3Server } from "../support/s3-server.ts";

const Bucket = "bucket";
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
let server: S3Server;
let abort: AbortController;
let items: ItemRecord[];
let forgotten: string[];
beforeAll(async () => {
  server = await S3Server.start();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});
beforeEach(async () => {
  server.buckets.clear();
  await server.client().send(new sdk.CreateBucketCommand({ Bucket }));
  abort = new AbortController();
  [items, forgotten] = [[], []];
});
afterEach(() => {
  server.fault = () => undefined;
});

const put = (Key: string) => server.client().send(new sdk.PutObjectCommand({ Bucket, Key, Body: "x" }));
const keys = (): string[] => [...(server.buckets.get(Bucket)?.keys() ?? [])].sort();
function contextOf(more: Partial<RemoveContext> = {}): RemoveContext {
  const { signal } = abort;
  const after = (_: number, then: () => void) => {
    setImmediate(then);
    return () => {};
  };
  return {
    sdk,
    plain: server.client({ maxAttempts: 1 }),
    address: { bucket: Bucket, prefix: "p/" },
    names: plainNames,
    queue: createTransferQueue({ maxInFlight: 16, memory: 2 ** 26, retries: 2, signal, after }),
    journal: { removeStored: (key) => forgotten.push(key) },
    report: {
      total: () => {},
      moved: () => {},
      item: (record) => items.push(record),
      warn: () => {},
      fact: () => {},
    },
    signal,
    dryRun: false,
    ...more,
  };
}
const remove = (options: Partial<RemoveOptions> = {}, more: Partial<RemoveContext> = {}) =>
  removeTree(contextOf(more), { all: false, instructionFileSuffix: ".instruction", ...options });
/** A client that answers with these errors to a batch. */
function refusing(Errors: sdk._Error[], plain = server.client()): sdk.S3Client {
  return new Proxy(plain, {
    get: (client, name) =>
      name !== "send"
        ? Reflect.get(client, name)
        : (command: object, ...rest: []) =>
            command instanceof sdk.DeleteObjectsCommand
              ? Promise.resolve({ Errors, $metadata: {} })
              : client.send(command as sdk.DeleteObjectCommand, ...rest),
  });
}

test("all below a prefix goes, but for what is reserved and what lies beside it", async () => {
  const odd = ["p/a", "p/a b+c&<%41", "p/\u0001\r\n\u202e\ufffe", "p/f/", "p/é/x", "p/line\r\nend"];
  for (const key of [...odd, "p/.frameseal/runs/00000001", "p", "pp/a", "q"]) await put(key);
  expect(await remove()).toBe(odd.length);
  expect(keys()).toEqual(["p", "p/.frameseal/runs/00000001", "pp/a", "q"]);
  expect(items.map(({ key, error }) => [key, error]).sort()).toEqual(
    odd.map((key) => [key, undefined]).sort(),
  );
  expect(forgotten.sort()).toEqual([...odd].sort());
  await remove({ all: true });
  expect(keys()).toEqual(["p", "pp/a", "q"]);
});

test("a thousand with one request", async () => {
  const objects = server.buckets.get(Bucket);
  await put("one");
  const one = server.object(Bucket, "one");
  for (let number = 0; number < 2500; number++) objects?.set(`p/${number}`, one);
  const before = server.calls.length;
  expect(await remove()).toBe(2500);
  const calls = server.calls.slice(before).map(({ method }) => method);
  expect([calls.filter((method) => method === "POST").length, calls.includes("DELETE")]).toEqual([3, false]);
  expect(keys()).toEqual(["one"]);
});

test("only what is selected goes, and instruction files with their objects", async () => {
  for (const key of ["p/a.tmp", "p/a.tmp.instruction", "p/b", "p/b.instruction"]) await put(key);
  await remove({ selects: (path) => path.endsWith(".tmp") });
  expect(keys()).toEqual(["p/b", "p/b.instruction"]);
});

test("nothing goes in a dry run", async () => {
  await put("p/a");
  await remove({}, { dryRun: true });
  expect([keys(), items, forgotten]).toMatchObject([["p/a"], [{ key: "p/a", dryRun: true }], []]);
});

test("what is refused is told, and what may pass is tried again", async () => {
  for (const key of ["p/a", "p/b", "p/c"]) await put(key);
  const plain = refusing([
    { Key: "p/a", Code: "AccessDenied", Message: "no" },
    { Key: "p/b", Code: "SlowDown", Message: "later" },
  ]);
  await remove({}, { plain });
  expect(items.map(({ key, error }) => [key, (error as Error | undefined)?.name]).sort()).toEqual([
    ["p/a", "AccessDenied"],
    ["p/b", undefined],
    ["p/c", undefined],
  ]);
  expect(keys()).not.toContain("p/b");
  expect(forgotten.sort()).toEqual(["p/b", "p/c"]);
});

test("servers without that request are asked one by one", async () => {
  for (const key of ["p/a", "p/b"]) await put(key);
  server.fault = ({ query }) =>
    query.has("delete") ? { kind: "error", status: 501, code: "NotImplemented" } : undefined;
  await remove();
  expect(keys()).toEqual([]);
});

test("a batch that fails fails its keys, and a listing that fails all", async () => {
  await put("p/a");
  server.fault = ({ query }) =>
    query.has("delete") ? { kind: "error", status: 403, code: "AccessDenied" } : undefined;
  await remove();
  expect(items).toMatchObject([{ key: "p/a", error: { name: "AccessDenied" } }]);
  server.fault = ({ query }) =>
    query.has("list-type") ? { kind: "error", status: 403, code: "AccessDenied" } : undefined;
  await expect(remove()).rejects.toMatchObject({ name: "AccessDenied" });
  expect(keys()).toEqual(["p/a"]);
});

test("an abort ends it", async () => {
  await put("p/a");
  abort.abort(new Error("enough"));
  await expect(remove()).rejects.toThrow();
  expect(keys()).toEqual(["p/a"]);
});

test("one object goes with its instruction file, and nothing that only has such a name", async () => {
  const client = encryptS3Client(server.client(), { keyring, format: "s3ec-v3", instructionFiles: "write" });
  await client.send(new sdk.PutObjectCommand({ Bucket, Key: "k", Body: "x" }));
  await put("other");
  await put("other.instruction");
  const suffix = { instructionFileSuffix: ".instruction" };
  expect(keys()).toContain("k.instruction");
  expect(await removeObject(contextOf(), "k", suffix)).toBe(true);
  expect(await removeObject(contextOf(), "other", suffix)).toBe(true);
  expect(await removeObject(contextOf(), "missing", suffix)).toBe(false);
  expect(keys()).toEqual(["other.instruction"]);
  expect(items.map(({ key }) => key)).toEqual(["k", "other"]);
  expect(await removeObject(contextOf({ dryRun: true }), "other.instruction", suffix)).toBe(true);
  expect(keys()).toEqual(["other.instruction"]);
});
