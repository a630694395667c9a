// What one client has told about the lengths of plaintexts, and what it learned of them. HeadObject and listings tell
// lengths that nothing authenticates; a caller who then fetches ranges up to such a length must not end short of the
// plaintext without an error.
import { FramesealError } from "../errors.ts";
import { opaqueTag } from "./etag.ts";
import type { ObjectLocation } from "./object-format.ts";

/** Stored bytes of an object, as requests and listings name them. */
export interface StoredIdentity {
  readonly location: ObjectLocation;
  readonly eTag: string | undefined;
  readonly storedLength: number;
}

/** Objects that are remembered of each kind of knowledge; the ones seen longest ago are forgotten first. */
const MAX_ENTRIES = 10_000;

/** The lengths of one client. */
export class ToldSizes {
  /** What the caller was told of objects that were asked about. */
  readonly #told = new RecentLengths();
  /** What final frames have confirmed. */
  readonly #verified = new RecentLengths();
  /** What follows from objects that were stored alike: no promise. */
  readonly #computed = new RecentLengths();

  /** The length as it was verified before. */
  verifiedLength(identity: StoredIdentity): number | undefined {
    return this.#verified.get(identity);
  }

  /** The best that is known of the length. */
  knownLength(identity: StoredIdentity): number | undefined {
    return this.#verified.get(identity) ?? this.#told.get(identity) ?? this.#computed.get(identity);
  }

  /** Remembers what the caller is told of an object that was asked about. */
  tell(identity: StoredIdentity, length: number): void {
    this.#told.set(identity, length);
  }

  /** Remembers what was computed, to compute it once. */
  compute(identity: StoredIdentity, length: number): void {
    this.#computed.set(identity, length);
  }

  /**
   * Takes the length that the final frame has confirmed.
   * @throws FramesealError INVALID_METADATA while the caller has been told another
   */
  verify(identity: StoredIdentity, length: number): void {
    this.#verified.set(identity, length);
    const told = this.#told.get(identity);
    if (told !== undefined && told !== length)
      throw new FramesealError(
        "INVALID_METADATA",
        `object has ${length} bytes, but ${told} were told before: its metadata does not fit it`,
      );
  }
}

class RecentLengths {
  readonly #lengths = new Map<string, number>();

  get(identity: StoredIdentity): number | undefined {
    const key = keyOf(identity);
    return key === undefined ? undefined : this.#lengths.get(key);
  }

  set(identity: StoredIdentity, length: number): void {
    const key = keyOf(identity);
    if (key === undefined) return;
    this.#lengths.delete(key);
    this.#lengths.set(key, length);
    if (this.#lengths.size <= MAX_ENTRIES) return;
    for (const oldest of this.#lengths.keys()) {
      this.#lengths.delete(oldest);
      return;
    }
  }
}

// Without an ETag nothing tells one version of an object from the next.
function keyOf({ location, eTag, storedLength }: StoredIdentity): string | undefined {
  if (eTag === undefined) return undefined;
  return JSON.stringify([location.bucket, location.key, opaqueTag(eTag), storedLength]);
}
