// The last check before a request leaves: behind all middleware of the user, on every attempt. What leaves under a request
// of ours is what was sealed, at the place it was sealed for; and keys of SSE-C go over https only.
import { crc32 } from "node:zlib";
import { FramesealError } from "../errors.ts";
import { isBytes } from "../shapes.ts";
import { ENCRYPTION_MIDDLEWARE, middlewareNames } from "./derived-client.ts";
import { checkKeyTransport } from "./key-transport.ts";
import { USER_METADATA_PREFIX } from "./object-metadata.ts";
import type { CommandContext, HttpRequest, LastStep, MiddlewareStack } from "./sdk-client.ts";

/** Requests that carry sealed bytes. */
const SEALED: ReadonlySet<string> = new Set(["PutObject", "UploadPart"]);
/** Requests whose metadata become those of an object. lib-storage puts them on others too, where nobody reads them. */
const DESCRIBING: ReadonlySet<string> = new Set(["PutObject", "CreateMultipartUpload", "CopyObject"]);
/** Requests that make an object, at the place that it was sealed for. */
const MAKING: ReadonlySet<string> = new Set([
  ...SEALED,
  "CreateMultipartUpload",
  "CompleteMultipartUpload",
  "CopyObject",
  "UploadPartCopy",
]);

/** The last check of the requests of one send. Nothing leaves before `expect` or `pass`. */
export class LastCheck {
  readonly #ownsMetadata: (name: string) => boolean;
  #expected: Expected | "anything" | undefined;
  #hasForeign: () => boolean = () => true;

  /** @param ownsMetadata which metadata must leave as it was given: the envelope, which a reader needs */
  constructor(ownsMetadata: (name: string) => boolean) {
    this.#ownsMetadata = ownsMetadata;
  }

