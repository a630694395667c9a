// The surface of `@aws-crypto/client-node` over this package: changing the import is the migration. Its defaults are
// kept (signed suite, frames of 4,096 bytes); its defects are not:
//   - the final frame of a signed message is released only after the signature has been verified;
//   - bytes behind a message are an error;
//   - the encryption context is ordered by bytes when a key is wrapped (`localeSortedContext: "accept"` reads theirs);
//   - `plaintextLength` is enforced to the byte.
// Not here: the hierarchical keyring, and materials managers of your own (write a keyring instead). All differences are
// listed in test/compat/differences.ts.
import { constants } from "node:buffer";
import type { Readable } from "node:stream";
import { concatBytes } from "../bytes.ts";
import { type Checks, checkKnownOptions, wholeNumber, wrong } from "../check-options.ts";
import { contextOption, type EncryptionContext } from "../format/encryption-context.ts";
import type { MessageHeader as Header } from "../format/header.ts";
import { MAX_ENCRYPTED_DATA_KEYS, MAX_FRAME_LENGTH } from "../format/limits.ts";
import { DEFAULT_COMMITMENT_POLICY, policyOption, suiteOption } from "../format/suite.ts";
import type { DecryptOptions as OurDecryptOptions } from "../message/open-message.ts";
import { ENCRYPT_OPTIONS, type EncryptOptions as OurEncryptOptions } from "../message/seal-message.ts";
import { isBytes } from "../shapes.ts";
import { createDecryptStream } from "../stream/decrypt-stream.ts";
import { createEncryptStream } from "../stream/encrypt-stream.ts";
import type { FrameTransform } from "../stream/frame-transform.ts";
import {
  decrypt as decryptWhole,
  encrypt as encryptWhole,
  inspectHeader,
  listenTo,
} from "../stream/whole-message.ts";
import { type EncryptedDataKey, toPeerKey } from "./keyring-node.ts";
import { type KeyringOrManager, materialsKeyring } from "./materials-manager.ts";
import { orNothing } from "./peer-options.ts";
import { type CommitmentPolicy, peerDefaultSuite } from "./suites.ts";

/** Options of `buildClient`. */
export interface ClientOptions {
  readonly commitmentPolicy?: CommitmentPolicy | undefined;
  /** `false`: as many as the format can count. By default 16. */
  readonly maxEncryptedDataKeys?: number | false | undefined;
}

/** Options of `encrypt` and `encryptStream`. */
export interface EncryptInput {
  readonly suiteId?: number | undefined;
  readonly encryptionContext?: EncryptionContext | undefined;
  readonly frameLength?: number | undefined;
  readonly plaintextLength?: number | undefined;
  /** Of a plaintext that is a string. */
  readonly encoding?: BufferEncoding | undefined;
}

/** Options of `decrypt` and `decryptStream`. */
export interface DecryptInput {
  /** Of a message that is a string, usually `base64`. */
  readonly encoding?: BufferEncoding | undefined;
  /** Largest frame, or body without frames, that is accepted. */
  readonly maxBodySize?: number | undefined;
  /** Pairs the message must have; the peer leaves this check to you. */
  readonly encryptionContext?: EncryptionContext | undefined;
}

const encoding = orNothing((name, value) => {
  if (typeof value !== "string" || !Buffer.isEncoding(value))
    throw wrong(name, "an encoding of Node.js", value);
  return value;
});
/** What the options must be. The peer ignores names it does not know. */
const CLIENT_OPTIONS: Checks<ClientOptions> = {
  commitmentPolicy: policyOption,
  maxEncryptedDataKeys: (name, value) => {
    if (value === false) return value;
    return Math.min(MAX_ENCRYPTED_DATA_KEYS, wholeNumber(1, Number.MAX_SAFE_INTEGER)(name, value) as number);
  },
};
const ENCRYPT_INPUT: Checks<EncryptInput> = {
  suiteId: orNothing(suiteOption),
  encryptionContext: contextOption,
  frameLength: ENCRYPT_OPTIONS.frameLength,
  plaintextLength: ENCRYPT_OPTIONS.plaintextLength,
  encoding,
};
const DECRYPT_INPUT: Checks<DecryptInput> = {
  encoding,
  maxBodySize: orNothing((name, value) => {
    if (typeof value !== "number") throw wrong(name, "a number above 0", value);
    if (!(value > 0)) throw new RangeError(`"${name}" expected a number above 0, got ${value}`);
    return Math.min(Math.floor(value), MAX_BODY_SIZE);
  }),
  encryptionContext: contextOption,
};

