// Which errors say that something is not authentic, and which only that it could not be looked at.
import { type ErrorCode, isFramesealError } from "../errors.ts";
import { errorCode, isError } from "../shapes.ts";

const UNTRUSTED: ReadonlySet<ErrorCode> = new Set([
  "AUTHENTICATION_FAILED",
  "TRUNCATED",
  "TRAILING_DATA",
  "INVALID_HEADER",
  "INVALID_METADATA",
  "INVALID_MANIFEST",
  "NO_DATA_KEY",
  "CONTEXT_MISMATCH",
  "NOT_ENCRYPTED",
]);

/** True for what is said of the data; false for a server, a network or a key service that did not answer. */
export function isUntrusted(error: unknown): boolean {
  if (!isFramesealError(error) || !UNTRUSTED.has(error.code)) return false;
  // Whoever could not be asked has not said that the key is another one.
  return error.code !== "NO_DATA_KEY" || !causesOf(error).some(couldNotAnswer);
}

function couldNotAnswer(error: unknown): boolean {
  if (isFramesealError(error) && ["KEY_SERVICE", "NETWORK"].includes(error.code)) return true;
  if (!isFramesealError(error) && errorCode(error) !== undefined) return true; // of the system: of a connection
  return causesOf(error).some(couldNotAnswer);
}

function causesOf(error: unknown): readonly unknown[] {
  const cause = isError(error) ? error.cause : undefined;
  if (cause === undefined || cause === error) return [];
  return isError(cause) && "errors" in cause && Array.isArray(cause.errors) ? cause.errors : [cause];
}
