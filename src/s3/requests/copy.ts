// CopyObject: S3 copies the stored bytes, so the envelope must go with them and must still fit the new name.
import type * as S3 from "@aws-sdk/client-s3";
import { hasCode } from "../../errors.ts";
import { fromStoredEncoding, toStoredEncoding } from "../content-encoding.ts";
import type { Formats } from "../formats.ts";
import type { ObjectFormat, ObjectLocation, ObjectMetadata, StoredObject } from "../object-format.ts";
import { framedNames, joinMetadata, normalizeMetadata } from "../object-metadata.ts";
import { bodyOf } from "../object-source.ts";
import { parseCopySource } from "../server-side/server-side.ts";
import type { GetObjectInput, Next, Transport } from "../transport.ts";
import { describe, type Send, visibleMetadata } from "./get.ts";
import { checkCallerFields, type PutObjectInput, putObject } from "./put.ts";
import type { UploadOptions } from "./upload-settings.ts";

/** How copies are made. */
export interface CopyOptions extends UploadOptions {
  /** What to do when the copy could not be opened under its new name. */
  readonly boundCopy: "refuse" | "reencrypt";
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

  async copy(input: Readonly<Record<string, unknown>>, to: ObjectLocation, send: Send): ReturnType<Next> {
    checkCallerFields(input, this.#formats.all);
    const { versionId, ...from } = parseCopySource(String(input.CopySource));
    const reading = readingInput(input, versionId);
    const head = await this.#transport.headObject({ ...reading, Bucket: from.bucket, Key: from.key });
    const { format, object } = await describe(
      head,
      head.ContentLength,
      from,
      reading,
      this.#formats,
      this.#transport,
    );
    try {
      await format.checkCopy(from, to, object);
    } catch (error) {
      if (this.#options.boundCopy !== "reencrypt" || !hasCode(error, "POLICY")) throw error;
      return this.#reencrypt(input, to, format, object, head, reading);
    }
    const pinned = input.CopySourceIfMatch === undefined ? { CopySourceIfMatch: head.ETag } : {};
    if (input.MetadataDirective !== "REPLACE") return send(pinned);
    const caller = normalizeMetadata(input.Metadata as Record<string, string> | undefined);
    const encoding = toStoredEncoding(input.ContentEncoding, format);
    const { [framedNames.contentEncoding]: _, ...own } = envelope(object.metadata, format);
    const Metadata = joinMetadata(caller, { ...own, ...encoding.metadata });
    return send({ ...pinned, Metadata, ...encoding.fields });
  }

  // Opens the object and stores it again under the new name, with a new data key.
  async #reencrypt(
    input: Readonly<Record<string, unknown>>,
    to: ObjectLocation,
    format: ObjectFormat,
    object: StoredObject,
    head: S3.HeadObjectCommandOutput,
    reading: GetObjectInput,
  ): ReturnType<Next> {
    const { bucket: Bucket, key: Key } = object.location;
    const output = await this.#transport.getObject({ ...reading, Bucket, Key, IfMatch: head.ETag });
    const opened = await format.openWhole(object, bodyOf(output));
    const replace = input.MetadataDirective === "REPLACE";
    const ContentEncoding = fromStoredEncoding(head.ContentEncoding, object.metadata);
    const described = replace ? input : { ...head, ContentEncoding };
    const request: Record<string, unknown> = { Bucket: to.bucket, Key: to.key, Body: opened.body };
    for (const [name, value] of Object.entries(input)) if (PUT_FIELDS.has(name)) request[name] = value;
    for (const name of DESCRIBING_FIELDS)
      if ((described as Record<string, unknown>)[name] !== undefined)
        request[name] = (described as Record<string, unknown>)[name];
    request.ContentLength = opened.plaintextLength;
    request.Metadata = replace ? input.Metadata : visibleMetadata(object.metadata, [format]);
    const put = async (fields: Record<string, unknown>) => {
      const stored = await this.#transport.putObject({
        ...request,
        ...fields,
      } as unknown as S3.PutObjectCommandInput);
      return { output: stored as unknown as Record<string, unknown>, response: undefined };
    };
    const result = await putObject(
      request as PutObjectInput,
      to,
      this.#formats.written,
      this.#transport,
      this.#options,
      put,
    );
    const { ETag, $metadata, ...rest } = result.output;
    return {
      response: undefined,
      output: { $metadata, ...rest, CopyObjectResult: { ETag, LastModified: new Date() } },
    };
  }
}

/** What tells how to treat the plaintext, and goes with it to a new object. */
export const DESCRIBING_FIELDS = [
  "CacheControl",
  "ContentDisposition",
  "ContentEncoding",
  "ContentLanguage",
  "ContentType",
  "Expires",
  "WebsiteRedirectLocation",
] as const;
const PUT_FIELDS = new Set([
  "ACL",
  "BucketKeyEnabled",
  "ChecksumAlgorithm",
  "ExpectedBucketOwner",
  "GrantFullControl",
  "GrantRead",
  "GrantReadACP",
  "GrantWriteACP",
  "ObjectLockLegalHoldStatus",
  "ObjectLockMode",
  "ObjectLockRetainUntilDate",
  "RequestPayer",
  "SSECustomerAlgorithm",
  "SSECustomerKey",
  "SSEKMSEncryptionContext",
  "SSEKMSKeyId",
  "ServerSideEncryption",
  "StorageClass",
  "Tagging",
]);

// What a reader of the source must say, from what the copy says.
function readingInput(
  input: Readonly<Record<string, unknown>>,
  versionId: string | undefined,
): GetObjectInput {
  const reading: Record<string, unknown> = {
    VersionId: versionId,
    RequestPayer: input.RequestPayer,
    ExpectedBucketOwner: input.ExpectedSourceBucketOwner,
    SSECustomerAlgorithm: input.CopySourceSSECustomerAlgorithm,
    SSECustomerKey: input.CopySourceSSECustomerKey,
  };
  for (const [name, value] of Object.entries(reading)) if (value === undefined) delete reading[name];
  return reading as GetObjectInput;
}

function envelope(metadata: ObjectMetadata, format: ObjectFormat): ObjectMetadata {
  return Object.fromEntries(Object.entries(metadata).filter(([name]) => format.ownsMetadata(name)));
}
