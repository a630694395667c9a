// Time that passes when nothing else is left to do.

interface Timer {
  readonly at: number;
  readonly then: () => void;
}

/** A clock, and what waits for it. */
export class VirtualTime {
  now = 0;
  readonly #timers = new Set<Timer>();

  readonly after = (ms: number, then: () => void): (() => void) => {
    const timer = { at: this.now + ms, then };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  };
  wait(ms: number): Promise<void> {
    return new Promise((resolve) => void this.after(ms, resolve));
  }

  /** Lets time pass until nothing waits for it, or until `isDone`. */
  async run(isDone: () => boolean = () => false): Promise<void> {
    for (;;) {
      await settled();
      const next = [...this.#timers].reduce<Timer | undefined>(
        (first, timer) => (first === undefined || timer.at < first.at ? timer : first),
        undefined,
      );
      if (next === undefined || isDone()) return;
      this.#timers.delete(next);
      this.now = next.at;
      next.then();
    }
  }
}

/** What follows from promises alone has happened. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
