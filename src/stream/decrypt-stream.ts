// The public decrypting Transform.
import { type Checks, checkOptions } from "../check-options.ts";
import { DECRYPT_OPTIONS, type DecryptOptions } from "../message/open-message.ts";
import { FrameTransform, STREAM_OPTIONS, type StreamOptions } from "./frame-transform.ts";
import { MessageDecryptor } from "./message-decryptor.ts";

/** Options of a stream that decrypts. */
export type DecryptStreamOptions = DecryptOptions & StreamOptions;

/** What the options must be. */
const DECRYPT_STREAM_OPTIONS: Checks<DecryptStreamOptions> = { ...DECRYPT_OPTIONS, ...STREAM_OPTIONS };

/**
 * Returns a Transform from one message to its plaintext. What it gives out is verified, frame by frame; but until `end`
 * it is only a beginning of the plaintext: after an error, discard what you got.
 * @throws TypeError, RangeError, FramesealError ENGINE_UNAVAILABLE for options that are wrong
 */
export function createDecryptStream(givenOptions: DecryptStreamOptions): FrameTransform {
  const options = checkOptions("options", givenOptions, DECRYPT_STREAM_OPTIONS);
  return new FrameTransform(
    (emit, stream) => new MessageDecryptor(options, emit, (header) => stream.emit("header", header)),
    options,
  );
}
