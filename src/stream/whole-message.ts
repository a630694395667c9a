// Whole messages in memory: one call of the engine for all frames, and nothing is returned before everything verified.
import { asBuffer, concatBytes } from "../bytes.ts";
import { FINAL_FRAME_MARKER } from "../engine/engine.ts";
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
import { type DecryptOptions, type OpenedHeader, openHeader, publicHeader } from "../message/open-message.ts";
import { type EncryptOptions, MessageSealer, prepareFrames } from "../message/seal-message.ts";
import { asyncFrom } from "./frame-machine.ts";

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
      return asBuffer(await sealer.sealAsync(chunks, regularCount, finalLength));
    return asBuffer(sealer.seal(chunks, regularCount, finalLength));
  } finally {
    sealer.dispose();
  }
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
        : openSingle(body, opened, options);
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
  checkFooter(body, end, opened);
  const frames = [body.subarray(0, end)];
  const { cipher } = opened;
  const result =
    cipher.openAsync !== undefined && plaintextLength >= asyncFrom(cipher)
      ? await cipher.openAsync(frames, 1, regularCount, finalLength)
      : cipher.open(frames, 1, regularCount, finalLength);
  if (result.verifiedCount !== regularCount + 1) throw notAuthentic();
  return result.plaintext;
}

function openSingle(body: Buffer, opened: OpenedHeader, options: DecryptOptions): Uint8Array {
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
  checkFooter(body, end, opened);
  const plaintext = opened.openNonFramed(body.subarray(0, 12), body.subarray(20, end));
  if (plaintext === null) throw notAuthentic();
  return plaintext;
}

// Signed: exactly one footer that verifies. Unsigned: nothing.
function checkFooter(body: Buffer, end: number, opened: OpenedHeader): void {
  let messageEnd = end;
  if (opened.verifier !== undefined) {
    const length = signatureLengthOf(needBytes(body, end, 2).subarray(end));
    messageEnd = end + 2 + length;
    const signature = needBytes(body, end, 2 + length).subarray(end + 2, messageEnd);
    opened.verifier.update(body.subarray(0, end));
    if (!opened.verifier.verify(signature)) throw notAuthentic();
  }
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
  if (source instanceof Uint8Array) return source;
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
    if (!(part instanceof Uint8Array))
      throw new TypeError(`"${name}" expected pieces of Uint8Array, got ${typeof part}`);
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
