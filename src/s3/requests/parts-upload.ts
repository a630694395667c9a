// The S3 side of a multipart upload that this package makes: Create, parts with a bounded number on their way, Complete,
// and Abort whenever anything fails. What is in the parts is not known here.
import type * as S3 from "@aws-sdk/client-s3";
import { FramesealError } from "../../errors.ts";
import { shorten } from "../../quote.ts";
import { isBytes, isError } from "../../shapes.ts";
import type { ObjectLocation } from "../object-format.ts";
import { isNotFound } from "../object-source.ts";
import { repeatFields } from "../request-fields.ts";
import { Stop } from "../stop.ts";
import type { Transport } from "../transport.ts";
import { completedPart, completeUpload, type S3Access, sendComplete } from "./complete-upload.ts";
import { MAX_PART_NUMBER } from "./part-ledger.ts";
import type { PartSource } from "./part-spool.ts";

/** What an upload is made with. */
export interface UploadStart {
  readonly location: ObjectLocation;
  /** Fields of CreateMultipartUpload besides bucket and key; what further requests repeat is taken from them. */
  readonly create: Readonly<Record<string, unknown>>;
  /** Parts on their way at a time. */
  readonly concurrency: number;
  /** Stops the upload from outside, and is stopped by a part that fails; by default one of its own. */
  readonly stop?: Stop | undefined;
}

/** What only the end knows. */
export type UploadEnd = SealedEnd | OwnEnd;

/** The end of bytes that were sealed here. */
interface SealedEnd {
  /** Bytes of the whole object as stored. */
  readonly storedLength: number;
  /** The first stored bytes, by which the object is recognised when the answer to Complete was lost. */
  readonly fingerprint: Uint8Array | undefined;
  /** Further fields of Complete: conditions. */
  readonly request?: CompleteFields | undefined;
}

/** The end for those who have rules of their own for what makes an object appear. */
interface OwnEnd {
  /**
   * Completes the upload, once all parts are there.
   * @param send sends Complete; may be called again
   */
  complete(
    send: (request: CompleteFields) => Promise<S3.CompleteMultipartUploadCommandOutput>,
  ): Promise<S3.CompleteMultipartUploadCommandOutput>;
}

type CompleteFields = Partial<S3.CompleteMultipartUploadCommandInput>;

/** Sends the parts of one upload. */
export interface PartSender {
  readonly uploadId: string;
  /**
   * Sends a part; numbers in any order. Resolves as soon as there is room for a further part, with all of them on their
   * way still borrowed. Rejects when this or an earlier part failed.
   * @param onEnd called when the part is no longer needed, sent or given up
   */
  send(number: number, body: Uint8Array | PartSource, onEnd?: () => void): Promise<void>;
  /** The same for bytes of a stored object. @param source the `CopySource…` fields of UploadPartCopy */
  copy(number: number, source: UploadPartCopySource): Promise<void>;
  /** Resolves when no part is on its way. */
  settled(): Promise<void>;
}

/** What UploadPartCopy says about its source. */
export type UploadPartCopySource = Pick<
  S3.UploadPartCopyCommandInput,
  | "CopySource"
  | "CopySourceIfMatch"
  | "CopySourceRange"
  | "CopySourceSSECustomerAlgorithm"
  | "CopySourceSSECustomerKey"
  | "CopySourceSSECustomerKeyMD5"
  | "ExpectedSourceBucketOwner"
>;

/**
 * Makes one object in parts. The upload is completed when `sendParts` has ended, and aborted when it fails or anything
 * else does. An upload that could not be aborted either is named by the error: `uploadId`, and in its message.
 * @param sendParts sends all parts and tells what Complete must know
 */
