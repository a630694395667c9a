// Content-Encoding. A caller means his plaintext by it, but HTTP applies it to what is stored: a browser, fetch or a
// proxy would try to decompress ciphertext. So framed objects keep it in their metadata, and it is given back with
// the plaintext. Objects of the S3 Encryption Clients keep the header, where those clients look for it.

import { quote } from "../quote.ts";
import type { ObjectFormat, ObjectMetadata } from "./object-format.ts";
import { framedNames, TOKEN } from "./object-metadata.ts";

/** A coding of the SDK's own requests, which some servers store. */
const TRANSPORT_CODING = "aws-chunked";

/** What becomes of `ContentEncoding` when an object is stored. */
export interface StoredEncoding {
  /** Goes into the request in place of the caller's field. */
  readonly fields: { readonly ContentEncoding?: string | undefined };
  /** Goes into the metadata of the object. */
  readonly metadata: ObjectMetadata;
}

/**
 * Takes the caller's `ContentEncoding` apart for an object of `format`.
 * @throws TypeError for what names no codings
 */
export function toStoredEncoding(value: unknown, format: ObjectFormat): StoredEncoding {
  if (value === undefined) return { fields: {}, metadata: {} };
  if (typeof value !== "string" || !codingsOf(value).every((coding) => TOKEN.test(coding)))
    throw new TypeError(`"ContentEncoding" expected codings such as gzip, got ${quote(String(value))}`);
  if (!format.ownsMetadata(framedNames.contentEncoding)) return { fields: {}, metadata: {} };
  const coding = withoutTransport(value);
  return {
    fields: { ContentEncoding: undefined },
    metadata: coding === undefined ? {} : { [framedNames.contentEncoding]: coding },
  };
}

/**
 * The `ContentEncoding` of the plaintext, from the answer of GetObject or HeadObject.
 * @param overridden the caller's `ResponseContentEncoding`, which replaces what is stored
 */
export function fromStoredEncoding(
  header: string | undefined,
  metadata: ObjectMetadata,
  overridden?: string | undefined,
): string | undefined {
  if (overridden !== undefined) return header;
  return (
    metadata[framedNames.contentEncoding] ?? (header === undefined ? undefined : withoutTransport(header))
  );
}

function withoutTransport(value: string): string | undefined {
  const codings = codingsOf(value).filter((coding) => coding.toLowerCase() !== TRANSPORT_CODING);
  return codings.length === 0 ? undefined : codings.join(", ");
}

function codingsOf(value: string): string[] {
  return value
    .split(",")
    .map((coding) => coding.trim())
    .filter((coding) => coding !== "");
}
