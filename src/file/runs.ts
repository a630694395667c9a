// File to file without a pump: large reads one piece ahead, frames sealed or opened into memory that is used again and
// again, writes behind; and, for what arrives in pieces, for signed messages and for engines with threads of their own,
// the machines that the streams use.
import { NO_FINAL_FRAME } from "../engine/engine.ts";
import { notAuthentic } from "../errors.ts";
import { REGULAR_OVERHEAD } from "../format/frame.ts";
import type { MessageHeader } from "../format/header.ts";
import { bodyBytes, FrameWalk, trailingData, type WholeFrames } from "../message/frame-walk.ts";
import type { MessageSealer } from "../message/message-sealer.ts";
import type { DecryptOptions, OpenedHeader } from "../message/open-message.ts";
import type { EncryptOptions } from "../message/seal-message.ts";
import type { FrameMachine } from "../stream/frame-machine.ts";
import { MessageDecryptor } from "../stream/message-decryptor.ts";
import { MessageEncryptor } from "../stream/message-encryptor.ts";
import { untilAborted, untilNextTurn } from "../until-aborted.ts";
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
  const machine = new MessageEncryptor(options, output.emit, () => {}, fail, sealer);
  await feed(machine, input, [], options.signal);
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
    return feed(new MessageDecryptor(options, output.emit, () => {}, opened), input, [rest], options.signal);
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
  await feed(machine, input, head, options.signal);
  if (header === undefined) throw new Error("internal error: no header");
  return header;
}

// An engine that never answers is waited for until the caller aborts; its key is wiped when it has.
async function feed(
  machine: FrameMachine,
  input: Input,
  head: readonly Uint8Array[],
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    await untilAborted(machine.start(), signal);
    await untilAborted(machine.absorb(head), signal);
    for await (const piece of input.pieces()) {
      const work = machine.absorb([piece]);
      if (work !== undefined) await untilAborted(work, signal);
    }
    await untilAborted(machine.finish(), signal);
  } finally {
    const disposed = machine.dispose();
    await (signal?.aborted ? untilNextTurn(disposed) : disposed);
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
  readonly #walk: FrameWalk;

  constructor(opened: OpenedHeader, input: Input, output: Output, plaintextLength: number | undefined) {
    this.#opened = opened;
    this.#input = input;
    this.#output = output;
    this.#walk = new FrameWalk(opened.header.frameLength, plaintextLength);
  }

  /** @param rest what was read behind the header */
  async open(rest: Uint8Array): Promise<void> {
    const input = this.#input;
    const { frameLength } = this.#opened.header;
    const runLength = Math.floor(RUN_LENGTH / frameLength) * (frameLength + REGULAR_OVERHEAD);
    let buffer = input.buffer(runLength);
    buffer.set(rest);
    let length = rest.length + (await input.fill(buffer.subarray(rest.length)));
    for (;;) {
      const run = buffer.subarray(0, length);
      const ahead = input.buffer(runLength);
      const reading = length === buffer.length ? input.fill(ahead) : Promise.resolve(0);
      const frames = this.#walk.find(bodyBytes(run));
      const isWhole = frames.length === run.length && frames.finalLength === NO_FINAL_FRAME;
      if (!isWhole || run.length === 0) return this.#openEnd(run, ahead.subarray(0, await reading));
      await this.#openRun(run, frames);
      length = await reading;
      buffer = ahead;
    }
  }

  // The message ends in this run or the next one, or something is wrong with it there.
  async #openEnd(run: Buffer, ahead: Buffer): Promise<void> {
    const end = Buffer.concat([run, ahead]);
    const frames = this.#walk.find(bodyBytes(end));
    await this.#openRun(end, frames);
    if (frames.finalLength === NO_FINAL_FRAME) throw frames.fault ?? this.#walk.truncated();
    if (frames.length < end.length) throw trailingData();
  }

  async #openRun(bytes: Buffer, { frameCount, finalLength, length }: WholeFrames): Promise<void> {
    if (length === 0) return;
    const { cipher, header } = this.#opened;
    const firstSequence = this.#walk.take({ frameCount, finalLength });
    const chunks = [bytes.subarray(0, length)];
    let verifiedCount: number;
    if (cipher.openInto === undefined) {
      const opened = cipher.open(chunks, firstSequence, frameCount, finalLength);
      ({ verifiedCount } = opened);
      this.#output.add(opened.plaintext);
    } else {
      const memory = await this.#output.buffer(frameCount * header.frameLength + Math.max(0, finalLength));
      const opened = cipher.openInto(memory, chunks, firstSequence, frameCount, finalLength);
      ({ verifiedCount } = opened);
      this.#output.add(memory.subarray(0, opened.plaintextLength));
    }
    if (verifiedCount !== frameCount + (finalLength === NO_FINAL_FRAME ? 0 : 1)) throw notAuthentic();
  }
}
