// One object without any client: body and metadata in, body and metadata out, for presigned URLs, fetch and other
// clients.
import { Readable } from "node:stream";
import { asBuffer, totalLength } from "../bytes.ts";
import {
  bytes as bytesOption,
  type Checks,
  checkOptions,
  needed,
  pairs,
  signal,
  text,
  wholeNumber,
  wrong,
} from "../check-options.ts";
import { FramesealError } from "../errors.ts";
import { isBytes, isReadable } from "../shapes.ts";
import { cutParts } from "./body-parts.ts";
import { fromStoredEncoding, toStoredEncoding } from "./content-encoding.ts";
import { endedBy } from "./ended-by.ts";
import { createFormats, FORMAT_OPTIONS, type FormatOptions } from "./formats.ts";
import { type BodySource, takeBody } from "./object-body.ts";
import type {
  ObjectFormat,
  ObjectLocation,
  ObjectSealer,
  ObjectSource,
  SealRequest,
  SideObject,
  StoredObject,
} from "./object-format.ts";
import { LOCATION } from "./object-format.ts";
import { joinMetadata, normalizeMetadata, USER_METADATA_PREFIX } from "./object-metadata.ts";
import { collectExactly } from "./object-source.ts";
import { checkNotReserved } from "./requests/side-object.ts";
import { Stop } from "./stop.ts";
import { untilRead } from "./until-read.ts";

/** Options of `encryptObject` and `decryptObject`. */
export interface ObjectOptions extends FormatOptions {
  readonly signal?: AbortSignal | undefined;
  /**
   * When encrypting: `Content-Encoding` of the plaintext. It is kept in the metadata of framed objects; as a header of
   * the request it would make fetch and browsers decompress ciphertext.
   */
  readonly contentEncoding?: string | undefined;
}

/** What the options must be. */
const OBJECT_OPTIONS: Checks<ObjectOptions> = { ...FORMAT_OPTIONS, signal, contentEncoding: text };

/** An encrypted object, ready to be stored. */
export interface EncryptedObject<Body> {
  readonly body: Body;
  /** User metadata to store, without `x-amz-meta-`. Without it nobody can open an `s3ec` object. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Bytes of `body`, if they are known. */
  readonly contentLength: number | undefined;
  /** To be stored next to the object, right after it, when there is one: without it nobody can open the object. */
  readonly instructionFile: SideObject | undefined;
}

/** An object as it was fetched. */
export interface FetchedObject<Body> {
  readonly body: Body;
  /** User metadata, with or without `x-amz-meta-`. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Bytes of `body`; needed for a stream. */
  readonly contentLength?: number | undefined;
  /** The content of the instruction file, when the metadata holds no envelope. */
  readonly instructionFile?: Uint8Array | undefined;
}

/** What an object that was fetched must be. */
const FETCHED_OBJECT: Checks<FetchedObject<unknown>> = {
  body: needed(checkBody),
  metadata: needed(pairs),
  contentLength: wholeNumber(0, Number.MAX_SAFE_INTEGER),
  instructionFile: bytesOption,
};

/** Plaintext of an object. A stream fails instead of ending when anything is not authentic. */
export interface DecryptedObject<Body> {
  readonly body: Body;
  readonly contentLength: number;
  /** `Content-Encoding` of the plaintext, as the metadata tells it: not verified. */
  readonly contentEncoding?: string | undefined;
}

/** Plaintext is sealed in parts of this many bytes. */
const PART_LENGTH = 8 * 1024 * 1024;

/**
 * Encrypts one object for `location`: bytes to bytes, a stream to a stream. A body of an object must be sent as it is;
 * encrypting again makes another object.
 * @throws TypeError, RangeError, FramesealError POLICY, LIMIT_EXCEEDED, NO_DATA_KEY, KEY_SERVICE, ABORTED
 */
export async function encryptObject<Body extends Uint8Array | Readable>(
  givenLocation: ObjectLocation,
  plaintext: Body,
  givenOptions: ObjectOptions,
): Promise<EncryptedObject<Body extends Uint8Array ? Uint8Array : Readable>> {
  const location = checkOptions("location", givenLocation, LOCATION);
  checkBody("plaintext", plaintext);
  const options = checkOptions("options", givenOptions, OBJECT_OPTIONS);
  const { written, all } = createFormats(options);
  checkNotReserved(location.key, all);
  const encoding = toStoredEncoding(options.contentEncoding, written);
  const plaintextLength = isBytes(plaintext) ? plaintext.length : undefined;
  const source = takeBody(plaintext, undefined);
  const sealer = await startObject(written, { location, plaintextLength, signal: options.signal }, source);
  const metadata = joinMetadata({}, { ...sealer.metadata, ...encoding.metadata });
  const described = { metadata, instructionFile: sealer.sideObject };
  const stream = Readable.from(sealParts(sealer, source, options.signal), { objectMode: false });
  stream.once("close", () => sealer.dispose());
  if (!isBytes(plaintext)) return { ...described, body: stream as never, contentLength: undefined };
  const contentLength = sealer.storedLength(plaintext.length);
  const body = await collectExactly(stream, contentLength);
  return { ...described, body: body as never, contentLength };
}

