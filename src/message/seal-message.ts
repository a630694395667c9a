// Joins keyring, suite and engine into one message to be written: header bytes, then frames. Nonces are frame numbers
// under a key of this message alone, and they are handed out here.
import { randomBytes } from "node:crypto";
import { copySecret, wipe } from "../bytes.ts";
import {
  type Check,
  type Checks,
  checkOptions,
  describe,
  listOfStrings,
  needed,
  signal,
  wholeNumber,
} from "../check-options.ts";
import type { AeadKey, Engine, FrameCipher } from "../engine/engine.ts";
import { engineOption, selectEngine } from "../engine/select-engine.ts";
import { FramesealError, throwIfAborted } from "../errors.ts";
import {
  checkCallerContext,
  contextOption,
  type EncryptionContext,
  encodeEncryptionContext,
  NO_CONTEXT,
  PUBLIC_KEY_CONTEXT_KEY,
  splitContext,
} from "../format/encryption-context.ts";
import { checkFrameLength, finalAadPrefix, layoutFromPlaintext, regularAadPrefix } from "../format/frame.ts";
import { encodeHeader, encodeHeaderBody, HEADER_LIMITS, type MessageHeader } from "../format/header.ts";
import {
  DEFAULT_FRAME_LENGTH,
  DEFAULT_MAX_ENCRYPTED_DATA_KEYS,
  FRAME_LENGTH_MULTIPLE,
  MAX_FRAME_LENGTH,
} from "../format/limits.ts";
import {
  type AlgorithmSuite,
  type CommitmentPolicy,
  checkSuiteForWriting,
  DEFAULT_COMMITMENT_POLICY,
  defaultSuite,
  policyOption,
  suiteById,
  suiteOption,
} from "../format/suite.ts";
import { type DataKeyRequest, type Keyring, keyringOption } from "../keyring/keyring.ts";
import { takeGeneratedKey } from "../keyring/take-data-key.ts";
import { deriveKeys } from "./derive-keys.ts";
import { MessageSigner } from "./signature.ts";

