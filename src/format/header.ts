// The message header: bytes <-> values, for both versions. Parsing is incremental and bounded; nothing here verifies
// anything: the tag is checked by the message layer over the raw bytes kept here.
import { ByteWriter, decodeUtf8 } from "../bytes.ts";
import { type Checks, wholeNumber } from "../check-options.ts";
import { FramesealError } from "../errors.ts";
import { type EncryptedDataKey, writeEncryptedDataKey } from "./encrypted-data-key.ts";
import {
  decodeEncryptionContext,
  type EncryptionContext,
  encodeEncryptionContext,
} from "./encryption-context.ts";
import {
  DEFAULT_MAX_ENCRYPTED_DATA_KEYS,
  DEFAULT_MAX_FRAME_LENGTH,
  DEFAULT_MAX_HEADER_LENGTH,
  DEFAULT_MAX_NON_FRAMED_LENGTH,
  MAX_ENCRYPTED_DATA_KEYS,
} from "./limits.ts";
import { type AlgorithmSuite, formatSuiteId, suiteById } from "./suite.ts";

const TYPE_CUSTOMER_DATA = 0x80;
const CONTENT_NON_FRAMED = 1;
const CONTENT_FRAMED = 2;
const IV_LENGTH = 12;
const TAG_LENGTH = 16;
const COMMITMENT_LENGTH = 32;

/** What a header says. Field names follow the AWS Encryption SDK. */
export interface MessageHeader {
  readonly version: 1 | 2;
  readonly suite: AlgorithmSuite;
  readonly messageId: Uint8Array;
  /** The pairs stored in the header. Required pairs are not among them. */
  readonly encryptionContext: EncryptionContext;
  readonly encryptedDataKeys: readonly EncryptedDataKey[];
  readonly contentType: "framed" | "non-framed";
  /** Plaintext bytes of a regular frame; 0 when not framed. */
  readonly frameLength: number;
  /** The commitment of version 2, empty in version 1. */
  readonly commitment: Uint8Array;
}

/** A header as it was received. */
export interface ParsedHeader extends MessageHeader {
  /** The raw bytes that the tag covers. */
  readonly body: Uint8Array;
  /** Nonce of the header's tag: stored in version 1, zeros in version 2. */
  readonly nonce: Uint8Array;
  readonly tag: Uint8Array;
  /** Bytes of the whole header with its authentication. */
  readonly length: number;
}

/** Bounds on the header that is accepted, each with a default in `limits.ts`. */
export interface HeaderLimits {
  readonly maxEncryptedDataKeys?: number | undefined;
  readonly maxHeaderLength?: number | undefined;
  readonly maxFrameLength?: number | undefined;
}

/** Bounds on what is accepted, each with a default in `limits.ts`. */
export interface ReadLimits extends HeaderLimits {
  /** Bytes of a body without frames; it is held in memory whole. */
  readonly maxNonFramedLength?: number | undefined;
}

/** What the limits must be. */
export const HEADER_LIMITS: Checks<HeaderLimits> = {
  maxEncryptedDataKeys: wholeNumber(1, MAX_ENCRYPTED_DATA_KEYS),
  maxHeaderLength: wholeNumber(1),
  maxFrameLength: wholeNumber(1, 2 ** 32 - 1),
};
export const READ_LIMITS: Checks<ReadLimits> = { ...HEADER_LIMITS, maxNonFramedLength: wholeNumber(0) };

/** `limits` with the defaults filled in. */
export function readLimits(limits: ReadLimits): Required<{ [Key in keyof ReadLimits]: number }> {
  return {
    maxEncryptedDataKeys: limits.maxEncryptedDataKeys ?? DEFAULT_MAX_ENCRYPTED_DATA_KEYS,
    maxHeaderLength: limits.maxHeaderLength ?? DEFAULT_MAX_HEADER_LENGTH,
    maxFrameLength: limits.maxFrameLength ?? DEFAULT_MAX_FRAME_LENGTH,
    maxNonFramedLength: limits.maxNonFramedLength ?? DEFAULT_MAX_NON_FRAMED_LENGTH,
  };
}

/**
 * Encodes the part of the header that the tag covers.
 * @throws RangeError if a field does not fit
 */
