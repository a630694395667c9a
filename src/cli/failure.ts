// How a command fails: the exit code, and the one line on stderr that explains it.

import { constants } from "node:os";
import { isFramesealError } from "../errors.ts";
import { errorCode, isError, isErrorNamed } from "../shapes.ts";
import { hideKeys, oneLine } from "./output.ts";

/** Exit codes of every command; a signal adds its number to 128. */
export const exitCodes = {
  done: 0,
  failed: 1,
  usage: 2,
  untrusted: 3,
  interrupted: 130,
  terminated: 143,
  closedPipe: 141,
} as const;

/** The command line itself is wrong: exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The command cannot be done, for a reason that is neither of the library nor of the system: exit code 1. */
export class CommandFailure extends Error {
  override readonly name = "CommandFailure";
}

/** Codes of a FramesealError that mean: not authentic, cut, of another key, or of another context. */
const untrusted: ReadonlySet<string> = new Set([
  "AUTHENTICATION_FAILED",
  "TRUNCATED",
  "TRAILING_DATA",
  "INVALID_HEADER",
  "INVALID_METADATA",
  "NO_DATA_KEY",
  "CONTEXT_MISMATCH",
  "NOT_ENCRYPTED",
]);

/** The exit code that `error` means. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError || isArgumentMistake(error)) return exitCodes.usage;
  const code = codeOf(error);
  if (code === "EPIPE") return exitCodes.closedPipe;
  return code !== undefined && untrusted.has(code) ? exitCodes.untrusted : exitCodes.failed;
}

/** One line for stderr, without the name of the program and without secrets. */
export function describe(error: unknown): string {
  if (!isError(error)) return oneLine(`internal error: ${String(error)}`);
  const code = codeOf(error);
  if (error instanceof UsageError || error instanceof CommandFailure || isArgumentMistake(error))
    return oneLine(error.message);
  const service = serviceText(error) ?? networkText(error);
  if (service !== undefined) return oneLine(service);
  if (code === undefined) return oneLine(`internal error: ${error.name}: ${error.message}`);
  return oneLine(systemText(error, code) ?? withCauses(error, code));
}

/** `code` of an error of the library or of the system. */
export function codeOf(error: unknown): string | undefined {
  return errorCode(error);
}

// The library's wording of a wrong argument; any other TypeError is a defect.
function isArgumentMistake(error: unknown): boolean {
  return isErrorNamed(error, "TypeError", "RangeError") && /^"[\w.]+" (expected|or )/.test(error.message);
}

const systemTexts: Readonly<Record<string, string>> = {
  ENOENT: "no such file or folder",
  EACCES: "permission denied",
  EPERM: "not permitted",
  EEXIST: "already exists, and is not overwritten",
  EISDIR: "is a folder",
  ENOTDIR: "a part of the path is not a folder",
  ENOSPC: "no space left on the device",
  EDQUOT: "the disk quota is used up",
  EROFS: "the file system is read-only",
  EFBIG: "the file would be larger than allowed here",
  EIO: "input or output error",
  EMFILE: "too many open files (EMFILE, see ulimit -n)",
  ENFILE: "too many open files in the whole system (ENFILE)",
  ELOOP: "too many symbolic links, or a symbolic link where none is allowed",
  ENAMETOOLONG: "the name is too long",
};

function systemText(error: Error, code: string): string | undefined {
  if (!("syscall" in error)) return undefined;
  const path = "path" in error && typeof error.path === "string" ? error.path : undefined;
  // Errors that the library makes in the system's shape say more than the code does.
  const own = `${code}: '${path}' `;
  const text = error.message.startsWith(own)
    ? error.message.slice(own.length)
    : (systemTexts[code] ?? systemTexts[systemName(error)]);
  if (text === undefined) return undefined;
  const hint = text === "exists already" ? "; --force replaces it" : "";
  return `${path === undefined ? "" : `${hideKeys(path)}: `}${text}${hint}`;
}

