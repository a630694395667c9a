// GetObjectAttributes: the size becomes that of the plaintext; checksums and parts are those of the stored bytes and
// are left out, as S3 leaves out what an object does not have.
import { FramesealError } from "../../errors.ts";
import type { Formats } from "../formats.ts";
import type { ObjectLocation } from "../object-format.ts";
import { repeatFields } from "../request-fields.ts";
import type { GetObjectInput, Next, Transport } from "../transport.ts";
import { describe, type Send } from "./get.ts";
import { askLength } from "./head.ts";

/** Attributes of the object, not of its stored bytes. */
const TOLD = ["ETag", "StorageClass", "ObjectSize"] as const;

/** Answers GetObjectAttributes. The size is not verified, as that of HeadObject is not. */
export async function getObjectAttributes(
  input: Readonly<Record<string, unknown>>,
  location: ObjectLocation,
  formats: Formats,
  transport: Transport,
  send: Send,
): ReturnType<Next> {
  for (const name of ["MaxParts", "PartNumberMarker"])
    if (input[name] !== undefined)
      throw new FramesealError(
        "UNSUPPORTED",
        `"${name}" is about stored parts, which are no parts of the plaintext`,
      );
  const asked = input.ObjectAttributes;
  if (!Array.isArray(asked))
    throw new TypeError(
      `"ObjectAttributes" expected an array, got ${asked === null ? "null" : typeof asked}`,
    );
  const ObjectAttributes = TOLD.filter((name) => name !== "StorageClass" || asked.includes(name));
  const result = await send({ ObjectAttributes });
  const { Checksum: _, ObjectParts: __, ...output } = result.output;
  for (const name of TOLD) if (!asked.includes(name)) delete output[name];
  if (!asked.includes("ObjectSize")) return { ...result, output };
  const VersionId = input.VersionId ?? result.output.VersionId;
  const reading: GetObjectInput = {
    ...repeatFields(input, "HeadObject"),
    ...(typeof VersionId === "string" ? { VersionId } : {}),
  };
  const head = await transport.headObject({
    ...reading,
    Bucket: location.bucket,
    Key: location.key,
    IfMatch: quoted(result.output.ETag),
  });
  const { format, object } = await describe(head, head.ContentLength, location, reading, formats, transport);
  const ObjectSize = await askLength(object, head.ETag, format, formats);
  return { ...result, output: { ...output, ObjectSize } };
}

// S3 gives the ETag without quotes here, and wants them in conditions.
function quoted(eTag: unknown): string | undefined {
  if (typeof eTag !== "string" || eTag === "") return undefined;
  return eTag.startsWith('"') ? eTag : `"${eTag}"`;
}
