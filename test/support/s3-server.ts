// A strict S3 on loopback, in memory, over http and https: it refuses what the real service refuses and public emulators
// let pass (wrong signatures, short chunks, metadata above 2 KB, small parts, wrong SSE-C keys, uploads that a bucket
// policy denies), and can be told to fail.
import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { Agent, createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import { S3Client, type S3ClientConfig } from "@aws-sdk/client-s3";
import { decodeBody, type RequestBody } from "./aws-chunked.ts";
import { createLoopbackCertificate } from "./certificate.ts";
import type { Checksum } from "./checksums.ts";
import { BucketSettings } from "./s3-buckets.ts";
import { type AtRest, askedFor, storedAs, toldHeaders } from "./s3-encryption.ts";
import { type Answer, escapeXml, S3Error, unescapeXml, xml } from "./s3-error.ts";
import {
  answerObject,
  checkConditions,
  checkCopySource,
  copySourceOf,
  describing,
  eTagOf,
  listObjects,
  type S3Call,
  type StoredS3Object,
} from "./s3-objects.ts";
import { verifySignature } from "./s3-signature.ts";
import { announcedChecksum, joinParts, listParts, putPart, type S3Upload } from "./s3-uploads.ts";

const REGION = "us-east-1";
/** The credentials of `client`. */
export const credentials = { accessKeyId: "a", secretAccessKey: "b" };

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

/** Buckets live as long as the server; `close` must be called. */
export class S3Server implements AsyncDisposable {
  readonly buckets = new Map<string, Map<string, StoredS3Object>>();
  readonly uploads = new Map<string, S3Upload>();
  readonly calls: S3Call[] = [];
  /** Keys of KMS that S3 may use, besides the managed one. */
  readonly kmsKeys = new Map<string, "enabled" | "disabled">();
  /** Asked for each call; undefined is no fault. */
  fault: (call: S3Call, number: number) => S3Fault | undefined = () => undefined;
  /** Sees every body that arrived whole, whatever becomes of the call. */
  onBody: (call: S3Call, body: Buffer) => void = () => {};
  readonly #settings = new BucketSettings();
  readonly #signers = {
    region: REGION,
    secrets: new Map([[credentials.accessKeyId, credentials.secretAccessKey]]),
  };
  readonly #certificate = createLoopbackCertificate();
  readonly #http: Server;
  readonly #https: Server;
  readonly #clients: S3Client[] = [];

  private constructor() {
    const listener = (secure: boolean) => (request: IncomingMessage, response: ServerResponse) =>
      void this.#serve(request, response, secure).catch(() => response.destroy());
    this.#http = createServer({ keepAliveTimeout: 60_000 }, listener(false));
    this.#https = createSecureServer({ keepAliveTimeout: 60_000, ...this.#certificate }, listener(true));
  }
  static async start(port = 0): Promise<S3Server> {
    const server = new S3Server();
    await new Promise<void>((resolve) => server.#http.listen(port, "127.0.0.1", resolve));
    await new Promise<void>((resolve) => server.#https.listen(0, "127.0.0.1", resolve));
    return server;
  }
  get endpoint(): string {
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }
  get secureEndpoint(): string {
    return `https://127.0.0.1:${(this.#https.address() as AddressInfo).port}`;
  }
  /** What a client of `secureEndpoint` must trust. */
  get certificate(): string {
    return this.#certificate.cert;
  }
  client(config: S3ClientConfig = {}): S3Client {
    const client = new S3Client({
      endpoint: this.endpoint,
      region: REGION,
      forcePathStyle: true,
      credentials,
      ...config,
    });
    this.#clients.push(client);
    return client;
  }
  /** A client that speaks TLS, as SSE-C and `unsignedPayload` need it. */
  secureClient(config: S3ClientConfig = {}): S3Client {
    const httpsAgent = new Agent({ ca: this.certificate, keepAlive: true, maxSockets: 50 });
    return this.client({ endpoint: this.secureEndpoint, requestHandler: { httpsAgent }, ...config });
  }
  /** The object, which must be there. */
  object(bucket: string, key: string): StoredS3Object {
    const found = this.buckets.get(bucket)?.get(key);
    if (found === undefined) throw new Error(`no object ${bucket}/${key}`);
    return found;
  }
  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.destroy();
    for (const server of [this.#http, this.#https]) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  async #serve(request: IncomingMessage, response: ServerResponse, secure: boolean): Promise<void> {
    const url = new URL(request.url ?? "/", "http://s3");
    const [bucket = "", ...rest] = url.pathname.slice(1).split("/");
    const call: S3Call = {
      method: request.method ?? "GET",
      bucket: decodeURIComponent(bucket),
      key: decodeURIComponent(rest.join("/")),
      query: url.searchParams,
      headers: request.headers,
      secure,
    };
    this.calls.push(call);
    const fault = this.fault(call, this.calls.length);
    let answer: Answer;
    try {
      if (fault?.kind === "reset" && fault.after !== true) return void request.socket.destroy();
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const signature = verifySignature(request, this.#signers);
      const body = decodeBody(Buffer.concat(chunks), request.headers, signature);
      this.onBody(call, body.bytes);
      if (fault?.kind === "stall") return;
      if (fault?.kind === "error" && fault.after !== true) throw new S3Error(fault.status, fault.code);
      answer = this.#answer(call, body);
      if (fault?.kind === "error") throw new S3Error(fault.status, fault.code);
    } catch (error) {
      if (!(error instanceof S3Error)) throw error;
      const text = `<Error><Code>${error.code}</Code><Message>${escapeXml(error.message)}</Message></Error>`;
      answer = { ...xml(text), status: error.status };
      if (call.method === "HEAD") answer = { status: error.status };
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

  #answer(call: S3Call, body: RequestBody): Answer {
    const { method, bucket, key, query, headers } = call;
    const upload = this.#uploadOf(call);
    const source = headers["x-amz-copy-source"];
    this.#settings.authorize(call, upload);
    if (key === "") return this.#answerBucket(call, body);
    const objects = this.#bucket(bucket);
    if (upload !== undefined) return this.#answerUpload(call, upload, body);
    if (query.has("uploads") && method === "POST") return this.#create(call);
    switch (method) {
      case "PUT":
        checkConditions(headers, objects.get(key));
        if (source !== undefined) return this.#copy(call, String(source));
        return this.#put(call, body.bytes, describing(headers), this.#atRest(call), body.checksum);
      case "GET":
      case "HEAD":
        return answerObject(call, objects.get(key), this.kmsKeys);
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

  #atRest(call: S3Call): AtRest {
    const encryption = this.#settings.encryptionOf(call.bucket);
    return storedAs(askedFor(call.headers, call.secure), encryption, this.kmsKeys);
  }

  #answerBucket(call: S3Call, { bytes, checksum }: RequestBody): Answer {
    const { method, bucket, query } = call;
    const text = bytes.toString();
    if (method === "PUT" && query.size === 0) {
      this.buckets.set(bucket, this.buckets.get(bucket) ?? new Map());
      return {};
    }
    const objects = this.#bucket(bucket);
    if (method === "HEAD") return {};
    const setting = this.#settings.answer(call, text);
    if (setting !== undefined) return setting;
    if (method === "POST" && query.has("delete")) {
      if (checksum === undefined)
        throw new S3Error(400, "InvalidRequest", "Missing required header: Content-MD5");
      const keys = [...text.matchAll(/<Key>([^<]*)<\/Key>/g)].map(([, name = ""]) => unescapeXml(name));
      if (keys.length > 1000) throw new S3Error(400, "MalformedXML");
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
    { bucket, key }: S3Call,
    body: Buffer,
    headers: Record<string, string>,
    atRest: AtRest,
    checksum: (Checksum & { readonly parts?: number }) | undefined,
    eTag = eTagOf(body, atRest),
  ): Answer {
    this.#bucket(bucket).set(key, { body, headers, eTag, atRest, checksum, modified: new Date() });
    return { headers: { etag: eTag, ...toldHeaders(atRest) } };
  }

  #copySource(call: S3Call, text: string): StoredS3Object {
    const { bucket, key } = copySourceOf(text);
    const source = this.#bucket(bucket).get(key);
    if (source === undefined) throw new S3Error(404, "NoSuchKey");
    checkCopySource(call, source, this.kmsKeys);
    return source;
  }

  #copy(call: S3Call, text: string): Answer {
    const source = this.#copySource(call, text);
    const replace = call.headers["x-amz-metadata-directive"] === "REPLACE";
    const { bucket, key } = copySourceOf(text);
    const asked = askedFor(call.headers, call.secure);
    if (bucket === call.bucket && key === call.key && !replace && asked === undefined)
      throw new S3Error(400, "InvalidRequest", "This copy request is illegal: nothing would change");
    const headers = replace ? describing(call.headers) : { ...source.headers };
    const answer = this.#put(call, source.body, headers, this.#atRest(call), undefined);
    const eTag = escapeXml(answer.headers?.etag ?? "");
    return { ...answer, ...xml(`<CopyObjectResult><ETag>${eTag}</ETag></CopyObjectResult>`) };
  }

  #create(call: S3Call): Answer {
    const { bucket, key, headers } = call;
    const uploadId = randomUUID();
    const atRest = this.#atRest(call);
    const checksum = announcedChecksum(call);
    this.uploads.set(uploadId, {
      bucket,
      key,
      headers: describing(headers),
      asked: headers,
      atRest,
      checksum,
      parts: new Map(),
    });
    const { body, headers: type } = xml(
      `<InitiateMultipartUploadResult><UploadId>${uploadId}</UploadId></InitiateMultipartUploadResult>`,
    );
    return { body: body ?? "", headers: { ...type, ...toldHeaders(atRest) } };
  }

  #uploadOf({ bucket, key, query }: S3Call): S3Upload | undefined {
    const uploadId = query.get("uploadId");
    if (uploadId === null) return undefined;
    const upload = this.uploads.get(uploadId);
    if (upload === undefined || upload.bucket !== bucket || upload.key !== key)
      throw new S3Error(404, "NoSuchUpload");
    return upload;
  }

  #answerUpload(call: S3Call, upload: S3Upload, body: RequestBody): Answer {
    const { method, headers, bucket, key, query } = call;
    const uploadId = query.get("uploadId") ?? "";
    if (method === "PUT") {
      const source = headers["x-amz-copy-source"];
      if (source === undefined) return putPart(upload, call, body, undefined);
      const copied = this.#copySource(call, String(source)).body;
      const range = /^bytes=(\d+)-(\d+)$/.exec(String(headers["x-amz-copy-source-range"] ?? ""));
      const [first, end] = range === null ? [0, copied.length] : [Number(range[1]), Number(range[2]) + 1];
      if (end > copied.length) throw new S3Error(400, "InvalidArgument", "range of the source");
      return putPart(upload, call, body, copied.subarray(first, end));
    }
    if (method === "DELETE") {
      this.uploads.delete(uploadId);
      return { status: 204 };
    }
    if (method === "GET") return listParts(upload, call);
    checkConditions(headers, this.#bucket(bucket).get(key));
    const { body: joined, eTag, checksum } = joinParts(upload, call, body.bytes.toString());
    this.#put(call, joined, upload.headers, upload.atRest, checksum, eTag);
    this.uploads.delete(uploadId);
    const { body: text, headers: type } = xml(
      `<CompleteMultipartUploadResult><Bucket>${bucket}</Bucket><Key>${escapeXml(key)}</Key>` +
        `<ETag>${escapeXml(eTag)}</ETag></CompleteMultipartUploadResult>`,
    );
    return { body: text ?? "", headers: { ...type, ...toldHeaders(upload.atRest) } };
  }
}

export type { S3Call, StoredS3Object } from "./s3-objects.ts";
