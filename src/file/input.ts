// The reading side of a file operation: counts, reports, stops when it is aborted or when the other side has failed.
import { type Checks, callback, signal } from "../check-options.ts";
import { readSome } from "../disk/calls.ts";
import type { Pump, PumpResult } from "../engine/engine.ts";
import { throwIfAborted } from "../errors.ts";
import { isThenable } from "../shapes.ts";
import { untilAborted } from "../until-aborted.ts";
import { BufferRing } from "./buffer-ring.ts";
import type { FileSource, PumpEnd } from "./source.ts";

/** One read, one call of the engine and one write; whole frames of about this many bytes of plaintext. */
export const RUN_LENGTH = 1024 * 1024;
/** How often progress of a pump is told. */
const PROGRESS_INTERVAL_MS = 100;

/** What an `Input` is told by the caller. */
export interface InputOptions {
  /**
   * Told now and then how many bytes of input are done, and how many there are if that is known. What it throws, or its
   * promise rejects with, ends the operation.
   */
  readonly onProgress?: ((bytesRead: number, inputLength: number | undefined) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What they must be. */
export const INPUT_OPTIONS: Checks<InputOptions> = { onProgress: callback, signal };

/** Reads, counts and reports; stops when aborted or when the other side has failed. */
export class Input {
  readonly #source: FileSource;
  readonly #options: InputOptions;
  readonly #stop = new AbortController();
  readonly #onAbort = (): void => this.#stop.abort(this.#options.signal?.reason);
  readonly #buffers = new BufferRing();
  #reading: Promise<unknown> = Promise.resolve();
  /** What to stop with; an object, since anything can be thrown. */
  #failure: { readonly error: unknown } | undefined;
  /** Promises of `onProgress` that have not been kept yet. */
  readonly #told = new Set<Promise<void>>();
  /** Bytes read. */
  length = 0;

  constructor(source: FileSource, options: InputOptions) {
    this.#source = source;
    this.#options = options;
    if (options.signal?.aborted) this.#onAbort();
    else options.signal?.addEventListener("abort", this.#onAbort, { once: true });
  }
  get size(): number | undefined {
    return this.#source.size;
  }
  get waits(): boolean {
    return this.#source.waits;
  }

  /** Makes reading fail with `error`. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#stop.abort();
  }

  /** Memory for reading at most `length` bytes at a time. It is used again after `BUFFER_COUNT` more calls. */
  buffer(length: number): Buffer {
    // One byte more than a file has, so that a read that is not filled tells its end.
    return this.#buffers.next(Math.min(length, (this.size ?? Infinity) + 1));
  }

  /** Fills `buffer`; fewer bytes mean the end. */
  fill(buffer: Uint8Array): Promise<number> {
    const reading = this.#fill(buffer);
    this.#reading = reading;
    reading.catch(() => {}); // reported to whoever waits for it
    return reading;
  }

  async #fill(buffer: Uint8Array): Promise<number> {
    this.#check();
    const count = await this.#source.fill(buffer, this.#options.signal);
    this.#count(count);
    return count;
  }

  /** See `FileSource.pumpEnd`. */
  pumpEnd(): Promise<PumpEnd | undefined> {
    return this.#source.pumpEnd();
  }

  /** Throws if the file has changed. */
  checkUnchanged(): Promise<void> {
    return this.#source.checkUnchanged();
  }

  /** Waits for a pump that reads instead of `fill`; stops it when this operation is stopped. */
  async watch(pump: Pump): Promise<PumpResult> {
    const before = this.length;
    const cancel = (): void => pump.cancel();
    const { signal } = this.#stop;
    signal.addEventListener("abort", cancel, { once: true });
    const timer = setInterval(() => this.#tell(before + pump.bytesRead()), PROGRESS_INTERVAL_MS);
    try {
      this.#check();
      const result = await pump.done;
      this.#source.advance(result.bytesRead);
      this.#count(result.bytesRead);
      return result;
    } finally {
      clearInterval(timer);
      signal.removeEventListener("abort", cancel);
      pump.cancel();
      await pump.done; // its threads use the descriptors
    }
  }

  /** Reads what there is, from where the pump will read on; none means the end. */
  async readAhead(end: PumpEnd, buffer: Uint8Array): Promise<number> {
    if (!this.waits) return this.fill(buffer);
    const { signal } = this.#options;
    const count = await untilAborted(readSome(end.descriptor, buffer, null, signal), signal);
    this.#count(count);
    return count;
  }

  /** All bytes in pieces; each may be reused when the next one is asked for. */
  async *pieces(): AsyncGenerator<Uint8Array, void, void> {
    if (!this.waits) return yield* this.#filled();
    try {
      for await (const piece of this.#source.arrivals(this.#stop.signal)) {
        this.#count(piece.length);
        yield piece;
      }
    } catch (error) {
      throw this.#failure === undefined ? error : this.#failure.error;
    }
  }

  async *#filled(): AsyncGenerator<Uint8Array, void, void> {
    let buffer = this.buffer(RUN_LENGTH);
    for (let reading: Promise<number> | undefined = this.fill(buffer); reading !== undefined; ) {
      const count: number = await reading;
      const piece = buffer.subarray(0, count);
      reading = undefined;
      if (count === buffer.length) {
        buffer = this.buffer(RUN_LENGTH);
        reading = this.fill(buffer);
      }
      if (count > 0) yield piece;
    }
  }

  #count(count: number): void {
    this.length += count;
    this.#check();
    this.#tell(this.length);
    this.#check();
  }

  // Also called by a timer, whose errors nobody would catch.
  #tell(done: number): void {
    try {
      const kept: unknown = this.#options.onProgress?.(done, this.size);
      if (!isThenable(kept)) return;
      const told: Promise<void> = Promise.resolve(kept)
        .then(
          () => {},
          (error: unknown) => this.fail(error),
        )
        .then(() => void this.#told.delete(told));
      this.#told.add(told);
    } catch (error) {
      this.fail(error);
    }
  }

  /** Waits until everything that `onProgress` was told is done; throws what it failed with. */
  async settled(): Promise<void> {
    await untilAborted(Promise.all(this.#told), this.#options.signal);
    this.#check();
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
    throwIfAborted(this.#options.signal);
  }

  /** Waits for a read that is under way: it still uses the descriptor and the memory. */
  async close(): Promise<void> {
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
    await this.#reading.catch(() => {});
    this.#buffers.wipe();
    await this.#source.close();
  }
}
