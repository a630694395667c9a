// One queue for small and large: what may be in flight adapts to the server, what is in memory to the budget.
import { MemoryBudget } from "./budget.ts";
import { type Attempt, InFlight, observeAttempts } from "./in-flight.ts";
import { delayAfter, mayPass } from "./retry.ts";

/** What a job takes. */
export interface Cost {
  /** Bytes that it holds at most while it runs. */
  readonly memory: number;
  /** Neither kind starves the other. */
  readonly kind: Kind;
}
export type Kind = "small" | "part";

/** Runs jobs. */
export interface TransferQueue {
  /**
   * Runs `job` when there is room, again with backoff when it failed for a reason that may pass. Rejects with the last
   * error, or with the reason of the signal. A job must not wait for another of the same queue.
   */
  run<Result>(cost: Cost, job: (signal: AbortSignal) => Promise<Result>): Promise<Result>;
  /** Resolves when few enough jobs of a kind, by default `small`, wait that a walk should go on; rejects on abort. */
  ready(kind?: Kind): Promise<void>;
  /** Resolves when no job runs or waits. */
  idle(): Promise<void>;
}

/** What a queue tells of itself. */
export interface TransferCounts {
  /** Attempts of requests, with those that the SDK made by itself. */
  readonly attempts: number;
  /** Jobs that were run again. */
  readonly retries: number;
  /** What may be in flight now, and the least it was. */
  readonly limit: number;
  readonly lowestLimit: number;
  /** How often the server made it smaller. */
  readonly decreases: number;
  /** The most bytes that jobs held together. */
  readonly peakMemory: number;
}

/** A queue whose limit follows the answers that clients get. */
export interface AdaptiveQueue extends TransferQueue {
  /** Learns from every attempt of a client; call it before others are made from that client, and once for each. */
  observe(client: { readonly middlewareStack: unknown }): void;
  /** Begins an attempt that goes past the middleware of clients. */
  begin(): Attempt;
  readonly counts: TransferCounts;
}

/** Options of `createTransferQueue`. */
export interface TransferQueueOptions {
  /** At most so many jobs run at a time. */
  readonly maxInFlight: number;
  /** Bytes that running jobs may hold together; a job that takes more runs alone. */
  readonly memory: number;
  /** How often a job is run again. */
  readonly retries: number;
  readonly signal: AbortSignal;
  /** Called before a job waits to be run again. */
  readonly onRetry?: ((error: unknown, delayMs: number) => void) | undefined;
  /** From 0 to 1. */
  readonly random?: (() => number) | undefined;
  /** Calls back after a time; returns what takes that back. */
  readonly after?: ((ms: number, then: () => void) => () => void) | undefined;
}

/** One call of `run`. */
interface Entry {
  readonly cost: Cost;
  readonly start: (signal: AbortSignal) => Promise<unknown>;
  readonly resolve: (result: never) => void;
  readonly reject: (error: unknown) => void;
  failures: number;
}

/** What waits and runs of one kind. */
class Lane {
  readonly waiting: Entry[] = [];
  running = 0;
  memory = 0;
  /** Bytes of the other kind that were let go first while the first that waits here did not fit. */
  overtaken = 0;
  readonly #wakes: (() => void)[] = [];

  /** Of what is in flight while both wait: small jobs end sooner, and are many. */
  readonly slots: number;
  /** Share of the memory while both wait. */
  readonly share: number;

  constructor(slots: number, share: number) {
    this.slots = slots;
    this.share = share;
  }

