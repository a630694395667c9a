// What ends an operation before its end: the caller's signal, a source that failed, a request that failed. The first
// reason counts, reaches every request of the operation, and is what the caller gets, whatever else then fails.
import { aborted, throwIfAborted } from "../errors.ts";

/** One per operation; `release` must be called at its end. */
export class Stop {
  readonly #outer: AbortSignal | undefined;
  readonly #waiting = new Set<(reason: unknown) => void>();
  readonly #onAbort = (): void => {
    if (this.#outer !== undefined) this.stop(aborted(this.#outer));
  };
  #controller: AbortController | undefined;
  #stopped: { readonly reason: unknown } | undefined;

  /**
   * @param signal of the caller, and of any package: it need only have what signals have
   * @throws FramesealError ABORTED, TypeError for what is no signal
   */
  constructor(signal: AbortSignal | undefined) {
    throwIfAborted(signal);
    this.#outer = signal;
    signal?.addEventListener("abort", this.#onAbort);
  }

  /** For requests: aborted when the operation stops. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#stopped !== undefined) this.#controller.abort(this.#stopped.reason);
    return this.#controller.signal;
  }
  /** Why the operation stopped, if it did. */
  get stopped(): { readonly reason: unknown } | undefined {
    return this.#stopped;
  }

  /** Throws the reason if the operation was stopped. */
  throwIfStopped(): void {
    if (this.#stopped !== undefined) throw this.#stopped.reason;
  }

  /** Stops the operation. Only the first call has an effect. */
  stop(reason: unknown): void {
    if (this.#stopped !== undefined) return;
    this.#stopped = { reason };
    for (const reject of [...this.#waiting]) reject(reason);
    this.#controller?.abort(reason);
  }

  /**
   * Settles as `work` does, or at once with the reason to stop. What `work` waits for may never answer. A failure of
   * `work` after the operation stopped is a consequence, and gives the reason too.
   * @param onLate gets a result that nobody waits for any more
   */
  race<Result>(work: PromiseLike<Result>, onLate?: (result: Result) => void): Promise<Result> {
    return new Promise((resolve, reject) => {
      if (this.#stopped !== undefined) reject(this.#stopped.reason);
      else this.#waiting.add(reject);
      work.then(
        (result) => {
          if (this.#waiting.delete(reject) && this.#stopped === undefined) resolve(result);
          else onLate?.(result);
        },
        (error) => {
          this.#waiting.delete(reject);
          reject(error);
        },
      );
    });
  }

  /** Lets go of the caller's signal. */
  release(): void {
    this.#outer?.removeEventListener("abort", this.#onAbort);
  }
}
