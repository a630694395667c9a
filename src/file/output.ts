// The writing side of a file operation.
import type { Durability } from "../disk/new-file.ts";
import { BUFFER_COUNT, BufferRing } from "./buffer-ring.ts";
import type { PumpEnd } from "./source.ts";
import type { FileTarget, PlannedTarget } from "./target.ts";

/** Writes in order, behind the work. The target is opened when there is something verified to write. */
export class Output {
  readonly #planned: PlannedTarget;
  readonly #onError: (error: unknown) => void;
  readonly #buffers = new BufferRing();
  #target: FileTarget | undefined;
  #tail: Promise<void> = Promise.resolve();
  readonly #writes: Promise<void>[] = [];
  /** Bytes written or on their way. */
  length = 0;

  constructor(planned: PlannedTarget, onError: (error: unknown) => void) {
    this.#planned = planned;
    this.#onError = onError;
  }

  /** Memory for a result, when the write that used it last has ended. */
  async buffer(length: number): Promise<Buffer> {
    if (this.#writes.length >= BUFFER_COUNT - 1) await this.#writes.shift();
    return this.#buffers.next(length);
  }

  /** The descriptor for a pump, where nothing has been added yet. See `FileTarget.pumpEnd`. */
  async pumpEnd(): Promise<PumpEnd | undefined> {
    this.#target ??= await this.#planned.open();
    return this.#target.pumpEnd();
  }

  /** Appends `bytes`, which must not change until they are written: see `buffer`. */
  add(bytes: Uint8Array): void {
    this.length += bytes.length;
    const write = this.#tail.then(() => this.#write(bytes));
    write.catch(this.#onError);
    this.#tail = write;
    this.#writes.push(write);
  }

  /** Appends bytes that nobody changes; resolves when there is room for more. */
  readonly emit = (bytes: Uint8Array): void | Promise<void> => {
    this.add(bytes);
    if (this.#writes.length >= BUFFER_COUNT) return this.#writes.shift();
  };

  async #write(bytes: Uint8Array): Promise<void> {
    this.#target ??= await this.#planned.open();
    if (bytes.length > 0) await this.#target.write(bytes);
  }

  /** See `FileTarget.writeError`. */
  writeError(error: Error): unknown {
    return this.#target === undefined ? error : this.#target.writeError(error);
  }

  async commit(): Promise<Durability> {
    this.add(new Uint8Array(0)); // opens the target of an empty plaintext
    await this.#tail;
    this.#buffers.wipe();
    return (await this.#target?.commit()) ?? "not-synced";
  }

  /** What was verified before a failure still reaches a pipe; a file is removed. */
  async discard(): Promise<void> {
    await this.#tail.catch(() => {});
    this.#buffers.wipe();
    await this.#target?.discard();
  }
}
