// The message header: bytes <-> values, for both versions. Parsing is incremental and bounded; nothing here verifies
// anything: the tag is checked by the message layer over the raw bytes kept here.
import { ByteWriter } from "../bytes.ts";
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

/** Bounds on what is accepted, each with a default in `limits.ts`. */
export interface ReadLimits {
  readonly maxEncryptedDataKeys?: number | undefined;
  readonly maxHeaderLength?: number | undefined;
  readonly maxFrameLength?: number | undefined;
  /** Bytes of a body without frames; it is held in memory whole. */
  readonly maxNonFramedLength?: number | undefined;
}

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

/**
 * Parses a header from chunks of any size. Each step waits for exactly the bytes it needs, copies them once, and
 * allocates no more than twice what was received.
 */
export class HeaderParser {
  readonly #limits: ReturnType<typeof readLimits>;
  readonly #steps: Generator<number, ParsedHeader, void>;
  #bytes = Buffer.alloc(1024);
  #length = 0;
  #needed: number;
  #header: ParsedHeader | undefined;
  #failed = false;

  constructor(limits: ReadLimits = {}) {
    this.#limits = readLimits(limits);
    this.#steps = this.#parse();
    this.#needed = this.#steps.next().value as number;
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
    let taken = 0;
    while (this.#header === undefined) {
      const count = Math.min(this.#needed - this.#length, chunk.length - taken);
      this.#append(chunk.subarray(taken, taken + count));
      taken += count;
      if (this.#length < this.#needed) break;
      this.#failed = true; // unless the next line returns: a generator that has thrown gives no header any more
      const step = this.#steps.next();
      this.#failed = false;
      if (step.done) this.#header = step.value;
      else this.#needed = step.value;
    }
    return taken;
  }

  #append(part: Uint8Array): void {
    const length = this.#length + part.length;
    if (length > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(length, this.#bytes.length * 2));
      this.#bytes.copy(larger, 0, 0, this.#length);
      this.#bytes = larger;
    }
    this.#bytes.set(part, this.#length);
    this.#length = length;
  }

  // Yields the total length that must be there before it goes on.
  *#parse(): Generator<number, ParsedHeader, void> {
    let position = 0;
    const { maxHeaderLength, maxEncryptedDataKeys, maxFrameLength } = this.#limits;
    function* need(count: number): Generator<number, number, void> {
      const at = position;
      position += count;
      if (position > maxHeaderLength)
        throw new FramesealError("LIMIT_EXCEEDED", `header is longer than ${maxHeaderLength} bytes`);
      if (count > 0) yield position;
      return at;
    }
    const self = this;
    function* uint8(): Generator<number, number, void> {
      return self.#bytes.readUInt8(yield* need(1));
    }
    function* uint16(): Generator<number, number, void> {
      return self.#bytes.readUInt16BE(yield* need(2));
    }
    function* uint32(): Generator<number, number, void> {
      return self.#bytes.readUInt32BE(yield* need(4));
    }
    function* bytes(count: number): Generator<number, Uint8Array, void> {
      const at = yield* need(count);
      return Uint8Array.prototype.slice.call(self.#bytes, at, at + count);
    }

    const version = yield* uint8();
    if (version !== 1 && version !== 2) {
      if (version === 0x41) yield* rejectBase64(uint8);
      throw invalid(`version is ${version}`, 0);
    }
    if (version === 1) {
      const type = yield* uint8();
      if (type !== TYPE_CUSTOMER_DATA) throw invalid(`type is ${type}`, 1);
    }
    const suite = suiteById(yield* uint16());
    if (suite.version !== version)
      throw invalid(`suite ${formatSuiteId(suite.id)} does not belong to version ${version}`, position - 2);
    const messageId = yield* bytes(suite.messageIdLength);
    const encryptionContext = decodeEncryptionContext(yield* bytes(yield* uint16()));
    const count = yield* uint16();
    if (count === 0) throw invalid("it has no encrypted data key", position - 2);
    if (count > maxEncryptedDataKeys)
      throw new FramesealError(
        "LIMIT_EXCEEDED",
        `header announces ${count} encrypted data keys, at most ${maxEncryptedDataKeys} are allowed`,
      );
    const encryptedDataKeys: EncryptedDataKey[] = [];
    for (let i = 0; i < count; i++) {
      const providerIdAt = position + 2;
      const providerId = Buffer.from(yield* bytes(yield* uint16()));
      if (!isUtf8(providerId)) throw invalid("a key provider id is not UTF-8", providerIdAt);
      const providerInfo = yield* bytes(yield* uint16());
      const ciphertext = yield* bytes(yield* uint16());
      encryptedDataKeys.push({ providerId: providerId.toString("utf8"), providerInfo, ciphertext });
    }
    const contentType = yield* uint8();
    if (contentType !== CONTENT_FRAMED && contentType !== CONTENT_NON_FRAMED)
      throw invalid(`content type is ${contentType}`, position - 1);
    if (version === 1) {
      if ((yield* uint32()) !== 0) throw invalid("reserved bytes are not zero", position - 4);
      if ((yield* uint8()) !== IV_LENGTH) throw invalid("IV length is not 12", position - 1);
    }
    const frameLength = yield* uint32();
    const framed = contentType === CONTENT_FRAMED;
    if (framed !== frameLength > 0)
      throw invalid(`frame length ${frameLength} does not fit the content type`, position - 4);
    if (frameLength > maxFrameLength)
      throw new FramesealError(
        "LIMIT_EXCEEDED",
        `frame length ${frameLength} is above the limit of ${maxFrameLength}`,
      );
    const commitment = yield* bytes(version === 2 ? COMMITMENT_LENGTH : 0);
    const bodyLength = position;
    const nonce = version === 1 ? yield* bytes(IV_LENGTH) : new Uint8Array(IV_LENGTH);
    const tag = yield* bytes(TAG_LENGTH);
    return {
      version,
      suite,
      messageId,
      encryptionContext,
      encryptedDataKeys,
      contentType: framed ? "framed" : "non-framed",
      frameLength,
      commitment,
      body: Uint8Array.prototype.slice.call(this.#bytes, 0, bodyLength),
      nonce,
      tag,
      length: position,
    };
  }
}

// Base64 of 01 80 starts with "AY", of 02 04 and 02 05 with "Ag".
function* rejectBase64(uint8: () => Generator<number, number, void>): Generator<number, void, void> {
  const second = yield* uint8();
  if (second === 0x59 || second === 0x67)
    throw new FramesealError("INVALID_HEADER", "message looks Base64-encoded: decode it first");
}

function isUtf8(bytes: Buffer): boolean {
  return Buffer.compare(Buffer.from(bytes.toString("utf8"), "utf8"), bytes) === 0;
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
