// `CopySource`: one reader and one writer of it. The SDK sends the value as it is; S3 decodes it, so it must be percent-
// encoded. Whoever reads it writes it again for S3, so that both mean the same object.
import type { ObjectLocation } from "./object-format.ts";

/** The object that a copy reads. `bucket` may be the ARN of an access point. */
export interface CopySource extends ObjectLocation {
  readonly versionId: string | undefined;
}

const VERSION = "?versionId=";
/** The ARN of an access point, or of one on Outposts, before `/object/` and the key. (S3 API, CopyObject) */
const ACCESS_POINT =
  /^(arn:[^:/]+:s3[^:/]*:[^:/]*:[^:/]*:(?:accesspoint|outpost)[:/][^:/]+(?:[:/]accesspoint[:/][^:/]+)?)\/object\/(.+)$/s;

/**
 * Reads a `CopySource`: `bucket/key` or `arn:…/object/key`, percent-encoded as a whole or in parts, with or without a
 * slash before it and `?versionId=` behind it. A plus sign is a plus sign, and any other question mark belongs to the key:
 * servers do not agree on either, which is why `formatCopySource` encodes both.
 * @throws TypeError for what is none
 */
export function parseCopySource(source: unknown): CopySource {
  if (typeof source !== "string")
    throw new TypeError(`"CopySource" expected a string, got ${source === null ? "null" : typeof source}`);
  const at = source.lastIndexOf(VERSION);
  const path = decode(at === -1 ? source : source.slice(0, at)).replace(/^\//, "");
  const versionId = at === -1 ? undefined : decode(source.slice(at + VERSION.length));
  if (versionId === "") throw new TypeError('"CopySource" expected a version behind ?versionId=, got none');
  if (path.startsWith("arn:")) {
    const [, bucket, key] = ACCESS_POINT.exec(path) ?? [];
    if (bucket === undefined || key === undefined)
      throw new TypeError('"CopySource" expected arn:…:accesspoint/name/object/key, got another ARN');
    return { bucket, key, versionId };
  }
  const slash = path.indexOf("/");
  if (slash < 1 || slash === path.length - 1)
    throw new TypeError('"CopySource" expected bucket/key, got a bucket or a key alone');
  return { bucket: path.slice(0, slash), key: path.slice(slash + 1), versionId };
}

/**
 * Writes a `CopySource`.
 * @throws TypeError for a key that is not well-formed Unicode
 */
export function formatCopySource({ bucket, key, versionId }: CopySource): string {
  const between = bucket.startsWith("arn:") ? "/object/" : "/";
  const version = versionId === undefined ? "" : `${VERSION}${encode(versionId)}`;
  return `${bucket}${between}${key}`.split("/").map(encode).join("/") + version;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new TypeError(
      '"CopySource" expected a value that is percent-encoded, got a percent sign without two hexadecimal digits or bytes that are not UTF-8',
    );
  }
}

function encode(text: string): string {
  try {
    return encodeURIComponent(text);
  } catch {
    throw new TypeError('"CopySource" expected well-formed Unicode, got half of a surrogate pair');
  }
}
