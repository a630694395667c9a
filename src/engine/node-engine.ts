// AES-GCM on node:crypto: the engine that works everywhere Node does, and the oracle that others are compared with.
// Node expands the key anew for every GCM call; nothing can be done about that from JavaScript.
import {
  type CipherGCM,
  type CipherGCMTypes,
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  type DecipherGCM,
  type KeyObject,
} from "node:crypto";
import { ChunkCursor, checkBytes, checkLength, unshared } from "./chunk-cursor.ts";
import {
  type AeadKey,
  type Engine,
  FINAL_FRAME_MARKER,
  FINAL_FRAME_OVERHEAD,
  type FrameCipher,
  type FrameFormat,
  type GcmOpener,
  type GcmSealer,
  NO_FINAL_FRAME,
  NONCE_LENGTH,
  type OpenedFrames,
  type OpenedInto,
  REGULAR_FRAME_OVERHEAD,
  TAG_LENGTH,
} from "./engine.ts";
import { addLength, checkChunks, checkFrameFormat, checkOutput, runLengths } from "./frame-run.ts";
import { NodeSegments } from "./node-segments.ts";
import { allocate } from "./output-memory.ts";

/** The engine on `node:crypto`. */
export const nodeEngine: Engine = {
  name: "node",
  kernel: "node:crypto",
  createKey: (rawKey) => new NodeKey(rawKey),
};

const ALGORITHMS = new Map<number, CipherGCMTypes>([
  [16, "aes-128-gcm"],
  [24, "aes-192-gcm"],
  [32, "aes-256-gcm"],
]);

const GCM_OPTIONS = { authTagLength: TAG_LENGTH };
/** One call of OpenSSL takes less than 2^31 bytes. */
const MAX_UPDATE_LENGTH = 2 ** 30;

/** A key object that starts one GCM call after the other. Node wipes its copy of the key when it is collected. */
class NodeKey implements AeadKey {
  #key: KeyObject | undefined;
  readonly #algorithm: CipherGCMTypes;
  readonly segments: NodeSegments;

