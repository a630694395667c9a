// What is timed: work that a child process has made ready and can repeat.

/** What a child process of the bench does for a task. */
export interface Workload {
  /** Seals the bytes of `agreementBytes(size)`, to be opened by another subject. */
  produce(size: number): Promise<Uint8Array>;
  /** Opens what another subject made and throws unless it gives `agreementBytes(size)`. */
  accept(size: number, sealed: Uint8Array): Promise<void>;
  /** As many calls as were found to fill a round; how many units (bytes, ranges) were done, or how fast. */
  round(): Promise<number | { readonly perSecond: number }>;
  readonly synchronous?: boolean;
  readonly timer?: string;
  /** What was counted besides, by its name. */
  figures?(): Promise<Readonly<Record<string, number>>>;
}