/** How to encrypt. Only `keyring` is needed. */
export interface EncryptOptions {
  /** Makes and wraps the data key. */
  readonly keyring: Keyring;
  /** Public pairs bound to the message; keys must not start with `aws-crypto-`. */
  readonly encryptionContext?: EncryptionContext | undefined;
  /** Keys of `encryptionContext` that are authenticated but not stored: the reader must know these pairs. */
  readonly requiredEncryptionContextKeys?: readonly string[] | undefined;
  /** Algorithm suite id, by default 0x0478 (0x0178 under FORBID_ENCRYPT_ALLOW_DECRYPT). */
  readonly suite?: number | undefined;
  /** Plaintext bytes of a frame: a multiple of 16 up to 64 MiB, by default 65,536. */
  readonly frameLength?: number | undefined;
  readonly commitmentPolicy?: CommitmentPolicy | undefined;
  /** `native`, `node`, or an object that implements `Engine`; by default the best one here. */
  readonly engine?: string | Engine | undefined;
  /** Threads that work on one message, the caller's among them, where the engine can do that; by default 2. */
  readonly concurrency?: number | undefined;
  /** Refuses to write a header with more wrapped keys than this; by default 16. */
  readonly maxEncryptedDataKeys?: number | undefined;
  /** Raises or lowers the largest `frameLength`, by default 64 MiB. */
  readonly maxFrameLength?: number | undefined;
  /** Upper bound of the plaintext: one byte more is an error at once. */
  readonly plaintextLength?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

const MAX_CONCURRENCY = 1024;
export const concurrencyOption: Check = wholeNumber(1, MAX_CONCURRENCY);
export const plaintextLengthOption: Check = wholeNumber(0, Number.MAX_SAFE_INTEGER);

/** What the options must be, each by itself. */
export const ENCRYPT_OPTIONS: Checks<EncryptOptions> = {
  keyring: needed(keyringOption),
  encryptionContext: contextOption,
  requiredEncryptionContextKeys: listOfStrings,
  suite: suiteOption,
  frameLength: wholeNumber(FRAME_LENGTH_MULTIPLE, MAX_FRAME_LENGTH),
  commitmentPolicy: policyOption,
  engine: engineOption,
  concurrency: concurrencyOption,
  maxEncryptedDataKeys: HEADER_LIMITS.maxEncryptedDataKeys,
  maxFrameLength: HEADER_LIMITS.maxFrameLength,
  plaintextLength: plaintextLengthOption,
  signal,
};

/**
 * Checks what a public function was given, also whether the options go together.
 * @throws TypeError, RangeError; FramesealError POLICY, UNSUPPORTED, LIMIT_EXCEEDED, ENGINE_UNAVAILABLE
 */
export function checkEncryptOptions<Options extends EncryptOptions>(
  given: Options,
  checks: Checks<Options>,
): Options {
  const options = checkOptions("options", given, checks);
  planMessage(options);
  return options;
}

/** What the options come to, before any key is asked for. */
interface MessagePlan {
  readonly policy: CommitmentPolicy;
  readonly suite: AlgorithmSuite;
  readonly frameLength: number;
  readonly callerContext: EncryptionContext;
  readonly requiredKeys: ReadonlySet<string>;
}

function planMessage(options: EncryptOptions): MessagePlan {
  const policy = options.commitmentPolicy ?? DEFAULT_COMMITMENT_POLICY;
  const suite = options.suite === undefined ? defaultSuite(policy) : suiteById(options.suite);
  checkSuiteForWriting(suite, policy);
  const frameLength = options.frameLength ?? DEFAULT_FRAME_LENGTH;
  checkFrameLength(frameLength, options.maxFrameLength);
  if (options.plaintextLength !== undefined) layoutFromPlaintext(options.plaintextLength, frameLength);
  const callerContext = options.encryptionContext ?? NO_CONTEXT;
  checkCallerContext(callerContext);
  const requiredKeys = new Set(options.requiredEncryptionContextKeys);
  for (const key of requiredKeys)
    if (!Object.hasOwn(callerContext, key))
      throw new TypeError(
        `"requiredEncryptionContextKeys" expected keys of "encryptionContext", got ${describe(key)}`,
      );
  return { policy, suite, frameLength, callerContext, requiredKeys };
}

/**
 * A message whose header is made and whose frames can be sealed in any order. Whoever holds one must take care that no
 * frame number is sealed twice with different bytes: `MessageSealer` does for streams, the part ledger for uploads.
 */
export interface PreparedFrames {
  readonly header: MessageHeader;
  /** The whole header as written. */
  readonly headerBytes: Uint8Array;
  readonly cipher: FrameCipher;
  /** Present in signing suites. */
  readonly signer: MessageSigner | undefined;
  /** The upper bound of the plaintext, if one was given. */
  readonly plaintextBound: number;
  /** Tells the keyring how many bytes were sealed, when that was not known before. */
  recordUse(plaintextLength: number): void;
  /** See `deriveLedgerKey`. */
  ledgerKey(): Uint8Array;
  /** Wipes the message key. Must be called once. */
  dispose(): void;
}

/**
 * Makes the header of a new message.
 * @param options that were checked
 * @throws FramesealError POLICY, LIMIT_EXCEEDED, ABORTED, and what the keyring throws
 */
export async function prepareFrames(options: EncryptOptions): Promise<PreparedFrames> {
  const { policy, suite, frameLength, callerContext, requiredKeys } = planMessage(options);
  const { plaintextLength } = options;
  const engine = selectEngine(options.engine);
  throwIfAborted(options.signal);

  const signer =
    suite.signature === "none"
      ? undefined
      : new MessageSigner(suite.signature, engine, threadCount(options.concurrency));
  const fullContext: EncryptionContext =
    signer === undefined
      ? callerContext
      : Object.assign(Object.create(null), callerContext, { [PUBLIC_KEY_CONTEXT_KEY]: signer.publicKey });
  const request: DataKeyRequest = {
    suite,
    commitmentPolicy: policy,
    encryptionContext: Object.freeze(fullContext),
    ...(plaintextLength === undefined ? {} : { plaintextLength }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  };
  const { dataKey, encryptedDataKeys } = await takeGeneratedKey(options.keyring, request);
  try {
    throwIfAborted(options.signal);
    const maxKeys = options.maxEncryptedDataKeys ?? DEFAULT_MAX_ENCRYPTED_DATA_KEYS;
    if (encryptedDataKeys.length > maxKeys)
      throw new FramesealError(
        "LIMIT_EXCEEDED",
        `keyring made ${encryptedDataKeys.length} encrypted data keys, at most ${maxKeys} are allowed`,
      );
    const messageId = freshMessageId(suite.messageIdLength);
    const { selected: required, rest: stored } = splitContext(fullContext, requiredKeys);
    const derived = deriveKeys(suite, dataKey, messageId);
    try {
      const header: MessageHeader = {
        version: suite.version,
        suite,
        messageId,
        encryptionContext: Object.freeze(stored),
        encryptedDataKeys,
        contentType: "framed",
        frameLength,
        commitment: derived.commitment,
      };
      const body = encodeHeaderBody(header);
      const key = createMessageKey(engine, derived.messageKey());
      const nonce = new Uint8Array(12); // frame numbers start at 1, so no frame has this nonce
      const tag = key.seal(nonce, headerAad(body, required), new Uint8Array(0));
      const headerBytes = encodeHeader(suite.version, body, nonce, tag);
      const recordUse = (length: number): void => {
        if (plaintextLength === undefined) options.keyring.recordUse?.(request, length);
      };
      const cipher = createFrameCipher(key, header, options.concurrency);
      return frames({ header, headerBytes, key, cipher, signer, plaintextLength, recordUse });
    } finally {
      derived.dispose();
    }
  } finally {
    wipe(dataKey);
  }
}

/** What the tag of the header covers: its bytes and the required pairs that are not stored in it. */
export function headerAad(body: Uint8Array, required: EncryptionContext): Uint8Array {
  return Buffer.concat([body, encodeEncryptionContext(required)]);
}

/** The frame cipher of a message under `key`, on as many threads as `concurrency` asks for. */
export function createFrameCipher(key: AeadKey, header: MessageHeader, concurrency?: number): FrameCipher {
  const format = {
    frameLength: header.frameLength,
    regularAadPrefix: regularAadPrefix(header.messageId),
    finalAadPrefix: finalAadPrefix(header.messageId),
  };
  const threads = threadCount(concurrency);
  // The hash of a signed message takes ten times as long as its frames, so the other thread is for that.
  return key.frameCipher(format, header.suite.signature === "none" ? threads : 1);
}

const DEFAULT_CONCURRENCY = 2;

/** The engine that hashes a message to be opened on another thread, where its options allow for one. */
export function hashEngine(engine: Engine, options: Pick<EncryptOptions, "concurrency">): Engine | undefined {
  return threadCount(options.concurrency) > 1 ? engine : undefined;
}

/** On how many threads a message is worked on. */
export function threadCount(concurrency = DEFAULT_CONCURRENCY): number {
  return concurrency;
}

/** Gives `rawKey` to the engine and wipes it. */
export function createMessageKey(engine: Engine, rawKey: Uint8Array): AeadKey {
  try {
    return engine.createKey(rawKey);
  } finally {
    wipe(rawKey);
  }
}

function frames(parts: {
  header: MessageHeader;
  headerBytes: Uint8Array;
  key: AeadKey;
  cipher: FrameCipher;
  signer: MessageSigner | undefined;
  plaintextLength: number | undefined;
  recordUse: (plaintextLength: number) => void;
}): PreparedFrames {
  const { header, headerBytes, key, cipher, signer, recordUse } = parts;
  return {
    header,
    headerBytes,
    cipher,
    signer,
    plaintextBound: parts.plaintextLength ?? Number.POSITIVE_INFINITY,
    recordUse,
    ledgerKey: () => deriveLedgerKey(key),
    dispose: () => {
      key.dispose();
      signer?.dispose();
    },
  };
}

/**
 * Returns 32 bytes that only holders of the message key can make, for digests of the parts of an upload: the key stream
 * under a nonce that no frame and no header has (theirs start with zeros). The caller wipes them.
 */
export function deriveLedgerKey(key: AeadKey): Uint8Array {
  // In pieces: small results of `seal` lie on V8's heap.
  const sealer = key.startSeal(new Uint8Array(12).fill(0xff), LEDGER_AAD);
  const sealed = sealer.update(new Uint8Array(32));
  sealer.final();
  const ledgerKey = copySecret(sealed);
  wipe(sealed);
  return ledgerKey;
}
const LEDGER_AAD = Buffer.from("frameseal part ledger", "ascii");

let previousMessageId: Uint8Array = new Uint8Array(0);

// A generator that repeats itself or returns zeros must stop us: the message id separates the keys of messages.
function freshMessageId(length: number): Uint8Array {
  const messageId = new Uint8Array(randomBytes(length));
  const repeated = Buffer.compare(messageId.subarray(0, 16), previousMessageId.subarray(0, 16)) === 0;
  if (repeated || messageId.every((byte) => byte === 0))
    throw new Error("internal error: the random generator does not work");
  previousMessageId = messageId;
  return messageId;
}
