// A large file on its way in parts, which the next run goes on with if this one ends: the journal knows the upload, what
// S3 has of it, and the digests of what was read.
import { createHash, type Hash } from "node:crypto";
import type * as S3 from "@aws-sdk/client-s3";
import { hasCode, isFramesealError } from "../errors.ts";
import { planParts } from "../s3/requests/part-plan.ts";
import { isErrorNamed } from "../shapes.ts";
import type { Journal, UploadRow } from "./journal/journal.ts";
import type { PutPlace } from "./put-place.ts";
import { ChangedWhileRead, type SourceFile } from "./source-file.ts";

/** The fields of the requests that make the object. */
type Request = Readonly<Record<string, unknown>> & { readonly Bucket: string; readonly Key: string };

/** Requests without a body. */
const CONTROL_COST = { memory: 128 * 2 ** 10, kind: "part" } as const;
/** Parts of one file that are in the queue at a time. */
const SUBMITTED = 16;

/** A part that was read. Its bytes are not kept while it waits for another attempt. */
interface ReadPart {
  readonly number: number;
  readonly position: number;
  readonly length: number;
  /** SHA-256 of the file up to the beginning of this part, and up to its end. */
  readonly before: Hash;
  readonly sha256: string;
}

/** One file, from its first byte to a complete object. */
export class ResumableUpload {
  readonly #place: PutPlace;
  readonly #journal: Journal;
  readonly #file: SourceFile;
  readonly #request: Request;

  constructor(place: PutPlace, journal: Journal, file: SourceFile, request: Request) {
    this.#place = place;
    this.#journal = journal;
    this.#file = file;
    this.#request = request;
  }

  /** Goes on with what an earlier run has sent, or begins. */
  async run(): Promise<{
    readonly output: S3.CompleteMultipartUploadCommandOutput;
    readonly sha256: string;
  }> {
    const { Key } = this.#request;
    const known = this.#journal.upload(Key);
    if (known !== undefined && this.#isOfFile(known)) {
      try {
        return await this.#send(known);
      } catch (error) {
        if (!cannotGoOn(error)) throw error;
      }
    }
    if (known !== undefined) await abandonUpload(this.#place, this.#journal, known);
    return this.#send(await this.#begin());
  }

  // Bytes are compared, too; but the metadata of the object was sent when its upload began.
  #isOfFile({ size, mtimeNs }: UploadRow): boolean {
    return size === this.#file.state.size && mtimeNs === this.#file.state.mtimeNs;
  }

