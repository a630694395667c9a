// The least that S3 and KMS can be, in memory and without checks, so that what is measured is the client. Prints its
// address; lives until its standard input ends.
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import http from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

const objects = new Map();
const uploads = new Map();
const kmsKey = randomBytes(32);
const keyId = "arn:aws:kms:us-east-1:111122223333:key/11111111-1111-1111-1111-111111111111";

async function read(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  if (!String(request.headers["x-amz-content-sha256"]).startsWith("STREAMING-")) return chunks;
  // aws-chunked: hex length, data, and so on; the trailer is not looked at.
  const raw = Buffer.concat(chunks);
  const body = [];
  for (let at = 0; ; ) {
    const end = raw.indexOf("\r\n", at);
    const size = Number.parseInt(raw.toString("latin1", at, end), 16);
    if (!(size > 0)) return body;
    body.push(raw.subarray(end + 2, end + 2 + size));
    at = end + 2 + size + 2;
  }
}

const lengthOf = (chunks) => chunks.reduce((sum, chunk) => sum + chunk.length, 0);

function* slice(chunks, start, end) {
  let at = 0;
  for (const chunk of chunks) {
    const piece = chunk.subarray(Math.max(0, start - at), Math.max(0, end - at));
    at += chunk.length;
    if (piece.length > 0) yield piece;
  }
}

function kms(target, input) {
  if (target === "GenerateDataKey") {
    const dataKey = randomBytes(32);
    const nonce = randomBytes(12);
    const cipher = createCipheriv("aes-256-gcm", kmsKey, nonce);
    const blob = Buffer.concat([nonce, cipher.update(dataKey), cipher.final(), cipher.getAuthTag()]);
    return { KeyId: keyId, Plaintext: dataKey.toString("base64"), CiphertextBlob: blob.toString("base64") };
  }
  const blob = Buffer.from(input.CiphertextBlob, "base64");
  const decipher = createDecipheriv("aes-256-gcm", kmsKey, blob.subarray(0, 12)).setAuthTag(
    blob.subarray(-16),
  );
  const dataKey = Buffer.concat([decipher.update(blob.subarray(12, -16)), decipher.final()]);
  return { KeyId: keyId, Plaintext: dataKey.toString("base64") };
}

async function serve(request, response) {
  const { method, headers } = request;
  const { pathname, searchParams } = new URL(request.url, "http://store");
  const answer = (status, text = "", more = {}) => {
    response.writeHead(status, { "content-type": "application/xml", ...more });
    response.end(text);
  };
  const chunks = await read(request);
  const target = headers["x-amz-target"];
  if (target !== undefined) {
    const reply = kms(target.split(".")[1], JSON.parse(Buffer.concat(chunks).toString()));
    return answer(200, JSON.stringify(reply), { "content-type": "application/x-amz-json-1.1" });
  }
  const uploadId = searchParams.get("uploadId");
  const described = Object.fromEntries(
    Object.entries(headers).filter(([name]) => name.startsWith("x-amz-meta-")),
  );
  if (method === "POST" && searchParams.has("uploads")) {
    const id = randomBytes(8).toString("hex");
    uploads.set(id, { described, parts: [] });
    return answer(
      200,
      `<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`,
    );
  }
  if (method === "PUT" && uploadId !== null) {
    const number = Number(searchParams.get("partNumber"));
    uploads.get(uploadId).parts[number - 1] = chunks;
    return answer(200, "", { etag: `"${number}"` });
  }
  if (method === "POST" && uploadId !== null) {
    const { described: stored, parts } = uploads.get(uploadId);
    uploads.delete(uploadId);
    objects.set(pathname, { described: stored, chunks: parts.flat() });
    return answer(200, `<CompleteMultipartUploadResult><ETag>"x"</ETag></CompleteMultipartUploadResult>`);
  }
  if (method === "PUT") {
    objects.set(pathname, { described, chunks });
    return answer(200, "", { etag: '"x"' });
  }
  if (method === "DELETE") {
    objects.delete(pathname);
    return answer(204);
  }
  const object = objects.get(pathname);
  if (object === undefined) return answer(404, "<Error><Code>NoSuchKey</Code></Error>");
  const length = lengthOf(object.chunks);
  const range = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? "");
  const start = Number(range?.[1] ?? 0);
  const end = Math.min(length, Number(range?.[2] || length - 1) + 1);
  response.writeHead(range === null ? 200 : 206, {
    ...object.described,
    etag: '"x"',
    "content-length": end - start,
    ...(range === null ? {} : { "content-range": `bytes ${start}-${end - 1}/${length}` }),
  });
  if (method === "HEAD") return response.end();
  await pipeline(Readable.from(slice(object.chunks, start, end), { objectMode: false }), response);
}

const server = http.createServer((request, response) => {
  serve(request, response).catch(() => response.destroy());
});
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
process.stdin.resume().on("end", () => process.exit());
