// Every request of every operation meets every fault of the network, once or for good: what comes out is what went in,
// or one error that says what happened; no upload stays behind, what was there before stays, and nothing hangs.
import { createHash, randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import {
  buildClient,
  CommitmentPolicy,
  RawAesKeyringNode,
  RawAesWrappingSuiteIdentifier,
} from "@aws-crypto/client-node";
import {
  CopyObjectCommand,
  CreateBucketCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { RawAesKeyring } from "../../../src/index.ts";
import { rewrapWithin } from "../../../src/s3/rewrap.ts";
import {
  decryptObject,
  type EncryptS3ClientOptions,
  encryptS3Client,
  rewrapObject,
} from "../../../src/s3.ts";
import { FULL } from "../../support/full.ts";
import { readObject } from "../../support/s3-outcome.ts";
import { type S3Call, type S3Fault, S3Server, type StoredS3Object } from "../../support/s3-server.ts";
import { openByOracle } from "../single-message/s3ec-oracle.ts";

// Most of the time is spent in waiting for what never answers.
vi.setConfig({ maxConcurrency: 6 });

type Format = "framed" | "s3ec-v3";
const Bucket = "bucket";
const MiB = 2 ** 20;
const names = { keyNamespace: "n", keyName: "k" };
const wrappingKey = randomBytes(32);
const newWrappingKey = randomBytes(32);
const keyring = new RawAesKeyring({ ...names, wrappingKey });
const newKeyring = new RawAesKeyring({ ...names, wrappingKey: newWrappingKey });

const large = randomBytes(10 * MiB + 7);
const small = randomBytes(100_000);
const read = randomBytes(700_000);
/** What stood, and stands, where something is written; and what others put in the place of what is read. */
const old = randomBytes(5000);
const other = randomBytes(read.length + 16);
const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** A fault, and what it may lead to. */
interface Case {
  readonly fault: S3Fault | "replaced";
  /** The call may have taken effect although it failed. */
  readonly after?: boolean;
  /** The service was not reached, or said nothing that could be wrong: no verdict on the object may come of it. */
  readonly broken?: boolean;
  /** How it goes on: the next requests meet it as well, or all of them. */
  readonly burst?: number;
  /** Requests that have nothing for it. */
  readonly only?: (call: S3Call) => boolean;
  /** Operations whose answers nothing authenticates. */
  readonly not?: readonly string[];
}
const hasRange = ({ method, headers }: S3Call): boolean => method === "GET" && headers.range !== undefined;
const hasAnswer = ({ method }: S3Call): boolean => method !== "HEAD" && method !== "DELETE";
const isCompleting = ({ method, query, headers }: S3Call): boolean =>
  (method === "POST" && query.has("uploadId")) || headers["x-amz-copy-source"] !== undefined;
const cases: Readonly<Record<string, Case>> = {
  "connection refused": { fault: { kind: "refuse", ms: 30 }, broken: true },
  "reset before the answer": { fault: { kind: "reset" }, broken: true },
  "reset while the request is sent": { fault: { kind: "reset-request", at: 10 }, broken: true },
  "reset after the headers": { fault: { kind: "reset-headers" }, after: true, broken: true, only: hasAnswer },
  "reset at byte 100": { fault: { kind: "cut", at: 100 }, after: true, broken: true, only: hasAnswer },
  "reset at byte 70,000": { fault: { kind: "cut", at: 70_000 }, after: true, broken: true, only: hasAnswer },
  "ended at byte 150": { fault: { kind: "end", at: 150 }, after: true, broken: true, only: hasAnswer },
  "stall for a while": { fault: { kind: "stall", ms: 200 }, broken: true },
  "stall for ever": { fault: { kind: "stall" }, broken: true },
  "stall for ever after it took effect": { fault: { kind: "stall", after: true }, after: true, broken: true },
  "stall within the body": {
    fault: { kind: "stall-body", at: 60_000 },
    after: true,
    broken: true,
    only: hasAnswer,
  },
  drip: { fault: { kind: "drip", pieces: 20, ms: 5 }, after: true, broken: true, only: hasAnswer },
  "500": { fault: { kind: "error", status: 500, code: "InternalError" }, broken: true },
  "500 after it took effect": {
    fault: { kind: "error", status: 500, code: "InternalError", after: true },
    after: true,
    broken: true,
  },
  "503 in a burst": { fault: { kind: "error", status: 503, code: "SlowDown" }, burst: 2, broken: true },
  "403": { fault: { kind: "error", status: 403, code: "AccessDenied" } },
  "403 from then on": {
    fault: { kind: "error", status: 403, code: "ExpiredToken" },
    burst: Number.POSITIVE_INFINITY,
  },
  "error under status 200": { fault: { kind: "error200", instead: true }, only: isCompleting },
  "error under status 200 after it took effect": {
    fault: { kind: "error200" },
    after: true,
    only: isCompleting,
  },
  "answer lost": { fault: { kind: "reset", after: true }, after: true, broken: true },
  "cut body with its length": { fault: { kind: "cut", at: 30 }, after: true, broken: true, only: hasAnswer },
  "cut body with another length": { fault: { kind: "short", by: 20 }, after: true, only: hasAnswer },
  "more bytes": { fault: { kind: "extra", by: 20 }, after: true, only: hasAnswer },
  "more bytes than told": { fault: { kind: "surplus", by: 20 }, after: true, only: hasAnswer },
  "flipped byte": {
    fault: { kind: "flip", at: 150 },
    after: true,
    only: hasAnswer,
    not: ["list", "range s3ec-v3"],
  },
  "flipped byte further on": {
    fault: { kind: "flip", at: 69_000 },
    after: true,
    only: hasAnswer,
    not: ["list", "range s3ec-v3"],
  },
  "another range": { fault: { kind: "other-range", told: "truly" }, after: true, only: hasRange },
  "another range under the name of the right one": {
    fault: { kind: "other-range", told: "falsely" },
    after: true,
    only: hasRange,
    not: ["range s3ec-v3"],
  },
  "another version from then on": { fault: "replaced" },
  "wrong ETag": { fault: { kind: "etag" }, after: true },
  "clock that is off": { fault: { kind: "skewed" } },
};
/** Those that are also met by every attempt of the request. */
const lasting = new Set([
  "connection refused",
  "reset before the answer",
  "reset after the headers",
  "reset at byte 100",
  "stall within the body",
  "500",
  "error under status 200",
  "error under status 200 after it took effect",
  "answer lost",
  "cut body with another length",
  "flipped byte",
  "clock that is off",
]);

/** Where an operation runs: a server of its own, with objects in it. */
interface Place {
  readonly server: S3Server;
  readonly plain: S3Client;
  readonly client: S3Client;
  readonly format: Format;
}
/** An operation on the objects `read` and `written`, and what must come of it. */
interface Operation {
  readonly formats: readonly Format[];
  readonly options?: Partial<EncryptS3ClientOptions>;
  /** Returns what is read, or told; nothing when it stores. */
  readonly run: (place: Place) => Promise<Buffer | number | undefined>;
  readonly gives?: readonly (Buffer | number)[];
  /** The key under which it stores, and what then is there. */
  readonly stores?: { readonly key: "written" | "read"; readonly bytes: Buffer; readonly under?: Buffer };
  /** The upload is that of another program, which has its id, and leaves some when it cannot complete or abort them. */
  readonly isOthers?: true;
}
const both: readonly Format[] = ["framed", "s3ec-v3"];
const stream = (bytes: Buffer): Readable =>
  Readable.from([bytes.subarray(0, 5_000_000), bytes.subarray(5_000_000)]);
const put =
  (Body: () => Buffer | Readable) =>
  async ({ client }: Place) => {
    await client.send(new PutObjectCommand({ Bucket, Key: "written", Body: Body() }));
    return undefined;
  };
const get = (Range?: string) => (place: Place) => readObject(place.client, { Bucket, Key: "read", Range });
const rewrapping = [
  { bucket: Bucket, key: "read" },
  { from: keyring, to: newKeyring },
] as const;
const rewrap = async ({ plain }: Place) => {
  await rewrapObject(plain, ...rewrapping);
  return undefined;
};
const rewrapInParts = async ({ plain }: Place) => {
  await rewrapWithin(plain, ...rewrapping, { copy: 1000, part: 5 * MiB });
  return undefined;
};
const range = "bytes=70000-200000";
const inRange = read.subarray(70_000, 200_001);
const inRangeOfOther = other.subarray(70_000, 200_001);
const file = { instructionFiles: "write" } as const;
const operations: Readonly<Record<string, Operation>> = {
  "put of one part": { formats: both, run: put(() => small), stores: { key: "written", bytes: small } },
  "put of three parts": {
    formats: both,
    run: put(() => stream(large)),
    stores: { key: "written", bytes: large },
  },
  "put with an instruction file": {
    formats: ["s3ec-v3"],
    options: file,
    run: put(() => small),
    stores: { key: "written", bytes: small },
  },
  "put of three parts with an instruction file": {
    formats: ["s3ec-v3"],
    options: file,
    run: put(() => stream(large)),
    stores: { key: "written", bytes: large },
  },
  "upload by lib-storage": {
    formats: both,
    run: async ({ client }) => {
      const params = { Bucket, Key: "written", Body: stream(large) };
      await new Upload({ client, partSize: 5 * MiB, params }).done();
      return undefined;
    },
    stores: { key: "written", bytes: large },
    isOthers: true,
  },
  get: { formats: both, run: get(), gives: [read, other] },
  "get in two passes": {
    formats: ["s3ec-v3"],
    options: { authentication: "two-pass" },
    run: get(),
    gives: [read, other],
  },
  "get with an instruction file": { formats: ["s3ec-v3"], options: file, run: get(), gives: [read, other] },
  range: { formats: both, run: get(range), gives: [inRange, inRangeOfOther] },
  head: {
    formats: both,
    run: async ({ client }) =>
      (await client.send(new HeadObjectCommand({ Bucket, Key: "read" }))).ContentLength ?? -1,
    gives: [read.length, other.length],
  },
  list: {
    formats: both,
    run: async ({ client }) => {
      const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket, Prefix: "read" }));
      return Contents.find(({ Key }) => Key === "read")?.Size ?? -1;
    },
    gives: [read.length, other.length],
  },
  copy: {
    formats: both,
    options: { bind: "none" },
    run: async ({ client }) => {
      await client.send(new CopyObjectCommand({ Bucket, Key: "written", CopySource: `${Bucket}/read` }));
      return undefined;
    },
    stores: { key: "written", bytes: read },
  },
  "copy encrypted again": {
    formats: ["framed"],
    options: { boundCopy: "reencrypt" },
    run: async ({ client }) => {
      await client.send(new CopyObjectCommand({ Bucket, Key: "written", CopySource: `${Bucket}/read` }));
      return undefined;
    },
    stores: { key: "written", bytes: read },
  },
  rewrap: { formats: both, run: rewrap, stores: { key: "read", bytes: read, under: newWrappingKey } },
  "rewrap of an instruction file": {
    formats: ["s3ec-v3"],
    options: file,
    run: rewrap,
    stores: { key: "read", bytes: read, under: newWrappingKey },
  },
  "rewrap by a copy in parts": {
    formats: ["s3ec-v3"],
    run: rewrapInParts,
    stores: { key: "read", bytes: read, under: newWrappingKey },
  },
};

