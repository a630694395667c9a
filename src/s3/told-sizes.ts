// What one client has told about the lengths of plaintexts, and what it learned of them. HeadObject and listings tell
// lengths that nothing authenticates; a caller who then fetches ranges up to such a length must not end short of the
// plaintext without an error.
import { FramesealError } from "../errors.ts";
import type { ObjectLocation } from "./object-format.ts";

/** Stored bytes of an object, as requests and listings name them. */
export interface StoredIdentity {
  readonly location: ObjectLocation;
  readonly eTag: string | undefined;
  readonly storedLength: number;
}

interface Entry {
  /** What the caller was told. */
  readonly told: number | undefined;
  /** What the final frame has confirmed. */
  readonly verified: number | undefined;
}

/** Objects that are remembered; the ones seen longest ago are forgotten first. */
const MAX_ENTRIES = 10_000;

/** The lengths of one client. */
export class ToldSizes {
  readonly #entries = new Map<string, Entry>();

  /** The length as it was verified before. */
  verifiedLength(identity: StoredIdentity): number | undefined {
    return this.#find(identity)?.verified;
  }

  /** The length as it was verified, or told, before. */
  knownLength(identity: StoredIdentity): number | undefined {
    const entry = this.#find(identity);
    return entry?.verified ?? entry?.told;
  }

  /** Remembers what the caller is told of an object that was asked about. */
  tell(identity: StoredIdentity, told: number): void {
    this.#set(identity, { told, verified: this.#find(identity)?.verified });
  }

  /**
   * Takes the length that the final frame has confirmed.
   * @throws FramesealError INVALID_METADATA while the caller has been told another
   */
  verify(identity: StoredIdentity, length: number): void {
    const told = this.#find(identity)?.told;
    this.#set(identity, { told, verified: length });
    if (told !== undefined && told !== length)
      throw new FramesealError(
        "INVALID_METADATA",
        `object has ${length} bytes, but ${told} were told before: its metadata does not fit it`,
      );
  }

  #find(identity: StoredIdentity): Entry | undefined {
    const key = keyOf(identity);
    return key === undefined ? undefined : this.#entries.get(key);
  }

  #set(identity: StoredIdentity, entry: Entry): void {
    const key = keyOf(identity);
    if (key === undefined) return;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    if (this.#entries.size <= MAX_ENTRIES) return;
    for (const oldest of this.#entries.keys()) {
      this.#entries.delete(oldest);
      return;
    }
  }
}

// Without an ETag nothing tells one version of an object from the next.
function keyOf({ location, eTag, storedLength }: StoredIdentity): string | undefined {
  if (eTag === undefined) return undefined;
  return JSON.stringify([location.bucket, location.key, eTag.replaceAll('"', ""), storedLength]);
}
