// The formats of encrypted objects: which one is written, and which are tried on reading.

import { type Checks, flag, listOfStrings, oneOf, text, wholeNumber } from "../check-options.ts";
import { engineOption as engine } from "../engine/select-engine.ts";
import { FramesealError } from "../errors.ts";
import { contextOption as encryptionContext } from "../format/encryption-context.ts";
import { FRAME_LENGTH_MULTIPLE, MAX_ENCRYPTED_DATA_KEYS, MAX_FRAME_LENGTH } from "../format/limits.ts";
import { COMMITMENT_POLICIES } from "../format/suite.ts";
import { keyringOption as keyring } from "../keyring/keyring.ts";
import { quote } from "../quote.ts";
import { FramedFormat, type FramedObjectOptions } from "./framed/framed-format.ts";
import type { ObjectFormat, StoredObject } from "./object-format.ts";
import { FRAMED_PREFIX } from "./object-metadata.ts";
import { type ReadOptions, type ReadSettings, readSettings } from "./resuming-source.ts";
import { SingleMessageFormat, type SingleMessageOptions } from "./single-message/format.ts";
import { ToldSizes } from "./told-sizes.ts";

/** Formats that can be written: AWS Encryption SDK messages, and objects of the Amazon S3 Encryption Clients. */
export type FormatName = "framed" | "s3ec-v3" | "s3ec-v2";

/** Options of all formats. */
export interface FormatOptions
  extends FramedObjectOptions,
    Omit<SingleMessageOptions, keyof FramedObjectOptions> {
  /** What is written; by default `framed`. Reading recognises all of them. */
  readonly format?: FormatName | undefined;
}

/** What the options of all formats must be. */
export const FORMAT_OPTIONS: Checks<FormatOptions> = {
  keyring,
  encryptionContext,
  requiredEncryptionContextKeys: listOfStrings,
  suite: wholeNumber(0, 0xffff),
  frameLength: wholeNumber(FRAME_LENGTH_MULTIPLE, MAX_FRAME_LENGTH),
  commitmentPolicy: oneOf(...COMMITMENT_POLICIES),
  engine,
  maxEncryptedDataKeys: wholeNumber(1, MAX_ENCRYPTED_DATA_KEYS),
  maxFrameLength: wholeNumber(1, 2 ** 32 - 1),
  maxHeaderLength: wholeNumber(1),
  maxNonFramedLength: wholeNumber(0),
  signedMessages: oneOf("verify", "refuse"),
  bind: oneOf("key", "prefix", "none"),
  authentication: oneOf("verified", "buffered", "two-pass", "delayed"),
  bufferSize: wholeNumber(0),
  enableLegacyWrappingAlgorithms: flag,
  enableLegacyUnauthenticatedModes: flag,
  instructionFiles: oneOf("read", "write", "ignore"),
  instructionFileSuffix: text,
  format: oneOf("framed", "s3ec-v3", "s3ec-v2"),
};

/** The formats as configured. */
export interface Formats {
  readonly written: ObjectFormat;
  readonly all: readonly ObjectFormat[];
  /** How reading goes on when a connection fails. */
  readonly reading: ReadSettings;
  /** Lengths that were told of objects, to fail where they lead astray. */
  readonly told: ToldSizes;
  /**
   * The format of a stored object; framed when nothing tells.
   * @throws FramesealError INVALID_METADATA
   */
  recognise(object: StoredObject): Promise<ObjectFormat>;
}

/** @throws TypeError, RangeError, FramesealError for options that are wrong */
export function createFormats(options: FormatOptions & ReadOptions): Formats {
  const framed = new FramedFormat(options);
  const [version3, version2] = [new SingleMessageFormat(3, options), new SingleMessageFormat(2, options)];
  const all: readonly ObjectFormat[] = [framed, version3, version2];
  const name = options.format ?? "framed";
  const written = all.find((format) => format.name === name);
  if (written === undefined)
    throw new TypeError(
      `"format" expected one of ${all.map((format) => format.name).join(", ")}, got ${quote(String(name))}`,
    );
  if (written instanceof SingleMessageFormat) {
    if ((options.bind ?? "none") !== "none")
      throw new FramesealError("POLICY", `objects of the format ${name} cannot be bound to their keys`);
    written.checkWritable();
  }
  return {
    written,
    all,
    reading: readSettings(options),
    told: new ToldSizes(),
    async recognise(object) {
      if (!framed.recognises(object)) return (await version3.recognises(object)) ? version3 : framed;
      if (Object.keys(object.metadata).some((entry) => version3.ownsMetadata(entry)))
        throw new FramesealError(
          "INVALID_METADATA",
          `metadata beside "${FRAMED_PREFIX}…" is of another format`,
        );
      return framed;
    },
  };
}
