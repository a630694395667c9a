// A Transform around a FrameMachine: backpressure, abort, errors and destruction. Knows no cryptography.
import { Transform, type TransformCallback } from "node:stream";
import { type Checks, signal, wholeNumber } from "../check-options.ts";
import { checkBytes } from "../engine/chunk-cursor.ts";
import { aborted } from "../errors.ts";
import { isBytes, isShared } from "../shapes.ts";
import { untilNextTurn } from "../until-aborted.ts";
import type { Emit, FrameMachine } from "./frame-machine.ts";

/** What both directions take besides their message options. */
export interface StreamOptions {
  /** Bytes the readable side buffers before it waits for its reader; by default 1 MiB. */
  readonly highWaterMark?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What they must be. */
export const STREAM_OPTIONS: Checks<StreamOptions> = { highWaterMark: wholeNumber(0), signal };

const DEFAULT_HIGH_WATER_MARK = 1024 * 1024;
/** Smaller chunks wait for the others of their turn. */
const GATHER_UP_TO = 512 * 1024;
const isLarge = (chunk: unknown): boolean => isBytes(chunk) && chunk.length >= GATHER_UP_TO;

type OnWritten = (error: Error | null | undefined) => void;

/**
 * The stream that `createEncryptStream` and `createDecryptStream` return. It emits `header` with the MessageHeader once
 * that is made or verified. Chunks that are written are borrowed until their callback; chunks that are read belong to
 * the reader. It has no `length`, `size` or `path`, which uploaders would mistake for those of the data.
 */
export class FrameTransform extends Transform {
  readonly #machine: FrameMachine;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => {
    if (this.#signal !== undefined) this.destroy(aborted(this.#signal));
  };
  #work: void | Promise<void> = undefined;
  #isConstructed = false;
  #isGathering = false;
  readonly #onTurnEnd = (): void => {
    this.#isGathering = false;
    this.uncork();
  };
  #wake: (() => void) | undefined;
  #failure: { readonly reason: Error } | undefined;

  constructor(createMachine: (emit: Emit, stream: FrameTransform) => FrameMachine, options: StreamOptions) {
    const highWaterMark = options.highWaterMark ?? DEFAULT_HIGH_WATER_MARK;
    super({
      readableHighWaterMark: highWaterMark,
      writableHighWaterMark: highWaterMark,
      decodeStrings: true,
    });
    this.#machine = createMachine((bytes) => this.#emitBytes(bytes), this);
    this.#signal = options.signal;
    if (this.#signal?.aborted) process.nextTick(this.#onAbort);
    else this.#signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  /** As in `Writable`. Several small chunks of one turn are worked on together. */
  override write(chunk: unknown, callback?: OnWritten): boolean;
  override write(chunk: unknown, encoding: BufferEncoding, callback?: OnWritten): boolean;
  override write(chunk: unknown, encodingOrCallback?: unknown, callback?: OnWritten): boolean {
    if (!this.#isGathering && !isLarge(chunk)) {
      this.#isGathering = true;
      this.cork(); // so that they come to `_writev`, where one call of the engine takes them all
      process.nextTick(this.#onTurnEnd);
    }
    return super.write(chunk, encodingOrCallback as BufferEncoding, callback);
  }

  override _construct(done: (error?: Error | null) => void): void {
    // Deferred: the subclass fields of a machine made in the constructor must exist first.
    process.nextTick(() => {
      this.#work = this.#machine.start();
      this.#work.then(() => {
        this.#isConstructed = true;
        done();
      }, done);
    });
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#absorb([chunk], done);
  }

  override _writev(chunks: { readonly chunk: Buffer }[], done: TransformCallback): void {
    this.#absorb(
      chunks.map(({ chunk }) => chunk),
      done,
    );
  }

  #absorb(chunks: readonly Buffer[], done: TransformCallback): void {
    this.#attempt(() => this.#machine.absorb(chunks), done);
  }

  #attempt(absorb: () => void | Promise<void>, done: TransformCallback): void {
    // Node hands on chunks that were queued before a failure; the machine must not see them.
    if (this.#failure !== undefined) {
      done(this.#failure.reason);
      return;
    }
    const fail = (reason: Error): void => {
      this.#failure = { reason };
      done(reason);
    };
    // A throw would escape from the caller's write().
    try {
      const work = absorb();
      if (work === undefined) done();
      else {
        this.#work = work;
        work.then(() => done(), fail);
      }
    } catch (error) {
      fail(error as Error);
    }
  }

  /**
   * Gives back a chunk that was read and that nobody needs any more, so that later ones find its memory warm in the cache
   * instead of waiting for the garbage collector: worth a fifth more speed to a reader that is done with each chunk at
   * once. Never needed. `chunk`, which must be as it was read, and all other views of its memory are empty afterwards, and
   * plaintext is wiped. What shares its memory with anything else is left to the collector.
   */
  recycle(chunk: Uint8Array): void {
    checkBytes("chunk", chunk);
    const { buffer, byteLength } = chunk;
    if (byteLength === buffer.byteLength && !isShared(chunk)) this.#machine.recycle(chunk);
  }

  override _flush(done: TransformCallback): void {
    const work = this.#machine.finish();
    this.#work = work;
    work.then(() => done(), done);
  }

  override _read(size: number): void {
    this.#resume();
    super._read(size);
  }

  override destroy(error?: Error): this {
    super.destroy(error);
    // Node waits for the end of the construction, which may wait for a key service that never answers.
    if (!this.#isConstructed) void this.#machine.dispose();
    return this;
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#signal?.removeEventListener("abort", this.#onAbort);
    this.#resume();
    // An engine that never answers must not keep the stream from closing; its key is wiped when it has.
    const settled = Promise.allSettled([this.#work, this.#machine.dispose()]);
    void untilNextTurn(settled).then(() => done(error));
  }

  #emitBytes(bytes: Uint8Array): void | Promise<void> {
    if (bytes.length === 0 || this.destroyed) return;
    if (this.push(bytes)) return;
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #resume(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
