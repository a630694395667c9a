// What every operation on a tree is given: clients, names, a queue, a journal, and whom to tell.
import type { S3Client } from "@aws-sdk/client-s3";
import type { TreeAddress } from "./entry.ts";
import type { Journal } from "./journal/journal.ts";
import type { KeyNames } from "./names/key-names.ts";
import type { Report } from "./report.ts";
import type { TransferQueue } from "./transfer/queue.ts";

/** What it takes without a key: listing, removing, looking for uploads. */
export interface PlaceContext {
  /** Commands. */
  readonly sdk: typeof import("@aws-sdk/client-s3");
  /** Does not encrypt. */
  readonly plain: S3Client;
  readonly address: TreeAddress;
  readonly names: KeyNames;
  readonly queue: TransferQueue;
  readonly journal: Journal | undefined;
  readonly report: Report;
  readonly signal: AbortSignal;
  /** Nothing is changed: all that would be is told. */
  readonly dryRun: boolean;
}

/** What it takes with one. */
export interface TreeContext extends PlaceContext {
  /** Encrypts and decrypts; keeps its multipart uploads in the journal, if there is one. */
  readonly client: S3Client;
  /** The same for symbolic links: what it stores says in its encryption context that it is one, and what it reads must. */
  readonly links: S3Client;
  /** The same, and always bound to the name of the object: for manifests. */
  readonly sealed: S3Client;
}
