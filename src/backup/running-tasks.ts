// Tasks that run beside the loop which starts them.

/** Remembers the first that failed; none goes unheard. */
export class RunningTasks {
  readonly #running = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;

  start(task: Promise<void>): void {
    const heard: Promise<void> = task
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#running.delete(heard));
    this.#running.add(heard);
  }

  /** @throws what the first one that failed threw: what it meets ends the whole operation */
  throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Waits for all of them, whatever becomes of them. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }
}
