// PutObject: a body of up to one part is sealed in memory and sent whole, more goes as a multipart upload. Either way a
// retry of the SDK sends the same stored bytes again, and each part is sealed once.
import type * as S3 from "@aws-sdk/client-s3";
import { FramesealError, throwIfAborted } from "../../errors.ts";
import { toStoredEncoding } from "../content-encoding.ts";
import { bytesInMemory, cutParts } from "../object-body.ts";
import type { ObjectFormat, ObjectLocation, ObjectSealer } from "../object-format.ts";
import { checkCallerMetadata, joinMetadata, normalizeMetadata } from "../object-metadata.ts";
import { checkFields, repeatFields } from "../request-fields.ts";
import type { Next, Transport } from "../transport.ts";
import {
  type Completion,
  completedPart,
  completeUpload,
  readingAccess,
  type S3Access,
} from "./complete-upload.ts";
import { FINGERPRINT_LENGTH, findStored, markOf, storeSurely } from "./lost-answer.ts";
import { MAX_PART_NUMBER } from "./part-ledger.ts";
import { checkNotReserved, storeWithSideObject } from "./side-object.ts";

export type PutObjectInput = Partial<S3.PutObjectCommandInput> & { Body?: unknown };

/** How bodies are cut and sent. */
export interface UploadOptions {
  /** Plaintext bytes of a part. */
  readonly partSize: number;
  /** Parts on their way at a time. */
  readonly uploadConcurrency: number;
}

/** Every this many parts of a body of unknown length, parts double, so that 10,000 of them hold 8 TiB. */
const PARTS_PER_DOUBLING = 1000;

