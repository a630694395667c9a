// Small objects with less processor time: the way of the SDK from an input to a request, and from an answer to an output,
// takes several times as long as sealing or opening the object and sending it. The first object goes that way; those like
// it are sealed, opened and checked as ever, and asked for as the first one was. What fails goes the way of the SDK after
// all, which knows redirects, errors and retries.
import type * as S3 from "@aws-sdk/client-s3";
import type { MiddlewareStack, S3ClientLike } from "../../s3/sdk-client.ts";
import { directGet } from "./direct-get.ts";
import { BadAnswer, type DirectOperation, ToSdk } from "./direct-operation.ts";
import { directPut } from "./direct-put.ts";
import type { Attempt } from "./in-flight.ts";
import { type DirectRequest, RequestTemplate } from "./request-template.ts";
import { DIRECT, type Direct, type DirectResponse, ShortStack } from "./short-stack.ts";

/** What `withDirectRequests` is given. */
export interface DirectOptions {
  readonly sdk: Pick<typeof S3, "GetObjectCommand" | "PutObjectCommand">;
  /** Does not encrypt. */
  readonly plain: S3.S3Client;
  /** Encrypts; made from `plain`. */
  readonly client: S3.S3Client;
  /** Encrypts in the same way with another client, which is asked for nothing that servers do. */
  seal(base: S3.S3Client): S3.S3Client;
  /** Begins an attempt that the SDK does not know of. */
  begin(): Attempt;
}

/** After so many failures in a row that are none of a busy server, this way is no good here. */
const MAX_FAILURES = 3;
const MAX_TEMPLATES = 16;

type Rest = [options?: { readonly abortSignal?: AbortSignal }];
/** As the commands are that go this way. */
interface Command {
  readonly input: Readonly<Record<string, unknown>>;
  readonly schema?: unknown;
  readonly middlewareStack: Pick<MiddlewareStack, "add">;
}
type Output = Record<string, unknown>;

/** `client`, by which small objects go the short way. */
export function withDirectRequests(options: DirectOptions): S3.S3Client {
  const { sdk, client } = options;
  const [put, get] = [directPut, directGet].map(
    (operation) => new DirectWay(operation, client, options.seal(directBase(options, operation))),
  );
  const wayOf = (command: unknown): DirectWay | undefined => {
    if (command instanceof sdk.PutObjectCommand) return put;
    return command instanceof sdk.GetObjectCommand ? get : undefined;
  };
  const send = client.send as (this: unknown, ...args: unknown[]) => unknown;
  return Object.create(client, {
    send: {
      value(command: unknown, ...rest: unknown[]) {
        const isAlone = rest.length < 2 && typeof rest[0] !== "function";
        const way = isAlone ? wayOf(command) : undefined;
        if (way === undefined) return send.call(client, command, ...rest);
        return way.send(command as Command, rest as Rest);
      },
    },
  }) as S3.S3Client;
}

/** The short way of one operation. */
class DirectWay {
  readonly #operation: DirectOperation;
  readonly #client: S3.S3Client;
  readonly #direct: S3.S3Client;
  /** By what inputs say besides what belongs to one object; null where the way is no good. */
  readonly #templates = new Map<string, RequestTemplate | null>();
  #failures = 0;

  constructor(operation: DirectOperation, client: S3.S3Client, direct: S3.S3Client) {
    this.#operation = operation;
    this.#client = client;
    this.#direct = direct;
  }