/** Retries without the pauses between them. */
const retryStrategy = {
  acquireInitialRetryToken: async () => ({ getRetryCount: () => 0, getRetryDelay: () => 0 }),
  refreshRetryTokenForRetry: async (
    token: { getRetryCount(): number },
    error: { readonly errorType: string },
  ) => {
    if (error.errorType === "CLIENT_ERROR" || token.getRetryCount() >= 2) throw new Error("no more attempts");
    return { getRetryCount: () => token.getRetryCount() + 1, getRetryDelay: () => 0 };
  },
  recordSuccess: () => {},
};
const TIMEOUT_MS = 1500;
/** Nothing may take this long: three attempts of a request, and of what cleans up after it, and a busy machine. */
const HANG_MS = 25_000;

async function startPlace(format: Format, options: Partial<EncryptS3ClientOptions>): Promise<Place> {
  const server = await S3Server.start();
  const config = {
    // Short enough for silence, long enough for a busy machine.
    requestHandler: { socketTimeout: TIMEOUT_MS, requestTimeout: TIMEOUT_MS, throwOnRequestTimeout: true },
    retryStrategy,
  };
  const plain = server.client(config);
  await plain.send(new CreateBucketCommand({ Bucket }));
  const client = encryptS3Client(plain, {
    keyring,
    format,
    partSize: 5 * MiB,
    enableLegacyUnauthenticatedModes: true,
    ...options,
  });
  await client.send(new PutObjectCommand({ Bucket, Key: "read", Body: read }));
  await client.send(new PutObjectCommand({ Bucket, Key: "written", Body: old }));
  return { server, plain, client, format };
}

