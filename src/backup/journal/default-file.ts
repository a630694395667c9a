// Where a journal is kept when nobody says where.
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { JournalIdentity } from "./journal.ts";

/** Enough of a digest that no two places meet. */
const NAME_LENGTH = 16;

/**
 * A file of its own for each place.
 * @param home of the user
 * @param stateHome XDG_STATE_HOME, which means nothing unless it is absolute
 */
export function defaultJournalFile(
  { endpoint, bucket, prefix, target }: JournalIdentity,
  home: string,
  stateHome: string | undefined,
): string {
  const place = JSON.stringify([endpoint, bucket, prefix, target ?? null]);
  const name = createHash("sha256").update(place).digest("hex").slice(0, NAME_LENGTH);
  const base = stateHome?.startsWith("/") === true ? stateHome : join(home, ".local", "state");
  return join(base, "frameseal", `${name}.journal`);
}
