// Exact lengths without any key, for uploads that must announce them.
import { type Checks, checkOptions, needed, wholeNumber } from "../check-options.ts";
import { messageLength, plaintextLengthOf } from "../format/frame.ts";
import { DEFAULT_FRAME_LENGTH } from "../format/limits.ts";
import { suiteById, suiteOption } from "../format/suite.ts";

/** The shape of a message. */
export interface LengthOptions {
  /** Bytes of the header, as `prepareMessage` or `inspectHeader` tell. */
  readonly headerLength: number;
  /** By default 65,536. */
  readonly frameLength?: number | undefined;
  /** Algorithm suite id, by default 0x0478. */
  readonly suite?: number | undefined;
}

/** What the options must be. */
const LENGTH_OPTIONS: Checks<LengthOptions> = {
  headerLength: needed(wholeNumber(1, Number.MAX_SAFE_INTEGER)),
  frameLength: wholeNumber(1, 2 ** 32 - 1),
  suite: suiteOption,
};

/** Bytes of the message that `plaintextLength` bytes of plaintext make. */
export function ciphertextLength(plaintextLength: number, options: LengthOptions): number {
  return messageLength(plaintextLength, shape(options));
}

/**
 * Bytes of plaintext in a message of `ciphertextLength` bytes. For suites with signature it holds for messages written
 * here, whose signatures have a fixed length.
 * @throws FramesealError TRUNCATED when no message of this shape has that length
 */
export function plaintextLength(ciphertextLength: number, options: LengthOptions): number {
  return plaintextLengthOf(ciphertextLength, shape(options));
}

function shape(options: LengthOptions) {
  const {
    headerLength,
    frameLength = DEFAULT_FRAME_LENGTH,
    suite = 0x0478,
  } = checkOptions("options", options, LENGTH_OPTIONS);
  return { headerLength, frameLength, suite: suiteById(suite) };
}
