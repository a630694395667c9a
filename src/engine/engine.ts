// What an engine is: AES-GCM over bytes, with nonces of 12 and tags of 16 bytes. It knows nothing of headers, keyrings
// or S3. Frames are known only as far as a run of them must be sealed in one call: their layout on the wire, and an
// AAD of a fixed prefix, the sequence number and the length.

export const NONCE_LENGTH = 12;
export const TAG_LENGTH = 16;

/** Bytes a regular frame adds: sequence number (4), nonce (12), tag (16). */
export const REGULAR_FRAME_OVERHEAD = 32;
/** Bytes of a regular frame before its ciphertext: sequence number (4), nonce (12). */
export const FRAME_HEAD_LENGTH = 16;
/** Bytes the final frame adds: marker (4), sequence number (4), nonce (12), length (4), tag (16). */
export const FINAL_FRAME_OVERHEAD = 40;
/** First four bytes of the final frame. */
export const FINAL_FRAME_MARKER = 0xffffffff;
/** As `finalLength` of a run: the run does not end the message. */
export const NO_FINAL_FRAME = -1;
/** Largest plaintext of one GCM call: 2^36 − 32 bytes. (SP 800-38D, 5.2.1.1) */
export const MAX_GCM_LENGTH = 2 ** 36 - 32;

/** Makes keys. Any object with this shape can be given as the `engine` option. */
export interface Engine {
  /** `native`, `node`, `web`, or the name of your own. */
  readonly name: string;
  /** What does the work inside, such as `vaes256` or `node:crypto`. */
  readonly kernel: string;
  /**
   * Expands a key of 16, 24 or 32 bytes once, for many calls. The bytes are copied: the caller may wipe them as soon
   * as this returns.
   */
  createKey(rawKey: Uint8Array): AeadKey;
  /**
   * Frees the memory of a result that nobody needs any more, so that the next result finds it warm in the cache instead
   * of waiting for the garbage collector. `result` and all other views of its buffer are empty afterwards. Absent when
   * the engine cannot.
   */
  recycle?(result: Uint8Array): void;
  /**
   * Starts a SHA-2 hash that runs on another thread beside the frames; with `concurrency` 1, on the caller's. Absent, or
   * undefined, when the engine or the process has none: then the caller hashes and signs without it.
   */
  startHash?(bits: HashBits, concurrency?: number): BackgroundHash | undefined;
}

/** Bits of a SHA-2 digest. */
export type HashBits = 256 | 384 | 512;

/** The hash of one long message, made on another thread. */
export interface BackgroundHash {
  /**
   * Adds bytes, in the order of the calls. A promise means that another thread reads them: until it is settled, nobody
   * may change or transfer them.
   */
  update(bytes: Uint8Array): void | Promise<void>;
  /** Waits for all bytes and returns the digest. Nothing may be called afterwards. */
  digest(): Promise<Uint8Array>;
  /**
   * Waits for all bytes and signs them (ECDSA, DER) with `privateKey` (ECPrivateKey of RFC 5915 with its public key, DER),
   * which the caller wipes. The signature (r, s) has `length` bytes: where it has others, it is negated to (r, order - s),
   * or made again. Nothing may be called afterwards.
   */
  sign(privateKey: Uint8Array, order: Uint8Array, length: number): Promise<Uint8Array>;
  /**
   * Waits for all bytes and tells whether `signature` (ECDSA, DER) is one of them under `publicKey`
   * (SubjectPublicKeyInfo). Nothing may be called afterwards.
   */
  verify(publicKey: Uint8Array, signature: Uint8Array): Promise<boolean>;
  /** Lets go of a hash that nobody will finish. Safe to call more than once, and after the end. */
  dispose(): void;
}

