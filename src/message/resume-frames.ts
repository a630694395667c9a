// Goes on sealing a message whose header was made earlier, such as an upload after a restart. The header is verified as
// when reading; nothing but wrapped keys had to be kept.
import { FramesealError } from "../errors.ts";
import { parseHeader } from "../format/header.ts";
import { checkSuiteForWriting, DEFAULT_COMMITMENT_POLICY } from "../format/suite.ts";
import { openHeader } from "./open-message.ts";
import type { EncryptOptions, PreparedFrames } from "./seal-message.ts";

/** How to go on: as the message was started, except that suite and frame length come from the header. */
export type ResumeOptions = Omit<EncryptOptions, "suite" | "frameLength">;

/**
 * Opens a header for sealing more frames of its message. The caller must know, and never change, what was sealed
 * before: the part ledger does.
 * @throws FramesealError as `openHeader`; POLICY for a suite that must not be written; UNSUPPORTED for messages that are signed, whose signature covers all frames in
 * order, or not framed
 */
export async function resumeFrames(headerBytes: Uint8Array, options: ResumeOptions): Promise<PreparedFrames> {
  const parsed = parseHeader(headerBytes, {
    maxEncryptedDataKeys: options.maxEncryptedDataKeys,
    maxFrameLength: options.maxFrameLength,
  });
  if (parsed.length !== headerBytes.length)
    throw new FramesealError("TRAILING_DATA", "input goes on after the header");
  if (parsed.suite.signature !== "none" || parsed.contentType !== "framed")
    throw new FramesealError("UNSUPPORTED", "only framed messages without signature can be gone on with");
  // What may be read may not always be written.
  checkSuiteForWriting(parsed.suite, options.commitmentPolicy ?? DEFAULT_COMMITMENT_POLICY);
  const opened = await openHeader(parsed, {
    keyring: options.keyring,
    encryptionContext: options.encryptionContext,
    commitmentPolicy: options.commitmentPolicy,
    engine: options.engine,
    concurrency: options.concurrency,
    signal: options.signal,
  });
  return {
    header: opened.header,
    headerBytes: Uint8Array.from(headerBytes),
    get cipher() {
      return opened.cipher;
    },
    signer: undefined,
    plaintextBound: options.plaintextLength ?? Number.POSITIVE_INFINITY,
    recordUse: (length) => opened.recordUse(length),
    ledgerKey: () => opened.ledgerKey(),
    dispose: () => opened.dispose(),
  };
}
