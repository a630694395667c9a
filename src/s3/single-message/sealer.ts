// Seals the parts of one single-message object: one GCM message over all of them. Parts are sealed independently, in any
// order; the tag is made when all have contributed to it.
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { asBuffer, concatBytes, copySecret, wipe } from "../../bytes.ts";
import { MAX_GCM_LENGTH, type SegmentPartial, TAG_LENGTH } from "../../engine/engine.ts";
import { FramesealError } from "../../errors.ts";
import { MIN_ASYNC_RUN_LENGTH } from "../../stream/frame-machine.ts";
import type { ObjectMetadata, ObjectSealer, PartPosition, SealedPart, SideObject } from "../object-format.ts";
import type { GcmContent } from "./content-key.ts";

const BLOCK_LENGTH = 16;
const IV_LENGTH = 12;

/** What a sealer is made of. It owns the keys and wipes them. */
export interface SingleMessageParts {
  readonly content: GcmContent;
  readonly metadata: ObjectMetadata;
  readonly sideObject: SideObject | undefined;
  /** 32 bytes each. */
  readonly ledgerKey: Uint8Array;
  readonly stateKey: Uint8Array;
  /** For `resumeObject`. */
  readonly envelope: ObjectMetadata;
}

/** State of a sealer as JSON. */
export interface SingleMessageState {
  readonly envelope: ObjectMetadata;
  /** Contributions to the tag, sealed under a key derived from the data key: IV ‖ ciphertext ‖ tag, base64. */
  readonly partials: string;
  /** Where the envelope is stored, unless it is in the metadata of the object. */
  readonly sideObjectKey?: string;
}

/** @throws FramesealError LIMIT_EXCEEDED for more than one GCM message can hold */
export function checkGcmLength(length: number): void {
  if (length > MAX_GCM_LENGTH)
    throw new FramesealError(
      "LIMIT_EXCEEDED",
      `an object of this format holds at most ${MAX_GCM_LENGTH} bytes (64 GiB − 32): use the framed format`,
    );
}

export class SingleMessageSealer implements ObjectSealer {
  readonly metadata: ObjectMetadata;
  readonly sideObject: SideObject | undefined;
  readonly alignment = BLOCK_LENGTH;
  readonly #content: GcmContent;
  readonly #ledgerKey: Uint8Array;
  readonly #stateKey: Uint8Array;
  readonly #envelope: ObjectMetadata;
  /** By offset in the plaintext. */
  readonly #partials = new Map<number, SegmentPartial>();
  #disposed = false;

  constructor(parts: SingleMessageParts) {
    this.metadata = parts.metadata;
    this.sideObject = parts.sideObject;
    this.#content = parts.content;
    this.#ledgerKey = parts.ledgerKey;
    this.#stateKey = parts.stateKey;
    this.#envelope = parts.envelope;
  }

  storedLength(plaintextLength: number): number {
    return plaintextLength + TAG_LENGTH;
  }

  ledgerKey(): Uint8Array {
    return copySecret(this.#ledgerKey);
  }

  async sealPart(
    chunks: readonly Uint8Array[],
    position: PartPosition,
    output?: Uint8Array,
  ): Promise<SealedPart> {
    const { offset, length, place } = position;
    if (this.#disposed) throw new Error("internal error: object sealer was disposed");
    checkGcmLength(offset + length);
    if (offset % BLOCK_LENGTH !== 0 || (place === "more" && length % BLOCK_LENGTH !== 0))
      throw new Error("internal error: part is not aligned");
    const { iv, segments } = this.#content;
    const firstBlock = offset / BLOCK_LENGTH;
    const { ciphertext, partial } =
      segments.sealAsync !== undefined && length >= MIN_ASYNC_RUN_LENGTH
        ? await segments.sealAsync(iv, firstBlock, chunks)
        : segments.seal(iv, firstBlock, chunks, output);
    if (length > 0) this.#partials.set(offset, partial);
    if (place === "more" || this.#missingBefore(offset + length) !== undefined)
      return { bytes: ciphertext, closed: false };
    const tag = await this.close(offset + length);
    if (ciphertext.buffer !== output?.buffer) return { bytes: concatBytes([ciphertext, tag]), closed: true };
    output.set(tag, length);
    return { bytes: output.subarray(0, length + tag.length), closed: true };
  }

  async close(plaintextLength: number): Promise<Uint8Array> {
    const missing = this.#missingBefore(plaintextLength);
    if (missing !== undefined)
      throw new FramesealError(
        "POLICY",
        `the part that begins at byte ${missing} must be sent again before the upload can be completed`,
      );
    const { iv, aad, segments } = this.#content;
    const offsets = [...this.#partials.keys()].filter((offset) => offset < plaintextLength);
    const partials = offsets.sort((a, b) => a - b).map((offset) => this.#partials.get(offset));
    return segments.finish(iv, aad, partials as SegmentPartial[]);
  }

  // Where the parts that were sealed leave a gap, or undefined if they reach `end` exactly.
  #missingBefore(end: number): number | undefined {
    let at = 0;
    while (at < end) {
      const partial = this.#partials.get(at);
      if (partial === undefined) return at;
      at += partial.length;
    }
    return at === end ? undefined : end;
  }

  exportState(): SingleMessageState {
    const partials = [...this.#partials].map(([offset, { ghash, length }]) => [
      offset,
      length,
      asBuffer(ghash).toString("base64"),
    ]);
    const text = Buffer.from(JSON.stringify(partials));
    const iv = randomBytes(IV_LENGTH);
    const cipher = createCipheriv("aes-256-gcm", this.#stateKey, iv);
    const sealed = [iv, cipher.update(text), cipher.final(), cipher.getAuthTag()];
    wipe(text);
    return {
      envelope: this.#envelope,
      partials: Buffer.concat(sealed).toString("base64"),
      ...(this.sideObject === undefined ? {} : { sideObjectKey: this.sideObject.key }),
    };
  }

  /** @throws TypeError for a state that is not of this object */
  mergeState(state: unknown): void {
    const sealed = Buffer.from(String((state as SingleMessageState | null)?.partials), "base64");
    let text: Buffer | undefined;
    try {
      const decipher = createDecipheriv("aes-256-gcm", this.#stateKey, sealed.subarray(0, IV_LENGTH), {
        authTagLength: TAG_LENGTH,
      });
      decipher.setAuthTag(sealed.subarray(-TAG_LENGTH));
      text = Buffer.concat([decipher.update(sealed.subarray(IV_LENGTH, -TAG_LENGTH)), decipher.final()]);
      for (const [offset, length, ghash] of JSON.parse(text.toString()) as [number, number, string][])
        this.#partials.set(offset, { length, ghash: copySecret(Buffer.from(ghash, "base64")) });
    } catch (cause) {
      throw new TypeError('"state" expected what exportState returned', { cause });
    } finally {
      wipe(text);
    }
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#content.key.dispose();
    wipe(this.#ledgerKey, this.#stateKey);
    for (const { ghash } of this.#partials.values()) wipe(ghash);
    this.#partials.clear();
  }
}