/** Opens what is stored, without any client; and by the code of others. */
async function openStored(
  { server, format }: Place,
  key: string,
  under: Buffer,
  options: Partial<EncryptS3ClientOptions>,
): Promise<Buffer> {
  const { body, headers } = server.object(Bucket, key);
  const metadata = Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      name.startsWith("x-amz-meta-") ? [[name.slice("x-amz-meta-".length), value]] : [],
    ),
  );
  const instructionFile = server.buckets.get(Bucket)?.get(`${key}.instruction`)?.body;
  const own = new RawAesKeyring({ ...names, wrappingKey: under });
  const { bind } = options;
  const opened = await decryptObject(
    { bucket: Bucket, key },
    { body, metadata, instructionFile: options.instructionFiles === "write" ? instructionFile : undefined },
    { keyring: own, ...(bind === undefined ? {} : { bind }) },
  );
  const bytes = Buffer.from(opened.body);
  if (format === "s3ec-v3") {
    // A file counts only where the object holds no envelope.
    const more = instructionFile === undefined ? {} : JSON.parse(instructionFile.toString());
    expect((await openByOracle({ ...more, ...metadata }, body, { aes: under })).equals(bytes)).toBe(true);
  } else if (body.length < MiB) expect((await openByPeer(body, under)).equals(bytes)).toBe(true);
  return bytes;
}
function openByPeer(message: Buffer, under: Buffer): Promise<Buffer> {
  const { decryptStream } = buildClient(CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT);
  const peer = new RawAesKeyringNode({
    ...names,
    unencryptedMasterKey: Uint8Array.from(under),
    wrappingSuite: RawAesWrappingSuiteIdentifier.AES256_GCM_IV12_TAG16_NO_PADDING,
    utf8Sorting: true,
  } as ConstructorParameters<typeof RawAesKeyringNode>[0]);
  return buffer(Readable.from([message]).pipe(decryptStream(peer)));
}

