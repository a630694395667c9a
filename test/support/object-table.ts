// The table that every S3 server must pass: lengths × ways to write × ways to read, byte for byte, and an independent
// reader of the stored bodies.
import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import {
  buildClient,
  CommitmentPolicy,
  RawAesKeyringNode,
  RawAesWrappingSuiteIdentifier,
} from "@aws-crypto/client-node";
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { expect } from "vitest";
import { RawAesKeyring } from "../../src/index.ts";
import { encryptS3Client } from "../../src/s3.ts";
import { FULL } from "./full.ts";
import { getObject } from "./s3-outcome.ts";

/** Plaintext bytes of a frame, by default. */
const F = 65_536;
/** Plaintext bytes of a part: the least that S3 takes. */
const P = 5 * 2 ** 20;
const allLengths = [0, 1, F - 1, F, F + 1, P - 1, P, P + 1, 3 * P, 3 * P + 5, 64 * 2 ** 20];
/** All of them where every case is wanted, and against servers of others. */
export const tableLengths: readonly number[] =
  FULL || process.env.FRAMESEAL_RGW_ENDPOINT !== undefined ? allLengths : [0, F, F + 1, P + 1];

const names = { keyNamespace: "n", keyName: "k" };
const wrappingKey = randomBytes(32);
const keyring = new RawAesKeyring({ ...names, wrappingKey });
const data = randomBytes(Math.max(...tableLengths));

const RETRIED = "retried parts";

/** How an object gets into the bucket. */
type Write = (client: S3Client, target: { Bucket: string; Key: string }, bytes: Buffer) => Promise<unknown>;

export const writes: Readonly<Record<string, Write>> = {
  "a Buffer": (client, target, Body) => client.send(new PutObjectCommand({ ...target, Body })),
  "a stream of known length": (client, target, bytes) =>
    client.send(new PutObjectCommand({ ...target, Body: streamOf(bytes), ContentLength: bytes.length })),
  "a stream of unknown length": (client, target, bytes) =>
    client.send(new PutObjectCommand({ ...target, Body: streamOf(bytes) })),
  Upload: (client, params, bytes) =>
    new Upload({ client, partSize: P, queueSize: 4, params: { ...params, Body: streamOf(bytes) } }).done(),
  "parts by hand in random order": (client, target, bytes) =>
    sendParts(client, target, bytes, shuffled(partNumbers(bytes))),
  // Each part by hand twice, and through a connection that loses the first answer to each.
  [RETRIED]: (client, target, bytes) =>
    sendParts(
      client,
      target,
      bytes,
      partNumbers(bytes).flatMap((number) => [number, number]),
    ),
};

function streamOf(bytes: Uint8Array): Readable {
  const pieces = function* () {
    for (let at = 0; at < bytes.length; at += 100_000) yield bytes.subarray(at, at + 100_000);
  };
  return Readable.from(pieces(), { objectMode: false });
}

function partNumbers(bytes: Uint8Array): number[] {
  return Array.from({ length: Math.max(1, Math.ceil(bytes.length / P)) }, (_, index) => index + 1);
}

function shuffled(numbers: readonly number[]): number[] {
  const keyed = numbers.map((number) => ({ number, at: randomBytes(4).readUInt32BE() }));
  return keyed.sort((a, b) => a.at - b.at).map(({ number }) => number);
}

async function sendParts(
  client: S3Client,
  target: { Bucket: string; Key: string },
  bytes: Buffer,
  order: readonly number[],
): Promise<void> {
  const { UploadId } = await client.send(new CreateMultipartUploadCommand(target));
  const parts = new Map<number, { ETag: string | undefined; PartNumber: number }>();
  for (const PartNumber of order) {
    const Body = bytes.subarray((PartNumber - 1) * P, PartNumber * P);
    const sent = await client.send(new UploadPartCommand({ ...target, UploadId, PartNumber, Body }));
    const before = parts.get(PartNumber);
    if (before !== undefined) expect(sent.ETag).toBe(before.ETag);
    parts.set(PartNumber, { ETag: sent.ETag, PartNumber });
  }
  const Parts = [...parts.values()].sort((a, b) => a.PartNumber - b.PartNumber);
  await client.send(new CompleteMultipartUploadCommand({ ...target, UploadId, MultipartUpload: { Parts } }));
}

// A client that loses the first answer to every part, so that the SDK sends it again.
function losingAnswers(client: S3Client, lost: () => void): S3Client {
  const stack = client.middlewareStack.clone();
  const seen = new WeakSet<object>();
  stack.add(
    (next, context) => async (args) => {
      const result = await next(args);
      if (context.commandName !== "UploadPartCommand" || seen.has(context)) return result;
      seen.add(context);
      lost();
      throw Object.assign(new Error("answer lost"), { code: "ECONNRESET" });
    },
    { step: "deserialize", name: "losesAnswers", priority: "high" },
  );
  return Object.create(client, { middlewareStack: { value: stack }, handlers: { value: undefined } });
}

