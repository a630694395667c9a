// One message in chunks of any size -> verified plaintext. Nothing leaves before the tag of its frame was verified; of
// a signed message the final frame waits for the signature.
import { asBuffer, concatBytes } from "../bytes.ts";
import { FINAL_FRAME_MARKER, NO_FINAL_FRAME, type OpenedFrames } from "../engine/engine.ts";
import { selectEngine } from "../engine/select-engine.ts";
import { FramesealError, notAuthentic, throwIfAborted } from "../errors.ts";
import { signatureLengthOf } from "../format/footer.ts";
import {
  FINAL_OVERHEAD,
  FINAL_PREFIX_LENGTH,
  NON_FRAMED_OVERHEAD,
  REGULAR_OVERHEAD,
} from "../format/frame.ts";
import { HeaderParser, readLimits, truncatedHeader } from "../format/header.ts";
import { MAX_FRAME_COUNT_READ } from "../format/limits.ts";
import { type DecryptOptions, type OpenedHeader, openHeader } from "../message/open-message.ts";
import { checkConcurrency } from "../message/seal-message.ts";
import {
  asyncFrom,
  type Emit,
  type FrameMachine,
  framesOfRun,
  RunQueue,
  runsInWork,
} from "./frame-machine.ts";
import { LongFrame } from "./long-frame.ts";
import type { OnHeader } from "./message-encryptor.ts";
import { Window } from "./window.ts";

type State = "header" | "frames" | "non-framed" | "footer" | "ended";

/** Decrypts one message. */
export class MessageDecryptor implements FrameMachine {
  readonly #options: DecryptOptions;
  readonly #onHeader: OnHeader;
  readonly #parser: HeaderParser;
  readonly #window = new Window();
  readonly #queue: RunQueue;
  readonly #maxPlaintextLength: number;
  #state: State = "header";
  #opened: OpenedHeader | undefined;
  #nextSequence = 1;
  #plaintextLength = 0;
  /** Verified plaintext of a signed message that waits for the signature. */
  #withheld: Uint8Array = new Uint8Array(0);
  /** The frame that is being opened while it arrives. */
  #longFrame: LongFrame | undefined;
  #disposed = false;

  /** @param prepared an unsigned header of frames that was verified before; what follows it comes in chunks */
  constructor(options: DecryptOptions, emit: Emit, onHeader: OnHeader, prepared?: OpenedHeader) {
    this.#options = options;
    this.#onHeader = onHeader;
    this.#parser = new HeaderParser(options);
    this.#queue = new RunQueue(emit, runsInWork(checkConcurrency(options.concurrency)));
    this.#maxPlaintextLength = options.plaintextLength ?? Number.POSITIVE_INFINITY;
    this.#opened = prepared;
    if (prepared !== undefined) this.#state = "frames";
  }

  async start(): Promise<void> {}