const totals = { cases: 0, right: 0, orphans: 0, told: 0, ofOthers: 0, lost: 0, hangs: 0 };
const errors = new Map<string, number>();
/** Rejections and exceptions that nobody heard. */
const unheard: string[] = [];
const hear = (error: unknown): void => void unheard.push(String(error));

beforeAll(() => {
  process.on("unhandledRejection", hear);
  process.on("uncaughtException", hear);
});
afterAll(() => {
  process.off("unhandledRejection", hear);
  process.off("uncaughtException", hear);
  const counted = [...errors].sort().map(([code, count]) => `${count} ${code}`);
  console.log(
    `faults: ${totals.cases} cases, ${totals.right} right results, typed errors: ${counted.join(", ")}; ` +
      `${totals.orphans} uploads left (${totals.told} more told by the error, ${totals.ofOthers} of lib-storage), ${totals.hangs} hangs, ` +
      `${totals.lost} objects without their instruction file, told by the error, ` +
      `${unheard.length} errors that nobody heard`,
  );
});

/** Why an error is no error to hand to a caller, or undefined. */
function faultOf(error: unknown, { broken }: Case): string | undefined {
  const { code, name, $metadata, $response } = error as Record<string, unknown>;
  const told = String(code ?? name);
  errors.set(told, (errors.get(told) ?? 0) + 1);
  if (name === "FramesealError") {
    const verdict = /^(AUTHENTICATION_FAILED|TRUNCATED|TRAILING_DATA|INVALID_HEADER|INVALID_METADATA)$/.test(
      told,
    );
    return verdict && broken === true ? `the network is told as ${told}` : undefined;
  }
  if (/^(TypeError|RangeError|ReferenceError)$/.test(String(name)) && $response === undefined)
    return `is a mistake of ours: ${(error as Error).stack}`;
  const typed =
    $metadata !== undefined || $response !== undefined || /^(E[A-Z]+|TimeoutError|AbortError)$/.test(told);
  return typed ? undefined : `has no type: ${error}`;
}

