// The multipart uploads of one client, and across restarts when the caller stores their states.
import { FramesealError } from "../../errors.ts";
import type { ObjectFormat, ObjectLocation, ObjectSealer } from "../object-format.ts";
import type { Transport } from "../transport.ts";
import { readingAccess, type S3Access } from "./complete-upload.ts";
import { EncryptedUpload, importSide, type MultipartState, type PartEngine } from "./encrypted-upload.ts";
import { MAX_PART_NUMBER } from "./part-ledger.ts";

/** Keeps states of uploads across restarts. `save` must be durable when it resolves: parts are sent only then. */
export interface MultipartStateStore {
  load(uploadId: string): Promise<MultipartState | undefined>;
  save(uploadId: string, state: MultipartState): Promise<void>;
  remove(uploadId: string): Promise<void>;
}

/** The uploads of one client. */
export class UploadRegistry {
  readonly #uploads = new Map<string, EncryptedUpload>();
  readonly #loading = new Map<string, Promise<EncryptedUpload | undefined>>();
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
    side: Readonly<Record<string, unknown>>,
  ): Promise<EncryptedUpload> {
    const upload = new EncryptedUpload(format, sealer, {
      location,
      uploadId,
      access,
      side,
      engine: this.#engine,
    });
    try {
      await this.save(upload);
    } catch (error) {
      upload.dispose();
      throw error;
    }
    this.#uploads.set(uploadId, upload);
    return upload;
  }

  async save(upload: EncryptedUpload): Promise<void> {
    const store = this.#store;
    if (store === undefined) return;
    await upload.saveInOrder(() => store.save(upload.uploadId, upload.exportState()));
  }

  /** @throws FramesealError POLICY when the upload was not started here and its state is not known */
  async find(uploadId: string, location: ObjectLocation, transport: Transport): Promise<EncryptedUpload> {
    const upload =
      this.#uploads.get(uploadId) ?? (await this.#once(uploadId, () => this.#load(uploadId, transport)));
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
    const state = await this.#store?.load(uploadId);
    return state === undefined ? undefined : this.#resume(state, transport);
  }

  // Two ledgers of one upload would each admit other bytes for one part: there is one, whoever asks and however often.
  #once(
    uploadId: string,
    load: () => Promise<EncryptedUpload | undefined>,
  ): Promise<EncryptedUpload | undefined> {
    const loading = this.#loading.get(uploadId) ?? load();
    this.#loading.set(uploadId, loading);
    loading.finally(() => this.#loading.delete(uploadId)).catch(() => {});
    return loading;
  }

  /**
   * Takes over an upload. Its parts in S3 must all be in the state: an old state would repeat nonces.
   * @throws FramesealError POLICY when they are not, and when the upload goes on here already
   */
  async import(state: MultipartState, transport: Transport): Promise<void> {
    const { uploadId } = state;
    if (this.#uploads.has(uploadId) || this.#loading.has(uploadId))
      throw new FramesealError("POLICY", "upload goes on here already: its state would be older than it");
    await this.#once(uploadId, () => this.#resume(state, transport));
  }

  async #resume(state: MultipartState, transport: Transport): Promise<EncryptedUpload> {
    const { uploadId } = state;
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
        side: importSide(state.side),
        engine: this.#engine,
        closed: state.closed,
      });
      upload.ledger.importState(state.ledger);
      await checkListed(upload, transport);
      this.#uploads.set(uploadId, upload);
      return upload;
    } catch (error) {
      sealer.dispose();
      throw error;
    }
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
    for (const part of listed.Parts ?? []) {
      const { PartNumber = MAX_PART_NUMBER + 1 } = part;
      if (upload.ledger.get(PartNumber) === undefined)
        throw new FramesealError(
          "POLICY",
          `part ${PartNumber} was sent after this state of the upload was saved: going on would repeat nonces`,
        );
      upload.recordSent(PartNumber, part);
    }
    marker = listed.IsTruncated === true ? listed.NextPartNumberMarker : undefined;
  } while (marker !== undefined);
}
