// The multipart uploads of one client, and those of others when their states are stored or handed over.
import { FramesealError } from "../../errors.ts";
import type { ObjectFormat, ObjectLocation, ObjectSealer } from "../object-format.ts";
import type { Transport } from "../transport.ts";
import type { S3Access } from "./complete-upload.ts";
import { EncryptedUpload, type PartEngine } from "./encrypted-upload.ts";
import {
  checkState,
  checkStateStore,
  type MultipartState,
  type MultipartStateStore,
} from "./multipart-state.ts";
import { exportedElsewhere } from "./state-keeper.ts";

/**
 * What was exported here by clients without a store, by what authenticates it, and who took it over. A second import
 * would seal other bytes under the same nonces, so every exported state waits in one place: in the store of the client
 * that exported it, or here.
 */
const handovers = new Map<string, object | undefined>();

/** The uploads of one client. */
export class UploadRegistry {
  readonly #uploads = new Map<string, EncryptedUpload>();
  readonly #loading = new Map<string, Promise<EncryptedUpload | undefined>>();
  readonly #formats: readonly ObjectFormat[];
  readonly #store: MultipartStateStore | undefined;
  readonly #engine: PartEngine;

  /** @throws TypeError for a store that cannot keep states safely */
  constructor(formats: readonly ObjectFormat[], store: MultipartStateStore | undefined, engine: PartEngine) {
    if (store !== undefined) checkStateStore(store);
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
  ): Promise<void> {
    const store = this.#store;
    const engine = this.#engine;
    const upload = new EncryptedUpload({ format, sealer, location, uploadId, access, side, engine, store });
    try {
      if (store !== undefined) await upload.begin();
    } catch (error) {
      upload.dispose();
      await store?.remove(uploadId).catch(() => {}); // it may have been stored all the same
      throw error;
    }
    this.#uploads.set(uploadId, upload);
  }

  /**
   * @param request what is asked of the upload: S3 lists parts only to those who have their SSE-C key
   * @throws FramesealError POLICY when the upload was not started here and its state is not known
   */
  async find(
    uploadId: string,
    location: ObjectLocation,
    transport: Transport,
    request: Readonly<Record<string, unknown>> = {},
  ): Promise<EncryptedUpload> {
    // Shared with whoever else asks, so that no caller's signal ends it: each waits as long as he likes.
    const load = () => this.#load(uploadId, location, transport.withSignal(undefined), request);
    const upload = this.#known(uploadId) ?? (await this.#once(uploadId, load));
    if (upload === undefined)
      throw new FramesealError(
        "POLICY",
        "upload was not started by this client, and its state was not imported: its parts cannot be encrypted",
      );
    checkLocation(upload.location, location);
    return upload;
  }