/**
 * Encrypts and stores an object.
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
  const length = bytesInMemory(input.Body)?.length ?? input.ContentLength;
  const sealer = await format.startObject({ location, plaintextLength: length, signal: transport.signal });
  try {
    const metadata = joinMetadata(normalizeMetadata(input.Metadata), {
      ...sealer.metadata,
      ...encoding.metadata,
    });
    const sizes = partLengths(options.partSize, sealer.alignment, length);
    const parts = cutParts(input.Body, sizes, input.ContentLength);
    try {
      const first = await parts.next();
      if (first.done === true) throw new Error("internal error: a body has at least one part");
      const { bytes, place } = first.value;
      const sealed = await sealer.sealPart([bytes], { offset: 0, length: bytes.length, place });
      const store = async (): ReturnType<Next> => {
        if (place === "last") {
          const own = { Body: sealed.bytes, ContentLength: sealed.bytes.length, Metadata: metadata };
          const send = () => sendWhole({ ...own, ...encoding.fields });
          return storeWhole(send, sealed.bytes, input, location, transport);
        }
        const upload = new PartsUpload(sealer, transport, location, options);
        const described = { ...input, ...encoding.fields };
        const output = await upload.run(described, metadata, sealed.bytes, bytes.length, parts);
        return { output: output as unknown as Record<string, unknown>, response: undefined };
      };
      return await storeWithSideObject(
        sealer.sideObject,
        { location, input, transport },
        store,
        ({ output }) => output,
      );
    } finally {
      await parts.return();
    }
  } finally {
    sealer.dispose();
  }
}

// Sends a body that is one request, and looks whether it was stored when the answer is lost.
function storeWhole(
  send: () => ReturnType<Next>,
  body: Uint8Array,
  input: PutObjectInput,
  location: ObjectLocation,
  transport: Transport,
): ReturnType<Next> {
  const look = async () => {
    const output = await findStored(location, markOf(body), repeatFields(input, "GetObject"), transport);
    return output && { output, response: undefined };
  };
  return storeSurely(send, look, transport.signal);
}

// Part lengths: as configured, larger when the length is known and would need too many, growing when it is not known.
function partLengths(
  partSize: number,
  alignment: number,
  length: number | undefined,
): (number: number) => number {
  const align = (size: number): number => Math.ceil(size / alignment) * alignment;
  if (length !== undefined) {
    const size = align(Math.max(partSize, Math.ceil(length / MAX_PART_NUMBER)));
    return () => size;
  }
  return (number) => align(partSize) * 2 ** Math.floor((number - 1) / PARTS_PER_DOUBLING);
}

// One multipart upload of a body that is longer than a part.
class PartsUpload {
  readonly #sealer: ObjectSealer;
  readonly #transport: Transport;
  readonly #location: ObjectLocation;
  readonly #options: UploadOptions;

  constructor(sealer: ObjectSealer, transport: Transport, location: ObjectLocation, options: UploadOptions) {
    this.#sealer = sealer;
    this.#transport = transport;
    this.#location = location;
    this.#options = options;
  }

  async run(
    input: PutObjectInput,
    metadata: Record<string, string>,
    first: Uint8Array,
    firstLength: number,
    rest: AsyncIterator<{ bytes: Uint8Array; place: "more" | "last" }>,
  ): Promise<S3.CompleteMultipartUploadCommandOutput> {
    const target = { Bucket: this.#location.bucket, Key: this.#location.key };
    const request = createInput(input, await this.#transport.defaultChecksum());
    const created = await this.#transport.createMultipartUpload({
      ...request,
      ...target,
      Metadata: metadata,
    });
    const { UploadId } = created;
    if (UploadId === undefined) throw new FramesealError("UNSUPPORTED", "server gave no upload id");
    const access = accessOfUpload(request);
    const stop = new AbortController();
    const outer = this.#transport.signal;
    const signal = outer === undefined ? stop.signal : AbortSignal.any([outer, stop.signal]);
    try {
      const { parts, fingerprint, plaintextLength } = await this.#send(
        first,
        firstLength,
        rest,
        { ...access, ...target, UploadId },
        signal,
        stop,
      );
      const { IfMatch, IfNoneMatch } = input;
      const completion: Completion = {
        location: this.#location,
        uploadId: UploadId,
        access,
        parts,
        storedLength: this.#sealer.storedLength(plaintextLength),
        fingerprint,
        request: { ...readingAccess(access), IfMatch, IfNoneMatch },
      };
      return await completeUpload(completion, this.#transport.withSignal(signal));
    } catch (error) {
      stop.abort();
      const { RequestPayer, ExpectedBucketOwner } = access;
      await abortUpload(this.#transport, { RequestPayer, ExpectedBucketOwner, ...target, UploadId });
      throw error;
    }
  }

  async #send(
    first: Uint8Array,
    firstLength: number,
    rest: AsyncIterator<{ bytes: Uint8Array; place: "more" | "last" }>,
    request: S3Access & { Bucket: string; Key: string; UploadId: string },
    signal: AbortSignal,
    stop: AbortController,
  ): Promise<{ parts: S3.CompletedPart[]; fingerprint: Uint8Array; plaintextLength: number }> {
    const transport = this.#transport.withSignal(signal);
    const parts: S3.CompletedPart[] = [];
    const sending = new Set<Promise<void>>();
    let failure: { readonly error: unknown } | undefined;
    const send = (number: number, bytes: Uint8Array): void => {
      const sent = transport
        .uploadPart({ ...request, PartNumber: number, Body: bytes, ContentLength: bytes.length })
        .then(
          (output) => {
            parts[number - 1] = completedPart(number, output);
          },
          (error) => {
            failure ??= { error };
            stop.abort();
          },
        )
        .finally(() => sending.delete(sent));
      sending.add(sent);
    };
    send(1, first);
    const fingerprint = first.slice(0, FINGERPRINT_LENGTH);
    let offset = firstLength;
    try {
      for (let number = 2; ; number++) {
        const part = await rest.next();
        if (part.done === true) break;
        if (failure !== undefined) break;
        throwIfAborted(this.#transport.signal);
        if (number > MAX_PART_NUMBER)
          throw new FramesealError("LIMIT_EXCEEDED", `body needs more than ${MAX_PART_NUMBER} parts`);
        const { bytes, place } = part.value;
        const sealed = await this.#sealer.sealPart([bytes], { offset, length: bytes.length, place });
        offset += bytes.length;
        send(number, sealed.bytes);
        while (sending.size >= this.#options.uploadConcurrency) await Promise.race(sending);
      }
    } catch (error) {
      failure ??= { error };
      stop.abort();
    }
    await Promise.allSettled(sending);
    if (failure !== undefined) throw failure.error;
    return { parts, fingerprint, plaintextLength: offset };
  }
}

/** Aborts an upload; tries again, since parts that stay behind cost money. */
export async function abortUpload(
  transport: Transport,
  request: S3.AbortMultipartUploadCommandInput,
): Promise<void> {
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      await transport.abortMultipartUpload(request);
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50 * 4 ** attempt));
    }
  }
}

const NOT_FOR_CREATE = new Set(["Body", "ContentLength", "ContentMD5", "IfMatch", "IfNoneMatch"]);

function createInput(
  input: PutObjectInput,
  checksum: S3.ChecksumAlgorithm | undefined,
): Record<string, unknown> {
  const request: Record<string, unknown> = { ChecksumAlgorithm: checksum };
  for (const [name, value] of Object.entries(input))
    if (!NOT_FOR_CREATE.has(name) && value !== undefined) request[name] = value;
  return request;
}

/** What the further requests of an upload repeat from the first. */
export function accessOfUpload(request: Record<string, unknown>): S3Access {
  const access: Record<string, unknown> = {};
  const names = [
    "RequestPayer",
    "ExpectedBucketOwner",
    "ChecksumAlgorithm",
    "SSECustomerAlgorithm",
    "SSECustomerKey",
  ];
  for (const name of names) if (request[name] !== undefined) access[name] = request[name];
  return access as S3Access;
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
