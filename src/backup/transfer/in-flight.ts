// How many requests a server bears at a time: one more after each window of successes, half of them when it says that it
// is busy, fails or does not answer. (additive increase, multiplicative decrease, as TCP has it)
import { isTransient } from "../../s3/transient-error.ts";

const FIRST_LIMIT = 8;

/** One attempt of a request: what came of it is told once. */
export interface Attempt {
  succeeded(): void;
  failed(error: unknown): void;
}

/** Adapts a limit to the answers of a server. */
export class InFlight {
  readonly #most: number;
  #limit: number;
  #lowest: number;
  #successes = 0;
  #attempts = 0;
  /** Grows with each decrease: what was sent before one says nothing about the limit after it. */
  #epoch = 0;
  #isFull: () => boolean = () => true;
  #onChange: () => void = () => {};

  /** @param most at most so many at a time, from 1 on */
  constructor(most: number) {
    this.#most = most;
    this.#limit = Math.min(FIRST_LIMIT, most);
    this.#lowest = this.#limit;
  }

  /** So many requests may be on their way. */
  get limit(): number {
    return this.#limit;
  }
  /** How often the limit was halved. */
  get decreases(): number {
    return this.#epoch;
  }
  /** The lowest limit that there was. */
  get lowest(): number {
    return this.#lowest;
  }
  /** Attempts that were begun. */
  get attempts(): number {
    return this.#attempts;
  }

  /**
   * Says who is bound by the limit.
   * @param isFull whether as much is on its way as the limit allows: only then successes say that more would do
   * @param onChange called when the limit has grown
   */
  bind(isFull: () => boolean, onChange: () => void): void {
    this.#isFull = isFull;
    this.#onChange = onChange;
  }

  /** Begins an attempt. */
  begin(): Attempt {
    const epoch = this.#epoch;
    this.#attempts += 1;
    return {
      succeeded: () => this.#succeed(epoch),
      failed: (error) => this.#fail(error, epoch),
    };
  }

  #succeed(epoch: number): void {
    if (epoch !== this.#epoch || this.#limit >= this.#most || !this.#isFull()) return;
    this.#successes += 1;
    if (this.#successes < this.#limit) return;
    this.#successes = 0;
    this.#limit += 1;
    this.#onChange();
  }

  // Those that were on their way together often fail together: they count once.
  #fail(error: unknown, epoch: number): void {
    if (epoch !== this.#epoch || !isTransient(error)) return;
    this.#epoch += 1;
    this.#successes = 0;
    this.#limit = Math.max(1, Math.floor(this.#limit / 2));
    this.#lowest = Math.min(this.#lowest, this.#limit);
  }
}

/** What is asked of a client. */
interface Observed {
  readonly middlewareStack: unknown;
}
interface Stack {
  add(middleware: unknown, options: { step: "deserialize"; priority: "high"; name: string }): void;
}

/**
 * Tells `inFlight` of every attempt of a client, also of those that the SDK repeats by itself. Clients that are made
 * from it afterwards are observed too.
 */
export function observeAttempts(client: Observed, inFlight: InFlight): void {
  // Behind the SDK's retries, and before what makes errors of answers.
  const middleware = (next: (args: unknown) => Promise<unknown>) => async (args: unknown) => {
    const attempt = inFlight.begin();
    try {
      const result = await next(args);
      attempt.succeeded();
      return result;
    } catch (error) {
      attempt.failed(error);
      throw error;
    }
  };
  (client.middlewareStack as Stack).add(middleware, {
    step: "deserialize",
    priority: "high",
    name: "framesealAttempts",
  });
}
