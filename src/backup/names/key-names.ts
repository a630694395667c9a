// Paths of a tree <-> keys below its prefix.
import type { EntryType } from "../entry.ts";

/** How entries are named in the bucket. */
export interface KeyNames {
  /**
   * The key below the prefix; that of a directory is the path with `/` at its end, or what stands for it.
   * @throws FramesealError LIMIT_EXCEEDED, UNSUPPORTED for what S3 cannot name
   */
  keyOf(path: string, type: EntryType): string;
  /** @throws FramesealError AUTHENTICATION_FAILED for a name that is none */
  entryOf(key: string): { readonly path: string; readonly isDirectory: boolean };
}