// The source may fail, or the caller abort, while a key service is asked that never answers.
async function startObject(
  format: ObjectFormat,
  request: SealRequest,
  source: BodySource,
): Promise<ObjectSealer> {
  let stop: Stop | undefined;
  try {
    stop = new Stop(request.signal);
    source.failInto(stop);
    return await stop.race(format.startObject(request), (late) => late.dispose());
  } catch (error) {
    source.close();
    throw error;
  } finally {
    stop?.release();
  }
}

async function* sealParts(
  sealer: ObjectSealer,
  source: BodySource,
  abortSignal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const length = Math.ceil(PART_LENGTH / sealer.alignment) * sealer.alignment;
  let offset = 0;
  for await (const { bytes, place } of cutParts(source, length, abortSignal)) {
    const part = await sealer.sealPart([bytes], { offset, length: bytes.length, place });
    offset += bytes.length;
    yield part.bytes;
  }
}

/**
 * Decrypts one object that was stored at `location`; its format is recognised. A stream can be read once only, so the
 * mode `two-pass` needs bytes.
 * @throws TypeError, RangeError
 * @throws FramesealError INVALID_METADATA, NOT_ENCRYPTED, AUTHENTICATION_FAILED and the others that reading gives
 */
export async function decryptObject<Body extends Uint8Array | Readable>(
  givenLocation: ObjectLocation,
  object: FetchedObject<Body>,
  givenOptions: ObjectOptions,
): Promise<DecryptedObject<Body extends Uint8Array ? Uint8Array : Readable>> {
  const location = checkOptions("location", givenLocation, LOCATION);
  const fetched = checkOptions("object", object, FETCHED_OBJECT);
  const options = checkOptions("options", givenOptions, OBJECT_OPTIONS);
  const { body, instructionFile } = fetched;
  const bytes = isBytes(body) ? body : undefined;
  const storedLength = bytes?.length ?? fetched.contentLength;
  if (storedLength === undefined)
    throw new TypeError('"contentLength" expected the length of the stream in bytes');
  const stored: StoredObject = {
    location,
    metadata: withoutPrefix(fetched.metadata),
    storedLength,
    source: sourceOf(bytes, instructionFile),
    signal: options.signal,
  };
  const formats = createFormats(options);
  // Listened to before anything is waited for: what breaks off meanwhile must not end the process.
  const stream =
    bytes === undefined ? endedBy(untilRead(body as Readable), options.signal) : streamOf([bytes]);
  const format = await formats.recognise(stored);
  const opened = await format.openWhole(stored, stream);
  const contentEncoding = fromStoredEncoding(undefined, stored.metadata);
  if (bytes === undefined)
    return {
      body: endedBy(opened.body, options.signal) as never,
      contentLength: opened.plaintextLength,
      contentEncoding,
    };
  const plaintext = await collectExactly(opened.body, opened.plaintextLength);
  return { body: plaintext as never, contentLength: plaintext.length, contentEncoding };
}

function sourceOf(bytes: Uint8Array | undefined, instructionFile: Uint8Array | undefined): ObjectSource {
  const part = (start: number, end: number): Uint8Array => {
    if (bytes === undefined)
      throw new FramesealError(
        "UNSUPPORTED",
        'the body is a stream and can be read only once: give bytes, raise "bufferSize", or choose the mode delayed',
      );
    return bytes.subarray(start, end);
  };
  return {
    read: async (start, end) => part(start, end),
    stream: async (start, end) => streamOf([part(start, end)]),
    fetchSideObject: async () =>
      instructionFile === undefined ? undefined : { metadata: {}, body: instructionFile },
  };
}

function streamOf(chunks: readonly Uint8Array[]): Readable {
  return Readable.from(totalLength(chunks) === 0 ? [] : chunks.map(asBuffer), { objectMode: false });
}

function withoutPrefix(metadata: Readonly<Record<string, string>>): Record<string, string> {
  const names: Record<string, string> = {};
  for (const [name, value] of Object.entries(normalizeMetadata(metadata)))
    names[name.startsWith(USER_METADATA_PREFIX) ? name.slice(USER_METADATA_PREFIX.length) : name] = value;
  return names;
}

function checkBody(name: string, body: unknown): unknown {
  if (!isBytes(body) && !isReadable(body)) throw wrong(name, "a Uint8Array or a Readable", body);
  return body;
}
