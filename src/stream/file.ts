// File to file: large reads one piece ahead, frames sealed or opened into memory that is used again and again, writes
// behind. Messages and inputs for which that does not pay go through the machines that the streams use.

import type { BigIntStats } from "node:fs";
import { wipe } from "../bytes.ts";
import { FINAL_FRAME_MARKER, NO_FINAL_FRAME } from "../engine/engine.ts";
import { FramesealError, notAuthentic, throwIfAborted } from "../errors.ts";
import { FINAL_OVERHEAD, FINAL_PREFIX_LENGTH, REGULAR_OVERHEAD } from "../format/frame.ts";
import { HeaderParser, type MessageHeader, type ReadLimits, truncatedHeader } from "../format/header.ts";
import { MAX_FRAME_COUNT_READ } from "../format/limits.ts";
import { type DecryptOptions, type OpenedHeader, openHeader, publicHeader } from "../message/open-message.ts";
import { type EncryptOptions, MessageSealer, prepareFrames } from "../message/seal-message.ts";
import { type FileEnd, type FileSource, openFileSource } from "./file-source.ts";
import {
  type FileTarget,
  type FileTargetOptions,
  type PlannedTarget,
  planFileTarget,
} from "./file-target.ts";
import type { FrameMachine } from "./frame-machine.ts";
import { MessageDecryptor } from "./message-decryptor.ts";
import { MessageEncryptor } from "./message-encryptor.ts";

/** What file operations take besides message options. */
export interface FileOptions extends FileTargetOptions {
  /** Told now and then how many bytes of input are done, and how many there are if that is known. */
  readonly onProgress?: ((bytesRead: number, inputLength: number | undefined) => void) | undefined;
}

/** Options of `encryptFile`. */
export type EncryptFileOptions = EncryptOptions & FileOptions;
/** Options of `decryptFile`. */
export type DecryptFileOptions = DecryptOptions & FileOptions;
/** Options of `verifyFile`. */
export type VerifyFileOptions = DecryptOptions & Pick<FileOptions, "onProgress">;

/** What a file operation did. */
export interface FileResult {
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly plaintextLength: number;
  readonly header: MessageHeader;
}

/** One read, one call of the engine and one write; whole frames of about this many bytes of plaintext. */
const RUN_LENGTH = 1024 * 1024;
/** Longer frames are not worth memory of a fixed size: a hostile header could ask for much of it. */
const MAX_RUN_FRAME_LENGTH = RUN_LENGTH;
/** Read at a time until the header is complete. */
const HEAD_LENGTH = 64 * 1024;
/** Buffers on each side: one in the kernel, one in the engine, one on its way. */
const BUFFER_COUNT = 3;

/**
 * Encrypts a file into a file that appears under its name only when it is complete.
 *
 * `to` must not exist unless `overwrite` is `replace`; its folder must. It gets mode 0600 unless `mode` says otherwise.
 * Symbolic links are followed in `from` and refused in `to`; `from` and `to` must not be one file, under two names
 * either. Other hard links of a replaced file keep its old contents. Pipes, terminals, devices and descriptors are read
 * to their end and written as they are: there is no name to protect, and after a failure they have a beginning of the
 * message. Temporary files are named `.NAME.tmp-XXXXXXXX`; those of processes that were killed are removed by the next
 * operation on the same name.
 * @throws Error with the system's code for what the file system refuses: EEXIST, EISDIR, ENOSPC and so on; EBUSY when
 * `from` changed while it was read
 * @throws what `encrypt` throws. Nothing is left behind then.
 */
export async function encryptFile(
  from: FileEnd,
  to: FileEnd,
  options: EncryptFileOptions,
): Promise<FileResult> {
  return withEnds(from, to, options, async (input, output) => {
    const plaintextLength = Math.min(options.plaintextLength ?? Infinity, input.size ?? Infinity);
    const bounded = plaintextLength === Infinity ? options : { ...options, plaintextLength };
    const sealer = new MessageSealer(await prepareFrames(bounded));
    try {
      if (input.waits || sealer.signed || sealer.header.frameLength > MAX_RUN_FRAME_LENGTH) {
        const fail = (error: unknown): void => input.fail(error);
        await feed(new MessageEncryptor(options, output.emit, () => {}, fail, sealer), input, []);
      } else await sealRuns(sealer, input, output);
      return { plaintextLength: input.length, header: sealer.header };
    } finally {
      sealer.dispose();
    }
  });
}

/**
 * Decrypts a file into a file that appears under its name only when every byte of the message was verified. Files are
 * treated as `encryptFile` does. Pipes and descriptors get verified frames only, but get them before the end of the
 * message is known: discard what they got when this fails.
 * @throws Error with the system's code, as `encryptFile`
 * @throws what `decrypt` throws. Nothing is left behind then.
 */
