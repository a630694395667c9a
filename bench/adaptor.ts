// What is measured, in one shape: an adaptor makes the subject of a trial inside a child process.
import type { Transform } from "node:stream";

/** What varies between trials; an adaptor takes what it understands. Lengths in bytes. */
export interface TrialOptions {
  readonly size: number;
  readonly frameLength: number;
  /** Bytes of one chunk that a stream is given. */
  readonly chunkLength: number;
  /** Bytes that a stream is given again and again until it has `size`; by default 4 MiB. */
  readonly sourceLength?: number;
  /** Runs in work at a time, hence threads. */
  readonly concurrency: number;
  readonly suite: number;
  /** Name of the engine, such as `native:aesni`; only for ours. */
  readonly engine?: string | undefined;
  /** Whether results go into memory that is used again. */
  readonly reuse: boolean;
  /** The file or the address that the subject works on. */
  readonly place?: string;
}

/** Whole buffers in, whole buffers out. The result is valid until the next call. */
export interface BufferSubject {
  seal(plaintext: Uint8Array): Uint8Array | Promise<Uint8Array>;
  open(sealed: Uint8Array): Uint8Array | Promise<Uint8Array>;
  /** What `seal` and `open` need once a message or less often, alone: expanding the key. Timed by trials of that. */
  setUp?(): unknown;
  /** Called with a result that the trial has dropped, where the subject can use the memory again. */
  recycle?(result: Uint8Array): void;
}

/** Streams that process one message each. */
export interface StreamSubject {
  sealStream(): Transform;
  openStream(): Transform;
  /** Called with a chunk that the sink has dropped, where the subject can use the memory again. */
  recycle?(chunk: Uint8Array): void;
}

/** One thing that can be measured. */
export interface Adaptor<S> {
  /**
   * What `seal` makes. Subjects of one format must open each other's results before any of them is timed; undefined for
   * a format of its own, of which only the way there and back is checked.
   */
  readonly format?: string;
  /** Lengths that subjects of this format exchange, where it does not hold any. */
  readonly sizes?: (options: TrialOptions) => readonly number[];
  /** @throws Absent when it cannot run here */
  create(options: TrialOptions): Promise<S>;
}

/** Why a subject is not measured. */
export class Absent extends Error {
  override readonly name = "Absent";
}
