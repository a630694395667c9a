// npm start: the main job in miniature. The repository with its node_modules goes as one archive through framed
// AES-256-GCM into an S3-compatible server on loopback and comes back verified.
import { type ChildProcess, fork } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { CreateBucketCommand, GetObjectCommand, HeadObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { engineInfo, keyringFromKeyFile, writeAesKeyFile } from "frameseal";
import { encryptS3Client } from "frameseal/s3";
import * as tar from "tar";

const PART_SIZE = 8 * 1024 * 1024;
const RANGE_LENGTH = 100_000;
const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const OBJECT = { Bucket: "backups", Key: "frameseal.tar" };

interface Traffic {
  readonly requests: number;
  readonly bytes: number;
}

/** The archive of a tree. Names are relative to it; history and caches are left out. */
function archive(root: string): Readable {
  const skip = (name: string) => /^(\.\/)?(\.git|node_modules\/\.(cache|vite)|build)(\/|$)/.test(name);
  const pack = tar.create({ cwd: root, portable: true, filter: (name) => !skip(name) }, ["."]);
  return Readable.from(pack, { objectMode: false });
}

/** Reads an archive to its end, compares each file with the one on disk, and keeps the bytes of one range. */
async function compareArchive(body: AsyncIterable<Uint8Array>, root: string, from: number) {
  const differing: string[] = [];
  const comparisons: Promise<void>[] = [];
  let files = 0;
  const parser = new tar.Parser({
    onReadEntry(entry) {
      const hash = createHash("sha256");
      entry.on("data", (chunk) => hash.update(chunk));
      entry.on("end", () => {
        if (entry.type !== "File") return;
        files += 1;
        const digest = hash.digest("hex");
        const original = readFile(path.join(root, entry.path)).then(
          (bytes) => createHash("sha256").update(bytes).digest("hex"),
          () => "absent",
        );
        comparisons.push(
          original.then((expected) => void (expected === digest || differing.push(entry.path))),
        );
      });
    },
  });
  const done = once(parser, "end");
  const range = Buffer.alloc(RANGE_LENGTH);
  let position = 0;
  for await (const chunk of body) {
    if (position < from + RANGE_LENGTH && position + chunk.length > from)
      range.set(
        chunk.subarray(Math.max(0, from - position), Math.max(0, from + RANGE_LENGTH - position)),
        Math.max(0, position - from),
      );
    position += chunk.length;
    if (!parser.write(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)))
      await once(parser, "drain");
    if (comparisons.length > 64) await Promise.all(comparisons.splice(0));
  }
  parser.end();
  await done;
  await Promise.all(comparisons);
  return { files, differing, range, length: position };
}

async function askTraffic(server: ChildProcess): Promise<Traffic> {
  const answer = once(server, "message");
  server.send("traffic");
  return (await answer)[0] as Traffic;
}

async function timed<Result>(action: () => Promise<Result>): Promise<[result: Result, seconds: number]> {
  const start = performance.now();
  const result = await action();
  return [result, (performance.now() - start) / 1000];
}

function bodyOf(output: { Body?: unknown }): AsyncIterable<Uint8Array> {
  if (output.Body === undefined) throw new Error("the answer has no body");
  return output.Body as AsyncIterable<Uint8Array>;
}

function printTable(rows: readonly (readonly [string, string])[]): void {
  const width = Math.max(...rows.map(([name]) => name.length));
  for (const [name, value] of rows) console.log(`  ${name.padEnd(width)}  ${value}`);
}

function speed(bytes: number, seconds: number): string {
  return `${seconds.toFixed(2)} s, ${Math.round(bytes / seconds / 1e6)} MB/s`;
}

const count = (value: number): string => value.toLocaleString("en-GB");

