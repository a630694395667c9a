// What a strict S3 does, in memory and without a network: calls that arrived whole -> answers. It refuses what the real
// service refuses and public emulators let pass (metadata above 2 KB, small parts, wrong SSE-C keys, uploads that a
// bucket policy denies).
import { randomUUID } from "node:crypto";
import type { RequestBody } from "./aws-chunked.ts";
import type { Checksum } from "./checksums.ts";
import { BucketSettings } from "./s3-buckets.ts";
import { type AtRest, askedFor, checkKmsKey, storedAs, toldHeaders } from "./s3-encryption.ts";
import { type Answer, elementText, escapeXml, S3Error, xml } from "./s3-error.ts";
import { answerListing } from "./s3-listing.ts";
import {
  answerObject,
  checkConditions,
  checkCopySource,
  copiedHeaders,
  copySourceOf,
  eTagOf,
  type S3Call,
  type StoredS3Object,
  storedHeaders,
} from "./s3-objects.ts";
import {
  announcedChecksum,
  joinParts,
  listParts,
  listUploads,
  putPart,
  type S3Upload,
} from "./s3-uploads.ts";

/** Buckets with what is in them, and uploads that are not complete. */
export class S3Service {
  readonly buckets = new Map<string, Map<string, StoredS3Object>>();
  readonly uploads = new Map<string, S3Upload>();
  /** Keys of KMS that S3 may use, besides the managed one. */
  readonly kmsKeys = new Map<string, "enabled" | "disabled">();
  /** Keys that may not be deleted, as a policy would say. */
  readonly undeletable = new Set<string>();
  readonly #settings = new BucketSettings();

  /** @throws S3Error for what the real service refuses */
  answer(call: S3Call, body: RequestBody): Answer {
    const { method, bucket, key, query, headers } = call;
    const upload = this.#uploadOf(call);
    const source = headers["x-amz-copy-source"];
    this.#settings.authorize(call, upload);
    if (key === "") return this.#answerBucket(call, body);
    const objects = this.#bucket(bucket);
    if (upload !== undefined) return this.#answerUpload(call, upload, body);
    if (query.has("uploads") && method === "POST") return this.#create(call);
    if (query.has("encryption") && method === "PUT") return this.#updateEncryption(call, body);
    switch (method) {
      case "PUT":
        checkConditions(headers, objects.get(key));
        if (source !== undefined) return this.#copy(call, String(source));
        return this.#put(call, body.bytes, storedHeaders(headers), this.#atRest(call), body.checksum);
      case "GET":
      case "HEAD":
        return answerObject(call, objects.get(key), this.kmsKeys);
      case "DELETE":
        if (headers["if-match"] !== undefined) checkConditions(headers, objects.get(key));
        objects.delete(key);
        return { status: 204 };
      default:
        throw new S3Error(405, "MethodNotAllowed");
    }
  }