/** One expanded AES-GCM key. */
export interface AeadKey {
  /** Returns ciphertext ‖ tag in memory that the caller owns. Never call twice with one nonce. */
  seal(nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array;
  /** Opens ciphertext ‖ tag. Returns the plaintext in memory that the caller owns, or null if it is not authentic. */
  open(nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | null;
  /**
   * Seals and opens frames of one message under this key. `threads`, by default 1, is how many threads may work on them,
   * the caller's among them; an engine may use fewer. With the synchronous calls the others are done with the caller's
   * memory when the call returns. With 1 there are no asynchronous calls.
   */
  frameCipher(format: FrameFormat, threads?: number): FrameCipher;
  /** Starts sealing one message in pieces of any length. */
  startSeal(nonce: Uint8Array, aad: Uint8Array): GcmSealer;
  /** Starts opening one message in pieces of any length. */
  startOpen(nonce: Uint8Array, aad: Uint8Array): GcmOpener;
  /** Works on parts of one message in any order; absent when the engine cannot. */
  readonly segments?: SegmentCipher | undefined;
  /**
   * Wipes the key. Calls that are under way finish first; calls after it throw. Must be called once by whoever called
   * `createKey`.
   */
  dispose(): void;
}

/** What all frames of one message have in common. The engine copies it. */
export interface FrameFormat {
  /** Plaintext bytes of a regular frame. */
  readonly frameLength: number;
  /** AAD of a regular frame before its sequence number (4 bytes) and its length (8 bytes), both big-endian. */
  readonly regularAadPrefix: Uint8Array;
  /** The same for the final frame. */
  readonly finalAadPrefix: Uint8Array;
}

/**
 * Seals and opens runs of frames: `frameCount` regular frames numbered from `firstSequence` on and, unless
 * `finalLength` is NO_FINAL_FRAME, the final frame behind them with `finalLength` bytes of plaintext (0 up to the
 * frame length). The input is given as chunks, cut anywhere, whose lengths add up to exactly the run; the methods
 * throw an internal error otherwise. On the wire:
 *
 *     regular: sequence u32 ‖ nonce 12 ‖ ciphertext ‖ tag 16
 *     final:   FFFFFFFF ‖ sequence u32 ‖ nonce 12 ‖ length u32 ‖ ciphertext ‖ tag 16
 *
 * When sealing, the nonce is 8 zero bytes ‖ sequence u32. When opening, the stored nonce is used as it is.
 */
export interface FrameCipher {
  /**
   * From how many bytes of plaintext on a run is better sent to another thread than worked on here: below, copying it
   * and the way there and back take longer than the work. May change from call to call, and is infinite while no other
   * thread is ready. Absent: 256 KiB.
   */
  readonly asyncFrom?: number | undefined;
  /**
   * Returns `headroom` bytes for the caller to fill, then the sealed frames, in memory that the caller owns. The chunks
   * are not used after the call has returned.
   */
  seal(
    chunks: readonly Uint8Array[],
    firstSequence: number,
    frameCount: number,
    finalLength: number,
    headroom: number,
  ): Uint8Array;
  /** Opens frames; sequence numbers, marker and final length must be as expected. Each byte is read once. */
  open(
    chunks: readonly Uint8Array[],
    firstSequence: number,
    frameCount: number,
    finalLength: number,
  ): OpenedFrames;
  /**
   * Like `seal` without headroom, into memory of the caller that no chunk overlaps; returns how many bytes were
   * written. Absent when the engine cannot.
   */
  sealInto?(
    output: Uint8Array,
    chunks: readonly Uint8Array[],
    firstSequence: number,
    frameCount: number,
    finalLength: number,
  ): number;
  /** Like `open`, into memory of the caller that no chunk overlaps. Absent when the engine cannot. */
  openInto?(
    output: Uint8Array,
    chunks: readonly Uint8Array[],
    firstSequence: number,
    frameCount: number,
    finalLength: number,
  ): OpenedInto;
  /** Starts one regular frame with this number and the nonce stored in it. Absent when the engine cannot. */
  readonly startOpen?: ((sequence: number, nonce: Uint8Array) => FrameOpener) | undefined;
  /**
   * Like `seal`, on another thread unless those have enough to do; absent when the engine has none. The chunks are not
   * used after the call has returned. Errors are rejections.
   */
  sealAsync?(
    chunks: readonly Uint8Array[],
    firstSequence: number,
    frameCount: number,
    finalLength: number,
    headroom: number,
  ): Promise<Uint8Array>;
  /** The same for `open`. */
  openAsync?(
    chunks: readonly Uint8Array[],
    firstSequence: number,
    frameCount: number,
    finalLength: number,
  ): Promise<OpenedFrames>;
  /**
   * Seals or opens all frames of a message, from number 1 to the final one, on threads of its own that read and write
   * themselves. A plaintext of whole frames ends in an empty final frame. Absent when the engine cannot; undefined, with
   * nothing read or written, when the system has no thread for it now.
   */
  readonly startPump?: ((direction: "seal" | "open", ends: PumpEnds) => Pump | undefined) | undefined;
}

/** Where a pump reads and writes. Descriptors are borrowed; those of pipes must not block. */
export interface PumpEnds {
  readonly input: number;
  /** Where to read on in a file; -1: where the descriptor stands. */
  readonly inputAt: number;
  /** -1: what was opened is verified and dropped. */
  readonly output: number;
  /** Where to write on in a file; -1: in order, where the descriptor stands. */
  readonly outputAt: number;
  /** Bytes that the output will have, to be reserved on disk at once; 0 if that is not known. */
  readonly reservedLength: number;
  /** Sealing: written first. Opening: bytes that were read already. Copied. */
  readonly head: Uint8Array;
  /** Bytes of plaintext; one more is a failure. */
  readonly maxPlaintextLength: number;
  /** Highest sequence number that the final frame may have. */
  readonly maxFrameCount: number;
  /** From 1 to 64. */
  readonly threads: number;
}

/** How a pump ended. Frames before a failure, and only those, have been written. */
export type PumpStatus =
  | "done"
  | "cancelled"
  | "not authentic"
  | "truncated"
  | "trailing data"
  | "too long"
  | "too many frames"
  | "read failed"
  | "write failed";

/** What a pump did. */
export interface PumpResult {
  readonly status: PumpStatus;
  /** The system's error number behind `read failed` and `write failed`. */
  readonly errorNumber: number;
  /** Frames before the failure. */
  readonly frameCount: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly plaintextLength: number;
}

/** All frames of a message on their way from one descriptor to another. */
export interface Pump {
  /** Resolves when no thread uses the descriptors any more, whatever became of it. */
  readonly done: Promise<PumpResult>;
  /** Bytes of input so far, without `head`. */
  bytesRead(): number;
  /** Ends it soon, also when it waits for the other side of a pipe. */
  cancel(): void;
}

/**
 * Opens one regular frame whose ciphertext arrives in pieces, so that long frames need not be collected first. What it has
 * opened stays inside until the tag was verified.
 */
export interface FrameOpener {
  /** Bytes of ciphertext that are still missing. */
  readonly missing: number;
  /** Opens the next bytes, a multiple of 16 unless they are the last. They are read once, and not after the call. */
  update(chunks: readonly Uint8Array[]): void;
  /**
   * Compares the tag of 16 bytes in constant time. Returns the plaintext in memory that the caller owns, or null if the
   * frame is not authentic; it has been wiped then. No other method may be called afterwards.
   */
  finish(tag: Uint8Array): Uint8Array | null;
  /** Wipes what was opened of a frame that will not be finished. */
  dispose(): void;
}

/** What `openInto` did. */
export interface OpenedInto {
  /** Bytes of verified plaintext at the start of the output; the rest of what was asked for has been wiped. */
  readonly plaintextLength: number;
  readonly verifiedCount: number;
}

/** What came out of a run. */
export interface OpenedFrames {
  /** The plaintext of the verified frames before the first bad one, in memory that the caller owns. */
  readonly plaintext: Uint8Array;
  /** How many frames, the final one included, were verified. Less than asked for: the next one is not authentic. */
  readonly verifiedCount: number;
}

/** Seals one GCM message in pieces; in total at most MAX_GCM_LENGTH bytes. */
export interface GcmSealer {
  /** Returns as many bytes of ciphertext as bytes were given, in memory that the caller owns. */
  update(plaintext: Uint8Array): Uint8Array;
  /** Returns the tag. Neither method may be called afterwards. */
  final(): Uint8Array;
  /** Wipes a message that will not be finished; does nothing to one that is. Absent when the engine needs none. */
  dispose?(): void;
}

/** Opens one GCM message in pieces. */
export interface GcmOpener {
  /** Returns plaintext that is NOT verified: it must not leave the caller's hands before `final` returned true. */
  update(ciphertext: Uint8Array): Uint8Array;
  /** Compares the tag in constant time. Neither method may be called afterwards. */
  final(tag: Uint8Array): boolean;
  /** Wipes a message that will not be finished; does nothing to one that is. Absent when the engine needs none. */
  dispose?(): void;
}

/**
 * Seals and opens parts of one GCM message independently, in any order and on any number of cores, and makes the tag
 * from what each part contributes. Every part but the last of the message must be a multiple of 16 bytes long.
 *
 * `firstBlock` is the offset of the part in the message divided by 16. Seal one part twice only with the same bytes:
 * the keystream depends on key, nonce and position alone.
 */
export interface SegmentCipher {
  /** @param output memory for the ciphertext that no chunk overlaps; an engine may take memory of its own instead */
  seal(
    nonce: Uint8Array,
    firstBlock: number,
    chunks: readonly Uint8Array[],
    output?: Uint8Array,
  ): SealedSegment;
  /** The plaintext is NOT verified: it must not leave the caller's hands before the tag of `finish` was compared. */
  open(nonce: Uint8Array, firstBlock: number, chunks: readonly Uint8Array[]): OpenedSegment;
  /** Like `seal`, with the work on other threads; the chunks are copied before the call returns. */
  sealAsync?(nonce: Uint8Array, firstBlock: number, chunks: readonly Uint8Array[]): Promise<SealedSegment>;
  /** Like `open`, with the work on other threads; the chunks are copied before the call returns. */
  openAsync?(nonce: Uint8Array, firstBlock: number, chunks: readonly Uint8Array[]): Promise<OpenedSegment>;
  /** Returns the tag of the message made of the parts `partials`, in their order in the message. */
  finish(nonce: Uint8Array, aad: Uint8Array, partials: readonly SegmentPartial[]): Uint8Array;
}

/**
 * What one part contributes to the tag. Secret: together with the ciphertext it gives the authentication key away, so
 * it must not be stored or logged.
 */
export interface SegmentPartial {
  /** GHASH over the ciphertext of the part alone, 16 bytes. */
  readonly ghash: Uint8Array;
  /** Bytes in the part. */
  readonly length: number;
}

/** A part of one GCM message, sealed. */
export interface SealedSegment {
  readonly ciphertext: Uint8Array;
  readonly partial: SegmentPartial;
}

/** A part of one GCM message, opened; not verified. */
export interface OpenedSegment {
  readonly plaintext: Uint8Array;
  readonly partial: SegmentPartial;
}

/** How the engine in use came to be chosen. */
export interface EngineInfo {
  readonly engine: string;
  readonly kernel: string;
  /** Instruction-set extensions found, when the engine can tell. */
  readonly cpuFeatures: readonly string[];
  /** One sentence per decision, such as why the native engine is not used. */
  readonly reason: string;
}
