// Reading over a connection that fails: what comes out is what went in, or one error that is not of tampering; no version
// is mixed with another; and no request waits for a connection that waits for it.
import { createHash, randomBytes } from "node:crypto";
import { Agent } from "node:http";
import { Readable } from "node:stream";
import { setTimeout } from "node:timers/promises";
import {
  CopyObjectCommand,
  CreateBucketCommand,
  GetObjectCommand,
  type GetObjectCommandOutput,
  HeadObjectCommand,
  PutObjectCommand,
  type S3Client,
  type S3ClientConfig,
} from "@aws-sdk/client-s3";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { RawAesKeyring } from "../../../src/index.ts";
import {
  type EncryptS3ClientOptions,
  encryptS3Client,
  rewrapObject,
  setDefaultEncryption,
  sseS3,
} from "../../../src/s3.ts";
import { FULL } from "../../support/full.ts";
import { outcomeOf } from "../../support/s3-outcome.ts";
import { type S3Call, type S3Fault, S3Server, type StoredS3Object } from "../../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

const Bucket = "bucket";
const MiB = 2 ** 20;
const data = randomBytes(1_500_077);
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
let server: S3Server;
let plain: S3Client;

/** A way of reading, and what must come out. */
interface Way {
  readonly Key: string;
  readonly options?: Partial<EncryptS3ClientOptions>;
  readonly Range?: string;
  readonly expected: Buffer;
}
const legacy = { enableLegacyUnauthenticatedModes: true } as const;
const first = 70_000;
const last = 1_400_000;
const Range = `bytes=${first}-${last}`;
const cut = data.subarray(first, last + 1);
const ways: Readonly<Record<string, Way>> = {
  "framed, whole": { Key: "framed", expected: data },
  "framed, range": { Key: "framed", Range, expected: cut },
  "framed, from a byte": { Key: "framed", Range: `bytes=${first}-`, expected: data.subarray(first) },
  "framed, end": { Key: "framed", Range: "bytes=-1000000", expected: data.subarray(-1_000_000) },
  "s3ec-v3, buffered": { Key: "v3", options: { authentication: "buffered" }, expected: data },
  "s3ec-v3, two passes": { Key: "v3", options: { authentication: "two-pass" }, expected: data },
  "s3ec-v3, delayed": { Key: "v3", options: { authentication: "delayed" }, expected: data },
  "s3ec-v3, range": { Key: "v3", options: legacy, Range, expected: cut },
  "s3ec-v3 with a file": { Key: "filed", expected: data },
  "s3ec-v3 with a file, range": { Key: "filed", options: legacy, Range, expected: cut },
  "s3ec-v2": {
    Key: "v2",
    options: { commitmentPolicy: "FORBID_ENCRYPT_ALLOW_DECRYPT" },
    expected: data,
  },
};

const quick = { readTimeout: 300 } as const;
const clientFor = (options: Partial<EncryptS3ClientOptions> = {}, over: S3Client = plain): S3Client =>
  encryptS3Client(over, { keyring, ...quick, ...options });

beforeAll(async () => {
  server = await S3Server.start();
  plain = server.client({ retryStrategy: withoutPauses });
  await plain.send(new CreateBucketCommand({ Bucket }));
  const put = (Key: string, options: Partial<EncryptS3ClientOptions>) =>
    clientFor(options).send(new PutObjectCommand({ Bucket, Key, Body: data }));
  await put("framed", {});
  await put("v3", { format: "s3ec-v3" });
  await put("filed", { format: "s3ec-v3", instructionFiles: "write" });
  await put("v2", { format: "s3ec-v2", commitmentPolicy: "FORBID_ENCRYPT_ALLOW_DECRYPT" });
  await plain.send(new PutObjectCommand({ Bucket, Key: "clear", Body: data }));
});
afterEach(() => {
  server.fault = () => undefined;
});
afterAll(() => server[Symbol.asyncDispose]());

const digest = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

