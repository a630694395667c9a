// What runs remember of a tree: which runs there were, what is stored, what was on its way.
import type { MultipartStateStore } from "../../s3/requests/multipart-state.ts";
import type { EntryType } from "../entry.ts";

export type RunKind = "put" | "get" | "sync" | "rewrap" | "reencrypt";

/** An object that a run stored, and the source as it was then. */
export interface StoredRow {
  readonly path: string;
  /** In the bucket, with the prefix. */
  readonly key: string;
  readonly type: EntryType;
  readonly size: number;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly inode: bigint;
  readonly mode: number;
  readonly uid: number | undefined;
  readonly gid: number | undefined;
  readonly eTag: string;
  readonly versionId: string | undefined;
  /** SHA-256 of the plaintext, hexadecimal. */
  readonly sha256: string;
  /** The run that stored it, by the number of its manifest; 0 for none yet. */
  readonly run: number;
}

/** A large file on its way up, part by part. */
export interface UploadRow {
  readonly key: string;
  readonly uploadId: string;
  readonly partSize: number;
  /** The source as it was when the upload began. */
  readonly size: number;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly inode: bigint;
}

/** A part that S3 has. */
export interface PartRow {
  readonly number: number;
  readonly eTag: string;
  /** SHA-256 of the file up to the end of this part, hexadecimal. */
  readonly sha256: string;
}

/** A large object on its way down. */
export interface DownloadRow {
  /** Absolute path of the target. */
  readonly target: string;
  readonly temporary: string;
  readonly key: string;
  readonly eTag: string;
  readonly versionId: string | undefined;
  /** Bytes of plaintext that are verified and on disk. */
  readonly verified: number;
}

/** An object as a listing shows it. */
export interface ListedRow {
  readonly key: string;
  readonly eTag: string;
  /** As it is stored. */
  readonly size: number;
}

/** Whose journal it is: it serves no other place. */
export interface JournalIdentity {
  readonly endpoint: string;
  readonly bucket: string;
  readonly prefix: string;
  /** Of a `get`: where the tree is restored. */
  readonly target?: string | undefined;
}

/**
 * One file, used by one run at a time. Every method is synchronous; what changes is durable when it returns, unless it
 * says otherwise. Each throws FramesealError JOURNAL when the file cannot be written or read, and from then on all do: a
 * run ends then.
 */
export interface Journal {
  readonly file: string;
  /** Begins a run. */
  beginRun(kind: RunKind): number;
  endRun(run: number, outcome: "done" | "failed-some" | "failed"): void;

  stored(key: string): StoredRow | undefined;
  allStored(): Iterable<StoredRow>;
  /** May be on disk only after `flush`, a second later at most: what is lost is sent again. */
  putStored(row: StoredRow): void;
  /** As `putStored`. */
  removeStored(key: string): void;
  flush(): void;

  /** Says that requests for `key` begin which may leave an upload behind; batched by `begin` of several. */
  begin(keys: readonly string[]): void;
  /** They have ended, and left nothing. As `putStored`: what is lost is looked up once more. */
  end(key: string): void;
  /** Keys that runs began and did not end. */
  unended(): readonly string[];

  /** Forgets which uploads are of somebody else. May be on disk only after `flush`, as `addForeignUploads`. */
  clearForeignUploads(): void;
  /** Uploads that were there when a run began, and are of somebody else. */
  addForeignUploads(uploadIds: Iterable<string>): void;
  isForeignUpload(uploadId: string): boolean;

  /** Forgets the last listing. A listing need not survive the run, so all of it may be on disk only after `flush`. */
  beginListing(): void;
  addListed(rows: Iterable<ListedRow>): void;
  listed(key: string): ListedRow | undefined;
  /** By the bytes of their keys, as S3 sorts them. */
  allListed(): Iterable<ListedRow>;
  /** What is listed and not among `stored`, sorted alike. Rows may be changed meanwhile. */
  listedNotStored(): AsyncIterable<ListedRow>;
  /** What is among `stored` and not listed, sorted alike. */
  storedNotListed(): AsyncIterable<StoredRow>;

  /** States of uploads for `encryptS3Client`. */
  readonly states: MultipartStateStore;
  upload(key: string): UploadRow | undefined;
  allUploads(): readonly UploadRow[];
  beginUpload(row: UploadRow): void;
  parts(uploadId: string): readonly PartRow[];
  putPart(uploadId: string, part: PartRow): void;
  endUpload(uploadId: string): void;

  download(target: string): DownloadRow | undefined;
  allDownloads(): readonly DownloadRow[];
  /** Durable for another temporary file or object; as `putStored` for how much of it is verified. */
  putDownload(row: DownloadRow): void;
  endDownload(target: string): void;

  /** What a run has done to a key already (rewrap), by its ETag then. */
  done(kind: RunKind, key: string): string | undefined;
  /** As `putStored`. */
  putDone(kind: RunKind, key: string, eTag: string): void;

  /** Small facts: flags of the server, the newest manifest. */
  note(name: string): string | undefined;
  putNote(name: string, value: string): void;
  close(): void;
}