  async send(command: Command, rest: Rest): Promise<Output> {
    const operation = this.#operation;
    const kind = operation.kindOf(command.input);
    const template = kind === undefined ? null : this.#templates.get(kind);
    if (kind !== undefined && template === undefined) return this.#learn(kind, command, rest);
    if (kind !== undefined && template != null)
      try {
        const output = await sendOf(this.#direct)(new DirectCommand(operation, command, template), ...rest);
        this.#failures = 0;
        return output;
      } catch (error) {
        if (rest[0]?.abortSignal?.aborted === true || operation.isFinal(error)) throw error;
        if (!isOfObject(error)) this.#failures += 1;
        if (this.#failures >= MAX_FAILURES) this.#templates.set(kind, null);
      }
    return sendOf(this.#client)(command, ...rest);
  }

  async #learn(kind: string, command: Command, rest: Rest): Promise<Output> {
    let template: RequestTemplate | undefined;
    const key = String(command.input.Key);
    command.middlewareStack.add(
      (next) => async (args) => {
        const result = await next(args);
        template = RequestTemplate.from(args.request, key);
        return result;
      },
      { step: "deserialize", name: "framesealTemplate" },
    );
    const output = await sendOf(this.#client)(command, ...rest);
    if (this.#templates.size < MAX_TEMPLATES) this.#templates.set(kind, template ?? null);
    return output;
  }
}

// Says nothing against the way: the server is busy, there is no such object, or its name is to be encoded.
function isOfObject(error: unknown): boolean {
  if (error instanceof ToSdk) return error.isOfObject;
  if (!(error instanceof BadAnswer)) return false;
  const { httpStatusCode } = error.$metadata;
  return httpStatusCode >= 500 || httpStatusCode === 404;
}

function sendOf(client: S3.S3Client) {
  return client.send.bind(client) as unknown as (command: unknown, ...rest: Rest) => Promise<Output>;
}

/** Something in the place of a command of the SDK. */
class DirectCommand {
  readonly input: Command["input"];
  readonly schema: unknown;
  readonly #operation: DirectOperation;
  readonly #template: RequestTemplate;

  constructor(operation: DirectOperation, { input, schema }: Command, template: RequestTemplate) {
    this.input = input;
    this.schema = schema;
    this.#operation = operation;
    this.#template = template;
  }

  /** As the SDK's commands have it: the middleware, and what the client makes of the request at its end. */
  resolveMiddleware(stack: MiddlewareStack, config: DirectConfig, options: Rest[0]): unknown {
    const operation = this.#operation;
    const template = this.#template;
    const direct: Direct = {
      request: (input) => requestOf(operation, template, input, config),
      output: (response) => operation.outputOf(response),
    };
    const context = {
      commandName: operation.commandName,
      __smithy_context: { operationSchema: this.schema },
      endpointV2: { url: template.url },
      [DIRECT]: direct,
    };
    const handlerOptions = options?.abortSignal === undefined ? {} : { abortSignal: options.abortSignal };
    return stack.resolve(
      async ({ request }) => config.requestHandler.handle(request as DirectRequest, handlerOptions),
      context,
    );
  }
}

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
      request: DirectRequest,
      options: { readonly abortSignal?: AbortSignal },
    ): Promise<{ readonly response: DirectResponse }>;
  };
}

async function requestOf(
  operation: DirectOperation,
  template: RequestTemplate,
  input: Readonly<Record<string, unknown>>,
  config: DirectConfig,
): Promise<DirectRequest> {
  const credentials = await config.credentials();
  const now = new Date(Date.now() + (config.systemClockOffset ?? 0));
  const request = template.request(operation.fieldsOf(input), credentials, now);
  if (request === undefined) throw new ToSdk("to be encoded by the SDK", "of the object");
  return request;
}

/** `plain`, which can also send a `DirectCommand`; and other commands where the operation may go on with them. */
function directBase({ plain, begin }: DirectOptions, operation: DirectOperation): S3.S3Client {
  const send = plain.send as (this: unknown, ...args: unknown[]) => unknown;
  return Object.create(plain, {
    middlewareStack: {
      value: new ShortStack(plain.middlewareStack as unknown as MiddlewareStack, begin),
      writable: true,
    },
    send: {
      async value(this: S3ClientLike, command: DirectCommand, options: Rest[0]) {
        if (!(command instanceof DirectCommand)) {
          if (operation.goesOn) return send.call(this, command, options);
          throw new ToSdk("to be sent by the SDK");
        }
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
