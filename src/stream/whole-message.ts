// Whole messages in memory: one call of the engine for all frames, and nothing is returned before everything verified.
import { asBuffer, concatBytes } from "../bytes.ts";
import { FINAL_FRAME_MARKER, type FrameCipher, NO_FINAL_FRAME } from "../engine/engine.ts";
import { allocate } from "../engine/output-memory.ts";
import { FramesealError, notAuthentic } from "../errors.ts";
import { signatureLengthOf } from "../format/footer.ts";
import {
  FINAL_OVERHEAD,
  FINAL_PREFIX_LENGTH,
  layoutFromPlaintext,
  NON_FRAMED_OVERHEAD,
  REGULAR_OVERHEAD,
} from "../format/frame.ts";
import { type MessageHeader, parseHeader, type ReadLimits, readLimits } from "../format/header.ts";
import { MAX_FRAME_COUNT_READ } from "../format/limits.ts";
import { MessageSealer } from "../message/message-sealer.ts";
import { type DecryptOptions, type OpenedHeader, openHeader, publicHeader } from "../message/open-message.ts";
import { checkConcurrency, type EncryptOptions, prepareFrames } from "../message/seal-message.ts";
import type { MessageVerifier } from "../message/signature.ts";
import { isBytes } from "../shapes.ts";
import { asyncFrom, runsInWork } from "./frame-machine.ts";
import { openInParallel, runs, sealInParallel } from "./parallel-runs.ts";

/** Runs that may wait for their hash at a time: later ones find them in the cache, and the event loop has its turn. */
const MAX_RUNS_HASHED = 4;

/** Bytes in memory, or in pieces that are collected first: a stream, a Web stream, any async iterable. */
export type BytesSource = Uint8Array | AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/**
 * Encrypts `plaintext` into one message.
 * @returns the message, in memory that the caller owns
 * @throws TypeError, RangeError for arguments that are wrong
 * @throws FramesealError POLICY, LIMIT_EXCEEDED, ENGINE_UNAVAILABLE, ABORTED, KEY_SERVICE
 */
export async function encrypt(plaintext: BytesSource, options: EncryptOptions): Promise<Buffer> {
  const bytes = await collect(plaintext, "plaintext");
  const plaintextLength = options.plaintextLength ?? bytes.length;
  const sealer = new MessageSealer(await prepareFrames({ ...options, plaintextLength }));
  try {
    const { regularCount, finalLength } = layoutFromPlaintext(bytes.length, sealer.header.frameLength);
    const chunks = bytes.length === 0 ? [] : [bytes];
    if (sealer.parallel && bytes.length >= asyncFrom(sealer.cipher))
      return asBuffer(
        await sealInParallel(
          sealer,
          bytes,
          regularCount,
          finalLength,
          runsInWork(checkConcurrency(options.concurrency)),
        ),
      );
    if (sealer.signed) return asBuffer(await sealSigned(sealer, bytes, regularCount, finalLength));
    return asBuffer(await sealer.seal(chunks, regularCount, finalLength));
  } finally {
    sealer.dispose();
  }
}

// In runs, so that another thread hashes one while the next is sealed.
async function sealSigned(
  sealer: MessageSealer,
  plaintext: Uint8Array,
  regularCount: number,
  finalLength: number,
): Promise<Uint8Array> {
  const { frameLength } = sealer.header;
  const message = allocate(sealer.messageLength(plaintext.length));
  const hashing: (void | Promise<void>)[] = [];
  let length = 0;
  for (const { first, count, isLast } of runs(regularCount, frameLength)) {
    const start = first * frameLength;
    const final = isLast ? finalLength : NO_FINAL_FRAME;
    const end = start + count * frameLength + Math.max(0, final);
    const room = message.subarray(length);
    const sealed = sealer.sealInto(room, end === start ? [] : [plaintext.subarray(start, end)], count, final);
    if (sealed.buffer !== message.buffer) message.set(sealed, length);
    length += sealed.length;
    hashing.push(sealer.hashed);
    if (hashing.length >= MAX_RUNS_HASHED) await hashing.shift();
  }
  message.set(await sealer.footer(), length);
  return message;
}

/** What `decrypt` resolves to. */
export interface DecryptedMessage {
  /** In memory that the caller owns. */
  readonly plaintext: Buffer;
  readonly header: MessageHeader;
}