/** Three attempts, as the SDK makes them, at once. */
const withoutPauses: NonNullable<S3ClientConfig["retryStrategy"]> = {
  acquireInitialRetryToken: async () => ({ getRetryCount: () => 0, getRetryDelay: () => 0 }),
  refreshRetryTokenForRetry: async (token, error) => {
    if (error.errorType === "CLIENT_ERROR" || token.getRetryCount() >= 2) throw new Error("no more attempts");
    return { getRetryCount: () => token.getRetryCount() + 1, getRetryDelay: () => 0 };
  },
  recordSuccess: () => {},
};

const withSockets = (maxSockets: number): S3Client =>
  server.client({
    requestHandler: { httpAgent: new Agent({ keepAlive: true, maxSockets }) },
    retryStrategy: withoutPauses,
  });

async function bytesOf({ Body }: GetObjectCommandOutput): Promise<Buffer> {
  return Buffer.from((await Body?.transformToByteArray()) ?? []);
}

/** Settles as the events of a body tell, which come once. */
const eventsOf = (body: Readable): Promise<void> =>
  new Promise((resolve, reject) => {
    body.once("error", reject).once("end", resolve).resume();
  });

/** Reads, and gives the digest of what came out. */
async function read(
  { Key, Range, options }: Omit<Way, "expected"> & { readonly expected?: Buffer },
  more: Partial<EncryptS3ClientOptions> = {},
  over: S3Client = plain,
  abortSignal?: AbortSignal,
): Promise<string> {
  const client = clientFor({ ...options, ...more }, over);
  return digest(
    await bytesOf(
      await client.send(
        new GetObjectCommand({ Bucket, Key, Range }),
        abortSignal === undefined ? {} : { abortSignal },
      ),
    ),
  );
}

/** Lets `fault` meet every GET that `meets` chooses, by their number from 1 on. */
function letFail(
  fault: S3Fault | ((call: S3Call) => S3Fault),
  meets: (number: number) => boolean,
): () => number {
  let number = 0;
  server.fault = (call) => {
    if (call.method !== "GET" || !meets(++number)) return undefined;
    return typeof fault === "function" ? fault(call) : fault;
  };
  return () => number;
}
/** How many GETs it takes when nothing fails. */
async function requestsOf(way: Way): Promise<number> {
  const count = letFail({ kind: "stall" }, () => false);
  expect(await read(way)).toBe(digest(way.expected));
  return count();
}

/** Those that differ most from each other. */
const usual = [
  "framed, whole",
  "framed, range",
  "s3ec-v3, two passes",
  "s3ec-v3, range",
  "s3ec-v3 with a file",
];

