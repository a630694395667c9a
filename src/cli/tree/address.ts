// Places of trees, as command lines name them.
import type { TreeAddress } from "../../backup/entry.ts";
import { UsageError } from "../failure.ts";
import { shown } from "../names.ts";

/**
 * Parses `s3://bucket/prefix/`. A prefix is a folder, whether or not a slash ends it; none is the whole bucket.
 * @throws UsageError
 */
export function parseTreeAddress(text: string): TreeAddress {
  // The ARN of an access point holds a slash of its own.
  const match = /^s3:\/\/(arn:[^/]+:accesspoint\/[^/]+|[^/]+)(?:\/(.*))?$/s.exec(text);
  if (match?.[1] === undefined)
    throw new UsageError(`${shown(text)} is no address such as s3://bucket/folder/`);
  const prefix = match[2] ?? "";
  return { bucket: match[1], prefix: prefix === "" || prefix.endsWith("/") ? prefix : `${prefix}/` };
}
