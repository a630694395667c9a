// Whole messages in memory: one call of the engine for all frames, and nothing is returned before everything verified.
import { asBuffer, concatBytes } from "../bytes.ts";
import { checkOptions, wrong } from "../check-options.ts";
import { type FrameCipher, NO_FINAL_FRAME } from "../engine/engine.ts";
import { allocate } from "../engine/output-memory.ts";
import { notAuthentic, throwIfAborted } from "../errors.ts";
import { signatureLengthOf } from "../format/footer.ts";
import { layoutFromPlaintext, NON_FRAMED_PREFIX_LENGTH, REGULAR_OVERHEAD } from "../format/frame.ts";
import {
  HEADER_LIMITS,
  type HeaderLimits,
  type MessageHeader,
  type ParsedHeader,
  parseHeader,
  readLimits,
} from "../format/header.ts";
import {
  bodyBytes,
  FrameWalk,
  measureNonFramed,
  trailingData,
  truncatedBody,
  truncatedSignature,
  type WholeFrames,
} from "../message/frame-walk.ts";
import { MessageSealer } from "../message/message-sealer.ts";
import {
  DECRYPT_OPTIONS,
  type DecryptOptions,
  type OpenedHeader,
  openHeader,
  publicHeader,
} from "../message/open-message.ts";
import {
  checkEncryptOptions,
  ENCRYPT_OPTIONS,
  type EncryptOptions,
  prepareFrames,
  threadCount,
} from "../message/seal-message.ts";
import type { MessageVerifier } from "../message/signature.ts";
import { isBytes, isReadable } from "../shapes.ts";
import { eachUntilAborted, untilAborted } from "../until-aborted.ts";
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
export async function encrypt(plaintext: BytesSource, givenOptions: EncryptOptions): Promise<Buffer> {
  listenTo(plaintext);
  const options = checkEncryptOptions(givenOptions, ENCRYPT_OPTIONS);
  const bytes = await collect(plaintext, "plaintext", options.signal);
  const plaintextLength = options.plaintextLength ?? bytes.length;
  const sealer = new MessageSealer(await prepareFrames({ ...options, plaintextLength }));
  return untilAborted(sealWhole(sealer, bytes, options), options.signal);
}