async function demo(folder: string, server: ChildProcess, endpoint: string): Promise<void> {
  const keyFile = path.join(folder, "master.jwk");
  const { keyName } = await writeAesKeyFile(keyFile);
  console.log(`client-side master key ${keyName} made in a temporary folder`);
  const plain = new S3Client({
    endpoint,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: { accessKeyId: "frameseal", secretAccessKey: "frameseal" },
  });
  await plain.send(new CreateBucketCommand({ Bucket: OBJECT.Bucket }));
  const client = encryptS3Client(plain, { keyring: await keyringFromKeyFile(keyFile), partSize: PART_SIZE });

  console.log(`archiving ${path.basename(ROOT)} with its node_modules, encrypting, uploading …`);
  const upload = new Upload({ client, partSize: PART_SIZE, params: { ...OBJECT, Body: archive(ROOT) } });
  const [, upSeconds] = await timed(() => upload.done());
  const { ContentLength: length = 0 } = await client.send(new HeadObjectCommand(OBJECT));
  const stored = await plain.send(new HeadObjectCommand(OBJECT));

  console.log("downloading, verifying every frame, comparing every file …");
  const from = Math.floor(length / 2);
  const [read, downSeconds] = await timed(async () =>
    compareArchive(bodyOf(await client.send(new GetObjectCommand(OBJECT))), ROOT, from),
  );
  if (read.length !== length) throw new Error(`read ${read.length} of ${length} bytes`);
  if (read.files === 0) throw new Error("the archive is empty");
  if (read.differing.length > 0) throw new Error(`differing files: ${read.differing.slice(0, 5).join(", ")}`);

  console.log("reading one range from the middle …");
  await askTraffic(server);
  const Range = `bytes=${from}-${from + RANGE_LENGTH - 1}`;
  const [range, rangeSeconds] = await timed(async () => {
    const pieces: Uint8Array[] = [];
    for await (const piece of bodyOf(await client.send(new GetObjectCommand({ ...OBJECT, Range }))))
      pieces.push(piece);
    return Buffer.concat(pieces);
  });
  const traffic = await askTraffic(server);
  if (!range.equals(read.range)) throw new Error("the range differs from the same bytes of the whole");
  if (traffic.bytes > 1e6) throw new Error(`the range fetched ${traffic.bytes} bytes`);

  const info = engineInfo();
  console.log("\ndone; nothing of it is kept\n");
  printTable([
    ["archive", `${count(length)} bytes, ${count(read.files)} files, all equal`],
    ["object", `${count(stored.ContentLength ?? 0)} bytes of ciphertext`],
    ["upload", speed(length, upSeconds)],
    ["download", speed(length, downSeconds)],
    ["range", `${count(RANGE_LENGTH)} bytes at ${count(from)}: ${(rangeSeconds * 1000).toFixed(1)} ms`],
    ["range traffic", `${count(traffic.bytes)} bytes in ${traffic.requests} requests`],
    ["peak memory", `${Math.round(process.resourceUsage().maxRSS / 1024)} MiB`],
    ["engine", `${info.engine}, ${info.kernel} (${info.reason})`],
    ...Object.entries(stored.Metadata ?? {}).map(([name, value]): [string, string] => [
      `x-amz-meta-${name}`,
      value,
    ]),
  ]);
}

async function main(): Promise<number> {
  const folder = await mkdtemp(path.join(tmpdir(), "frameseal-demo-"));
  const server = fork(fileURLToPath(new URL("./server.js", import.meta.url)));
  let interrupted = false;
  const stop = new Promise<never>((_resolve, reject) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const)
      process.once(signal, () => {
        interrupted = true;
        reject(new Error("interrupted"));
      });
  });
  try {
    const [ready] = await Promise.race([once(server, "message"), stop]);
    await Promise.race([demo(folder, server, (ready as { endpoint: string }).endpoint), stop]);
    return 0;
  } catch (error) {
    console.error(`npm start: ${error instanceof Error ? error.message : error}`);
    return interrupted ? 130 : 1;
  } finally {
    server.kill("SIGTERM");
    await rm(folder, { recursive: true, force: true });
  }
}

process.exit(await main());
