// The public encrypting Transform.

import type { Checks } from "../check-options.ts";
import type { MessageHeader } from "../format/header.ts";
import { MessageSealer } from "../message/message-sealer.ts";
import {
  checkEncryptOptions,
  ENCRYPT_OPTIONS,
  type EncryptOptions,
  prepareFrames,
} from "../message/seal-message.ts";
import type { Emit } from "./frame-machine.ts";
import { FrameTransform, STREAM_OPTIONS, type StreamOptions } from "./frame-transform.ts";
import { MessageEncryptor } from "./message-encryptor.ts";

/** Options of a stream that encrypts. */
export type EncryptStreamOptions = EncryptOptions & StreamOptions;

/** What the options must be. */
const ENCRYPT_STREAM_OPTIONS: Checks<EncryptStreamOptions> = { ...ENCRYPT_OPTIONS, ...STREAM_OPTIONS };

/**
 * Returns a Transform from plaintext to one message. Errors of the stream are FramesealErrors as `encrypt` throws them.
 * Memory is bounded by a few runs of frames (1 MiB each), whatever the length of the input.
 * @throws TypeError, RangeError, FramesealError for options that are wrong
 */
export function createEncryptStream(givenOptions: EncryptStreamOptions): FrameTransform {
  const options = checkEncryptOptions(givenOptions, ENCRYPT_STREAM_OPTIONS);
  return new FrameTransform((emit, stream) => createMachine(options, emit, stream), options);
}

function createMachine(
  options: EncryptStreamOptions,
  emit: Emit,
  stream: FrameTransform,
  prepared?: MessageSealer,
): MessageEncryptor {
  const onHeader = (header: MessageHeader): void => void stream.emit("header", header);
  return new MessageEncryptor(options, emit, onHeader, (error) => stream.destroy(error as Error), prepared);
}

/** A message whose header is made, so that its exact length can be announced before its first byte. */
export interface PreparedMessage {
  /** Bytes of the header with its authentication. */
  readonly headerLength: number;
  /** Exact length of the message for a plaintext of `plaintextLength` bytes. */
  ciphertextLength(plaintextLength: number): number;
  /** The stream that writes this message. May be called once; the stream then owns the key. */
  createEncryptStream(): FrameTransform;
  /** Wipes the key of a message that will not be written. Not needed after `createEncryptStream`. */
  dispose(): void;
}

/**
 * Asks the keyring for a data key and makes the header.
 * @throws what `encrypt` throws before its first byte
 */
export async function prepareMessage(givenOptions: EncryptStreamOptions): Promise<PreparedMessage> {
  const options = checkEncryptOptions(givenOptions, ENCRYPT_STREAM_OPTIONS);
  const sealer = new MessageSealer(await prepareFrames(options));
  let used = false;
  return {
    headerLength: sealer.headerLength,
    ciphertextLength: (plaintextLength) => sealer.messageLength(plaintextLength),
    createEncryptStream() {
      if (used) throw new Error("a prepared message can be encrypted only once");
      used = true;
      return new FrameTransform((emit, stream) => createMachine(options, emit, stream, sealer), options);
    },
    dispose() {
      if (!used) sealer.dispose();
      used = true;
    },
  };
}
