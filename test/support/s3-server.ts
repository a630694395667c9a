// A strict S3 on loopback, in memory: it refuses what the real service refuses and public emulators let pass (short
// chunks, metadata above 2 KB, small parts, wrong SSE-C keys), and can be told to fail.
import { createHash, randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { S3Client, type S3ClientConfig } from "@aws-sdk/client-s3";
import { readBody, S3Error } from "./aws-chunked.ts";

const MIN_PART_LENGTH = 5 * 2 ** 20;
const MAX_METADATA_LENGTH = 2048;

/** An object as it is stored. */
export interface StoredS3Object {
  body: Buffer;
  readonly headers: Readonly<Record<string, string>>;
  readonly eTag: string;
  readonly sseCKeyMd5: string | undefined;
  readonly modified: Date;
}

interface S3Upload {
  readonly bucket: string;
  readonly key: string;
  readonly headers: Record<string, string>;
  readonly sseCKeyMd5: string | undefined;
  readonly parts: Map<number, { body: Buffer; eTag: string }>;
}

/** One request as the server sees it. */
export interface S3Call {
  readonly method: string;
  readonly bucket: string;
  readonly key: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage["headers"];
}

/**
 * What goes wrong with one call: an error or a broken connection before or after it took effect, silence, an error
 * under status 200, or a body that is cut or altered.
 */
export type S3Fault =
  | { readonly kind: "error"; readonly status: number; readonly code: string; readonly after?: boolean }
  | { readonly kind: "reset"; readonly after?: boolean }
  | { readonly kind: "stall" }
  | { readonly kind: "error200" }
  | { readonly kind: "cut"; readonly at: number }
  | { readonly kind: "flip"; readonly at: number };

interface Answer {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly body?: Buffer | string;
}

/** Buckets live as long as the server; `close` must be called. */
export class S3Server implements AsyncDisposable {
  readonly buckets = new Map<string, Map<string, StoredS3Object>>();
  readonly uploads = new Map<string, S3Upload>();
  readonly calls: S3Call[] = [];
  /** Asked for each call; undefined is no fault. */
  fault: (call: S3Call, number: number) => S3Fault | undefined = () => undefined;
  /** Sees every body that arrived whole, whatever becomes of the call. */
  onBody: (call: S3Call, body: Buffer) => void = () => {};
  readonly #server: Server;
  readonly #clients: S3Client[] = [];

  private constructor() {
    this.#server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
      this.#serve(request, response).catch(() => response.destroy());
    });
  }
  static async start(port = 0): Promise<S3Server> {
    const server = new S3Server();
    await new Promise<void>((resolve) => server.#server.listen(port, "127.0.0.1", resolve));
    return server;
  }
  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }
  client(config: S3ClientConfig = {}): S3Client {
    const credentials = { accessKeyId: "a", secretAccessKey: "b" };
    const { endpoint } = this;
    const client = new S3Client({
      endpoint,
      region: "us-east-1",
      forcePathStyle: true,
      credentials,
      ...config,
    });
    this.#clients.push(client);
    return client;
  }
  /** The object, which must be there. */
  object(bucket: string, key: string): StoredS3Object {
    const found = this.buckets.get(bucket)?.get(key);
    if (found === undefined) throw new Error(`no object ${bucket}/${key}`);
    return found;
  }
  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.destroy();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://s3");
    const [bucket = "", ...rest] = url.pathname.slice(1).split("/");
    const call: S3Call = {
      method: request.method ?? "GET",
      bucket: decodeURIComponent(bucket),
      key: decodeURIComponent(rest.join("/")),
      query: url.searchParams,
      headers: request.headers,
    };
    this.calls.push(call);
    const fault = this.fault(call, this.calls.length);
    let answer: Answer;
    try {
      if (fault?.kind === "reset" && fault.after !== true) return void request.socket.destroy();
      const body = await readBody(request);
      this.onBody(call, body);
      if (fault?.kind === "stall") return;
      if (fault?.kind === "error" && fault.after !== true) throw new S3Error(fault.status, fault.code);
      answer = this.#answer(call, body);
      if (fault?.kind === "error") throw new S3Error(fault.status, fault.code);
    } catch (error) {
      if (!(error instanceof S3Error)) throw error;
      const text = `<Error><Code>${error.code}</Code><Message>${error.message}</Message></Error>`;
      answer = {
        status: error.status,
        body: call.method === "HEAD" ? "" : text,
        headers: { "content-type": "application/xml" },
      };
    }
    if (fault?.kind === "reset") return void request.socket.destroy();
    if (fault?.kind === "error200")
      answer = xml("<Error><Code>InternalError</Code><Message>after all</Message></Error>");
    let body = Buffer.from(answer.body ?? "");
    const headers: Record<string, string> = { "x-amz-request-id": "1", ...answer.headers };
    headers["content-length"] ??= String(body.length);
    if (fault?.kind === "flip" && body.length > fault.at) {
      body = Buffer.from(body);
      body[fault.at] = (body[fault.at] ?? 0) ^ 1;
    }
    response.writeHead(answer.status ?? 200, headers);
    if (fault?.kind !== "cut") return void response.end(body);
    response.write(body.subarray(0, fault.at), () => request.socket.destroy());
  }

  #answer(call: S3Call, body: Buffer): Answer {
    const { method, bucket, key, query, headers } = call;
    if (key === "") return this.#answerBucket(call, body);
    const objects = this.#bucket(bucket);
    if (query.has("uploads") && method === "POST") {
      const uploadId = randomUUID();
      const described = { bucket, key, headers: describing(headers), parts: new Map() };
      this.uploads.set(uploadId, { ...described, sseCKeyMd5: sseCKeyOf(headers) });
      return xml(
        `<InitiateMultipartUploadResult><UploadId>${uploadId}</UploadId></InitiateMultipartUploadResult>`,
      );
    }
    if (query.has("uploadId")) return this.#answerUpload(call, body);
    switch (method) {
      case "PUT": {
        checkConditions(headers, objects.get(key));
        const source = headers["x-amz-copy-source"];
        if (source === undefined)
          return this.#put(objects, key, body, describing(headers), sseCKeyOf(headers));
        return this.#copy(objects, call, String(source));
      }
      case "GET":
      case "HEAD":
        return answerObject(call, objects.get(key));
      case "DELETE":
        objects.delete(key);
        return { status: 204 };
      default:
        throw new S3Error(405, "MethodNotAllowed");
    }
  }

  #bucket(name: string): Map<string, StoredS3Object> {
    const objects = this.buckets.get(name);
    if (objects === undefined) throw new S3Error(404, "NoSuchBucket");
    return objects;
  }

  #answerBucket({ method, bucket, query }: S3Call, body: Buffer): Answer {
    if (method === "PUT" && query.size === 0) {
      this.buckets.set(bucket, this.buckets.get(bucket) ?? new Map());
      return {};
    }
    const objects = this.#bucket(bucket);
    if (method === "HEAD") return {};
    if (method === "POST" && query.has("delete")) {
      const keys = [...body.toString().matchAll(/<Key>([^<]*)<\/Key>/g)].map(([, name = ""]) =>
        unescapeXml(name),
      );
      for (const name of keys) objects.delete(name);
      return xml("<DeleteResult></DeleteResult>");
    }
    if (method === "GET" && query.has("uploads")) {
      const found = [...this.uploads].filter(([, upload]) => upload.bucket === bucket);
      const list = found.map(
        ([id, { key }]) => `<Upload><Key>${escapeXml(key)}</Key><UploadId>${id}</UploadId></Upload>`,
      );
      return xml(`<ListMultipartUploadsResult>${list.join("")}</ListMultipartUploadsResult>`);
    }
    if (method === "GET") return listObjects(objects, query);
    throw new S3Error(501, "NotImplemented");
  }

  #put(
    objects: Map<string, StoredS3Object>,
    key: string,
    body: Buffer,
    headers: Record<string, string>,
    sseCKeyMd5: string | undefined,
    eTag = `"${createHash("md5").update(body).digest("hex")}"`,
  ): Answer {
    objects.set(key, { body, headers, eTag, sseCKeyMd5, modified: new Date() });
    return { headers: { etag: eTag } };
  }

  #copySource(call: S3Call, text: string): StoredS3Object {
    const [bucket = "", ...rest] = decodeURIComponent(text.replace(/^\//, "").split("?")[0] ?? "").split("/");
    const source = this.#bucket(bucket).get(rest.join("/"));
    if (source === undefined) throw new S3Error(404, "NoSuchKey");
    const match = call.headers["x-amz-copy-source-if-match"];
    if (match !== undefined && match !== source.eTag) throw new S3Error(412, "PreconditionFailed");
    checkSseC(source, call.headers["x-amz-copy-source-server-side-encryption-customer-key-md5"]);
    return source;
  }

  #copy(objects: Map<string, StoredS3Object>, call: S3Call, text: string): Answer {
    const source = this.#copySource(call, text);
    if (source.body.length > 5 * 2 ** 30) throw new S3Error(400, "InvalidRequest");
    const replace = call.headers["x-amz-metadata-directive"] === "REPLACE";
    const headers = replace ? describing(call.headers) : { ...source.headers };
    const { headers: answered } = this.#put(objects, call.key, source.body, headers, sseCKeyOf(call.headers));
    return xml(`<CopyObjectResult><ETag>${escapeXml(answered?.etag ?? "")}</ETag></CopyObjectResult>`);
  }

  #answerUpload(call: S3Call, body: Buffer): Answer {
    const { method, query, bucket, key, headers } = call;
    const uploadId = query.get("uploadId") ?? "";
    const upload = this.uploads.get(uploadId);
    if (upload === undefined || upload.bucket !== bucket || upload.key !== key)
      throw new S3Error(404, "NoSuchUpload");
    if (method === "PUT") {
      const number = Number(query.get("partNumber"));
      if (!(number >= 1 && number <= 10_000)) throw new S3Error(400, "InvalidArgument");
      if (upload.sseCKeyMd5 !== sseCKeyOf(headers))
        throw new S3Error(400, "InvalidRequest", "SSE-C key of the upload");
      const source = headers["x-amz-copy-source"];
      const bytes = source === undefined ? body : this.#copiedPart(call, String(source));
      const eTag = `"${createHash("md5").update(bytes).digest("hex")}"`;
      upload.parts.set(number, { body: bytes, eTag });
      if (source === undefined) return { headers: { etag: eTag } };
      return xml(`<CopyPartResult><ETag>${escapeXml(eTag)}</ETag></CopyPartResult>`);
    }
    if (method === "DELETE") {
      this.uploads.delete(uploadId);
      return { status: 204 };
    }
    if (method === "GET") {
      const after = Number(query.get("part-number-marker") ?? 0);
      const parts = [...upload.parts].sort(([a], [b]) => a - b).filter(([number]) => number > after);
      const page = parts.slice(0, 1000);
      const list = page.map(
        ([
          number,
          {
            eTag,
            body: { length },
          },
        ]) =>
          `<Part><PartNumber>${number}</PartNumber><ETag>${escapeXml(eTag)}</ETag><Size>${length}</Size></Part>`,
      );
      const more = parts.length > page.length;
      return xml(
        `<ListPartsResult><IsTruncated>${more}</IsTruncated>` +
          `<NextPartNumberMarker>${page.at(-1)?.[0] ?? 0}</NextPartNumberMarker>${list.join("")}</ListPartsResult>`,
      );
    }
    return this.#complete(call, uploadId, upload, body.toString());
  }

  #copiedPart(call: S3Call, text: string): Buffer {
    const { body } = this.#copySource(call, text);
    const range = /^bytes=(\d+)-(\d+)$/.exec(String(call.headers["x-amz-copy-source-range"] ?? ""));
    return range === null ? body : body.subarray(Number(range[1]), Number(range[2]) + 1);
  }

  #complete({ headers, bucket, key }: S3Call, uploadId: string, upload: S3Upload, text: string): Answer {
    const objects = this.#bucket(bucket);
    checkConditions(headers, objects.get(key));
    const listed = [...text.matchAll(/<Part>(.*?)<\/Part>/gs)].map(([, part = ""]) => ({
      number: Number(/<PartNumber>(\d+)</.exec(part)?.[1]),
      eTag: unescapeXml(/<ETag>([^<]*)</.exec(part)?.[1] ?? ""),
    }));
    if (listed.length === 0) throw new S3Error(400, "MalformedXML");
    const parts = listed.map(({ number, eTag }, index) => {
      if (index > 0 && number <= (listed[index - 1]?.number ?? 0)) throw new S3Error(400, "InvalidPartOrder");
      const part = upload.parts.get(number);
      if (part === undefined || part.eTag.replaceAll('"', "") !== eTag.replaceAll('"', ""))
        throw new S3Error(400, "InvalidPart");
      if (index < listed.length - 1 && part.body.length < MIN_PART_LENGTH)
        throw new S3Error(400, "EntityTooSmall");
      return part;
    });
    const digests = createHash("md5");
    for (const { eTag } of parts) digests.update(Buffer.from(eTag.replaceAll('"', ""), "hex"));
    const eTag = `"${digests.digest("hex")}-${parts.length}"`;
    this.#put(
      objects,
      key,
      Buffer.concat(parts.map(({ body }) => body)),
      upload.headers,
      upload.sseCKeyMd5,
      eTag,
    );
    this.uploads.delete(uploadId);
    return xml(
      `<CompleteMultipartUploadResult><Bucket>${bucket}</Bucket><Key>${escapeXml(key)}</Key>` +
        `<ETag>${escapeXml(eTag)}</ETag></CompleteMultipartUploadResult>`,
    );
  }
}

