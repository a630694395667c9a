// What a range costs: reads of the source, requests over HTTP, and frames opened again or kept.
import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { describe, expect, test, vi } from "vitest";
import type { Engine } from "../../src/engine/engine.ts";
import { nodeEngine } from "../../src/engine/node/engine.ts";
import { encrypt, type MessageSource, openMessage, RawAesKeyring } from "../../src/index.ts";
import { encryptS3Client } from "../../src/s3.ts";
import { codeOf } from "../message/fixtures.ts";
import { S3Server } from "../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

const F = 65_536;
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
const data = randomBytes(70 * F + 1_000);
const message = await encrypt(data, { keyring });

/** A source that notes each read. */
function counting(bytes: Uint8Array): MessageSource & { readonly reads: [number, number][] } {
  const reads: [number, number][] = [];
  return {
    size: bytes.length,
    reads,
    read: async (start, end) => {
      reads.push([start, end]);
      return bytes.subarray(start, end);
    },
  };
}

describe("reads of the source", () => {
  test("two to open, one for a short message, and one for each range whatever it covers", async () => {
    const source = counting(message);
    const reader = await openMessage(source, { keyring });
    expect(source.reads.length).toBe(2);
    for (const [start, end] of [
      [0, 1],
      [5 * F, 6 * F],
      [5 * F + 1, 6 * F + 1],
      [F - 1, F + 1],
      [17, 40 * F + 3],
      [70 * F - 1, data.length],
      [data.length - 1, data.length],
      [0, data.length],
    ] as const) {
      source.reads.length = 0;
      expect((await reader.read(start, end)).equals(data.subarray(start, end))).toBe(true);
      expect(source.reads.length, `${start}-${end}`).toBe(1);
      // No frame is fetched that the range does not touch.
      const [from, to] = source.reads[0] ?? [0, 0];
      expect(to - from).toBeLessThan(end - start + 2 * (F + 40) + Math.ceil((end - start) / F) * 32);
    }
    source.reads.length = 0;
    await Promise.all(Array.from({ length: 20 }, (_, i) => reader.read(i * F, (i + 1) * F)));
    expect(source.reads.length).toBe(20);
    await reader.close();
    const short = counting(await encrypt(data.subarray(0, 900), { keyring }));
    await openMessage(short, { keyring });
    expect(short.reads.length).toBe(1);
  });

  test("a stream reads ahead, in order and no further than it is told", async () => {
    for (const concurrency of [1, 2, 4]) {
      const source = counting(message);
      const reader = await openMessage(source, { keyring, concurrency });
      source.reads.length = 0;
      const stream = reader.createReadStream({ start: 100, end: data.length - 2 });
      const iterator = stream[Symbol.asyncIterator]();
      const first: Buffer = (await iterator.next()).value;
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
      // One run was read, one fills the stream's buffer, and `concurrency` are on their way.
      expect(source.reads.length).toBeLessThanOrEqual(concurrency + 2);
      const parts = [first];
      for await (const part of { [Symbol.asyncIterator]: () => iterator }) parts.push(part);
      expect(Buffer.concat(parts).equals(data.subarray(100, -1))).toBe(true);
      expect(source.reads.length).toBe(5); // runs of 1 MiB
      expect(source.reads.map(([start]) => start)).toEqual(
        source.reads.map(([start]) => start).sort((a, b) => a - b),
      );
      await reader.close();
    }
  });

  test("several runs are asked for before the first has come", async () => {
    const source = counting(message);
    const waiting: (() => void)[] = [];
    const held: MessageSource = {
      size: source.size,
      read: async (start, end) => {
        if (holding) await new Promise<void>((resolve) => waiting.push(resolve));
        return source.read(start, end);
      },
    };
    let holding = false;
    const reader = await openMessage(held, { keyring, concurrency: 3 });
    holding = true;
    const whole = buffer(reader.createReadStream());
    while (waiting.length < 3) await new Promise((resolve) => setImmediate(resolve));
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(waiting.length).toBe(3);
    holding = false;
    for (const release of waiting.reverse()) release(); // the last comes first
    expect((await whole).equals(data)).toBe(true);
    await reader.close();
  });

  test("a stream that is destroyed or fails asks for no more", async () => {
    const changed = Buffer.from(message);
    const at = message.length - 20 * F;
    changed[at] = (changed[at] ?? 0) ^ 1;
    const source = counting(changed);
    const reader = await openMessage(source, { keyring });
    expect(await codeOf(() => buffer(reader.createReadStream()))).toBe("AUTHENTICATION_FAILED");
    source.reads.length = 0;
    const stream = reader.createReadStream();
    await stream[Symbol.asyncIterator]().next();
    stream.destroy();
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(source.reads.length).toBeLessThan(5);
    await reader.close();
  });
});

