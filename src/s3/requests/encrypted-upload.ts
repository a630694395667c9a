// One multipart upload of an encrypted object: a sealer and a ledger, from Create to Complete or Abort.
import type * as S3 from "@aws-sdk/client-s3";
import { concatBytes } from "../../bytes.ts";
import { selectEngine } from "../../engine/select-engine.ts";
import { FramesealError } from "../../errors.ts";
import type {
  ObjectFormat,
  ObjectLocation,
  ObjectSealer,
  PartPosition,
  SealedPart,
} from "../object-format.ts";
import type { Transport } from "../transport.ts";
import { completedPart, completeUpload, type ListedPart, type S3Access } from "./complete-upload.ts";
import { FINGERPRINT_LENGTH } from "./lost-answer.ts";
import { type LedgerState, PartLedger } from "./part-ledger.ts";
import { storeWithSideObject } from "./side-object.ts";

/** S3 refuses parts that are shorter, unless they are the last. */
export const MIN_PART_LENGTH = 5 * 1024 * 1024;
/** The state of an upload as JSON: wrapped keys and keyed digests, nothing secret. It must not be changed by others. */
export interface MultipartState {
  readonly version: 1;
  readonly bucket: string;
  readonly key: string;
  readonly uploadId: string;
  readonly format: string;
  readonly object: unknown;
  readonly ledger: LedgerState;
  /** The last part was sent with the bytes that end the object. */
  readonly closed?: boolean | undefined;
  readonly access: S3Access;
  /** How the instruction file is stored, if there is one. */
  readonly side?: Readonly<Record<string, unknown>> | undefined;
}

/** The engine option, as it is handed through. */
export type PartEngine = Parameters<typeof selectEngine>[0];

/** One upload under way. */
export class EncryptedUpload {
  readonly location: ObjectLocation;
  readonly uploadId: string;
  readonly access: S3Access;
  readonly ledger: PartLedger;
  /** What Create said about storage, for the object that stands next to this one. */
  readonly #side: Readonly<Record<string, unknown>>;
  readonly #format: ObjectFormat;
  readonly #sealer: ObjectSealer;
  /** A sealed part that may have to be sent again with the closing bytes behind it. */
  #kept: { readonly number: number; readonly bytes: Uint8Array } | undefined;
  #first: Promise<Uint8Array> | undefined;
  /** By number: what Complete must list, as S3 told it. */
  readonly #sent = new Map<number, ListedPart>();
  /** Parts in the ledger whose state is not known to be kept. */
  readonly #unsaved = new Set<number>();
  #saving: Promise<void> = Promise.resolve();
  #closed: boolean;
  #frozen = false;
  #fingerprint: Uint8Array | undefined;

  constructor(
    format: ObjectFormat,
    sealer: ObjectSealer,
    upload: {
      location: ObjectLocation;
      uploadId: string;
      access: S3Access;
      side: Readonly<Record<string, unknown>>;
      engine: PartEngine;
      /** From a state. */
      closed?: boolean | undefined;
    },
  ) {
    this.#format = format;
    this.#sealer = sealer;
    this.location = upload.location;
    this.uploadId = upload.uploadId;
    this.access = upload.access;
    this.#side = upload.side;
    this.#closed = upload.closed === true;
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
    const position = this.#enter(number, plaintext);
    const part = await this.#sealer.sealPart([plaintext], position);
    this.#keep(number, part, position.place);
    await this.#ensureSaved(number, save);
    return part.bytes;
  }

  #enter(number: number, plaintext: Uint8Array): PartPosition {
    const isNew = this.ledger.get(number) === undefined;
    const position = this.ledger.enter(number, plaintext);
    if (isNew) this.#unsaved.add(number);
    return position;
  }

  // A part whose state could not be saved is not sent until it is: a restart would not know of it.
  async #ensureSaved(number: number, save: () => Promise<void>): Promise<void> {
    if (!this.#unsaved.has(number)) return;
    await save();
    this.#unsaved.delete(number);
  }

  /** Calls `save` when those before it have ended, so that an older state never replaces a newer one. */
  saveInOrder(save: () => Promise<void>): Promise<void> {
    const saved = this.#saving.then(save);
    this.#saving = saved.catch(() => {});
    return saved;
  }

  /** Remembers what S3 answered to a part: Complete must list its checksums, which callers leave out. */
  recordSent(number: number, output: Pick<S3.UploadPartCommandOutput, "ETag">): void {
    this.#sent.set(number, completedPart(number, output));
  }

  #listed(part: ListedPart): ListedPart {
    const sent = this.#sent.get(part.PartNumber ?? 0);
    const isSame = sent?.ETag !== undefined && unquoted(sent.ETag) === unquoted(part.ETag);
    return isSame ? { ...sent, ...part } : part;
  }

  #keep(number: number, { bytes, closed }: SealedPart, place: "more" | "last"): void {
    if (number === 1) this.#fingerprint = bytes.slice(0, FINGERPRINT_LENGTH);
    if (place === "last") this.#closed = closed;
    if (closed) return;
    // A short last part whose tag is missing; or a full first part so small that S3 lets nothing follow it.
    if (place === "last" || (number === 1 && bytes.length < MIN_PART_LENGTH)) this.#kept = { number, bytes };
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
    const listed = parts.map((part) => this.#listed(part));
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
      this.#enter(count + 1, new Uint8Array(0));
      await this.#ensureSaved(count + 1, save);
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
    return storeWithSideObject(
      this.#sealer.sideObject,
      { location, input: { ...this.#side, ...request }, transport },
      () =>
        completeUpload({ location, uploadId, access, parts, storedLength, fingerprint, request }, transport),
      (output) => output,
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
      closed: this.#closed,
      access: withoutKeys(this.access),
      side: withoutKeys(this.#side),
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

// The state of an upload must not hold the SSE-C key.
function withoutKeys<Fields extends object>(fields: Fields): Fields {
  return Object.fromEntries(
    Object.entries(fields).filter(([name]) => !name.startsWith("SSECustomer")),
  ) as Fields;
}

/** `side` of a state that was JSON, in which dates are text. */
export function importSide(side: MultipartState["side"]): Readonly<Record<string, unknown>> {
  const date = side?.ObjectLockRetainUntilDate;
  return { ...side, ...(date === undefined ? {} : { ObjectLockRetainUntilDate: new Date(String(date)) }) };
}

function unquoted(eTag: string | undefined): string | undefined {
  return eTag?.replaceAll('"', "");
}