  /**
   * Says what is about to be sent.
   * @param name the SDK's name of the command without `Command`
   * @param input that of the request as this package makes it, with the sealed bytes as `Body` if it has any
   */
  expect(name: string, input: Readonly<Record<string, unknown>>): void {
    const body = SEALED.has(name) ? input.Body : undefined;
    const isStream = typeof (body as { pipe?: unknown } | undefined)?.pipe === "function";
    if (SEALED.has(name) && !isBytes(body) && !isStream)
      throw new Error("internal error: a sealed body is bytes or a stream of them");
    const isSummed = isBytes(body) && (body.length <= ALWAYS_SUMMED || this.#hasForeign());
    const metadata = DESCRIBING.has(name)
      ? Object.entries((input.Metadata ?? {}) as Record<string, unknown>)
      : [];
    this.#expected = {
      name,
      input,
      body: body as Expected["body"],
      checksum: isSummed ? crc32(body) : undefined,
      metadata: metadata.filter(([name]) => this.#ownsMetadata(name)),
      place: MAKING.has(name) ? "checked" : "any",
    };
  }

  /** Lets a request leave as it is, which carries nothing of an object. */
  pass(): void {
    this.#expected = "anything";
  }

  /** The last step with this check before it. */
  guard(step: LastStep, context: CommandContext, stack: MiddlewareStack): LastStep {
    let hasForeign: boolean | undefined;
    this.#hasForeign = () => {
      hasForeign ??= !middlewareNames(stack).every((name) => KNOWN_MIDDLEWARE.has(name));
      return hasForeign;
    };
    return async (args) => {
      const request = (args.request ?? {}) as HttpRequest;
      checkKeyTransport(request);
      if (this.#expected === undefined) throw refusal("it did not pass through the encryption");
      if (this.#expected !== "anything") checkRequest(request, this.#expected, context, this.#hasForeign);
      return step(args);
    };
  }
}

interface Expected {
  readonly name: string;
  readonly input: Readonly<Record<string, unknown>>;
  /** A stream is a part that waited on disk. */
  readonly body: Uint8Array | object | undefined;
  /** Of the bytes as they were sealed; undefined where nobody could have changed them in place. */
  readonly checksum: number | undefined;
  readonly metadata: readonly (readonly [string, unknown])[];
  readonly place: "checked" | "any";
}

/** Bytes of a body that are summed whatever middleware there is. */
const ALWAYS_SUMMED = 64 * 1024;

function checkRequest(
  request: HttpRequest,
  expected: Expected,
  context: CommandContext,
  hasForeign: () => boolean,
): void {
  checkBody(request, expected, hasForeign);
  if (expected.place === "checked") checkPlace(request, expected, context);
  for (const [name, value] of expected.metadata)
    if (headerOf(request.headers, `${USER_METADATA_PREFIX}${name}`.toLowerCase()) !== value)
      throw refusal(`middleware changed its metadata ${name}, without which the object cannot be opened`);
}

function checkBody({ body, headers }: HttpRequest, expected: Expected, hasForeign: () => boolean): void {
  if (expected.body === undefined) {
    if (body === undefined || body === null || typeof body === "string") return;
    if (isBytes(body) && body.length === 0) return;
    throw refusal("middleware gave it a body that is not encrypted");
  }
  if (!isBytes(expected.body)) {
    // The SDK wraps streams to put checksums behind them: only it may.
    if (body === expected.body || !hasForeign()) return;
    throw refusal("middleware replaced its encrypted body");
  }
  const { length } = expected.body;
  if (!isBytes(body) || body.length !== length) throw refusal("middleware replaced its encrypted body");
  if (body !== expected.body && Buffer.compare(body, expected.body) !== 0)
    throw refusal("middleware replaced its encrypted body");
  if (expected.checksum !== undefined && crc32(body) !== expected.checksum)
    throw refusal("middleware changed its encrypted body");
  const told = headerOf(headers, "content-length");
  if (told !== undefined && Number(told) !== length) throw refusal("middleware changed its length");
}

// The key is compared, and with it the bucket where it is in the path. A request that goes to another host than the SDK
// resolved goes through somebody's gateway, which may have paths of its own in front.
function checkPlace(
  { hostname, path, query }: HttpRequest,
  { name, input }: Expected,
  context: CommandContext,
): void {
  const { Key, UploadId, PartNumber } = input;
  const url = (context.endpointV2 as { readonly url?: URL } | undefined)?.url;
  const base = (url?.pathname ?? "").replace(/\/$/, "");
  const place = decoded(path ?? "");
  const isThere =
    url !== undefined && url.hostname === hostname
      ? place === `${decoded(base)}/${Key}`
      : place.endsWith(`/${Key}`);
  if (!isThere) throw refusal("middleware sends it to another object than it was made for");
  const isPart = name === "UploadPart" || name === "UploadPartCopy";
  const uploadId = isPart || name === "CompleteMultipartUpload" ? UploadId : undefined;
  const partNumber = isPart ? PartNumber : undefined;
  for (const [field, value] of Object.entries({ uploadId, partNumber }))
    if (String(query?.[field]) !== String(value)) throw refusal(`middleware changed its ${field}`);
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return "";
  }
}

function headerOf(headers: HttpRequest["headers"] = {}, name: string): string | undefined {
  if (headers[name] !== undefined) return headers[name];
  return Object.entries(headers).find(([header]) => header.toLowerCase() === name)?.[1];
}

function refusal(what: string): FramesealError {
  return new FramesealError("POLICY", `the request is refused before it leaves: ${what}`);
}

/** Middleware of the SDK and of this package, which does not change bodies in place. Others may. */
const KNOWN_MIDDLEWARE = new Set([
  ENCRYPTION_MIDDLEWARE,
  "framesealServerSide",
  "framesealTransport",
  "framesealUnsignedPayload",
  "framesealKeyTransport",
  "framesealAccess",
  "framesealAttempts",
  "framesealHosts",
  "loggerMiddleware",
  "validateBucketNameMiddleware",
  "regionRedirectMiddleware",
  "ssecMiddleware",
  "httpAuthSchemeMiddleware",
  "regionRedirectEndpointMiddleware",
  "endpointV2Middleware",
  "bucketEndpointMiddleware",
  "flexibleChecksumsInputMiddleware",
  "serializerMiddleware",
  "contentLengthMiddleware",
  "addExpectContinueMiddleware",
  "s3ExpressMiddleware",
  "s3ExpressHttpSigningMiddleware",
  "flexibleChecksumsMiddleware",
  "getUserAgentMiddleware",
  "hostHeaderMiddleware",
  "recursionDetectionMiddleware",
  "retryMiddleware",
  "httpSigningMiddleware",
  "getCheckContentLengthHeaderPlugin",
  "deserializerMiddleware",
  "throw200ExceptionsMiddleware",
  "flexibleChecksumsResponseMiddleware",
  "s3ExpiresMiddleware",
]);
