// GetObject: the format is recognised, ranges of plaintext become ranges of stored bytes, and lengths in the answer are
// those of the plaintext.
import type { Readable } from "node:stream";
import { FramesealError } from "../../errors.ts";
import { fromStoredEncoding } from "../content-encoding.ts";
import { endedBy } from "../ended-by.ts";
import type { Formats } from "../formats.ts";
import { toSdkBody } from "../object-body.ts";
import type { ObjectFormat, ObjectLocation, ObjectMetadata, StoredObject } from "../object-format.ts";
import { normalizeMetadata } from "../object-metadata.ts";
import {
  bodyOf,
  collectExactly,
  createObjectSource,
  ignoresRanges,
  isInvalidRange,
  type PinnedSource,
  parseContentRange,
  pinOf,
} from "../object-source.ts";
import { parseRange } from "../requested-range.ts";
import { giveUp } from "../resuming-source.ts";
import { HEAD_LENGTH } from "../stored-bytes.ts";
import type { GetObjectInput, GetObjectOutput, Next, Transport } from "../transport.ts";

/** Sends the caller's request with some fields changed. */
export type Send = (fields: Record<string, unknown>) => ReturnType<Next>;

/** Answers GetObject. */
export async function getObject(
  input: GetObjectInput,
  location: ObjectLocation,
  formats: Formats,
  transport: Transport,
  send: Send,
): ReturnType<Next> {
  refusePartNumber(input.PartNumber);
  if (input.Range === undefined) {
    const result = await send({});
    const output = result.output as unknown as GetObjectOutput;
    const arrived = bodyOf(output);
    const object = storedObject(output, output.ContentLength, location, input, formats, transport, arrived);
    const body = object.source.adopt(arrived, 0, object.storedLength);
    try {
      const format = await formats.recognise(object);
      const opened = await format.openWhole(object, body);
      const fields = {
        ContentLength: opened.plaintextLength,
        ContentEncoding: encodingOf(output, object, input),
        Body: toSdkBody(endedBy(opened.body, transport.signal)),
        Metadata: visibleMetadata(object.metadata, formats.all),
      };
      return { ...result, output: { ...result.output, ...fields } };
    } catch (error) {
      body.destroy();
      throw error;
    }
  }
  const range = parseRange(input.Range);
  const result = await send({ Range: `bytes=0-${HEAD_LENGTH - 1}` }).catch((error: unknown) => {
    // Encrypted objects are never empty.
    if (isInvalidRange(error))
      throw new FramesealError("NOT_ENCRYPTED", "object is empty, so it is not encrypted", { cause: error });
    throw error;
  });
  const output = result.output as unknown as GetObjectOutput;
  const body = bodyOf(output);
  const got = parseContentRange(output.ContentRange);
  const length = Math.min(HEAD_LENGTH, got?.size ?? 0);
  if (got === undefined || got.start !== 0 || got.end > length) {
    giveUp(body);
    if (output.ContentRange === undefined) throw ignoresRanges();
    throw new FramesealError("NETWORK", "server answered with another range than was asked for");
  }
  const object = storedObject(output, got.size, location, input, formats, transport, body);
  const head = await collectExactly(object.source.adopt(body, 0, length), length);
  const format = await formats.recognise(object);
  const opened = await format.openRange(object, range, head);
  const { start, end, plaintextLength } = opened;
  try {
    formats.told.verify({ location, eTag: output.ETag, storedLength: got.size }, plaintextLength);
  } catch (error) {
    opened.body.destroy();
    throw error;
  }
  const fields = {
    ContentLength: end - start,
    ContentRange: `bytes ${start}-${end - 1}/${plaintextLength}`,
    ContentEncoding: encodingOf(output, object, input),
    Body: toSdkBody(endedBy(opened.body, transport.signal)),
    Metadata: visibleMetadata(object.metadata, formats.all),
  };
  return { ...result, output: { ...result.output, ...fields } };
}

function encodingOf(
  output: GetObjectOutput,
  { metadata }: StoredObject,
  input: GetObjectInput,
): string | undefined {
  return fromStoredEncoding(output.ContentEncoding, metadata, input.ResponseContentEncoding);
}

interface PinnedObject extends StoredObject {
  readonly source: PinnedSource;
}

// `body` is given up if the answer does not describe an object.
function storedObject(
  output: Pick<GetObjectOutput, "Metadata" | "ETag" | "VersionId" | "LastModified">,
  storedLength: number | undefined,
  location: ObjectLocation,
  input: GetObjectInput,
  formats: Formats,
  transport: Transport,
  body?: Readable,
): PinnedObject {
  if (storedLength === undefined) {
    if (body !== undefined) giveUp(body);
    throw new FramesealError("UNSUPPORTED", "server did not tell the length of the object");
  }
  const pin = pinOf(output, storedLength, input.VersionId);
  return {
    location,
    metadata: normalizeMetadata(output.Metadata),
    storedLength,
    source: createObjectSource(transport, location, pin, input, formats.reading),
    signal: transport.signal,
  };
}

/** The object that an answer describes, and its format. */
export async function describe(
  output: Pick<GetObjectOutput, "Metadata" | "ETag" | "VersionId" | "LastModified">,
  storedLength: number | undefined,
  location: ObjectLocation,
  input: GetObjectInput,
  formats: Formats,
  transport: Transport,
): Promise<{ format: ObjectFormat; object: StoredObject }> {
  const object = storedObject(output, storedLength, location, input, formats, transport);
  return { format: await formats.recognise(object), object };
}

/** The caller's own metadata. */
export function visibleMetadata(
  metadata: ObjectMetadata,
  formats: readonly ObjectFormat[],
): Record<string, string> {
  const visible: Record<string, string> = {};
  for (const [name, value] of Object.entries(metadata))
    if (!formats.some((format) => format.ownsMetadata(name))) visible[name] = value;
  return visible;
}

/** @throws FramesealError UNSUPPORTED for the number of a stored part */
export function refusePartNumber(partNumber: unknown): void {
  if (partNumber !== undefined)
    throw new FramesealError(
      "UNSUPPORTED",
      '"PartNumber" names stored parts, which are no parts of the plaintext: use Range',
    );
}