export async function decryptFile(
  from: FileEnd,
  to: FileEnd,
  options: DecryptFileOptions,
): Promise<FileResult> {
  return withEnds(from, to, options, (input, output) => openMessageFrom(input, output, options));
}

/**
 * Decrypts a file and writes nothing: resolves when every byte of the message was verified.
 * @throws as `decryptFile`
 */
export async function verifyFile(from: FileEnd, options: VerifyFileOptions): Promise<FileResult> {
  return withEnds(from, undefined, options, (input, output) => openMessageFrom(input, output, options));
}

type Done = Pick<FileResult, "plaintextLength" | "header">;

// Opens both ends, and sees that each is closed, complete or gone.
async function withEnds(
  from: FileEnd,
  to: FileEnd | undefined,
  options: FileOptions,
  work: (input: Input, output: Output) => Promise<Done>,
): Promise<FileResult> {
  throwIfAborted(options.signal);
  const source = await openFileSource(from);
  const input = new Input(source, options);
  try {
    const planned = to === undefined ? nowhere : await planFileTarget(to, options);
    refuseSameFile(source, planned.stats);
    const output = new Output(planned, (error) => input.fail(error));
    try {
      const done = await work(input, output);
      await source.checkUnchanged();
      throwIfAborted(options.signal);
      await output.commit();
      return { bytesRead: input.length, bytesWritten: output.length, ...done };
    } catch (error) {
      await output.discard().catch(() => {}); // the failure that led here is the one to report
      throw error;
    }
  } finally {
    await input.close();
  }
}

function refuseSameFile(source: FileSource, target: BigIntStats | undefined): void {
  const { dev, ino } = source.stats;
  if (target?.isFile() && target.dev === dev && target.ino === ino)
    throw new RangeError('"to" expected another file than "from", got the same one');
}

/** What `verifyFile` writes to. */
const nowhere: PlannedTarget = {
  stats: undefined,
  open: async () => ({ write: async () => {}, commit: async () => {}, discard: async () => {} }),
};

/** Reads, counts and reports; stops when aborted or when the other side has failed. */
class Input {
  readonly #source: FileSource;
  readonly #options: FileOptions;
  readonly #stop = new AbortController();
  readonly #onAbort = (): void => this.#stop.abort(this.#options.signal?.reason);
  readonly #buffers = new BufferRing();
  #reading: Promise<unknown> = Promise.resolve();
  #failure: unknown;
  /** Bytes read. */
  length = 0;

