// Framed objects: the stored body is one AWS Encryption SDK message, in parts that begin and end with whole frames.
// Every frame is authenticated, so parts are sealed in any order and ranges are verified. The metadata repeats what the
// header says, as hints.
import type { Readable } from "node:stream";
import { asBuffer } from "../../bytes.ts";
import { pickOptions } from "../../check-options.ts";
import { NO_FINAL_FRAME } from "../../engine/engine.ts";
import { FramesealError, hasCode, isFramesealError, throwIfAborted } from "../../errors.ts";
import type { EncryptedDataKey } from "../../format/encrypted-data-key.ts";
import { contextOption, type EncryptionContext } from "../../format/encryption-context.ts";
import { layoutFromPlaintext, messageLength, plaintextLengthOf } from "../../format/frame.ts";
import { HeaderParser, type MessageHeader, type ParsedHeader, truncatedHeader } from "../../format/header.ts";
import { formatSuiteId, suiteById } from "../../format/suite.ts";
import { rawAesKeyName } from "../../keyring/raw-aes-info.ts";
import { DECRYPT_OPTIONS, type DecryptOptions } from "../../message/open-message.ts";
import { resumeFrames } from "../../message/resume-frames.ts";
import { type EncryptOptions, type PreparedFrames, prepareFrames } from "../../message/seal-message.ts";
import { createDecryptStream } from "../../stream/decrypt-stream.ts";
import { asyncFrom } from "../../stream/frame-machine.ts";
import type {
  KeyBinding,
  ObjectFormat,
  ObjectLocation,
  ObjectMetadata,
  ObjectSealer,
  OpenedObject,
  OpenedRange,
  PartPosition,
  SealedPart,
  SealRequest,
  SizeRule,
  StoredObject,
} from "../object-format.ts";
import { FRAMED_PREFIX, framedNames } from "../object-metadata.ts";
import { bodyFailure, isForbidden } from "../object-source.ts";
import { pipeInto } from "../opened-body.ts";
import type { RequestedRange } from "../requested-range.ts";
import { HEAD_LENGTH } from "../stored-bytes.ts";
import { untilRead } from "../until-read.ts";
import { openFrameRange } from "./frame-range.ts";
import { boundContext, checkBinding, checkBound, staysBound } from "./key-binding.ts";
import { hintedShape, MessageShapes } from "./message-shapes.ts";

/** How framed objects are written and read. Only `keyring` is needed. */
export interface FramedObjectOptions
  extends Omit<EncryptOptions, "plaintextLength" | "signal" | "concurrency">,
    Pick<DecryptOptions, "maxHeaderLength" | "maxNonFramedLength" | "signedMessages"> {
  /**
   * What an object is bound to and what is demanded on read; by default `key` is written, and what the writer bound is
   * demanded, the key at least. Named, exactly that is demanded: `key` opens objects bound to another bucket too. Objects
   * of the S3 Encryption Clients are bound to nothing, and refused when a binding is named.
   */
  readonly bind?: KeyBinding | undefined;
}

/** Longest value of the hint about keys; one that would be longer is left out. */
const MAX_KEYS_HINT_LENGTH = 512;
/** The format of framed objects. */
export class FramedFormat implements ObjectFormat {
  readonly name = "framed";
  readonly #options: FramedObjectOptions;
  readonly #bind: KeyBinding | undefined;
  readonly #context: EncryptionContext;
  readonly #shapes: MessageShapes;

