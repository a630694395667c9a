// HeadObject: what the metadata and the stored length say about the plaintext.
import { fromStoredEncoding } from "../content-encoding.ts";
import type { Formats } from "../formats.ts";
import type { ObjectFormat, ObjectLocation, StoredObject } from "../object-format.ts";
import type { GetObjectInput, HeadObjectOutput, Next, Transport } from "../transport.ts";
import { describe, refusePartNumber, type Send, visibleMetadata } from "./get.ts";

/**
 * Answers HeadObject. The length is not verified: it follows from the object's own header, or from its metadata where
 * that agrees with headers this client has written or read. A range fetched afterwards fails if it was wrong.
 */
export async function headObject(
  input: GetObjectInput,
  location: ObjectLocation,
  formats: Formats,
  transport: Transport,
  send: Send,
): ReturnType<Next> {
  refusePartNumber(input.PartNumber);
  if (input.Range !== undefined)
    throw new RangeError('"Range" expected undefined: HeadObject tells the whole length');
  const result = await send({});
  const output = result.output as unknown as HeadObjectOutput;
  const { format, object } = await describe(
    output,
    output.ContentLength,
    location,
    input,
    formats,
    transport,
  );
  const fields = {
    ContentLength: await askLength(object, output.ETag, format, formats),
    ContentEncoding: fromStoredEncoding(
      output.ContentEncoding,
      object.metadata,
      input.ResponseContentEncoding,
    ),
    Metadata: visibleMetadata(object.metadata, formats.all),
  };
  return { ...result, output: { ...result.output, ...fields } };
}

/** The plaintext length that the caller is told: as verified before, or as the object says. */
export async function askLength(
  object: StoredObject,
  eTag: string | undefined,
  format: ObjectFormat,
  formats: Formats,
): Promise<number> {
  const { location, storedLength } = object;
  const identity = { location, eTag, storedLength };
  const verified = formats.told.verifiedLength(identity);
  if (verified !== undefined) {
    formats.told.tell(identity, verified);
    return verified;
  }
  const rule = await format.sizeRule(object);
  const length = rule.lengthOf(location, storedLength);
  if (rule.isExact) formats.told.tell(identity, length);
  return length;
}
