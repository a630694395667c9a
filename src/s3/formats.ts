// The formats of encrypted objects: which one is written, and which are tried on reading.

import { type Checks, flag, oneOf, text, wholeNumber } from "../check-options.ts";
import { FramesealError } from "../errors.ts";
import type { MessageHeader } from "../format/header.ts";
import { checkSuiteForWriting, DEFAULT_COMMITMENT_POLICY } from "../format/suite.ts";
import { DECRYPT_OPTIONS } from "../message/open-message.ts";
import { ENCRYPT_OPTIONS } from "../message/seal-message.ts";
import { quote } from "../quote.ts";
import { FramedFormat, type FramedObjectOptions } from "./framed/framed-format.ts";
import { keptBinding } from "./framed/key-binding.ts";
import { type ObjectFormat, objectBindings, type StoredObject } from "./object-format.ts";
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

const { plaintextLength: _, signal: __, concurrency: ___, ...WRITE_OPTIONS } = ENCRYPT_OPTIONS;
/** What the options of all formats must be. */
export const FORMAT_OPTIONS: Checks<FormatOptions> = {
  ...WRITE_OPTIONS,
  maxHeaderLength: DECRYPT_OPTIONS.maxHeaderLength,
  maxNonFramedLength: DECRYPT_OPTIONS.maxNonFramedLength,
  signedMessages: DECRYPT_OPTIONS.signedMessages,
  bind: oneOf(...objectBindings),
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
  /** What is written in place of an object that had this header: `written`, with its `keptSettings`. */
  writtenFor(header: MessageHeader | undefined): ObjectFormat;
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
      throw new FramesealError("POLICY", `objects of the format ${name} cannot be bound to their names`);
    written.checkWritable();
  }
  return {
    written,
    all,
    reading: readSettings(options),
    told: new ToldSizes(),
    writtenFor(header) {
      return header === undefined || written !== framed
        ? written
        : new FramedFormat({ ...options, ...keptSettings(options, header) });
    },
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

/**
 * What a new message takes over from the header of the one it replaces, unless the caller wants it otherwise: the pairs of
 * the context (those that bind the object to its name are made anew, no fewer), pairs that are demanded but not stored,
 * frame length and, where it may be written, suite.
 */
export function keptSettings(
  options: Omit<FormatOptions, "keyring">,
  header: MessageHeader | undefined,
): Pick<
  FormatOptions,
  "bind" | "encryptionContext" | "requiredEncryptionContextKeys" | "frameLength" | "suite"
> {
  if (header === undefined) throw new Error("internal error: framed object without header");
  const {
    encryptionContext = {},
    requiredEncryptionContextKeys = [],
    commitmentPolicy = DEFAULT_COMMITMENT_POLICY,
  } = options;
  const stored = Object.entries(header.encryptionContext).filter(
    ([name]) => !/^(frameseal|aws-crypto)-/.test(name),
  );
  const demanded = Object.keys(encryptionContext).filter(
    (name) => !Object.hasOwn(header.encryptionContext, name),
  );
  return {
    bind: options.bind ?? keptBinding(header.encryptionContext),
    encryptionContext: Object.fromEntries([...stored, ...Object.entries(encryptionContext)]),
    requiredEncryptionContextKeys: [...new Set([...requiredEncryptionContextKeys, ...demanded])],
    frameLength: options.frameLength ?? (header.contentType === "framed" ? header.frameLength : undefined),
    suite: options.suite ?? (mayBeWritten(header.suite, commitmentPolicy) ? header.suite.id : undefined),
  };
}

function mayBeWritten(...[suite, policy]: Parameters<typeof checkSuiteForWriting>): boolean {
  if (suite.signature !== "none") return false;
  try {
    checkSuiteForWriting(suite, policy);
    return true;
  } catch {
    return false;
  }
}
