// A strict S3 on loopback, in memory, over http and https: it refuses wrong signatures and short chunks, and can be told
// to fail. What else it does and refuses is in s3-service.ts.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { Agent, createServer as createSecureServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { S3Client, type S3ClientConfig } from "@aws-sdk/client-s3";
import { decodeBody } from "./aws-chunked.ts";
import { createLoopbackCertificate } from "./certificate.ts";
import { type Answer, escapeXml, S3Error, xml } from "./s3-error.ts";
import { type S3Fault, sendAnswer, shiftedRange } from "./s3-faults.ts";
import { hidesETag, type ServerKind, type ServerKindName, seenBy, serverKinds } from "./s3-kinds.ts";
import type { S3Call, StoredS3Object } from "./s3-objects.ts";
import { S3Service } from "./s3-service.ts";
import { verifySignature } from "./s3-signature.ts";

const REGION = "us-east-1";
/** The credentials of `client`. */
export const credentials = { accessKeyId: "a", secretAccessKey: "b" };

/** Buckets live as long as the server; `close` must be called. */
export class S3Server implements AsyncDisposable {
  readonly #service = new S3Service();
  readonly buckets = this.#service.buckets;
  readonly uploads = this.#service.uploads;
  readonly kmsKeys = this.#service.kmsKeys;
  readonly undeletable = this.#service.undeletable;
  readonly calls: S3Call[] = [];
  /** Which servers it imitates, where they differ from the real service. */
  kind: ServerKindName = "aws";
  /** Asked for each call; undefined is no fault. */
  fault: (call: S3Call, number: number) => S3Fault | undefined = () => undefined;
  /** Awaited before each call takes effect. */
  delay: (call: S3Call) => Promise<void> = async () => {};
  /** Sees every body that arrived whole, whatever becomes of the call. */
  onBody: (call: S3Call, body: Buffer) => void = () => {};
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
    const { weakETags }: ServerKind = serverKinds[this.kind];
    let answer: Answer;
    try {
      if (fault?.kind === "refuse") return this.#hangUp(request.socket, fault.ms);
      if (fault?.kind === "reset" && fault.after !== true) return void request.socket.destroy();
      const chunks: Buffer[] = [];
      for await (const chunk of request) {
        chunks.push(chunk as Buffer);
        if (fault?.kind === "reset-request" && totalLength(chunks) >= fault.at)
          return void request.socket.destroy();
      }
      const signature = verifySignature(request, this.#signers);
      let body = decodeBody(Buffer.concat(chunks), request.headers, signature);
      this.onBody(call, body.bytes);
      await this.delay(call);
      if (fault?.kind === "stall" && fault.after !== true) {
        if (fault.ms === undefined) return;
        await new Promise((resolve) => setTimeout(resolve, fault.ms));
      }
      if (fault?.kind === "error" && fault.after !== true) throw new S3Error(fault.status, fault.code);
      if (fault?.kind === "skewed") throw new S3Error(403, "RequestTimeTooSkewed");
      if (fault?.kind === "error200" && fault.instead === true) answer = ERROR_AFTER_ALL;
      else {
        const seen = seenBy(serverKinds[this.kind], call);
        if (weakETags === true) body = { ...body, bytes: withoutWeakness(body.bytes) };
        answer = this.#service.answer(fault?.kind === "other-range" ? shiftedRange(seen) : seen, body);
      }
      if (fault?.kind === "error") throw new S3Error(fault.status, fault.code);
    } catch (error) {
      if (!(error instanceof S3Error)) throw error;
      const text = `<Error><Code>${error.code}</Code><Message>${escapeXml(error.message)}</Message></Error>`;
      answer = { ...xml(text), status: error.status };
      if (call.method === "HEAD") answer = { status: error.status };
    }
    if (hidesETag(serverKinds[this.kind], call))
      answer = { ...answer, body: String(answer.body).replace(/<ETag>.*<\/ETag>/, "<ETag></ETag>") };
    if (weakETags === true && answer.headers?.etag !== undefined)
      answer = { ...answer, headers: { ...answer.headers, etag: `W/${answer.headers.etag}` } };
    if (fault?.kind === "reset") return void request.socket.destroy();
    if (fault?.kind === "stall" && fault.after === true) return;
    sendAnswer(response, call, fault?.kind === "error200" ? ERROR_AFTER_ALL : answer, fault);
  }

  // As a server that is started again.
  #hangUp(socket: Socket, ms: number): void {
    const { port } = this.#http.address() as AddressInfo;
    this.#http.close();
    socket.destroy();
    setTimeout(() => this.#http.listen(port, "127.0.0.1"), ms);
  }
}

const ERROR_AFTER_ALL = xml("<Error><Code>InternalError</Code><Message>after all</Message></Error>");
// What it has told itself, it takes back.
function withoutWeakness(bytes: Buffer): Buffer {
  const text = bytes.toString("latin1");
  return text.startsWith("<") ? Buffer.from(text.replaceAll(/W\/(?="|&quot;)/g, ""), "latin1") : bytes;
}
const totalLength = (chunks: readonly Buffer[]): number =>
  chunks.reduce((sum, chunk) => sum + chunk.length, 0);

export type { S3Fault } from "./s3-faults.ts";
export type { S3Call, StoredS3Object } from "./s3-objects.ts";
