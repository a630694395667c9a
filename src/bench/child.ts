// One subject in a process of its own. Commands come as JSON lines on standard input, answers go as JSON lines to
// standard output: that works in Node, Bun and Deno alike.
import { readFileSync } from "node:fs";
import process from "node:process";
import { createInterface } from "node:readline";
import { Absent, type TrialOptions } from "./adaptor.ts";
import type { BufferAdaptorName, StreamAdaptorName } from "./adaptors/table.ts";
import type { TransferName } from "./workloads/s3-transfers.ts";

/** What the child is to do; `warm` must come first. */
export interface ChildTask {
  readonly workload:
    | "buffers"
    | "streams"
    | "ranges"
    | "concurrent streams"
    | "ranges over HTTP"
    | "S3 transfers";
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

const workloads: Readonly<
  Record<ChildTask["workload"], () => Promise<(task: ChildTask) => Promise<Workload>>>
> = {
  buffers: async () => (await import("./workloads/buffers.ts")).createBuffers,
  streams: async () => (await import("./workloads/streams.ts")).createStreams,
  "concurrent streams": async () => (await import("./workloads/streams.ts")).createConcurrentStreams,
  ranges: async () => (await import("./workloads/ranges.ts")).createRanges,
  "ranges over HTTP": async () => (await import("./workloads/ranges.ts")).createHttpRanges,
  "S3 transfers": async () => (await import("./workloads/s3-transfers.ts")).createTransfers,
};

let workload: Workload | undefined;

async function answer(command: ChildCommand): Promise<object> {
  if (command.do === "start") {
    const create = await workloads[command.task.workload]();
    workload = await create(command.task);
    const { synchronous = false, timer } = workload;
    return { ready: { synchronous, ...(timer === undefined ? {} : { timer }) } satisfies Ready };
  }
  if (workload === undefined) throw new Error("internal error: not started");
  if (command.do === "produce")
    return { sealed: Buffer.from(await workload.produce(command.size)).toString("base64") };
  if (command.do === "accept") {
    await workload.accept(command.size, Buffer.from(command.sealed, "base64"));
    return { accepted: true };
  }
  if (command.do === "round") return { round: await measured(workload) };
  return { peakBytes: peakBytes(), figures: await workload.figures?.() };
}

// Not ru_maxrss where there is another way: Linux starts it at what the parent held when it forked.
function peakBytes(): number {
  try {
    const kibibytes = /^VmHWM:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
    if (kibibytes !== undefined) return Number(kibibytes) * 1024;
  } catch {}
  return process.resourceUsage().maxRSS * 1024;
}

async function measured(work: Workload): Promise<Round> {
  const before = process.cpuUsage();
  const start = performance.now();
  const done = await work.round();
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(before);
  const rate = typeof done === "number" ? done / seconds : done.perSecond;
  return { rate, seconds, cpuSeconds: (user + system) / 1e6 };
}

const lines = createInterface({ input: process.stdin });
for await (const line of lines) {
  const command = JSON.parse(line) as ChildCommand;
  let reply: object;
  try {
    reply = await answer(command);
  } catch (error) {
    const { message } = error as Error;
    reply = error instanceof Absent ? { absent: message } : { failed: message };
  }
  process.stdout.write(`${JSON.stringify(reply)}\n`);
  if (command.do === "end") break;
}
process.exit(0);
