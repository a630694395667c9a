// One multipart upload of an encrypted object: a sealer, a ledger and their state, from Create to Complete or Abort.
import type * as S3 from "@aws-sdk/client-s3";
import { concatBytes } from "../../bytes.ts";
import { selectEngine } from "../../engine/select-engine.ts";
import { FramesealError } from "../../errors.ts";
import { sameETag } from "../etag.ts";
import type {
  ObjectFormat,
  ObjectLocation,
  ObjectSealer,
  PartPosition,
  SealedPart,
} from "../object-format.ts";
import { repeatFields } from "../request-fields.ts";
import type { Transport } from "../transport.ts";
import { completedPart, completeUpload, type ListedPart, type S3Access } from "./complete-upload.ts";
import { FINGERPRINT_LENGTH } from "./lost-answer.ts";
import {
  type MultipartState,
  type MultipartStateStore,
  type StateContent,
  StateKey,
} from "./multipart-state.ts";
import { Onward } from "./onward.ts";
import { MAX_PART_NUMBER, PartLedger, type PlannedPart } from "./part-ledger.ts";
import { storeWithSideObject } from "./side-object.ts";
import { type Change, StateKeeper } from "./state-keeper.ts";

/** S3 refuses parts that are shorter, unless they are the last. */
const MIN_PART_LENGTH = 5 * 1024 * 1024;

/** The engine option, as it is handed through. */
export type PartEngine = Parameters<typeof selectEngine>[0];

/** What an upload is made of. */
export interface UploadParts {
  readonly format: ObjectFormat;
  readonly sealer: ObjectSealer;
  readonly location: ObjectLocation;
  readonly uploadId: string;
  readonly access: S3Access;
  /** How what stands next to the object is stored. */
  readonly side: Readonly<Record<string, unknown>>;
  readonly engine: PartEngine;
  readonly store: MultipartStateStore | undefined;
  /** What the upload goes on from; it is verified. */
  readonly state?: MultipartState | undefined;
}

/** A part as S3 has it. */
interface StoredPart {
  readonly part: ListedPart;
  readonly length: number | undefined;
}

/** One upload under way. It owns the sealer. */
export class EncryptedUpload {
  readonly location: ObjectLocation;
  readonly uploadId: string;
  readonly ledger: PartLedger;
  #access: S3Access;
  /** What Create said about storage, for the object that stands next to this one. */
  readonly #side: Readonly<Record<string, unknown>>;
  readonly #format: ObjectFormat;
  readonly #sealer: ObjectSealer;
  readonly #stateKey: StateKey;
  readonly #keeper: StateKeeper;
  readonly #isStored: boolean;
  /** A sealed part that may have to be sent again with the closing bytes behind it. */
  #kept: { readonly number: number; readonly bytes: Uint8Array } | undefined;
  #first: Promise<Uint8Array> | undefined;
  /** By number: what Complete must list, as S3 told it. */
  readonly #sent = new Map<number, StoredPart>();
  /** Sealed parts of which the stored state does not hold what the sealer keeps. */
  readonly #unsaved = new Set<number>();
  #fingerprint: Uint8Array | undefined;
  #users = 0;
  #isDisposed = false;

