// Uploads in parts: how long parts are, what memory they take, parts that wait on disk and are sent again, and an upload
// that ends in an object or in nothing, whatever fails and whenever.
import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { Readable } from "node:stream";
import { CreateBucketCommand, PutObjectCommand, type S3Client } from "@aws-sdk/client-s3";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { checkOptions } from "../../../src/check-options.ts";
import { RawAesKeyring } from "../../../src/index.ts";
import { planParts } from "../../../src/s3/requests/part-plan.ts";
import { PartSpool } from "../../../src/s3/requests/part-spool.ts";
import {
  UPLOAD_SETTINGS,
  type UploadSettings,
  uploadOptionsFrom,
} from "../../../src/s3/requests/upload-settings.ts";
import { Stop } from "../../../src/s3/stop.ts";
import { type EncryptS3ClientOptions, encryptS3Client } from "../../../src/s3.ts";
import { outcomeOf, readObject } from "../../support/s3-outcome.ts";
import { type S3Call, type S3Fault, S3Server } from "../../support/s3-server.ts";

const MiB = 2 ** 20;
const GiB = 2 ** 30;
const TiB = 2 ** 40;
const MAX_PARTS = 10_000;
const MAX_PART = 5 * GiB;
const F = 65_536;

/** Stored bytes of framed objects: 32 bytes a frame, a header, a final frame. */
const framed =
  (frameLength: number, header = 600) =>
  (length: number): number =>
    length + Math.floor(length / frameLength) * 32 + 38 + header;
const planFor = (
  settings: UploadSettings,
  length: number | undefined,
  alignment = F,
  storedLength = framed(alignment),
) => planParts({ ...uploadOptionsFrom(settings), length, alignment, storedLength });

describe("the lengths of parts", () => {
  const settings: readonly UploadSettings[] = [
    {},
    { partSize: 5 * MiB, memory: 16 * MiB },
    { partSize: 5 * MiB, memory: 16 * MiB, uploadConcurrency: 1 },
    { memory: 16 * MiB },
    { memory: 17 * MiB + 1, uploadConcurrency: 7 },
    { memory: 256 * MiB, uploadConcurrency: 16 },
    { memory: GiB },
    { partSize: 64 * MiB },
    { partSize: GiB },
    { partSize: 5 * GiB },
    { uploadConcurrency: 1000 },
  ];
  const alignments: readonly (readonly [number, (length: number) => number])[] = [
    [F, framed(F)],
    [16, (length) => length + 16],
    [16, framed(16)],
    [4096, framed(4096, 100_000)],
    [MiB, framed(MiB)],
    [64 * MiB, framed(64 * MiB)],
  ];
  const cases = settings.flatMap((options) =>
    alignments.map(([alignment, stored]) => ({ options, alignment, stored })),
  );

  test.each(cases)(
    "keep S3's limits and the memory: $options, $alignment",
    ({ options, alignment, stored }) => {
      const { memory, uploadConcurrency } = uploadOptionsFrom(options);
      for (const [length, expectedSize] of [
        [undefined, undefined],
        [undefined, 300 * GiB],
        [undefined, 48 * TiB],
        [20 * MiB, undefined],
        [5 * TiB, undefined],
        [16 * TiB, undefined],
      ] as const) {
        const plan = planFor({ ...options, expectedSize }, length, alignment, stored);
        let total = 0;
        let before = 0;
        const wrong: string[] = [];
        for (let number = 1; number <= MAX_PARTS; number++) {
          const size = plan.lengthOf(number);
          const slots = plan.slotsFor(size);
          const isRight =
            size % alignment === 0 &&
            size >= before &&
            stored(size) <= MAX_PART &&
            slots <= uploadConcurrency &&
            // A spooled part is sealed in slices, and a slice is one frame or more.
            (slots > 0
              ? size + slots * stored(size) <= 0.75 * memory
              : alignment > memory / 16 || 3 * stored(plan.sliceLength) < memory);
          if (!isRight) wrong.push(`part ${number}: ${size} bytes, ${slots} slots`);
          before = size;
          total += size;
        }
        expect(wrong.slice(0, 3)).toEqual([]);
        expect(plan.memoryLength).toBeLessThanOrEqual(Math.max(0.75 * memory, alignment + stored(alignment)));
        // Tiny frames triple what is stored, so that less plaintext fits into S3's parts.
        const most = stored(GiB) / GiB;
        expect(total).toBeGreaterThanOrEqual(length ?? Math.min(expectedSize ?? 5 * TiB, 48 * TiB) / most);
      }
    },
  );

  test("unknown: 93 GiB stay in memory and 12 TiB fit in, with the least memory 7 TiB", () => {
    const reach = (options: UploadSettings) => {
      const plan = planFor(options, undefined);
      let inMemory = 0;
      let total = 0;
      for (let number = 1; number <= MAX_PARTS; number++) {
        const size = plan.lengthOf(number);
        if (plan.slotsFor(size) > 0) inMemory += size;
        total += size;
      }
      return {
        inMemory: inMemory / GiB,
        total: total / TiB,
        first: plan.lengthOf(1),
        slots: plan.slotsFor(8 * MiB),
      };
    };
    const usual = reach({});
    expect(usual.first).toBe(8 * MiB);
    expect(usual.slots).toBe(4);
    expect(usual.inMemory).toBeGreaterThan(93);
    expect(usual.total).toBeGreaterThan(12);
    expect(reach({ memory: 16 * MiB, partSize: 5 * MiB }).total).toBeGreaterThan(7);
    expect(reach({ memory: GiB }).inMemory).toBeGreaterThan(800);
  });

  test("known or expected: no spool where the memory can avoid it", () => {
    for (const length of [230 * GiB, 100 * GiB, 5 * MiB, 0]) {
      const plan = planFor({}, length);
      expect(plan.slotsFor(plan.lengthOf(1)), String(length)).toBeGreaterThan(0);
    }
    const expected = planFor({ expectedSize: 200 * GiB }, undefined);
    expect(expected.slotsFor(expected.lengthOf(9000))).toBeGreaterThan(0);
    expect(expected.lengthOf(9001)).toBe(2 * expected.lengthOf(9000));
    const most = planFor({ expectedSize: MAX_PARTS * MAX_PART }, undefined);
    expect(most.lengthOf(1)).toBeGreaterThan(5 * GiB - 4 * MiB);
  });

  test("more than 10,000 parts of 5 GiB are refused", () => {
    expect(() => planFor({}, 49 * TiB)).toThrow(/needs more than 10000 parts/);
    expect(planFor({}, 48 * TiB).lengthOf(1)).toBeLessThan(MAX_PART);
  });

  test.each([
    { partSize: 5 * MiB - 1 },
    { partSize: 5 * GiB + 1 },
    { partSize: Number.NaN },
    { uploadConcurrency: 0 },
    { uploadConcurrency: 1.5 },
    { memory: 16 * MiB - 1 },
    { memory: Number.POSITIVE_INFINITY },
    { memory: "64M" as unknown as number },
    { expectedSize: -1 },
    { expectedSize: 50 * TiB },
    { spoolFolder: "" },
    { spoolFolder: 5 as unknown as string },
  ])("settings that are wrong are refused: %o", (options) => {
    expect(() => checkOptions("options", options, UPLOAD_SETTINGS)).toThrow(/^"\w+" expected/);
  });
});

