// What a tree is made of, whether it was walked, listed or read from a manifest.

/** Devices, sockets and FIFOs are never entries: walks tell of them. */
export type EntryType = "file" | "directory" | "symlink";

/** What is kept of a file besides its bytes. */
export interface Attributes {
  /** Nanoseconds since 1970. */
  readonly mtimeNs: bigint;
  /** Permission bits, up to 0o7777. */
  readonly mode: number;
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
}

/** One thing in a tree. */
export interface TreeEntry extends Attributes {
  /** Relative to the root of the tree, with `/` between names; neither begins nor ends with one. */
  readonly path: string;
  readonly type: EntryType;
  /** Bytes of plaintext: of a link, its target; of a directory none. */
  readonly size: number;
}

/** A prefix of a bucket that holds a tree. */
export interface TreeAddress {
  readonly bucket: string;
  /** Empty, or ends with `/`. */
  readonly prefix: string;
}

/** What lies below the prefix and is not of the tree: manifests, probes. Hidden from listings. */
export const RESERVED_FOLDER = ".frameseal/";
