// The part of the AWS SDK's client, middleware and requests that this package uses, as types: the SDK is an optional
// peer, and these say all that is asked of it.

/** What is asked of a client: an `S3Client` or `S3` of the AWS SDK for JavaScript 3. */
export interface S3ClientLike {
  readonly config: object;
  readonly middlewareStack: { clone(): unknown };
  send(...args: never[]): unknown;
}

/** What the SDK tells middleware about a request. */
export interface CommandContext {
  readonly commandName?: string;
  readonly [name: string]: unknown;
}

/** One request on its way through the middleware of the SDK. */
export interface MiddlewareArguments {
  readonly input: Record<string, unknown>;
  readonly request?: unknown;
}
export type Next = (
  args: MiddlewareArguments,
) => Promise<{ output: Record<string, unknown>; response: unknown }>;
export type Middleware = (next: Next, context: CommandContext) => Next;

/** What stands behind all middleware and hands the request to the network. */
export type LastStep = (args: { readonly request?: unknown }) => Promise<unknown>;

/** The part of the SDK's middleware stack that is used. */
export interface MiddlewareStack {
  clone(): MiddlewareStack;
  concat(from: unknown): MiddlewareStack;
  add(
    middleware: Middleware,
    options: { step: string; name: string; priority?: string; override?: boolean },
  ): void;
  addRelativeTo(
    middleware: Middleware,
    options: { relation: "before" | "after"; toMiddleware: string; name: string; override?: boolean },
  ): void;
  /** True if it was there. */
  remove(middleware: Middleware): boolean;
  resolve(step: LastStep, context: CommandContext): unknown;
}

/** A request as it leaves. */
export interface HttpRequest {
  readonly protocol?: string;
  readonly hostname?: string;
  readonly port?: number;
  readonly path?: string;
  readonly query?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}