/**
 * Decrypts one message. Nothing is returned unless all of it, the signature included, was verified.
 * @throws TypeError for arguments that are wrong
 * @throws FramesealError AUTHENTICATION_FAILED, TRUNCATED, TRAILING_DATA, INVALID_HEADER, UNSUPPORTED, POLICY,
 * LIMIT_EXCEEDED, NO_DATA_KEY, KEY_SERVICE, CONTEXT_MISMATCH, ENGINE_UNAVAILABLE, ABORTED
 */
export async function decrypt(message: BytesSource, options: DecryptOptions): Promise<DecryptedMessage> {
  const bytes = asBuffer(await collect(message, "message"));
  const parsed = parseHeader(bytes, options);
  const opened = await openHeader(parsed, options);
  try {
    const body = bytes.subarray(parsed.length);
    const plaintext =
      parsed.contentType === "framed"
        ? await openFrames(body, opened, options)
        : await openSingle(body, opened, options);
    opened.recordUse(plaintext.length);
    return { plaintext: asBuffer(plaintext), header: opened.header };
  } finally {
    opened.dispose();
  }
}

async function openFrames(body: Buffer, opened: OpenedHeader, options: DecryptOptions): Promise<Uint8Array> {
  const { frameLength } = opened.header;
  let regularCount = 0;
  let offset = 0;
  for (; needBytes(body, offset, 4).readUInt32BE(offset) !== FINAL_FRAME_MARKER; regularCount++) {
    offset += frameLength + REGULAR_OVERHEAD;
    if (regularCount + 1 >= MAX_FRAME_COUNT_READ)
      throw new FramesealError("LIMIT_EXCEEDED", `message has more than ${MAX_FRAME_COUNT_READ} frames`);
  }
  needBytes(body, offset, FINAL_PREFIX_LENGTH);
  const finalLength = body.readUInt32BE(offset + FINAL_PREFIX_LENGTH - 4);
  if (finalLength > frameLength) throw notAuthentic();
  const end = offset + FINAL_OVERHEAD + finalLength;
  needBytes(body, offset, FINAL_OVERHEAD + finalLength);
  const plaintextLength = regularCount * frameLength + finalLength;
  checkPlaintextLength(plaintextLength, options);
  if (opened.verifier !== undefined)
    return openSigned(body, end, opened, opened.verifier, { regularCount, finalLength });
  refuseTrailing(body, end);
  const { cipher } = opened;
  if (cipher.openAsync !== undefined && plaintextLength >= asyncFrom(cipher))
    return openInParallel(
      body.subarray(0, end),
      opened,
      regularCount,
      finalLength,
      runsInWork(checkConcurrency(options.concurrency)),
    );
  const result = cipher.open([body.subarray(0, end)], 1, regularCount, finalLength);
  if (result.verifiedCount !== regularCount + 1) throw notAuthentic();
  return result.plaintext;
}

// In runs, so that another thread hashes one while the next is opened. Each run is copied first: the caller's memory may
// change meanwhile, and what is hashed must be what is opened.
async function openSigned(
  body: Buffer,
  end: number,
  opened: OpenedHeader,
  verifier: MessageVerifier,
  frames: { readonly regularCount: number; readonly finalLength: number },
): Promise<Uint8Array> {
  const { cipher, header } = opened;
  const { frameLength } = header;
  const { regularCount, finalLength } = frames;
  const { signature, messageEnd } = readFooter(body, end);
  const plaintext = allocate(regularCount * frameLength + finalLength);
  const hashing: (void | Promise<void>)[] = [];
  try {
    for (const { first, count, isLast } of runs(regularCount, frameLength)) {
      const from = first * (frameLength + REGULAR_OVERHEAD);
      const to = isLast ? end : from + count * (frameLength + REGULAR_OVERHEAD);
      const run = concatBytes([body.subarray(from, to)]);
      const hashed = verifier.update(run);
      const numbers = [first + 1, count, isLast ? finalLength : NO_FINAL_FRAME] as const;
      const verifiedCount = openInto(cipher, plaintext.subarray(first * frameLength), run, ...numbers);
      if (verifiedCount !== count + (isLast ? 1 : 0)) throw notAuthentic();
      hashing.push(hashed);
      if (hashing.length >= MAX_RUNS_HASHED) await hashing.shift();
    }
    if (!(await verifier.verify(signature))) throw notAuthentic();
    refuseTrailing(body, messageEnd);
    return plaintext;
  } catch (error) {
    plaintext.fill(0);
    throw error;
  }
}

