// CopyObject: S3 copies the stored bytes, so the envelope must go with them and must still fit the new name. Where it does
// not, the object is encrypted again through this machine, and every field of the request keeps its meaning.
import type * as S3 from "@aws-sdk/client-s3";
import { FramesealError, hasCode } from "../../errors.ts";
import { quote } from "../../quote.ts";
import { fromStoredEncoding, toStoredEncoding } from "../content-encoding.ts";
import { type CopySource, formatCopySource, parseCopySource } from "../copy-source.ts";
import { pinnableETag } from "../etag.ts";
import type { Formats } from "../formats.ts";
import { nameHeadError } from "../head-error.ts";
import type { ObjectFormat, ObjectLocation, ObjectMetadata, StoredObject } from "../object-format.ts";
import { framedNames, joinMetadata, normalizeMetadata } from "../object-metadata.ts";
import { describingFields, meaningOf, repeatFields, sourceFields } from "../request-fields.ts";
import { bodyInRanges } from "../stored-bytes.ts";
import type { GetObjectInput, HeadObjectOutput, Next, Transport } from "../transport.ts";
import { describe, type Send, visibleMetadata } from "./get.ts";
import { readTags } from "./object-tags.ts";
import { checkCallerFields, type PutObjectInput, putObject } from "./put.ts";
import type { UploadOptions } from "./upload-settings.ts";

/** How copies are made. */
export interface CopyOptions extends UploadOptions {
  /** What to do when the copy could not be opened under its new name, or in its new bucket. */
  readonly boundCopy: "refuse" | "reencrypt";
}

type Input = Readonly<Record<string, unknown>>;

/** What is copied, as it was seen before. */
interface Source {
  readonly format: ObjectFormat;
  readonly object: StoredObject;
  readonly head: HeadObjectOutput;
  readonly from: CopySource;
  /** Owner, payer and SSE-C key for reading it. */
  readonly reading: GetObjectInput;
}

/** Answers CopyObject. */
export class CopyHandler {
  readonly #formats: Formats;
  readonly #transport: Transport;
  readonly #options: CopyOptions;

  constructor(formats: Formats, transport: Transport, options: CopyOptions) {
    this.#formats = formats;
    this.#transport = transport;
    this.#options = options;
  }

