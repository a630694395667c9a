// What S3 says when an object is not what a request expected. As a step of another request, HeadObject does not say it:
// its answers have no body, so the SDK has only a status to name an error by.
import { statusOf } from "./transient-error.ts";

const names: Readonly<Record<number, string>> = {
  304: "PreconditionFailed",
  403: "AccessDenied",
  404: "NoSuchKey",
  412: "PreconditionFailed",
};

/**
 * Gives the error of a HeadObject the name, status and message that other requests have for it.
 * @param subject what could not be seen
 */
export function nameHeadError(error: unknown, subject: string): unknown {
  const status = statusOf(error);
  const name = status === undefined ? undefined : names[status];
  if (name === undefined) return error;
  return Object.assign(error as Error, {
    name,
    message: `${name}: ${subject}`,
    $metadata: {
      ...(error as { $metadata?: object }).$metadata,
      httpStatusCode: status === 304 ? 412 : status,
    },
  });
}

/** The error of a condition that we have compared ourselves. */
export function preconditionFailed(subject: string, cause?: unknown): Error {
  const options = cause === undefined ? {} : { cause };
  return Object.assign(new Error(`PreconditionFailed: ${subject}`, options), {
    name: "PreconditionFailed",
    $fault: "client",
    $metadata: { httpStatusCode: 412 },
  });
}