/** Forty ranges of all kinds; with what each must give, or undefined where there is nothing. */
export function rangesOf(whole: Buffer): ReadonlyMap<string, Buffer | undefined> {
  const { length } = whole;
  const ranges = new Map<string, Buffer | undefined>();
  const add = (first: number, last?: number): void => {
    if (first < 0 || (last !== undefined && last < first)) return;
    const expected =
      first < length ? whole.subarray(first, last === undefined ? length : last + 1) : undefined;
    ranges.set(`bytes=${first}-${last ?? ""}`, expected);
  };
  for (const place of [0, 1, F - 1, F, F + 1, P - 1, P, P + 1, length - 1, length]) add(place, place);
  for (const boundary of [F, 2 * F, P - F, P, 3 * P]) add(boundary - 1, boundary);
  add(0, F - 1);
  add(0, length - 1);
  for (const first of [0, length - 1, length - F, length, length + 1]) add(first);
  add(length - 2, length + 10);
  add(length, length + 5);
  for (const count of [0, 1, 15, F, F + 1, length + 1])
    ranges.set(
      `bytes=-${count}`,
      count > 0 && length > 0 ? whole.subarray(Math.max(0, length - count)) : undefined,
    );
  while (ranges.size < 40) {
    const first = randomBytes(6).readUIntBE(0, 6) % (length + F);
    add(first, first + (randomBytes(4).readUInt32BE() % (3 * F)));
  }
  return ranges;
}

/** What came of a table. */
export interface TableCounts {
  objects: number;
  reads: number;
  openedByPeer: number;
}

/** Writes one object in one way, reads it in all, and lets the independent reader open what is stored. */
export async function checkObject(
  plain: S3Client,
  Bucket: string,
  way: string,
  length: number,
  counts: TableCounts,
): Promise<void> {
  let lost = 0;
  const sender = way === RETRIED ? losingAnswers(plain, () => lost++) : plain;
  const client = encryptS3Client(sender, { keyring, partSize: P });
  const target = { Bucket, Key: `table/${way}/${length}` };
  const bytes = data.subarray(0, length);
  await writes[way]?.(client, target, bytes);
  expect(lost).toBeGreaterThanOrEqual(way === RETRIED ? 2 * partNumbers(bytes).length : 0);
  counts.objects += 1;
  const head = await client.send(new HeadObjectCommand(target));
  expect(head.ContentLength).toBe(length);
  const whole = await read(client, target);
  expect([whole.length, whole.bytes.equals(bytes)]).toEqual([length, true]);
  counts.reads += 1;
  for (const [Range, expected] of rangesOf(bytes)) {
    const reading = read(client, { ...target, Range });
    if (expected === undefined)
      await expect(reading, Range).rejects.toMatchObject({
        code: "RANGE_NOT_SATISFIABLE",
        $metadata: { httpStatusCode: 416 },
      });
    else {
      const got = await reading;
      expect([got.length, got.bytes.equals(expected)], Range).toEqual([expected.length, true]);
      expect(got.contentRange, Range).toMatch(new RegExp(`^bytes \\d+-\\d+/${length}$`));
    }
    counts.reads += 1;
  }
  const stored = await read(plain, target);
  expect((await openByPeer(stored.bytes)).equals(bytes)).toBe(true);
  counts.openedByPeer += 1;
  const { Uploads = [] } = await plain.send(new ListMultipartUploadsCommand({ Bucket }));
  expect(Uploads.filter(({ Key }) => Key === target.Key)).toEqual([]);
  await client.send(new DeleteObjectCommand(target)); // servers keep it in memory
}

async function read(
  client: S3Client,
  input: { Bucket: string; Key: string; Range?: string },
): Promise<{ bytes: Buffer; length: number | undefined; contentRange: string | undefined }> {
  const { bytes, ContentLength, ContentRange } = await getObject(client, input);
  return { bytes, length: ContentLength, contentRange: ContentRange };
}

function openByPeer(message: Buffer): Promise<Buffer> {
  const { decryptStream } = buildClient(CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT);
  const peer = new RawAesKeyringNode({
    ...names,
    unencryptedMasterKey: Uint8Array.from(wrappingKey),
    wrappingSuite: RawAesWrappingSuiteIdentifier.AES256_GCM_IV12_TAG16_NO_PADDING,
    utf8Sorting: true,
  } as ConstructorParameters<typeof RawAesKeyringNode>[0]);
  return buffer(streamOf(message).pipe(decryptStream(peer)));
}

/** One line of what was right; whatever was wrong has failed its test. */
export function describeCounts(server: string, { objects, reads, openedByPeer }: TableCounts): string {
  const total = tableLengths.length * Object.keys(writes).length;
  const allReads = total * 41;
  return `${server}: ${objects} of ${total} objects written, ${reads} of ${allReads} reads right, ${openedByPeer} of ${total} opened by @aws-crypto/client-node`;
}