  async copy(input: Input, to: ObjectLocation, send: Send): ReturnType<Next> {
    checkCallerFields(input, this.#formats.all);
    checkDirective(input, "MetadataDirective", "COPY", "REPLACE");
    checkDirective(input, "TaggingDirective", "COPY", "REPLACE");
    checkDirective(input, "AnnotationDirective", "COPY", "EXCLUDE");
    const source = await this.#see(input);
    const { format, object, from } = source;
    try {
      await format.checkCopy(from, to, object);
    } catch (error) {
      if (this.#options.boundCopy !== "reencrypt" || !hasCode(error, "POLICY")) throw error;
      return this.#reencrypt(input, to, source);
    }
    const fields = { CopySource: formatCopySource(from), ...pinOf(input, source.head) };
    if (input.MetadataDirective !== "REPLACE") return send(fields);
    const caller = normalizeMetadata(input.Metadata as Record<string, string> | undefined);
    const encoding = toStoredEncoding(input.ContentEncoding, format);
    const { [framedNames.contentEncoding]: _, ...own } = envelope(object.metadata, format);
    const Metadata = joinMetadata(caller, { ...own, ...encoding.metadata });
    return send({ ...fields, Metadata, ...encoding.fields });
  }

  // The conditions on the source are those of this request; what follows is pinned to what it has seen.
  async #see(input: Input): Promise<Source> {
    const from = parseCopySource(input.CopySource);
    const { IfMatch, IfNoneMatch, IfModifiedSince, IfUnmodifiedSince, ...access } = sourceFields(input);
    const { bucket: Bucket, key: Key, versionId: VersionId } = from;
    const version = VersionId === undefined ? {} : { VersionId };
    const reading: GetObjectInput = { ...access, ...version };
    const conditions = { IfMatch, IfNoneMatch, IfModifiedSince, IfUnmodifiedSince };
    const head = await this.#transport
      .headObject({ ...reading, ...conditions, Bucket, Key } as S3.HeadObjectCommandInput)
      .catch((error: unknown) => {
        throw nameHeadError(error, "the source of the copy");
      });
    const location = { bucket: Bucket, key: Key };
    const { ContentLength } = head;
    const seen = await describe(head, ContentLength, location, reading, this.#formats, this.#transport);
    return { ...seen, head, from, reading };
  }

  // Opens the object and stores it again under the new name, with a new data key.
  async #reencrypt(input: Input, to: ObjectLocation, source: Source): ReturnType<Next> {
    const { format, object, head } = source;
    if (input.AnnotationDirective === "COPY")
      throw new FramesealError(
        "UNSUPPORTED",
        "annotations are not copied with an object that is encrypted again: leave AnnotationDirective out",
      );
    const replace = input.MetadataDirective === "REPLACE";
    const stored = Object.entries(repeatFields(input, "PutObject")).filter(
      ([name]) => meaningOf(name) !== "description" && name !== "Tagging",
    );
    const ContentEncoding = fromStoredEncoding(head.ContentEncoding, object.metadata);
    const described = describingFields(replace ? input : { ...head, ContentEncoding });
    const request: Record<string, unknown> = {
      ...Object.fromEntries(stored),
      ...described,
      // It sends readers elsewhere: S3 never takes it over from the source.
      WebsiteRedirectLocation: input.WebsiteRedirectLocation,
      ...(await this.#tagging(input, source)),
      Bucket: to.bucket,
      Key: to.key,
      Metadata: replace ? input.Metadata : visibleMetadata(object.metadata, [format]),
    };
    const opened = await format.openWhole(object, bodyInRanges(object));
    const body = { Body: opened.body, ContentLength: opened.plaintextLength };
    const put = async (fields: Record<string, unknown>) => {
      const all = { ...request, ...fields } as unknown as S3.PutObjectCommandInput;
      const stored = await this.#transport.putObject(all);
      return { output: stored as unknown as Record<string, unknown>, response: undefined };
    };
    try {
      const result = await putObject(
        { ...request, ...body } as PutObjectInput,
        to,
        this.#formats.writtenFor(opened.header),
        this.#transport,
        this.#options,
        put,
      );
      return { response: undefined, output: copyOutput(result.output, head.VersionId) };
    } finally {
      opened.body.destroy();
    }
  }

  async #tagging(input: Input, { from, head, reading }: Source): Promise<{ Tagging?: unknown }> {
    if (input.TaggingDirective === "REPLACE")
      return input.Tagging === undefined ? {} : { Tagging: input.Tagging };
    const { bucket: Bucket, key: Key } = from;
    const access = repeatFields({ ...reading }, "GetObjectTagging");
    const tags = await readTags(this.#transport, { ...access, Bucket, Key, VersionId: from.versionId }, head);
    return tags.kind === "tags" ? { Tagging: tags.text } : {};
  }
}

/**
 * What makes S3 copy the bytes that were seen. The caller's own `CopySourceIfMatch` has been met by them already.
 */
function pinOf(input: Input, head: HeadObjectOutput): Record<string, unknown> {
  const eTag = pinnableETag(head.ETag);
  if (eTag !== undefined) return { CopySourceIfMatch: eTag };
  // A weak tag must not be sent, so the time takes its place: to the second, which is all that S3 tells.
  const { LastModified } = head;
  return LastModified === undefined || input.CopySourceIfUnmodifiedSince !== undefined
    ? {}
    : { CopySourceIfUnmodifiedSince: LastModified };
}

/** The answer to PutObject as one to CopyObject. */
function copyOutput(
  output: Readonly<Record<string, unknown>>,
  sourceVersionId: string | undefined,
): Record<string, unknown> {
  const { ETag, ...rest } = output;
  return {
    ...rest,
    ...(sourceVersionId === undefined ? {} : { CopySourceVersionId: sourceVersionId }),
    CopyObjectResult: { ETag, LastModified: new Date() },
  };
}

function checkDirective(input: Input, name: string, ...values: readonly string[]): void {
  const value = input[name];
  if (value !== undefined && !values.includes(String(value)))
    throw new TypeError(`"${name}" expected ${values.join(" or ")}, got ${quote(String(value))}`);
}

function envelope(metadata: ObjectMetadata, format: ObjectFormat): ObjectMetadata {
  return Object.fromEntries(Object.entries(metadata).filter(([name]) => format.ownsMetadata(name)));
}
