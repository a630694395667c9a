// The least that S3 can be, for transfers that are timed: objects in memory, no checks, so that clients are what is
// measured; beside it answers as AWS KMS, for clients that have no other keys. A program of its own: prints its address
// and lives until its standard input ends.
import http, { type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { answerKms } from "./kms-answers.ts";

interface StoredObject {
  readonly metadata: Readonly<Record<string, string>>;
  readonly chunks: readonly Buffer[];
}
interface PendingUpload {
  readonly metadata: Readonly<Record<string, string>>;
  readonly parts: (readonly Buffer[])[];
}

const objects = new Map<string, StoredObject>();
const uploads = new Map<string, PendingUpload>();

async function bodyOf(request: IncomingMessage): Promise<Buffer[]> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const { "x-amz-content-sha256": hash = "" } = request.headers;
  return String(hash).startsWith("STREAMING-") ? unchunked(Buffer.concat(chunks)) : chunks;
}

// aws-chunked: length in hexadecimal, data, and so on; the trailer is not looked at.
function unchunked(raw: Buffer): Buffer[] {
  const body: Buffer[] = [];
  for (let at = 0; ; ) {
    const end = raw.indexOf("\r\n", at);
    const length = Number.parseInt(raw.toString("latin1", at, end), 16);
    if (!(length > 0)) return body;
    body.push(raw.subarray(end + 2, end + 2 + length));
    at = end + 2 + length + 2;
  }
}

function metadataOf({ headers }: IncomingMessage): Record<string, string> {
  const metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers))
    if (name.startsWith("x-amz-meta-") && typeof value === "string") metadata[name] = value;
  return metadata;
}

function answer(response: ServerResponse, status: number, xml = ""): void {
  response.writeHead(status, { "content-type": "application/xml", etag: '"x"' });
  response.end(xml);
}

async function write(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
  const { pathname, searchParams } = url;
  const uploadId = searchParams.get("uploadId");
  const chunks = await bodyOf(request);
  if (request.method === "DELETE") {
    objects.delete(pathname);
    return answer(response, 204);
  }
  if (searchParams.has("uploads")) {
    const id = String(uploads.size + 1);
    uploads.set(id, { metadata: metadataOf(request), parts: [] });
    return answer(
      response,
      200,
      `<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`,
    );
  }
  if (uploadId === null) {
    objects.set(pathname, { metadata: metadataOf(request), chunks });
    return answer(response, 200);
  }
  const upload = uploads.get(uploadId);
  if (upload === undefined) return answer(response, 404, "<Error><Code>NoSuchUpload</Code></Error>");
  if (request.method === "PUT") {
    upload.parts[Number(searchParams.get("partNumber")) - 1] = chunks;
    return answer(response, 200);
  }
  objects.set(pathname, { metadata: upload.metadata, chunks: upload.parts.flat() });
  upload.parts.length = 0;
  return answer(
    response,
    200,
    '<CompleteMultipartUploadResult><ETag>"x"</ETag></CompleteMultipartUploadResult>',
  );
}

function* slice(chunks: readonly Buffer[], start: number, end: number): Generator<Buffer> {
  let at = 0;
  for (const chunk of chunks) {
    const piece = chunk.subarray(Math.max(0, start - at), Math.max(0, end - at));
    at += chunk.length;
    if (piece.length > 0) yield piece;
    if (at >= end) return;
  }
}

async function read(request: IncomingMessage, response: ServerResponse, { pathname }: URL): Promise<void> {
  const object = objects.get(pathname);
  if (object === undefined) return answer(response, 404, "<Error><Code>NoSuchKey</Code></Error>");
  const length = object.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
  const start = Number(range?.[1] ?? 0);
  const end = Math.min(length, Number(range?.[2] || length - 1) + 1);
  response.writeHead(range === null ? 200 : 206, {
    ...object.metadata,
    etag: '"x"',
    "content-length": end - start,
    ...(range === null ? {} : { "content-range": `bytes ${start}-${end - 1}/${length}` }),
  });
  if (request.method === "HEAD") response.end();
  else await pipeline(Readable.from(slice(object.chunks, start, end), { objectMode: false }), response);
}

async function serveKms(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { "x-amz-target": target = "" } = request.headers;
  const reply = answerKms(String(target), await text(request));
  response.writeHead(200, { "content-type": "application/x-amz-json-1.1" }).end(reply);
}

function workOf({ method, headers }: IncomingMessage): typeof write {
  if (headers["x-amz-target"] !== undefined) return serveKms;
  return method === "GET" || method === "HEAD" ? read : write;
}

const server = http.createServer((request, response) => {
  const url = new URL(request.url ?? "/", "http://store");
  workOf(request)(request, response, url).catch(() => response.destroy());
});
server.listen(0, "127.0.0.1", () => {
  process.stdout.write(`http://127.0.0.1:${(server.address() as AddressInfo).port}\n`);
});
process.stdin.resume().on("end", () => process.exit());