/** A header as the peer shows it. */
export interface MessageHeader {
  readonly version: 1 | 2;
  /** 0x80, in version 1. */
  readonly type?: number;
  readonly suiteId: number;
  readonly messageId: Uint8Array;
  readonly encryptionContext: EncryptionContext;
  readonly encryptedDataKeys: readonly EncryptedDataKey[];
  /** 1 without frames, 2 framed. */
  readonly contentType: 1 | 2;
  /** 12, in version 1. */
  readonly headerIvLength?: number;
  readonly frameLength: number;
  /** The commitment, in version 2. */
  readonly suiteData?: Uint8Array;
}

/** Bytes, text, or a stream of bytes. */
export type Input = Uint8Array | string | Readable | NodeJS.ReadableStream;

/** What `buildClient` returns. */
export interface Client {
  encrypt(
    keyring: KeyringOrManager,
    plaintext: Input,
    options?: EncryptInput,
  ): Promise<{ result: Buffer; messageHeader: MessageHeader }>;
  decrypt(
    keyring: KeyringOrManager,
    message: Input,
    options?: DecryptInput,
  ): Promise<{ plaintext: Buffer; messageHeader: MessageHeader }>;
  /** Emits `MessageHeader`. */
  encryptStream(keyring: KeyringOrManager, options?: EncryptInput): FrameTransform;
  /** Emits `MessageHeader` once the header is verified. */
  decryptStream(keyring: KeyringOrManager, options?: DecryptInput): FrameTransform;
  /** As `decryptStream`, but refuses a signed message right after its header. */
  decryptUnsignedMessageStream(keyring: KeyringOrManager, options?: DecryptInput): FrameTransform;
}

const DEFAULT_FRAME_LENGTH = 4096; // the peer's; 65,536 elsewhere in this package
const MAX_BODY_SIZE = 2 ** 32 - 1; // longer frames cannot be, longer bodies cannot be held
// For a header that is in memory already.
const NO_HEADER_LIMITS = {
  maxEncryptedDataKeys: MAX_ENCRYPTED_DATA_KEYS,
  maxFrameLength: MAX_FRAME_LENGTH,
  maxHeaderLength: constants.MAX_LENGTH,
};

/**
 * Makes the functions of a client under one commitment policy.
 * @throws TypeError, RangeError
 */
export function buildClient(options: CommitmentPolicy | ClientOptions = DEFAULT_COMMITMENT_POLICY): Client {
  const { commitmentPolicy = DEFAULT_COMMITMENT_POLICY, maxEncryptedDataKeys: max } = checkKnownOptions(
    "options",
    typeof options === "string" ? { commitmentPolicy: options } : options,
    CLIENT_OPTIONS,
  );
  const common = {
    commitmentPolicy,
    maxEncryptedDataKeys: max === false ? MAX_ENCRYPTED_DATA_KEYS : max,
  };

  const checkEncrypt = (input: EncryptInput): EncryptInput =>
    checkKnownOptions("options", input, ENCRYPT_INPUT);
  const checkDecrypt = (input: DecryptInput): DecryptInput =>
    checkKnownOptions("options", input, DECRYPT_INPUT);
  const encryptOptions = (keyring: KeyringOrManager, input: EncryptInput): OurEncryptOptions => ({
    ...common,
    keyring: materialsKeyring(keyring),
    suite: input.suiteId ?? peerDefaultSuite(commitmentPolicy),
    frameLength: input.frameLength ?? DEFAULT_FRAME_LENGTH,
    maxFrameLength: MAX_FRAME_LENGTH,
    encryptionContext: input.encryptionContext,
    plaintextLength: input.plaintextLength,
  });
  const decryptOptions = (
    keyring: KeyringOrManager,
    input: DecryptInput,
    signedMessages: "verify" | "refuse",
  ): OurDecryptOptions => ({
    ...common,
    keyring: materialsKeyring(keyring),
    signedMessages,
    encryptionContext: input.encryptionContext,
    maxFrameLength: input.maxBodySize,
    maxNonFramedLength: input.maxBodySize,
  });

  return {
    async encrypt(keyring, plaintext, given = {}) {
      listenTo(plaintext);
      const input = checkEncrypt(given);
      const bytes = await toBytes(plaintext, input.encoding);
      // As with the peer, the length of bytes and text is theirs; a stream may be held to one.
      const isStream = typeof plaintext === "object" && !isBytes(plaintext);
      const plaintextLength = isStream ? input.plaintextLength : bytes.length;
      const result = await encryptWhole(bytes, encryptOptions(keyring, { ...input, plaintextLength }));
      return { result, messageHeader: toPeerHeader(inspectHeader(result, NO_HEADER_LIMITS)) };
    },
    async decrypt(keyring, message, given = {}) {
      listenTo(message);
      const input = checkDecrypt(given);
      const bytes = await toBytes(message, input.encoding);
      const options = { ...decryptOptions(keyring, input, "verify"), ...bodyLimit(bytes, input.maxBodySize) };
      const { plaintext, header } = await decryptWhole(bytes, options);
      return { plaintext, messageHeader: toPeerHeader(header) };
    },
    encryptStream(keyring, given = {}) {
      const input = checkEncrypt(given);
      return asPeerStream(createEncryptStream(encryptOptions(keyring, input)), input.encoding);
    },
    decryptStream(keyring, given = {}) {
      const input = checkDecrypt(given);
      return asPeerStream(createDecryptStream(decryptOptions(keyring, input, "verify")), input.encoding);
    },
    decryptUnsignedMessageStream(keyring, given = {}) {
      const input = checkDecrypt(given);
      return asPeerStream(createDecryptStream(decryptOptions(keyring, input, "refuse")), input.encoding);
    },
  };
}

