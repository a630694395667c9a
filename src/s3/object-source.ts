// Reads of one stored object, pinned to the version that was seen first, so that parts of two versions never mix.
import { Readable } from "node:stream";
import { FramesealError, hasCode, isFramesealError } from "../errors.ts";
import { isError, isErrorNamed, isReadable, isWebReadable } from "../shapes.ts";
import { readableFromWeb } from "./object-body.ts";
import type { ObjectLocation, ObjectSource } from "./object-format.ts";
import { normalizeMetadata } from "./object-metadata.ts";
import type { GetObjectInput, GetObjectOutput, Transport } from "./transport.ts";

/** What pins the reads of an object. */
export interface ObjectPin {
  readonly eTag: string | undefined;
  readonly versionId: string | undefined;
}

/**
 * Reads `location` through `transport`.
 * @param request the caller's GetObject or HeadObject: what it says about payer, owner and SSE-C key is said again
 */
export function createObjectSource(
  transport: Transport,
  location: ObjectLocation,
  pin: ObjectPin,
  request: GetObjectInput,
): ObjectSource {
  const common = { Bucket: location.bucket, ...accessOf(request) };
  const stream = async (start: number, end: number): Promise<Readable> => {
    if (end <= start) return Readable.from([], { objectMode: false });
    const output = await transport.getObject({
      ...common,
      Key: location.key,
      Range: `bytes=${start}-${end - 1}`,
      IfMatch: pin.eTag,
      VersionId: pin.versionId ?? request.VersionId,
    });
    const body = bodyOf(output);
    const got = parseContentRange(output.ContentRange);
    if (got === undefined || got.start !== start || got.end !== end) {
      body.destroy();
      throw new FramesealError("TRUNCATED", "server answered with another range than was asked for");
    }
    return body;
  };
  return {
    stream,
    async read(start, end) {
      return collectExactly(await stream(start, end), end - start);
    },
    async fetchSideObject(key, maxLength) {
      let output: GetObjectOutput;
      try {
        output = await getSideObject(transport, { ...common, Key: key });
      } catch (error) {
        if (isNotFound(error)) return undefined;
        throw error;
      }
      const body = bodyOf(output);
      if (output.ContentLength === undefined || output.ContentLength > maxLength) {
        body.destroy();
        throw new FramesealError("LIMIT_EXCEEDED", `side object is longer than ${maxLength} bytes`);
      }
      return {
        metadata: normalizeMetadata(output.Metadata),
        body: await collectExactly(body, output.ContentLength),
      };
    },
  };
}

// With the SSE-C key of the object, as it is written; S3 refuses that for one which was stored without.
async function getSideObject(transport: Transport, request: GetObjectInput): Promise<GetObjectOutput> {
  try {
    return await transport.getObject(request);
  } catch (error) {
    const { SSECustomerAlgorithm, SSECustomerKey, SSECustomerKeyMD5, ...rest } = request;
    if (SSECustomerKey === undefined || statusOf(error) !== 400) throw error;
    return transport.getObject(rest);
  }
}

/** Fields of a request that every further request for the same object must repeat. */
export function accessOf(request: GetObjectInput): GetObjectInput {
  const names = [
    "RequestPayer",
    "ExpectedBucketOwner",
    "SSECustomerAlgorithm",
    "SSECustomerKey",
    "SSECustomerKeyMD5",
  ] as const;
  const access: Record<string, unknown> = {};
  for (const name of names) if (request[name] !== undefined) access[name] = request[name];
  return access as GetObjectInput;
}

/** The body of an answer as a Readable. */
export function bodyOf(output: GetObjectOutput): Readable {
  const body: unknown = output.Body;
  if (isReadable(body)) return body;
  if (isWebReadable(body)) return readableFromWeb(body);
  throw new FramesealError("UNSUPPORTED", "the body of the answer is not a stream");
}

/**
 * Collects a stream of known length.
 * @throws FramesealError TRUNCATED, TRAILING_DATA
 */
export async function collectExactly(stream: Readable, length: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let got = 0;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      got += chunk.length;
      if (got > length) throw new FramesealError("TRAILING_DATA", "server sent more bytes than it announced");
      parts.push(chunk);
    }
  } catch (error) {
    throw bodyFailure(error);
  }
  if (got < length) throw bodyFailure(undefined);
  return Buffer.concat(parts, length);
}

/** The typed error for a body that broke off or does not match its checksum. */
export function bodyFailure(cause: unknown): FramesealError {
  if (isFramesealError(cause)) return cause;
  if (isError(cause) && /checksum/i.test(cause.message))
    return new FramesealError("AUTHENTICATION_FAILED", "message is not authentic", { cause });
  return new FramesealError("TRUNCATED", "the body broke off before its end", { cause });
}

/** Parses `bytes 0-9/100` into start, end (exclusive) and size. */
export function parseContentRange(
  value: string | undefined,
): { start: number; end: number; size: number } | undefined {
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/.exec(value ?? "");
  if (match === null) return undefined;
  return { start: Number(match[1]), end: Number(match[2]) + 1, size: Number(match[3]) };
}

/** True for "there is no such object". */
export function isNotFound(error: unknown): boolean {
  return statusOf(error) === 404 || hasName(error, "NoSuchKey") || hasName(error, "NotFound");
}

/** True for "you may not": what S3 also says of a missing object to those who may not list the bucket. */
export function isForbidden(error: unknown): boolean {
  return statusOf(error) === 403;
}

/** True for "the range lies outside the object". */
export function isInvalidRange(error: unknown): boolean {
  return statusOf(error) === 416 || hasName(error, "InvalidRange") || hasCode(error, "RANGE_NOT_SATISFIABLE");
}

function statusOf(error: unknown): number | undefined {
  const metadata = (error as { $metadata?: { httpStatusCode?: number } } | undefined)?.$metadata;
  return metadata?.httpStatusCode;
}

function hasName(error: unknown, name: string): boolean {
  return isErrorNamed(error, name);
}
