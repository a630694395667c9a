// PutObject: a body of up to one part is sealed in memory and sent whole, more goes as a multipart upload. Either way a
// retry sends the same stored bytes again, and each part is sealed once.
import type * as S3 from "@aws-sdk/client-s3";
import { isErrorNamed } from "../../shapes.ts";
import { BodyParts } from "../body-parts.ts";
import { toStoredEncoding } from "../content-encoding.ts";
import { type BodySource, takeBody } from "../object-body.ts";
import type { ObjectFormat, ObjectLocation, ObjectSealer } from "../object-format.ts";
import { checkCallerMetadata, joinMetadata, normalizeMetadata } from "../object-metadata.ts";
import { checkFields, repeatFields } from "../request-fields.ts";
import { Stop } from "../stop.ts";
import type { Next, Transport } from "../transport.ts";
import { FINGERPRINT_LENGTH, storeWhole } from "./lost-answer.ts";
import { PartMemory } from "./part-memory.ts";
import { type PartPlan, planParts } from "./part-plan.ts";
import { PartSpool } from "./part-spool.ts";
import { type PartSender, type UploadEnd, uploadParts } from "./parts-upload.ts";
import { checkNotReserved, storeWithSideObject } from "./side-object.ts";
import type { UploadOptions } from "./upload-settings.ts";

export type PutObjectInput = Partial<S3.PutObjectCommandInput> & { Body?: unknown };

/**
 * Encrypts and stores an object. Whatever fails or is aborted ends it at once, with the first reason: the source is
 * closed, and an upload that was begun is aborted.
 * @param sendWhole sends the caller's request with the fields given
 */
export async function putObject(
  input: PutObjectInput,
  location: ObjectLocation,
  format: ObjectFormat,
  transport: Transport,
  options: UploadOptions,
  sendWhole: (fields: Record<string, unknown>) => ReturnType<Next>,
): ReturnType<Next> {
  const encoding = toStoredEncoding(input.ContentEncoding, format);
  const source = takeBody(input.Body, input.ContentLength);
  try {
    const stop = new Stop(transport.signal);
    try {
      source.failInto(stop);
      const sealer = await startObject(format, location, source.length, stop);
      const own = { ...sealer.metadata, ...encoding.metadata };
      const fields = {
        ...encoding.fields,
        Metadata: joinMetadata(normalizeMetadata(input.Metadata), own),
      };
      const put = { input, fields, location, sealer, options, stop, transport };
      try {
        return await sendSealed(put, source, sendWhole);
      } finally {
        sealer.dispose();
      }
    } catch (error) {
      // What the SDK says of requests that were stopped.
      throw stop.stopped !== undefined && isErrorNamed(error, "AbortError") ? stop.stopped.reason : error;
    } finally {
      stop.release();
    }
  } finally {
    source.close();
  }
}

/** One PutObject whose data key is there. */
interface SealedPut {
  readonly input: PutObjectInput;
  /** What replaces fields of the input in the request that makes the object. */
  readonly fields: Readonly<Record<string, unknown>>;
  readonly location: ObjectLocation;
  readonly sealer: ObjectSealer;
  readonly options: UploadOptions;
  readonly stop: Stop;
  /** With the caller's signal. */
  readonly transport: Transport;
}

async function sendSealed(
  put: SealedPut,
  source: BodySource,
  sendWhole: (fields: Record<string, unknown>) => ReturnType<Next>,
): ReturnType<Next> {
  const { input, fields, location, sealer, options, stop } = put;
  const plan = planParts({
    ...options,
    length: source.length,
    alignment: sealer.alignment,
    storedLength: (length) => sealer.storedLength(length),
  });
  const isLong = source.length !== undefined && source.length > plan.wholeLength;
  const sealed = new SealedBody(new BodyParts(source, stop), sealer, plan, stop);
  try {
    const first = await sealed.first(isLong);
    const transport = put.transport.withSignal(stop.signal);
    const store = (): ReturnType<Next> => {
      if (first.place === "more" || isLong) return sendInParts(put, sealed, first);
      const { bytes } = first;
      const request = { ...fields, Body: bytes, ContentLength: bytes.length };
      const send = () => transport.matched({ ...input }, (match) => sendWhole({ ...request, ...match }));
      return stop.race(storeWhole(send, bytes, input, location, transport));
    };
    const around = { location, input, transport };
    return await storeWithSideObject(sealer.sideObject, around, store, ({ output }) => output);
  } finally {
    sealed.wipe();
  }
}

async function sendInParts(put: SealedPut, sealed: SealedBody, first: SealedPiece): ReturnType<Next> {
  const { input, fields, location, options, stop, transport } = put;
  const { uploadConcurrency: concurrency, spoolFolder } = options;
  const ChecksumAlgorithm = input.ChecksumAlgorithm ?? (await transport.defaultChecksum());
  const described = repeatFields({ ...input, ...fields }, "CreateMultipartUpload");
  const create = { ...described, ChecksumAlgorithm, Metadata: fields.Metadata };
  const request = repeatFields(input, "CompleteMultipartUpload");
  const output = await uploadParts({ location, create, concurrency, stop }, transport, (sender) =>
    sealed.send(first, sender, { spoolFolder, ChecksumAlgorithm, request }),
  );
  return { output: output as unknown as Record<string, unknown>, response: undefined };
}

// A sealer that comes after the operation has stopped is disposed of.
function startObject(
  format: ObjectFormat,
  location: ObjectLocation,
  plaintextLength: number | undefined,
  stop: Stop,
): Promise<ObjectSealer> {
  const starting = format.startObject({ location, plaintextLength, signal: stop.signal });
  return stop.race(starting, (late) => late.dispose());
}

