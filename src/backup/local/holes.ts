// Which bytes have to be written where zeros may be holes.

/** Zeros are left out in pieces that file systems can leave out. */
const BLOCK_LENGTH = 4096;
const ZEROS = Buffer.alloc(BLOCK_LENGTH);

/** Part of `bytes` that is not a hole. */
export interface DataRun {
  readonly from: number;
  readonly to: number;
}

/**
 * The parts of `bytes` besides blocks of zeros.
 * @param position of `bytes` in the file, which blocks are counted from
 */
export function dataRuns(bytes: Uint8Array, position: number): DataRun[] {
  const runs: { from: number; to: number }[] = [];
  for (let from = 0; from < bytes.length; ) {
    const to = Math.min(bytes.length, from + BLOCK_LENGTH - ((position + from) % BLOCK_LENGTH));
    if (!ZEROS.subarray(0, to - from).equals(bytes.subarray(from, to))) {
      const last = runs.at(-1);
      if (last?.to === from) last.to = to;
      else runs.push({ from, to });
    }
    from = to;
  }
  return runs;
}
