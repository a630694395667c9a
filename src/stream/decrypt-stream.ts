// The public decrypting Transform.
import type { DecryptOptions } from "../message/open-message.ts";
import { FrameTransform, type StreamOptions } from "./frame-transform.ts";
import { MessageDecryptor } from "./message-decryptor.ts";

/** Options of a stream that decrypts. */
export type DecryptStreamOptions = DecryptOptions & StreamOptions;

/**
 * Returns a Transform from one message to its plaintext. What it gives out is verified, frame by frame; but until `end`
 * it is only a beginning of the plaintext: after an error, discard what you got.
 */
export function createDecryptStream(options: DecryptStreamOptions): FrameTransform {
  return new FrameTransform(
    (emit, stream) => new MessageDecryptor(options, emit, (header) => stream.emit("header", header)),
    options,
  );
}
