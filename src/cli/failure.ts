// How a command fails: the exit code, and the one line on stderr that says what happened and what can be done. Every kind
// of error has its place here; what has none is a defect and is called so.

import { constants } from "node:os";
import { getSystemErrorMap } from "node:util";
import type { ErrorCode } from "../errors.ts";
import { errorCode, isError, isErrorNamed } from "../shapes.ts";
import { hostOf, lastFailure, lastHost } from "./contacted.ts";
import { shown } from "./names.ts";
import { bounded, visible } from "./visible.ts";

/** Exit codes of every command; a signal adds its number to 128. */
export const exitCodes = {
  done: 0,
  failed: 1,
  usage: 2,
  untrusted: 3,
  /** Done, but some of many failed. */
  someFailed: 4,
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

/** Some of many things failed, and the rest is done: exit code 3 if one of them cannot be trusted, or else 4. */
export class PartialFailure extends Error {
  override readonly name = "PartialFailure";
  readonly exitCode: number;
  constructor(message: string, untrusted: boolean) {
    super(message);
    this.exitCode = untrusted ? exitCodes.untrusted : exitCodes.someFailed;
  }
}

/** Longest line about a failure, without the name of the program. */
export const MAX_FAILURE_LENGTH = 500;

/** What of a text of the library, a service or the system is shown at most. */
const MAX_QUOTED_LENGTH = 300;

interface Failure {
  readonly exitCode: number;
  readonly text: string;
}

/** The exit code that `error` means. */
export function exitCodeOf(error: unknown): number {
  return failureOf(error).exitCode;
}

/** One line for stderr, without the name of the program and without secrets. */
export function describe(error: unknown): string {
  return failureOf(error).text;
}

/** `code` of an error of the library or of the system. */
export function codeOf(error: unknown): string | undefined {
  return errorCode(error);
}

/** The same for programs that read it; of what a service answered, the name of the error. */
export function codeToldOf(error: unknown): string | undefined {
  return codeOf(error) ?? (isError(error) && "$metadata" in error ? error.name : undefined);
}

function failureOf(error: unknown): Failure {
  let failure: Failure | undefined;
  try {
    failure = isError(error) ? known(error) : undefined;
    failure ??= defect(error);
  } catch {
    failure = {
      exitCode: exitCodes.failed,
      text: `internal error: what was thrown cannot be shown${REPORT}`,
    };
  }
  return { exitCode: failure.exitCode, text: bounded(visible(failure.text), MAX_FAILURE_LENGTH) };
}

/** In this order: what comes first says more. */
const kinds: readonly ((error: Error) => Failure | undefined)[] = [
  ofCommandLine,
  ofSource,
  ofArgument,
  ofLibrary,
  ofService,
  ofConnection,
  ofSystem,
  ofNode,
];

function known(error: Error): Failure | undefined {
  for (const kind of kinds) {
    const failure = kind(error);
    if (failure !== undefined) return failure;
  }
  return undefined;
}

const REPORT = "; this is a defect of frameseal: please report it";

function defect(error: unknown): Failure {
  const text = isError(error) ? `${error.name}: ${error.message}` : typeof error;
  return failed(`internal error: ${quoted(text)}${REPORT}`);
}

const failed = (text: string): Failure => ({ exitCode: exitCodes.failed, text });

// Texts of others: what goes over several lines becomes one.
function quoted(text: string): string {
  return bounded(text.replace(/\s*[\r\n]+\s*/g, " "), MAX_QUOTED_LENGTH);
}

function ofCommandLine(error: Error): Failure | undefined {
  if (error instanceof UsageError) return { exitCode: exitCodes.usage, text: error.message };
  if (error instanceof PartialFailure) return { exitCode: error.exitCode, text: error.message };
  return error instanceof CommandFailure ? failed(error.message) : undefined;
}

// A file that another program writes to has another length at the end than at the beginning.
function ofSource(error: Error): Failure | undefined {
  if (!isErrorNamed(error, "TypeError", "RangeError")) return undefined;
  if (!/^"(?:ContentLength|Body)" expected/.test(error.message)) return undefined;
  return failed(
    "the input changed while it was read, so nothing was stored: run it again when nobody writes to the file, " +
      "or send it through standard input",
  );
}

/** What the library calls its options, and what they are on the command line. */
export const optionNames: Readonly<Record<string, string>> = {
  bind: "--bind",
  boundContext: "--context",
  bucket: "the name of the bucket",
  bufferSize: "--buffer-size",
  commitmentPolicy: "--commitment-policy",
  customerKeys: "--forbid-sse-c",
  "discovery.accountIds": "--kms-discovery",
  "discovery.partition": "--kms-discovery",
  "discovery.region": "--region",
  encryptionContext: "--context",
  engine: "--engine",
  expectedSize: "--expected-size",
  format: "--format",
  frameLength: "--frame-length",
  from: "the input",
  generatorKeyId: "--kms",
  instructionFileSuffix: "--instruction-file-suffix",
  key: "--sse-c-key",
  keyId: "--sse-kms-key",
  keyIds: "--kms",
  keyName: "--key-name",
  keyNamespace: "--key-namespace",
  kmsKeyId: "--kms-key",
  materialDescription: "--material-description",
  maxEncryptedDataKeys: "--max-encrypted-data-keys",
  maxFrameLength: "--max-frame-length",
  memory: "--memory",
  Metadata: "--metadata",
  newEncryptionContext: "--new-context",
  newInstructionFileSuffix: "--new-instruction-file-suffix",
  padding: "--rsa-padding",
  partSize: "--part-size",
  partition: "--partition",
  plaintextLength: "--max-plaintext",
  Range: "--range",
  require: "--require",
  requiredEncryptionContextKeys: "--required-context",
  spoolFolder: "--spool-folder",
  suite: "--suite",
  to: "the output",
  uploadConcurrency: "--concurrency",
  versionId: "--version-id",
};

// The library's wording of a wrong argument, for those that come from the command line.
function ofArgument(error: Error): Failure | undefined {
  if (!isErrorNamed(error, "TypeError", "RangeError")) return undefined;
  if (/^"to" expected another file than "from"/.test(error.message))
    return { exitCode: exitCodes.usage, text: "the output is the same file as the input: name another one" };
  const name = /^"([\w.]+)" (?:expected|or)/.exec(error.message)?.[1];
  if (name === undefined || !Object.hasOwn(optionNames, name)) return undefined;
  return { exitCode: exitCodes.usage, text: quoted(withOptionNames(error.message)) };
}

function withOptionNames(text: string): string {
  return text.replaceAll(/"([\w.]+)"/g, (all, name: string) => ownEntry(optionNames, name) ?? all);
}

// Other errors quote names from outside too, so only what nobody else would call so is taken for an option.
function withLongOptionNames(text: string): string {
  return text.replaceAll(
    /"(memory|[a-z]+[A-Z]\w*)"/g,
    (all, name: string) => ownEntry(optionNames, name) ?? all,
  );
}

/** For every code of the library: the exit code, and what can be done. */
const libraryCodes: Readonly<Record<ErrorCode, { readonly exitCode: number; readonly hint?: string }>> = {
  AUTHENTICATION_FAILED: {
    exitCode: exitCodes.untrusted,
    hint: "it was altered, or this is another key: do not use it",
  },
  TRUNCATED: { exitCode: exitCodes.untrusted, hint: "a part is missing: fetch or copy it again" },
  TRAILING_DATA: { exitCode: exitCodes.untrusted, hint: "a message stands alone in its file" },
  INVALID_HEADER: {
    exitCode: exitCodes.untrusted,
    hint: "this is no encrypted message, or its beginning was altered",
  },
  INVALID_METADATA: { exitCode: exitCodes.untrusted },
  INVALID_MANIFEST: { exitCode: exitCodes.untrusted },
  UNSUPPORTED: { exitCode: exitCodes.failed },
  POLICY: { exitCode: exitCodes.failed },
  LIMIT_EXCEEDED: { exitCode: exitCodes.failed, hint: "the options --max-… set what is allowed" },
  NO_DATA_KEY: {
    exitCode: exitCodes.untrusted,
    hint: "frameseal inspect shows which keys the message names",
  },
  KEY_SERVICE: { exitCode: exitCodes.failed },
  CONTEXT_MISMATCH: {
    exitCode: exitCodes.untrusted,
    hint: "frameseal inspect shows the context of the message",
  },
  NOT_ENCRYPTED: { exitCode: exitCodes.untrusted },
  RANGE_NOT_SATISFIABLE: { exitCode: exitCodes.failed },
  ENGINE_UNAVAILABLE: { exitCode: exitCodes.failed, hint: "frameseal engine shows what works here" },
  NETWORK: { exitCode: exitCodes.failed },
  NOT_DURABLE: { exitCode: exitCodes.failed },
  JOURNAL: { exitCode: exitCodes.failed },
  ABORTED: { exitCode: exitCodes.failed },
};

function ofLibrary(error: Error): Failure | undefined {
  const code = codeOf(error);
  if (!isErrorNamed(error, "FramesealError") || code === undefined || !Object.hasOwn(libraryCodes, code))
    return undefined;
  const causes = causesOf(error);
  const said = [...causes, ...metBy(code)].map(causeText);
  const host = code === "NETWORK" ? lastHost("s3") : undefined;
  if (host !== undefined && !said.some((text) => text.includes(host))) said.push(`at ${host}`);
  const more = [...new Set(said)].filter((each) => each !== "" && !error.message.includes(each));
  const because = more.length === 0 ? "" : ` (${quoted(more.slice(0, 3).join("; "))})`;
  const text = `${quoted(withLongOptionNames(error.message))}${because}`;
  // Whoever could not be asked has not said that the key is another one.
  if (code === "NO_DATA_KEY" && causes.some(couldNotAnswer)) return failed(text);
  const { exitCode, hint } = libraryCodes[code as ErrorCode];
  return { exitCode, text: hint === undefined || /: decode it/.test(text) ? text : `${text}; ${hint}` };
}

// Errors of key services have lost where they were met, since an answer may hold keys.
function metBy(code: string): Error[] {
  const met = code === "KEY_SERVICE" || code === "NO_DATA_KEY" ? lastFailure("kms") : undefined;
  return met === undefined ? [] : [met];
}

function causesOf(error: Error): Error[] {
  const { cause } = error;
  const inner = cause !== error && isError(cause) ? [cause] : [];
  return inner.flatMap((each) =>
    "errors" in each && Array.isArray(each.errors) ? each.errors.filter(isError) : [each],
  );
}

function couldNotAnswer(error: Error): boolean {
  return (
    ["KEY_SERVICE", "NETWORK"].includes(codeOf(error) ?? "") ||
    ofConnection(error) !== undefined ||
    causesOf(error).some((cause) => cause !== error && couldNotAnswer(cause))
  );
}

// Texts of classes that nobody should read are left out.
function causeText(cause: Error): string {
  const failure = ofService(cause) ?? ofConnection(cause) ?? ofSystem(cause);
  if (failure !== undefined) return failure.text;
  return isErrorNamed(cause, "FramesealError") ? quoted(cause.message) : "";
}

/** What can be done about answers of services, by the names that services give them or by status. */
const serviceHints: Readonly<Record<string, string>> = {
  "301": "the bucket is in another region: give --region",
  "400": "a HEAD tells no more: look at --region, --endpoint and --sse-c-key",
  "401": "look at the credentials",
  "403": "look at the credentials, their rights, and the policy of the bucket",
  "404": "there is no such object or bucket",
  "409": "another request changes the same object: try again",
  "412": "the object exists, or was changed meanwhile",
  "413": "the service takes no object of this size",
  "429": "the service is busy: try again later",
  "500": "the service failed: try again later",
  "501": "the service does not have this feature",
  "502": "the service failed: try again later",
  "503": "the service is busy: try again later",
  "504": "the service failed: try again later",
  ExpiredToken: "get new credentials",
  InvalidAccessKeyId: "look at the credentials",
  NoSuchBucket: "look at the name of the bucket, --region and --endpoint",
  NoSuchUpload: "it was completed or aborted meanwhile",
  RequestTimeTooSkewed: "set the clock of this machine",
  SignatureDoesNotMatch: "look at the secret access key",
};

// Errors of AWS services carry the answer's metadata; those of the SDK itself have names that explain them.
function ofService(error: Error): Failure | undefined {
  const own = ofSdk(error);
  if (own !== undefined) return failed(own);
  if (!("$metadata" in error) || typeof error.$metadata !== "object" || error.$metadata === null)
    return undefined;
  const { httpStatusCode } = error.$metadata as { readonly httpStatusCode?: unknown };
  if (typeof httpStatusCode !== "number") return undefined;
  if (error.name === "SyntaxError" || /Deserialization error/.test(error.message))
    return failed(
      `the service answered something that is not of S3 or KMS (HTTP ${httpStatusCode}): look at --endpoint`,
    );
  const isTold = error.message !== "" && error.message !== error.name && error.message !== "UnknownError";
  const name = /^(?:Unknown|UnknownError|[0-9]+)$/.test(error.name) ? "" : `${quoted(error.name)} `;
  const status = name === "" ? `HTTP ${httpStatusCode}` : `(HTTP ${httpStatusCode})`;
  const hint =
    regionHint(error) ??
    ownEntry(serviceHints, error.name) ??
    (isTold && httpStatusCode === 400 ? undefined : ownEntry(serviceHints, `${httpStatusCode}`));
  const told = isTold ? `: ${quoted(error.message)}` : "";
  return failed(`the service answered ${name}${status}${told}${hint === undefined ? "" : `; ${hint}`}`);
}

function ownEntry(table: Readonly<Record<string, string>>, name: string): string | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined;
}

