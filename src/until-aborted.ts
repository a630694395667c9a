// Waiting that ends when the caller aborts, whoever never answers: a key service, a source, an engine. The signal may be
// of any package: it need only have what signals have.
import { clearImmediate, setImmediate } from "node:timers"; // under jsdom there are no such globals
import { aborted } from "./errors.ts";

/**
 * Settles as `work` does, or at once with ABORTED when `signal` is aborted. What comes of `work` afterwards is not heard.
 * @param onLate gets a result that nobody waits for any more
 */
export function untilAborted<Result>(
  work: Result | PromiseLike<Result>,
  signal: AbortSignal | undefined,
  onLate?: (result: Result) => void,
): Promise<Result> {
  if (signal === undefined) return Promise.resolve(work);
  return new Promise((resolve, reject) => {
    let isLate = false;
    const onAbort = (): void => {
      isLate = true;
      signal.removeEventListener("abort", onAbort);
      reject(aborted(signal));
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort);
    Promise.resolve(work)
      .then((result) => {
        signal.removeEventListener("abort", onAbort);
        if (isLate) onLate?.(result);
        else resolve(result);
      })
      .catch((error: unknown) => {
        signal.removeEventListener("abort", onAbort);
        reject(error);
      });
  });
}

/** What `source` gives, until `signal` is aborted: then ABORTED, at once, and `source` is told to end. */
export async function* eachUntilAborted<Piece>(
  source: AsyncIterable<Piece> | Iterable<Piece>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Piece, void, void> {
  if (signal === undefined) {
    yield* source;
    return;
  }
  const iterator = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : each(source);
  let isDone = false;
  try {
    for (;;) {
      const next = await untilAborted(iterator.next(), signal);
      isDone = next.done === true;
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    // Not awaited: a generator ends only after the step that it hangs in.
    if (!isDone) Promise.resolve(iterator.return?.()).catch(() => {});
  }
}

// What a synchronous source gives may be promises, which `for await` waits for.
async function* each<Piece>(source: Iterable<Piece>): AsyncGenerator<Piece, void, void> {
  yield* source;
}

/** Resolves when `work` has settled, but no later than in the next turn of the event loop: it may never. */
export function untilNextTurn(work: PromiseLike<unknown>): Promise<void> {
  return new Promise((resolve) => {
    const turn = setImmediate(resolve);
    const end = (): void => {
      clearImmediate(turn);
      resolve();
    };
    work.then(end, end);
  });
}
