// Turns a received header into a checked one and a cipher for its frames. Order of the checks: policy, context, data
// key, commitment, header tag.
import { concatBytes, equalConstantTime, wipe } from "../bytes.ts";
import { type Checks, needed, oneOf, signal } from "../check-options.ts";
import type { AeadKey, Engine, FrameCipher } from "../engine/engine.ts";
import { engineOption, selectEngine } from "../engine/select-engine.ts";
import {
  allCauses,
  FramesealError,
  hasCode,
  isFramesealError,
  notAuthentic,
  throwIfAborted,
} from "../errors.ts";
import {
  contextOption,
  type EncryptionContext,
  NO_CONTEXT,
  PUBLIC_KEY_CONTEXT_KEY,
  RESERVED_KEY_PREFIX,
} from "../format/encryption-context.ts";
import { nonFramedAad } from "../format/frame.ts";
import { type MessageHeader, type ParsedHeader, READ_LIMITS, type ReadLimits } from "../format/header.ts";
import {
  type AlgorithmSuite,
  type CommitmentPolicy,
  checkSuiteForReading,
  DEFAULT_COMMITMENT_POLICY,
  policyOption,
} from "../format/suite.ts";
import { type DataKeyRequest, type Keyring, keyringOption } from "../keyring/keyring.ts";
import { SkipList } from "../keyring/skipped-keys.ts";
import { takeUnwrappedKey } from "../keyring/take-data-key.ts";
import { quote, shorten } from "../quote.ts";
import { deriveKeys } from "./derive-keys.ts";
import {
  concurrencyOption,
  createFrameCipher,
  createMessageKey,
  deriveLedgerKey,
  hashEngine,
  headerAad,
  plaintextLengthOption,
} from "./seal-message.ts";
import { MessageVerifier } from "./signature.ts";