  async #begin(): Promise<UploadRow> {
    const { sdk, client, queue } = this.#place;
    const { size, mtimeNs, ctimeNs, inode } = this.#file.state;
    const key = this.#request.Key;
    this.#journal.begin([key]);
    const output = await queue.run(CONTROL_COST, (signal) =>
      client.send(new sdk.CreateMultipartUploadCommand(this.#request), { abortSignal: signal }),
    );
    const uploadId = output.UploadId ?? ""; // the client refuses an answer without one
    const row = { key, uploadId, partSize: this.#partSize(), size, mtimeNs, ctimeNs, inode };
    this.#journal.beginUpload(row);
    return row;
  }

  #partSize(): number {
    const { partSize, frameLength } = this.#place;
    const plan = planParts({
      partSize,
      uploadConcurrency: 1,
      memory: 4 * partSize,
      // One more: if the last part is as long as the others, another one ends the object.
      length: this.#file.state.size + 1,
      expectedSize: undefined,
      alignment: frameLength,
      storedLength: (length) => length + Math.ceil(length / frameLength) * FRAME_OVERHEAD + MAX_HEADER_LENGTH,
    });
    return plan.lengthOf(1);
  }

  async #send(upload: UploadRow) {
    try {
      const { parts, sha256 } = await this.#sendParts(upload);
      await this.#file.checkUnchanged();
      const output = await this.#complete(upload, parts);
      this.#journal.endUpload(upload.uploadId);
      this.#journal.end(upload.key);
      return { output, sha256 };
    } catch (error) {
      if (error instanceof ChangedWhileRead) await abandonUpload(this.#place, this.#journal, upload);
      throw error;
    }
  }

  async #sendParts(upload: UploadRow) {
    const { queue, partSize } = { ...this.#place, partSize: upload.partSize };
    const count = Math.max(1, Math.ceil(upload.size / partSize));
    const kept = new Map(this.#journal.parts(upload.uploadId).map((part) => [part.number, part]));
    const eTags: string[] = [];
    const reader = new PartReader(this.#file, partSize);
    // Whichever job runs first takes the next part: none waits for another that has no place in the queue.
    const sendNext = (): Promise<void> => {
      let part: ReadPart | undefined;
      // Plaintext, the copy that the client takes of it, and stored bytes.
      return queue.run({ memory: 3 * partSize, kind: "part" }, async (signal) => {
        let bytes: Buffer;
        if (part === undefined) [part, bytes] = await reader.next(signal);
        else bytes = await reader.again(part, signal);
        const row = kept.get(part.number);
        if (row !== undefined && row.sha256 !== part.sha256) throw new SourceIsAnother();
        // The end of the object is made with the last part, by whoever completes it.
        const isKept = row !== undefined && part.number < count;
        eTags[part.number - 1] = isKept ? row.eTag : await this.#sendPart(upload, part, bytes, signal);
        this.#place.onMoved(this.#file.state.path, part.length);
      });
    };
    // The first part says how long parts are.
    await sendNext();
    await inParallel(count - 1, SUBMITTED, sendNext);
    return { parts: eTags, sha256: reader.digest() };
  }

  async #sendPart(upload: UploadRow, part: ReadPart, bytes: Buffer, signal: AbortSignal): Promise<string> {
    const { sdk, client } = this.#place;
    const output = await client.send(
      new sdk.UploadPartCommand({
        ...accessOf(this.#request),
        Bucket: this.#request.Bucket,
        Key: this.#request.Key,
        UploadId: upload.uploadId,
        PartNumber: part.number,
        Body: bytes,
        ContentLength: bytes.length,
      }),
      { abortSignal: signal },
    );
    const eTag = output.ETag ?? ""; // the client refuses an answer without one
    this.#journal.putPart(upload.uploadId, { number: part.number, eTag, sha256: part.sha256 });
    return eTag;
  }

  #complete(upload: UploadRow, eTags: readonly string[]) {
    const { sdk, client, queue } = this.#place;
    const Parts = eTags.map((ETag, index) => ({ PartNumber: index + 1, ETag }));
    return queue.run(CONTROL_COST, (signal) =>
      client.send(
        new sdk.CompleteMultipartUploadCommand({
          ...accessOf(this.#request),
          Bucket: this.#request.Bucket,
          Key: this.#request.Key,
          UploadId: upload.uploadId,
          MultipartUpload: { Parts },
        }),
        { abortSignal: signal },
      ),
    );
  }
}

/** Number, nonce and tag of a frame; those of the last one are a little longer. */
const FRAME_OVERHEAD = 40;
const MAX_HEADER_LENGTH = 2 ** 20;

/** Reads the parts of a file in their order, whoever asks. */
class PartReader {
  readonly #file: SourceFile;
  readonly #partSize: number;
  readonly #hash: Hash = createHash("sha256");
  #number = 0;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(file: SourceFile, partSize: number) {
    this.#file = file;
    this.#partSize = partSize;
  }

  next(signal: AbortSignal): Promise<[ReadPart, Buffer]> {
    const read = this.#turn.then(() => this.#read(signal));
    this.#turn = read.catch(() => {});
    return read;
  }

  async #read(signal: AbortSignal): Promise<[ReadPart, Buffer]> {
    const position = this.#number * this.#partSize;
    const length = Math.min(this.#partSize, this.#file.state.size - position);
    const bytes = await this.#file.read(position, length, signal);
    const before = this.#hash.copy();
    this.#hash.update(bytes);
    this.#number += 1;
    return [{ number: this.#number, position, length, before, sha256: this.digest() }, bytes];
  }

  /** The same bytes once more. @throws ChangedWhileRead if they are others */
  async again({ position, length, before, sha256 }: ReadPart, signal: AbortSignal): Promise<Buffer> {
    const bytes = await this.#file.read(position, length, signal);
    if (before.copy().update(bytes).digest("hex") !== sha256)
      throw new ChangedWhileRead(this.#file.state.absolute);
    return bytes;
  }

  /** SHA-256 of what was read. */
  digest(): string {
    return this.#hash.copy().digest("hex");
  }
}

/** The bytes of the source are not those that an upload was begun with, though size and times are. */
class SourceIsAnother extends Error {
  override readonly name = "SourceIsAnother";
}

/** True for what an upload of an earlier run may fail with, and a new one does not. */
function cannotGoOn(error: unknown): boolean {
  if (error instanceof SourceIsAnother || isErrorNamed(error, "NoSuchUpload", "InvalidPart", "TypeError"))
    return true;
  const passes = ["NETWORK", "ABORTED", "KEY_SERVICE"] as const;
  return isFramesealError(error) && !passes.some((code) => hasCode(error, code));
}

/** Aborts an upload and forgets it. */
export async function abandonUpload(
  { sdk, client, queue, address }: Pick<PutPlace, "sdk" | "client" | "queue" | "address">,
  journal: Journal,
  { key, uploadId }: Pick<UploadRow, "key" | "uploadId">,
): Promise<void> {
  await queue.run(CONTROL_COST, async (signal) => {
    const command = new sdk.AbortMultipartUploadCommand({
      Bucket: address.bucket,
      Key: key,
      UploadId: uploadId,
    });
    try {
      await client.send(command, { abortSignal: signal });
    } catch (error) {
      if (!isErrorNamed(error, "NoSuchUpload")) throw error;
    }
  });
  journal.endUpload(uploadId);
  journal.end(key);
}

/** What requests about an upload repeat of the one that began it. */
function accessOf({ ExpectedBucketOwner, RequestPayer }: Request) {
  return {
    ExpectedBucketOwner: ExpectedBucketOwner as string | undefined,
    RequestPayer: RequestPayer as "requester" | undefined,
  };
}

/** Calls `work` `count` times, at most `most` of them at a time. Waits for all that were begun, also when one fails. */
async function inParallel(count: number, most: number, work: () => Promise<void>): Promise<void> {
  let left = count;
  const lane = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await work().catch((error: unknown) => {
        left = 0;
        throw error;
      });
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: Math.min(count, most) }, lane));
  const failed = ends.find((end) => end.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}
