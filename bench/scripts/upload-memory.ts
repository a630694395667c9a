// What memory an upload of unknown length takes beyond that of the process: a source of cheap bytes, and a server that
// does not exist and holds every part for a moment, so that as many are on their way as may be.
//   npm run bench:upload-memory -- [--size 10G] [--memory 64M] [--part-size 8M] [--concurrency 4] [--known]
import process from "node:process";
import { Readable } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { RawAesKeyring } from "#frameseal/index.js";
import { encryptS3Client } from "#frameseal/s3.js";

const MiB = 2 ** 20;
/** What the buffers of one upload may take, in parts of `memory`. */
const MAX_RATIO = 1.2;
/** How long a part is on its way. */
const PART_MS = 20;

const { values: options } = parseArgs({
  options: {
    size: { type: "string", default: "1G" },
    memory: { type: "string", default: "64M" },
    "part-size": { type: "string", default: "8M" },
    concurrency: { type: "string", default: "4" },
    known: { type: "boolean", default: false },
  },
});
const size = bytesOf("size", options.size);
const memory = bytesOf("memory", options.memory);

function bytesOf(name: string, text: string): number {
  const match = /^(\d+)([KMGT]?)$/.exec(text);
  if (match?.[1] === undefined) {
    process.stderr.write(`--${name} expected bytes such as 64M\n`);
    process.exit(2);
  }
  return Number(match[1]) * 1024 ** ["", "K", "M", "G", "T"].indexOf(match[2] ?? "");
}

/** Parts that arrived, the longest of them, and those that came as streams. */
const seen = { parts: 0, longest: 0, spooled: 0, bytes: 0 };

interface Request {
  readonly method: string;
  readonly query?: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

/** Answers as S3 would, and keeps nothing. */
const nowhere = {
  async handle({ method, query, headers, body }: Request) {
    const isPart = query?.partNumber !== undefined;
    if (isPart) {
      seen.parts += 1;
      seen.longest = Math.max(seen.longest, Number(headers["content-length"]));
      if (body instanceof Readable) {
        seen.spooled += 1;
        for await (const chunk of body) seen.bytes += (chunk as Buffer).length;
      } else seen.bytes += (body as Uint8Array).length;
      await pause(PART_MS);
    }
    const created = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>";
    const completed = '<CompleteMultipartUploadResult><ETag>"e"</ETag></CompleteMultipartUploadResult>';
    const text = method === "POST" ? (query?.uploadId === undefined ? created : completed) : "";
    return {
      response: { statusCode: 200, reason: "OK", headers: { etag: '"e"' }, body: Readable.from([text]) },
    };
  },
  destroy() {},
  metadata: { handlerProtocol: "http/1.1" },
  updateHttpClientConfig() {},
  httpHandlerConfigs: () => ({}),
};

const plain = new S3Client({
  endpoint: "https://nowhere.invalid",
  region: "us-east-1",
  forcePathStyle: true,
  credentials: { accessKeyId: "a", secretAccessKey: "b" },
  requestChecksumCalculation: "WHEN_REQUIRED",
  requestHandler: nowhere as never,
});
const client = encryptS3Client(plain, {
  keyring: new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: new Uint8Array(32).fill(1) }),
  unsignedPayload: "https-only",
  memory,
  partSize: bytesOf("part-size", options["part-size"]),
  uploadConcurrency: Number(options.concurrency),
});
const chunk = Buffer.alloc(MiB, 0x5a);
async function* source(length: number): AsyncGenerator<Uint8Array> {
  for (let left = length; left > 0; left -= chunk.length)
    yield chunk.subarray(0, Math.min(left, chunk.length));
}
const put = (length: number): Promise<unknown> =>
  client.send(
    new PutObjectCommand({
      Bucket: "b",
      Key: "k",
      Body: source(length) as unknown as Readable,
      ...(options.known ? { ContentLength: length } : {}),
    }),
  );

// The base is that of a process at work: its own heap has grown to what requests need.
for (let warm = 0; warm < 2000; warm++) await put(100_000);
await pause(200);
const base = process.memoryUsage();
let peak = base;
const look = (): void => {
  const now = process.memoryUsage();
  if (now.rss > peak.rss) peak = now;
};
const timer = setInterval(look, 20);
const start = performance.now();
await put(size);
clearInterval(timer);
look();
const seconds = (performance.now() - start) / 1000;
const over = peak.rss - base.rss;
const mebibytes = (bytes: number): string => (bytes / MiB).toFixed(1);
process.stdout.write(
  `${options.size} in ${seen.parts} parts of up to ${mebibytes(seen.longest)} MiB, ${seen.spooled} spooled, ` +
    `${seconds.toFixed(0)} s\n` +
    `memory ${mebibytes(memory)} MiB: peak ${mebibytes(over)} MiB over a base of ${mebibytes(base.rss)} MiB, ` +
    `${(over / memory).toFixed(2)} of it (at most ${MAX_RATIO})\n` +
    `of which JavaScript's own heap: ${mebibytes(peak.heapTotal - base.heapTotal)} MiB, ` +
    `buffers: ${mebibytes(peak.arrayBuffers - base.arrayBuffers)} MiB\n`,
);
process.exitCode = over <= MAX_RATIO * memory ? 0 : 1;
