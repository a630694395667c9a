// The body of an S3 request as S3 takes it: aws-chunked encoding with trailers undone, lengths, digests and checksums
// checked.
import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { crc32 } from "node:zlib";

/** An answer that is an S3 error. */
export class S3Error extends Error {
  readonly code: string;
  readonly status: number;
  constructor(status: number, code: string, message = code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

const MIN_CHUNK_LENGTH = 8192;

/** Reads the whole body. */
export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const raw = Buffer.concat(chunks);
  const declared = request.headers["content-length"];
  if (declared !== undefined && Number(declared) !== raw.length) throw new S3Error(400, "IncompleteBody");
  const digest = String(request.headers["x-amz-content-sha256"] ?? "UNSIGNED-PAYLOAD");
  const { headers } = request;
  if (!digest.startsWith("STREAMING-")) {
    if (/^[0-9a-f]{64}$/.test(digest) && createHash("sha256").update(raw).digest("hex") !== digest)
      throw new S3Error(400, "XAmzContentSHA256Mismatch");
    checkSums(raw, headers);
    return raw;
  }
  const { body, trailers } = decodeChunks(raw);
  const length = headers["x-amz-decoded-content-length"];
  if (length === undefined) throw new S3Error(411, "MissingContentLength");
  if (Number(length) !== body.length) throw new S3Error(400, "IncompleteBody");
  checkSums(body, { ...headers, ...trailers });
  return body;
}

function decodeChunks(raw: Buffer): { body: Buffer; trailers: Record<string, string> } {
  const parts: Buffer[] = [];
  let at = 0;
  let shortChunk = false;
  for (;;) {
    const end = raw.indexOf("\r\n", at);
    if (end < 0) throw new S3Error(400, "IncompleteBody");
    const size = Number.parseInt(raw.subarray(at, end).toString("latin1"), 16);
    if (!Number.isSafeInteger(size) || size < 0) throw new S3Error(400, "InvalidRequest", "chunk size");
    at = end + 2;
    if (size === 0) break;
    if (shortChunk) throw new S3Error(403, "InvalidChunkSizeError");
    shortChunk = size < MIN_CHUNK_LENGTH;
    parts.push(raw.subarray(at, at + size));
    at += size;
    if (raw.toString("latin1", at, at + 2) !== "\r\n") throw new S3Error(400, "IncompleteBody");
    at += 2;
  }
  const trailers: Record<string, string> = {};
  for (const line of raw.toString("latin1", at).split("\r\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) trailers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  return { body: Buffer.concat(parts), trailers };
}

function checkSums(body: Buffer, headers: Record<string, unknown>): void {
  const md5 = headers["content-md5"];
  if (md5 !== undefined && createHash("md5").update(body).digest("base64") !== md5)
    throw new S3Error(400, "BadDigest");
  const expected = headers["x-amz-checksum-crc32"];
  if (expected === undefined) return;
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(body));
  if (sum.toString("base64") !== expected) throw new S3Error(400, "BadDigest", "CRC32");
}
