// What a walk tells of the things that it comes by.
import type { EntryType, TreeEntry } from "../entry.ts";

/** An entry of a tree on disk, as it was when the walk looked at it. */
export interface WalkedEntry extends TreeEntry {
  /** Absolute, without links on the way: of a link that was followed, where it leads. To be opened by `openUnlinked`. */
  readonly absolute: string;
  readonly ctimeNs: bigint;
  readonly inode: bigint;
  readonly device: bigint;
  /** How many names the file has. */
  readonly links: number;
  /** Bytes on disk: less than `size` in a file with holes, or one that is compressed. */
  readonly allocated: number;
  /** Of a symbolic link, what it says, in bytes. */
  readonly target?: Buffer | undefined;
  readonly type: EntryType;
}

/** Why something is left out that no filter excludes. */
export type SkipReason =
  /** A device, a socket or a FIFO. */
  | "special"
  /** A symbolic link, where links are skipped. */
  | "symlink"
  /** A link to a folder that it lies in itself. */
  | "loop"
  /** A folder or file of another file system. */
  | "mount-point"
  /** It was gone when the walk looked at it. */
  | "vanished"
  /** Left by a download that was interrupted. */
  | "partial";

/** What a walk gives, in the order of the keys. */
export type WalkEvent =
  | { readonly kind: "entry"; readonly entry: WalkedEntry }
  /** An entry with something to know of; it follows. */
  | {
      readonly kind: "note";
      readonly path: string;
      readonly reason: "hard-link" | "sparse";
      readonly text: string;
    }
  /** Not in the tree. Except for what has vanished, it must not be taken for deleted, nor what is below it. */
  | { readonly kind: "skipped"; readonly path: string; readonly reason: SkipReason; readonly text: string }
  /** A failed item. If `incomplete`, there may be more that the walk does not know of: nothing is to be deleted. */
  | {
      readonly kind: "failed";
      readonly path: string;
      readonly error: unknown;
      readonly incomplete: boolean;
    };
