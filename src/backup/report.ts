// What an operation on a tree tells while it runs. The command line draws, prints and counts it.

/** What becomes of one entry. */
export type Action = "put" | "get" | "skip" | "delete" | "verify" | "rewrap" | "list";

/** One entry that was dealt with: done, or failed if there is an `error`. */
export interface ItemRecord {
  readonly action: Action;
  /** In the tree, or the key where there is no path (a name that cannot be decrypted). */
  readonly path: string;
  readonly key?: string | undefined;
  readonly type?: string | undefined;
  /** Bytes of plaintext. */
  readonly size?: number | undefined;
  readonly mtimeNs?: bigint | undefined;
  readonly eTag?: string | undefined;
  readonly versionId?: string | undefined;
  /** Why: `unchanged`, `changed`, `new`, `not in the source`, ... */
  readonly reason?: string | undefined;
  /** It would be done: nothing was. */
  readonly dryRun?: boolean | undefined;
  /** It failed; all others go on. */
  readonly error?: unknown;
  /** Where `error` says that something is not authentic, missing or not what the manifest names: exit code 3. */
  readonly untrusted?: boolean | undefined;
}

/** What is told. Every method returns at once. */
export interface Report {
  /** Totals grow while a tree is walked; `final` once it was. */
  total(entries: number, bytes: number, final: boolean): void;
  /** Bytes of plaintext of an entry that were sent or received since the last call. */
  moved(path: string, bytes: number): void;
  item(record: ItemRecord): void;
  /** Something to know that is no failure: a socket that is skipped, a hard link, a server without checksums. */
  warn(text: string, path?: string): void;
  /** A fact for `--json` and for the summary: `{"record":"server",...}`. */
  fact(record: string, fields: Readonly<Record<string, unknown>>): void;
}