describe("on the strict server", () => {
  const Bucket = "bucket";
  const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
  const data = randomBytes(45 * MiB + 3);
  const folder = mkdtempSync(path.join(tmpdir(), "frameseal-spool-"));
  let server: S3Server;
  beforeAll(async () => {
    server = await S3Server.start();
    await server.client().send(new CreateBucketCommand({ Bucket }));
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true });
  });
  afterEach(async () => {
    server.fault = () => undefined;
    server.onBody = () => {};
    expect(server.uploads.size).toBe(0);
    // A file that is being made loses its name a moment later.
    await expect.poll(() => readdirSync(folder)).toEqual([]);
    // A read that is under way is waited for before its file is closed.
    await expect.poll(openSpools).toBe(0);
  });
  /** Parts of 20 MiB do not fit twice into 16. */
  const spooling = { memory: 16 * MiB, partSize: 20 * MiB, spoolFolder: folder };
  const clientFor = (options: Partial<EncryptS3ClientOptions> = {}, client = server.client()): S3Client =>
    encryptS3Client(client, { keyring, ...spooling, ...options });
  const source = (): Readable =>
    Readable.from(
      (function* () {
        for (let at = 0; at < data.length; at += 300_000) yield data.subarray(at, at + 300_000);
      })(),
      { objectMode: false },
    );
  const put = (client: S3Client, Body: unknown, more: object = {}, options: object = {}) =>
    client.send(new PutObjectCommand({ Bucket, Key: "key", Body: Body as Buffer, ...more }), options);
  const isPart =
    (number: number) =>
    ({ query }: S3Call): boolean =>
      query.get("partNumber") === String(number);
  const stored = () => readObject(clientFor(), { Bucket, Key: "key" });

  /** Descriptors of spooled parts that are open, where the system tells. */
  function openSpools(): number {
    if (process.platform !== "linux") return 0;
    const links = readdirSync("/proc/self/fd").flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/self/fd/${fd}`)];
      } catch {
        return [];
      }
    });
    return links.filter((link) => link.includes("frameseal-part-")).length;
  }

  test.each([
    ["framed", {}],
    ["s3ec-v3", { format: "s3ec-v3" as const }],
    ["framed, Node's engine", { engine: "node" }],
    ["s3ec-v3, Node's engine", { format: "s3ec-v3" as const, engine: "node" }],
  ] as const)("spooled parts hold what parts in memory would: %s", async (_, options) => {
    for (const [body, more] of [
      [source(), {}],
      [source(), { ContentLength: data.length }],
      [data, {}],
      [new Blob([data]), {}],
    ] as const) {
      const before = server.calls.length;
      await put(clientFor(options), body, more);
      const parts = server.calls.slice(before).filter(({ query }) => query.has("partNumber"));
      expect(parts.length).toBe(3);
      expect((await stored()).equals(data)).toBe(true);
    }
    await put(clientFor(options), data.subarray(0, 2 * MiB));
    expect((await stored()).equals(data.subarray(0, 2 * MiB))).toBe(true);
  });

  test("a body that ends on a boundary of parts or slices, or just beside it", async () => {
    for (const length of [
      MiB - 1,
      MiB,
      MiB + 1,
      7 * MiB,
      8 * MiB,
      20 * MiB - 1,
      20 * MiB,
      20 * MiB + 1,
      40 * MiB,
    ]) {
      const body = data.subarray(0, length);
      for (const ContentLength of [undefined, length]) {
        await put(clientFor(), Readable.from([body], { objectMode: false }), { ContentLength });
        expect((await stored()).equals(body), `${length}, ${ContentLength}`).toBe(true);
      }
    }
  });

  test.each([
    ["CRC32", "crc32"],
    ["SHA1", "sha1"],
    ["SHA256", "sha256"],
    ["CRC32C", "crc32c"],
  ] as const)(
    "spooled parts carry the checksum that Create announced: %s",
    async (ChecksumAlgorithm, name) => {
      await put(clientFor(), source(), { ChecksumAlgorithm });
      expect(server.object(Bucket, "key").checksum?.algorithm).toBe(name);
      expect((await stored()).equals(data)).toBe(true);
    },
  );

  test("without checksums, and without signed payloads over TLS", async () => {
    const unsigned = clientFor({ unsignedPayload: "https-only" }, server.secureClient());
    await put(unsigned, source(), { ChecksumAlgorithm: "CRC32C" });
    expect((await stored()).equals(data)).toBe(true);
    await put(clientFor({}, server.client({ requestChecksumCalculation: "WHEN_REQUIRED" })), source());
    expect((await stored()).equals(data)).toBe(true);
    await put(clientFor({ unsignedPayload: "https-only" }, server.secureClient()), source());
    expect((await stored()).equals(data)).toBe(true);
  });

  const passing: Readonly<Record<string, S3Fault>> = {
    "503": { kind: "error", status: 503, code: "SlowDown" },
    "500 after it took effect": { kind: "error", status: 500, code: "InternalError", after: true },
    "429": { kind: "error", status: 429, code: "TooManyRequests" },
    reset: { kind: "reset" },
    "reset after it took effect": { kind: "reset", after: true },
    silence: { kind: "stall" },
  };
  test.each(Object.keys(passing))("a spooled part is sent again, the same bytes, after: %s", async (name) => {
    const requestHandler = { requestTimeout: 1000, socketTimeout: 1000, throwOnRequestTimeout: true };
    const bodies: Buffer[] = [];
    let met = 0;
    server.fault = (call) => (isPart(2)(call) && ++met <= 2 ? passing[name] : undefined);
    server.onBody = (call, body) => {
      if (isPart(2)(call)) bodies.push(body);
    };
    await put(clientFor({}, server.client({ requestHandler })), source());
    expect(met).toBe(3);
    expect(bodies.every((body) => bodies[0]?.equals(body) === true)).toBe(true);
    expect((await stored()).equals(data)).toBe(true);
  });

  test("a failure that will not pass is not tried again", async () => {
    let met = 0;
    server.fault = (call) => {
      if (!isPart(2)(call)) return undefined;
      met += 1;
      return { kind: "error", status: 403, code: "AccessDenied" };
    };
    expect(await outcomeOf(put(clientFor(), source()))).toBe("AccessDenied");
    expect(met).toBe(1);
  });

  test.each([
    ["a folder that is not there", path.join(folder, "none"), /ENOENT/],
    ["a file", process.execPath, /ENOTDIR/],
  ])("no place for a spool: %s", async (_, spoolFolder, text) => {
    const failed = put(clientFor({ spoolFolder }), source());
    await expect(failed).rejects.toThrow(text);
    await expect(failed).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
  });

  test("a full disk is told as such", async () => {
    if (process.platform !== "linux") return;
    const spool = await PartSpool.create(folder, undefined);
    const handle = await import("node:fs/promises").then(({ open }) => open("/dev/full", "r+"));
    const write = Object.getPrototypeOf(handle).write as (...args: unknown[]) => Promise<unknown>;
    Object.getPrototypeOf(handle).write = (...args: unknown[]) => write.apply(handle, args.slice(0, 3));
    try {
      await expect(spool.write(Buffer.alloc(100))).rejects.toThrow(/the disk is full/);
    } finally {
      Object.getPrototypeOf(handle).write = write;
      await handle.close();
      await spool.close();
    }
  });

  test("the file of a spool has no name and is nobody else's", async () => {
    const spool = await PartSpool.create(folder, "CRC32");
    try {
      await spool.write(data.subarray(0, 1000));
      if (process.platform !== "win32") expect(readdirSync(folder)).toEqual([]);
      const sent: Buffer[] = [];
      let attempts = 0;
      const stop = new Stop(undefined);
      await spool.send(async ({ Body, ChecksumCRC32 }) => {
        expect(ChecksumCRC32).toMatch(/^[\w+/]{6}==$/);
        for await (const chunk of Body as Readable) sent.push(chunk as Buffer);
        if (++attempts < 3) throw Object.assign(new Error("reset"), { code: "ECONNRESET" });
        return { $metadata: {} };
      }, stop);
      expect(Buffer.concat(sent).equals(Buffer.concat(Array(3).fill(data.subarray(0, 1000))))).toBe(true);
    } finally {
      await spool.close();
    }
  });

  describe.each([
    ["in memory", { memory: 64 * MiB, partSize: 8 * MiB }],
    ["spooled", spooling],
  ] as const)("parts %s", (_, sizes) => {
    const requests: Readonly<Record<string, (call: S3Call) => boolean>> = {
      CreateMultipartUpload: ({ query }) => query.has("uploads"),
      "UploadPart 1": isPart(1),
      "UploadPart 2": isPart(2),
      "UploadPart 3": isPart(3),
      CompleteMultipartUpload: ({ method, query }) => method === "POST" && query.has("uploadId"),
    };

    test.each(Object.keys(requests))("an abort at %s leaves nothing", async (name) => {
      const controller = new AbortController();
      server.fault = (call) => {
        if (requests[name]?.(call) !== true) return undefined;
        controller.abort();
        return { kind: "stall" };
      };
      const body = source();
      const putting = put(clientFor(sizes), body, {}, { abortSignal: controller.signal });
      expect(await outcomeOf(putting)).toBe("ABORTED");
      expect(body.destroyed).toBe(true);
    });

    test.each(Object.keys(requests))("a refusal of %s leaves nothing", async (name) => {
      server.fault = (call) =>
        requests[name]?.(call) === true ? { kind: "error", status: 403, code: "AccessDenied" } : undefined;
      const body = source();
      expect(await outcomeOf(put(clientFor(sizes), body))).toBe("AccessDenied");
      if (name !== "CompleteMultipartUpload") expect(body.destroyed).toBe(true);
    });

    test("an upload that cannot be aborted is named by the error", async () => {
      for (const [isMet, fault] of [
        [requests["UploadPart 2"], { kind: "error", status: 403, code: "AccessDenied" }],
        [requests.CompleteMultipartUpload, { kind: "error", status: 403, code: "AccessDenied" }],
      ] as const) {
        server.fault = (call) => (isMet?.(call) === true || call.method === "DELETE" ? fault : undefined);
        const error = await put(clientFor(sizes), source()).then(
          () => undefined,
          (error: { uploadId?: string; message: string; name: string }) => error,
        );
        const [left] = server.uploads.keys();
        expect(error?.name).toBe("AccessDenied");
        expect(error?.uploadId).toBe(left);
        expect(error?.message).toContain(`${left} could not be aborted`);
        server.uploads.clear();
      }
    });

    test("a server that is silent about the abort is not waited for without end", {
      timeout: 30_000,
    }, async () => {
      server.fault = (call) => (call.method === "DELETE" ? { kind: "stall" } : undefined);
      const controller = new AbortController();
      const body = new Readable({ read() {} });
      body.push(Buffer.alloc(30 * MiB));
      const putting = put(clientFor(sizes), body, {}, { abortSignal: controller.signal });
      while (server.uploads.size === 0) await new Promise((resolve) => setTimeout(resolve, 10));
      controller.abort();
      await expect(putting).rejects.toMatchObject({
        code: "ABORTED",
        uploadId: [...server.uploads.keys()][0],
      });
      server.uploads.clear();
    });
  });
});
