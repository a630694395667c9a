// Clients that are derived from the user's: everything is shared but the middleware. What is sent through one is
// intercepted at the command, the only thing that reaches the SDK however many clients, proxies and wrappers stand
// between, whether or not they keep `this`.
import { wrong } from "../check-options.ts";
import { FramesealError } from "../errors.ts";
import type { CommandContext, LastStep, Middleware, MiddlewareStack, S3ClientLike } from "./sdk-client.ts";

/** What happens to one command on its way. */
export interface Interception {
  /** The middleware that the command is resolved with, from that of the client which sends it. */
  stack(given: MiddlewareStack): MiddlewareStack;
  /** Wraps the last step; `stack` is complete. */
  last(step: LastStep, context: CommandContext, stack: MiddlewareStack): LastStep;
}

/**
 * Returns a client that shares everything with `client` but its middleware and how it sends.
 * @param extend adds middleware to the copy of the stack
 * @param send sends a command, for the client that it is called on
 */
export function deriveClient<Client extends S3ClientLike>(
  client: Client,
  extend: (stack: MiddlewareStack) => void,
  send: (sender: S3ClientLike, command: unknown, rest: readonly unknown[]) => unknown,
): Client {
  const stack = client.middlewareStack.clone() as MiddlewareStack;
  extend(stack);
  const derived: Client = Object.create(client, {
    middlewareStack: { value: stack, enumerable: true, writable: true, configurable: true },
    // With `cacheMiddleware` the SDK keeps resolved handlers here: those of the other client must not be found.
    handlers: { value: undefined, enumerable: false, writable: true, configurable: true },
    send: {
      value(this: unknown, command: unknown, ...rest: unknown[]) {
        return send(isClient(this) ? this : derived, command, rest);
      },
      writable: true,
      configurable: true,
    },
  });
  return derived;
}

/** True for what has the middleware and the `send` of a client. */
export function isClient(value: unknown): value is S3ClientLike {
  if (typeof value !== "object" || value === null) return false;
  const { send, middlewareStack } = value as Partial<S3ClientLike>;
  return typeof send === "function" && typeof middlewareStack?.clone === "function";
}

/** @throws TypeError for what is no client */
export function checkClient(client: unknown): asserts client is S3ClientLike {
  if (!isClient(client)) throw wrong("client", "an S3Client", client);
}

/**
 * Sends a command with the `send` of `client`, as if it was called on `sender`. What fails at once fails as a request
 * does: through the promise or the callback.
 */
export function sendIntercepted(
  client: S3ClientLike,
  sender: S3ClientLike,
  command: unknown,
  rest: readonly unknown[],
  interception: Interception,
): unknown {
  try {
    const send = client.send as (this: unknown, ...args: unknown[]) => unknown;
    return send.call(sender, intercept(command, interception), ...rest);
  } catch (error) {
    const callback = rest.find((argument) => typeof argument === "function");
    if (callback === undefined) return Promise.reject(error);
    queueMicrotask(() => callback(error));
    return undefined;
  }
}

interface Command {
  resolveMiddleware(stack: unknown, config: unknown, options: unknown): (args: unknown) => unknown;
}

function intercept(command: unknown, interception: Interception): unknown {
  const original = command as Command;
  if (typeof original?.resolveMiddleware !== "function")
    throw new TypeError(
      `"command" expected a command of the SDK, got ${command === null ? "null" : typeof command}`,
    );
  const resolveMiddleware: Command["resolveMiddleware"] = (stack, config, options) => {
    let isResolved = false;
    const prepared = interception.stack(stack as MiddlewareStack);
    const guarded = withLastStep(prepared, (step, context, complete) => {
      isResolved = true;
      return interception.last(step, context, complete);
    });
    const handler = original.resolveMiddleware(guarded, config, options);
    if (!isResolved)
      throw new FramesealError(
        "POLICY",
        "a command that does not use the middleware of its client is refused",
      );
    return (args) => handler(args === intercepted ? original : args);
  };
  // With `cacheMiddleware` the SDK keeps handlers by the class of the command: one of another send must not be found.
  let ownClass: unknown;
  const intercepted: unknown = new Proxy(original, {
    get(target, name) {
      if (name === "resolveMiddleware") return resolveMiddleware;
      if (name !== "constructor") return Reflect.get(target, name);
      ownClass ??= new Proxy(target.constructor, {});
      return ownClass;
    },
  });
  return intercepted;
}

