// Memory that the garbage collector has given up but not freed yet. V8 collects young buffers when there are 32 MiB of
// them, and leaves the freeing to another thread. On busy CPUs that thread is late by a few milliseconds, in which a
// stream makes another 32 MiB and more, and what a process once took it keeps: 40 MiB more for the same stream.
import { setTimeout as sleep } from "node:timers/promises";
import { getHeapStatistics } from "node:v8";

/** Of a stream this long nobody is likely to keep everything in memory; shorter ones do not wait. */
export const LONG_STREAM_LENGTH: number = 128 * 2 ** 20;

/** Bytes of results between two looks: what is made in half a millisecond. */
const LOOK_EVERY = 4 * 2 ** 20;
/** More than V8 lets come together before it collects. */
const USUAL_GROWTH = 36 * 2 ** 20;
/** What has grown and stays may grow by this before it is waited for again. */
const STEP = 8 * 2 ** 20;
/**
 * A wait is some sleeps of a millisecond. Where memory grows because somebody keeps what he reads they are in vain: then
 * the next wait is half as long, down to one sleep for every 64 MiB, until one has helped again.
 */
const MAX_SLEEPS = 32;
const SLEEPS_PER_LOOK = LOOK_EVERY / 2 ** 26;

let sinceLook = 0;
/** External memory, that of buffers and the like, just after a collection. */
let base = Number.POSITIVE_INFINITY;
let sleeps = MAX_SLEEPS;
let waiting: Promise<void> | undefined;

/**
 * Counts `length` bytes that a long stream gave out. Returns a promise when it is better to make no more before memory
 * has been freed. It resolves after some milliseconds, whether that has happened or not.
 */
export function awaitCollection(length: number): Promise<void> | undefined {
  sinceLook += length;
  if (sinceLook < LOOK_EVERY) return waiting;
  sinceLook = 0;
  sleeps = Math.min(MAX_SLEEPS, sleeps + SLEEPS_PER_LOOK);
  if (waiting === undefined && hasGrown() && sleeps >= 1)
    waiting = wait().finally(() => {
      waiting = undefined;
    });
  return waiting;
}

function hasGrown(): boolean {
  const { external_memory: external } = getHeapStatistics();
  base = Math.min(base, external);
  return external - base > USUAL_GROWTH;
}

async function wait(): Promise<void> {
  for (let n = 1; n <= sleeps; n++) {
    await sleep(1);
    new ArrayBuffer(1024); // V8 looks for what the other thread has freed when a buffer is made
    if (!hasGrown()) {
      sleeps = MAX_SLEEPS;
      return;
    }
  }
  sleeps = sleeps < 2 ? 0 : sleeps / 2;
  base = getHeapStatistics().external_memory - USUAL_GROWTH + STEP;
}