  /** The upload, unless it has ended here. */
  #known(uploadId: string): EncryptedUpload | undefined {
    const upload = this.#uploads.get(uploadId);
    if (upload?.ended === undefined) return upload;
    this.#forget(uploadId);
    return undefined;
  }

  async #load(
    uploadId: string,
    location: ObjectLocation,
    transport: Transport,
    request: Readonly<Record<string, unknown>>,
  ): Promise<EncryptedUpload | undefined> {
    const state = await this.#store?.load(uploadId);
    if (state === undefined) return undefined;
    checkState(state);
    checkLocation({ bucket: state.bucket, key: state.key }, location);
    if (state.uploadId !== uploadId)
      throw new FramesealError("POLICY", "stored state is that of another upload");
    const upload = await this.#resume(state, transport);
    try {
      if (state.exported) throw exportedElsewhere();
      upload.rememberKey(request);
      await upload.checkListed(transport);
    } catch (error) {
      upload.dispose();
      throw error;
    }
    this.#uploads.set(uploadId, upload);
    return upload;
  }

  // One upload has one ledger in a client, whoever asks and however often.
  #once(
    uploadId: string,
    load: () => Promise<EncryptedUpload | undefined>,
  ): Promise<EncryptedUpload | undefined> {
    const loading = this.#loading.get(uploadId) ?? load();
    this.#loading.set(uploadId, loading);
    loading.finally(() => this.#loading.delete(uploadId)).catch(() => {});
    return loading;
  }

  /** Makes an upload from a state and verifies that it is authentic. */
  async #resume(state: MultipartState, transport: Transport): Promise<EncryptedUpload> {
    const { uploadId, access } = state;
    const format = this.#formats.find(({ name }) => name === state.format);
    if (format === undefined) throw new TypeError('"state" expected what exportMultipartUpload returned');
    const location = { bucket: state.bucket, key: state.key };
    const sealer = await format.resumeObject(state.object, { location, signal: transport.signal });
    const [engine, store] = [this.#engine, this.#store];
    const { side } = state;
    return new EncryptedUpload({ format, sealer, location, uploadId, access, side, engine, store, state });
  }

  /**
   * Takes over an upload.
   * @throws FramesealError POLICY when the state is not an exported one or may have been imported before, and when the
   * upload goes on here already
   */
  async import(state: MultipartState, transport: Transport): Promise<void> {
    checkState(state);
    const { uploadId } = state;
    if (this.#known(uploadId) !== undefined || this.#loading.has(uploadId))
      throw new FramesealError("POLICY", "upload goes on here already: its state would be older than it");
    if (!state.exported)
      throw new FramesealError(
        "POLICY",
        "only states that were exported can be imported: others go on elsewhere",
      );
    await this.#once(uploadId, () => this.#import(state, transport));
  }

  async #import(state: MultipartState, transport: Transport): Promise<EncryptedUpload> {
    const { uploadId, mac } = state;
    const upload = await this.#resume(state, transport);
    try {
      const stored = await this.#store?.load(uploadId);
      if (stored !== undefined && (stored.mac !== mac || stored.revision !== state.revision))
        throw new FramesealError(
          "POLICY",
          "upload goes on in this store already: its newest state is used without being imported",
        );
      if (stored === undefined) this.#takeOver(mac);
      await upload.adopt(stored !== undefined);
      if (stored === undefined) handovers.set(mac, upload); // for good: not even the same store may take it again
    } catch (error) {
      upload.dispose();
      throw error;
    }
    this.#uploads.set(uploadId, upload);
    return upload;
  }

  #takeOver(mac: string): void {
    const taker = this.#store ?? this;
    const other = handovers.get(mac);
    if (!handovers.has(mac))
      throw new FramesealError(
        "POLICY",
        'state was exported elsewhere, and nothing here tells whether it was imported before: use one "multipartStates" on both sides',
      );
    if (other !== undefined && other !== taker)
      throw new FramesealError("POLICY", "state of the upload was imported before");
    handovers.set(mac, taker);
  }

  /** Hands an upload over: its state, after which nobody goes on with it before it is imported. */
  async export(uploadId: string, transport: Transport): Promise<MultipartState | undefined> {
    const state = (await this.#exported(uploadId)) ?? (await this.#export(uploadId, transport));
    this.#forget(uploadId);
    if (state !== undefined && this.#store === undefined) handovers.set(state.mac, undefined);
    return state;
  }

  // When the answer to an earlier export was lost, its state is still there, and still only good for one import.
  async #exported(uploadId: string): Promise<MultipartState | undefined> {
    const state = await this.#store?.load(uploadId);
    return state?.exported === true ? state : undefined;
  }

  async #export(uploadId: string, transport: Transport): Promise<MultipartState | undefined> {
    let upload = this.#known(uploadId);
    if (upload === undefined) {
      const stored = await this.#store?.load(uploadId);
      if (stored === undefined) return undefined;
      upload = await this.find(uploadId, { bucket: stored.bucket, key: stored.key }, transport);
    }
    return upload.export();
  }

  #forget(uploadId: string): void {
    this.#uploads.get(uploadId)?.dispose();
    this.#uploads.delete(uploadId);
  }

  /** Forgets an upload that has ended. */
  async remove(uploadId: string): Promise<void> {
    this.#forget(uploadId);
    await this.#store?.remove(uploadId);
  }

  /** Forgets an upload that S3 does not know, if it is one of this object. */
  async removeLost(uploadId: string, location: ObjectLocation): Promise<void> {
    const state = this.#uploads.get(uploadId)?.location ?? (await this.#storedLocation(uploadId));
    if (state?.bucket === location.bucket && state.key === location.key) await this.remove(uploadId);
  }

  async #storedLocation(uploadId: string): Promise<ObjectLocation | undefined> {
    const state = await this.#store?.load(uploadId);
    return state === undefined ? undefined : { bucket: state.bucket, key: state.key };
  }
}

function checkLocation(upload: ObjectLocation, asked: ObjectLocation): void {
  if (upload.bucket !== asked.bucket || upload.key !== asked.key)
    throw new FramesealError("POLICY", "upload belongs to another object");
}