  /** @throws FramesealError AUTHENTICATION_FAILED for a state that was not made with the data key of the sealer */
  constructor(parts: UploadParts) {
    const { format, sealer, location, uploadId, access, side, engine, store, state } = parts;
    this.#format = format;
    this.#sealer = sealer;
    this.location = location;
    this.uploadId = uploadId;
    this.#access = access;
    this.#side = importSide(side);
    this.#isStored = store !== undefined;
    this.#stateKey = new StateKey(sealer.ledgerKey());
    this.ledger = new PartLedger(selectEngine(engine), sealer.ledgerKey(), sealer.alignment);
    this.#keeper = new StateKeeper(store, this.#stateKey, uploadId, (newer) => this.#merge(newer), state);
    if (state === undefined) return;
    try {
      this.#stateKey.verify(state);
      this.ledger.merge(state.ledger);
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** Why no part can be sealed here any more, if that is so. */
  get ended(): FramesealError | undefined {
    return this.#keeper.ended;
  }

  /** Stores the state of an upload that has just begun. */
  begin(): Promise<void> {
    return this.#use(() =>
      this.#keeper.change(() => ({ content: this.#content(), accept: () => {}, result: undefined })),
    );
  }

  /** Takes over an exported upload. @param isStored whether the store holds its exported state */
  adopt(isStored: boolean): Promise<void> {
    return this.#use(() => this.#keeper.adopt(this.#content(), isStored));
  }

  /** Takes over what other clients have stored. */
  refresh(): Promise<void> {
    return this.#use(() => this.#keeper.refresh());
  }

  #merge(newer: MultipartState): void {
    this.ledger.merge(newer.ledger);
    this.#sealer.mergeState?.(newer.object);
  }

  /** Keeps keys while `work` is under way. */
  async #use<Result>(work: () => Promise<Result>): Promise<Result> {
    this.#users += 1;
    try {
      this.#checkOpen();
      return await work();
    } finally {
      this.#users -= 1;
      if (this.#isDisposed) this.dispose();
    }
  }

  #checkOpen(): void {
    if (this.ended !== undefined) throw this.ended;
    if (this.#isDisposed) throw new FramesealError("POLICY", "upload has ended");
  }

