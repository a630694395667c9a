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

/** A ledger as JSON. Digests are keyed: they tell nothing about the plaintext to those who lack the data key. */
export interface LedgerState {
  readonly partLength: number | undefined;
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

  /**
   * Fixes the part length before a part of `length` bytes is sealed.
   * @param fallback used when a part other than the first one comes first
   */
  fixPartLength(number: number, length: number, fallback: number | undefined): void {
    if (this.#partLength !== undefined) return;
    if (number === 1 && length > 0) this.#partLength = Math.ceil(length / this.#alignment) * this.#alignment;
    else if (fallback !== undefined)
      this.#partLength = Math.ceil(fallback / this.#alignment) * this.#alignment;
    else if (number === 1) this.#partLength = this.#alignment;
    else
      throw new FramesealError(
        "POLICY",
        `part ${number} came before part 1, and the length of parts is not known: send part 1 first or set "partSize"`,
      );
  }

  /**
   * Enters a part, or confirms that it was entered with the same bytes.
   * @returns where to seal it
   * @throws FramesealError POLICY when it must not be sealed
   */
  enter(number: number, plaintext: Uint8Array): PartPosition {
    const partLength = this.#partLength;
    if (partLength === undefined) throw new Error("internal error: part length is not fixed");
    if (!Number.isInteger(number) || number < 1 || number > MAX_PART_NUMBER)
      throw new RangeError(`"PartNumber" expected 1 to ${MAX_PART_NUMBER}, got ${number}`);
    const { length } = plaintext;
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
    const known = this.#entries.get(number);
    if (known === undefined) this.#entries.set(number, { length, place, digest });
    else if (known.length !== length || known.place !== place || !equalConstantTime(known.digest, digest))
      throw new FramesealError(
        "POLICY",
        `part ${number} was sent before with other bytes: its nonces must not be used again`,
      );
    return { offset: (number - 1) * partLength, length, place };
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

  /** Everything but keys. */
  exportState(): LedgerState {
    const parts = [...this.#entries].map(
      ([number, { length, place, digest }]) =>
        [number, length, place, Buffer.from(digest).toString("base64")] as const,
    );
    return { partLength: this.#partLength, parts };
  }

  /** Takes over an exported ledger. @throws TypeError when it is not one */
  importState(state: LedgerState): void {
    const wrong = (): TypeError => new TypeError('"state" expected what exportState returned');
    const { partLength } = state;
    if (partLength !== undefined && (!Number.isSafeInteger(partLength) || partLength <= 0)) throw wrong();
    if (partLength !== undefined && partLength % this.#alignment !== 0) throw wrong();
    this.#partLength = partLength;
    for (const [number, length, place, digest] of state.parts) {
      if (place !== "last" && place !== "more") throw wrong();
      const bytes = Buffer.from(digest, "base64");
      const valid = place === "last" ? length < (partLength ?? 0) : place === "more" && length === partLength;
      const numbered = Number.isInteger(number) && number >= 1 && number <= MAX_PART_NUMBER;
      if (!numbered || !valid || bytes.length !== 16) throw wrong();
      this.#entries.set(number, { length, place, digest: Uint8Array.from(bytes) });
    }
  }

  dispose(): void {
    this.#key.dispose();
  }
}

// One nonce for one part: a digest under it is disclosed at most once, others are only compared.
function nonceOf(number: number, place: PartPosition["place"]): Uint8Array {
  const nonce = Buffer.alloc(12);
  nonce.writeUInt32BE(number, 8);
  nonce[0] = place === "last" ? 1 : 0;
  return nonce;
}
