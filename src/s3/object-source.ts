// Reads of one stored object, pinned to the version that was seen first, so that parts of two versions never mix.
import type { Readable } from "node:stream";
import { FramesealError, hasCode, isFramesealError, notAuthentic } from "../errors.ts";
import { isError, isErrorNamed, isReadable, isWebReadable } from "../shapes.ts";
import { pinnableETag, sameETag } from "./etag.ts";
import { preconditionFailed } from "./head-error.ts";
import { readableFromWeb } from "./object-body.ts";
import type { ObjectLocation, ObjectSource } from "./object-format.ts";
import { normalizeMetadata } from "./object-metadata.ts";
import { repeatFields } from "./request-fields.ts";
import {
  brokenOff,
  giveUp,
  isChecksumError,
  type OpenLeg,
  type ReadSettings,
  ResumingSource,
  readSettings,
} from "./resuming-source.ts";
import { statusOf } from "./transient-error.ts";
import type { GetObjectInput, GetObjectOutput, Transport } from "./transport.ts";

/** What the first answer told about the object, and every further one must tell again. */
export interface ObjectPin {
  readonly eTag: string | undefined;
  readonly versionId: string | undefined;
  readonly lastModified?: Date | undefined;
  /** Stored bytes of the whole object. */
  readonly size?: number | undefined;
}

/** An `ObjectSource` that also takes over bodies that have arrived. */
export interface PinnedSource extends ObjectSource {
  /** The bytes from `start` to `end`, of which `body` is the answer to the first request. */
  adopt(body: Readable, start: number, end: number): ResumingSource;
}

/**
 * Reads `location` through `transport`, with one connection at a time: a body that is not being read is given up when
 * another request is made.
 * @param request the caller's GetObject or HeadObject: what it says about payer, owner and SSE-C key is said again
 */
export function createObjectSource(
  transport: Transport,
  location: ObjectLocation,
  pin: ObjectPin,
  request: GetObjectInput,
  settings: ReadSettings = readSettings({}),
): PinnedSource {
  const { signal } = transport;
  const target = { ...repeatFields(request, "GetObject"), Bucket: location.bucket, Key: location.key };
  const open = openerOf(transport, target, pin, request.VersionId);
  let current: ResumingSource | undefined;
  const stream = async (start: number, end: number): Promise<Readable> => {
    await current?.release();
    current = resuming(start, end, undefined);
    return current.opened();
  };
  const resuming = (start: number, end: number, first: Readable | undefined): ResumingSource =>
    new ResumingSource({ start, end, first, open: isPinned(pin) ? open : undefined, settings, signal });
  return {
    adopt(body, start, end) {
      current = resuming(start, end, body);
      return current;
    },
    stream,
    async read(start, end) {
      return collectExactly(await stream(start, end), end - start);
    },
    async fetchSideObject(key, maxLength) {
      await current?.release();
      const side = { Bucket: location.bucket, Key: key };
      const answer = await getSideObject(transport, side, request);
      if (answer === undefined) return undefined;
      const { output, input } = answer;
      const body = bodyOf(output);
      const { ContentLength: size } = output;
      if (size === undefined || size > maxLength) {
        giveUp(body);
        throw new FramesealError("LIMIT_EXCEEDED", `side object is longer than ${maxLength} bytes`);
      }
      const sidePin = pinOf(output, size, undefined);
      const open = isPinned(sidePin) ? openerOf(transport, input, sidePin, undefined) : undefined;
      const source = new ResumingSource({ start: 0, end: size, first: body, open, settings, signal });
      return { metadata: normalizeMetadata(output.Metadata), body: await collectExactly(source, size) };
    },
  };
}

/** What an answer tells about the version of the object. */
export function pinOf(
  output: Pick<GetObjectOutput, "ETag" | "VersionId" | "LastModified">,
  size: number,
  versionId: string | undefined,
): ObjectPin {
  return {
    eTag: output.ETag,
    versionId: versionId ?? output.VersionId,
    lastModified: output.LastModified,
    size,
  };
}