  constructor(source: FileSource, options: FileOptions) {
    this.#source = source;
    this.#options = options;
    options.signal?.addEventListener("abort", this.#onAbort, { once: true });
  }
  get size(): number | undefined {
    return this.#source.size;
  }
  get waits(): boolean {
    return this.#source.waits;
  }

  /** Makes reading fail with `error`. */
  fail(error: unknown): void {
    this.#failure ??= error;
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
    const count = await this.#source.fill(buffer);
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
      throw this.#failure ?? error;
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
    this.#options.onProgress?.(this.length, this.size);
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
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

/** Writes in order, behind the work. The target is opened when there is something verified to write. */
class Output {
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

  async commit(): Promise<void> {
    this.add(new Uint8Array(0)); // opens the target of an empty plaintext
    await this.#tail;
    this.#buffers.wipe();
    await this.#target?.commit();
  }

  /** What was verified before a failure still reaches a pipe; a file is removed. */
  async discard(): Promise<void> {
    await this.#tail.catch(() => {});
    this.#buffers.wipe();
    await this.#target?.discard();
  }
}

/** A few buffers of one length that take turns, made when they are first needed. */
class BufferRing {
  readonly #buffers: Buffer[] = [];
  #turn = 0;

  next(length: number): Buffer {
    const index = this.#turn % BUFFER_COUNT;
    this.#turn += 1;
    let buffer = this.#buffers[index];
    if (buffer === undefined || buffer.length < length) {
      buffer = Buffer.allocUnsafeSlow(length);
      this.#buffers[index] = buffer;
    }
    return buffer.subarray(0, length);
  }
  wipe(): void {
    for (const buffer of this.#buffers) wipe(buffer);
    this.#buffers.length = 0;
  }
}

async function feed(machine: FrameMachine, input: Input, head: readonly Uint8Array[]): Promise<void> {
  try {
    await machine.start();
    for (const piece of head) await machine.absorb(piece);
    for await (const piece of input.pieces()) {
      const work = machine.absorb(piece);
      if (work !== undefined) await work;
    }
    await machine.finish();
  } finally {
    await machine.dispose();
  }
}

// Seals what was read while the next piece is being read. A run is the last when nothing comes after it.
async function sealRuns(sealer: MessageSealer, input: Input, output: Output): Promise<void> {
  const { frameLength } = sealer.header;
  const framesPerRun = Math.floor(RUN_LENGTH / frameLength);
  const runLength = framesPerRun * frameLength;
  let buffer = input.buffer(runLength);
  let length = await input.fill(buffer);
  let ahead = buffer;
  let reading: Promise<number> | undefined;
  const readAhead = (): void => {
    ahead = input.buffer(runLength);
    reading = input.fill(ahead);
  };
  if (length === buffer.length) readAhead();
  for (;;) {
    const run = buffer.subarray(0, length);
    const nextLength = reading === undefined ? 0 : await reading;
    buffer = ahead;
    length = nextLength;
    reading = undefined;
    if (nextLength > 0 && nextLength === ahead.length) readAhead();
    const isFinal = nextLength === 0;
    const frameCount = isFinal ? Math.floor(run.length / frameLength) : framesPerRun;
    const finalLength = isFinal ? run.length - frameCount * frameLength : NO_FINAL_FRAME;
    const memory = await output.buffer(run.length + sealer.sealedOverhead(frameCount + 1));
    output.add(sealer.sealInto(memory, [run], frameCount, finalLength));
    if (isFinal) return;
  }
}

async function openMessageFrom(input: Input, output: Output, options: DecryptOptions): Promise<Done> {
  if (input.waits) return openByMachine(input, output, options, []);
  const parser = new HeaderParser(options);
  const head: Buffer[] = [];
  let rest = Buffer.alloc(0);
  while (parser.header === undefined) {
    const piece = Buffer.allocUnsafeSlow(Math.min(HEAD_LENGTH, (input.size ?? HEAD_LENGTH) + 1));
    const length = await input.fill(piece);
    if (length === 0) throw truncatedHeader();
    head.push(piece.subarray(0, length));
    rest = piece.subarray(parser.push(piece.subarray(0, length)), length);
  }
  const { header } = parser;
  const byRuns =
    header.contentType === "framed" &&
    header.suite.signature === "none" &&
    header.frameLength <= MAX_RUN_FRAME_LENGTH;
  if (!byRuns) return openByMachine(input, output, options, head);
  const opened = await openHeader(header, options);
  try {
    await new RunOpener(opened, input, output, options.plaintextLength).open(rest);
    opened.recordUse(output.length);
    return { plaintextLength: output.length, header: opened.header };
  } finally {
    opened.dispose();
  }
}

async function openByMachine(
  input: Input,
  output: Output,
  options: DecryptOptions,
  head: readonly Uint8Array[],
): Promise<Done> {
  let header: MessageHeader | undefined;
  const machine = new MessageDecryptor(options, output.emit, (verified) => {
    header = verified;
  });
  await feed(machine, input, head);
  if (header === undefined) throw new Error("internal error: no header");
  return { plaintextLength: output.length, header };
}

/** Opens the frames of an unsigned message, read in runs that begin at a frame. */
class RunOpener {
  readonly #opened: OpenedHeader;
  readonly #input: Input;
  readonly #output: Output;
  readonly #maxPlaintextLength: number;
  readonly #sealedFrameLength: number;
  #nextSequence = 1;

  constructor(opened: OpenedHeader, input: Input, output: Output, plaintextLength: number | undefined) {
    this.#opened = opened;
    this.#input = input;
    this.#output = output;
    this.#maxPlaintextLength = plaintextLength ?? Infinity;
    this.#sealedFrameLength = opened.header.frameLength + REGULAR_OVERHEAD;
  }

  /** @param rest what was read behind the header */
  async open(rest: Uint8Array): Promise<void> {
    const input = this.#input;
    const runLength = Math.floor(RUN_LENGTH / this.#opened.header.frameLength) * this.#sealedFrameLength;
    let buffer = input.buffer(runLength);
    buffer.set(rest);
    let length = rest.length + (await input.fill(buffer.subarray(rest.length)));
    for (;;) {
      const run = buffer.subarray(0, length);
      const ahead = input.buffer(runLength);
      const reading = length === buffer.length ? input.fill(ahead) : Promise.resolve(0);
      const { frameCount, end } = this.#count(run);
      if (end === "final frame") return this.#openEnd(run, frameCount, ahead.subarray(0, await reading));
      await this.#openRun(
        [run.subarray(0, frameCount * this.#sealedFrameLength)],
        frameCount,
        NO_FINAL_FRAME,
      );
      length = await reading;
      buffer = ahead;
      if (length === 0 || frameCount * this.#sealedFrameLength < run.length) throw this.#truncated();
    }
  }

  // Regular frames that are complete, up to the final one if that begins in this run.
  #count(run: Buffer): { frameCount: number; end: "final frame" | "more" } {
    let frameCount = 0;
    for (let at = 0; at + 4 <= run.length; at += this.#sealedFrameLength) {
      if (run.readUInt32BE(at) === FINAL_FRAME_MARKER) return { frameCount, end: "final frame" };
      if (at + this.#sealedFrameLength > run.length) break;
      frameCount += 1;
    }
    return { frameCount, end: "more" };
  }

  async #openEnd(run: Buffer, frameCount: number, ahead: Buffer): Promise<void> {
    const at = frameCount * this.#sealedFrameLength;
    const available = run.length + ahead.length;
    const prefix = Buffer.concat([
      run.subarray(at, at + FINAL_PREFIX_LENGTH),
      ahead.subarray(0, FINAL_PREFIX_LENGTH),
    ]);
    const finalLength =
      prefix.length < FINAL_PREFIX_LENGTH ? 0 : prefix.readUInt32BE(FINAL_PREFIX_LENGTH - 4);
    const end = at + FINAL_OVERHEAD + finalLength;
    if (end > available || finalLength > this.#opened.header.frameLength) {
      await this.#openRun([run.subarray(0, at)], frameCount, NO_FINAL_FRAME);
      throw finalLength > this.#opened.header.frameLength ? notAuthentic() : this.#truncated();
    }
    const chunks = [run.subarray(0, end), ahead.subarray(0, Math.max(0, end - run.length))];
    await this.#openRun(chunks, frameCount, finalLength);
    if (end < available)
      throw new FramesealError("TRAILING_DATA", "input goes on after the end of the message");
  }

  async #openRun(chunks: readonly Uint8Array[], frameCount: number, finalLength: number): Promise<void> {
    const { cipher, header } = this.#opened;
    const firstSequence = this.#nextSequence;
    const isFinal = finalLength !== NO_FINAL_FRAME;
    const expected = frameCount + (isFinal ? 1 : 0);
    if (expected === 0) return;
    // A regular frame cannot have the last number: it would read as the marker.
    if (firstSequence + expected - 1 > MAX_FRAME_COUNT_READ - (isFinal ? 0 : 1))
      throw new FramesealError("LIMIT_EXCEEDED", `message has more than ${MAX_FRAME_COUNT_READ} frames`);
    this.#nextSequence += expected;
    const length = frameCount * header.frameLength + Math.max(0, finalLength);
    if (this.#output.length + length > this.#maxPlaintextLength)
      throw new FramesealError(
        "LIMIT_EXCEEDED",
        `plaintext is longer than the allowed ${this.#maxPlaintextLength} bytes`,
      );
    let verifiedCount: number;
    if (cipher.openInto === undefined) {
      const opened = cipher.open(chunks, firstSequence, frameCount, finalLength);
      ({ verifiedCount } = opened);
      this.#output.add(opened.plaintext);
    } else {
      const memory = await this.#output.buffer(length);
      const opened = cipher.openInto(memory, chunks, firstSequence, frameCount, finalLength);
      ({ verifiedCount } = opened);
      this.#output.add(memory.subarray(0, opened.plaintextLength));
    }
    if (verifiedCount !== expected) throw notAuthentic();
  }

  #truncated(): FramesealError {
    return new FramesealError("TRUNCATED", `input ends before the final frame (frame ${this.#nextSequence})`);
  }
}

/** What `inspectFile` tells. */
export interface InspectedFile extends MessageHeader {
  readonly headerLength: number;
  /** Bytes of the whole input, where that is known without reading it. */
  readonly messageLength: number | undefined;
}

/**
 * Reads the header of a message and tells what it says. Nothing of it is verified, and no key is needed.
 * @throws Error with the system's code; what `inspectHeader` throws
 */
export async function inspectFile(
  from: FileEnd,
  options: ReadLimits & { readonly signal?: AbortSignal | undefined } = {},
): Promise<InspectedFile> {
  const source = await openFileSource(from);
  const input = new Input(source, options);
  try {
    const parser = new HeaderParser(options);
    for await (const piece of input.pieces()) {
      parser.push(piece);
      if (parser.header !== undefined)
        return {
          ...publicHeader(parser.header),
          headerLength: parser.header.length,
          messageLength: input.size,
        };
    }
    throw truncatedHeader();
  } finally {
    await input.close();
  }
}