export function encodeHeaderBody(header: MessageHeader): Uint8Array {
  const { suite, encryptedDataKeys } = header;
  const context = encodeEncryptionContext(header.encryptionContext);
  if (encryptedDataKeys.length < 1 || encryptedDataKeys.length > MAX_ENCRYPTED_DATA_KEYS)
    throw new RangeError(
      `"encryptedDataKeys" expected 1 to ${MAX_ENCRYPTED_DATA_KEYS} entries, got ${encryptedDataKeys.length}`,
    );
  const writer = new ByteWriter().uint8(header.version);
  if (header.version === 1) writer.uint8(TYPE_CUSTOMER_DATA);
  writer.uint16(suite.id).bytes(header.messageId).uint16(context.length).bytes(context);
  writer.uint16(encryptedDataKeys.length);
  for (const key of encryptedDataKeys) writeEncryptedDataKey(writer, key);
  writer.uint8(header.contentType === "framed" ? CONTENT_FRAMED : CONTENT_NON_FRAMED);
  if (header.version === 1) writer.uint32(0).uint8(IV_LENGTH);
  writer.uint32(header.frameLength);
  if (header.version === 2) writer.bytes(header.commitment);
  return writer.finish();
}

/** Appends the header authentication: the nonce only in version 1, where it is stored. */
export function encodeHeader(
  version: 1 | 2,
  body: Uint8Array,
  nonce: Uint8Array,
  tag: Uint8Array,
): Uint8Array {
  const writer = new ByteWriter().bytes(body);
  if (version === 1) writer.bytes(nonce);
  return writer.bytes(tag).finish();
}

/** Received first: all of nearly every header. */
const HEAD_LENGTH = 1024;

/**
 * Parses a header from chunks of any size. What is received is copied once, before anything is read from it; each step
 * waits for exactly the bytes it needs; no more than twice what was received is allocated.
 */
export class HeaderParser {
  readonly #limits: ReturnType<typeof readLimits>;
  readonly #steps: Generator<number, ParsedHeader, void>;
  #bytes = Buffer.allocUnsafe(HEAD_LENGTH);
  #length = 0;
  #needed = 0;
  #header: ParsedHeader | undefined;
  #failed = false;

  constructor(limits: ReadLimits = {}) {
    this.#limits = readLimits(limits);
    this.#steps = this.#parse();
  }

  /** The header, once all of it was pushed. */
  get header(): ParsedHeader | undefined {
    return this.#header;
  }

