// Signals to abort with: of Node, and of a package that makes its own and has no more than the interface says.
import { getEventListeners } from "node:events";

/** A signal of a package that makes its own, which tells how many listen. */
export class OwnSignal {
  aborted = false;
  reason: unknown;
  readonly #listeners = new Set<(event: { type: string }) => void>();
  addEventListener(_: "abort", listener: (event: { type: string }) => void): void {
    this.#listeners.add(listener);
  }
  removeEventListener(_: "abort", listener: (event: { type: string }) => void): void {
    this.#listeners.delete(listener);
  }
  /** How many listen. */
  get size(): number {
    return this.#listeners.size;
  }
  abort(reason: unknown = new Error("stop")): void {
    this.aborted = true;
    this.reason = reason;
    for (const listener of [...this.#listeners]) listener({ type: "abort" });
  }
}

/** A signal and what aborts it. */
export interface Abortable {
  readonly signal: AbortSignal;
  readonly abort: (reason?: unknown) => void;
  /** How many listen to the signal. */
  readonly listeners: () => number;
}

/** Ways to make one. */
export const signals: Readonly<Record<string, () => Abortable>> = {
  "a signal of Node": () => {
    const controller = new AbortController();
    const { signal } = controller;
    return {
      signal,
      abort: (reason) => controller.abort(reason),
      listeners: () => getEventListeners(signal, "abort").length,
    };
  },
  "a signal of a package": () => {
    const own = new OwnSignal();
    return {
      signal: own as unknown as AbortSignal,
      abort: (reason) => own.abort(reason),
      listeners: () => own.size,
    };
  },
};
