// One queue for small and large: what may be in flight adapts to the server, what is in memory to the budget.

/** What a job takes. */
export interface Cost {
  /** Bytes that it holds at most while it runs. */
  readonly memory: number;
  /** Neither kind starves the other. */
  readonly kind: "small" | "part";
}

/** Runs jobs. */
export interface TransferQueue {
  /**
   * Runs `job` when there is room, again with backoff when it failed for a reason that may pass. Rejects with the last
   * error, or with the reason of the signal.
   */
  run<Result>(cost: Cost, job: (signal: AbortSignal) => Promise<Result>): Promise<Result>;
  /** Resolves when few enough jobs wait that a walk should go on. */
  ready(): Promise<void>;
  /** Resolves when no job runs or waits. */
  idle(): Promise<void>;
}
