// The requests of multipart uploads that callers make by hand, through lib-storage or other tools.
import type * as S3 from "@aws-sdk/client-s3";
import { FramesealError, throwIfAborted } from "../../errors.ts";
import { isErrorNamed } from "../../shapes.ts";
import { collectBody } from "../body-parts.ts";
import { toStoredEncoding } from "../content-encoding.ts";
import type { Formats } from "../formats.ts";
import type { ObjectLocation } from "../object-format.ts";
import { joinMetadata, normalizeMetadata } from "../object-metadata.ts";
import { repeatFields } from "../request-fields.ts";
import { Stop } from "../stop.ts";
import type { Next, Transport } from "../transport.ts";
import type { ListedPart, S3Access } from "./complete-upload.ts";
import type { EncryptedUpload } from "./encrypted-upload.ts";
import type { Send } from "./get.ts";
import { abortUpload, uploadIdOf } from "./parts-upload.ts";
import { checkCallerFields } from "./put.ts";
import type { UploadRegistry } from "./upload-registry.ts";

type Input = Readonly<Record<string, unknown>>;

/** Longest part that S3 takes. */
const MAX_PART_LENGTH = 5 * 2 ** 30;

/** Answers the requests of one call. */
export class MultipartHandler {
  readonly #uploads: UploadRegistry;
  readonly #formats: Formats;
  readonly #transport: Transport;
  readonly #fallbackPartLength: number | undefined;

  constructor(
    uploads: UploadRegistry,
    formats: Formats,
    transport: Transport,
    fallbackPartLength: number | undefined,
  ) {
    this.#uploads = uploads;
    this.#formats = formats;
    this.#transport = transport;
    this.#fallbackPartLength = fallbackPartLength;
  }

  /** Settles when the caller aborts, whatever does not answer then: a body, a store, a key service. */
  async handle(name: string, input: Input, location: ObjectLocation, send: Send): ReturnType<Next> {
    const stop = new Stop(this.#transport.signal);
    try {
      return await stop.race(this.#handle(name, input, location, send));
    } finally {
      stop.release();
    }
  }

  async #handle(name: string, input: Input, location: ObjectLocation, send: Send): ReturnType<Next> {
    if (name === "CreateMultipartUploadCommand") return this.#create(input, location, send);
    const uploadId = String(input.UploadId);
    if (name === "AbortMultipartUploadCommand") return this.#abort(uploadId, location, send);
    const upload = await this.#uploads.find(uploadId, location, this.#transport, input);
    upload.rememberKey(input);
    if (name === "UploadPartCommand") return this.#uploadPart(upload, input, send);
    if (name === "ListPartsCommand") return this.#listParts(upload, send);
    return this.#complete(upload, input);
  }

  async #create(input: Input, location: ObjectLocation, send: Send): ReturnType<Next> {
    checkCallerFields(input, this.#formats.all);
    const encoding = toStoredEncoding(input.ContentEncoding, this.#formats.written);
    // The SDK puts a checksum on every part by itself: S3 takes it only if it was announced.
    const ChecksumAlgorithm = input.ChecksumAlgorithm ?? (await this.#transport.defaultChecksum());
    const access = repeatFields({ ...input, ChecksumAlgorithm }, "UploadPart") as S3Access;
    const sealer = await this.#formats.written.startObject({ location, signal: this.#transport.signal });
    try {
      const caller = normalizeMetadata(input.Metadata as Record<string, string> | undefined);
      const Metadata = joinMetadata(caller, { ...sealer.metadata, ...encoding.metadata });
      const result = await send({ ChecksumAlgorithm, Metadata, ...encoding.fields });
      const UploadId = uploadIdOf(result.output);
      try {
        const side = repeatFields(input, "SideObject");
        await this.#uploads.add(this.#formats.written, sealer, location, UploadId, access, side);
        if (this.#transport.signal?.aborted === true) {
          await this.#uploads.remove(UploadId);
          throwIfAborted(this.#transport.signal); // nobody would know of the upload
        }
      } catch (error) {
        const target = { Bucket: location.bucket, Key: location.key, UploadId };
        const request = { ...repeatFields(input, "AbortMultipartUpload"), ...target };
        throw await abortUpload(this.#transport, request, error);
      }
      return result;
    } catch (error) {
      sealer.dispose();
      throw error;
    }
  }

  async #uploadPart(upload: EncryptedUpload, input: Input, send: Send): ReturnType<Next> {
    checkCallerFields(input, []);
    const { PartNumber, Body, ContentLength } = input;
    if (typeof PartNumber !== "number")
      throw new TypeError(`"PartNumber" expected a number, got ${typeof PartNumber}`);
    const limit = Math.min(upload.ledger.partLength ?? MAX_PART_LENGTH, MAX_PART_LENGTH);
    const collecting = collectBody(Body, limit, ContentLength, this.#transport.signal);
    const plaintext = await upload.inOrder(PartNumber, collecting);
    const bytes = await upload.sealPart(PartNumber, plaintext, this.#fallbackPartLength);
    const result = await send({ Body: bytes, ContentLength: bytes.length });
    upload.recordSent(PartNumber, result.output, bytes.length);
    return result;
  }

  async #complete(upload: EncryptedUpload, input: Input): ReturnType<Next> {
    checkCallerFields(input, []);
    const listed = (input.MultipartUpload as { Parts?: ListedPart[] } | undefined)?.Parts ?? [];
    const access = repeatFields(input, "UploadPart") as S3Access;
    const { parts, storedLength, plaintextLength } = await upload.close(listed, this.#transport, access);
    const { MpuObjectSize, ...request } = input;
    if (MpuObjectSize !== undefined && Number(MpuObjectSize) !== plaintextLength)
      throw new RangeError(
        `"MpuObjectSize" expected the ${plaintextLength} bytes that were sent, got ${MpuObjectSize}`,
      );
    const output = await upload.complete(parts, storedLength, this.#transport, {
      ...(request as Partial<S3.CompleteMultipartUploadCommandInput>),
      ...(MpuObjectSize === undefined ? {} : { MpuObjectSize: storedLength }),
    });
    await this.#uploads.remove(upload.uploadId);
    return { output: output as unknown as Record<string, unknown>, response: undefined };
  }

  async #abort(uploadId: string, location: ObjectLocation, send: Send): ReturnType<Next> {
    try {
      const result = await send({});
      await this.#uploads.remove(uploadId);
      return result;
    } catch (error) {
      if (isErrorNamed(error, "NoSuchUpload")) await this.#uploads.removeLost(uploadId, location);
      throw error;
    }
  }

  // Sizes as the caller sent them; the bytes that close an object are no part of his.
  async #listParts(upload: EncryptedUpload, send: Send): ReturnType<Next> {
    const result = await send({});
    await upload.refresh(); // others may have sent parts
    const parts = (result.output.Parts as S3.Part[] | undefined)?.map((part) => {
      const entry = upload.ledger.get(part.PartNumber ?? 0);
      if (entry === undefined)
        throw new FramesealError("POLICY", `part ${part.PartNumber} was not sent by this client`);
      return { ...part, Size: entry.length };
    });
    return { ...result, output: { ...result.output, ...(parts === undefined ? {} : { Parts: parts }) } };
  }
}
