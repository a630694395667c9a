// What runs on the worker threads of the Node engine: one job after the other.
import { types } from "node:util";
import { parentPort, workerData } from "node:worker_threads";
import { doFrameJob, type FrameJob, type FrameJobResult } from "./frame-job.ts";

/** What a worker thread says: a result, or why there is none. */
export type WorkerMessage = FrameJobResult | { readonly failure: string };

function work(job: FrameJob): void {
  let result: FrameJobResult;
  try {
    result = doFrameJob(job);
  } catch (error) {
    parentPort?.postMessage({ failure: String(error) } satisfies WorkerMessage);
    return;
  }
  parentPort?.postMessage(result satisfies WorkerMessage, [result.output.buffer, result.input]);
}

parentPort?.on("message", work);
if (types.isInt32Array(workerData)) Atomics.store(workerData, 0, 1);
