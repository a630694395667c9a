// Small objects with less processor time: the way of the SDK from an input to a request takes several times as long as
// sealing and sending it. The first object goes that way; those like it are sealed and checked as ever, and sent as the
// first one was. Whatever fails goes the way of the SDK after all, which knows redirects, errors and retries.
import type * as S3 from "@aws-sdk/client-s3";
import type { MiddlewareStack, S3ClientLike } from "../../s3/sdk-client.ts";
import { isBytes, isError } from "../../shapes.ts";
import type { Attempt } from "./in-flight.ts";
import { type PutFields, type PutRequest, PutTemplate } from "./put-template.ts";

/** What `withDirectPuts` is given. */
export interface DirectPutOptions {
  readonly sdk: Pick<typeof S3, "PutObjectCommand">;
  /** Does not encrypt. */
  readonly plain: S3.S3Client;
  /** Encrypts; made from `plain`. */
  readonly client: S3.S3Client;
  /** Encrypts in the same way with another client, which is asked for nothing that servers do. */
  seal(base: S3.S3Client): S3.S3Client;
  /** Begins an attempt that the SDK does not know of. */
  begin(): Attempt;
}

/** Longer ones take so long that the way does not matter, and may be asked for with `Expect`. */
const MAX_LENGTH = 2 ** 20;
/** After so many failures in a row that are none of a busy server, this way is no good here. */
const MAX_FAILURES = 3;
const MAX_TEMPLATES = 16;

type Rest = [options?: { readonly abortSignal?: AbortSignal }];

/** `client`, which sends small objects the short way. */
export function withDirectPuts(options: DirectPutOptions): S3.S3Client {
  const { sdk, client } = options;
  const way = new DirectWay(options);
  const send = client.send as (this: unknown, ...args: unknown[]) => unknown;
  return Object.create(client, {
    send: {
      value(command: unknown, ...rest: unknown[]) {
        const isAlone = rest.length < 2 && typeof rest[0] !== "function";
        if (!isAlone || !(command instanceof sdk.PutObjectCommand))
          return send.call(client, command, ...rest);
        return way.put(command, rest as Rest);
      },
    },
  }) as S3.S3Client;
}

class DirectWay {
  readonly #options: DirectPutOptions;
  readonly #direct: S3.S3Client;
  /** By what inputs say besides what belongs to one object; null where the way is no good. */
  readonly #templates = new Map<string, PutTemplate | null>();
  #failures = 0;

  constructor(options: DirectPutOptions) {
    this.#options = options;
    this.#direct = options.seal(directBase(options));
  }

