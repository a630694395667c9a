// AWS Signature Version 4 as S3 checks it: in the Authorization header, in the query of a presigned URL, and chained
// through the chunks of a streamed body.
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { S3Error } from "./s3-error.ts";

const ALGORITHM = "AWS4-HMAC-SHA256";
const MAX_SKEW_MS = 15 * 60_000;
const MAX_PRESIGNED_SECONDS = 7 * 86_400;
const EMPTY_DIGEST = createHash("sha256").digest("hex");

/** Who may sign, and for which region. */
export interface Signers {
  readonly region: string;
  /** Access key id -> secret. */
  readonly secrets: ReadonlyMap<string, string>;
}

/** A verified signature, from which those of the chunks of the body go on. */
export class Signature {
  /** `x-amz-content-sha256`, or UNSIGNED-PAYLOAD for presigned requests. */
  readonly payload: string;
  readonly #signingKey: Buffer;
  readonly #date: string;
  readonly #scope: string;
  #previous: string;

  constructor(payload: string, signingKey: Buffer, date: string, scope: string, seed: string) {
    this.payload = payload;
    this.#signingKey = signingKey;
    this.#date = date;
    this.#scope = scope;
    this.#previous = seed;
  }

  /** Checks the signature of the next chunk. @throws S3Error SignatureDoesNotMatch */
  checkChunk(chunk: Uint8Array, signature: string): void {
    const digest = createHash("sha256").update(chunk).digest("hex");
    this.#checkNext("AWS4-HMAC-SHA256-PAYLOAD", `${EMPTY_DIGEST}\n${digest}`, signature);
  }
  /** Checks the signature of the trailing headers, given as `name:value\n` each. */
  checkTrailers(text: string, signature: string): void {
    this.#checkNext("AWS4-HMAC-SHA256-TRAILER", createHash("sha256").update(text).digest("hex"), signature);
  }
  #checkNext(kind: string, rest: string, signature: string): void {
    const text = [kind, this.#date, this.#scope, this.#previous, rest].join("\n");
    checkEqual(createHmac("sha256", this.#signingKey).update(text).digest("hex"), signature);
    this.#previous = signature;
  }
}

/**
 * Verifies the signature of a request.
 * @throws S3Error AccessDenied, InvalidAccessKeyId, SignatureDoesNotMatch, RequestTimeTooSkewed and others
 */
export function verifySignature(request: IncomingMessage, signers: Signers): Signature {
  const [path = "/", queryText = ""] = (request.url ?? "/").split("?", 2);
  const query = queryText
    .split("&")
    .filter((pair) => pair !== "")
    .map((pair) => {
      const [name = "", value = ""] = pair.split("=", 2);
      return [decodeURIComponent(name), decodeURIComponent(value)] as const;
    });
  const parameter = (name: string): string | undefined => query.find(([found]) => found === name)?.[1];
  const isPresigned = parameter("X-Amz-Signature") !== undefined;
  const claim = isPresigned
    ? presignedClaim(parameter)
    : headerClaim(request.headers.authorization, request.headers);
  const [accessKeyId = "", day = "", region = "", service = "", end = ""] = claim.credential.split("/");
  if (region !== signers.region || service !== "s3" || end !== "aws4_request" || !claim.date.startsWith(day))
    throw new S3Error(400, "AuthorizationHeaderMalformed", "credential scope");
  const secret = signers.secrets.get(accessKeyId);
  if (secret === undefined) throw new S3Error(403, "InvalidAccessKeyId");
  checkSignedHeaders(request.headers, claim.signedHeaders);
  const canonical = [
    request.method,
    path
      .split("/")
      .map((segment) => encode(decodeURIComponent(segment)))
      .join("/"),
    query
      .filter(([name]) => name !== "X-Amz-Signature")
      .map(([name, value]) => `${encode(name)}=${encode(value)}`)
      .sort()
      .join("&"),
    ...claim.signedHeaders.map((name) => `${name}:${headerValue(request.headers[name])}`),
    "",
    claim.signedHeaders.join(";"),
    claim.payload,
  ].join("\n");
  const scope = `${day}/${region}/${service}/${end}`;
  const digest = createHash("sha256").update(canonical).digest("hex");
  const signingKey = [day, region, service, end].reduce<Buffer | string>(
    (key, part) => createHmac("sha256", key).update(part).digest(),
    `AWS4${secret}`,
  ) as Buffer;
  const text = [ALGORITHM, claim.date, scope, digest].join("\n");
  checkEqual(createHmac("sha256", signingKey).update(text).digest("hex"), claim.signature);
  return new Signature(claim.payload, signingKey, claim.date, scope, claim.signature);
}

interface Claim {
  readonly credential: string;
  /** `20260131T235959Z`. */
  readonly date: string;
  readonly signedHeaders: readonly string[];
  readonly signature: string;
  readonly payload: string;
}

function headerClaim(authorization: string | undefined, headers: IncomingMessage["headers"]): Claim {
  if (authorization === undefined) throw new S3Error(403, "AccessDenied", "anonymous");
  const match =
    /^AWS4-HMAC-SHA256 Credential=([^,]+), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(
      authorization,
    );
  const [, credential = "", signed = "", signature = ""] = match ?? [];
  const date = String(headers["x-amz-date"] ?? "");
  const payload = headers["x-amz-content-sha256"];
  if (match === null) throw new S3Error(400, "AuthorizationHeaderMalformed");
  if (typeof payload !== "string")
    throw new S3Error(400, "MissingSecurityHeader", "x-amz-content-sha256 is missing");
  if (Math.abs(Date.now() - timeOf(date)) > MAX_SKEW_MS) throw new S3Error(403, "RequestTimeTooSkewed");
  return { credential, date, signedHeaders: signed.split(";"), signature, payload };
}

function presignedClaim(parameter: (name: string) => string | undefined): Claim {
  const need = (name: string): string => {
    const value = parameter(`X-Amz-${name}`);
    if (value === undefined) throw new S3Error(400, "AuthorizationQueryParametersError", name);
    return value;
  };
  const date = need("Date");
  const expires = Number(need("Expires"));
  if (need("Algorithm") !== ALGORITHM || !(expires >= 1 && expires <= MAX_PRESIGNED_SECONDS))
    throw new S3Error(400, "AuthorizationQueryParametersError");
  const age = Date.now() - timeOf(date);
  if (age < -MAX_SKEW_MS) throw new S3Error(403, "AccessDenied", "Request is not valid yet");
  if (age > expires * 1000) throw new S3Error(403, "AccessDenied", "Request has expired");
  return {
    credential: need("Credential"),
    date,
    signedHeaders: need("SignedHeaders").split(";"),
    signature: need("Signature"),
    payload: parameter("X-Amz-Content-Sha256") ?? "UNSIGNED-PAYLOAD",
  };
}

function checkSignedHeaders(headers: IncomingMessage["headers"], signed: readonly string[]): void {
  const isSorted = signed.every((name, index) => index === 0 || (signed[index - 1] ?? "") < name);
  if (!isSorted || !signed.includes("host")) throw new S3Error(400, "AuthorizationHeaderMalformed");
  const unsigned = Object.keys(headers).filter((name) => name.startsWith("x-amz-") && !signed.includes(name));
  // The payload of a presigned request may be named in a header that is not signed.
  if (unsigned.some((name) => name !== "x-amz-content-sha256"))
    throw new S3Error(
      403,
      "AccessDenied",
      `There were headers present in the request which were not signed: ${unsigned.join(", ")}`,
    );
}

function timeOf(date: string): number {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(date);
  if (match === null) throw new S3Error(403, "AccessDenied", "x-amz-date");
  const [, year, month, day, hour, minute, second] = match.map(Number);
  return Date.UTC(year ?? 0, (month ?? 0) - 1, day, hour, minute, second);
}

function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function headerValue(value: string | string[] | undefined): string {
  return (Array.isArray(value) ? value.join(",") : (value ?? "")).trim().replace(/ +/g, " ");
}

function checkEqual(expected: string, given: string): void {
  if (expected.length !== given.length || !timingSafeEqual(Buffer.from(expected), Buffer.from(given)))
    throw new S3Error(403, "SignatureDoesNotMatch");
}