  constructor(rawKey: Uint8Array) {
    checkBytes("key", rawKey);
    const algorithm = ALGORITHMS.get(rawKey.length);
    if (algorithm === undefined)
      throw new RangeError(`"key" expected 16, 24 or 32 bytes, got ${rawKey.length}`);
    this.#algorithm = algorithm;
    this.#key = createSecretKey(rawKey);
    this.segments = new NodeSegments(() => this.#liveKey(), rawKey.length);
  }
  #liveKey(): KeyObject {
    if (this.#key === undefined) throw new Error("internal error: key has been disposed of");
    return this.#key;
  }
  cipher(nonce: Uint8Array, aad: Uint8Array): CipherGCM {
    return createCipheriv(this.#algorithm, this.#liveKey(), nonce, GCM_OPTIONS).setAAD(aad);
  }
  decipher(nonce: Uint8Array, aad: Uint8Array): DecipherGCM {
    return createDecipheriv(this.#algorithm, this.#liveKey(), nonce, GCM_OPTIONS).setAAD(aad);
  }
  seal(nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
    checkLength("nonce", nonce, NONCE_LENGTH);
    checkBytes("aad", aad);
    checkBytes("plaintext", plaintext);
    const sealed = allocate(plaintext.length + TAG_LENGTH);
    const cipher = this.cipher(nonce, aad);
    const at = update(cipher, new ChunkCursor([plaintext]), plaintext.length, sealed, 0);
    finishSeal(cipher, sealed, at);
    return sealed;
  }
  open(nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | null {
    checkLength("nonce", nonce, NONCE_LENGTH);
    checkBytes("aad", aad);
    checkBytes("sealed", sealed);
    if (sealed.length < TAG_LENGTH) return null;
    const plaintext = allocate(sealed.length - TAG_LENGTH);
    const decipher = this.decipher(nonce, aad);
    const cursor = new ChunkCursor([sealed]);
    update(decipher, cursor, plaintext.length, plaintext, 0);
    const tag = new Uint8Array(TAG_LENGTH);
    cursor.copyTo(tag);
    if (isAuthentic(decipher, tag)) return plaintext;
    plaintext.fill(0);
    return null;
  }
  frameCipher(format: FrameFormat): FrameCipher {
    checkFrameFormat(format);
    return new NodeFrameCipher(this, format);
  }
  startSeal(nonce: Uint8Array, aad: Uint8Array): GcmSealer {
    checkLength("nonce", nonce, NONCE_LENGTH);
    checkBytes("aad", aad);
    return new NodeGcmSealer(this.cipher(nonce, aad));
  }
  startOpen(nonce: Uint8Array, aad: Uint8Array): GcmOpener {
    checkLength("nonce", nonce, NONCE_LENGTH);
    checkBytes("aad", aad);
    return new NodeGcmOpener(this.decipher(nonce, aad));
  }
  dispose(): void {
    this.#key = undefined;
    this.segments.wipe();
  }
}

class NodeFrameCipher implements FrameCipher {
  readonly #key: NodeKey;
  readonly #frameLength: number;
  readonly #regularAad: FrameAad;
  readonly #finalAad: FrameAad;
  /** Sequence number and nonce of the frame in hand, with the marker before and the length behind in a final one. */
  readonly #head = Buffer.alloc(FINAL_FRAME_OVERHEAD - TAG_LENGTH);

  constructor(key: NodeKey, format: FrameFormat) {
    this.#key = key;
    this.#frameLength = format.frameLength;
    this.#regularAad = new FrameAad(format.regularAadPrefix);
    this.#finalAad = new FrameAad(format.finalAadPrefix);
  }

  seal(
    chunks: readonly Uint8Array[],
    firstSequence: number,
    frameCount: number,
    finalLength: number,
    headroom: number,
  ): Uint8Array {
    const { sealedLength } = runLengths(this.#frameLength, firstSequence, frameCount, finalLength);
    const output = allocate(headroom + sealedLength);
    output.fill(0, 0, headroom);
    this.sealInto(output.subarray(headroom), chunks, firstSequence, frameCount, finalLength);
    return output;
  }
  sealInto(
    output: Uint8Array,
    chunks: readonly Uint8Array[],
    firstSequence: number,
    frameCount: number,
    finalLength: number,
  ): number {
    const lengths = runLengths(this.#frameLength, firstSequence, frameCount, finalLength);
    checkChunks(chunks, lengths.plaintextLength);
    checkOutput(output, lengths.sealedLength);
    const cursor = new ChunkCursor(chunks);
    let at = 0;
    for (let i = 0; i < frameCount; i++) {
      const sequence = firstSequence + i;
      const head = this.#head.subarray(0, REGULAR_FRAME_OVERHEAD - TAG_LENGTH);
      head.writeUInt32BE(sequence, 0);
      head.fill(0, 4, 12).writeUInt32BE(sequence, 12);
      output.set(head, at);
      const aad = this.#regularAad.of(sequence, this.#frameLength);
      at = this.#sealFrame(head.subarray(4), aad, cursor, this.#frameLength, output, at + head.length);
    }
    if (finalLength !== NO_FINAL_FRAME) {
      const sequence = firstSequence + frameCount;
      const head = this.#head;
      head.writeUInt32BE(FINAL_FRAME_MARKER, 0);
      head.writeUInt32BE(sequence, 4);
      head.fill(0, 8, 16).writeUInt32BE(sequence, 16);
      head.writeUInt32BE(finalLength, 20);
      output.set(head, at);
      const aad = this.#finalAad.of(sequence, finalLength);
      this.#sealFrame(head.subarray(8, 20), aad, cursor, finalLength, output, at + head.length);
    }
    return lengths.sealedLength;
  }
  #sealFrame(
    nonce: Uint8Array,
    aad: Uint8Array,
    cursor: ChunkCursor,
    length: number,
    output: Uint8Array,
    at: number,
  ): number {
    const cipher = this.#key.cipher(nonce, aad);
    return finishSeal(cipher, output, update(cipher, cursor, length, output, at));
  }

  open(
    chunks: readonly Uint8Array[],
    firstSequence: number,
    frameCount: number,
    finalLength: number,
  ): OpenedFrames {
    const lengths = runLengths(this.#frameLength, firstSequence, frameCount, finalLength);
    const output = allocate(lengths.plaintextLength);
    const opened = this.openInto(output, chunks, firstSequence, frameCount, finalLength);
    const { plaintextLength, verifiedCount } = opened;
    const isComplete = plaintextLength === output.length;
    return { plaintext: isComplete ? output : output.slice(0, plaintextLength), verifiedCount };
  }
  openInto(
    output: Uint8Array,
    chunks: readonly Uint8Array[],
    firstSequence: number,
    frameCount: number,
    finalLength: number,
  ): OpenedInto {
    const lengths = runLengths(this.#frameLength, firstSequence, frameCount, finalLength);
    checkChunks(chunks, lengths.sealedLength);
    checkOutput(output, lengths.plaintextLength);
    const stop = () => {
      output.fill(0, at, lengths.plaintextLength);
      return { plaintextLength: at, verifiedCount };
    };
    const cursor = new ChunkCursor(chunks);
    let verifiedCount = 0;
    let at = 0;
    while (verifiedCount < frameCount) {
      const sequence = firstSequence + verifiedCount;
      const head = this.#head.subarray(0, REGULAR_FRAME_OVERHEAD - TAG_LENGTH);
      cursor.copyTo(head);
      if (head.readUInt32BE(0) !== sequence) return stop();
      const aad = this.#regularAad.of(sequence, this.#frameLength);
      if (!this.#openFrame(head.subarray(4), aad, cursor, output.subarray(at, at + this.#frameLength))) {
        return stop();
      }
      at += this.#frameLength;
      verifiedCount++;
    }
    if (finalLength !== NO_FINAL_FRAME) {
      const sequence = firstSequence + frameCount;
      const head = this.#head;
      cursor.copyTo(head);
      const expected =
        head.readUInt32BE(0) === FINAL_FRAME_MARKER &&
        head.readUInt32BE(4) === sequence &&
        head.readUInt32BE(20) === finalLength;
      if (!expected) return stop();
      const aad = this.#finalAad.of(sequence, finalLength);
      if (!this.#openFrame(head.subarray(8, 20), aad, cursor, output.subarray(at, at + finalLength))) {
        return stop();
      }
      verifiedCount++;
    }
    return { plaintextLength: lengths.plaintextLength, verifiedCount };
  }
  #openFrame(nonce: Uint8Array, aad: Uint8Array, cursor: ChunkCursor, output: Uint8Array): boolean {
    const decipher = this.#key.decipher(nonce, aad);
    update(decipher, cursor, output.length, output, 0);
    const tag = this.#head.subarray(0, TAG_LENGTH);
    cursor.copyTo(tag);
    return isAuthentic(decipher, tag);
  }
}

/** The AAD of one frame after the other: prefix ‖ sequence number (4) ‖ length (8). */
class FrameAad {
  readonly #bytes: Buffer;
  readonly #prefixLength: number;

  constructor(prefix: Uint8Array) {
    this.#prefixLength = prefix.length;
    this.#bytes = Buffer.alloc(prefix.length + 12); // the upper four bytes of the length stay 0
    this.#bytes.set(prefix);
  }
  of(sequence: number, length: number): Uint8Array {
    this.#bytes.writeUInt32BE(sequence, this.#prefixLength);
    this.#bytes.writeUInt32BE(length, this.#prefixLength + 8);
    return this.#bytes;
  }
}

class NodeGcmSealer implements GcmSealer {
  #cipher: CipherGCM | undefined;
  #length = 0;

  constructor(cipher: CipherGCM) {
    this.#cipher = cipher;
  }
  update(plaintext: Uint8Array): Uint8Array {
    if (this.#cipher === undefined) throw new Error("internal error: message has been finished");
    checkBytes("plaintext", plaintext);
    this.#length = addLength(this.#length, plaintext.length);
    return updateWhole(this.#cipher, plaintext);
  }
  final(): Uint8Array {
    if (this.#cipher === undefined) throw new Error("internal error: message has been finished");
    const tag = new Uint8Array(TAG_LENGTH);
    finishSeal(this.#cipher, tag, 0);
    this.#cipher = undefined;
    return tag;
  }
}

class NodeGcmOpener implements GcmOpener {
  #decipher: DecipherGCM | undefined;
  #length = 0;

  constructor(decipher: DecipherGCM) {
    this.#decipher = decipher;
  }
  update(ciphertext: Uint8Array): Uint8Array {
    if (this.#decipher === undefined) throw new Error("internal error: message has been finished");
    checkBytes("ciphertext", ciphertext);
    this.#length = addLength(this.#length, ciphertext.length);
    return updateWhole(this.#decipher, ciphertext);
  }
  final(tag: Uint8Array): boolean {
    if (this.#decipher === undefined) throw new Error("internal error: message has been finished");
    checkLength("tag", tag, TAG_LENGTH);
    const decipher = this.#decipher;
    this.#decipher = undefined;
    return isAuthentic(decipher, tag);
  }
}

/** Runs the next `length` bytes of `cursor` through `cipher` into `output`; returns where they end. */
function update(
  cipher: CipherGCM | DecipherGCM,
  cursor: ChunkCursor,
  length: number,
  output: Uint8Array,
  start: number,
): number {
  let at = start;
  const end = start + length;
  while (at < end) {
    const piece = cipher.update(cursor.next(Math.min(end - at, MAX_UPDATE_LENGTH)));
    output.set(piece, at);
    at += piece.length;
  }
  return end;
}

function updateWhole(cipher: CipherGCM | DecipherGCM, input: Uint8Array): Uint8Array {
  if (input.length > MAX_UPDATE_LENGTH) {
    const output = allocate(input.length);
    update(cipher, new ChunkCursor([input]), input.length, output, 0);
    return output;
  }
  const output = cipher.update(unshared(input));
  return new Uint8Array(output.buffer, output.byteOffset, output.length);
}

/** Writes the tag; returns where it ends. */
function finishSeal(cipher: CipherGCM, output: Uint8Array, at: number): number {
  cipher.final();
  output.set(cipher.getAuthTag(), at);
  return at + TAG_LENGTH;
}

function isAuthentic(decipher: DecipherGCM, tag: Uint8Array): boolean {
  decipher.setAuthTag(unshared(tag));
  try {
    decipher.final();
    return true;
  } catch {
    return false; // the only error of final() with a tag of the right length; OpenSSL compares in constant time
  }
}