describe.each(Object.entries(ways).filter(([name]) => FULL || usual.includes(name)))("%s", (_name, way) => {
  const right = digest(way.expected);

  test.each([
    ["cut before its first byte", { kind: "cut", at: 0 }],
    ["cut after a byte", { kind: "cut", at: 1 }],
    ["cut in a header", { kind: "cut", at: 100 }],
    ["cut in the middle", { kind: "cut", at: 700_003 }],
    ["silent from the middle on", { kind: "stall-body", at: 700_003 }],
    ["silent from the first byte on", { kind: "stall-body", at: 0 }],
    ["announced longer than it is", { kind: "headers", change: { "content-length": String(4 * MiB) } }],
    ["reset", { kind: "reset" }],
    ["answered with 503", { kind: "error", status: 503, code: "SlowDown" }],
    ["of another range", { kind: "headers", change: { "content-range": "bytes 5-9/1000" } }],
  ] as const)("a body that is %s", async (what, fault) => {
    const requests = await requestsOf(way);
    for (let target = 1; target <= requests; target++) {
      if (!FULL && target !== 1 && target !== requests) continue;
      letFail(fault, (number) => number === target);
      const outcome = await read(way).catch((error) => error);
      // What the first answer says is all there is to go by.
      const misled = (fault as S3Fault).kind === "headers";
      if (misled && outcome instanceof Error)
        expect(await outcomeOf(Promise.reject(outcome)), what).toMatch(
          /^(NETWORK|LIMIT_EXCEEDED|PreconditionFailed)$/,
        );
      else expect(outcome, `request ${target}`).toBe(right);
    }
  });

  test("a connection that is cut all the time", async () => {
    const meets = letFail({ kind: "cut", at: 150_000 }, () => true);
    expect(await read(way)).toBe(right);
    expect(meets()).toBeGreaterThan(1);
  });

  test("a connection that brings nothing any more", async () => {
    const requests = await requestsOf(way);
    letFail({ kind: "cut", at: 0 }, (number) => number >= requests);
    const error = await read(way, { readRetries: 2 }).catch((failure) => failure);
    expect(error).toMatchObject({ name: "FramesealError", code: "NETWORK" });
  });

  test.each([
    [
      "replaced",
      (before: StoredS3Object) => ({ ...before, eTag: '"other"', body: randomBytes(before.body.length) }),
    ],
    ["deleted", () => undefined],
    [
      "replaced by a shorter one",
      (before: StoredS3Object) => ({ ...before, body: before.body.subarray(0, 500_000) }),
    ],
  ] as const)("an object that is %s meanwhile", async (_what, change) => {
    const before = server.object(Bucket, way.Key);
    const objects = server.buckets.get(Bucket);
    const requests = await requestsOf(way);
    let bodies = 0;
    // The last body is cut, and then the object is another one.
    letFail({ kind: "cut", at: 100_000 }, (number) => {
      bodies = number;
      if (number > requests) {
        const other = change(before);
        if (other === undefined) objects?.delete(way.Key);
        else objects?.set(way.Key, other);
      }
      return number === requests;
    });
    try {
      expect(await outcomeOf(read(way))).toBe("PreconditionFailed");
      expect(bodies).toBe(requests + 1);
    } finally {
      objects?.set(way.Key, before);
    }
  });

  test("tags that are weak are compared, and not sent", async () => {
    const calls = server.calls.length;
    letFail({ kind: "headers", change: { etag: 'W/"weak"' }, cutAt: 200_000 }, () => true);
    expect(await read(way)).toBe(right);
    const sent = server.calls.slice(calls).map(({ headers }) => headers["if-match"]);
    expect(sent.length).toBeGreaterThan(1);
    expect(new Set(sent)).toEqual(new Set([undefined]));
  });

  test.each([
    ["tampered with", { kind: "flip", at: 400_000 }, "AUTHENTICATION_FAILED"],
    ["cut for good", { kind: "cut", at: 400_000 }, "NETWORK"],
  ] as const)("a body that was %s fails when somebody reads it, not before", async (what, fault, code) => {
    const unheard = vi.fn();
    process.on("uncaughtException", unheard);
    try {
      letFail(fault, () => true);
      const client = clientFor({ ...way.options, readRetries: 0 });
      const got = await client
        .send(new GetObjectCommand({ Bucket, Key: way.Key, Range: way.Range }))
        .catch((error) => error);
      await setTimeout(100);
      expect(unheard).not.toHaveBeenCalled();
      if (got instanceof Error) expect(got).toMatchObject({ code });
      else {
        const outcome = await outcomeOf(eventsOf(got.Body as Readable));
        // A range of these formats is not authenticated, and longer than what was changed.
        const isFree = what === "tampered with" && way.options === legacy;
        expect(outcome).toBe(isFree ? "accepted" : code);
      }
    } finally {
      process.off("uncaughtException", unheard);
    }
  });

  test("60 at a time on 50 connections, and three on one", async () => {
    for (const [count, maxSockets] of [
      [60, 50],
      [3, 1],
    ] as const) {
      const over = withSockets(maxSockets);
      const results = await Promise.all(Array.from({ length: count }, () => read(way, {}, over)));
      expect(new Set(results)).toEqual(new Set([right]));
      over.destroy();
    }
  });

  test("a body that is given up or aborted frees its connection", async () => {
    const over = withSockets(1);
    const client = clientFor(way.options, over);
    const get = (options = {}) =>
      client.send(new GetObjectCommand({ Bucket, Key: way.Key, Range: way.Range }), options);
    ((await get()).Body as Readable).destroy();
    const controller = new AbortController();
    const aborted = await get({ abortSignal: controller.signal });
    controller.abort();
    expect(await read(way, {}, over)).toBe(right);
    expect(await outcomeOf(bytesOf(aborted))).toBe("ABORTED");
    over.destroy();
  });

  test("an abort reaches a silent body at once", async () => {
    for (const at of [0, 300_000]) {
      letFail({ kind: "stall-body", at }, () => true);
      const controller = new AbortController();
      const reading = read(way, { readTimeout: 3_600_000 }, plain, controller.signal);
      await setTimeout(150);
      controller.abort();
      expect(await outcomeOf(reading)).toMatch(/^(ABORTED|AbortError)$/);
    }
  });
});