  absorb(chunks: readonly Uint8Array[]): void | Promise<void> {
    throwIfAborted(this.#options.signal);
    if (this.#state === "header") return this.#absorbHeader(chunks);
    for (const chunk of chunks) this.#window.push(chunk);
    return this.#advance();
  }

  #absorbHeader(chunks: readonly Uint8Array[]): void | Promise<void> {
    for (const [index, chunk] of chunks.entries()) {
      const rest = chunk.subarray(this.#parser.push(chunk));
      const parsed = this.#parser.header;
      if (parsed === undefined) continue;
      return openHeader(parsed, this.#options).then((opened) => {
        this.#opened = opened;
        if (this.#disposed) return opened.dispose();
        this.#state = parsed.contentType === "framed" ? "frames" : "non-framed";
        this.#onHeader(opened.header);
        return this.absorb([rest, ...chunks.slice(index + 1)]);
      });
    }
  }

  /** Works on what is in the window until more is needed. */
  #advance(): void | Promise<void> {
    for (;;) {
      const wait = this.#step();
      if (wait === "more") return this.#window.hold();
      if (wait !== undefined)
        return wait.then(() => {
          if (!this.#disposed) return this.#advance();
        });
    }
  }

  /** One step: a promise to wait for, nothing when it can go on at once, or "more" when bytes are missing. */
  #step(): void | Promise<void> | "more" {
    switch (this.#state) {
      case "frames":
        return this.#stepFrames();
      case "non-framed":
        return this.#stepNonFramed();
      case "footer":
        return this.#stepFooter();
      default:
        if (this.#window.length > 0)
          throw new FramesealError("TRAILING_DATA", "input goes on after the end of the message");
        return "more";
    }
  }

  #stepFrames(): void | Promise<void> | "more" {
    if (this.#longFrame !== undefined) return this.#stepLongFrame(this.#longFrame);
    const { header } = this.#openedHeader();
    const { frameLength } = header;
    const regularLength = frameLength + REGULAR_OVERHEAD;
    const available = this.#window.length;
    const maxCount = framesOfRun(Math.ceil(available / regularLength), frameLength);
    let frameCount = 0;
    let length = 0;
    while (frameCount < maxCount && length + 4 <= available) {
      if (this.#window.uint32(length) === FINAL_FRAME_MARKER) {
        const finalLength = this.#finalLength(length, available);
        if (finalLength !== undefined && finalLength > frameLength) {
          if (frameCount > 0) break; // those before it are released first
          throw notAuthentic();
        }
        if (finalLength === undefined || length + FINAL_OVERHEAD + finalLength > available) break;
        return this.#openFinal(frameCount, length + FINAL_OVERHEAD + finalLength, finalLength);
      }
      if (length + regularLength > available) break;
      frameCount += 1;
      length += regularLength;
    }
    if (frameCount > 0) return this.#releaseRun(frameCount, length, NO_FINAL_FRAME);
    if (available < FINAL_PREFIX_LENGTH || this.#window.uint32(0) === FINAL_FRAME_MARKER) return "more";
    return this.#startLongFrame() ? undefined : "more";
  }

  // Signed messages are hashed frame by frame, so theirs are collected.
  #startLongFrame(): boolean {
    const { cipher, header, verifier } = this.#openedHeader();
    if (verifier !== undefined || !LongFrame.isReady(cipher, header.frameLength, this.#window)) return false;
    const { firstSequence } = this.#claim(1, 0, NO_FINAL_FRAME); // first: limits are checked before memory is taken
    this.#longFrame = LongFrame.start(cipher, firstSequence, this.#window);
    return true;
  }

  #stepLongFrame(frame: LongFrame): void | Promise<void> | "more" {
    const plaintext = frame.advance(this.#window);
    if (plaintext === undefined) return "more";
    this.#longFrame = undefined;
    return this.#queue.add(plaintext);
  }

  // The length field of a final frame at `offset`, once it has arrived.
  #finalLength(offset: number, available: number): number | undefined {
    if (offset + FINAL_PREFIX_LENGTH > available) return undefined;
    return this.#window.uint32(offset + FINAL_PREFIX_LENGTH - 4);
  }

  #openFinal(frameCount: number, length: number, finalLength: number): void | Promise<void> {
    if (this.#openedHeader().verifier === undefined) {
      this.#state = "ended";
      return this.#releaseRun(frameCount, length, finalLength);
    }
    if (frameCount > 0)
      return this.#releaseRun(frameCount, length - FINAL_OVERHEAD - finalLength, NO_FINAL_FRAME);
    const { firstSequence, chunks } = this.#claim(0, length, finalLength);
    this.#window.drop(length);
    const final = this.#openedHeader().cipher.open(chunks, firstSequence, 0, finalLength);
    if (final.verifiedCount !== 1) throw notAuthentic();
    this.#withheld = final.plaintext;
    this.#state = "footer";
  }

  /**
   * Opens the first `length` bytes of the window, which hold whole frames, and releases them. If one is not authentic,
   * the verified frames before it are released, then the stream fails.
   */
  #releaseRun(frameCount: number, length: number, finalLength: number): void | Promise<void> {
    const { cipher, verifier } = this.#openedHeader();
    const { firstSequence, chunks, plaintextLength, hashed } = this.#claim(frameCount, length, finalLength);
    const expected = frameCount + (finalLength === NO_FINAL_FRAME ? 0 : 1);
    const check = (opened: OpenedFrames): void => {
      if (opened.verifiedCount !== expected) throw notAuthentic();
    };
    if (cipher.openAsync !== undefined && verifier === undefined && plaintextLength >= asyncFrom(cipher)) {
      const run = cipher.openAsync(chunks, firstSequence, frameCount, finalLength);
      this.#window.drop(length);
      let opened: OpenedFrames = { plaintext: new Uint8Array(0), verifiedCount: 0 };
      const plaintext = run.then((result) => {
        opened = result;
        return result.plaintext;
      });
      return this.#queue.add(plaintext, () => check(opened));
    }
    const opened = cipher.open(chunks, firstSequence, frameCount, finalLength);
    this.#window.drop(length);
    const plaintext = hashed === undefined ? opened.plaintext : hashed.then(() => opened.plaintext);
    return this.#queue.add(plaintext, () => check(opened));
  }

  // Takes the numbers of the next frames and checks them and their length against the limits.
  #claim(frameCount: number, length: number, finalLength: number) {
    const { header, verifier } = this.#openedHeader();
    const firstSequence = this.#nextSequence;
    const isFinal = finalLength !== NO_FINAL_FRAME;
    const lastSequence = firstSequence + frameCount - (isFinal ? 0 : 1);
    // A regular frame cannot have the last number: it would read as the marker.
    if (lastSequence > MAX_FRAME_COUNT_READ - (isFinal ? 0 : 1))
      throw new FramesealError("LIMIT_EXCEEDED", `message has more than ${MAX_FRAME_COUNT_READ} frames`);
    const plaintextLength = frameCount * header.frameLength + Math.max(0, finalLength);
    this.#countPlaintext(plaintextLength);
    this.#nextSequence = lastSequence + 1;
    const chunks = this.#window.slices(length);
    if (verifier === undefined) return { firstSequence, chunks, plaintextLength };
    // Another thread may read them, and what is hashed must be what is opened: so nobody else may have them.
    const own = concatBytes(chunks);
    const hashed = verifier.update(own);
    return { firstSequence, chunks: [own], plaintextLength, hashed };
  }