// Before a request leaves.
function ofSdk(error: Error): string | undefined {
  const { name, message } = error;
  if (name === "CredentialsProviderError" || name === "TokenProviderError") {
    if (/\bsso\b/i.test(message)) return "the AWS session has expired or is missing: run aws sso login";
    if (/profile/i.test(message))
      return "no AWS credentials: the profile does not exist or has none (--profile, AWS_PROFILE)";
    return "no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give --profile";
  }
  if (/^Region is missing/.test(message)) return "no AWS region: give --region or set AWS_REGION";
  if (/^Region not accepted|^Invalid region/i.test(message))
    return "--region (or AWS_REGION) is no name of a region";
  if (codeOf(error) === "ERR_INVALID_URL")
    return "the address of a service is no URL: look at --endpoint, --kms-endpoint and AWS_ENDPOINT_URL";
  if (name === "EndpointError" || /^Invalid (?:ARN|bucket|Configuration)|^Endpoint/i.test(message))
    return "no address can be made of the bucket, the region and the endpoint: look at their names";
  if (/^Path-style addressing/.test(message))
    return "an access point has no path style: give --addressing virtual";
  if (codeOf(error) === "ERR_INVALID_CHAR")
    return "a value has characters that no header of a request can carry, such as the end of a line";
  return undefined;
}