/** A sealed piece of a body. */
interface SealedPiece {
  readonly bytes: Uint8Array;
  /** Bytes of plaintext. */
  readonly length: number;
  readonly place: "more" | "last";
  /** The bytes are not needed any more. */
  release(): void;
}

/** What the parts of one upload are sent with. */
interface PartsRequest {
  readonly spoolFolder: string;
  readonly ChecksumAlgorithm: S3.ChecksumAlgorithm | undefined;
  /** Further fields of Complete. */
  readonly request: Partial<S3.CompleteMultipartUploadCommandInput>;
}

/** One body on its way from plaintext to sealed parts. */
class SealedBody {
  readonly #body: BodyParts;
  readonly #sealer: ObjectSealer;
  readonly #plan: PartPlan;
  readonly #stop: Stop;
  #memory: PartMemory | undefined;
  /** The part length for which the memory is divided. */
  #divided: number | undefined;
  #offset = 0;

  constructor(body: BodyParts, sealer: ObjectSealer, plan: PartPlan, stop: Stop) {
    this.#body = body;
    this.#sealer = sealer;
    this.#plan = plan;
    this.#stop = stop;
  }

  /**
   * Seals the first piece: all of a body that is sent whole, else the first part or a slice of it.
   * @param isLong the body is known not to be sent whole
   */
  async first(isLong: boolean): Promise<SealedPiece> {
    const { wholeLength, sliceLength } = this.#plan;
    const length = isLong && this.#isSpooled(this.#plan.lengthOf(1)) ? sliceLength : wholeLength;
    if (isLong) return this.#next(length, this.#divide(length));
    const { bytes, place } = await this.#body.next(length, () => this.#divide(length).plaintext);
    return this.#seal(bytes, place, this.#memory);
  }

  /** Sends the first piece and all others. */
  async send(first: SealedPiece, sender: PartSender, request: PartsRequest): Promise<UploadEnd> {
    const fingerprint = first.bytes.slice(0, FINGERPRINT_LENGTH);
    let piece: SealedPiece | undefined = first;
    for (let number = 1, place = "more"; place === "more"; number++) {
      const length = this.#plan.lengthOf(number);
      if (this.#isSpooled(length)) place = await this.#sendSpooled(number, length, piece, sender, request);
      else {
        piece ??= await this.#next(length, await this.#divideFor(length, sender));
        place = piece.place;
        await sender.send(number, piece.bytes, piece.release);
      }
      piece = undefined;
    }
    return { storedLength: this.#sealer.storedLength(this.#offset), fingerprint, request: request.request };
  }

  // One part is filled while the one before is on its way.
  async #sendSpooled(
    number: number,
    length: number,
    first: SealedPiece | undefined,
    sender: PartSender,
    { spoolFolder, ChecksumAlgorithm }: PartsRequest,
  ): Promise<"more" | "last"> {
    const spool = await PartSpool.create(spoolFolder, ChecksumAlgorithm);
    const close = (): void => void spool.close().catch(() => {});
    try {
      let place: "more" | "last" = "more";
      let piece = first;
      for (let filled = 0; filled < length && place === "more"; piece = undefined) {
        const sliceLength = Math.min(this.#plan.sliceLength, length - filled);
        piece ??= await this.#next(sliceLength, await this.#divideFor(this.#plan.sliceLength, sender));
        await this.#stop.race(spool.write(piece.bytes));
        piece.release();
        filled += piece.length;
        place = piece.place;
      }
      await sender.settled();
      await sender.send(number, spool, close);
      return place;
    } catch (error) {
      close();
      throw error;
    }
  }

  #isSpooled(length: number): boolean {
    return this.#plan.slotsFor(length) === 0;
  }

  async #next(length: number, memory: PartMemory): Promise<SealedPiece> {
    const { bytes, place } = await this.#body.next(length, memory.plaintext);
    return this.#seal(bytes, place, memory);
  }

  async #seal(
    plaintext: Uint8Array,
    place: "more" | "last",
    memory: PartMemory | undefined,
  ): Promise<SealedPiece> {
    const slot = await memory?.take();
    const { length } = plaintext;
    const position = { offset: this.#offset, length, place };
    const { bytes } = await this.#stop.race(this.#sealer.sealPart([plaintext], position, slot?.bytes));
    this.#offset += length;
    return { bytes, length, place, release: () => slot?.release() };
  }

  // Memory in use is divided anew when all parts of the old length have arrived.
  async #divideFor(length: number, sender: PartSender): Promise<PartMemory> {
    if (this.#divided !== length) await sender.settled();
    return this.#divide(length);
  }

  #divide(length: number): PartMemory {
    this.#memory ??= new PartMemory(this.#plan.memoryLength, this.#stop);
    if (this.#divided !== length)
      this.#memory.divide(
        length,
        this.#sealer.storedLength(length),
        Math.max(1, this.#plan.slotsFor(length)),
      );
    this.#divided = length;
    return this.#memory;
  }

  /** Overwrites what is left of the plaintext. */
  wipe(): void {
    this.#body.wipe();
    this.#memory?.wipe();
  }
}

/**
 * Refuses fields that speak of the plaintext where S3 would take them for the stored bytes, and metadata names and keys of
 * the formats.
 * @throws TypeError, FramesealError UNSUPPORTED, POLICY
 */
export function checkCallerFields(
  input: Readonly<Record<string, unknown>>,
  formats: readonly ObjectFormat[],
): void {
  checkFields(input);
  if (typeof input.Key === "string") checkNotReserved(input.Key, formats);
  checkCallerMetadata(input.Metadata, (name) => formats.some((format) => format.ownsMetadata(name)));
}