async function sealWhole(sealer: MessageSealer, bytes: Uint8Array, options: EncryptOptions): Promise<Buffer> {
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
          runsInWork(threadCount(options.concurrency)),
          options.signal,
        ),
      );
    if (sealer.signed)
      return asBuffer(await sealSigned(sealer, bytes, regularCount, finalLength, options.signal));
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
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const { frameLength } = sealer.header;
  const message = allocate(sealer.messageLength(plaintext.length));
  const hashing: (void | Promise<void>)[] = [];
  let length = 0;
  for (const { first, count, isLast } of runs(regularCount, frameLength)) {
    throwIfAborted(signal);
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
export async function decrypt(message: BytesSource, givenOptions: DecryptOptions): Promise<DecryptedMessage> {
  listenTo(message);
  const options = checkOptions("options", givenOptions, DECRYPT_OPTIONS);
  const bytes = asBuffer(await collect(message, "message", options.signal));
  const parsed = parseHeader(bytes, options);
  const opened = await openHeader(parsed, options);
  return untilAborted(openWhole(bytes, parsed, opened, options), options.signal, (late) => {
    late.plaintext.fill(0);
  });
}

async function openWhole(
  bytes: Buffer,
  parsed: ParsedHeader,
  opened: OpenedHeader,
  options: DecryptOptions,
): Promise<DecryptedMessage> {
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
  const walk = new FrameWalk(opened.header.frameLength, options.plaintextLength);
  const frames = walk.find(bodyBytes(body));
  walk.take(frames);
  const sealed = body.subarray(0, frames.length);
  if (frames.finalLength === NO_FINAL_FRAME) return openUnended(sealed, opened, frames, walk);
  if (opened.verifier !== undefined) return openSigned(body, opened, opened.verifier, frames, options.signal);
  const plaintext = await openUnsigned(sealed, opened, frames, options);
  refuseTrailing(body, frames.length, plaintext);
  return plaintext;
}

// A message that has no final frame, or a fault before: its frames are verified, as a stream would have done by then.
function openUnended(
  sealed: Buffer,
  { cipher }: OpenedHeader,
  { frameCount, fault }: WholeFrames,
  walk: FrameWalk,
): never {
  if (frameCount > 0) {
    const { plaintext, verifiedCount } = cipher.open([sealed], 1, frameCount, NO_FINAL_FRAME);
    plaintext.fill(0);
    if (verifiedCount !== frameCount) throw notAuthentic();
  }
  throw fault ?? walk.truncated();
}

async function openUnsigned(
  sealed: Buffer,
  opened: OpenedHeader,
  { frameCount, finalLength }: WholeFrames,
  options: DecryptOptions,
): Promise<Uint8Array> {
  const { cipher, header } = opened;
  const plaintextLength = frameCount * header.frameLength + finalLength;
  if (cipher.openAsync !== undefined && plaintextLength >= asyncFrom(cipher))
    return openInParallel(
      sealed,
      opened,
      frameCount,
      finalLength,
      runsInWork(threadCount(options.concurrency)),
      options.signal,
    );
  const { plaintext, verifiedCount } = cipher.open([sealed], 1, frameCount, finalLength);
  if (verifiedCount !== frameCount + 1) throw notAuthentic();
  return plaintext;
}

// In runs, so that another thread hashes one while the next is opened. Each run is copied first: the caller's memory may
// change meanwhile, and what is hashed must be what is opened.
async function openSigned(
  body: Buffer,
  opened: OpenedHeader,
  verifier: MessageVerifier,
  frames: WholeFrames,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const { cipher, header } = opened;
  const { frameLength } = header;
  const { frameCount: regularCount, finalLength, length: end } = frames;
  const plaintext = allocate(regularCount * frameLength + finalLength);
  const hashing: (void | Promise<void>)[] = [];
  try {
    for (const { first, count, isLast } of runs(regularCount, frameLength)) {
      throwIfAborted(signal);
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
    await verifyFooter(body, end, verifier);
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
  const { maxNonFramedLength } = readLimits(options);
  const measured = measureNonFramed(bodyBytes(body), maxNonFramedLength, options.plaintextLength);
  if (measured === undefined || measured.length > body.length) throw truncatedBody();
  const { verifier } = opened;
  // A copy, as in openSigned.
  const single =
    verifier === undefined
      ? body.subarray(0, measured.length)
      : concatBytes([body.subarray(0, measured.length)]);
  verifier?.update(single);
  const plaintext = opened.openNonFramed(single.subarray(0, 12), single.subarray(NON_FRAMED_PREFIX_LENGTH));
  if (plaintext === null) throw notAuthentic();
  if (verifier === undefined) refuseTrailing(body, measured.length, plaintext);
  else
    try {
      await verifyFooter(body, measured.length, verifier);
    } catch (error) {
      plaintext.fill(0);
      throw error;
    }
  return plaintext;
}

/** @throws FramesealError unless `body` ends in a footer at `start` whose signature is right */
async function verifyFooter(body: Buffer, start: number, verifier: MessageVerifier): Promise<void> {
  if (start + 2 > body.length) throw truncatedSignature();
  const end = start + 2 + signatureLengthOf(body.subarray(start));
  if (end > body.length) throw truncatedSignature();
  if (!(await verifier.verify(concatBytes([body.subarray(start + 2, end)])))) throw notAuthentic();
  if (body.length > end) throw trailingData();
}

function refuseTrailing(body: Buffer, messageEnd: number, plaintext: Uint8Array): void {
  if (body.length === messageEnd) return;
  plaintext.fill(0);
  throw trailingData();
}

/** Hears the error of a Node stream that comes before, or instead of, its being read: unheard, it would end the process. */
export function listenTo(source: unknown): void {
  if (isReadable(source)) source.on("error", () => {});
}

async function collect(
  source: BytesSource,
  name: string,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
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
  throwIfAborted(signal);
  for await (const part of eachUntilAborted(source, signal)) {
    if (!isBytes(part)) throw new TypeError(`"${name}" expected pieces of Uint8Array, got ${typeof part}`);
    parts.push(part);
  }
  return concatBytes(parts);
}

/**
 * Tells what a message says about itself without any key. Nothing of it is verified.
 * @param source at least the header of a message
 * @throws TypeError, RangeError for arguments that are wrong
 * @throws FramesealError INVALID_HEADER, UNSUPPORTED, LIMIT_EXCEEDED, TRUNCATED
 */
export function inspectHeader(
  source: Uint8Array,
  limits: HeaderLimits = {},
): MessageHeader & { readonly headerLength: number } {
  if (!isBytes(source)) throw wrong("source", "a Uint8Array", source);
  const parsed = parseHeader(source, checkOptions("limits", limits, HEADER_LIMITS));
  return { ...publicHeader(parsed), headerLength: parsed.length };
}
