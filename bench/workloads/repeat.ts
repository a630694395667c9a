// Calling something many times, and how often fills a round.

import { isThenable } from "#frameseal/shapes.js";
/** Calls `call` `count` times, one after another; waits only for promises. */
export async function repeat(call: () => unknown, count: number): Promise<void> {
  const first = call();
  if (isThenable(first)) {
    await first;
    for (let n = 1; n < count; n++) await call();
  } else for (let n = 1; n < count; n++) call();
}

/**
 * How many calls fill a round, after a warm-up of `warmSeconds`: until then code is compiled, memory is touched for the
 * first time and the garbage collector finds its pace.
 */
export async function callsFor(
  roundSeconds: number,
  run: (count: number) => Promise<unknown>,
  warmSeconds = 0.1,
): Promise<number> {
  const warm = performance.now() + warmSeconds * 1000;
  do await run(1);
  while (performance.now() < warm);
  for (let count = 1; ; ) {
    const start = performance.now();
    await run(count);
    const seconds = (performance.now() - start) / 1000;
    if (seconds >= roundSeconds / 2) return Math.max(1, Math.round((count * roundSeconds) / seconds));
    count = Math.max(count + 1, Math.ceil(Math.min(count * 10, (count * roundSeconds * 0.7) / seconds)));
  }
}