  /**
   * Takes as much of `chunk` as belongs to the header and returns how many bytes that was. When `header` is still
   * undefined afterwards, all of the chunk was taken and more is needed.
   * @throws FramesealError INVALID_HEADER, UNSUPPORTED or LIMIT_EXCEEDED
   */
  push(chunk: Uint8Array): number {
    if (this.#failed) throw new Error("internal error: the header was refused before");
    if (this.#header !== undefined) return 0;
    const before = this.#length;
    for (let copied = 0; ; ) {
      const room = Math.max(this.#needed, this.#bytes.length) - this.#length;
      const part = copied === 0 && chunk.length <= room ? chunk : chunk.subarray(copied, copied + room);
      this.#append(part);
      copied += part.length;
      if (this.#length < this.#needed) return chunk.length;
      this.#failed = true; // unless the next line returns: a generator that has thrown gives no header any more
      const step = this.#steps.next();
      this.#failed = false;
      if (step.done) {
        this.#header = step.value;
        return step.value.length - before; // what was copied from behind the header is not taken
      }
      this.#needed = step.value;
    }
  }

  #append(part: Uint8Array): void {
    const length = this.#length + part.length;
    if (length > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(length, this.#bytes.length * 2));
      this.#bytes.copy(larger, 0, 0, this.#length);
      this.#bytes = larger;
    }
    this.#bytes.set(part, this.#length);
    this.#length = length;
  }

  /** A copy of the `count` bytes before `end`. */
  #bytesBefore(end: number, count: number): Uint8Array {
    return Uint8Array.prototype.slice.call(this.#bytes, end - count, end);
  }

  // Yields the total length that must be there before it goes on.
  *#parse(): Generator<number, ParsedHeader, void> {
    let position = 0;
    const { maxHeaderLength, maxEncryptedDataKeys, maxFrameLength } = this.#limits;
    /** Goes on by `count` bytes; true when they are still to come. */
    const lacks = (count: number): boolean => {
      position += count;
      if (position > maxHeaderLength)
        throw new FramesealError("LIMIT_EXCEEDED", `header is longer than ${maxHeaderLength} bytes`);
      return position > this.#length;
    };

    if (lacks(1)) yield position;
    const version = this.#bytes.readUInt8(0);
    if (version === 0x41) {
      if (lacks(1)) yield position;
      refuseBase64(this.#bytes.readUInt8(1));
    }
    if (version !== 1 && version !== 2) throw invalid(`version is ${version}`, 0);
    if (version === 1) {
      if (lacks(1)) yield position;
      const type = this.#bytes.readUInt8(1);
      if (type !== TYPE_CUSTOMER_DATA) throw invalid(`type is ${type}`, 1);
    }
    if (lacks(2)) yield position;
    const suite = suiteById(this.#bytes.readUInt16BE(position - 2));
    if (suite.version !== version)
      throw invalid(`suite ${formatSuiteId(suite.id)} does not belong to version ${version}`, position - 2);
    if (lacks(suite.messageIdLength)) yield position;
    const messageId = this.#bytesBefore(position, suite.messageIdLength);
    if (lacks(2)) yield position;
    const contextLength = this.#bytes.readUInt16BE(position - 2);
    if (lacks(contextLength)) yield position;
    const encryptionContext = decodeEncryptionContext(
      this.#bytes.subarray(position - contextLength, position),
    );
    if (lacks(2)) yield position;
    const count = this.#bytes.readUInt16BE(position - 2);
    if (count === 0) throw invalid("it has no encrypted data key", position - 2);
    if (count > maxEncryptedDataKeys)
      throw new FramesealError(
        "LIMIT_EXCEEDED",
        `header announces ${count} encrypted data keys, at most ${maxEncryptedDataKeys} are allowed`,
      );
    const encryptedDataKeys: EncryptedDataKey[] = [];
    for (let i = 0; i < count; i++) {
      if (lacks(2)) yield position;
      const idLength = this.#bytes.readUInt16BE(position - 2);
      if (lacks(idLength)) yield position;
      const providerId = decodeUtf8(this.#bytes, position - idLength, position);
      if (providerId === undefined) throw invalid("a key provider id is not UTF-8", position - idLength);
      if (lacks(2)) yield position;
      const infoLength = this.#bytes.readUInt16BE(position - 2);
      if (lacks(infoLength)) yield position;
      const providerInfo = this.#bytesBefore(position, infoLength);
      if (lacks(2)) yield position;
      const ciphertextLength = this.#bytes.readUInt16BE(position - 2);
      if (lacks(ciphertextLength)) yield position;
      const ciphertext = this.#bytesBefore(position, ciphertextLength);
      encryptedDataKeys.push({ providerId, providerInfo, ciphertext });
    }
    if (lacks(1)) yield position;
    const contentType = this.#bytes.readUInt8(position - 1);
    if (contentType !== CONTENT_FRAMED && contentType !== CONTENT_NON_FRAMED)
      throw invalid(`content type is ${contentType}`, position - 1);
    if (version === 1) {
      if (lacks(4)) yield position;
      if (this.#bytes.readUInt32BE(position - 4) !== 0)
        throw invalid("reserved bytes are not zero", position - 4);
      if (lacks(1)) yield position;
      if (this.#bytes.readUInt8(position - 1) !== IV_LENGTH)
        throw invalid("IV length is not 12", position - 1);
    }
    if (lacks(4)) yield position;
    const frameLength = this.#bytes.readUInt32BE(position - 4);
    const framed = contentType === CONTENT_FRAMED;
    if (framed !== frameLength > 0)
      throw invalid(`frame length ${frameLength} does not fit the content type`, position - 4);
    if (frameLength > maxFrameLength)
      throw new FramesealError(
        "LIMIT_EXCEEDED",
        `frame length ${frameLength} is above the limit of ${maxFrameLength}`,
      );
    const commitmentLength = version === 2 ? COMMITMENT_LENGTH : 0;
    if (lacks(commitmentLength)) yield position;
    const bodyLength = position;
    const nonceLength = version === 1 ? IV_LENGTH : 0;
    if (lacks(nonceLength)) yield position;
    if (lacks(TAG_LENGTH)) yield position;
    return {
      version,
      suite,
      messageId,
      encryptionContext,
      encryptedDataKeys,
      contentType: framed ? "framed" : "non-framed",
      frameLength,
      commitment: this.#bytesBefore(bodyLength, commitmentLength),
      body: this.#bytesBefore(bodyLength, bodyLength),
      nonce:
        version === 1 ? this.#bytesBefore(bodyLength + nonceLength, nonceLength) : new Uint8Array(IV_LENGTH),
      tag: this.#bytesBefore(position, TAG_LENGTH),
      length: position,
    };
  }
}

// Base64 of 01 80 starts with "AY", of 02 04 and 02 05 with "Ag".
function refuseBase64(second: number): void {
  if (second === 0x59 || second === 0x67)
    throw new FramesealError("INVALID_HEADER", "message looks Base64-encoded: decode it first");
}

function invalid(why: string, offset: number): FramesealError {
  return new FramesealError("INVALID_HEADER", `not a valid message header: ${why} (offset ${offset})`);
}

/**
 * Parses the header at the start of `message`.
 * @throws FramesealError as `HeaderParser.push`, and TRUNCATED when the header is not complete
 */
export function parseHeader(message: Uint8Array, limits: ReadLimits = {}): ParsedHeader {
  const parser = new HeaderParser(limits);
  parser.push(message);
  if (parser.header === undefined) throw truncatedHeader();
  return parser.header;
}

/** The error for input that ends inside the header. */
export function truncatedHeader(): FramesealError {
  return new FramesealError("TRUNCATED", "input ends inside the header");
}