// The key of SSE-C first: what stands next to an object is stored as the object is. Other clients stored it without, and
// S3 refuses a key where none is needed.
async function getSideObject(
  transport: Transport,
  side: GetObjectInput,
  request: GetObjectInput,
): Promise<{ output: GetObjectOutput; input: GetObjectInput } | undefined> {
  const { RequestPayer, ExpectedBucketOwner } = request;
  const keyless = { ...side, RequestPayer, ExpectedBucketOwner };
  const keyed = { ...side, ...repeatFields(request, "SideObject") };
  try {
    const input = request.SSECustomerKey === undefined ? keyless : keyed;
    const output = await transport.getObject(input).catch((error: unknown) => {
      if (input === keyed && statusOf(error) === 400) return undefined;
      throw error;
    });
    if (output !== undefined) return { output, input };
    return { output: await transport.getObject(keyless), input: keyless };
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

function isPinned({ eTag, versionId, lastModified }: ObjectPin): boolean {
  return eTag !== undefined || versionId !== undefined || lastModified !== undefined;
}

/** Opens ranges of `target`, of the version that `pin` tells. */
function openerOf(
  transport: Transport,
  target: GetObjectInput,
  pin: ObjectPin,
  askedVersion: string | undefined,
): OpenLeg {
  const IfMatch = pinnableETag(pin.eTag);
  let VersionId = askedVersion ?? pin.versionId;
  const get = async (Range: string, signal: AbortSignal): Promise<GetObjectOutput> => {
    const sender = transport.withSignal(signal);
    try {
      return await sender.getObject({ ...target, Range, IfMatch, VersionId });
    } catch (error) {
      // Naming a version takes a permission of its own, which the first request did not need.
      if (!isForbidden(error) || VersionId === askedVersion || IfMatch === undefined) throw error;
      VersionId = askedVersion;
      return sender.getObject({ ...target, Range, IfMatch, VersionId });
    }
  };
  return async (start, end, signal) => {
    const output = await get(`bytes=${start}-${end - 1}`, signal).catch((error: unknown) => {
      if (isPreconditionFailed(error) || isNotFound(error) || isInvalidRange(error)) throw replaced(error);
      throw error;
    });
    const body = bodyOf(output);
    const got = parseContentRange(output.ContentRange);
    const isAsked = got !== undefined && got.start === start && got.end <= end && got.end > start;
    // Some servers ignore conditions, and weak tags cannot be sent as one: so every answer is compared, too.
    const isOther =
      (isAsked && pin.size !== undefined && got.size !== pin.size) ||
      !isSame(output, pin, IfMatch ?? VersionId);
    if (isAsked && !isOther) return body;
    giveUp(body);
    if (isOther) throw replaced(undefined);
    if (output.ContentRange === undefined) throw ignoresRanges();
    return undefined;
  };
}

/** The error for a server that does not do what it must for anything but whole objects. */
export function ignoresRanges(): FramesealError {
  return new FramesealError("UNSUPPORTED", "server answers the whole object when it is asked for a range");
}

function isSame(output: GetObjectOutput, pin: ObjectPin, asked: string | undefined): boolean {
  if (pin.eTag !== undefined && output.ETag !== undefined) return sameETag(pin.eTag, output.ETag);
  if (pin.versionId !== undefined && output.VersionId !== undefined)
    return pin.versionId === output.VersionId;
  if (asked !== undefined) return true;
  if (pin.lastModified !== undefined) return pin.lastModified.getTime() === output.LastModified?.getTime();
  return !isPinned(pin);
}

function replaced(cause: unknown): Error {
  return preconditionFailed("the object was replaced or deleted while it was read: read it again", cause);
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

/** The error for a body that failed, or that ended too early when `cause` is undefined. */
export function bodyFailure(cause: unknown): Error {
  if (cause === undefined)
    return new FramesealError("TRUNCATED", "the body is shorter than the object says that it is");
  // What S3 answered to a further request says more than we could.
  if (isFramesealError(cause) || (isError(cause) && statusOf(cause) !== undefined)) return cause;
  return isChecksumError(cause) ? notAuthentic({ cause }) : brokenOff(cause);
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
  return statusOf(error) === 404 || isErrorNamed(error, "NoSuchKey", "NotFound");
}

/** True for "you may not": what S3 also says of a missing object to those who may not list the bucket. */
export function isForbidden(error: unknown): boolean {
  return statusOf(error) === 403;
}

/** True for "the range lies outside the object". */
export function isInvalidRange(error: unknown): boolean {
  return (
    statusOf(error) === 416 || isErrorNamed(error, "InvalidRange") || hasCode(error, "RANGE_NOT_SATISFIABLE")
  );
}

function isPreconditionFailed(error: unknown): boolean {
  return statusOf(error) === 412 || isErrorNamed(error, "PreconditionFailed");
}
