// A run of frames that one thread hands to another. What is handed over is complete, so that a worker thread remembers
// nothing between two runs, the key least of all.
import type { FrameFormat } from "../engine.ts";
import { NodeFrameCipher } from "./frames.ts";
import { GcmKey } from "./gcm.ts";

/** What to do with which frames. Survives `postMessage`. */
export interface FrameJob {
  readonly kind: "seal" | "open";
  /** In shared memory, so that it is not copied on the way. */
  readonly key: Uint8Array;
  readonly format: FrameFormat;
  readonly firstSequence: number;
  readonly frameCount: number;
  readonly finalLength: number;
  /** Sealing: bytes to leave before the frames. */
  readonly headroom: number;
  /** Begins with the plaintext or the sealed run, `inputLength` bytes. Goes to the other thread and comes back with the result. */
  readonly input: ArrayBuffer;
  readonly inputLength: number;
}

/** What became of it. */
export interface FrameJobResult {
  /** Headroom and sealed frames, or the plaintext of the verified frames: all of its buffer. */
  readonly output: Uint8Array<ArrayBuffer>;
  /** Frames that were sealed, or verified before the first that is not authentic. */
  readonly frameCount: number;
  /** That of the job, to be used again; plaintext in it has been wiped. */
  readonly input: ArrayBuffer;
}

/** Does a job on this thread. */
export function doFrameJob(job: FrameJob): FrameJobResult {
  const { kind, format, firstSequence, frameCount, finalLength, headroom, input } = job;
  const bytes = new Uint8Array(input, 0, job.inputLength);
  const cipher = new NodeFrameCipher(new GcmKey(job.key), format);
  if (kind === "open") {
    const { plaintext, verifiedCount } = cipher.open([bytes], firstSequence, frameCount, finalLength);
    return { output: plaintext, frameCount: verifiedCount, input };
  }
  const output = cipher.seal([bytes], firstSequence, frameCount, finalLength, headroom);
  bytes.fill(0);
  return { output, frameCount, input };
}
