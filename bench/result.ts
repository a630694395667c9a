// What `frameseal bench --json` writes and the report, the claims and the baseline comparison read.

/** One measured subject of a trial, or the reason why it was not measured. */
export interface SubjectResult {
  /** As printed, for example "frameseal native:vaes512" or "@noble/ciphers". */
  readonly name: string;
  /** Who is measured: ours, a library in this process, another runtime, a program. */
  readonly kind: "frameseal" | "library" | "runtime" | "program";
  /** Why there are no figures; all others are then absent. */
  readonly notRun?: string;
  /** Units (see Trial.unit) per second: of the middle round, and of the best and worst tenth. */
  readonly median?: number;
  readonly best?: number;
  readonly worst?: number;
  /** One figure per round, in the order in which they were taken. */
  readonly samples?: readonly number[];
  /** CPU seconds (user and system, all threads) and wall seconds of all rounds together. */
  readonly cpuSeconds?: number;
  readonly wallSeconds?: number;
  /** Peak resident memory of the subject's whole process, in bytes. */
  readonly peakBytes?: number;
  /** What was counted besides, by its name, such as "requests a range" or "cycles a 64 bytes". */
  readonly figures?: Readonly<Record<string, number>>;
  /** Resident memory over time, where the trial records it. */
  readonly memory?: readonly { readonly seconds: number; readonly bytes: number }[];
}

/** One question asked of several subjects in interleaved rounds. */
export interface TrialResult {
  /** Unique, for example "stream/seal/64KiB/frames-64KiB"; filters match words of it. */
  readonly id: string;
  /** Trials of a group are drawn together: calls, steps, kernels, frames, messages, streams, ranges, s3, files, pipes and more. */
  readonly group: string;
  readonly title: string;
  readonly operation: string;
  /** What a sample counts, per second. */
  readonly unit: "bytes" | "calls" | "ranges" | "starts";
  /** Bytes of plaintext of one call, message, file or range. */
  readonly size?: number;
  readonly frameLength?: number;
  readonly threads?: number;
  readonly suite?: string;
  /** What took the times, where rounds of our own did not: "benchmark 2.1.4". */
  readonly timer?: string;
  /** The subject that ratios are printed against. */
  readonly reference: string;
  /** How long the trial took, start and agreement included. */
  readonly seconds?: number;
  readonly subjects: readonly SubjectResult[];
}

export interface ClaimResult {
  readonly id: string;
  readonly text: string;
  /** "≥ 3" or "≤ 1.1", with `bar` as a number and `higher` telling which side holds. */
  readonly bar: number;
  readonly higher: boolean;
  readonly unit: string;
  /** Names of the trials that it was computed from. */
  readonly trials: readonly string[];
  readonly measured?: number;
  readonly held?: boolean;
  /** Why there is no figure. */
  readonly notRun?: string;
}

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly system: string;
  readonly virtual: boolean;
  readonly node: string;
  readonly openssl: string;
  readonly engine: string;
  readonly kernel: string;
}

export interface BenchResult {
  readonly format: "frameseal-bench-1";
  /** ISO 8601, UTC. */
  readonly date: string;
  readonly version: string;
  /** Of the checkout the program runs from, with "+" after it if that was changed; absent in an installed package. */
  readonly commit?: string;
  readonly command: string;
  readonly seconds: number;
  readonly machine: Machine;
  /** Names and versions of everything compared. */
  readonly versions: Readonly<Record<string, string>>;
  /** Share of CPU time the hypervisor gave to others during the run, 0 to 1, and the median spread of the samples. */
  readonly noise: {
    readonly steal: number;
    readonly spread: number;
    /** The CPU that the main threads of single-threaded subjects were kept on, where taskset(1) is there. */
    readonly pinnedCpu?: number;
  };
  readonly trials: readonly TrialResult[];
  readonly claims: readonly ClaimResult[];
}