// Node has no name for some of the system's errors, such as EDQUOT, but their number.
function systemName(error: Error): string {
  const number = "errno" in error && typeof error.errno === "number" ? -error.errno : undefined;
  return Object.entries(constants.errno).find(([, each]) => each === number)?.[0] ?? "";
}

// Errors of AWS services carry the answer's metadata; those of the SDK itself have names that explain them.
function serviceText(error: Error): string | undefined {
  if (error.name === "CredentialsProviderError")
    return `no AWS credentials: ${error.message}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or --profile`;
  if (error.message === "Region is missing") return "no AWS region: give --region or set AWS_REGION";
  if (!("$metadata" in error)) return undefined;
  const { httpStatusCode } = error.$metadata as { readonly httpStatusCode?: number };
  if (httpStatusCode === undefined) return undefined;
  const text = error.message === "" || error.message === error.name ? "" : `: ${error.message}`;
  return `the service answered ${error.name} (HTTP ${httpStatusCode})${text}${regionHint(error)}`;
}

// A bucket of another region answers with its name, which is all that a HEAD tells.
function regionHint(error: Error): string {
  const { $response } = error as { readonly $response?: { readonly headers?: Record<string, string> } };
  const region = $response?.headers?.["x-amz-bucket-region"];
  return region === undefined ? "" : `; the bucket is in region ${region}`;
}

// What a request met on its way that never had an answer, and a body that broke off.
function networkText(error: Error): string | undefined {
  if (codeOf(error) === "NETWORK") {
    const cause = isError(error.cause) ? (serviceText(error.cause) ?? networkText(error.cause)) : undefined;
    return cause === undefined ? error.message : `${error.message} (${cause})`;
  }
  if (isFramesealError(error)) return undefined; // the SDK marks whatever passes through it as one of a request
  if (error.name === "TimeoutError" && codeOf(error) === undefined)
    return /establish a connection/.test(error.message)
      ? "no connection to the service in time (--connect-timeout)"
      : "no answer of the service in time (--read-timeout)";
  const [first = error] =
    "errors" in error && Array.isArray(error.errors) ? error.errors.filter(isError) : [error];
  const code = codeOf(first);
  if (code === undefined || !("$metadata" in error || isOfConnection(first))) return undefined;
  return `cannot reach ${placeOf(first)} (${code})`;
}

/** System calls of connections and of the look-up of names. */
const networkCalls: ReadonlySet<unknown> = new Set(["connect", "getaddrinfo", "read", "write"]);

function isOfConnection(error: Error): boolean {
  const { syscall, path } = error as { readonly syscall?: unknown; readonly path?: unknown };
  return (
    path === undefined &&
    networkCalls.has(syscall) &&
    /^E(CONN|TIMEDOUT|HOST|NET|AI_|NOTFOUND)/.test(codeOf(error) ?? "")
  );
}

function placeOf(error: Error): string {
  const { address, hostname, host, port } = error as Readonly<Record<string, unknown>> & Error;
  const name = address ?? hostname ?? host;
  if (name === undefined) return "the service";
  return port === undefined ? `${name}` : `${`${name}`.includes(":") ? `[${name}]` : name}:${port}`;
}

function withCauses(error: Error, code: string): string {
  const said = causesOf(error).filter((text) => !error.message.includes(text));
  const text = said.length === 0 ? error.message : `${error.message} (${said.slice(0, 3).join("; ")})`;
  const hint = hints[code];
  return hint === undefined ? text : `${text}; ${hint}`;
}

function causesOf(error: Error): string[] {
  const { cause } = error;
  if (isErrorNamed(cause, "AggregateError") && "errors" in cause && Array.isArray(cause.errors))
    return cause.errors.flatMap((inner) => (isError(inner) ? [inner.message] : []));
  return isError(cause) ? [cause.message] : [];
}

const hints: Readonly<Record<string, string>> = {
  NO_DATA_KEY: "frameseal inspect shows which keys the message names",
  ENGINE_UNAVAILABLE: "frameseal engine shows what works here",
};