/** What is wrapped around the last step of a stack, inner first. */
const lastSteps = new WeakMap<MiddlewareStack, readonly Interception["last"][]>();

/** The same stack, and what is made from it, with something wrapped around the last step. */
function withLastStep(stack: MiddlewareStack, last: Interception["last"]): MiddlewareStack {
  const changed = {
    clone: () => withLastStep(stack.clone(), last),
    concat: (from: unknown) => withLastStep(stack.concat(from), last),
    resolve: (step: LastStep, context: CommandContext) => stack.resolve(last(step, context, stack), context),
  };
  const guarded = new Proxy(stack, {
    get(target, name) {
      if (Object.hasOwn(changed, name)) return changed[name as keyof typeof changed];
      return Reflect.get(target, name);
    },
  });
  lastSteps.set(guarded, [...(lastSteps.get(stack) ?? []), last]);
  return guarded;
}

/** The names of the middleware in a stack, as far as they have names. */
export function middlewareNames(stack: unknown): string[] {
  const lines = (stack as { identify?(): unknown } | undefined)?.identify?.();
  if (!Array.isArray(lines)) return [];
  return lines.map((line) => String(line).split(" ", 1)[0] ?? "");
}

/**
 * A copy of the stack that a command is sent with, without `marker`. It is the stack `given` by the client that sends,
 * or, if a wrapper in between has lost it, that of `sender`; `extend` adds what is missing if neither has the marker.
 */
export function stackWithout(
  marker: Middleware,
  given: MiddlewareStack,
  sender: S3ClientLike,
  extend: (stack: MiddlewareStack) => void,
): MiddlewareStack {
  const copy = given.clone();
  if (copy.remove(marker)) return copy;
  const own = (sender.middlewareStack as MiddlewareStack).clone();
  // What others have wrapped around the last step of `given` holds for this stack as well.
  if (own.remove(marker)) return (lastSteps.get(given) ?? []).reduce(withLastStep, own);
  extend(copy);
  return copy;
}

const MARK = Symbol.for("frameseal.encryptingClient");
/** The name of the middleware by which wrappers of an encrypting client are recognised. */
export const ENCRYPTION_MIDDLEWARE = "framesealEncryption";

/** Says that `client` encrypts with `plugin`. */
export function markClient(client: S3ClientLike, plugin: object): void {
  Object.defineProperty(client, MARK, { value: plugin });
}

/**
 * The same client as seen by requests that follow from another: with a stack of its own, made when it is needed, and
 * known not to encrypt. A proxy, because there is one for each request: objects with accessors are slow to make.
 */
export function withoutEncryption(
  client: S3ClientLike,
  stackOf: () => MiddlewareStack,
  send: (command: unknown, rest: readonly unknown[]) => unknown,
): S3ClientLike {
  let stack: MiddlewareStack | undefined;
  return new Proxy<S3ClientLike>(Object.create(client), {
    get(target, name) {
      if (name === MARK) return null;
      if (name === "send") return (command: unknown, ...rest: unknown[]) => send(command, rest);
      if (name !== "middlewareStack") return Reflect.get(target, name);
      stack ??= stackOf();
      return stack;
    },
  });
}

/** What `markClient` said of `client`, or of what it was derived from; undefined for other clients. */
export function markOf(client: S3ClientLike): unknown {
  return (client as { readonly [MARK]?: unknown })[MARK];
}

/** True for a client that encrypts: made by `encryptS3Client` of any copy of this package, derived, proxied or wrapped. */
export function encrypts(client: S3ClientLike): boolean {
  const mark = markOf(client);
  if (mark !== undefined) return mark !== null;
  return middlewareNames(client.middlewareStack).includes(ENCRYPTION_MIDDLEWARE);
}