describe("how an answer tells of its version", () => {
  const none = { etag: undefined, "last-modified": undefined, "x-amz-version-id": undefined };
  const modified = { ...none, "last-modified": "Fri, 27 Nov 2026 10:00:00 GMT" };
  const version = { ...none, "x-amz-version-id": "v1" };
  const weak = { ...none, etag: 'W/"1"' };
  test.each([
    ["a version", version, version, "accepted"],
    ["a version, then another", version, { ...none, "x-amz-version-id": "v2" }, "PreconditionFailed"],
    ["a time", modified, modified, "accepted"],
    [
      "a time, then another",
      modified,
      { ...none, "last-modified": "Fri, 27 Nov 2026 10:00:01 GMT" },
      "PreconditionFailed",
    ],
    ["a time, then nothing", modified, none, "PreconditionFailed"],
    ["a weak tag, then another", weak, { ...none, etag: 'W/"2"' }, "PreconditionFailed"],
    ["a weak tag, then the same as a strong one", weak, { ...none, etag: '"1"' }, "accepted"],
    ["a weak tag, then nothing", weak, none, "PreconditionFailed"],
    ["nothing", none, none, "NETWORK"],
    [
      "a tag, then another, though a condition was sent",
      { etag: undefined },
      { etag: '"other"' },
      "PreconditionFailed",
    ],
  ] as const)("%s", async (_told, first, then, outcome) => {
    let number = 0;
    const told = first.etag === undefined && !("last-modified" in first) ? {} : first;
    server.fault = () => ({ kind: "headers", change: ++number === 1 ? told : then, cutAt: 700_000 });
    expect(await outcomeOf(read({ Key: "framed", expected: data }))).toBe(outcome);
  });

  test("who may not name a version reads on by the tag", async () => {
    const versions: (string | null)[] = [];
    server.fault = ({ query }) => {
      versions.push(query.get("versionId"));
      if (query.has("versionId")) return { kind: "error", status: 403, code: "AccessDenied" };
      return { kind: "headers", change: { "x-amz-version-id": "v1" }, cutAt: 700_000 };
    };
    expect(await outcomeOf(read({ Key: "framed", expected: data }))).toBe("accepted");
    expect(versions.slice(0, 4)).toEqual([null, "v1", null, null]);
  });
});

test("every further request repeats who asks, who pays and the key of SSE-C", async () => {
  const client = clientFor({}, server.secureClient({ retryStrategy: withoutPauses }));
  const customer = { SSECustomerAlgorithm: "AES256", SSECustomerKey: randomBytes(32).toString("base64") };
  await setDefaultEncryption(plain, Bucket, { encryption: sseS3(), customerKeys: "allow" });
  await client.send(new PutObjectCommand({ Bucket, Key: "sse-c", Body: data, ...customer }));
  const calls = server.calls.length;
  letFail({ kind: "cut", at: 400_000 }, () => true);
  const asked = { ...customer, RequestPayer: "requester", ExpectedBucketOwner: "111122223333" } as const;
  const got = await client.send(new GetObjectCommand({ Bucket, Key: "sse-c", ...asked }));
  expect(digest(await bytesOf(got))).toBe(digest(data));
  const further = server.calls.slice(calls);
  expect(further.length).toBeGreaterThan(2);
  for (const { headers } of further)
    expect([headers["x-amz-request-payer"], headers["x-amz-expected-bucket-owner"]]).toEqual([
      "requester",
      "111122223333",
    ]);
});