  #countPlaintext(length: number): void {
    this.#plaintextLength += length;
    if (this.#plaintextLength > this.#maxPlaintextLength)
      throw new FramesealError(
        "LIMIT_EXCEEDED",
        `plaintext is longer than the allowed ${this.#maxPlaintextLength} bytes`,
      );
  }

  #stepNonFramed(): void | Promise<void> | "more" {
    const { openNonFramed, verifier } = this.#openedHeader();
    const window = this.#window;
    if (window.length < 20) return "more";
    const length = window.uint32(12) * 2 ** 32 + window.uint32(16);
    const { maxNonFramedLength } = readLimits(this.#options);
    if (length > maxNonFramedLength)
      throw new FramesealError(
        "LIMIT_EXCEEDED",
        `message without frames has ${length} bytes, at most ${maxNonFramedLength} are allowed`,
      );
    this.#plaintextLength = 0;
    this.#countPlaintext(length);
    if (window.length < length + NON_FRAMED_OVERHEAD) return "more";
    const body = concatBytes(window.slices(length + NON_FRAMED_OVERHEAD));
    window.drop(body.length);
    verifier?.update(body);
    const plaintext = openNonFramed(body.subarray(0, 12), body.subarray(20));
    if (plaintext === null) throw notAuthentic();
    if (verifier === undefined) {
      this.#state = "ended";
      return this.#queue.add(plaintext);
    }
    this.#withheld = plaintext;
    this.#state = "footer";
  }

  #stepFooter(): void | Promise<void> | "more" {
    if (this.#window.length < 2) return "more";
    const length = signatureLengthOf(Buffer.concat(this.#window.slices(2)));
    if (this.#window.length < 2 + length) return "more";
    const signature = Buffer.concat(this.#window.slices(2 + length)).subarray(2);
    this.#window.drop(2 + length);
    const verified = this.#openedHeader().verifier?.verify(signature);
    return verified?.then((isValid) => this.#endSigned(isValid));
  }

  #endSigned(isValid: boolean): void | Promise<void> {
    if (this.#disposed) return;
    if (!isValid) throw notAuthentic();
    if (this.#window.length > 0)
      throw new FramesealError("TRAILING_DATA", "input goes on after the end of the message");
    this.#state = "ended";
    const plaintext = this.#withheld;
    this.#withheld = new Uint8Array(0);
    return this.#queue.add(plaintext);
  }

  async finish(): Promise<void> {
    throwIfAborted(this.#options.signal);
    await this.#queue.drain();
    if (this.#state === "header") throw truncatedHeader();
    if (this.#state !== "ended")
      throw new FramesealError(
        "TRUNCATED",
        this.#state === "footer"
          ? "input ends inside the signature"
          : `input ends before the final frame (frame ${this.#nextSequence})`,
      );
    this.#opened?.recordUse(this.#plaintextLength);
  }

  recycle(result: Uint8Array): void {
    asBuffer(result).fill(0);
    selectEngine(this.#options.engine).recycle?.(result);
  }

  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    await this.#queue.settle();
    asBuffer(this.#withheld).fill(0);
    this.#longFrame?.dispose();
    this.#window.wipe();
    this.#opened?.dispose();
  }

  #openedHeader(): OpenedHeader {
    if (this.#opened === undefined) throw new Error("internal error: header was not opened");
    return this.#opened;
  }
}
