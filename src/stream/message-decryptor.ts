// One message in chunks of any size -> verified plaintext. Nothing leaves before the tag of its frame was verified; of
// a signed message the final frame waits for the signature.
import { asBuffer, concatBytes } from "../bytes.ts";
import { FINAL_FRAME_MARKER, NO_FINAL_FRAME, type OpenedFrames } from "../engine/engine.ts";
import { selectEngine } from "../engine/select-engine.ts";
import { notAuthentic, throwIfAborted } from "../errors.ts";
import { signatureLengthOf } from "../format/footer.ts";
import { FINAL_OVERHEAD, NON_FRAMED_PREFIX_LENGTH, REGULAR_OVERHEAD } from "../format/frame.ts";
import { HeaderParser, readLimits, truncatedHeader } from "../format/header.ts";
import {
  FrameWalk,
  measureNonFramed,
  trailingData,
  truncatedBody,
  truncatedSignature,
} from "../message/frame-walk.ts";
import { type DecryptOptions, type OpenedHeader, openHeader } from "../message/open-message.ts";
import { threadCount } from "../message/seal-message.ts";
import {
  asyncFrom,
  type Emit,
  type FrameMachine,
  framesOfRun,
  KeyWait,
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
  readonly #keyWait = new KeyWait();
  #state: State = "header";
  #opened: OpenedHeader | undefined;
  #walk: FrameWalk | undefined;
  /** Of a body without frames. */
  #singleLength = 0;
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
    this.#queue = new RunQueue(emit, runsInWork(threadCount(options.concurrency)));
    this.#opened = prepared;
    if (prepared !== undefined) this.#startFrames(prepared);
  }

  #startFrames({ header }: OpenedHeader): void {
    this.#walk = new FrameWalk(header.frameLength, this.#options.plaintextLength);
    this.#state = "frames";
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
      const opening = openHeader(parsed, this.#options).then((opened) => {
        if (this.#disposed) return opened.dispose();
        this.#opened = opened;
        if (parsed.contentType === "framed") this.#startFrames(opened);
        else this.#state = "non-framed";
        this.#onHeader(opened.header);
        return this.absorb([rest, ...chunks.slice(index + 1)]);
      });
      return this.#keyWait.for(opening);
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
        return this.#window.length > 0 ? this.#fail(trailingData()) : "more";
    }
  }

  /** Fails when everything before has been opened and has come out. */
  #fail(fault: Error): Promise<never> {
    return Promise.resolve(this.#queue.drain()).then(() => {
      throw fault;
    });
  }

  #stepFrames(): void | Promise<void> | "more" {
    if (this.#longFrame !== undefined) return this.#stepLongFrame(this.#longFrame);
    const { frameLength } = this.#openedHeader().header;
    const available = Math.ceil(this.#window.length / (frameLength + REGULAR_OVERHEAD));
    const { frameCount, finalLength, length, fault } = this.#frames().find(
      this.#window,
      framesOfRun(available, frameLength),
    );
    if (finalLength !== NO_FINAL_FRAME) return this.#openFinal(frameCount, length, finalLength);
    if (frameCount > 0) return this.#releaseRun(frameCount, length, NO_FINAL_FRAME);
    if (fault !== undefined) return this.#fail(fault);
    return this.#startLongFrame() ? undefined : "more";
  }

  // Signed messages are hashed frame by frame, so theirs are collected.
  #startLongFrame(): boolean {
    const { cipher, header, verifier } = this.#openedHeader();
    const isRegular = this.#window.length >= 4 && this.#window.uint32(0) !== FINAL_FRAME_MARKER;
    if (!isRegular || verifier !== undefined || !LongFrame.isReady(cipher, header.frameLength, this.#window))
      return false;
    this.#longFrame = LongFrame.start(cipher, this.#frames().nextSequence, this.#window);
    return true;
  }

  #stepLongFrame(frame: LongFrame): void | Promise<void> | "more" {
    const plaintext = frame.advance(this.#window);
    if (plaintext === undefined) return "more";
    this.#longFrame = undefined;
    this.#frames().take({ frameCount: 1, finalLength: NO_FINAL_FRAME });
    return this.#queue.add(plaintext);
  }

  #openFinal(frameCount: number, length: number, finalLength: number): void | Promise<void> {
    if (this.#openedHeader().verifier === undefined) {
      this.#state = "ended";
      return this.#releaseRun(frameCount, length, finalLength);
    }
    if (frameCount > 0)
      return this.#releaseRun(frameCount, length - FINAL_OVERHEAD - finalLength, NO_FINAL_FRAME);
    // What comes before it fails first.
    const before = this.#queue.drain();
    if (before !== undefined) return before;
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

  // Takes the numbers of the next frames, and their bytes.
  #claim(frameCount: number, length: number, finalLength: number) {
    const { header, verifier } = this.#openedHeader();
    const firstSequence = this.#frames().take({ frameCount, finalLength });
    const plaintextLength = frameCount * header.frameLength + Math.max(0, finalLength);
    const chunks = this.#window.slices(length);
    if (verifier === undefined) return { firstSequence, chunks, plaintextLength };
    // Another thread may read them, and what is hashed must be what is opened: so nobody else may have them.
    const own = concatBytes(chunks);
    const hashed = verifier.update(own);
    return { firstSequence, chunks: [own], plaintextLength, hashed };
  }

  #stepNonFramed(): void | Promise<void> | "more" {
    const { openNonFramed, verifier } = this.#openedHeader();
    const window = this.#window;
    const { maxNonFramedLength } = readLimits(this.#options);
    const measured = measureNonFramed(window, maxNonFramedLength, this.#options.plaintextLength);
    if (measured === undefined || window.length < measured.length) return "more";
    this.#singleLength = measured.plaintextLength;
    const body = concatBytes(window.slices(measured.length));
    window.drop(body.length);
    verifier?.update(body);
    const plaintext = openNonFramed(body.subarray(0, 12), body.subarray(NON_FRAMED_PREFIX_LENGTH));
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
    if (this.#window.length > 0) throw trailingData();
    this.#state = "ended";
    const plaintext = this.#withheld;
    this.#withheld = new Uint8Array(0);
    return this.#queue.add(plaintext);
  }

  async finish(): Promise<void> {
    throwIfAborted(this.#options.signal);
    await this.#queue.drain();
    if (this.#state === "header") throw truncatedHeader();
    if (this.#state === "frames") throw this.#frames().truncated();
    if (this.#state === "non-framed") throw truncatedBody();
    if (this.#state === "footer") throw truncatedSignature();
    this.#opened?.recordUse(this.#walk?.plaintextLength ?? this.#singleLength);
  }

  recycle(result: Uint8Array): void {
    asBuffer(result).fill(0);
    selectEngine(this.#options.engine).recycle?.(result);
  }

  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#keyWait.end();
    await this.#queue.settle();
    asBuffer(this.#withheld).fill(0);
    this.#longFrame?.dispose();
    this.#window.wipe();
    this.#opened?.dispose();
  }

  #frames(): FrameWalk {
    if (this.#walk === undefined) throw new Error("internal error: header was not opened");
    return this.#walk;
  }

  #openedHeader(): OpenedHeader {
    if (this.#opened === undefined) throw new Error("internal error: header was not opened");
    return this.#opened;
  }
}