function answerObject({ method, headers, query }: S3Call, object: StoredS3Object | undefined): Answer {
  if (object === undefined) throw new S3Error(404, "NoSuchKey");
  if (query.has("tagging")) return xml("<Tagging><TagSet></TagSet></Tagging>");
  checkSseC(object, headers["x-amz-server-side-encryption-customer-key-md5"]);
  const match = headers["if-match"];
  if (match !== undefined && match !== object.eTag) throw new S3Error(412, "PreconditionFailed");
  const { body, eTag, modified } = object;
  const answered = {
    ...object.headers,
    etag: eTag,
    "last-modified": modified.toUTCString(),
    "accept-ranges": "bytes",
  };
  const range = /^bytes=(\d*)-(\d*)$/.exec(String(headers.range ?? ""));
  if (range === null || method === "HEAD")
    return method === "HEAD"
      ? { headers: { ...answered, "content-length": String(body.length) } }
      : { headers: answered, body };
  const [, first = "", last = ""] = range;
  const start = first === "" ? Math.max(0, body.length - Number(last)) : Number(first);
  const end = first === "" || last === "" ? body.length : Math.min(body.length, Number(last) + 1);
  if (start >= body.length || end <= start) throw new S3Error(416, "InvalidRange");
  return {
    status: 206,
    headers: { ...answered, "content-range": `bytes ${start}-${end - 1}/${body.length}` },
    body: body.subarray(start, end),
  };
}

