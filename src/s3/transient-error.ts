// Which errors of a request may be over in a while. Told by status and shape: the SDK's classes differ between copies.
import { isFramesealError } from "../errors.ts";
import { errorCode, isError, isErrorNamed } from "../shapes.ts";

/** The HTTP status that the server answered; undefined when there was no answer, or nobody waited for it. */
export function statusOf(error: unknown): number | undefined {
  if (isErrorNamed(error, "AbortError")) return undefined;
  const metadata = (error as { $metadata?: { httpStatusCode?: number } } | undefined)?.$metadata;
  return metadata?.httpStatusCode;
}

/** True when the server was busy or failed, or the connection did. */
export function isTransient(error: unknown): boolean {
  if (isFramesealError(error)) return false;
  const status = statusOf(error);
  // 429 is SlowDown of some servers, 408 a request that came too slowly.
  if (status !== undefined)
    return (
      (status >= 500 && status !== NOT_IMPLEMENTED) ||
      status === 429 ||
      status === 408 ||
      isErrorNamed(error, "RequestTimeout")
    );
  if (isErrorNamed(error, "CredentialsProviderError", "AbortError")) return false;
  // Errors of a connection have a code of the system, or have been through the SDK's own attempts.
  return isErrorNamed(error, "TimeoutError") || errorCode(error) !== undefined || hasMetadata(error);
}

/** What a server lacks, it lacks later too. */
const NOT_IMPLEMENTED = 501;

function hasMetadata(error: unknown): boolean {
  return isError(error) && "$metadata" in error;
}