export async function uploadParts(
  start: UploadStart,
  transport: Transport,
  sendParts: (sender: PartSender) => Promise<UploadEnd>,
): Promise<S3.CompleteMultipartUploadCommandOutput> {
  const stop = start.stop ?? new Stop(transport.signal);
  try {
    const upload = new PartsUpload(start, transport.withSignal(stop.signal), stop);
    const uploadId = await upload.create(transport).catch((error) => {
      throw stop.stopped === undefined ? error : stop.stopped.reason;
    });
    try {
      return await upload.fill(uploadId, sendParts);
    } catch (error) {
      stop.stop(error);
      await upload.settled();
      const reason = stop.stopped?.reason;
      throw await abortUpload(transport, upload.abortRequest(uploadId), reason);
    }
  } finally {
    if (start.stop === undefined) stop.release();
  }
}

class PartsUpload {
  readonly #start: UploadStart;
  readonly #transport: Transport;
  readonly #stop: Stop;
  readonly #parts: S3.CompletedPart[] = [];
  readonly #sending = new Set<Promise<void>>();

  constructor(start: UploadStart, transport: Transport, stop: Stop) {
    this.#start = start;
    this.#transport = transport;
    this.#stop = stop;
  }
  get #target(): { Bucket: string; Key: string } {
    const { bucket, key } = this.#start.location;
    return { Bucket: bucket, Key: key };
  }

  // When the operation stops meanwhile, the answer is waited for a little: it names an upload that must not stay. One
  // whose id never arrives cannot be told from one that somebody else began for the same key, so it is not looked for
  // and never aborted; S3's lifecycle rules remove it.
  async create(transport: Transport): Promise<string> {
    const request = { ...this.#start.create, ...this.#target } as S3.CreateMultipartUploadCommandInput;
    const grace = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    const onStop = (): void => {
      timer = setTimeout(() => grace.abort(), CREATE_GRACE_MS);
    };
    this.#stop.signal.addEventListener("abort", onStop);
    try {
      this.#stop.throwIfStopped();
      return uploadIdOf(await transport.withSignal(grace.signal).createMultipartUpload(request));
    } finally {
      clearTimeout(timer);
      this.#stop.signal.removeEventListener("abort", onStop);
    }
  }

  async fill(
    uploadId: string,
    sendParts: (sender: PartSender) => Promise<UploadEnd>,
  ): Promise<S3.CompleteMultipartUploadCommandOutput> {
    this.#stop.throwIfStopped();
    const sender: PartSender = {
      uploadId,
      send: (number, body, onEnd) => this.#add(this.#sendPart(uploadId, number, body), onEnd),
      copy: (number, source) => this.#add(this.#copyPart(uploadId, number, source)),
      settled: () => this.settled(),
    };
    const end = await this.#stop.race(sendParts(sender));
    await this.settled();
    this.#stop.throwIfStopped();
    return this.#stop.race(this.#complete(uploadId, end));
  }

  #complete(uploadId: string, end: UploadEnd): Promise<S3.CompleteMultipartUploadCommandOutput> {
    const { location, create } = this.#start;
    const repeated = repeatFields(create, "CompleteMultipartUpload");
    const common = { location, uploadId, parts: this.#parts };
    if ("complete" in end)
      return end.complete((request) =>
        sendComplete({ ...common, request: { ...repeated, ...request } }, this.#transport),
      );
    const { request, ...rest } = end;
    const access = repeatFields(create, "UploadPart") as S3Access;
    return completeUpload(
      { ...common, ...rest, access, request: { ...repeated, ...request } },
      this.#transport,
    );
  }

  async #add(part: Promise<void>, onEnd?: () => void): Promise<void> {
    const sent = this.#stop
      .race(part)
      .catch((error) => this.#stop.stop(error))
      .finally(() => {
        this.#sending.delete(sent);
        onEnd?.();
      });
    this.#sending.add(sent);
    while (this.#sending.size >= this.#start.concurrency) await Promise.race(this.#sending);
    this.#stop.throwIfStopped();
  }

  async #sendPart(uploadId: string, number: number, body: Uint8Array | PartSource): Promise<void> {
    this.#checkNumber(number);
    const request = {
      ...repeatFields(this.#start.create, "UploadPart"),
      ...this.#target,
      UploadId: uploadId,
      PartNumber: number,
      ContentLength: body.length,
    };
    const output = isBytes(body)
      ? await this.#transport.uploadPart({ ...request, Body: body })
      : await body.send((fields) => this.#transport.uploadPart({ ...request, ...fields }), this.#stop);
    this.#parts[number - 1] = completedPart(number, output);
  }

  async #copyPart(uploadId: string, number: number, source: UploadPartCopySource): Promise<void> {
    this.#checkNumber(number);
    const { CopyPartResult } = await this.#transport.uploadPartCopy({
      ...repeatFields(this.#start.create, "UploadPartCopy"),
      ...this.#target,
      UploadId: uploadId,
      PartNumber: number,
      ...source,
    } as S3.UploadPartCopyCommandInput);
    this.#parts[number - 1] = completedPart(number, CopyPartResult ?? {});
  }

  #checkNumber(number: number): void {
    if (number > MAX_PART_NUMBER)
      throw new FramesealError("LIMIT_EXCEEDED", `body needs more than ${MAX_PART_NUMBER} parts`);
  }

  async settled(): Promise<void> {
    await Promise.all(this.#sending);
  }

  abortRequest(uploadId: string): S3.AbortMultipartUploadCommandInput {
    return {
      ...repeatFields(this.#start.create, "AbortMultipartUpload"),
      ...this.#target,
      UploadId: uploadId,
    };
  }
}

/** How long the answer to CreateMultipartUpload may take after the operation was stopped. */
const CREATE_GRACE_MS = 2000;
/** Attempts to abort an upload, the pause after the first, which doubles, and how long all of them may take. */
const ABORT_ATTEMPTS = 3;
const ABORT_PAUSE_MS = 50;
const ABORT_LIMIT_MS = 5000;

/**
 * Aborts an upload that failed.
 * @returns `error`, which from then on names the upload if that may still be there: `uploadId`, and in its message
 */
export async function abortUpload(
  transport: Transport,
  request: S3.AbortMultipartUploadCommandInput,
  error: unknown,
): Promise<unknown> {
  return (await tryAbort(transport, request)) ? error : leftBehind(error, String(request.UploadId));
}

/** What S3 calls an upload that has just begun. */
export function uploadIdOf({ UploadId }: { readonly UploadId?: unknown }): string {
  if (typeof UploadId !== "string") throw new FramesealError("UNSUPPORTED", "server gave no upload id");
  return UploadId;
}

// Tries again, since parts that stay behind cost money. Ends in any case within some seconds; false when the upload may
// still be there.
async function tryAbort(
  transport: Transport,
  request: S3.AbortMultipartUploadCommandInput,
): Promise<boolean> {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), ABORT_LIMIT_MS);
  try {
    for (let attempt = 1; ; attempt++) {
      try {
        await transport.withSignal(limit.signal).abortMultipartUpload(request);
        return true;
      } catch (error) {
        if (isNotFound(error)) return true;
        if (attempt === ABORT_ATTEMPTS || limit.signal.aborted) return false;
      }
      await new Promise((resolve) => setTimeout(resolve, ABORT_PAUSE_MS * 4 ** (attempt - 1)));
    }
  } finally {
    clearTimeout(timer);
  }
}

function leftBehind(error: unknown, uploadId: string): unknown {
  const text = `the upload ${shorten(uploadId, 500)} could not be aborted: its parts are still there`;
  if (!isError(error) || !Object.isExtensible(error))
    return Object.assign(new Error(`upload failed, and ${text}`, { cause: error }), { uploadId });
  error.message = shorten(`${shorten(error.message, 1000)} (${text})`);
  return Object.assign(error, { uploadId });
}
