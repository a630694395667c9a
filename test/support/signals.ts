// Signals to abort with: of Node, and of a package that makes its own and has no more than the interface says.

class OwnSignal {
  aborted = false;
  reason: unknown;
  readonly #listeners = new Set<(event: { type: string }) => void>();
  addEventListener(_: "abort", listener: (event: { type: string }) => void): void {
    this.#listeners.add(listener);
  }
  removeEventListener(_: "abort", listener: (event: { type: string }) => void): void {
    this.#listeners.delete(listener);
  }
  abort(reason: unknown): void {
    this.aborted = true;
    this.reason = reason;
    for (const listener of [...this.#listeners]) listener({ type: "abort" });
  }
}

/** A signal and what aborts it. */
export interface Abortable {
  readonly signal: AbortSignal;
  readonly abort: (reason: unknown) => void;
}

/** Ways to make one. */
export const signals: Readonly<Record<string, () => Abortable>> = {
  "a signal of Node": () => {
    const controller = new AbortController();
    return { signal: controller.signal, abort: (reason) => controller.abort(reason) };
  },
  "a signal of a package": () => {
    const own = new OwnSignal();
    return { signal: own as unknown as AbortSignal, abort: (reason) => own.abort(reason) };
  },
};
