// Multipart uploads of encrypted objects: one sealer and one ledger for each upload, kept from Create to Complete or
// Abort, and across restarts when the caller stores their state.
import type * as S3 from "@aws-sdk/client-s3";
import { concatBytes } from "../bytes.ts";
import { selectEngine } from "../engine/select-engine.ts";
import { FramesealError } from "../errors.ts";
import type { ObjectFormat, ObjectLocation, ObjectSealer, SealedPart } from "./object-format.ts";
import { bodyOf, collectExactly, isNotFound, parseContentRange } from "./object-source.ts";
import { type LedgerState, MAX_PART_NUMBER, PartLedger } from "./part-ledger.ts";
import type { Transport } from "./transport.ts";

/** S3 refuses parts that are shorter, unless they are the last. */
export const MIN_PART_LENGTH = 5 * 1024 * 1024;
/** Bytes at the start of an object by which it is recognised after an answer was lost. */
export const FINGERPRINT_LENGTH = 128;

/** The state of an upload as JSON: wrapped keys and keyed digests, nothing secret. It must not be changed by others. */
export interface MultipartState {
  readonly version: 1;
  readonly bucket: string;
  readonly key: string;
  readonly uploadId: string;
  readonly format: string;
  readonly object: unknown;
  readonly ledger: LedgerState;
  readonly access: S3Access;
}

/** Keeps states of uploads across restarts. `save` must be durable when it resolves: parts are sent only then. */
export interface MultipartStateStore {
  load(uploadId: string): Promise<MultipartState | undefined>;
  save(uploadId: string, state: MultipartState): Promise<void>;
  remove(uploadId: string): Promise<void>;
}

/** What every request of an upload repeats. */
export interface S3Access {
  readonly RequestPayer?: S3.RequestPayer | undefined;
  readonly ExpectedBucketOwner?: string | undefined;
  readonly ChecksumAlgorithm?: S3.ChecksumAlgorithm | undefined;
  readonly SSECustomerAlgorithm?: string | undefined;
  readonly SSECustomerKey?: string | undefined;
}

/** One part as Complete lists it. */
export type ListedPart = S3.CompletedPart;

/** One upload under way. */
export class EncryptedUpload {
  readonly location: ObjectLocation;
  readonly uploadId: string;
  readonly access: S3Access;
  readonly ledger: PartLedger;
  readonly #format: ObjectFormat;
  readonly #sealer: ObjectSealer;
  /** A sealed part that may have to be sent again with the closing bytes behind it. */
  #kept: { readonly number: number; readonly bytes: Uint8Array } | undefined;
  #first: Promise<Uint8Array> | undefined;
  #closed = false;
  #frozen = false;
  #fingerprint: Uint8Array | undefined;

  constructor(
    format: ObjectFormat,
    sealer: ObjectSealer,
    upload: { location: ObjectLocation; uploadId: string; access: S3Access; engine: PartEngine },
  ) {
    this.#format = format;
    this.#sealer = sealer;
    this.location = upload.location;
    this.uploadId = upload.uploadId;
    this.access = upload.access;
    this.ledger = new PartLedger(selectEngine(upload.engine), sealer.ledgerKey(), sealer.alignment);
  }

  /**
   * Waits for the body of a part, and before it for that of part 1 if that came first: it decides the part length.
   */
  async inOrder(number: number, body: Promise<Uint8Array>): Promise<Uint8Array> {
    if (this.ledger.partLength !== undefined) return body;
    if (number === 1) this.#first = body;
    const first = this.#first;
    const [bytes] = await Promise.all([body, first?.catch(() => {})]);
    return bytes;
  }