  async put(command: S3.PutObjectCommand, rest: Rest): Promise<S3.PutObjectCommandOutput> {
    const { client } = this.#options;
    const kind = kindOf(command.input);
    const template = kind === undefined ? null : this.#templates.get(kind);
    if (kind !== undefined && template === undefined) return this.#learn(kind, command, rest);
    if (kind !== undefined && template != null)
      try {
        const output = await sendOf(this.#direct)(new DirectPut(command, template), ...rest);
        this.#failures = 0;
        return output;
      } catch (error) {
        if (rest[0]?.abortSignal?.aborted === true) throw error;
        if (!isBusy(error) && !(error instanceof ToSdk)) this.#failures += 1;
        if (this.#failures >= MAX_FAILURES) this.#templates.set(kind, null);
      }
    return client.send(command, ...rest);
  }

  async #learn(kind: string, command: S3.PutObjectCommand, rest: Rest): Promise<S3.PutObjectCommandOutput> {
    let template: PutTemplate | undefined;
    const key = command.input.Key ?? "";
    command.middlewareStack.add(
      (next) => async (args) => {
        const result = await next(args);
        template = PutTemplate.from(args.request, key);
        return result;
      },
      { step: "deserialize", name: "framesealTemplate" },
    );
    const output = await this.#options.client.send(command, ...rest);
    if (this.#templates.size < MAX_TEMPLATES) this.#templates.set(kind, template ?? null);
    return output;
  }
}

/** What all inputs of a kind have in common; undefined for those that do not go this way. */
function kindOf({
  Key,
  Body,
  Metadata: _,
  ContentLength: __,
  ...others
}: S3.PutObjectCommandInput): string | undefined {
  if (Key === undefined || !isBytes(Body) || Body.length > MAX_LENGTH) return undefined;
  // A condition that failed would be tried again on what it has made itself.
  if (others.IfMatch !== undefined || others.IfNoneMatch !== undefined) return undefined;
  let text = "";
  for (const [name, value] of Object.entries(others)) {
    if (value === undefined) continue;
    if (typeof value !== "string" && typeof value !== "boolean") return undefined;
    text += `${name}=${JSON.stringify(value)};`;
  }
  return text;
}

function isBusy(error: unknown): boolean {
  return error instanceof NotStored && error.$metadata.httpStatusCode >= 500;
}

/** What only the SDK can send. */
class ToSdk extends Error {}

/** An answer that does not say that all went well. */
class NotStored extends Error {
  readonly $metadata: { readonly httpStatusCode: number };
  constructor(status: number) {
    super(`answered with ${status}`);
    this.$metadata = { httpStatusCode: status };
  }
}

function sendOf(client: S3.S3Client) {
  return client.send.bind(client) as unknown as (
    command: DirectPut,
    ...rest: Rest
  ) => Promise<S3.PutObjectCommandOutput>;
}

/** Something in the place of a command of the SDK. */
class DirectPut {
  readonly input: S3.PutObjectCommandInput;
  readonly schema: unknown;
  readonly #template: PutTemplate;

  constructor(command: S3.PutObjectCommand, template: PutTemplate) {
    this.input = command.input;
    this.schema = (command as { readonly schema?: unknown }).schema;
    this.#template = template;
  }

  /** As the SDK's commands have it: the middleware, and what the client makes of the request at its end. */
  resolveMiddleware(stack: MiddlewareStack, config: DirectConfig, options: Rest[0]): unknown {
    const template = this.#template;
    const context = {
      commandName: "PutObjectCommand",
      __smithy_context: { operationSchema: this.schema },
      endpointV2: { url: template.url },
      [SERIALIZE]: (input: PutFields) => requestOf(template, input, config),
    };
    const handlerOptions = options?.abortSignal === undefined ? {} : { abortSignal: options.abortSignal };
    return stack.resolve(
      async ({ request }) => config.requestHandler.handle(request as PutRequest, handlerOptions),
      context,
    );
  }
}

const SERIALIZE = Symbol("serialize");

/** What is used of the configuration of a client. */
interface DirectConfig {
  readonly credentials: () => Promise<{
    readonly accessKeyId: string;
    readonly secretAccessKey: string;
    readonly sessionToken?: string | undefined;
  }>;
  readonly systemClockOffset?: number;
  readonly requestHandler: {
    handle(
      request: PutRequest,
      options: { readonly abortSignal?: AbortSignal },
    ): Promise<{ readonly response: Response }>;
  };
}
interface Response {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: AsyncIterable<Uint8Array>;
}

async function requestOf(template: PutTemplate, input: PutFields, config: DirectConfig): Promise<PutRequest> {
  const credentials = await config.credentials();
  const now = new Date(Date.now() + (config.systemClockOffset ?? 0));
  const request = template.request(input, credentials, now);
  if (request === undefined) throw new ToSdk("to be encoded by the SDK");
  return request;
}

/** A client that can send `DirectPut` and nothing else. */
function directBase({ plain, begin }: DirectPutOptions): S3.S3Client {
  return Object.create(plain, {
    middlewareStack: { value: new ShortStack([], begin), writable: true },
    send: {
      async value(this: S3ClientLike, command: DirectPut, options: Rest[0]) {
        if (typeof command?.resolveMiddleware !== "function" || !(SHORT in Object(this.middlewareStack)))
          throw new ToSdk("to be sent by the SDK");
        const handler = command.resolveMiddleware(
          this.middlewareStack as unknown as MiddlewareStack,
          plain.config as unknown as DirectConfig,
          options,
        ) as (args: unknown) => Promise<{ readonly output: unknown }>;
        return (await handler(command)).output;
      },
      writable: true,
    },
  }) as S3.S3Client;
}

type Middleware = Parameters<MiddlewareStack["add"]>[0];
type Next = ReturnType<Middleware>;
interface Entry {
  readonly middleware: Middleware;
  readonly name: string;
}
const SHORT = Symbol("short");

/** The part of the SDK's middleware stack that an encrypting client needs, for one step. */
class ShortStack implements MiddlewareStack {
  readonly [SHORT] = true;
  readonly #entries: Entry[];
  readonly #begin: () => Attempt;

  constructor(entries: readonly Entry[], begin: () => Attempt) {
    this.#entries = [...entries];
    this.#begin = begin;
  }
  clone(): ShortStack {
    return new ShortStack(this.#entries, this.#begin);
  }
  concat(): never {
    throw new ToSdk("to be sent by the SDK");
  }
  add(middleware: Middleware, { step, name }: { readonly step: string; readonly name: string }): void {
    if (step !== "initialize") throw new Error(`internal error: middleware ${name} of the step ${step}`);
    this.#entries.unshift({ middleware, name });
  }
  addRelativeTo(): never {
    throw new Error("internal error: middleware relative to another");
  }
  remove(middleware: Middleware): boolean {
    const at = this.#entries.findIndex((entry) => entry.middleware === middleware);
    if (at >= 0) this.#entries.splice(at, 1);
    return at >= 0;
  }
  /** As the SDK lists them. */
  identify(): string[] {
    return this.#entries.map(({ name }) => `${name} - initialize`);
  }
  resolve(step: (args: { readonly request?: unknown }) => Promise<unknown>, context: object): Next {
    const serialize = (context as { readonly [SERIALIZE]?: (input: PutFields) => Promise<PutRequest> })[
      SERIALIZE
    ];
    if (serialize === undefined) throw new ToSdk("to be sent by the SDK");
    let handler: Next = async (args) => {
      const { input } = args;
      const request = await serialize({
        Key: input.Key as string,
        Body: input.Body as Uint8Array,
        Metadata: (input.Metadata ?? {}) as Record<string, string>,
      });
      return answerTo(step({ ...args, request }), this.#begin());
    };
    for (const { middleware } of this.#entries.toReversed()) handler = middleware(handler, context as never);
    return handler;
  }
}

async function answerTo(sent: Promise<unknown>, attempt: Attempt): ReturnType<Next> {
  try {
    const { response } = (await sent) as { readonly response: Response };
    const { statusCode, headers, body } = response;
    let length = 0;
    for await (const chunk of body ?? []) length += chunk.length;
    if (statusCode !== 200 || headers.etag === undefined || length > 0) throw new NotStored(statusCode);
    attempt.succeeded();
    return { output: outputOf(headers), response };
  } catch (error) {
    attempt.failed(isError(error) ? error : undefined);
    throw error;
  }
}

function outputOf(headers: Readonly<Record<string, string>>): Record<string, unknown> {
  return {
    $metadata: { httpStatusCode: 200, requestId: headers["x-amz-request-id"], attempts: 1 },
    ETag: headers.etag,
    VersionId: headers["x-amz-version-id"],
    ServerSideEncryption: headers["x-amz-server-side-encryption"],
    SSEKMSKeyId: headers["x-amz-server-side-encryption-aws-kms-key-id"],
    ChecksumCRC32: headers["x-amz-checksum-crc32"],
  };
}