function listObjects(objects: Map<string, StoredS3Object>, query: URLSearchParams): Answer {
  const prefix = query.get("prefix") ?? "";
  const after = query.get("continuation-token") ?? query.get("start-after") ?? "";
  const limit = Math.min(1000, Number(query.get("max-keys") ?? 1000));
  const keys = [...objects.keys()].filter((key) => key.startsWith(prefix) && key > after).sort();
  const page = keys.slice(0, limit);
  const list = page.map((key) => {
    const { body, eTag, modified } = objects.get(key) as StoredS3Object;
    return (
      `<Contents><Key>${escapeXml(key)}</Key><LastModified>${modified.toISOString()}</LastModified>` +
      `<ETag>${escapeXml(eTag)}</ETag><Size>${body.length}</Size></Contents>`
    );
  });
  const more = keys.length > page.length;
  const next = more ? `<NextContinuationToken>${escapeXml(page.at(-1) ?? "")}</NextContinuationToken>` : "";
  return xml(
    `<ListBucketResult><KeyCount>${page.length}</KeyCount><IsTruncated>${more}</IsTruncated>${next}${list.join("")}</ListBucketResult>`,
  );
}

const DESCRIBING =
  /^(x-amz-meta-|content-type$|cache-control$|content-(encoding|disposition|language)$|expires$)/;

