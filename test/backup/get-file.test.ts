// Downloads of one object: whole, in verified ranges, as one stream; from where an earlier one ended; and what becomes of
// them when the server lies.
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import * as sdk from "@aws-sdk/client-s3";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  digestOf,
  type FetchContext,
  fetchLarge,
  fetchSmall,
  type GrowingFile,
  type LargeFetch,
  SMALL_LENGTH,
  seeObject,
} from "../../src/backup/get-file.ts";
import { createTransferQueue } from "../../src/backup/transfer/queue.ts";
import { RawAesKeyring } from "../../src/index.ts";
import { type EncryptS3ClientOptions, encryptS3Client } from "../../src/s3.ts";
import { S3Server } from "../support/s3-server.ts";

const MIB = 2 ** 20;
const Bucket = "bucket";
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
/** Over two borders of ranges. */
const large = Buffer.concat([
  randomBytes(14 * MIB),
  Buffer.alloc(5 * MIB),
  randomBytes(17 * MIB + 77),
  Buffer.alloc(MIB),
]);

let folder: string;
let server: S3Server;
let file: FileHandle;
let abort: AbortController;
beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "frameseal-get-file-"));
  server = await S3Server.start();
  await server.client().send(new sdk.CreateBucketCommand({ Bucket }));
  await put("large", large, { partSize: 16 * MIB });
  await put("s3ec", large.subarray(0, 9 * MIB), { format: "s3ec-v3" });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});
beforeEach(async () => {
  abort = new AbortController();
  file = await open(path.join(folder, "file"), "w+");
});
afterEach(async () => {
  server.fault = () => undefined;
  server.delay = async () => {};
  await file.close();
});

function encrypting(options: Partial<EncryptS3ClientOptions> = {}): sdk.S3Client {
  return encryptS3Client(server.client({ maxAttempts: 1 }), {
    keyring,
    authentication: "delayed",
    ...options,
  });
}
async function put(
  Key: string,
  Body: Uint8Array,
  options: Partial<EncryptS3ClientOptions> = {},
): Promise<void> {
  await encrypting(options).send(new sdk.PutObjectCommand({ Bucket, Key, Body, Metadata: { own: "1" } }));
}
function contextOf(retries = 3): FetchContext {
  const { signal } = abort;
  const queue = createTransferQueue({
    maxInFlight: 16,
    memory: 64 * MIB,
    retries,
    signal,
    after: (_, then) => {
      setImmediate(then);
      return () => {};
    },
  });
  return { sdk, client: encrypting(), plain: server.client(), queue, signal };
}
async function fetchOf(
  context: FetchContext,
  Key: string,
  more: Partial<LargeFetch> = {},
): Promise<LargeFetch> {
  const name = { Bucket, Key };
  const seen = await seeObject(context, name);
  const growing: GrowingFile = {
    write: async (bytes, position) => void (await file.write(bytes, 0, bytes.length, position)),
    sync: () => file.datasync(),
    truncate: (length) => file.truncate(length),
  };
  return { name, seen, file: growing, verified: 0, onMoved: () => {}, onSaved: undefined, ...more };
}
const gets = (): number => server.calls.filter(({ method, key }) => method === "GET" && key !== "").length;
const contents = async (length: number): Promise<Buffer> =>
  (await file.read(Buffer.alloc(length + 1), 0, length + 1, 0)).buffer.subarray(0, (await file.stat()).size);

describe("small objects", () => {
  test("come whole, with what is told of them", async () => {
    await put("small", large.subarray(0, 1000));
    const { facts, bytes } = await fetchSmall(contextOf(), { Bucket, Key: "small" }, undefined, abort.signal);
    expect(bytes?.equals(large.subarray(0, 1000))).toBe(true);
    expect(facts).toMatchObject({ metadata: { own: "1" }, eTag: server.object(Bucket, "small").eTag });
  });

  test("that are none, or another one than the manifest names, are left", async () => {
    const context = contextOf();
    expect((await fetchSmall(context, { Bucket, Key: "large" }, undefined, abort.signal)).bytes).toBe(
      undefined,
    );
    await put("small", large.subarray(0, 1000));
    expect((await fetchSmall(context, { Bucket, Key: "small" }, '"other"', abort.signal)).bytes).toBe(
      undefined,
    );
  });

  test("that are not encrypted, or changed, fail", async () => {
    await server.client().send(new sdk.PutObjectCommand({ Bucket, Key: "clear", Body: "text" }));
    const clear = fetchSmall(contextOf(), { Bucket, Key: "clear" }, undefined, abort.signal);
    await expect(clear).rejects.toMatchObject({ code: "NOT_ENCRYPTED" });
    await put("flipped", large.subarray(0, 1000));
    const stored = server.object(Bucket, "flipped");
    stored.body = Buffer.from(stored.body);
    stored.body[700] = (stored.body[700] ?? 0) ^ 1;
    const flipped = fetchSmall(contextOf(), { Bucket, Key: "flipped" }, undefined, abort.signal);
    await expect(flipped).rejects.toMatchObject({ code: "AUTHENTICATION_FAILED" });
  });
});

