// A whole message in memory, cut into runs that the engine works on at the same time on threads of its own.
import { NO_FINAL_FRAME } from "../engine/engine.ts";
import { allocate } from "../engine/output-memory.ts";
import { notAuthentic, throwIfAborted } from "../errors.ts";
import { REGULAR_OVERHEAD } from "../format/frame.ts";
import type { MessageSealer } from "../message/message-sealer.ts";
import type { OpenedHeader } from "../message/open-message.ts";
import { RUN_LENGTH } from "./frame-machine.ts";

/** Cuts regular frames into runs of about RUN_LENGTH; the final frame belongs to the last. */
export function* runs(regularCount: number, frameLength: number) {
  const framesPerRun = Math.max(1, Math.floor(RUN_LENGTH / frameLength));
  for (let first = 0; ; first += framesPerRun) {
    const isLast = first + framesPerRun >= regularCount;
    yield { first, count: isLast ? regularCount - first : framesPerRun, isLast };
    if (isLast) return;
  }
}

/**
 * Seals a whole unsigned message; returns it in memory that the caller owns.
 * @param maxRuns how many runs may be in work at a time
 */
export async function sealInParallel(
  sealer: MessageSealer,
  plaintext: Uint8Array,
  regularCount: number,
  finalLength: number,
  maxRuns: number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const { frameLength } = sealer.header;
  const message = allocate(sealer.messageLength(plaintext.length));
  const sent: Promise<void>[] = [];
  try {
    for (const { first, count, isLast } of runs(regularCount, frameLength)) {
      throwIfAborted(signal);
      const run = plaintext.subarray(first * frameLength, isLast ? undefined : (first + count) * frameLength);
      const at = first === 0 ? 0 : sealer.headerLength + first * (frameLength + REGULAR_OVERHEAD);
      const sealing = sealer.sealAsync([run], count, isLast ? finalLength : NO_FINAL_FRAME);
      const done = sealing.then((sealed) => message.set(sealed, at));
      done.catch(() => {}); // reported by whoever waits for it
      sent.push(done);
      if (sent.length >= maxRuns) await sent.shift();
    }
    await Promise.all(sent);
    return message;
  } finally {
    await Promise.allSettled(sent);
  }
}

/**
 * Opens all frames of an unsigned message.
 * @param maxRuns how many runs may be in work at a time
 * @throws FramesealError AUTHENTICATION_FAILED; everything opened has been wiped then
 */
export async function openInParallel(
  frames: Uint8Array,
  { cipher, header }: OpenedHeader,
  regularCount: number,
  finalLength: number,
  maxRuns: number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const { frameLength } = header;
  const plaintext = allocate(regularCount * frameLength + finalLength);
  const sent: Promise<void>[] = [];
  const openRun = async (bytes: Uint8Array, first: number, count: number, final: number): Promise<void> => {
    const opened = await (cipher.openAsync?.([bytes], first + 1, count, final) ??
      cipher.open([bytes], first + 1, count, final));
    if (opened.verifiedCount !== count + (final === NO_FINAL_FRAME ? 0 : 1)) throw notAuthentic();
    plaintext.set(opened.plaintext, first * frameLength);
  };
  try {
    for (const { first, count, isLast } of runs(regularCount, frameLength)) {
      throwIfAborted(signal);
      const from = first * (frameLength + REGULAR_OVERHEAD);
      const to = isLast ? frames.length : from + count * (frameLength + REGULAR_OVERHEAD);
      const final = isLast ? finalLength : NO_FINAL_FRAME;
      const done = openRun(frames.subarray(from, to), first, count, final);
      done.catch(() => {}); // reported by whoever waits for it
      sent.push(done);
      if (sent.length >= maxRuns) await sent.shift();
    }
    await Promise.all(sent);
    return plaintext;
  } catch (error) {
    await Promise.allSettled(sent); // before it is wiped
    plaintext.fill(0);
    throw error;
  }
}
