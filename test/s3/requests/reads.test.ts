// Reading over a connection that fails: what comes out is what went in, or one error that is not of tampering; no version
// is mixed with another; and no request waits for a connection that waits for it.
import { createHash, randomBytes } from "node:crypto";
import { Agent } from "node:http";
import type { Readable } from "node:stream";
import {
  CopyObjectCommand,
  CreateBucketCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type S3Client,
  type S3ClientConfig,
} from "@aws-sdk/client-s3";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { RawAesKeyring } from "../../../src/index.ts";
import { type EncryptS3ClientOptions, encryptS3Client, rewrapObject } from "../../../src/s3.ts";
import { outcomeOf } from "../../support/s3-outcome.ts";
import { type S3Call, type S3Fault, S3Server } from "../../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

const Bucket = "bucket";
const MiB = 2 ** 20;
const data = randomBytes(3 * MiB + 77);
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
const last = 2 * MiB + 11;
const Range = `bytes=${first}-${last}`;
const cut = data.subarray(first, last + 1);
const ways: Readonly<Record<string, Way>> = {
  "framed, whole": { Key: "framed", expected: data },
  "framed, range": { Key: "framed", Range, expected: cut },
  "framed, from a byte": { Key: "framed", Range: `bytes=${first}-`, expected: data.subarray(first) },
  "framed, end": { Key: "framed", Range: "bytes=-100000", expected: data.subarray(-100_000) },
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
  plain = server.client();
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

async function read(
  { Key, Range, options }: Way,
  more: Partial<EncryptS3ClientOptions> = {},
): Promise<string> {
  const output = await clientFor({ ...options, ...more }).send(new GetObjectCommand({ Bucket, Key, Range }));
  const chunks: Buffer[] = [];
  for await (const chunk of output.Body as AsyncIterable<Buffer>) chunks.push(chunk);
  return digest(Buffer.concat(chunks));
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
async function requestsOf(way: Way): Promise<number> {
  const count = letFail({ kind: "stall" }, () => false);
  expect(await read(way)).toBe(digest(way.expected));
  return count();
}

describe.each(Object.entries(ways))("%s", (_name, way) => {
  const right = digest(way.expected);

  test.each([
    ["cut before its first byte", { kind: "cut", at: 0 }],
    ["cut after a byte", { kind: "cut", at: 1 }],
    ["cut in a header", { kind: "cut", at: 100 }],
    ["cut in the middle", { kind: "cut", at: MiB + 3 }],
    ["silent from the middle on", { kind: "hang", at: MiB + 3 }],
    ["silent from the first byte on", { kind: "hang", at: 0 }],
    ["announced longer than it is", { kind: "headers", change: { "content-length": String(4 * MiB) } }],
    ["reset", { kind: "reset" }],
    ["answered with 503", { kind: "error", status: 503, code: "SlowDown" }],
    ["of another range", { kind: "headers", change: { "content-range": "bytes 5-9/1000" } }],
  ] as const)("a body that is %s", async (what, fault) => {
    const requests = await requestsOf(way);
    for (let target = 1; target <= requests; target++) {
      letFail(fault, (number) => number === target);
      const outcome = await read(way).catch((error) => error);
      // What the first answer says is all there is to go by.
      const misled = (fault as S3Fault).kind === "headers";
      if (misled && outcome instanceof Error)
        expect((outcome as { code?: string }).code, what).toMatch(/^(NETWORK|LIMIT_EXCEEDED)$/);
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
});
