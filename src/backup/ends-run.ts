// Which errors of one entry would be those of all others: a run ends with them instead of failing a million times.
import { errorCode, isErrorNamed } from "../shapes.ts";

const CODES: ReadonlySet<string> = new Set([
  "ABORTED",
  "ENGINE_UNAVAILABLE",
  "JOURNAL",
  "NO_DATA_KEY",
  // Of the system: the disk of the journal or of temporary files, or too many open files.
  "EMFILE",
  "ENFILE",
  "ENOMEM",
]);
const NAMES = [
  "AuthorizationHeaderMalformed",
  "CredentialsProviderError",
  "ExpiredToken",
  "InvalidAccessKeyId",
  "InvalidBucketName",
  "NoSuchBucket",
  "PermanentRedirect",
  "RequestTimeTooSkewed",
  "SignatureDoesNotMatch",
  // Mistakes in what all requests have.
  "TypeError",
  "RangeError",
];

/** True for an error that all other entries would meet too. */
export function endsRun(error: unknown): boolean {
  return CODES.has(errorCode(error) ?? "") || isErrorNamed(error, ...NAMES);
}