// Returns how many frames were verified.
function openInto(
  cipher: FrameCipher,
  output: Uint8Array,
  run: Uint8Array,
  ...numbers: readonly [firstSequence: number, frameCount: number, finalLength: number]
): number {
  if (cipher.openInto !== undefined) return cipher.openInto(output, [run], ...numbers).verifiedCount;
  const opened = cipher.open([run], ...numbers);
  output.set(opened.plaintext);
  return opened.verifiedCount;
}

async function openSingle(body: Buffer, opened: OpenedHeader, options: DecryptOptions): Promise<Uint8Array> {
  needBytes(body, 0, NON_FRAMED_OVERHEAD);
  const length = body.readUInt32BE(12) * 2 ** 32 + body.readUInt32BE(16);
  const { maxNonFramedLength } = readLimits(options);
  if (length > maxNonFramedLength)
    throw new FramesealError(
      "LIMIT_EXCEEDED",
      `message without frames has ${length} bytes, at most ${maxNonFramedLength} are allowed`,
    );
  checkPlaintextLength(length, options);
  const end = length + NON_FRAMED_OVERHEAD;
  needBytes(body, 0, end);
  let single: Uint8Array = body.subarray(0, end);
  if (opened.verifier === undefined) refuseTrailing(body, end);
  else {
    single = concatBytes([single]); // as in openSigned
    const { signature, messageEnd } = readFooter(body, end);
    opened.verifier.update(single);
    if (!(await opened.verifier.verify(signature))) throw notAuthentic();
    refuseTrailing(body, messageEnd);
  }
  const plaintext = opened.openNonFramed(single.subarray(0, 12), single.subarray(20));
  if (plaintext === null) throw notAuthentic();
  return plaintext;
}

function readFooter(body: Buffer, start: number): { signature: Uint8Array; messageEnd: number } {
  const length = signatureLengthOf(needBytes(body, start, 2).subarray(start));
  const messageEnd = start + 2 + length;
  const signature = concatBytes([needBytes(body, start, 2 + length).subarray(start + 2, messageEnd)]);
  return { signature, messageEnd };
}

function refuseTrailing(body: Buffer, messageEnd: number): void {
  if (body.length > messageEnd)
    throw new FramesealError("TRAILING_DATA", "input goes on after the end of the message");
}

function needBytes(body: Buffer, offset: number, count: number): Buffer {
  if (offset + count > body.length)
    throw new FramesealError("TRUNCATED", "input ends before the end of the message");
  return body;
}

function checkPlaintextLength(length: number, options: DecryptOptions): void {
  if (options.plaintextLength !== undefined && length > options.plaintextLength)
    throw new FramesealError(
      "LIMIT_EXCEEDED",
      `plaintext is longer than the allowed ${options.plaintextLength} bytes`,
    );
}

async function collect(source: BytesSource, name: string): Promise<Uint8Array> {
  if (isBytes(source)) return source;
  if (
    typeof source !== "object" ||
    source === null ||
    !(Symbol.asyncIterator in source || Symbol.iterator in source)
  )
    throw new TypeError(
      `"${name}" expected a Uint8Array or an (async) iterable of them, got ${typeof source}`,
    );
  const parts: Uint8Array[] = [];
  for await (const part of source) {
    if (!isBytes(part)) throw new TypeError(`"${name}" expected pieces of Uint8Array, got ${typeof part}`);
    parts.push(part);
  }
  return concatBytes(parts);
}

/**
 * Tells what a message says about itself without any key. Nothing of it is verified.
 * @param source at least the header of a message
 * @throws FramesealError INVALID_HEADER, UNSUPPORTED, LIMIT_EXCEEDED, TRUNCATED
 */
export function inspectHeader(
  source: Uint8Array,
  limits: ReadLimits = {},
): MessageHeader & { readonly headerLength: number } {
  const parsed = parseHeader(source, limits);
  return { ...publicHeader(parsed), headerLength: parsed.length };
}
