// Parts of one GCM message, in the addon.
import { availableParallelism } from "node:os";
import { allocateSecret } from "../../bytes.ts";
import { checkBytes, checkLength, unshared } from "../chunk-cursor.ts";
import {
  NONCE_LENGTH,
  type OpenedSegment,
  type SealedSegment,
  type SegmentCipher,
  type SegmentPartial,
  TAG_LENGTH,
} from "../engine.ts";
import { checkOutput } from "../frame-run.ts";
import { checkPartials, checkSegment } from "../node/segments.ts";
import { type Addon, allocate, type KeyHandle, type SegmentFunction } from "./addon.ts";

type Chunks = readonly Uint8Array[];

/** For kernels that can work on parts. Each call is shared by `threads` threads at most. */
export class NativeSegments implements SegmentCipher {
  readonly #addon: Addon;
  readonly #key: KeyHandle;
  readonly #threads: number;

  constructor(addon: Addon, key: KeyHandle, threads = availableParallelism()) {
    this.#addon = addon;
    this.#key = key;
    this.#threads = threads;
  }
  seal(nonce: Uint8Array, firstBlock: number, chunks: Chunks, output?: Uint8Array): SealedSegment {
    const length = checkSegment(firstBlock, chunks);
    if (output !== undefined) checkOutput(output, length);
    const ciphertext = output?.subarray(0, length) ?? allocate(this.#addon, length);
    const partial = this.#run(this.#addon.sealSegment, ciphertext, nonce, firstBlock, chunks);
    return { ciphertext, partial };
  }
  open(nonce: Uint8Array, firstBlock: number, chunks: Chunks): OpenedSegment {
    const plaintext = allocate(this.#addon, checkSegment(firstBlock, chunks));
    return { plaintext, partial: this.openInto(plaintext, nonce, firstBlock, chunks) };
  }
  /** As `open`, into memory of the same length that no chunk overlaps. */
  openInto(output: Uint8Array, nonce: Uint8Array, firstBlock: number, chunks: Chunks): SegmentPartial {
    return this.#run(this.#addon.openSegment, output, nonce, firstBlock, chunks);
  }
  finish(nonce: Uint8Array, aad: Uint8Array, partials: readonly SegmentPartial[]): Uint8Array {
    checkLength("nonce", nonce, NONCE_LENGTH);
    checkBytes("aad", aad);
    checkPartials(partials);
    const hashes = allocateSecret(TAG_LENGTH * partials.length);
    for (const [i, { ghash }] of partials.entries()) hashes.set(ghash, TAG_LENGTH * i);
    const lengths = new Uint8Array(Float64Array.from(partials, ({ length }) => length).buffer);
    const tag = new Uint8Array(TAG_LENGTH);
    this.#addon.finishSegments(this.#key.handle, unshared(nonce), unshared(aad), hashes, lengths, tag);
    hashes.fill(0);
    return tag;
  }
  #run(
    work: SegmentFunction,
    output: Uint8Array,
    nonce: Uint8Array,
    firstBlock: number,
    chunks: Chunks,
  ): SegmentPartial {
    checkLength("nonce", nonce, NONCE_LENGTH);
    const length = checkSegment(firstBlock, chunks);
    const ghash = allocateSecret(TAG_LENGTH);
    const own = chunks.map(unshared);
    work(this.#key.handle, unshared(nonce), firstBlock, own, output, ghash, this.#threads);
    return { ghash, length };
  }
}
