// What the parent and a child process of the bench say to each other, one line of JSON each.
import type { TrialOptions } from "./adaptor.ts";
import type { BufferAdaptorName, StreamAdaptorName } from "./adaptors/table.ts";

/** How an object is transferred. */
export type TransferName = "plain S3 client" | "framed S3 objects" | "single-message S3 objects";

/** What the child makes ready and repeats. */
export interface ChildTask {
  readonly workload:
    | "buffers"
    | "streams"
    | "ranges"
    | "concurrent streams"
    | "ranges over HTTP"
    | "S3 transfers"
    | "small S3 objects";
  readonly adaptor: BufferAdaptorName | StreamAdaptorName | TransferName;
  readonly operation: "seal" | "open" | "set up";
  readonly options: TrialOptions;
  /** Calls in flight at a time. */
  readonly inFlight: number;
  /** How long a round should take, in seconds. */
  readonly roundSeconds: number;
  /** What one call counts for: its bytes, or 1. */
  readonly unitsPerCall: number;
  /** Whether the package `benchmark` times the calls, for work of microseconds. */
  readonly byBenchmark: boolean;
}

/** What the child is told; `start` comes first. */
export type ChildCommand =
  | { readonly do: "start"; readonly task: ChildTask }
  | { readonly do: "produce"; readonly size: number }
  | { readonly do: "accept"; readonly size: number; readonly sealed: string }
  | { readonly do: "round" }
  | { readonly do: "end" };

/** What a round did. */
export interface Round {
  /** Units per second. */
  readonly rate: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
}

/** What the parent is told once the subject is ready. */
export interface Ready {
  /** All work is done on the main thread, which can then be kept on one CPU. */
  readonly synchronous: boolean;
  /** What takes the times, unless the rounds do. */
  readonly timer?: string;
}
