// Every request of every operation meets every fault, once or for good: what comes out is what went in, or one error,
// and no upload stays behind.
import { createHash, randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import {
  CreateBucketCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { RawAesKeyring } from "../../../src/index.ts";
import { encryptS3Client } from "../../../src/s3.ts";
import { FULL } from "../../support/full.ts";
import { type S3Fault, S3Server } from "../../support/s3-server.ts";

const Bucket = "bucket";
const MiB = 2 ** 20;
const data = randomBytes(12 * MiB + 7);
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
const faults: Readonly<Record<string, S3Fault>> = {
  "503": { kind: "error", status: 503, code: "SlowDown" },
  "500 after it took effect": { kind: "error", status: 500, code: "InternalError", after: true },
  "403": { kind: "error", status: 403, code: "AccessDenied" },
  reset: { kind: "reset" },
  "reset after it took effect": { kind: "reset", after: true },
  silence: { kind: "stall" },
  "error under status 200": { kind: "error200" },
  "cut body": { kind: "cut", at: 100 },
  "flipped byte": { kind: "flip", at: 150 },
};
/** Those that are also met by every attempt of a request. The others end after one, or take long. */
const lasting = ["503", "reset", "reset after it took effect", "error under status 200", "cut body"];
const cases = [
  ...Object.entries(faults).map(([name, fault]) => ({ name, fault, lasts: false })),
  ...Object.entries(faults)
    .filter(([name]) => lasting.includes(name))
    .map(([name, fault]) => ({ name, fault, lasts: true })),
];

let server: S3Server;
let plain: S3Client;
beforeAll(async () => {
  server = await S3Server.start();
  await server.client().send(new CreateBucketCommand({ Bucket }));
  plain = server.client({
    maxAttempts: 3,
    // Short enough for silence, long enough for a busy machine.
    requestHandler: { socketTimeout: 1000, requestTimeout: 1000, throwOnRequestTimeout: true },
    // Without the pauses between attempts.
    retryStrategy: {
      acquireInitialRetryToken: async () => ({ getRetryCount: () => 0, getRetryDelay: () => 0 }),
      refreshRetryTokenForRetry: async (token, error) => {
        if (error.errorType === "CLIENT_ERROR" || token.getRetryCount() >= 2)
          throw new Error("no more attempts");
        return { getRetryCount: () => token.getRetryCount() + 1, getRetryDelay: () => 0 };
      },
      recordSuccess: () => {},
    },
  });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const stream = (bytes: Buffer): Readable =>
  Readable.from([bytes.subarray(0, 5_000_000), bytes.subarray(5_000_000)]);
const small = data.subarray(0, 100_000);

async function read(client: S3Client, Key: string, Range?: string): Promise<Buffer> {
  const output = await client.send(new GetObjectCommand({ Bucket, Key, Range }));
  const chunks: Buffer[] = [];
  for await (const chunk of output.Body as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}
const digest = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

/** What an operation gives, as text, and what it must give. */
interface Operation {
  readonly run: (client: S3Client) => Promise<string>;
  readonly expected: string;
  /** What is stored afterwards, if it succeeds. */
  readonly stores?: Buffer;
}
const operations: Readonly<Record<string, Operation>> = {
  "put of one part": {
    run: async (client) => {
      await client.send(new PutObjectCommand({ Bucket, Key: "written", Body: small }));
      return "stored";
    },
    expected: "stored",
    stores: small,
  },
  "put of three parts": {
    run: async (client) => {
      await client.send(new PutObjectCommand({ Bucket, Key: "written", Body: stream(data) }));
      return "stored";
    },
    expected: "stored",
    stores: data,
  },
  "upload by lib-storage": {
    run: async (client) => {
      const params = { Bucket, Key: "written", Body: stream(data) };
      await new Upload({ client, partSize: 5 * MiB, params }).done();
      return "stored";
    },
    expected: "stored",
    stores: data,
  },
  get: { run: async (client) => digest(await read(client, "read")), expected: digest(data) },
  range: {
    run: async (client) => digest(await read(client, "read", "bytes=70000-200000")),
    expected: digest(data.subarray(70_000, 200_001)),
  },
  head: {
    run: async (client) =>
      String((await client.send(new HeadObjectCommand({ Bucket, Key: "read" }))).ContentLength),
    expected: String(data.length),
  },
};

const totals = { right: 0, failed: 0 };
afterAll(() => console.log(`faults: ${totals.right} right results, ${totals.failed} typed errors`));

describe.each(["framed", "s3ec-v3"] as const)("%s", (format) => {
  const tried = Object.entries(operations).filter(
    ([name]) => format === "framed" || !name.startsWith("upload"),
  );
  test.each(tried)("%s", { timeout: 120_000 }, async (name, operation) => {
    const client = encryptS3Client(plain, {
      keyring,
      format,
      partSize: 5 * MiB,
      enableLegacyUnauthenticatedModes: true,
    });
    await client.send(new PutObjectCommand({ Bucket, Key: "read", Body: stream(data) }));
    const count = async (): Promise<number> => {
      const before = server.calls.length;
      expect(await operation.run(client)).toBe(operation.expected);
      return server.calls.length - before;
    };
    const requests = await count();
    for (const { name: fault, fault: what, lasts } of cases)
      for (let target = 1; target <= requests; target++) {
        // Not in full: each fault meets one request, the next fault the next one.
        const one = cases.findIndex(({ fault: other, lasts: stays }) => other === what && stays === lasts);
        if (!FULL && target !== 1 + (one % requests)) continue;
        // What lasts is met by the requests, which are the same for both formats.
        if (lasts && format !== "framed") continue;
        // A range of this format is not authenticated, and a HEAD has no body.
        if (fault === "flipped byte" && (name === "head" || (name === "range" && format !== "framed")))
          continue;
        server.buckets.get(Bucket)?.delete("written");
        let number = 0;
        let hitCreate = false;
        let hit: string | undefined;
        server.fault = ({ method, query }) => {
          const request = `${method} ${query.get("partNumber")} ${query.has("uploads")}`;
          if (++number !== target && !(lasts && request === hit)) return undefined;
          hit = request;
          hitCreate = method === "POST" && query.has("uploads");
          return what;
        };
        const label = `${name}, ${fault}${lasts ? " for good" : ""}, request ${target}`;
        let failed: unknown;
        try {
          expect(await operation.run(client), label).toBe(operation.expected);
          totals.right += 1;
        } catch (error) {
          failed = error;
          // Of this package, of S3, or of the connection: nothing else.
          const {
            code,
            name: errorName,
            $metadata,
          } = error as { code?: string; name: string; $metadata?: object };
          expect(
            $metadata !== undefined ||
              errorName === "FramesealError" ||
              /^(ECONNRESET|EPIPE|TimeoutError)$/.test(code ?? errorName),
            `${label}: ${error}`,
          ).toBe(true);
          totals.failed += 1;
        } finally {
          server.fault = () => undefined;
        }
        // An upload whose id never arrived cannot be aborted; S3's lifecycle rules remove it.
        const attempts = lasts ? 3 : 1;
        expect(server.uploads.size, label).toBeLessThanOrEqual(hitCreate ? attempts : 0);
        for (const { parts } of server.uploads.values()) expect(parts.size, label).toBe(0);
        server.uploads.clear();
        const stored = server.buckets.get(Bucket)?.get("written");
        if (operation.stores === undefined) continue;
        if (failed === undefined || stored !== undefined)
          expect((await read(client, "written")).equals(operation.stores), label).toBe(true);
      }
  });
});
