// How long the parts of an upload are, so that S3's 10,000 are enough and their buffers stay within three quarters of
// `memory`; the last quarter is for what requests need besides. In memory at a time are the plaintext of the part that is
// filled and the stored bytes of those on their way: with B bytes for buffers, a part of L bytes leaves room for
// (B − L) / L of them. A part that leaves room for none is spooled: see part-spool.ts.
//
// - Length known: ⌈length / 10,000⌉, or `partSize` if that is more. 64 MiB of memory serve up to 234 GiB without a spool.
// - Length expected: the first 9,000 parts hold it. Those after them double every 100, up to S3's limit of 5 GiB.
// - Length unknown: parts double every 500 up to the longest that the buffers hold (half of them), and stay so up to
//   number 4,500: 8, 16, then 24 MiB, which are 93 GiB without a spool. From there on they double every 500 again, up to
//   5 GiB: 12 TiB in all, and 7 TiB with the least memory that is accepted.
import { FramesealError } from "../../errors.ts";
import { MAX_PART_NUMBER } from "./part-ledger.ts";

/** S3's limit, for stored bytes. */
const MAX_STORED_PART_LENGTH = 5 * 2 ** 30;
/** Spooled parts are sealed in slices of about this much, or a sixteenth of the buffers. */
const SLICE_LENGTH = 4 * 2 ** 20;

/** What a plan is made for. */
export interface PlanRequest {
  /** Least plaintext bytes of a part. */
  readonly partSize: number;
  /** Most parts on their way at a time. */
  readonly uploadConcurrency: number;
  /** Bytes that the upload may take. */
  readonly memory: number;
  /** The plaintext length, if it is known. */
  readonly length: number | undefined;
  /** What the caller expects it to be about, if it is not. */
  readonly expectedSize: number | undefined;
  /** Parts and slices are multiples of it. */
  readonly alignment: number;
  /** Stored bytes of an object of this length: never fewer than those of a part of it. */
  storedLength(plaintextLength: number): number;
}

/** The lengths of the parts of one upload. */
export interface PartPlan {
  /** Plaintext bytes of a part. */
  lengthOf(number: number): number;
  /** The longest body that is sent whole instead. */
  readonly wholeLength: number;
  /** How many sealed parts of this length fit into memory besides the plaintext of one; 0: spool it. */
  slotsFor(length: number): number;
  /** Plaintext bytes that are sealed at a time when a part is spooled. */
  readonly sliceLength: number;
  /** Bytes for all buffers together: three quarters of `memory`, if no alignment is longer and all that is needed is not less. */
  readonly memoryLength: number;
}

/** @throws FramesealError LIMIT_EXCEEDED when the length is known and needs more parts than S3 takes */
export function planParts(request: PlanRequest): PartPlan {
  const { partSize, uploadConcurrency, memory, length, expectedSize, alignment, storedLength } = request;
  const buffers = Math.floor(0.75 * memory);
  const alignUp = (size: number): number => Math.ceil(size / alignment) * alignment;
  const alignDown = (size: number): number => Math.max(1, Math.floor(size / alignment)) * alignment;
  // The longest part: header and frames make stored bytes more than plaintext.
  const around = storedLength(0);
  const growth = (storedLength(MAX_STORED_PART_LENGTH) - around) / MAX_STORED_PART_LENGTH;
  const longest = alignDown((MAX_STORED_PART_LENGTH - around) / growth);
  const start = Math.min(longest, alignUp(partSize));
  const slotsFor = (size: number): number =>
    Math.min(uploadConcurrency, Math.max(0, Math.floor((buffers - size) / storedLength(size))));
  const sliceLength = alignDown(Math.min(SLICE_LENGTH, buffers / 16));
  // One part in the making and one on its way fill the buffers.
  const inMemory = alignDown((buffers - around) / (1 + growth));
  const plan = (lengthOf: (number: number) => number): PartPlan => {
    const first = lengthOf(1);
    const wholeLength = slotsFor(first) > 0 ? first : Math.min(first, inMemory);
    const longestPiece = Math.max(wholeLength, sliceLength);
    const memoryLength =
      length !== undefined && slotsFor(first) > 0
        ? first + slotsFor(first) * storedLength(first)
        : Math.max(buffers, longestPiece + storedLength(longestPiece));
    return { lengthOf, wholeLength, slotsFor, sliceLength, memoryLength };
  };

  if (length !== undefined) {
    const size = Math.max(start, alignUp(length / MAX_PART_NUMBER));
    if (size > longest)
      throw new FramesealError(
        "LIMIT_EXCEEDED",
        `body of ${length} bytes needs more than ${MAX_PART_NUMBER} parts`,
      );
    return plan(() => size);
  }
  const doubled = (size: number, times: number): number => Math.min(longest, size * 2 ** times);
  if (expectedSize !== undefined) {
    const size = Math.min(longest, Math.max(start, alignUp(expectedSize / EXPECTED_PARTS)));
    return plan((number) => doubled(size, Math.max(0, Math.ceil((number - EXPECTED_PARTS) / 100))));
  }
  const steady = Math.max(start, inMemory);
  return plan((number) =>
    number <= STEADY_PARTS
      ? Math.min(steady, doubled(start, Math.floor((number - 1) / PARTS_PER_DOUBLING)))
      : doubled(steady, Math.ceil((number - STEADY_PARTS) / PARTS_PER_DOUBLING)),
  );
}

const EXPECTED_PARTS = 9000;
const STEADY_PARTS = 4500;
const PARTS_PER_DOUBLING = 500;