// With the peer, a message may say longer frames than `maxBodySize` as long as it has none: one final frame that fits.
// Streams cannot know that before they have buffered it, so there the frame length itself is bounded.
function bodyLimit(message: Uint8Array, maxBodySize: number | undefined): Partial<OurDecryptOptions> {
  if (maxBodySize === undefined || inspectHeader(message, NO_HEADER_LIMITS).frameLength <= maxBodySize)
    return {};
  return { maxFrameLength: undefined, plaintextLength: maxBodySize };
}

function asPeerStream(stream: FrameTransform, encoding: BufferEncoding | undefined): FrameTransform {
  if (encoding !== undefined) stream.setDefaultEncoding(encoding);
  stream.once("header", (header: Header) => stream.emit("MessageHeader", toPeerHeader(header)));
  return stream;
}

function toPeerHeader(header: Header): MessageHeader {
  const { version, suite, messageId, encryptionContext, frameLength } = header;
  const common = {
    suiteId: suite.id,
    messageId: new Uint8Array(messageId),
    encryptionContext,
    encryptedDataKeys: Object.freeze(header.encryptedDataKeys.map(toPeerKey)),
    contentType: header.contentType === "framed" ? 2 : 1,
    frameLength,
  } as const;
  if (version === 2)
    return Object.freeze({ version, ...common, suiteData: new Uint8Array(header.commitment) });
  return Object.freeze({ version, type: 0x80, ...common, headerIvLength: 12 });
}

async function toBytes(input: Input, encoding: BufferEncoding | undefined): Promise<Uint8Array> {
  if (typeof input === "string") return Buffer.from(input, encoding);
  if (isBytes(input)) return input;
  if (typeof input !== "object" || input === null || !(Symbol.asyncIterator in input))
    throw new TypeError(`"input" expected bytes, a string or a stream, got ${typeof input}`);
  const parts: Uint8Array[] = [];
  for await (const part of input) parts.push(typeof part === "string" ? Buffer.from(part, encoding) : part);
  return concatBytes(parts);
}

/** The half of a client that encrypts. */
export function buildEncrypt(
  options?: CommitmentPolicy | ClientOptions,
): Pick<Client, "encrypt" | "encryptStream"> {
  const { encrypt, encryptStream } = buildClient(options);
  return { encrypt, encryptStream };
}
/** The half of a client that decrypts. */
export function buildDecrypt(
  options?: CommitmentPolicy | ClientOptions,
): Pick<Client, "decrypt" | "decryptStream" | "decryptUnsignedMessageStream"> {
  const { decrypt, decryptStream, decryptUnsignedMessageStream } = buildClient(options);
  return { decrypt, decryptStream, decryptUnsignedMessageStream };
}
