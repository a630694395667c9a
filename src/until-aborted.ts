// Waiting that ends when the caller aborts, whoever never answers: a key service, a source. The signal may be of any
// package: it need only have what signals have.
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
  if (signal === undefined || !(Symbol.asyncIterator in source)) {
    yield* source;
    return;
  }
  const iterator = source[Symbol.asyncIterator]();
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
