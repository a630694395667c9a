// The tags of an object, for a new object that takes its place. Not every server has them, and not everybody may read them.
import type * as S3 from "@aws-sdk/client-s3";
import { statusOf } from "../transient-error.ts";
import type { Transport } from "../transport.ts";

/** `unknown` when there may be tags that could not be read. */
export type ObjectTags =
  | { readonly kind: "tags"; readonly text: string }
  | { readonly kind: "none" }
  | { readonly kind: "unknown" };

/**
 * Reads the tags, as `Tagging` of a request wants them.
 * @param head what HeadObject told: how many there are, if the server says so
 * @throws the error of S3 when there are tags for certain and they cannot be read
 */
export async function readTags(
  transport: Transport,
  object: S3.GetObjectTaggingCommandInput,
  head: { readonly TagCount?: number | undefined },
): Promise<ObjectTags> {
  if (head.TagCount === 0) return { kind: "none" };
  try {
    const { TagSet = [] } = await transport.getObjectTagging(object);
    if (TagSet.length === 0) return { kind: "none" };
    const pairs = TagSet.map(({ Key = "", Value = "" }): [string, string] => [Key, Value]);
    return { kind: "tags", text: new URLSearchParams(pairs).toString() };
  } catch (error) {
    const status = statusOf(error);
    const isOptional = head.TagCount === undefined && status !== undefined;
    // A refusal of what only might be there: 501 where there are no tags, 403 where they may not be read, and others.
    if (isOptional && (status < 500 || status === 501)) return { kind: "unknown" };
    throw error;
  }
}
