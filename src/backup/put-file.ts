// One entry of a tree -> one object. What fits into a part is read whole and sent with one request; what is longer goes
// in parts, which another run can go on with where there is a journal.
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { settledChangeTime } from "./changed.ts";
import type { Journal, StoredRow } from "./journal/journal.ts";
import { metadataOf } from "./local/attributes.ts";
import { receiptOf } from "./object-state.ts";
import type { PutPlace } from "./put-place.ts";
import { ResumableUpload } from "./resumable-upload.ts";
import { ChangedWhileRead, readLink, type SourceEntry, SourceFile } from "./source-file.ts";

/** What is stored of an entry; the number of the run is that of its manifest. */
export type Stored = Omit<StoredRow, "run">;

/** What an entry costs besides its bytes: a data key, a request and its answer. */
const REQUEST_MEMORY = 128 * 2 ** 10;
/** A file that changes while it is read is read again so often. */
const TRIES = 2;

/** Stores an entry of a tree under `key`. @throws ChangedWhileRead, and what the system or the service says */
export async function putEntry(place: PutPlace, entry: SourceEntry, key: string): Promise<Stored> {
  for (let left = TRIES - 1; ; left--) {
    try {
      return await putOnce(place, entry, key);
    } catch (error) {
      if (left === 0 || !(error instanceof ChangedWhileRead)) throw error;
    }
  }
}

function putOnce(place: PutPlace, entry: SourceEntry, key: string): Promise<Stored> {
  if (entry.type !== "file") return putSmall(place, key, entry, place.partSize, contentOf);
  if (entry.size <= place.partSize) return putSmall(place, key, entry, entry.size, fileContent);
  return place.journal !== undefined && place.resumable
    ? putInParts(place, place.journal, entry, key)
    : putStreamed(place, entry, key);
}

/** Something that is sent with one request. */
interface Content {
  readonly bytes: Buffer;
  /** As it was when it was read. */
  readonly state: SourceEntry;
  readonly ctimeNs: bigint;
}

async function contentOf(entry: SourceEntry): Promise<Content> {
  const bytes = entry.type === "symlink" ? await readLink(entry) : Buffer.alloc(0);
  const ctimeNs = settledChangeTime(entry.ctimeNs, BigInt(Date.now()) * 1_000_000n);
  return { bytes, state: { ...entry, size: bytes.length }, ctimeNs };
}

async function fileContent(entry: SourceEntry, signal: AbortSignal): Promise<Content> {
  const file = await SourceFile.open(entry, signal);
  try {
    // It was seen to be short, and memory was taken for that.
    if (file.state.size > entry.size) throw new ChangedWhileRead(entry.absolute);
    const bytes = await file.read(0, file.state.size, signal);
    await file.checkUnchanged();
    return { bytes, state: file.state, ctimeNs: settledChangeTime(file.state.ctimeNs, file.readAtNs) };
  } finally {
    await file.close();
  }
}

async function putSmall(
  place: PutPlace,
  key: string,
  entry: SourceEntry,
  length: number,
  read: (entry: SourceEntry, signal: AbortSignal) => Promise<Content>,
): Promise<Stored> {
  const client = entry.type === "symlink" ? place.links : place.client;
  // Plaintext and stored bytes. What is no file is short.
  const memory = 2 * (entry.type === "file" ? length : 4096) + REQUEST_MEMORY;
  const stored = await place.queue.run({ memory, kind: "small" }, async (signal) => {
    const { bytes, state, ctimeNs } = await read(entry, signal);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const output = await client.send(
      new place.sdk.PutObjectCommand({
        ...requestOf(place, state, key),
        Body: bytes,
        ContentLength: bytes.length,
      }),
      { abortSignal: signal },
    );
    place.onMoved(entry.path, bytes.length);
    return { state, ctimeNs, output, sha256 };
  });
  return storedOf(place, key, stored);
}

// All of it is sent again when it fails: nobody could go on with it.
async function putStreamed(place: PutPlace, entry: SourceEntry, key: string): Promise<Stored> {
  place.journal?.begin([key]);
  const stored = await place.queue.run({ memory: place.streamMemory, kind: "part" }, async (signal) => {
    const file = await SourceFile.open(entry, signal);
    try {
      const { state } = file;
      const hash = createHash("sha256");
      async function* hashed(): AsyncGenerator<Buffer, void, void> {
        for await (const chunk of file.chunks(signal)) {
          hash.update(chunk);
          place.onMoved(entry.path, chunk.length);
          yield chunk;
        }
      }
      const output = await place.client.send(
        new place.sdk.PutObjectCommand({
          ...requestOf(place, state, key),
          Body: Readable.from(hashed(), { objectMode: false }),
          ContentLength: state.size,
        }),
        { abortSignal: signal },
      );
      const ctimeNs = settledChangeTime(state.ctimeNs, file.readAtNs);
      return { state, ctimeNs, output, sha256: hash.digest("hex") };
    } finally {
      await file.close();
    }
  });
  place.journal?.end(key);
  return storedOf(place, key, stored);
}

async function putInParts(
  place: PutPlace,
  journal: Journal,
  entry: SourceEntry,
  key: string,
): Promise<Stored> {
  const file = await SourceFile.open(entry, NEVER);
  try {
    const { state } = file;
    const upload = new ResumableUpload(place, journal, file, requestOf(place, state, key));
    const { output, sha256 } = await upload.run();
    const ctimeNs = settledChangeTime(state.ctimeNs, file.readAtNs);
    return await storedOf(place, key, { state, ctimeNs, output, sha256 });
  } finally {
    await file.close();
  }
}

/** Opening a file does not wait for anybody. */
const NEVER = new AbortController().signal;

/** What requests for an entry have in common. */
function requestOf({ address, fields }: PutPlace, state: SourceEntry, key: string) {
  const metadata = { ...(fields.Metadata as Record<string, string> | undefined), ...metadataOf(state) };
  return { ...fields, Bucket: address.bucket, Key: key, Metadata: metadata };
}

/** What was sent, and what the server answered. */
interface Sent {
  readonly state: SourceEntry;
  readonly ctimeNs: bigint;
  readonly output: { readonly ETag?: string | undefined; readonly VersionId?: string | undefined };
  readonly sha256: string;
}

async function storedOf(
  place: PutPlace,
  key: string,
  { state, ctimeNs, output, sha256 }: Sent,
): Promise<Stored> {
  const { eTag, versionId } = await receiptOf(place, key, output);
  return { ...stateOf(state), key, ctimeNs, eTag, versionId, sha256 };
}

/** What of the source a row keeps. */
export function stateOf(entry: SourceEntry) {
  const { path, type, size, mtimeNs, inode, mode, uid, gid } = entry;
  return { path, type, size, mtimeNs, inode, mode, uid, gid };
}
