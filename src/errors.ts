// The one error class of this package and the closed list of its codes. Mistakes of the caller (wrong type, wrong
// value of an argument) are TypeError and RangeError instead.

import { list, MAX_MESSAGE_LENGTH, shorten } from "./quote.ts";
import { errorCode, isAbortSignal, isError, isErrorNamed } from "./shapes.ts";

/** What went wrong, as a stable word. Changing or removing one is a breaking change. */
export type ErrorCode =
  /** A tag, commitment or signature does not match. One text for all causes, so that it is no oracle. */
  | "AUTHENTICATION_FAILED"
  /** The input ends before the message does. */
  | "TRUNCATED"
  /** The input goes on after the message has ended. */
  | "TRAILING_DATA"
  /** The bytes are not a message header. */
  | "INVALID_HEADER"
  /** The metadata of an S3 object does not describe an encrypted object completely and without contradiction. */
  | "INVALID_METADATA"
  /** The manifest of a tree is missing or is none, or the tree is not what its manifest says. */
  | "INVALID_MANIFEST"
  /** A known layout with a version, algorithm suite or feature that is not supported here. */
  | "UNSUPPORTED"
  /** The commitment policy, a key binding or another rule of the caller forbids the operation. */
  | "POLICY"
  /** A limit of `format/limits.ts`, of the caller or of AES-GCM would be exceeded. */
  | "LIMIT_EXCEEDED"
  /** No keyring could unwrap any encrypted data key; `cause` is an AggregateError of what each said. */
  | "NO_DATA_KEY"
  /** A key service failed or gave an answer that must not be trusted. */
  | "KEY_SERVICE"
  /** The encryption context is not the demanded one. */
  | "CONTEXT_MISMATCH"
  /** The S3 object is not encrypted, and returning it as it is would pass it off as authentic. */
  | "NOT_ENCRYPTED"
  /** The requested range lies outside the plaintext. */
  | "RANGE_NOT_SATISFIABLE"
  /** The engine or kernel that was asked for is absent or failed its self-test. */
  | "ENGINE_UNAVAILABLE"
  /** The connection broke or stalled, or the server went on failing, and going on did not help: nothing is said about the data. */
  | "NETWORK"
  /** The file is complete under its name, but may not survive a power failure, or has left a second name; `cause` tells why. */
  | "NOT_DURABLE"
  /** The journal of a backup is in use, damaged, of another place, or cannot be written: nothing was done without it. */
  | "JOURNAL"
  /** The caller aborted the operation. */
  | "ABORTED";

/**
 * Everything the world can do to this package, as one class. Match on `code`, not on the message, which is one line of
 * bounded length whatever names it quotes.
 */
export class FramesealError extends Error {
  override readonly name = "FramesealError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(shorten(message), options);
    this.code = code;
  }
}

/** The error for every tag, commitment and signature mismatch: one text, no details. */
export function notAuthentic(options?: ErrorOptions): FramesealError {
  return new FramesealError("AUTHENTICATION_FAILED", "message is not authentic", options);
}

/** Several errors as one `cause`. Its message has those of the first few. */
export function allCauses(causes: readonly unknown[]): AggregateError {
  const texts = causes.slice(0, MAX_TEXTS).map(messageOf);
  return new AggregateError(causes, list(texts, MAX_MESSAGE_LENGTH - 50, causes.length));
}
const MAX_TEXTS = 16;

/** What an error says, in one line of bounded length. Whatever else was thrown says what type it has. */
export function messageOf(error: unknown): string {
  return isError(error) ? shorten(error.message, MAX_CAUSE_LENGTH) : `a thrown ${typeof error}`;
}
const MAX_CAUSE_LENGTH = 400;

/** Wraps the reason of an aborted `signal`. */
export function aborted(signal: AbortSignal): FramesealError {
  return new FramesealError("ABORTED", "operation was aborted", { cause: signal.reason });
}

/** ABORTED instead of what others throw because `signal` was aborted; any other error as it is. */
export function asAborted(error: unknown, signal: AbortSignal | undefined): unknown {
  return signal?.aborted && isErrorNamed(error, "AbortError") ? aborted(signal) : error;
}

/**
 * Throws ABORTED if `signal` has been aborted.
 * @throws TypeError for what is no signal
 */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal !== undefined && !isAbortSignal(signal))
    throw new TypeError(`"signal" expected an AbortSignal, got ${signal === null ? "null" : typeof signal}`);
  if (signal?.aborted) throw aborted(signal);
}

/** True for an error of this package, also when it comes from another copy of the package. */
export function isFramesealError(error: unknown): error is FramesealError {
  return isErrorNamed(error, "FramesealError") && errorCode(error) !== undefined;
}

/** True for an error of this package with `code`, also when it comes from another copy of the package. */
export function hasCode(error: unknown, code: ErrorCode): boolean {
  return isFramesealError(error) && error.code === code;
}