  /** Seals a part after the ledger has agreed. @param save called before the bytes may leave */
  async sealPart(
    number: number,
    plaintext: Uint8Array,
    fallbackPartLength: number | undefined,
    save: () => Promise<void>,
  ): Promise<Uint8Array> {
    if (this.#frozen)
      throw new FramesealError(
        "POLICY",
        "the state of this upload was exported: go on where it was imported",
      );
    this.ledger.fixPartLength(number, plaintext.length, fallbackPartLength);
    const isNew = this.ledger.get(number) === undefined;
    const position = this.ledger.enter(number, plaintext);
    const part = await this.#sealer.sealPart([plaintext], position);
    this.#keep(number, part, position.place);
    if (isNew) await save();
    return part.bytes;
  }

  #keep(number: number, { bytes, closed }: SealedPart, place: "more" | "last"): void {
    if (number === 1) this.#fingerprint = bytes.slice(0, FINGERPRINT_LENGTH);
    if (closed) this.#closed = true;
    // A short last part whose tag is missing; or a full first part so small that S3 lets nothing follow it.
    else if (place === "last" || (number === 1 && bytes.length < MIN_PART_LENGTH))
      this.#kept = { number, bytes };
  }

  /**
   * Sends what is still missing at the end of the object.
   * @param request what the caller says about access in the request to complete
   * @returns the parts to complete with
   * @throws FramesealError POLICY when `parts` are not exactly those that were sent
   */
  async close(
    parts: readonly ListedPart[],
    transport: Transport,
    request: S3Access,
    save: () => Promise<void>,
  ): Promise<{ parts: ListedPart[]; storedLength: number; plaintextLength: number }> {
    const numbers = parts.map((part) => part.PartNumber ?? 0);
    const { count, plaintextLength } = this.ledger.checkComplete(numbers);
    const listed = [...parts];
    const last = this.ledger.get(count);
    if (!(last?.place === "last" && this.#closed)) {
      const closing = await this.#closingBytes(count, plaintextLength, save);
      const kept = this.#kept?.number === count ? this.#kept.bytes : undefined;
      const number = kept === undefined ? count + 1 : count;
      const bytes = kept === undefined ? closing : concatBytes([kept, closing]);
      const output = await transport.uploadPart({
        ...this.#request,
        ...request,
        PartNumber: number,
        Body: bytes,
      });
      listed[number - 1] = completedPart(number, output);
    }
    return { parts: listed, plaintextLength, storedLength: this.#sealer.storedLength(plaintextLength) };
  }

  async #closingBytes(
    count: number,
    plaintextLength: number,
    save: () => Promise<void>,
  ): Promise<Uint8Array> {
    const last = this.ledger.get(count);
    // The nonces of the closing bytes belong to the next part: that one must never be sealed with other content.
    if (last?.place === "more") {
      const isNew = this.ledger.get(count + 1) === undefined;
      this.ledger.enter(count + 1, new Uint8Array(0));
      if (isNew) await save();
    } else if (this.#kept?.number !== count)
      throw new FramesealError(
        "POLICY",
        `part ${count} must be sent again before the upload can be completed`,
      );
    return this.#sealer.close(plaintextLength);
  }

  /** Completes the upload with the parts that `close` gave. */
  complete(
    parts: readonly ListedPart[],
    storedLength: number,
    transport: Transport,
    request: Partial<S3.CompleteMultipartUploadCommandInput>,
  ): Promise<S3.CompleteMultipartUploadCommandOutput> {
    const { location, uploadId, access } = this;
    const fingerprint = this.#fingerprint;
    return completeUpload(
      { location, uploadId, access, parts, storedLength, fingerprint, request },
      transport,
    );
  }

  get #target(): { Bucket: string; Key: string; UploadId: string } {
    return { Bucket: this.location.bucket, Key: this.location.key, UploadId: this.uploadId };
  }
  get #request(): S3Access & { Bucket: string; Key: string; UploadId: string } {
    return { ...this.access, ...this.#target };
  }

  exportState(): MultipartState {
    return {
      version: 1,
      bucket: this.location.bucket,
      key: this.location.key,
      uploadId: this.uploadId,
      format: this.#format.name,
      object: this.#sealer.exportState(),
      ledger: this.ledger.exportState(),
      access: withoutKeys(this.access),
    };
  }
  /** No part may be sealed here after its state went elsewhere. */
  freeze(): void {
    this.#frozen = true;
  }

  dispose(): void {
    this.#sealer.dispose();
    this.ledger.dispose();
  }
}

/** What completing needs to know. */
export interface Completion {
  readonly location: ObjectLocation;
  readonly uploadId: string;
  readonly access: S3Access;
  readonly parts: readonly ListedPart[];
  readonly storedLength: number;
  /** The first stored bytes, if they are known. */
  readonly fingerprint: Uint8Array | undefined;
  /** Further fields of the request. */
  readonly request: Partial<S3.CompleteMultipartUploadCommandInput>;
}

/**
 * Completes an upload. When the answer to a first attempt was lost, a retry finds no upload any more: then the object
 * is there, which its first bytes show, or somebody aborted.
 */
export async function completeUpload(
  completion: Completion,
  transport: Transport,
): Promise<S3.CompleteMultipartUploadCommandOutput> {
  const { location, uploadId, parts, request } = completion;
  try {
    return await transport.completeMultipartUpload({
      ...request,
      Bucket: location.bucket,
      Key: location.key,
      UploadId: uploadId,
      MultipartUpload: { Parts: [...parts] },
    });
  } catch (error) {
    if (!isNotFound(error)) throw error;
    const output = await findCompleted(completion, transport);
    if (output === undefined) throw error;
    return output;
  }
}

async function findCompleted(
  { location, access, storedLength, fingerprint }: Completion,
  transport: Transport,
): Promise<S3.CompleteMultipartUploadCommandOutput | undefined> {
  if (fingerprint === undefined) return undefined;
  const { bucket: Bucket, key: Key } = location;
  try {
    const output = await transport.getObject({
      ...readingAccess(access),
      Bucket,
      Key,
      Range: `bytes=0-${fingerprint.length - 1}`,
    });
    const bytes = await collectExactly(bodyOf(output), fingerprint.length);
    if (parseContentRange(output.ContentRange)?.size !== storedLength) return undefined;
    if (Buffer.compare(bytes, fingerprint) !== 0) return undefined;
    const { ETag, VersionId, $metadata } = output;
    return { Bucket, Key, ETag, VersionId, $metadata };
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** The part of `access` that goes to requests without a checksum of their own. */
export function readingAccess(access: S3Access): Omit<S3Access, "ChecksumAlgorithm"> {
  const { ChecksumAlgorithm: _, ...rest } = access;
  return rest;
}

// The state of an upload must not hold the SSE-C key.
function withoutKeys(access: S3Access): S3Access {
  const { SSECustomerKey: _, SSECustomerAlgorithm: __, ...rest } = access;
  return rest;
}

/** The engine option, as it is handed through. */
export type PartEngine = Parameters<typeof selectEngine>[0];

/** What Complete lists of an uploaded part. */
export function completedPart(number: number, output: S3.UploadPartCommandOutput): ListedPart {
  const part: Record<string, unknown> = { PartNumber: number, ETag: output.ETag };
  for (const [name, value] of Object.entries(output))
    if (name.startsWith("Checksum") && value !== undefined) part[name] = value;
  return part as ListedPart;
}

/** The uploads of one client. */
export class UploadRegistry {
  readonly #uploads = new Map<string, EncryptedUpload>();
  readonly #loading = new Map<string, Promise<EncryptedUpload>>();
  readonly #formats: readonly ObjectFormat[];
  readonly #store: MultipartStateStore | undefined;
  readonly #engine: PartEngine;

  constructor(formats: readonly ObjectFormat[], store: MultipartStateStore | undefined, engine: PartEngine) {
    this.#formats = formats;
    this.#store = store;
    this.#engine = engine;
  }

  /** Adds the upload that Create has started. */
  async add(
    format: ObjectFormat,
    sealer: ObjectSealer,
    location: ObjectLocation,
    uploadId: string,
    access: S3Access,
  ): Promise<EncryptedUpload> {
    const upload = new EncryptedUpload(format, sealer, { location, uploadId, access, engine: this.#engine });
    this.#uploads.set(uploadId, upload);
    await this.save(upload);
    return upload;
  }

  save(upload: EncryptedUpload): Promise<void> {
    return this.#store?.save(upload.uploadId, upload.exportState()) ?? Promise.resolve();
  }

  /** @throws FramesealError POLICY when the upload was not started here and its state is not known */
  async find(uploadId: string, location: ObjectLocation, transport: Transport): Promise<EncryptedUpload> {
    const upload = this.#uploads.get(uploadId) ?? (await this.#load(uploadId, transport));
    if (upload === undefined)
      throw new FramesealError(
        "POLICY",
        "upload was not started by this client, and its state was not imported: its parts cannot be encrypted",
      );
    if (upload.location.bucket !== location.bucket || upload.location.key !== location.key)
      throw new FramesealError("POLICY", "upload belongs to another object");
    return upload;
  }

  async #load(uploadId: string, transport: Transport): Promise<EncryptedUpload | undefined> {
    const loading = this.#loading.get(uploadId);
    if (loading !== undefined) return loading;
    const state = await this.#store?.load(uploadId);
    if (state === undefined) return undefined;
    return this.import(state, transport);
  }

  /** Takes over an upload. Its parts in S3 must all be in the state: an old state would repeat nonces. */
  import(state: MultipartState, transport: Transport): Promise<EncryptedUpload> {
    const { uploadId } = state;
    const loading = (async () => {
      const format = this.#formats.find(({ name }) => name === state.format);
      if (state.version !== 1 || format === undefined)
        throw new TypeError('"state" expected what exportMultipartUpload returned');
      const location = { bucket: state.bucket, key: state.key };
      const sealer = await format.resumeObject(state.object, { location, signal: transport.signal });
      try {
        const upload = new EncryptedUpload(format, sealer, {
          location,
          uploadId,
          access: state.access,
          engine: this.#engine,
        });
        upload.ledger.importState(state.ledger);
        await checkListed(upload, transport);
        this.#uploads.set(uploadId, upload);
        return upload;
      } catch (error) {
        sealer.dispose();
        throw error;
      }
    })();
    this.#loading.set(uploadId, loading);
    loading.finally(() => this.#loading.delete(uploadId)).catch(() => {});
    return loading;
  }

  /** Hands an upload over: its state, after which it is no longer known here. */
  async export(uploadId: string): Promise<MultipartState | undefined> {
    const upload = this.#uploads.get(uploadId);
    upload?.freeze();
    const state = upload?.exportState();
    upload?.dispose();
    this.#uploads.delete(uploadId);
    return state;
  }

  /** Forgets an upload that has ended. */
  async remove(uploadId: string): Promise<void> {
    this.#uploads.get(uploadId)?.dispose();
    this.#uploads.delete(uploadId);
    await this.#store?.remove(uploadId);
  }
}

async function checkListed(upload: EncryptedUpload, transport: Transport): Promise<void> {
  let marker: string | undefined;
  do {
    const listed = await transport.listParts({
      ...readingAccess(upload.access),
      Bucket: upload.location.bucket,
      Key: upload.location.key,
      UploadId: upload.uploadId,
      PartNumberMarker: marker,
    });
    for (const { PartNumber = MAX_PART_NUMBER + 1 } of listed.Parts ?? [])
      if (upload.ledger.get(PartNumber) === undefined)
        throw new FramesealError(
          "POLICY",
          `part ${PartNumber} was sent after this state of the upload was saved: going on would repeat nonces`,
        );
    marker = listed.IsTruncated === true ? listed.NextPartNumberMarker : undefined;
  } while (marker !== undefined);
}