  /** Takes the SSE-C key from a request of the caller's: states do not hold it. */
  rememberKey(input: Readonly<Record<string, unknown>>): void {
    const { RequestPayer: _, ExpectedBucketOwner: __, ...key } = repeatFields(input, "ListParts");
    this.#access = { ...this.#access, ...key };
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

  /**
   * Seals a part. Before that, the ledger that holds it is stored, so that nobody seals other bytes in its place; before
   * this resolves, so is what the sealer must keep of it.
   */
  sealPart(
    number: number,
    plaintext: Uint8Array,
    fallbackPartLength: number | undefined,
  ): Promise<Uint8Array> {
    return this.#use(async () => {
      // The caller may change his bytes while the state is stored.
      const bytes = this.#isStored ? Uint8Array.from(plaintext) : plaintext;
      const position = this.#isStored
        ? await this.#enter(number, bytes, fallbackPartLength)
        : this.#accept(this.ledger.plan(number, bytes, fallbackPartLength));
      const part = await this.#sealer.sealPart([bytes], position);
      this.#keep(number, part, position.place);
      await this.#saveSealer(number);
      this.#checkOpen();
      return part.bytes;
    });
  }

  async #enter(number: number, plaintext: Uint8Array, fallback?: number): Promise<PartPosition> {
    const known = this.ledger.get(number);
    // Others may know how long parts are; and the last part is closed with what the sealers of all have kept.
    if (this.ledger.needsPartLength(number, fallback) || known?.place === "last")
      await this.#keeper.refresh();
    const position = await this.#keeper.change(() =>
      this.#change(this.ledger.plan(number, plaintext, fallback)),
    );
    this.#checkOpen();
    return position;
  }

  #change(planned: PlannedPart): Change<PartPosition> {
    return {
      content: planned.isNew ? this.#content(planned) : undefined,
      accept: () => this.#accept(planned),
      result: planned.position,
    };
  }

  #accept(planned: PlannedPart): PartPosition {
    if (planned.isNew) this.ledger.accept(planned);
    return planned.position;
  }

  async #saveSealer(number: number): Promise<void> {
    if (!this.#isStored || this.#sealer.mergeState === undefined) return;
    this.#unsaved.add(number);
    await this.#keeper.change(() => {
      const saved = [...this.#unsaved];
      return {
        content: saved.length === 0 ? undefined : this.#content(),
        accept: () => {
          for (const one of saved) this.#unsaved.delete(one);
        },
        result: undefined,
      };
    });
  }

  /** Remembers what S3 answered to a part: Complete must list its checksums, which callers leave out. */
  recordSent(
    number: number,
    output: Pick<S3.UploadPartCommandOutput, "ETag">,
    length: number | undefined,
  ): void {
    this.#sent.set(number, { part: completedPart(number, output), length });
  }

  /**
   * Learns from S3 which parts it has.
   * @throws FramesealError POLICY when it has parts that are not in the ledger
   */
  async checkListed(transport: Transport, request: S3Access = {}): Promise<void> {
    await this.#use(async () => {
      const parts = await this.#list(transport, request);
      const isKnown = ({ PartNumber = MAX_PART_NUMBER + 1 }: S3.Part): boolean =>
        this.ledger.get(PartNumber) !== undefined;
      // Others may have sent more since the state was read.
      if (!parts.every(isKnown)) await this.#keeper.refresh();
      const unknown = parts.find((part) => !isKnown(part));
      if (unknown !== undefined)
        throw new FramesealError(
          "POLICY",
          `part ${unknown.PartNumber} was sent after this state of the upload was saved: going on would repeat nonces`,
        );
      for (const part of parts) this.recordSent(part.PartNumber ?? 0, part, part.Size);
    });
  }

  async #list(transport: Transport, request: S3Access): Promise<S3.Part[]> {
    const parts: S3.Part[] = [];
    const onward: Onward = new Onward("parts");
    let marker: string | undefined;
    do {
      const listed: S3.ListPartsCommandOutput = await transport.listParts({
        ...repeatFields({ ...this.#access, ...request }, "ListParts"),
        ...this.#target,
        PartNumberMarker: marker,
      });
      parts.push(...(listed.Parts ?? []));
      const first = listed.Parts?.[0]?.PartNumber;
      marker = onward.next(listed.IsTruncated, first?.toString(), listed.NextPartNumberMarker);
    } while (marker !== undefined);
    return parts;
  }

  #stored(part: ListedPart): StoredPart | undefined {
    const sent = this.#sent.get(part.PartNumber ?? 0);
    return sent !== undefined && sameETag(sent.part.ETag, part.ETag)
      ? { part: { ...sent.part, ...part }, length: sent.length }
      : undefined;
  }

  #keep(number: number, { bytes, closed }: SealedPart, place: "more" | "last"): void {
    if (number === 1) this.#fingerprint = bytes.slice(0, FINGERPRINT_LENGTH);
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
  close(
    parts: readonly ListedPart[],
    transport: Transport,
    request: S3Access,
  ): Promise<{ parts: ListedPart[]; storedLength: number; plaintextLength: number }> {
    return this.#use(async () => {
      await this.#keeper.refresh();
      this.#checkOpen();
      const { count, plaintextLength } = this.ledger.checkComplete(parts.map((part) => part.PartNumber ?? 0));
      const storedLength = this.#sealer.storedLength(plaintextLength);
      // What other clients have sent is only known to S3.
      if (!parts.every((part) => this.#stored(part))) await this.checkListed(transport, request);
      const stored = parts.map((part) => this.#stored(part) ?? { part, length: undefined });
      const listed = stored.map(({ part }) => part);
      const total = totalOf(stored);
      if (total === storedLength) return { parts: listed, plaintextLength, storedLength };
      // Somebody tried to complete before: the last part has its closing bytes, and another tag than the caller knows.
      const last = this.#sent.get(count);
      if (last !== undefined && totalOf([...stored.slice(0, -1), last]) === storedLength)
        return { parts: [...listed.slice(0, -1), last.part], plaintextLength, storedLength };
      const absent = parts.find((part) => this.#stored(part) === undefined);
      if (absent !== undefined)
        throw new FramesealError(
          "POLICY",
          `part ${absent.PartNumber} is not in S3 with the ETag that was listed: send it again`,
        );
      const closing = await this.#closingBytes(count, plaintextLength);
      if (total !== undefined && total + closing.length !== storedLength)
        throw new FramesealError(
          "POLICY",
          `parts 1 to ${count} have ${total} bytes in S3 instead of ${storedLength - closing.length}: send them again`,
        );
      const kept = this.#kept?.number === count ? this.#kept.bytes : undefined;
      const number = kept === undefined ? count + 1 : count;
      const bytes = kept === undefined ? closing : concatBytes([kept, closing]);
      const output = await transport.uploadPart({
        ...repeatFields({ ...this.#access, ...request }, "UploadPart"),
        ...this.#target,
        PartNumber: number,
        Body: bytes,
        ContentLength: bytes.length,
      });
      listed[number - 1] = completedPart(number, output);
      return { parts: listed, plaintextLength, storedLength };
    });
  }

  async #closingBytes(count: number, plaintextLength: number): Promise<Uint8Array> {
    const last = this.ledger.get(count);
    const isAlone = count === 1 && this.#sealer.storedLength(plaintextLength) < MIN_PART_LENGTH;
    if (this.#kept?.number !== count && (last?.place !== "more" || isAlone))
      throw new FramesealError(
        "POLICY",
        `part ${count} must be sent again before the upload can be completed`,
      );
    // The nonces of the closing bytes belong to the next part: that one must never be sealed with other content.
    if (last?.place === "more")
      await this.#keeper.change(() => this.#change(this.ledger.plan(count + 1, new Uint8Array(0))));
    return this.#sealer.close(plaintextLength);
  }

  /** Completes the upload with the parts that `close` gave. */
  complete(
    parts: readonly ListedPart[],
    storedLength: number,
    transport: Transport,
    request: Partial<S3.CompleteMultipartUploadCommandInput>,
  ): Promise<S3.CompleteMultipartUploadCommandOutput> {
    const { location, uploadId } = this;
    const access = { ...this.#access, ...repeatFields(request, "UploadPart") };
    const fingerprint = this.#fingerprint;
    return storeWithSideObject(
      this.#sealer.sideObject,
      { location, input: { ...this.#side, ...access, ...request }, transport },
      () =>
        completeUpload({ location, uploadId, access, parts, storedLength, fingerprint, request }, transport),
      (output) => output,
    );
  }

  get #target(): { Bucket: string; Key: string; UploadId: string } {
    return { Bucket: this.location.bucket, Key: this.location.key, UploadId: this.uploadId };
  }

  #content(planned?: PlannedPart): StateContent {
    return {
      bucket: this.location.bucket,
      key: this.location.key,
      uploadId: this.uploadId,
      format: this.#format.name,
      object: this.#sealer.exportState(),
      ledger: this.ledger.exportState(planned),
      access: withoutKeys({ ...this.#access }),
      side: withoutKeys(this.#side),
      exported: false,
    };
  }

  /** Hands the upload over: nothing is sealed here afterwards. */
  export(): Promise<MultipartState> {
    return this.#use(() => this.#keeper.export(() => this.#content()));
  }

  /** Wipes keys as soon as nothing uses them. Safe to call more than once. */
  dispose(): void {
    this.#isDisposed = true;
    if (this.#users > 0) return;
    this.#sealer.dispose();
    this.ledger.dispose();
    this.#stateKey.dispose();
  }
}

// What is kept or handed over must not hold the SSE-C key: who goes on gives it again.
function withoutKeys(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { SSECustomerKey: _, SSECustomerAlgorithm: __, SSECustomerKeyMD5: ___, ...rest } = fields;
  return rest;
}

/** `side` of a state that was JSON, in which dates are text. */
function importSide(side: MultipartState["side"]): Readonly<Record<string, unknown>> {
  const date = side.ObjectLockRetainUntilDate;
  return {
    ...side,
    ...(date === undefined ? {} : { ObjectLockRetainUntilDate: new Date(date as string | Date) }),
  };
}

function totalOf(parts: readonly StoredPart[]): number | undefined {
  let total = 0;
  for (const { length } of parts) {
    if (length === undefined) return undefined;
    total += length;
  }
  return total;
}