describe("large objects", () => {
  test("come in ranges, and are counted and remembered as they come", async () => {
    const context = contextOf();
    let moved = 0;
    const saved: number[] = [];
    const fetch = await fetchOf(context, "large", {
      onMoved: (bytes) => (moved += bytes),
      onSaved: (position) => saved.push(position),
    });
    expect(fetch.seen).toMatchObject({ isFramed: true, metadata: { own: "1" } });
    const before = gets();
    expect(await fetchLarge(context, fetch)).toBe(large.length);
    expect((await contents(large.length)).equals(large)).toBe(true);
    expect(moved).toBe(large.length);
    expect(gets() - before).toBeGreaterThanOrEqual(3);
    expect(saved.length).toBeGreaterThan(0);
    expect(saved.every((position) => position > 0 && position < large.length)).toBe(true);
    expect(await digestOf(file.fd, abort.signal)).toBe(createHash("sha256").update(large).digest("hex"));
  });

  test("go on where they were, and read nothing before that", async () => {
    const context = contextOf();
    await file.write(large.subarray(0, 30 * MIB), 0, 30 * MIB, 0);
    const { calls } = server;
    const before = calls.length;
    let moved = 0;
    const fetch = await fetchOf(context, "large", {
      verified: 30 * MIB,
      onMoved: (bytes) => (moved += bytes),
    });
    await fetchLarge(context, fetch);
    expect((await contents(large.length)).equals(large)).toBe(true);
    expect(moved).toBe(large.length - 30 * MIB);
    const starts = calls
      .slice(before)
      .map(({ headers }) => Number(/^bytes=(\d+)/.exec(`${headers.range}`)?.[1] ?? 0));
    expect(starts.every((start) => start === 0 || start > 25 * MIB)).toBe(true);
  });

  test("remember what is verified when the rest fails", async () => {
    const context = contextOf(0);
    let saved = 0;
    const fetch = await fetchOf(context, "large", { onSaved: (position) => (saved = position) });
    // Whatever lies behind the second border.
    server.fault = ({ headers }) =>
      Number(/^bytes=(\d+)/.exec(`${headers.range}`)?.[1] ?? 0) > 32 * MIB
        ? { kind: "error", status: 403, code: "AccessDenied" }
        : undefined;
    await expect(fetchLarge(context, fetch)).rejects.toMatchObject({ name: "AccessDenied" });
    const kept = (await contents(large.length)).subarray(0, saved);
    expect(kept.equals(large.subarray(0, saved))).toBe(true);
    server.fault = () => undefined;
    await fetchLarge(context, { ...fetch, verified: saved });
    expect((await contents(large.length)).equals(large)).toBe(true);
  });

  test("that are replaced meanwhile fail, and mix no two versions", async () => {
    const context = contextOf();
    const fetch = await fetchOf(context, "large");
    await put("large", randomBytes(36 * MIB), { partSize: 16 * MIB });
    await expect(fetchLarge(context, fetch)).rejects.toMatchObject({ name: "PreconditionFailed" });
    await put("large", large, { partSize: 16 * MIB });
  });

  test("that were changed fail, and nothing behind the change is remembered", async () => {
    const context = contextOf();
    await put("changed", large.subarray(0, 36 * MIB), { partSize: 16 * MIB });
    const stored = server.object(Bucket, "changed");
    stored.body[20 * MIB] = (stored.body[20 * MIB] ?? 0) ^ 1;
    let saved = 0;
    const fetch = await fetchOf(context, "changed", { onSaved: (position) => (saved = position) });
    await expect(fetchLarge(context, fetch)).rejects.toMatchObject({ code: "AUTHENTICATION_FAILED" });
    expect(saved).toBeLessThan(20 * MIB);
    expect((await contents(saved)).subarray(0, saved).equals(large.subarray(0, saved))).toBe(true);
  });

  test("of one message come as a stream, from the beginning each time", async () => {
    const context = contextOf();
    const nine = large.subarray(0, 9 * MIB);
    await file.write(randomBytes(10 * MIB), 0, 10 * MIB, 0);
    let moved = 0;
    const fetch = await fetchOf(context, "s3ec", { onMoved: (bytes) => (moved += bytes) });
    expect(fetch.seen.isFramed).toBe(false);
    await fetchLarge(context, fetch);
    expect((await contents(nine.length)).equals(nine)).toBe(true);
    expect(moved).toBe(nine.length);
    const stored = server.object(Bucket, "s3ec");
    stored.body[5 * MIB] = (stored.body[5 * MIB] ?? 0) ^ 1;
    await expect(fetchLarge(context, fetch)).rejects.toMatchObject({ code: "AUTHENTICATION_FAILED" });
    stored.body[5 * MIB] = (stored.body[5 * MIB] ?? 0) ^ 1;
  });

  test.each(["large", "s3ec"])("end at an abort, and nothing is written afterwards: %s", async (Key) => {
    const context = contextOf();
    const fetch = await fetchOf(context, Key, {
      onMoved: (bytes) => {
        if (bytes > 0) abort.abort(new Error("enough"));
      },
    });
    await expect(fetchLarge(context, fetch)).rejects.toThrow();
    const { size, mtimeMs } = await file.stat();
    await new Promise(setImmediate);
    expect(await file.stat()).toMatchObject({ size, mtimeMs });
  });
});

test("objects that are held in memory are no longer than that", () => {
  expect(SMALL_LENGTH).toBeLessThan(large.length);
});
