// Frames of one message on the worker threads of the Node engine and on the calling one, which does a run itself when
// the workers have enough to do: what it does itself need not be copied.
import { ChunkCursor } from "../chunk-cursor.ts";
import type { FrameFormat, OpenedFrames } from "../engine.ts";
import { checkChunks, runLengths } from "../frame-run.ts";
import type { FrameJob, FrameJobResult } from "./frame-job.ts";
import { NodeFrameCipher } from "./frames.ts";
import type { GcmKey } from "./gcm.ts";
import { workerPool } from "./worker-pool.ts";

type Chunks = readonly Uint8Array[];
type Run = Pick<FrameJob, "firstSequence" | "frameCount" | "finalLength">;

/** From here on a run takes longer than its copy and its way to a worker and back, which are about 50 µs. */
const MIN_RUN_LENGTH = 128 * 1024;

/** Works on the calling thread alone until worker threads have been started. */
export class ThreadedFrameCipher extends NodeFrameCipher {
  readonly #key: GcmKey;
  readonly #format: FrameFormat;
  readonly #threads: number;

  /** @param threads how many threads may work on this message, the calling one among them */
  constructor(key: GcmKey, format: FrameFormat, threads: number) {
    super(key, format);
    this.#key = key;
    this.#threads = threads;
    // Memory of their own: what is sent takes the whole buffer along.
    this.#format = {
      frameLength: format.frameLength,
      regularAadPrefix: new Uint8Array(format.regularAadPrefix),
      finalAadPrefix: new Uint8Array(format.finalAadPrefix),
    };
  }

  get asyncFrom(): number {
    return workerPool.isReady ? MIN_RUN_LENGTH : Number.POSITIVE_INFINITY;
  }

  override seal(
    chunks: Chunks,
    firstSequence: number,
    frameCount: number,
    finalLength: number,
    headroom: number,
  ): Uint8Array<ArrayBuffer> {
    this.#count(this.#lengths({ firstSequence, frameCount, finalLength }).plaintextLength);
    return super.seal(chunks, firstSequence, frameCount, finalLength, headroom);
  }

  override open(chunks: Chunks, firstSequence: number, frameCount: number, finalLength: number) {
    this.#count(this.#lengths({ firstSequence, frameCount, finalLength }).plaintextLength);
    return super.open(chunks, firstSequence, frameCount, finalLength);
  }

  async sealAsync(
    chunks: Chunks,
    firstSequence: number,
    frameCount: number,
    finalLength: number,
    headroom: number,
  ): Promise<Uint8Array> {
    const run = { firstSequence, frameCount, finalLength };
    const { plaintextLength } = this.#lengths(run);
    if (!workerPool.hasRoom) return this.seal(chunks, firstSequence, frameCount, finalLength, headroom);
    const { output } = await this.#send("seal", run, chunks, plaintextLength, headroom);
    return output;
  }

  async openAsync(
    chunks: Chunks,
    firstSequence: number,
    frameCount: number,
    finalLength: number,
  ): Promise<OpenedFrames> {
    const run = { firstSequence, frameCount, finalLength };
    const { sealedLength } = this.#lengths(run);
    if (!workerPool.hasRoom) return this.open(chunks, firstSequence, frameCount, finalLength);
    const opened = await this.#send("open", run, chunks, sealedLength, 0);
    return { plaintext: opened.output, verifiedCount: opened.frameCount };
  }

  async #send(
    kind: FrameJob["kind"],
    run: Run,
    chunks: Chunks,
    inputLength: number,
    headroom: number,
  ): Promise<FrameJobResult> {
    checkChunks(chunks, inputLength);
    const key = this.#key.lend();
    try {
      this.#count(inputLength);
      const input = workerPool.inputMemory(inputLength);
      new ChunkCursor(chunks).copyTo(new Uint8Array(input, 0, inputLength));
      return await workerPool.run({ kind, key, format: this.#format, ...run, headroom, input, inputLength });
    } finally {
      this.#key.giveBack();
    }
  }

  #count(length: number): void {
    if (length >= MIN_RUN_LENGTH) workerPool.count(length, this.#threads);
  }

  #lengths({ firstSequence, frameCount, finalLength }: Run) {
    return runLengths(this.#format.frameLength, firstSequence, frameCount, finalLength);
  }
}