// A bucket of another region answers with its name, which is all that a HEAD tells.
function regionHint(error: Error): string | undefined {
  const { $response } = error as { readonly $response?: { readonly headers?: Record<string, string> } };
  const region = $response?.headers?.["x-amz-bucket-region"];
  return region === undefined ? undefined : `the bucket is in region ${quoted(region)}`;
}

// What a request met on its way that never had an answer, and a body that broke off.
function ofConnection(error: Error): Failure | undefined {
  if (error.name === "FramesealError") return undefined; // the SDK marks whatever passes through it
  const code = codeOf(error);
  if (error.name === "TimeoutError" && code === undefined)
    return failed(
      /establish a connection/.test(error.message)
        ? `no connection to ${hostOf(error) ?? "the service"} in time (--connect-timeout)`
        : `no answer of ${hostOf(error) ?? "the service"} in time (--read-timeout)`,
    );
  const [first = error] =
    "errors" in error && Array.isArray(error.errors) ? error.errors.filter(isError) : [error];
  const reason = codeOf(first) ?? code;
  if (reason === undefined || !("$metadata" in error || isOfConnection(first))) return undefined;
  return failed(
    `cannot reach ${hostOf(error) ?? placeOf(first) ?? "the service"} (${quoted(reason)})${ownEntry(connectionHints, reason) ?? ""}`,
  );
}