// What is stored beside the bytes.
function describing(headers: IncomingMessage["headers"]): Record<string, string> {
  const described: Record<string, string> = {};
  let length = 0;
  for (const [name, value] of Object.entries(headers)) {
    if (!DESCRIBING.test(name)) continue;
    const text = name === "content-encoding" ? String(value).replace(/aws-chunked,?/, "") : String(value);
    if (name === "content-encoding" && text === "") continue;
    described[name] = text;
    if (name.startsWith("x-amz-meta-")) length += name.length - 11 + text.length;
  }
  if (length > MAX_METADATA_LENGTH) throw new S3Error(400, "MetadataTooLarge");
  return described;
}

function sseCKeyOf(headers: IncomingMessage["headers"]): string | undefined {
  const key = headers["x-amz-server-side-encryption-customer-key"];
  if (key === undefined) return undefined;
  const bytes = Buffer.from(String(key), "base64");
  const md5 = createHash("md5").update(bytes).digest("base64");
  if (bytes.length !== 32 || headers["x-amz-server-side-encryption-customer-key-md5"] !== md5)
    throw new S3Error(400, "InvalidArgument", "SSE-C key");
  return md5;
}

function checkSseC(object: StoredS3Object, given: unknown): void {
  if (object.sseCKeyMd5 !== undefined && given === undefined)
    throw new S3Error(400, "InvalidRequest", "needs SSE-C key");
  if (object.sseCKeyMd5 === undefined && given !== undefined)
    throw new S3Error(400, "InvalidRequest", "has no SSE-C key");
  if (object.sseCKeyMd5 !== given) throw new S3Error(403, "AccessDenied");
}

function checkConditions(headers: IncomingMessage["headers"], existing: StoredS3Object | undefined): void {
  if (headers["if-none-match"] === "*" && existing !== undefined)
    throw new S3Error(412, "PreconditionFailed");
  const match = headers["if-match"];
  if (match !== undefined && existing?.eTag !== match)
    throw new S3Error(
      existing === undefined ? 404 : 412,
      existing === undefined ? "NoSuchKey" : "PreconditionFailed",
    );
}

const xml = (text: string): Answer => ({
  headers: { "content-type": "application/xml" },
  body: `<?xml version="1.0" encoding="UTF-8"?>${text}`,
});
const escapeXml = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
const unescapeXml = (text: string): string =>
  text
    .replaceAll("&quot;", '"')
    .replaceAll("&#34;", '"')
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&amp;", "&");
