// Bodies that are handed out end with the caller's signal, whether anybody reads them or not: a body that waits for its
// reader may hold a connection, which others wait for.
import type { Readable } from "node:stream";
import { aborted } from "../errors.ts";

/** Returns `body`, which is destroyed with ABORTED when `signal` is aborted. Nobody needs to listen to that error. */
export function endedBy(body: Readable, signal: AbortSignal | undefined): Readable {
  if (signal === undefined || body.closed) return body;
  const onAbort = (): void => {
    body.on("error", () => {});
    body.destroy(aborted(signal));
  };
  if (signal.aborted) onAbort();
  else {
    signal.addEventListener("abort", onAbort);
    body.once("close", () => signal.removeEventListener("abort", onAbort));
  }
  return body;
}