  constructor(options: FramedObjectOptions) {
    this.#options = options;
    this.#bind = options.bind;
    this.#context = Object.freeze({ ...options.encryptionContext });
    checkBinding(this.#bind, this.#context, options.requiredEncryptionContextKeys);
    this.#shapes = new MessageShapes(this.#bind);
    if (options.suite !== undefined && suiteById(options.suite).signature !== "none")
      throw new FramesealError(
        "POLICY",
        "objects are sealed in parts, which a signature over the whole message does not allow",
      );
  }

  async startObject(request: SealRequest): Promise<ObjectSealer> {
    const { plaintextLength, signal } = request;
    const frames = await prepareFrames({
      ...this.#options,
      encryptionContext: this.#contextOf(request.location),
      ...(plaintextLength === undefined ? {} : { plaintextLength }),
      ...(signal === undefined ? {} : { signal }),
    });
    const { frameLength, suite } = frames.header;
    this.#shapes.learn({ headerLength: frames.headerBytes.length, frameLength, suite }, request.location);
    return new FramedSealer(frames);
  }

  async resumeObject(state: unknown, request: SealRequest): Promise<ObjectSealer> {
    const header = (state as { header?: unknown } | null)?.header;
    if (typeof header !== "string") throw new TypeError('"state" expected what exportState returned');
    const frames = await resumeFrames(Uint8Array.from(Buffer.from(header, "base64")), {
      ...this.#options,
      encryptionContext: this.#contextOf(request.location),
      signal: request.signal,
    });
    if (!staysBound(frames.header.encryptionContext, request.location)) {
      frames.dispose();
      throw new FramesealError("CONTEXT_MISMATCH", "upload was started for an object of another name");
    }
    return new FramedSealer(frames);
  }

  #contextOf(location: ObjectLocation): EncryptionContext {
    // Checked again: it may be too long with the pairs that were added.
    return contextOption(
      "encryptionContext",
      boundContext(this.#bind, location, this.#context),
    ) as EncryptionContext;
  }

  recognises({ metadata }: StoredObject): boolean {
    const format = metadata[framedNames.format];
    if (format === undefined) return false;
    if (format !== "framed")
      throw new FramesealError("INVALID_METADATA", `"${framedNames.format}" of the object is not known`);
    return true;
  }

  async openWhole(object: StoredObject, body: Readable): Promise<OpenedObject> {
    const { signal } = object;
    try {
      const parsed = await this.#readHeader(object, body);
      const plaintextLength = wholeLength(object, parsed);
      const decrypt = createDecryptStream({
        ...this.#decryptOptions(object.location),
        ...(signal === undefined ? {} : { signal }),
      });
      const opened = new Promise<void>((resolve, reject) => {
        decrypt.once("header", () => resolve());
        decrypt.once("error", reject);
      });
      pipeInto(body, decrypt);
      await opened;
      return { plaintextLength, body: untilRead(decrypt), header: parsed };
    } catch (error) {
      body.destroy();
      throw error;
    }
  }

  async openRange(object: StoredObject, range: RequestedRange, head: Uint8Array): Promise<OpenedRange> {
    const parser = this.#parser();
    pushHead(parser, head, object);
    let offset = head.length;
    for (let step = HEAD_LENGTH; parser.header === undefined; step *= 4) {
      if (offset >= object.storedLength) throw truncatedHeader();
      const end = Math.min(object.storedLength, offset + step);
      pushHead(parser, await object.source.read(offset, end), object);
      offset = end;
    }
    const parsed = parser.header;
    this.#checkBound(object, parsed);
    return openFrameRange(object, range, head, parsed, this.#decryptOptions(object.location));
  }

  async sizeRule(object: StoredObject): Promise<SizeRule> {
    const hinted = hintedShape(object.metadata);
    if (hinted !== undefined && this.#shapes.knows(hinted, object.location))
      return this.#shapes.rule(hinted, object.location);
    let parsed: ParsedHeader;
    try {
      parsed = await this.fetchHeader(object);
    } catch (error) {
      // An archived object can be described but not read.
      if (hinted !== undefined && isForbidden(error)) return this.#shapes.rule(hinted, object.location);
      throw error;
    }
    if (parsed.contentType !== "framed")
      return { name: undefined, isExact: true, lengthOf: () => wholeLength(object, parsed) };
    const shape = { headerLength: parsed.length, frameLength: parsed.frameLength, suite: parsed.suite };
    this.#shapes.learn(shape, object.location);
    return this.#shapes.rule(shape, object.location);
  }

  ownsMetadata(name: string): boolean {
    return name.startsWith(FRAMED_PREFIX);
  }

  async checkCopy(_from: ObjectLocation, to: ObjectLocation, object: StoredObject): Promise<void> {
    const { encryptionContext } = await this.fetchHeader(object);
    if (!staysBound(encryptionContext, to))
      throw new FramesealError(
        "POLICY",
        "object is bound to its name, so a copy under another one could not be opened: encrypt it again",
      );
  }

  sideObjectKeys(): readonly string[] {
    return [];
  }
  isSideObject(): boolean {
    return false;
  }

  #decryptOptions(location: ObjectLocation): DecryptOptions {
    const options = { ...this.#options, encryptionContext: this.#contextOf(location) };
    return pickOptions(options, DECRYPT_OPTIONS) as DecryptOptions;
  }

  #parser(): HeaderParser {
    return new HeaderParser(this.#options);
  }

  #checkBound(object: StoredObject, header: MessageHeader): void {
    checkBound(this.#bind, object.location, header.encryptionContext);
  }

  /**
   * The header of a stored object, of which nothing is verified.
   * @throws FramesealError NOT_ENCRYPTED, TRUNCATED, INVALID_HEADER, UNSUPPORTED, LIMIT_EXCEEDED
   */
  async fetchHeader(object: StoredObject): Promise<ParsedHeader> {
    const parser = this.#parser();
    for (let offset = 0, step = HEAD_LENGTH; parser.header === undefined; step *= 4) {
      if (offset >= object.storedLength) throw offset === 0 ? notEncrypted(object) : truncatedHeader();
      const end = Math.min(object.storedLength, offset + step);
      pushHead(parser, await object.source.read(offset, end), object);
      offset = end;
    }
    return parser.header;
  }

  // Reads `body` until its header is complete and puts the bytes back.
  async #readHeader(object: StoredObject, body: Readable): Promise<ParsedHeader> {
    const parser = this.#parser();
    const taken: Uint8Array[] = [];
    const iterator = body.iterator({ destroyOnReturn: false });
    try {
      for await (const chunk of iterator) {
        throwIfAborted(object.signal);
        taken.push(chunk);
        pushHead(parser, chunk, object);
        if (parser.header !== undefined) break;
      }
    } catch (error) {
      throw isFramesealError(error) ? error : bodyFailure(error);
    }
    const parsed = parser.header;
    if (parsed === undefined) throw taken.length === 0 ? notEncrypted(object) : truncatedHeader();
    this.#checkBound(object, parsed);
    body.unshift(taken.length === 1 ? taken[0] : Buffer.concat(taken));
    return parsed;
  }
}

// Bytes that are no header mean "not encrypted" unless the object claims to be.
function pushHead(parser: HeaderParser, bytes: Uint8Array, object: StoredObject): void {
  try {
    parser.push(bytes);
  } catch (error) {
    if (hasCode(error, "INVALID_HEADER") || hasCode(error, "UNSUPPORTED")) {
      if (object.metadata[framedNames.format] === undefined) throw notEncrypted(object, error);
    }
    throw error;
  }
}

function notEncrypted(object: StoredObject, cause?: unknown): FramesealError {
  if (object.metadata[framedNames.format] !== undefined) return truncatedHeader();
  return new FramesealError(
    "NOT_ENCRYPTED",
    "object is not encrypted by any format known here",
    cause === undefined ? undefined : { cause },
  );
}

function wholeLength(object: StoredObject, parsed: ParsedHeader): number {
  if (parsed.contentType !== "framed") return object.storedLength - parsed.length - 36;
  return plaintextLengthOf(object.storedLength, {
    headerLength: parsed.length,
    frameLength: parsed.frameLength,
    suite: parsed.suite,
  });
}

/** Seals the parts of one framed object. */
class FramedSealer implements ObjectSealer {
  readonly metadata: ObjectMetadata;
  readonly alignment: number;
  readonly #frames: PreparedFrames;
  #disposed = false;
  #recorded = false;

  constructor(frames: PreparedFrames) {
    this.#frames = frames;
    this.alignment = frames.header.frameLength;
    this.metadata = Object.freeze(hintsOf(frames));
  }

  storedLength(plaintextLength: number): number {
    const { suite, frameLength } = this.#frames.header;
    return messageLength(plaintextLength, {
      headerLength: this.#frames.headerBytes.length,
      frameLength,
      suite,
    });
  }

  ledgerKey(): Uint8Array {
    return this.#frames.ledgerKey();
  }

  async sealPart(
    chunks: readonly Uint8Array[],
    position: PartPosition,
    output?: Uint8Array,
  ): Promise<SealedPart> {
    const { offset, length, place } = position;
    const { frameLength } = this.#frames.header;
    if (this.#disposed) throw new Error("internal error: object sealer was disposed");
    if (offset % frameLength !== 0) throw new Error("internal error: part is not aligned");
    layoutFromPlaintext(offset + length, frameLength); // LIMIT_EXCEEDED before a number could wrap
    const firstSequence = offset / frameLength + 1;
    let frameCount = length / frameLength;
    let finalLength = NO_FINAL_FRAME;
    if (place === "last") {
      frameCount = Math.floor(length / frameLength);
      finalLength = length - frameCount * frameLength;
    } else if (!Number.isInteger(frameCount)) throw new Error("internal error: part is not whole frames");
    const { headerBytes, cipher } = this.#frames;
    const headroom = offset === 0 ? headerBytes.length : 0;
    const parallel = length >= asyncFrom(cipher) && cipher.sealAsync !== undefined;
    let bytes: Uint8Array;
    if (parallel && cipher.sealAsync !== undefined)
      bytes = await cipher.sealAsync(chunks, firstSequence, frameCount, finalLength, headroom);
    else if (output !== undefined && cipher.sealInto !== undefined) {
      const frames = output.subarray(headroom);
      const sealedLength = cipher.sealInto(frames, chunks, firstSequence, frameCount, finalLength);
      bytes = output.subarray(0, headroom + sealedLength);
    } else bytes = cipher.seal(chunks, firstSequence, frameCount, finalLength, headroom);
    if (headroom > 0) bytes.set(headerBytes);
    if (place === "last" && !this.#recorded) {
      this.#recorded = true;
      this.#frames.recordUse(offset + length);
    }
    return { bytes, closed: place === "last" };
  }

  async close(plaintextLength: number): Promise<Uint8Array> {
    const { frameLength } = this.#frames.header;
    if (plaintextLength % frameLength !== 0 || plaintextLength === 0)
      throw new Error("internal error: the last part is not full");
    const { bytes } = await this.sealPart([], { offset: plaintextLength, length: 0, place: "last" });
    return bytes;
  }

  exportState(): unknown {
    return { header: asBuffer(this.#frames.headerBytes).toString("base64") };
  }

  dispose(): void {
    if (!this.#disposed) this.#frames.dispose();
    this.#disposed = true;
  }
}

function hintsOf({ header, headerBytes }: PreparedFrames): Record<string, string> {
  const hints: Record<string, string> = {
    [framedNames.format]: "framed",
    [framedNames.headerLength]: String(headerBytes.length),
    [framedNames.frameLength]: String(header.frameLength),
    [framedNames.suite]: formatSuiteId(header.suite.id),
  };
  const keys = header.encryptedDataKeys.map(describeKey).join(",");
  if (keys.length <= MAX_KEYS_HINT_LENGTH) hints[framedNames.keys] = keys;
  return hints;
}

/** `namespace/name` of the wrapping key of an entry, percent-encoded. */
function describeKey(key: EncryptedDataKey): string {
  const name = rawAesKeyName(key.providerInfo) ?? asBuffer(key.providerInfo).toString("utf8");
  const provider = Buffer.from(key.providerId, "utf8").toString("utf8"); // as the header has it: well-formed
  return `${encodeURIComponent(provider)}/${encodeURIComponent(name)}`;
}
