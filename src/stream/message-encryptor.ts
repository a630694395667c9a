// Plaintext in chunks of any size -> one message. Whole frames are sealed as they come; what is left at the end, which may
// be nothing, is the final frame.

import { NO_FINAL_FRAME } from "../engine/engine.ts";
import { selectEngine } from "../engine/select-engine.ts";
import { throwIfAborted } from "../errors.ts";
import type { MessageHeader } from "../format/header.ts";
import { MessageSealer } from "../message/message-sealer.ts";
import { type EncryptOptions, prepareFrames, threadCount } from "../message/seal-message.ts";
import {
  asyncFrom,
  type Emit,
  FLUSH_DELAY_MS,
  type FrameMachine,
  framesOfRun,
  GATHER_LENGTH,
  KeyWait,
  type OnError,
  RunQueue,
  runsInWork,
} from "./frame-machine.ts";
import { Window } from "./window.ts";

/** Told when the header is made (encrypting) or verified (decrypting). */
export type OnHeader = (header: MessageHeader) => void;

/** Encrypts one message. */
export class MessageEncryptor implements FrameMachine {
  readonly #options: EncryptOptions;
  readonly #onHeader: OnHeader;
  readonly #onError: OnError;
  readonly #window = new Window();
  readonly #queue: RunQueue;
  readonly #keyWait = new KeyWait();
  #sealer: MessageSealer | undefined;
  /** Runs while gathered frames wait for more. */
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> | undefined;
  #disposed = false;

  /** @param prepared a sealer made before, which this object then owns */
  constructor(
    options: EncryptOptions,
    emit: Emit,
    onHeader: OnHeader,
    onError: OnError,
    prepared?: MessageSealer,
  ) {
    this.#options = options;
    this.#onHeader = onHeader;
    this.#onError = onError;
    this.#queue = new RunQueue(emit, runsInWork(threadCount(options.concurrency)));
    this.#sealer = prepared;
  }

  start(): Promise<void> {
    return this.#keyWait.for(this.#start());
  }

  async #start(): Promise<void> {
    if (this.#disposed) return;
    if (this.#sealer === undefined) {
      const sealer = new MessageSealer(await prepareFrames(this.#options));
      if (this.#disposed) return sealer.dispose();
      this.#sealer = sealer;
    }
    this.#onHeader(this.#sealer.header);
  }

  absorb(chunks: readonly Uint8Array[]): void | Promise<void> {
    if (this.#flushing !== undefined)
      return this.#flushing.then(() => {
        if (!this.#disposed) return this.absorb(chunks);
      });
    throwIfAborted(this.#options.signal);
    const sealer = this.#started();
    const { frameLength } = sealer.header;
    for (const chunk of chunks) {
      sealer.checkBound(this.#window.length + chunk.length);
      this.#window.push(chunk);
    }
    const certain = Math.floor(this.#window.length / frameLength) * frameLength;
    if (certain >= GATHER_LENGTH) {
      this.#stopTimer();
      return this.#sealRuns(sealer);
    }
    this.#window.hold();
    if (certain > 0) this.#timer ??= setTimeout(() => this.#flush(sealer), FLUSH_DELAY_MS);
  }

  #flush(sealer: MessageSealer): void {
    this.#timer = undefined;
    const done = (error?: unknown): void => {
      this.#flushing = undefined;
      if (error !== undefined) this.#onError(error);
    };
    try {
      this.#flushing = this.#sealRuns(sealer)?.then(done, done);
    } catch (error) {
      done(error);
    }
  }

  #sealRuns(sealer: MessageSealer): void | Promise<void> {
    const { frameLength } = sealer.header;
    while (this.#window.length >= frameLength) {
      const certain = Math.floor(this.#window.length / frameLength);
      const wait = this.#sealRun(sealer, framesOfRun(certain, frameLength), NO_FINAL_FRAME);
      if (wait !== undefined)
        return wait.then(() => {
          if (!this.#disposed) return this.#sealRuns(sealer);
        });
    }
    this.#window.hold();
  }

  #sealRun(sealer: MessageSealer, frameCount: number, finalLength: number): void | Promise<void> {
    const length = frameCount * sealer.header.frameLength + Math.max(0, finalLength);
    const chunks = this.#window.slices(length);
    const run =
      sealer.parallel && length >= asyncFrom(sealer.cipher)
        ? sealer.sealAsync(chunks, frameCount, finalLength)
        : sealer.seal(chunks, frameCount, finalLength);
    this.#window.drop(length);
    return this.#queue.add(run);
  }

  async finish(): Promise<void> {
    throwIfAborted(this.#options.signal);
    this.#stopTimer();
    await this.#flushing;
    if (this.#disposed) return;
    const sealer = this.#started();
    const { frameLength } = sealer.header;
    const frameCount = Math.floor(this.#window.length / frameLength);
    await this.#sealRun(sealer, frameCount, this.#window.length - frameCount * frameLength);
    await this.#queue.drain();
  }

  recycle(result: Uint8Array): void {
    selectEngine(this.#options.engine).recycle?.(result);
  }

  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#keyWait.end();
    this.#stopTimer();
    await this.#queue.settle();
    this.#window.wipe();
    this.#sealer?.dispose();
  }

  #stopTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #started(): MessageSealer {
    if (this.#sealer === undefined) throw new Error("internal error: not started");
    return this.#sealer;
  }
}
