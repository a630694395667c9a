// The part of the SDK's middleware stack that an encrypting client needs, for one step: that of requests which are made
// from a template. Other requests take the whole stack.
import type { MiddlewareStack } from "../../s3/sdk-client.ts";
import type { Attempt } from "./in-flight.ts";
import type { DirectRequest } from "./request-template.ts";

type Middleware = Parameters<MiddlewareStack["add"]>[0];
type Next = ReturnType<Middleware>;
interface Entry {
  readonly middleware: Middleware;
  readonly name: string;
}

/** An answer as the handler of requests gives it. */
export interface DirectResponse {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

/** What the context of a command has that is sent from a template. */
export interface Direct {
  request(input: Readonly<Record<string, unknown>>): Promise<DirectRequest>;
  /** @throws when the answer is not one that is read here; then nobody needs its body */
  output(response: DirectResponse): Promise<Record<string, unknown>>;
}
/** Where it has that. */
export const DIRECT = Symbol("direct");

export class ShortStack implements MiddlewareStack {
  readonly #entries: Entry[];
  readonly #whole: MiddlewareStack;
  readonly #begin: () => Attempt;

  /**
   * @param whole what other requests take
   * @param begin begins an attempt that `whole` does not know of
   */
  constructor(whole: MiddlewareStack, begin: () => Attempt, entries: readonly Entry[] = []) {
    this.#whole = whole;
    this.#begin = begin;
    this.#entries = [...entries];
  }
  clone(): ShortStack {
    return new ShortStack(this.#whole, this.#begin, this.#entries);
  }
  /** The whole stack: this is how the SDK's own commands begin. */
  concat(from: unknown): MiddlewareStack {
    const whole = this.#whole.clone();
    for (const { middleware, name } of this.#entries.toReversed())
      whole.add(middleware, { step: "initialize", name, priority: "high", override: true });
    return whole.concat(from);
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
    const direct = (context as { readonly [DIRECT]?: Direct })[DIRECT];
    if (direct === undefined) throw new Error("internal error: a request that nothing says how to make");
    let handler: Next = async (args) => {
      const request = await direct.request(args.input);
      return answerTo(step({ ...args, request }), direct, this.#begin());
    };
    for (const { middleware } of this.#entries.toReversed()) handler = middleware(handler, context as never);
    return handler;
  }
}

async function answerTo(sent: Promise<unknown>, direct: Direct, attempt: Attempt): ReturnType<Next> {
  try {
    const { response } = (await sent) as { readonly response: DirectResponse };
    const output = await direct.output(response);
    attempt.succeeded();
    return { output, response };
  } catch (error) {
    attempt.failed(error);
    throw error;
  }
}
