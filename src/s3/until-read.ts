// Bodies that are handed out before anybody listens to them. A stream that works ahead may fail meanwhile, and an error
// that nobody listens to ends the process.
import { Readable } from "node:stream";
import { brokenOff } from "./resuming-source.ts";

/** Bytes that wait for the reader. */
const BUFFER_LENGTH = 512 * 1024;

/** Returns what `source` gives, in a stream that fails only when it is read: until then an error waits. */
export function untilRead(source: Readable): Readable {
  let failure: Error | undefined;
  let wasRead = false;
  const body = new Readable({
    highWaterMark: BUFFER_LENGTH,
    read() {
      wasRead = true;
      if (failure === undefined) source.resume();
      else body.destroy(failure);
    },
    destroy(error, done) {
      source.destroy();
      done(error);
    },
  });
  const fail = (error: Error): void => {
    failure ??= error;
    if (wasRead) body.destroy(failure);
  };
  source.pause();
  source.on("data", (chunk: Buffer) => {
    if (!body.push(chunk)) source.pause();
  });
  source.once("end", () => body.push(null));
  source.on("error", fail);
  source.once("close", () => {
    if (!source.readableEnded) fail(brokenOff(undefined));
  });
  // It ended, one way or another, before anybody listened.
  if (source.destroyed) process.nextTick(fail, source.errored ?? brokenOff(undefined));
  return body;
}