  #bucket(name: string): Map<string, StoredS3Object> {
    const objects = this.buckets.get(name);
    if (objects === undefined) throw new S3Error(404, "NoSuchBucket");
    return objects;
  }

  #atRest(call: S3Call): AtRest {
    const encryption = this.#settings.encryptionOf(call.bucket);
    return storedAs(askedFor(call.headers, call.secure), encryption, this.kmsKeys);
  }

  #answerBucket(call: S3Call, { bytes, checksum }: RequestBody): Answer {
    const { method, bucket, query } = call;
    const text = bytes.toString();
    if (method === "PUT" && query.size === 0) {
      this.buckets.set(bucket, this.buckets.get(bucket) ?? new Map());
      return {};
    }
    if (bucket === "" && method === "GET") return this.#listBuckets();
    const objects = this.#bucket(bucket);
    if (method === "HEAD") return {};
    const setting = this.#settings.answer(call, text);
    if (setting !== undefined) return setting;
    if (method === "POST" && query.has("delete")) {
      if (checksum === undefined)
        throw new S3Error(400, "InvalidRequest", "Missing required header: Content-MD5");
      const named = [...text.matchAll(/<Object>(.*?)<\/Object>/gs)].map(([, one = ""]) => ({
        key: elementText(one, "Key") ?? "",
        eTag: elementText(one, "ETag"),
      }));
      if (named.length > 1000) throw new S3Error(400, "MalformedXML");
      const errors: string[] = [];
      for (const { key, eTag } of named) {
        const isOther = eTag !== undefined && objects.get(key)?.eTag !== eTag;
        const code = isOther ? "PreconditionFailed" : this.undeletable.has(key) ? "AccessDenied" : undefined;
        if (code === undefined) objects.delete(key);
        else errors.push(`<Error><Key>${escapeXml(key)}</Key><Code>${code}</Code></Error>`);
      }
      return xml(`<DeleteResult>${errors.join("")}</DeleteResult>`);
    }
    if (method === "GET" && query.has("uploads")) return listUploads(this.uploads, { bucket, query });
    if (method === "GET") return answerListing(objects, query);
    throw new S3Error(501, "NotImplemented");
  }

  #listBuckets(): Answer {
    const list = [...this.buckets.keys()].map(
      (name) => `<Bucket><Name>${name}</Name><CreationDate>2026-01-01T00:00:00.000Z</CreationDate></Bucket>`,
    );
    return xml(`<ListAllMyBucketsResult><Buckets>${list.join("")}</Buckets></ListAllMyBucketsResult>`);
  }

  #put(
    { bucket, key }: S3Call,
    body: Buffer,
    headers: Record<string, string>,
    atRest: AtRest,
    checksum: (Checksum & { readonly parts?: number }) | undefined,
    eTag = eTagOf(body, atRest),
  ): Answer {
    this.#bucket(bucket).set(key, { body, headers, eTag, atRest, checksum, modified: new Date() });
    return { headers: { etag: eTag, ...toldHeaders(atRest) } };
  }

  #updateEncryption({ bucket, key }: S3Call, { bytes, checksum }: RequestBody): Answer {
    const object = this.#bucket(bucket).get(key);
    if (object === undefined) throw new S3Error(404, "NoSuchKey");
    if (checksum === undefined)
      throw new S3Error(400, "InvalidRequest", "Missing required header: Content-MD5");
    const kmsKeyId = elementText(bytes.toString(), "KMSKeyArn");
    if (kmsKeyId === undefined) throw new S3Error(400, "MalformedXML");
    if (!["AES256", "aws:kms"].includes(object.atRest.algorithm)) throw new S3Error(400, "InvalidRequest");
    const atRest: AtRest = { algorithm: "aws:kms", kmsKeyId };
    checkKmsKey(atRest, this.kmsKeys);
    this.#bucket(bucket).set(key, { ...object, atRest });
    return {};
  }

  #copySource(call: S3Call, text: string): StoredS3Object {
    const { bucket, key } = copySourceOf(text);
    const source = this.#bucket(bucket).get(key);
    if (source === undefined) throw new S3Error(404, "NoSuchKey");
    checkCopySource(call, source, this.kmsKeys);
    return source;
  }

  #copy(call: S3Call, text: string): Answer {
    const source = this.#copySource(call, text);
    const replace = call.headers["x-amz-metadata-directive"] === "REPLACE";
    const { bucket, key } = copySourceOf(text);
    const asked = askedFor(call.headers, call.secure);
    if (bucket === call.bucket && key === call.key && !replace && asked === undefined)
      throw new S3Error(400, "InvalidRequest", "This copy request is illegal: nothing would change");
    const headers = copiedHeaders(call.headers, source);
    const answer = this.#put(call, source.body, headers, this.#atRest(call), undefined);
    const eTag = escapeXml(answer.headers?.etag ?? "");
    return { ...answer, ...xml(`<CopyObjectResult><ETag>${eTag}</ETag></CopyObjectResult>`) };
  }

  #create(call: S3Call): Answer {
    const { bucket, key, headers } = call;
    const uploadId = randomUUID();
    const atRest = this.#atRest(call);
    const checksum = announcedChecksum(call);
    this.uploads.set(uploadId, {
      bucket,
      key,
      headers: storedHeaders(headers),
      asked: headers,
      atRest,
      checksum,
      parts: new Map(),
      initiated: new Date(),
    });
    const { body, headers: type } = xml(
      `<InitiateMultipartUploadResult><UploadId>${uploadId}</UploadId></InitiateMultipartUploadResult>`,
    );
    return { body: body ?? "", headers: { ...type, ...toldHeaders(atRest) } };
  }

  #uploadOf({ bucket, key, query }: S3Call): S3Upload | undefined {
    const uploadId = query.get("uploadId");
    if (uploadId === null) return undefined;
    const upload = this.uploads.get(uploadId);
    if (upload === undefined || upload.bucket !== bucket || upload.key !== key)
      throw new S3Error(404, "NoSuchUpload");
    return upload;
  }

  #answerUpload(call: S3Call, upload: S3Upload, body: RequestBody): Answer {
    const { method, headers, bucket, key, query } = call;
    const uploadId = query.get("uploadId") ?? "";
    if (method === "PUT") {
      const source = headers["x-amz-copy-source"];
      if (source === undefined) return putPart(upload, call, body, undefined);
      const copied = this.#copySource(call, String(source)).body;
      const range = /^bytes=(\d+)-(\d+)$/.exec(String(headers["x-amz-copy-source-range"] ?? ""));
      const [first, end] = range === null ? [0, copied.length] : [Number(range[1]), Number(range[2]) + 1];
      if (end > copied.length) throw new S3Error(400, "InvalidArgument", "range of the source");
      return putPart(upload, call, body, copied.subarray(first, end));
    }
    if (method === "DELETE") {
      this.uploads.delete(uploadId);
      return { status: 204 };
    }
    if (method === "GET") return listParts(upload, call);
    checkConditions(headers, this.#bucket(bucket).get(key));
    const { body: joined, eTag, checksum } = joinParts(upload, call, body.bytes.toString());
    this.#put(call, joined, upload.headers, upload.atRest, checksum, eTag);
    this.uploads.delete(uploadId);
    const { body: text, headers: type } = xml(
      `<CompleteMultipartUploadResult><Bucket>${bucket}</Bucket><Key>${escapeXml(key)}</Key>` +
        `<ETag>${escapeXml(eTag)}</ETag></CompleteMultipartUploadResult>`,
    );
    return { body: text ?? "", headers: { ...type, ...toldHeaders(upload.atRest) } };
  }
}
