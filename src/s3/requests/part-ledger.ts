// Which parts of an upload were sealed. The nonces of a part follow from its place, so one place must never be sealed
// with two contents: the ledger keeps a keyed digest of each part's plaintext and refuses others.
import { equalConstantTime, wipe } from "../../bytes.ts";
import type { AeadKey, Engine } from "../../engine/engine.ts";
import { FramesealError } from "../../errors.ts";
import type { PartPosition } from "../object-format.ts";

/** S3 counts parts from 1 to 10,000. */
export const MAX_PART_NUMBER = 10_000;

/** One sealed part. */
export interface LedgerEntry {
  readonly length: number;
  readonly place: PartPosition["place"];
  /** GMAC of the plaintext under the ledger key, the part number as nonce. */
  readonly digest: Uint8Array;
}

/** What a part would be in the ledger. */
export interface PlannedPart {
  readonly number: number;
  readonly entry: LedgerEntry;
  readonly partLength: number;
  readonly position: PartPosition;
  /** False when the ledger has the same part already. */
  readonly isNew: boolean;
}

/** A ledger as JSON. Digests are keyed: they tell nothing about the plaintext to those who lack the data key. */
export interface LedgerState {
  readonly partLength?: number | undefined;
  readonly parts: readonly (readonly [number: number, length: number, place: string, digest: string])[];
}

/** The parts of one upload, and the rules that keep every nonce unique. */
export class PartLedger {
  readonly #key: AeadKey;
  readonly #alignment: number;
  readonly #entries = new Map<number, LedgerEntry>();
  #partLength: number | undefined;

  /**
   * @param ledgerKey 32 bytes, which this wipes
   * @param alignment parts start at multiples of it
   */
  constructor(engine: Engine, ledgerKey: Uint8Array, alignment: number) {
    this.#alignment = alignment;
    try {
      this.#key = engine.createKey(ledgerKey);
    } finally {
      wipe(ledgerKey);
    }
  }

