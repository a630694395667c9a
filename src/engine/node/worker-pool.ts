// The worker threads of the Node engine, shared by the process. They are started only when so much has been sealed and
// opened that they pay for their start, never keep the process alive without work, and end when there is none for a
// while. Where they cannot be had, everything works on the calling thread.
import { availableParallelism } from "node:os";
import { isMainThread, Worker } from "node:worker_threads";
import { FramesealError } from "../../errors.ts";
import { allocate } from "../output-memory.ts";
import type { FrameJob, FrameJobResult } from "./frame-job.ts";
import type { WorkerMessage } from "./worker.ts";

/**
 * Bytes of runs after which workers are started. A worker costs about 40 ms of processor time and 10 MiB of memory,
 * and Node seals so much in that time: so starting them never more than doubles the cost of a short task.
 */
const START_AFTER = 16 * 1024 * 1024;
/** Workers without work for so long end, and with them their memory. */
const IDLE_MS = 10_000;
/** Memory for the input of a job is kept and used again up to this length: new pages cost more than the copy. */
const KEPT_LENGTH = 2 * 1024 * 1024;
/** Jobs that a worker has at a time: the next one is there when it is done with one. */
const MAX_PENDING = 2;
/** Failures after which no more workers are started. */
const MAX_FAILURES = 3;

interface PendingJob {
  resolve(result: FrameJobResult): void;
  reject(error: Error): void;
}

interface PoolWorker {
  readonly worker: Worker;
  /** Set by the worker. A message would not do: streams that never wait for anything leave no turn to receive it. */
  readonly ready: Int32Array;
  /** In the order in which they were sent. */
  readonly pending: PendingJob[];
}

/** Runs jobs on worker threads. */
class WorkerPool {
  readonly #workers = new Set<PoolWorker>();
  readonly #free: ArrayBuffer[] = [];
  #countedBytes = 0;
  // A program with worker threads of its own has spread its work over the cores already.
  #isPossible: boolean = isMainThread && availableParallelism() > 1;
  #failures = 0;
  #idleTimer: NodeJS.Timeout | undefined;

  /** True if there is a worker to take jobs. */
  get isReady(): boolean {
    for (const entry of this.#workers) if (isReady(entry)) return true;
    return false;
  }

  /** True if a worker can take one more job. If all have enough to do, the calling thread had better do it. */
  get hasRoom(): boolean {
    return this.#mostIdle() !== undefined;
  }

  /**
   * Counts a run of `length` bytes that `threads` threads could work on, the calling one among them, and starts workers
   * when it is time. The process has as many as the one message that asks for the most.
   */
  count(length: number, threads: number): void {
    if (!this.#isPossible) return;
    this.#countedBytes += length;
    if (this.#countedBytes < START_AFTER) return;
    const count = Math.min(threads, availableParallelism()) - 1;
    while (this.#isPossible && this.#workers.size < count) this.#start();
    this.#startIdleTimer();
  }

  /** Memory of at least `length` bytes, with old contents, for the input of a job. */
  inputMemory(length: number): ArrayBuffer {
    if (length > KEPT_LENGTH) return allocate(length).buffer;
    return this.#free.pop() ?? allocate(KEPT_LENGTH).buffer;
  }

  /**
   * Sends a job to a worker, if `hasRoom`. Its input is gone from then on.
   * @throws FramesealError ENGINE_UNAVAILABLE, as a rejection, if the worker ended before it answered
   */
  run(job: FrameJob): Promise<FrameJobResult> {
    const entry = this.#mostIdle();
    if (entry === undefined) throw new Error("internal error: no worker has room");
    entry.worker.ref(); // the process must not end before the result is there
    entry.worker.postMessage(job, [job.input]);
    return new Promise((resolve, reject) => entry.pending.push({ resolve, reject }));
  }

  #mostIdle(): PoolWorker | undefined {
    let best: PoolWorker | undefined;
    for (const entry of this.#workers)
      if (isReady(entry) && entry.pending.length < (best?.pending.length ?? MAX_PENDING)) best = entry;
    return best;
  }

  #start(): void {
    let worker: Worker;
    const ready = new Int32Array(new SharedArrayBuffer(4));
    try {
      // Bundlers know this expression; the way through "engine" is right in dist/joined too. Neither flags nor environment
      // of the process concern the worker.
      worker = new Worker(new URL("../../engine/node/worker.js", import.meta.url), {
        name: "frameseal",
        execArgv: [],
        env: {},
        workerData: ready,
      });
    } catch {
      this.#isPossible = false; // forbidden by the permission model, or there is no such thing here
      return;
    }
    const entry: PoolWorker = { worker, ready, pending: [] };
    this.#workers.add(entry);
    worker.on("message", (message: WorkerMessage) => this.#receive(entry, message));
    worker.on("error", () => this.#remove(entry));
    worker.on("messageerror", () => void worker.terminate());
    worker.on("exit", () => this.#remove(entry));
    worker.unref(); // after the listeners, which undo it
  }

  #receive(entry: PoolWorker, message: WorkerMessage): void {
    const pending = entry.pending.shift();
    if ("failure" in message) pending?.reject(new Error(`internal error: ${message.failure}`));
    else {
      if (message.input.byteLength === KEPT_LENGTH && this.#free.length < MAX_PENDING * this.#workers.size)
        this.#free.push(message.input);
      pending?.resolve(message);
    }
    if (entry.pending.length === 0) entry.worker.unref();
    this.#startIdleTimer();
  }

  // Called twice if a worker fails. What it was sent is lost with its memory.
  #remove(entry: PoolWorker): void {
    if (!this.#workers.delete(entry)) return;
    this.#failures++;
    if (this.#failures >= MAX_FAILURES) this.#isPossible = false;
    const lost = new FramesealError(
      "ENGINE_UNAVAILABLE",
      "a worker thread of engine node ended while it worked",
    );
    for (const { reject } of entry.pending) reject(lost);
  }

  #startIdleTimer(): void {
    if (this.#idleTimer !== undefined) this.#idleTimer.refresh();
    else this.#idleTimer = setTimeout(() => this.#endIdle(), IDLE_MS).unref();
  }

  #endIdle(): void {
    this.#idleTimer = undefined;
    if ([...this.#workers].some(({ pending }) => pending.length > 0)) {
      this.#startIdleTimer();
      return;
    }
    this.#countedBytes = 0;
    this.#free.length = 0;
    for (const entry of this.#workers) {
      this.#workers.delete(entry);
      void entry.worker.terminate();
    }
  }
}

function isReady({ ready }: PoolWorker): boolean {
  return Atomics.load(ready, 0) !== 0;
}

/** The pool of this process. */
export const workerPool: WorkerPool = new WorkerPool();