describe("answers that are errors pass as the SDK gives them", () => {
  const statuses = [301, 304, 400, 403, 404, 409, 412, 429, 500, 501, 503];
  test.each(statuses)("%i", async (status) => {
    const over = withSockets(1);
    const client = clientFor({ format: "s3ec-v3" }, over);
    const headers = { "x-amz-bucket-region": "eu-north-1" };
    for (const [Key, Command, Range] of [
      ["framed", GetObjectCommand, undefined],
      ["filed", GetObjectCommand, "bytes=0-9"],
      ["framed", HeadObjectCommand, undefined],
    ] as const) {
      server.fault = () => ({ kind: "error", status, code: `Code${status}`, headers });
      const errorOf = (from: S3Client) =>
        from
          .send(new Command({ Bucket, Key, Range: Command === HeadObjectCommand ? undefined : Range }))
          .then(
            () => undefined,
            ({ name, $metadata, $response }) => [
              name,
              $metadata.httpStatusCode,
              $response?.headers["x-amz-bucket-region"],
            ],
          );
      const seen = await errorOf(plain);
      expect(seen).toBeDefined();
      // It has one connection, which no answer may keep.
      expect(await errorOf(client)).toEqual(seen);
      server.fault = () => undefined;
      expect(await read({ Key: "framed", expected: data }, {}, over)).toBe(digest(data));
    }
    over.destroy();
  });
});

describe("objects that are not encrypted", () => {
  test("60 at a time on 50 connections are refused", async () => {
    const over = withSockets(50);
    const way = { Key: "clear", expected: data };
    const outcomes = await Promise.all(Array.from({ length: 60 }, () => outcomeOf(read(way, {}, over))));
    expect(new Set(outcomes)).toEqual(new Set(["NOT_ENCRYPTED"]));
    over.destroy();
  });
});

describe("everything on one connection", () => {
  const one = (options: Partial<EncryptS3ClientOptions> = {}): S3Client => clientFor(options, withSockets(1));
  const many = { partSize: 5 * MiB, uploadConcurrency: 4 };
  const long = randomBytes(11 * MiB + 5);
  const isStored = async (Key: string, options: Partial<EncryptS3ClientOptions> = {}): Promise<void> =>
    expect(await read({ Key, options, expected: long })).toBe(digest(long));

  test.each(["framed", "s3ec-v3"] as const)(
    "a put of many parts with what stands next to it (%s)",
    async (format) => {
      const client = one({ ...many, format, ...(format === "framed" ? {} : { instructionFiles: "write" }) });
      await client.send(new PutObjectCommand({ Bucket, Key: "long", Body: Readable.from([long]) }));
      await isStored("long");
      expect((await client.send(new HeadObjectCommand({ Bucket, Key: "long" }))).ContentLength).toBe(
        long.length,
      );
    },
  );

  test("bodies that nobody reads yet", async () => {
    const client = one({ ...many, readTimeout: 100 });
    await client.send(new PutObjectCommand({ Bucket, Key: "unread", Body: long }));
    const get = () => client.send(new GetObjectCommand({ Bucket, Key: "unread" }));
    const bodies = [await get(), await get(), await get()];
    for (const body of bodies) expect(digest(await bytesOf(body))).toBe(digest(long));
  });

  test("a copy that encrypts again, and a rewrap", async () => {
    await clientFor(many).send(new PutObjectCommand({ Bucket, Key: "from", Body: long }));
    const copy = new CopyObjectCommand({ Bucket, Key: "to", CopySource: `${Bucket}/from` });
    await one({ ...many, boundCopy: "reencrypt" }).send(copy);
    await isStored("to");
    const to = new RawAesKeyring({ keyNamespace: "n", keyName: "l", wrappingKey: randomBytes(32) });
    await rewrapObject(withSockets(1), { bucket: Bucket, key: "to" }, { from: keyring, to });
    await isStored("to", { keyring: to });
  });
});
