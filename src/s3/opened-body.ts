// Bodies that are made of stored bytes. Whoever gives one up ends with it the streams that it reads, at once and even
// while it waits for them: what waits for a silent connection ends only when that does.
import { Readable, type Transform } from "node:stream";
import { bodyFailure } from "./object-source.ts";

/**
 * Returns what `pieces` gives, which is made of `sources`.
 * @param sources more may come later
 * @param onClose called when nothing is under way any more
 */
export function bodyOfPieces(
  pieces: AsyncGenerator<Buffer, void, void>,
  highWaterMark: number,
  sources: readonly Readable[],
  onClose: () => void,
): Readable {
  const body = Readable.from(pieces, { objectMode: false, highWaterMark });
  const destroy = body._destroy;
  body._destroy = (error, done) => {
    for (const source of sources) source.destroy();
    destroy.call(body, error, done);
  };
  body.once("close", onClose);
  return body;
}

/** Runs `source` through `target`, where its failure is one of ours. Each ends with the other. */
export function pipeInto(source: Readable, target: Transform): void {
  const broke = (): void => {
    if (!source.readableEnded) target.destroy(bodyFailure(source.errored ?? new Error("premature close")));
  };
  source.on("error", broke);
  source.once("close", broke);
  target.once("close", () => source.destroy());
  if (source.destroyed) broke();
  else source.pipe(target);
}