const connectionHints: Readonly<Record<string, string>> = {
  ENOTFOUND: "; look at --endpoint and --region",
  EAI_AGAIN: "; names cannot be looked up now",
  CERT_HAS_EXPIRED: "; its certificate has expired",
  DEPTH_ZERO_SELF_SIGNED_CERT:
    "; its certificate is its own: NODE_EXTRA_CA_CERTS names a file of those to trust",
  SELF_SIGNED_CERT_IN_CHAIN:
    "; its certificate is of nobody known: NODE_EXTRA_CA_CERTS names a file of those to trust",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    "; its certificate is of nobody known: NODE_EXTRA_CA_CERTS names a file of those to trust",
  ERR_TLS_CERT_ALTNAME_INVALID: "; its certificate has another name",
  ERR_SSL_WRONG_VERSION_NUMBER: "; it does not speak TLS: is the address one of http?",
  EPROTO: "; it does not speak TLS: is the address one of http?",
  HPE_INVALID_CONSTANT: "; it does not speak HTTP",
};

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

function placeOf(error: Error): string | undefined {
  const { address, hostname, host, port } = error as Readonly<Record<string, unknown>> & Error;
  const name = address ?? hostname ?? host;
  if (name === undefined) return undefined;
  const text = quoted(`${name}`);
  return port === undefined ? text : `${text.includes(":") ? `[${text}]` : text}:${port}`;
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
  EBADF: "standard input or output is closed",
  ENXIO: "there is no such device, or nobody reads the pipe",
  ETXTBSY: "the file is a program that runs",
  EBUSY: "is in use",
  EXDEV: "is on another file system",
  EAGAIN: "has nothing to give at the moment",
  ENOMEM: "not enough memory",
};

