// What a folder has that a tree has not.
import { FramesealError } from "../../errors.ts";
import type { EntryType } from "../entry.ts";
import type { Filters } from "./filters.ts";
import { walk } from "./walk.ts";
import type { WalkedEntry } from "./walk-event.ts";

/** Where to look, and for what. */
export interface ExtraneousOptions {
  readonly root: string;
  /** What they exclude is not given. */
  readonly filters?: Filters | undefined;
  /** Whether the tree has an entry. */
  readonly isWanted: (path: string, type: EntryType) => boolean | Promise<boolean>;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Gives every file, link and empty directory that is not wanted, after a look at everything.
 * @throws FramesealError POLICY, before anything is given, if a part of the folder cannot be read
 */
export async function* extraneousIn(options: ExtraneousOptions): AsyncGenerator<WalkedEntry, void, void> {
  const { root, filters, isWanted, signal } = options;
  const places = { root, filters, signal, links: "keep" } as const;
  for await (const event of walk(places))
    if (event.kind === "failed" && event.incomplete)
      throw new FramesealError("POLICY", "a part of the folder cannot be read, so nothing in it is deleted", {
        cause: event.error,
      });
  for await (const event of walk(places))
    if (event.kind === "entry" && !(await isWanted(event.entry.path, event.entry.type))) yield event.entry;
}
