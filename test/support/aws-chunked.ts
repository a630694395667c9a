// The body of an S3 request as S3 takes it: aws-chunked encoding with signatures and trailers undone, lengths, digests
// and checksums checked.
import { createHash } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { type Checksum, checksumAlgorithms, checksumOf } from "./checksums.ts";
import { S3Error } from "./s3-error.ts";
import type { Signature } from "./s3-signature.ts";

const MIN_CHUNK_LENGTH = 8192;
const STREAMED = new Set([
  "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
  "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
  "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
]);

/** A body as it was meant. */
export interface RequestBody {
  readonly bytes: Buffer;
  readonly checksum: Checksum | undefined;
}

/**
 * Decodes and checks a body.
 * @param raw the bytes on the wire
 * @throws S3Error
 */
export function decodeBody(raw: Buffer, headers: IncomingHttpHeaders, signature: Signature): RequestBody {
  const { payload } = signature;
  const declared = headers["content-length"];
  // What is cut into chunks tells its length in a header of its own.
  if (declared === undefined && raw.length > 0 && !STREAMED.has(payload))
    throw new S3Error(411, "MissingContentLength");
  if (declared !== undefined && Number(declared) !== raw.length) throw new S3Error(400, "IncompleteBody");
  if (!STREAMED.has(payload)) {
    if (/^[0-9a-f]{64}$/.test(payload)) {
      if (createHash("sha256").update(raw).digest("hex") !== payload)
        throw new S3Error(400, "XAmzContentSHA256Mismatch");
    } else if (payload !== "UNSIGNED-PAYLOAD")
      throw new S3Error(400, "InvalidArgument", "x-amz-content-sha256");
    return { bytes: raw, checksum: checkSums(raw, headers) };
  }
  const length = headers["x-amz-decoded-content-length"];
  if (length === undefined) throw new S3Error(411, "MissingContentLength");
  const { bytes, trailers } = decodeChunks(raw, headers, signature);
  if (Number(length) !== bytes.length) throw new S3Error(400, "IncompleteBody");
  return { bytes, checksum: checkSums(bytes, { ...headers, ...trailers }) };
}

function decodeChunks(
  raw: Buffer,
  headers: IncomingHttpHeaders,
  signature: Signature,
): { bytes: Buffer; trailers: Record<string, string> } {
  const isSigned = signature.payload.startsWith("STREAMING-AWS4-");
  const parts: Buffer[] = [];
  let at = 0;
  let shortChunk = false;
  for (;;) {
    const end = raw.indexOf("\r\n", at);
    if (end < 0) throw new S3Error(400, "IncompleteBody");
    const line = raw.toString("latin1", at, end);
    const match = /^([0-9a-f]{1,8})(?:;chunk-signature=([0-9a-f]{64}))?$/i.exec(line);
    if (match === null) throw new S3Error(400, "InvalidRequest", "chunk size");
    const [, digits = "", chunkSignature] = match;
    const size = Number.parseInt(digits, 16);
    const chunk = raw.subarray(end + 2, end + 2 + size);
    if (isSigned !== (chunkSignature !== undefined)) throw new S3Error(403, "SignatureDoesNotMatch");
    if (chunkSignature !== undefined) signature.checkChunk(chunk, chunkSignature);
    at = end + 2 + size;
    if (size === 0) break;
    if (shortChunk) throw new S3Error(403, "InvalidChunkSizeError");
    shortChunk = size < MIN_CHUNK_LENGTH;
    parts.push(chunk);
    if (raw.toString("latin1", at, at + 2) !== "\r\n") throw new S3Error(400, "IncompleteBody");
    at += 2;
  }
  return {
    bytes: Buffer.concat(parts),
    trailers: decodeTrailers(raw.toString("latin1", at), headers, signature),
  };
}

// The trailing headers: exactly those that `x-amz-trailer` announced.
function decodeTrailers(
  text: string,
  headers: IncomingHttpHeaders,
  signature: Signature,
): Record<string, string> {
  const trailers: Record<string, string> = {};
  let trailerSignature: string | undefined;
  let signedText = "";
  for (const line of text.split("\r\n")) {
    if (line === "") continue;
    const colon = line.indexOf(":");
    if (colon < 1) throw new S3Error(400, "MalformedTrailerError");
    const name = line.slice(0, colon).trim().toLowerCase();
    const value = line.slice(colon + 1).trim();
    if (name === "x-amz-trailer-signature") trailerSignature = value;
    else {
      trailers[name] = value;
      signedText += `${name}:${value}\n`;
    }
  }
  if (!text.endsWith("\r\n")) throw new S3Error(400, "IncompleteBody");
  const announced = String(headers["x-amz-trailer"] ?? "")
    .split(",")
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== "");
  const isTrailing = signature.payload.endsWith("-TRAILER");
  if (isTrailing !== announced.length > 0 || announced.sort().join() !== Object.keys(trailers).sort().join())
    throw new S3Error(400, "MalformedTrailerError", "trailers are not those announced");
  if (isTrailing && signature.payload.startsWith("STREAMING-AWS4-"))
    signature.checkTrailers(signedText, trailerSignature ?? "");
  return trailers;
}

function checkSums(bytes: Buffer, headers: Readonly<Record<string, unknown>>): Checksum | undefined {
  const md5 = headers["content-md5"];
  if (md5 !== undefined && createHash("md5").update(bytes).digest("base64") !== md5)
    throw new S3Error(400, "BadDigest");
  const given = checksumAlgorithms.filter((name) => headers[`x-amz-checksum-${name}`] !== undefined);
  if (given.length > 1) throw new S3Error(400, "InvalidRequest", "more than one checksum");
  const [algorithm] = given;
  const named = headers["x-amz-sdk-checksum-algorithm"];
  if (named !== undefined && String(named).toLowerCase() !== algorithm)
    throw new S3Error(400, "InvalidRequest", "x-amz-sdk-checksum-algorithm without that checksum");
  if (algorithm === undefined) return undefined;
  const value = checksumOf(algorithm, bytes);
  if (value !== headers[`x-amz-checksum-${algorithm}`]) throw new S3Error(400, "BadDigest", algorithm);
  return { algorithm, value };
}