// Errors of system calls have their names and numbers; the library makes some in the same shape.
function ofSystem(error: Error): Failure | undefined {
  const code = codeOf(error);
  if (code === undefined || !("syscall" in error || "errno" in error)) return undefined;
  if (code === "EPIPE") return { exitCode: exitCodes.closedPipe, text: "the reader of the output has ended" };
  const path = "path" in error && typeof error.path === "string" ? error.path : undefined;
  const place = path === undefined ? "" : `${shown(path)}: `;
  // What the library says in the system's shape says more than the code does.
  const own = `${code}: '${path}' `;
  if (error.message.startsWith(own)) {
    const text = quoted(error.message.slice(own.length));
    if (text.startsWith(UNCHANGED)) {
      const why = systemText(error, code) ?? text.slice(UNCHANGED.length);
      return failed(`${place}${why}; nothing was changed`);
    }
    return failed(`${place}${text}${text === "exists already" ? "; --force replaces it" : ""}`);
  }
  const text = systemText(error, code) ?? `${systemName(error) ?? "the system refused"} (${quoted(code)})`;
  const hint =
    code === "ENOENT" && path?.includes("\ufffd") ? "; names that are not UTF-8 cannot be given" : "";
  return failed(`${place}${text}${hint}`);
}

/** How the library begins when a file was to be made, and is as it was. */
const UNCHANGED = "was not changed: ";

function systemText(error: Error, code: string): string | undefined {
  return ownEntry(systemTexts, code) ?? ownEntry(systemTexts, namedByNumber(error));
}

// Node has no name for some of the system's errors, such as EDQUOT, but their number.
function namedByNumber(error: Error): string {
  const number = "errno" in error && typeof error.errno === "number" ? -error.errno : undefined;
  return Object.entries(constants.errno).find(([, each]) => each === number)?.[0] ?? "";
}

function systemName(error: Error): string | undefined {
  const { errno } = error as { readonly errno?: unknown };
  return typeof errno === "number" ? getSystemErrorMap().get(errno)?.[1] : undefined;
}

// Of Node itself.
function ofNode(error: Error): Failure | undefined {
  const text = ownEntry(nodeTexts, codeOf(error) ?? "");
  if (text !== undefined) return failed(text);
  return error.name === "RangeError" && /allocation failed|Invalid typed array length/.test(error.message)
    ? failed("not enough memory")
    : undefined;
}

const nodeTexts: Readonly<Record<string, string>> = {
  ERR_STREAM_PREMATURE_CLOSE: "the input or the connection was closed before its end",
  ERR_MEMORY_ALLOCATION_FAILED: "not enough memory",
  ERR_BUFFER_TOO_LARGE: "the input is too long to be held in memory",
  ERR_FS_FILE_TOO_LARGE: "the file is too long to be held in memory",
  ERR_STRING_TOO_LONG: "the file is too long to be held in memory",
  ERR_WORKER_OUT_OF_MEMORY: "not enough memory",
  MODULE_NOT_FOUND: "a file of this program, or of a package that it needs, cannot be loaded",
  ERR_MODULE_NOT_FOUND: "a file of this program, or of a package that it needs, cannot be loaded",
};