/** How to decrypt. Only `keyring` is needed. */
export interface DecryptOptions extends ReadLimits {
  /** Unwraps the data key. */
  readonly keyring: Keyring;
  /**
   * Pairs that the message must have. Pairs that its header does not store are taken as required ones, which only the
   * header's tag can confirm.
   */
  readonly encryptionContext?: EncryptionContext | undefined;
  readonly commitmentPolicy?: CommitmentPolicy | undefined;
  /** Signed messages: verified at their end by default; `refuse` fails right after the header. */
  readonly signedMessages?: "verify" | "refuse" | undefined;
  /** `native`, `node`, or an object that implements `Engine`; by default the best one here. */
  readonly engine?: string | Engine | undefined;
  /** Threads that work on one message, the caller's among them, where the engine can do that; by default 2. */
  readonly concurrency?: number | undefined;
  /** Upper bound of the plaintext: more is an error. */
  readonly plaintextLength?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What the options must be. */
export const DECRYPT_OPTIONS: Checks<DecryptOptions> = {
  ...READ_LIMITS,
  keyring: needed(keyringOption),
  encryptionContext: contextOption,
  commitmentPolicy: policyOption,
  signedMessages: oneOf("verify", "refuse"),
  engine: engineOption,
  concurrency: concurrencyOption,
  plaintextLength: plaintextLengthOption,
  signal,
};

/** A message whose header was verified. */
export interface OpenedHeader {
  readonly header: MessageHeader;
  readonly headerLength: number;
  readonly cipher: FrameCipher;
  /** Present in signing suites; it has been given the header already. */
  readonly verifier: MessageVerifier | undefined;
  /** Opens the body of a message without frames; null if it is not authentic. */
  openNonFramed(nonce: Uint8Array, sealed: Uint8Array): Uint8Array | null;
  /** Tells the keyring how many bytes were opened. */
  recordUse(plaintextLength: number): void;
  /** See `deriveLedgerKey`. */
  ledgerKey(): Uint8Array;
  /** Wipes the message key. Must be called once. */
  dispose(): void;
}

/**
 * Verifies a header.
 * @param options that were checked
 * @throws FramesealError POLICY, CONTEXT_MISMATCH, INVALID_HEADER, NO_DATA_KEY, AUTHENTICATION_FAILED, ABORTED, and
 * what the keyring throws
 */
export async function openHeader(parsed: ParsedHeader, options: DecryptOptions): Promise<OpenedHeader> {
  const policy = options.commitmentPolicy ?? DEFAULT_COMMITMENT_POLICY;
  const { suite } = parsed;
  checkSuiteForReading(suite, policy);
  if (options.signedMessages === "refuse" && suite.signature !== "none")
    throw new FramesealError("POLICY", "message is signed, and signed messages are refused here");
  const engine = selectEngine(options.engine);
  const verifier = createVerifier(suite, parsed.encryptionContext, hashEngine(engine, options));
  const required = requiredContext(parsed.encryptionContext, options.encryptionContext ?? NO_CONTEXT);
  const fullContext: EncryptionContext = Object.assign(
    Object.create(null),
    parsed.encryptionContext,
    required,
  );
  const skipped = new SkipList();
  const request: DataKeyRequest = {
    suite,
    commitmentPolicy: policy,
    encryptionContext: Object.freeze(fullContext),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
    skipped,
  };
  throwIfAborted(options.signal);
  const dataKey = await unwrap(options.keyring, parsed, request, skipped);
  let key: AeadKey;
  try {
    throwIfAborted(options.signal);
    const derived = deriveKeys(suite, dataKey, parsed.messageId);
    try {
      if (!equalConstantTime(derived.commitment, parsed.commitment)) throw notAuthentic();
      key = createMessageKey(engine, derived.messageKey());
    } finally {
      wipe(derived.commitment); // the right one for a forged header is nobody's business
      derived.dispose();
    }
  } finally {
    wipe(dataKey);
  }
  try {
    if (key.open(parsed.nonce, headerAad(parsed.body, required), parsed.tag) === null) throw notAuthentic();
    // A copy of what the tag has just confirmed: the verifier reads it later, and the caller may own it.
    verifier?.update(
      concatBytes(suite.version === 1 ? [parsed.body, parsed.nonce, parsed.tag] : [parsed.body, parsed.tag]),
    );
    let cipher: FrameCipher | undefined;
    return {
      header: publicHeader(parsed),
      headerLength: parsed.length,
      // Made on demand: a body without frames has no frame length.
      get cipher() {
        cipher ??= createFrameCipher(key, parsed, options.concurrency);
        return cipher;
      },
      verifier,
      openNonFramed: (nonce, sealed) =>
        key.open(nonce, nonFramedAad(parsed.messageId, sealed.length - 16), sealed),
      recordUse: (length) => options.keyring.recordUse?.(request, length),
      ledgerKey: () => deriveLedgerKey(key),
      dispose: () => {
        key.dispose();
        verifier?.dispose();
      },
    };
  } catch (error) {
    key.dispose();
    throw error;
  }
}

/** The part of a parsed header that callers see. */
export function publicHeader(parsed: ParsedHeader): MessageHeader {
  const {
    version,
    suite,
    messageId,
    encryptionContext,
    encryptedDataKeys,
    contentType,
    frameLength,
    commitment,
  } = parsed;
  return {
    version,
    suite,
    messageId,
    encryptionContext,
    encryptedDataKeys,
    contentType,
    frameLength,
    commitment,
  };
}

function createVerifier(
  suite: AlgorithmSuite,
  context: EncryptionContext,
  engine: Engine | undefined,
): MessageVerifier | undefined {
  const publicKey = context[PUBLIC_KEY_CONTEXT_KEY];
  if ((suite.signature === "none") !== (publicKey === undefined))
    throw new FramesealError(
      "INVALID_HEADER",
      publicKey === undefined
        ? "message is of a signing suite, but its header has no public key"
        : "message is of a suite without signature, but its header has a public key",
    );
  if (suite.signature === "none" || publicKey === undefined) return undefined;
  return new MessageVerifier(suite.signature, publicKey, engine);
}

// Pairs stored in the header must be equal; the others are reproduced into the header's tag.
function requiredContext(stored: EncryptionContext, demanded: EncryptionContext): EncryptionContext {
  const required: Record<string, string> = Object.create(null);
  for (const [key, value] of Object.entries(demanded)) {
    if (!Object.hasOwn(stored, key)) {
      if (key.startsWith(RESERVED_KEY_PREFIX)) throw mismatch(key);
      required[key] = value;
    } else if (stored[key] !== value) throw mismatch(key);
  }
  return required;
}

function mismatch(key: string): FramesealError {
  return new FramesealError(
    "CONTEXT_MISMATCH",
    `encryption context does not match: the message has another value for ${quote(key)}`,
  );
}

async function unwrap(
  keyring: Keyring,
  parsed: ParsedHeader,
  request: DataKeyRequest,
  skipped: SkipList,
): Promise<Uint8Array> {
  let failure: unknown;
  try {
    const dataKey = await takeUnwrappedKey(keyring, parsed.encryptedDataKeys, request);
    if (dataKey !== null) return dataKey;
  } catch (error) {
    if (isFramesealError(error) && !(hasCode(error, "NO_DATA_KEY") && skipped.count > 0)) throw error;
    failure = error;
  }
  throw noDataKey(failure, skipped);
}

/** Leaves room for the reasons behind it. */
const MAX_FAILURE_LENGTH = 900;

// What keyrings tried and failed with, and why they passed over the rest.
function noDataKey(failure: unknown, skipped: SkipList): FramesealError {
  const reasons = skipped.texts.map((text) => new FramesealError("NO_DATA_KEY", text));
  const cause = allCauses(failure === undefined ? reasons : [failure, ...reasons]);
  if (failure === undefined)
    return new FramesealError("NO_DATA_KEY", `no keyring has a key for this message: ${skipped}`, { cause });
  const others = skipped.count === 0 ? "" : `; passed over: ${skipped}`;
  const text = isFramesealError(failure)
    ? shorten(failure.message, MAX_FAILURE_LENGTH)
    : "no keyring could unwrap a data key of this message";
  return new FramesealError("NO_DATA_KEY", `${text}${others}`, { cause });
}
