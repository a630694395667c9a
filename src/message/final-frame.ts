// The final frame of a message whose length is known: verified first, it binds how many frames there are, so that ranges
// can be trusted.
import { notAuthentic } from "../errors.ts";
import { FINAL_OVERHEAD, type FrameLayout, frameOffset } from "../format/frame.ts";
import { MAX_FRAME_COUNT_READ } from "../format/limits.ts";
import { plaintextTooLong, tooManyFramesRead } from "./frame-walk.ts";
import type { OpenedHeader } from "./open-message.ts";

/**
 * Verifies that the message ends as `layout` says.
 * @param read gives exactly the bytes of the message from `start` to `end` (exclusive)
 * @param maxPlaintextLength more is refused once it is verified; by default there is no bound
 * @throws FramesealError LIMIT_EXCEEDED, AUTHENTICATION_FAILED, and what `read` throws
 */
export async function verifyFinalFrame(
  read: (start: number, end: number) => Promise<Uint8Array>,
  layout: FrameLayout,
  { headerLength, cipher }: OpenedHeader,
  maxPlaintextLength = Number.POSITIVE_INFINITY,
): Promise<FrameLayout> {
  const sequence = layout.regularCount + 1;
  if (sequence > MAX_FRAME_COUNT_READ) throw tooManyFramesRead();
  const start = headerLength + frameOffset(sequence, layout.frameLength);
  const final = await read(start, start + FINAL_OVERHEAD + layout.finalLength);
  const { verifiedCount, plaintext } = cipher.open([final], sequence, 0, layout.finalLength);
  plaintext.fill(0);
  if (verifiedCount !== 1) throw notAuthentic();
  if (layout.plaintextLength > maxPlaintextLength) throw plaintextTooLong(maxPlaintextLength);
  return layout;
}
