// The lifecycle that both directions and both kinds of stream share: bytes are absorbed, results go out in order, a
// reader that is slow is waited for, and a failure is final. Knows no cryptography.

import type { FrameCipher } from "../engine/engine.ts";
import { isBytes } from "../shapes.ts";

/** Told of a failure that happens outside any call. */
export type OnError = (error: unknown) => void;

/** Takes a result; returns a promise when it must be waited for before more may come. */
export type Emit = (bytes: Uint8Array) => void | Promise<void>;

/** What a stream feeds. One call at a time; after an error only `dispose` may follow. */
export interface FrameMachine {
  /** Prepares keys. */
  start(): Promise<void>;
  /** Takes chunks. They are not used after the call, or the promise it returns, has completed. */
  absorb(chunks: readonly Uint8Array[]): void | Promise<void>;
  /** The input has ended. */
  finish(): Promise<void>;
  /** Frees the memory of a result that nobody needs any more, see `FrameTransform.recycle`. */
  recycle(result: Uint8Array): void;
  /** Wipes keys after work in flight has ended, without waiting for a key service. Safe at any time, more than once. */
  dispose(): Promise<void>;
}

/** Ends the wait for a key service, which may never answer, when a machine is disposed of. */
export class KeyWait {
  #end: () => void = () => {};
  readonly #ended = new Promise<void>((resolve) => {
    this.#end = resolve;
  });
  /** Settles as `work` does, or when the wait has ended. `work` then still owns the key that it gets. */
  for(work: Promise<void>): Promise<void> {
    return Promise.race([work, this.#ended]);
  }
  end(): void {
    this.#end();
  }
}

/** Plaintext bytes gathered into one call of the engine: large enough that its fixed cost vanishes. */
export const RUN_LENGTH = 1024 * 1024;

/** How many of `available` frames go into the next run: what is left over joins it rather than make a small one. */
export function framesOfRun(available: number, frameLength: number): number {
  const usual = Math.max(1, Math.floor(RUN_LENGTH / frameLength));
  return available < 1.5 * usual ? available : usual;
}

/**
 * Frames are gathered until an output of this many bytes is ready, because uploaders refuse small chunks (8 KiB for S3)
 * and every chunk costs its reader something.
 */
export const GATHER_LENGTH = 64 * 1024;
/** Frames that are complete are not kept waiting for more for longer than this. */
export const FLUSH_DELAY_MS = 5;
/** Below this many bytes work is done on the calling thread, unless the engine knows better. */
export const MIN_ASYNC_RUN_LENGTH = 256 * 1024;

/** From how many bytes on a run of `cipher` goes to another thread. */
export function asyncFrom(cipher: FrameCipher): number {
  return cipher.asyncFrom ?? MIN_ASYNC_RUN_LENGTH;
}

/**
 * How many runs of one message are in work with `threads` threads: some wait for those before them, and one is there
 * when a thread is free.
 */
export const runsInWork = (threads: number): number => threads + 2;

/** Emits results in the order they were added, with a bounded number in work. */
export class RunQueue {
  readonly #emit: Emit;
  readonly #limit: number;
  #tail: Promise<void> = Promise.resolve();
  #waiting: Promise<void>[] = [];

  constructor(emit: Emit, limit: number) {
    this.#emit = emit;
    this.#limit = limit;
  }

  /**
   * Adds a result or a promise of one; `afterwards` is called when it has been emitted and may throw. Wait for what
   * this returns before adding more.
   */
  add(result: Uint8Array | Promise<Uint8Array>, afterwards?: () => void): void | Promise<void> {
    if (this.#waiting.length === 0 && isBytes(result)) {
      const wait = this.#emit(result);
      return wait === undefined ? afterwards?.() : wait.then(afterwards);
    }
    const done = Promise.all([this.#tail, result]).then(async ([, bytes]) => {
      await this.#emit(bytes);
      afterwards?.();
      this.#waiting.shift();
    });
    done.catch(() => {}); // reported by whoever waits next
    this.#tail = done;
    this.#waiting.push(done);
    if (this.#waiting.length >= this.#limit) return this.#waiting[0];
  }

  /** Resolves when everything added has been emitted. */
  drain(): void | Promise<void> {
    if (this.#waiting.length > 0) return this.#tail;
  }

  /** Resolves when nothing is in work any more, whether it failed or not. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.#waiting);
  }
}