describe("recent frames", () => {
  test("small reads near each other cost one read, and results belong to the caller", async () => {
    const source = counting(message);
    const reader = await openMessage(source, { keyring, cacheLength: 4 * F });
    source.reads.length = 0;
    for (let at = 0; at < 2 * F; at += 1_000) {
      const bytes = await reader.read(at, at + 1_000);
      expect(bytes.equals(data.subarray(at, at + 1_000))).toBe(true);
      bytes.fill(0);
    }
    expect(source.reads.length).toBe(3); // frames 0, 1, and 2 at the last piece's end
    await reader.read(F - 10, 3 * F);
    expect(source.reads.length).toBe(3);
    await reader.close();
  });

  test("the one not used for longest goes first, and only what is missing is fetched, at once", async () => {
    const source = counting(message);
    const reader = await openMessage(source, { keyring, cacheLength: 3 * F });
    const read = async (first: number, last: number): Promise<number> => {
      source.reads.length = 0;
      const bytes = await reader.read(first * F + 1, Math.min(data.length, (last + 1) * F - 1));
      expect(bytes.equals(data.subarray(first * F + 1, Math.min(data.length, (last + 1) * F - 1)))).toBe(
        true,
      );
      const [from, to] = source.reads[0] ?? [0, 0];
      expect(source.reads.length).toBeLessThanOrEqual(1);
      return Math.ceil((to - from) / (F + 40));
    };
    expect(await read(0, 2)).toBe(3);
    expect(await read(0, 0)).toBe(0);
    expect(await read(3, 3)).toBe(1); // pushes out 1
    expect(await read(0, 0)).toBe(0);
    expect(await read(2, 2)).toBe(0);
    expect(await read(0, 3)).toBe(1); // 1 alone
    expect(await read(70, 70)).toBe(1); // the final frame
    expect(await read(70, 70)).toBe(0);
    expect(await read(10, 40)).toBe(31); // longer than the cache
    await reader.close();
  });

  test("random reads with any cache are slices", async () => {
    for (const cacheLength of [0, 1_000, F, 5 * F, 100 * F]) {
      const reader = await openMessage(message, { keyring, cacheLength });
      const reads = Array.from({ length: 200 }, async () => {
        const start = Math.floor(Math.random() * data.length);
        const end = Math.min(data.length, start + 1 + Math.floor(Math.random() ** 3 * 10 * F));
        expect((await reader.read(start, end)).equals(data.subarray(start, end))).toBe(true);
      });
      await Promise.all(reads);
      await reader.close();
    }
  });

  test("are never those of a frame that is not authentic, and are wiped on close", async () => {
    const changed = Buffer.from(message);
    changed[2_000] = (changed[2_000] ?? 0) ^ 1;
    const reader = await openMessage(changed, { keyring, cacheLength: 4 * F });
    for (let i = 0; i < 2; i++) expect(await codeOf(() => reader.read(0, 10))).toBe("AUTHENTICATION_FAILED");
    await reader.close();
    expect(await codeOf(() => reader.read(2 * F, 3 * F))).toBe("ABORTED");
    expect(await codeOf(() => openMessage(message, { keyring, cacheLength: -1 }))).toBe("RangeError");
  });
});

test("a range of many frames is opened with one call of the engine", async () => {
  let opens = 0;
  const engine: Engine = {
    ...nodeEngine,
    createKey(rawKey) {
      const key = nodeEngine.createKey(rawKey);
      const frameCipher = key.frameCipher.bind(key);
      key.frameCipher = (format) => {
        const cipher = frameCipher(format);
        const open = cipher.open.bind(cipher);
        cipher.open = (...run) => {
          opens += 1;
          return open(...run);
        };
        return cipher;
      };
      return key;
    },
  };
  const reader = await openMessage(message, { keyring, engine });
  opens = 0;
  await reader.read(3, 50 * F);
  expect(opens).toBe(1);
  await reader.close();
});

test("a file on disk", async () => {
  const folder = await mkdtemp(join(tmpdir(), "ranges-"));
  try {
    await writeFile(join(folder, "message"), message);
    const reader = await openMessage(join(folder, "message"), { keyring, cacheLength: F });
    expect((await reader.read(-5_000)).equals(data.subarray(-5_000))).toBe(true);
    expect((await buffer(reader.createReadStream({ start: 7 }))).equals(data.subarray(7))).toBe(true);
    await reader.close();
  } finally {
    await rm(folder, { recursive: true });
  }
});

describe("over HTTP", () => {
  const Bucket = "bucket";
  const Key = "object";

  test("one request for each range after two to open", async () => {
    await using server = await S3Server.start();
    const plain = server.client();
    await plain.send(new CreateBucketCommand({ Bucket }));
    await plain.send(new PutObjectCommand({ Bucket, Key, Body: message }));
    const gets = (): number =>
      server.calls.filter(({ method, key }) => method === "GET" && key === Key).length;
    const reader = await openMessage(
      {
        size: message.length,
        async read(start, end) {
          const Range = `bytes=${start}-${end - 1}`;
          const { Body } = await plain.send(new GetObjectCommand({ Bucket, Key, Range }));
          return (await Body?.transformToByteArray()) ?? new Uint8Array(0);
        },
      },
      { keyring },
    );
    expect(gets()).toBe(2);
    for (let i = 0; i < 5; i++) {
      const before = gets();
      const start = i * 9 * F + 77;
      expect((await reader.read(start, start + 3 * F)).equals(data.subarray(start, start + 3 * F))).toBe(
        true,
      );
      expect(gets() - before).toBe(1);
    }
    await reader.close();
  });

  test("the S3 client opens the object anew for each GetObject: three requests, one for a short object", async () => {
    await using server = await S3Server.start();
    const plain = server.client();
    await plain.send(new CreateBucketCommand({ Bucket }));
    const client = encryptS3Client(plain, { keyring });
    await client.send(new PutObjectCommand({ Bucket, Key, Body: data }));
    await client.send(new PutObjectCommand({ Bucket, Key: "short", Body: data.subarray(0, 900) }));
    const calls = async (key: string, Range: string): Promise<number> => {
      const before = server.calls.length;
      const { Body } = await client.send(new GetObjectCommand({ Bucket, Key: key, Range }));
      await Body?.transformToByteArray();
      return server.calls.length - before;
    };
    expect(await calls(Key, `bytes=${9 * F}-${10 * F - 1}`)).toBe(3);
    expect(await calls(Key, `bytes=${9 * F + 1}-${40 * F}`)).toBe(3);
    expect(await calls("short", "bytes=3-800")).toBe(1);
  });
});