/** Runs an operation against one fault at one of its requests, and says what was wrong. */
async function meet(
  place: Place,
  operation: Operation,
  given: Case,
  target: number,
  lasts: boolean,
): Promise<{ readonly met: boolean; readonly wrong: readonly string[] }> {
  const { server } = place;
  const { options = {}, stores, gives } = operation;
  const wrong: string[] = [];
  let number = 0;
  let hit: string | undefined;
  let [creates, hitCreates] = [0, 0];
  let left = given.burst ?? 1;
  server.fault = (call) => {
    const { method, key, query, headers } = call;
    const isCreate = method === "POST" && query.has("uploads");
    if (isCreate) creates += 1;
    const request = [method, key, query.get("partNumber"), query.has("uploads"), headers.range].join(" ");
    if (++number < target || (given.only?.(call) === false && hit === undefined)) return undefined;
    if (hit === undefined && number > target) return undefined;
    if (given.fault === "replaced") {
      if (hit === undefined) server.buckets.get(Bucket)?.set("read", replacement(place));
      hit = request;
      return undefined;
    }
    if (hit !== undefined && left <= 0 && !(lasts && request === hit)) return undefined;
    hit ??= request;
    left -= 1;
    if (isCreate) hitCreates += 1;
    return given.fault;
  };
  let failed: unknown;
  let timer: NodeJS.Timeout | undefined;
  const hang = new Promise<"hang">((resolve) => {
    timer = setTimeout(() => resolve("hang"), HANG_MS);
  });
  const result = await Promise.race([
    operation.run(place).then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    ),
    hang,
  ]);
  clearTimeout(timer);
  server.fault = () => undefined;
  if (hit === undefined) return { met: false, wrong };
  totals.cases += 1;
  if (result === "hang") {
    totals.hangs += 1;
    return { met: true, wrong: ["hangs"] };
  }
  if ("error" in result) {
    failed = result.error;
    const fault = faultOf(failed, given);
    if (fault !== undefined) wrong.push(fault);
  } else {
    totals.right += 1;
    const { value } = result;
    const same = (expected: Buffer | number): boolean =>
      typeof expected === "number" ? expected === value : expected.equals(value as Buffer);
    const allowed = given.fault === "replaced" ? gives : gives?.slice(0, 1);
    if (allowed !== undefined && !allowed.some(same))
      wrong.push(`gives ${typeof value === "number" ? value : "other bytes"}`);
  }
  // An upload whose id never arrived cannot be aborted; S3's lifecycle rules remove it. A request that is sent again got no
  // answer, also when the connection broke behind the answer before.
  let nameless = Math.max(hitCreates, creates - 1);
  const told = JSON.stringify([
    String(failed),
    (failed as { uploadId?: unknown } | undefined)?.uploadId ?? "",
  ]);
  for (const [id, { parts }] of server.uploads) {
    if (told.includes(id)) totals.told += 1;
    else if (operation.isOthers === true && failed !== undefined) totals.ofOthers += 1;
    else if (nameless > 0 && given.after === true && parts.size === 0) nameless -= 1;
    else {
      totals.orphans += 1;
      wrong.push("leaves an upload behind");
    }
  }
  server.uploads.clear();
  if (stores !== undefined) wrong.push(...(await stored(place, stores, given, failed, options)));
  return { met: true, wrong };
}

