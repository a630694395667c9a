// Waiting for the garbage collector: only when memory has grown, never for ever, and never for memory that is kept.
import { expect, test } from "vitest";
import { awaitCollection } from "../../src/stream/collection-backlog.ts";

const MiB = 2 ** 20;

test("results that are kept are waited for a few times, then seldom", async () => {
  const kept: ArrayBuffer[] = [];
  let waits = 0;
  for (let made = 0; made < 1024; made += 4) {
    kept.push(new ArrayBuffer(4 * MiB));
    const wait = awaitCollection(4 * MiB);
    if (wait === undefined) continue;
    waits += 1;
    await wait;
  }
  expect(kept.length).toBe(256);
  expect(waits).toBeGreaterThan(0);
  expect(waits).toBeLessThanOrEqual(1024 / 36 + 1);
});

test("nobody waits while memory does not grow", async () => {
  for (let n = 0; n < 100; n++) await awaitCollection(4 * MiB); // until what the test before has kept is known
  for (let n = 0; n < 1000; n++) expect(awaitCollection(64 * 1024)).toBeUndefined();
});

test("all that come while one waits wait with it", async () => {
  const kept: ArrayBuffer[] = [];
  let wait: Promise<void> | undefined;
  for (let n = 0; n < 1000 && wait === undefined; n++) {
    kept.push(new ArrayBuffer(4 * MiB));
    wait = awaitCollection(4 * MiB);
  }
  expect(wait).toBeInstanceOf(Promise);
  expect(awaitCollection(1)).toBe(wait);
  await wait;
  expect(awaitCollection(1)).toBeUndefined();
});
