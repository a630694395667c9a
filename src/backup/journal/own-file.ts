// Whether a journal is still the file whose runs began its uploads. Of a copy, the other one may go on with an upload as
// well, with other bytes under the same key and nonces: so nobody goes on with uploads that a copy knows.
import { lstatSync } from "node:fs";
import type { Journal } from "./journal.ts";

const NOTE = "file of the uploads";

/** A copy has another number or was made later; a file that is moved on its disk, or seen from a container, has not. */
function markOf(file: string): string {
  const { ino, birthtimeNs, ctimeNs } = lstatSync(file, { bigint: true });
  // Where it is not kept when a file was made, that seems to be the time of its last change.
  return `${ino} ${birthtimeNs === ctimeNs ? "" : birthtimeNs}`;
}

/** True for a copy of the journal that began its uploads. */
export function isCopy(journal: Pick<Journal, "file" | "note">): boolean {
  const note = journal.note(NOTE);
  return note !== undefined && note !== markOf(journal.file);
}

/** Makes the journal's file that of the uploads from now on: it must have none of another one. */
export function claimUploads(journal: Pick<Journal, "file" | "note" | "putNote">): void {
  const mark = markOf(journal.file);
  if (journal.note(NOTE) !== mark) journal.putNote(NOTE, mark);
}