  /** Resolves when fewer than `most` wait. */
  async until(most: number): Promise<void> {
    if (this.waiting.length >= most) await new Promise<void>((resolve) => this.#wakes.push(resolve));
  }
  wake(places: number): void {
    for (const wake of this.#wakes.splice(0, Math.max(0, places))) wake();
  }
}

/** After an abort nobody waits longer for jobs that do not end. */
const GRACE_MS = 1000;

/** Makes a queue. */
export function createTransferQueue(options: TransferQueueOptions): AdaptiveQueue {
  return new Queue(options);
}

class Queue implements AdaptiveQueue {
  readonly #inFlight: InFlight;
  readonly #budget: MemoryBudget;
  readonly #retries: number;
  readonly #signal: AbortSignal;
  readonly #onRetry: (error: unknown, delayMs: number) => void;
  readonly #random: () => number;
  readonly #after: (ms: number, then: () => void) => () => void;
  readonly #backlog: number;
  readonly #small: Lane;
  readonly #part: Lane;
  /** All that is not settled, and what takes back the time that it waits for. */
  readonly #open = new Map<Entry, (() => void) | undefined>();
  readonly #idle: (() => void)[] = [];
  #lastStarted: Lane;
  #running = 0;
  #retried = 0;
  #peakMemory = 0;

  constructor({ maxInFlight, memory, retries, signal, onRetry, random, after }: TransferQueueOptions) {
    this.#inFlight = new InFlight(maxInFlight);
    this.#budget = new MemoryBudget(memory);
    this.#retries = retries;
    this.#signal = signal;
    this.#onRetry = onRetry ?? (() => {});
    this.#random = random ?? Math.random;
    this.#after = after ?? afterTime;
    this.#backlog = 2 * maxInFlight;
    this.#small = new Lane(3, 1 / 4);
    this.#part = new Lane(1, 3 / 4);
    this.#lastStarted = this.#part;
    this.#inFlight.bind(
      () => this.#running >= this.#inFlight.limit,
      () => this.#fill(),
    );
    signal.addEventListener("abort", () => this.#abort(), { once: true });
  }

  get counts(): TransferCounts {
    const { attempts, limit, lowest, decreases } = this.#inFlight;
    return {
      attempts,
      retries: this.#retried,
      limit,
      lowestLimit: lowest,
      decreases,
      peakMemory: this.#peakMemory,
    };
  }

  observe(client: { readonly middlewareStack: unknown }): void {
    observeAttempts(client, this.#inFlight);
  }

  begin(): Attempt {
    return this.#inFlight.begin();
  }

  run<Result>(cost: Cost, job: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
    return new Promise<Result>((resolve, reject) => {
      if (this.#signal.aborted) {
        reject(this.#signal.reason);
        return;
      }
      const entry: Entry = { cost, start: job, resolve, reject, failures: 0 };
      this.#open.set(entry, undefined);
      this.#laneOf(entry).waiting.push(entry);
      this.#fill();
    });
  }

  async ready(kind: Kind = "small"): Promise<void> {
    this.#signal.throwIfAborted();
    await this.#lane(kind).until(this.#backlog);
    this.#signal.throwIfAborted();
  }

  async idle(): Promise<void> {
    if (this.#open.size === 0 && this.#running === 0) return;
    await new Promise<void>((resolve) => {
      this.#idle.push(resolve);
      if (this.#signal.aborted) this.#after(GRACE_MS, resolve);
    });
  }

  #lane(kind: Kind): Lane {
    return kind === "small" ? this.#small : this.#part;
  }
  #laneOf({ cost }: Entry): Lane {
    return this.#lane(cost.kind);
  }

  // Starts what may start.
  #fill(): void {
    while (!this.#signal.aborted && this.#running < this.#inFlight.limit) {
      const lane = this.#next();
      const entry = lane?.waiting.shift();
      if (lane === undefined || entry === undefined) return;
      this.#start(lane, entry);
    }
  }

  /** Whose turn it is, of the lanes that may start something. */
  #next(): Lane | undefined {
    const [first, second] = this.#inOrder();
    return [first, second].find((lane) => this.#mayStart(lane, lane === first ? second : first));
  }

  // The one with fewer in flight for what is due to it; of equals the one that did not start last.
  #inOrder(): readonly [Lane, Lane] {
    const [small, part] = [this.#small, this.#part];
    const lead = small.running * part.slots - part.running * small.slots;
    const isSmallFirst = lead === 0 ? this.#lastStarted === part : lead < 0;
    return isSmallFirst ? [small, part] : [part, small];
  }

  #mayStart(lane: Lane, other: Lane): boolean {
    const head = lane.waiting[0];
    if (head === undefined || !this.#budget.fits(head.cost.memory)) return false;
    const rival = other.waiting[0];
    if (rival === undefined) return true;
    // Nothing of the other kind runs, because it does not fit: it was overtaken by as much as it takes, and is next.
    if (other.running === 0 && !this.#budget.fits(rival.cost.memory) && other.overtaken >= rival.cost.memory)
      return false;
    return lane.running === 0 || lane.memory + head.cost.memory <= lane.share * this.#budget.size;
  }

  #start(lane: Lane, entry: Entry): void {
    const { memory } = entry.cost;
    const other = lane === this.#small ? this.#part : this.#small;
    const rival = other.waiting[0];
    if (rival !== undefined && !this.#budget.fits(rival.cost.memory)) other.overtaken += memory;
    lane.overtaken = 0;
    this.#lastStarted = lane;
    this.#budget.take(memory);
    this.#peakMemory = Math.max(this.#peakMemory, this.#budget.used);
    lane.memory += memory;
    lane.running += 1;
    this.#running += 1;
    lane.wake(this.#backlog - lane.waiting.length);
    // In a turn of its own: a job that throws at once fails like any other.
    Promise.resolve(this.#signal)
      .then(entry.start)
      .then(
        (result) => this.#end(lane, entry, () => entry.resolve(result as never)),
        (error: unknown) => this.#end(lane, entry, () => this.#fail(entry, error)),
      );
  }

  #end(lane: Lane, entry: Entry, then: () => void): void {
    const { memory } = entry.cost;
    this.#budget.give(memory);
    lane.memory -= memory;
    lane.running -= 1;
    this.#running -= 1;
    // After an abort it has been settled.
    if (this.#open.delete(entry)) then();
    this.#fill();
    this.#tellIdle();
  }

  #fail(entry: Entry, error: unknown): void {
    entry.failures += 1;
    if (entry.failures > this.#retries || !mayPass(error)) {
      entry.reject(error);
      return;
    }
    this.#retried += 1;
    const delay = delayAfter(entry.failures, this.#random());
    this.#onRetry(error, delay);
    const cancel = this.#after(delay, () => {
      this.#open.set(entry, undefined);
      this.#laneOf(entry).waiting.unshift(entry);
      this.#fill();
    });
    this.#open.set(entry, cancel);
  }

  #abort(): void {
    for (const lane of [this.#small, this.#part]) {
      lane.waiting.length = 0;
      lane.wake(Number.POSITIVE_INFINITY);
    }
    for (const [entry, cancel] of this.#open) {
      cancel?.();
      entry.reject(this.#signal.reason);
    }
    this.#open.clear();
    for (const resolve of this.#idle) this.#after(GRACE_MS, resolve);
    this.#tellIdle();
  }

  #tellIdle(): void {
    if (this.#open.size > 0 || this.#running > 0) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}

function afterTime(ms: number, then: () => void): () => void {
  const timer = setTimeout(then, ms);
  return () => clearTimeout(timer);
}