/** What is wrong with what is stored after an operation. */
async function stored(
  place: Place,
  { key, bytes, under = wrappingKey }: NonNullable<Operation["stores"]>,
  given: Case,
  failed: unknown,
  options: Partial<EncryptS3ClientOptions>,
): Promise<string[]> {
  const open = (keyOf: Buffer) =>
    openStored(place, key, keyOf, options).then(
      (opened) => digest(opened),
      (error: unknown) => `not readable: ${error}`,
    );
  const isDone = async (): Promise<boolean> => (await open(under)) === digest(bytes);
  const before = key === "written" ? old : read;
  const found = await open(wrappingKey);
  // Somebody else's object must stand, under the old key or the new one; a copy is of either.
  if (given.fault === "replaced") {
    const theirs = digest(other);
    if (key === "read")
      return found === theirs || (await open(under)) === theirs
        ? []
        : ["overwrites what another has put there"];
    if (failed === undefined && found === theirs && bytes === read) return [];
  }
  if (failed === undefined) return (await isDone()) ? [] : [`succeeded, but ${found}`];
  if (found === digest(before)) return [];
  const done = await isDone();
  if (done && given.after === true) return [];
  // Two objects cannot be replaced at one moment: without versions the old one can be lost, and the error says so.
  if (options.instructionFiles === "write" && /before is gone/.test(String(failed))) {
    totals.lost += 1;
    return [];
  }
  return [done ? "failed, but it is done" : `failed, and what was there is gone: ${found}`];
}

/** How many requests an operation makes; again when the machine is too busy for one to be answered in time. */
async function requestsOf(place: Place, operation: Operation): Promise<number> {
  for (let attempt = 1; ; attempt++) {
    const before = place.server.calls.length;
    try {
      await operation.run(place);
      return place.server.calls.length - before;
    } catch (error) {
      if (attempt === 3) throw error;
    }
  }
}

const replacements = new WeakMap<Place, StoredS3Object>();
const replacement = (place: Place): StoredS3Object => {
  const found = replacements.get(place);
  if (found === undefined) throw new Error("no other object");
  return found;
};

const table = Object.entries(operations).flatMap(([name, operation]) =>
  operation.formats.map((format) => [name, format, operation] as const),
);
/** Operations that move much take a smaller sample. */
const isHeavy = (name: string): boolean => /three parts|lib-storage/.test(name);

/**
 * Whether an operation meets the fault of this turn at the request `target`. In full, those that move much meet each fault
 * at every third request; else each meets some of the faults, each of them at one request.
 */
function isTried(name: string, turn: number, target: number, requests: number): boolean {
  if (FULL) return !isHeavy(name) || (turn + target) % 3 === 0;
  return turn % (isHeavy(name) ? 8 : 3) === 0 && target === 1 + (turn % requests);
}

describe.concurrent("an operation meets every fault", () => {
  test.each(table)("%s, %s", { timeout: 600_000 }, async (name, format, operation) => {
    const place = await startPlace(format, operation.options ?? {});
    const { server } = place;
    try {
      const objects = server.buckets.get(Bucket) as Map<string, StoredS3Object>;
      const start = new Map(objects);
      await place.client.send(new PutObjectCommand({ Bucket, Key: "read", Body: other }));
      replacements.set(place, server.object(Bucket, "read"));
      const otherFile = objects.get("read.instruction");
      const restore = (): void => {
        objects.clear();
        for (const [key, object] of start) objects.set(key, object);
      };
      restore();
      const requests = await requestsOf(place, operation);
      const wrong: string[] = [];
      const row = table.findIndex(([each, of]) => each === name && of === format);
      for (const [column, [fault, given]] of Object.entries(cases).entries()) {
        if (given.not?.includes(name) || given.not?.includes(`${name} ${format}`)) continue;
        if (given.fault === "replaced" && otherFile !== undefined) continue; // two objects, never at one moment
        const ways = lasting.has(fault) ? [false, true] : [false];
        for (const lasts of ways)
          for (let target = 1; target <= requests; target++) {
            if (!isTried(name, row + column + (lasts ? 1 : 0), target, requests)) continue;
            restore();
            const met = await meet(place, operation, given, target, lasts);
            const label = `${fault}${lasts ? " for good" : ""}, request ${target} of ${requests}`;
            wrong.push(...met.wrong.map((what) => `${label}: ${what}`));
          }
      }
      expect(wrong).toEqual([]);
    } finally {
      await server[Symbol.asyncDispose]();
    }
  });
});

test("no error went unheard", () => expect(unheard).toEqual([]));