  /** Plaintext bytes of every part but the last. */
  get partLength(): number | undefined {
    return this.#partLength;
  }
  /** The number of the highest part. */
  get highest(): number {
    return Math.max(0, ...this.#entries.keys());
  }
  get(number: number): LedgerEntry | undefined {
    return this.#entries.get(number);
  }

  /** True when only part 1 can say how long parts are: `plan` would refuse part `number`. */
  needsPartLength(number: number, fallback: number | undefined): boolean {
    return this.#partLength === undefined && number !== 1 && fallback === undefined;
  }

  #partLengthWith(number: number, length: number, fallback: number | undefined): number {
    if (this.#partLength !== undefined) return this.#partLength;
    const align = (size: number): number => Math.ceil(size / this.#alignment) * this.#alignment;
    if (number === 1 && length > 0) return align(length);
    if (fallback !== undefined) return align(fallback);
    if (number === 1) return this.#alignment;
    throw new FramesealError(
      "POLICY",
      `part ${number} came before part 1, and the length of parts is not known: send part 1 first or set "partSize"`,
    );
  }

  /**
   * Says where a part would be sealed. Nothing is entered yet: `accept` does that when the plan has been kept.
   * @param fallback the part length, if a part other than the first one comes first
   * @throws FramesealError POLICY when the part must not be sealed
   */
  plan(number: number, plaintext: Uint8Array, fallback?: number): PlannedPart {
    if (!Number.isInteger(number) || number < 1 || number > MAX_PART_NUMBER)
      throw new RangeError(`"PartNumber" expected 1 to ${MAX_PART_NUMBER}, got ${number}`);
    const { length } = plaintext;
    const partLength = this.#partLengthWith(number, length, fallback);
    if (length > partLength)
      throw new FramesealError(
        "POLICY",
        `part ${number} has ${length} bytes, but the parts of this upload have ${partLength}`,
      );
    const place = length === partLength ? "more" : "last";
    if (place === "more" && number === MAX_PART_NUMBER)
      throw new FramesealError(
        "LIMIT_EXCEEDED",
        `part ${MAX_PART_NUMBER} must be shorter than the others: one more would be needed to end the object`,
      );
    this.#checkOrder(number, place);
    const digest = this.#key.seal(nonceOf(number, place), plaintext, new Uint8Array(0));
    const entry: LedgerEntry = { length, place, digest };
    const known = this.#entries.get(number);
    if (known !== undefined && !isSame(known, entry))
      throw new FramesealError(
        "POLICY",
        `part ${number} was sent before with other bytes: its nonces must not be used again`,
      );
    const position = { offset: (number - 1) * partLength, length, place } as const;
    return { number, entry, partLength, position, isNew: known === undefined };
  }

  /** Enters a part as planned; the ledger must not have changed in between. */
  accept({ number, entry, partLength }: PlannedPart): void {
    this.#partLength = partLength;
    this.#entries.set(number, entry);
  }

  // A short part ends the object: nothing may follow it, and it may not come before what is there.
  #checkOrder(number: number, place: PartPosition["place"]): void {
    for (const [other, entry] of this.#entries) {
      if (entry.place === "last" && number > other)
        throw new FramesealError(
          "POLICY",
          `part ${number} would follow part ${other}, which is shorter and the last`,
        );
      if (place === "last" && number < other)
        throw new FramesealError(
          "POLICY",
          `part ${number} is shorter than the others, but part ${other} follows it`,
        );
    }
  }

  /**
   * Checks the parts that are to become the object: exactly 1..n, all that were sealed.
   * @throws FramesealError POLICY
   */
  checkComplete(numbers: readonly number[]): { readonly count: number; readonly plaintextLength: number } {
    const count = numbers.length;
    const listed = numbers.every((number, index) => number === index + 1);
    const last = this.#entries.get(count);
    // What an earlier attempt to complete has added is not listed by the caller.
    const sealed = this.#entries.size - (this.#entries.get(count + 1)?.length === 0 ? 1 : 0);
    if (!listed || count === 0 || sealed !== count || last === undefined)
      throw new FramesealError(
        "POLICY",
        `upload must be completed with exactly the parts 1 to ${this.highest} that were sent, in order`,
      );
    const partLength = this.#partLength ?? 0;
    return { count, plaintextLength: (count - 1) * partLength + last.length };
  }

  /** Everything but keys. @param planned a part that is to be in it already */
  exportState(planned?: PlannedPart): LedgerState {
    const entries = new Map(this.#entries);
    if (planned !== undefined) entries.set(planned.number, planned.entry);
    const parts = [...entries].map(
      ([number, { length, place, digest }]) =>
        [number, length, place, Buffer.from(digest).toString("base64")] as const,
    );
    return { partLength: planned?.partLength ?? this.#partLength, parts };
  }

  /**
   * Takes over a newer ledger of the same upload, which must hold all that is known here.
   * @throws TypeError when it is no ledger
   * @throws FramesealError POLICY when parts are missing or others: then it is an older one, or from another branch
   */
  merge(state: LedgerState): void {
    const newer = this.#parse(state);
    const lost = [...this.#entries].find(([number, entry]) => {
      const other = newer.get(number);
      return other === undefined || !isSame(entry, other);
    });
    if (lost !== undefined || (this.#partLength !== undefined && state.partLength !== this.#partLength))
      throw new FramesealError(
        "POLICY",
        "the stored state of this upload does not hold what was sent from here: going on would repeat nonces",
      );
    this.#partLength = state.partLength;
    for (const [number, entry] of newer) this.#entries.set(number, entry);
  }

  #parse({ partLength, parts }: LedgerState): Map<number, LedgerEntry> {
    const wrong = (): TypeError => new TypeError('"state" expected what exportMultipartUpload returned');
    if (partLength !== undefined && (!Number.isSafeInteger(partLength) || partLength <= 0)) throw wrong();
    if (partLength !== undefined && partLength % this.#alignment !== 0) throw wrong();
    const entries = new Map<number, LedgerEntry>();
    for (const [number, length, place, digest] of parts) {
      if (place !== "last" && place !== "more") throw wrong();
      const bytes = Buffer.from(digest, "base64");
      const valid = place === "last" ? length < (partLength ?? 0) : place === "more" && length === partLength;
      const numbered = Number.isInteger(number) && number >= 1 && number <= MAX_PART_NUMBER;
      if (!numbered || !valid || bytes.length !== 16) throw wrong();
      entries.set(number, { length, place, digest: Uint8Array.from(bytes) });
    }
    return entries;
  }

  dispose(): void {
    this.#key.dispose();
  }
}

function isSame(one: LedgerEntry, other: LedgerEntry): boolean {
  return (
    one.length === other.length && one.place === other.place && equalConstantTime(one.digest, other.digest)
  );
}

// One nonce for one part: a digest under it is disclosed at most once, others are only compared.
function nonceOf(number: number, place: PartPosition["place"]): Uint8Array {
  const nonce = Buffer.alloc(12);
  nonce.writeUInt32BE(number, 8);
  nonce[0] = place === "last" ? 1 : 0;
  return nonce;
}
