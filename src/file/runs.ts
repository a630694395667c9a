// File to file without a pump: large reads one piece ahead, frames sealed or opened into memory that is used again and
// again, writes behind; and, for what arrives in pieces, for signed messages and for engines with threads of their own,
// the machines that the streams use.
import { FINAL_FRAME_MARKER, NO_FINAL_FRAME } from "../engine/engine.ts";
import { FramesealError, notAuthentic } from "../errors.ts";
import { FINAL_OVERHEAD, FINAL_PREFIX_LENGTH, REGULAR_OVERHEAD } from "../format/frame.ts";
import type { MessageHeader } from "../format/header.ts";
import { MAX_FRAME_COUNT_READ } from "../format/limits.ts";
import type { MessageSealer } from "../message/message-sealer.ts";
import type { DecryptOptions, OpenedHeader } from "../message/open-message.ts";
import type { EncryptOptions } from "../message/seal-message.ts";
import type { FrameMachine } from "../stream/frame-machine.ts";
import { MessageDecryptor } from "../stream/message-decryptor.ts";
import { MessageEncryptor } from "../stream/message-encryptor.ts";
import { type Input, RUN_LENGTH } from "./input.ts";
import type { Output } from "./output.ts";
import { MAX_RUN_FRAME_LENGTH } from "./pump.ts";

/** Seals the whole input. The caller disposes of the sealer. */
export async function sealFile(
  sealer: MessageSealer,
  input: Input,
  output: Output,
  options: EncryptOptions,
): Promise<void> {
  const isAlone = !sealer.signed && !sealer.parallel;
  if (!input.waits && isAlone && sealer.header.frameLength <= MAX_RUN_FRAME_LENGTH)
    return sealRuns(sealer, input, output);
  const fail = (error: unknown): void => input.fail(error);
  await feed(new MessageEncryptor(options, output.emit, () => {}, fail, sealer), input, []);
}

/**
 * Opens the frames of an unsigned message, and tells the keyring.
 * @param rest what was read behind the header
 */
export async function openFile(
  opened: OpenedHeader,
  input: Input,
  output: Output,
  options: DecryptOptions,
  rest: Buffer,
): Promise<void> {
  if (input.waits || opened.cipher.openAsync !== undefined)
    return feed(new MessageDecryptor(options, output.emit, () => {}, opened), input, [rest]);
  await new RunOpener(opened, input, output, options.plaintextLength).open(rest);
  opened.recordUse(output.length);
}

/** Opens any message; returns its verified header. */
export async function openByMachine(
  input: Input,
  output: Output,
  options: DecryptOptions,
  head: readonly Uint8Array[],
): Promise<MessageHeader> {
  let header: MessageHeader | undefined;
  const machine = new MessageDecryptor(options, output.emit, (verified) => {
    header = verified;
  });
  await feed(machine, input, head);
  if (header === undefined) throw new Error("internal error: no header");
  return header;
}

async function feed(machine: FrameMachine, input: Input, head: readonly Uint8Array[]): Promise<void> {
  try {
    await machine.start();
    await machine.absorb(head);
    for await (const piece of input.pieces()) {
      const work = machine.absorb([piece]);
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
