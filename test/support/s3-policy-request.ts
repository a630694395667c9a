// What a request to the strict S3 server is for a bucket policy: action, resource and condition keys.
import { CUSTOMER, SSE, SSE_KEY_ID } from "./s3-encryption.ts";
import type { S3Call } from "./s3-objects.ts";
import type { PolicyRequest } from "./s3-policy.ts";
import type { S3Upload } from "./s3-uploads.ts";

const objectActions: Readonly<Record<string, string>> = {
  PUT: "s3:PutObject",
  POST: "s3:PutObject", // CreateMultipartUpload, CompleteMultipartUpload
  GET: "s3:GetObject",
  HEAD: "s3:GetObject",
  DELETE: "s3:DeleteObject",
};

function actionOf({ method, key, query }: S3Call): string {
  if (key === "") {
    const verb = method === "GET" ? "Get" : method === "PUT" ? "Put" : "Delete";
    if (query.has("policy")) return `s3:${verb}BucketPolicy`;
    if (query.has("encryption")) return `s3:${method === "GET" ? "Get" : "Put"}EncryptionConfiguration`;
    if (query.has("delete")) return "s3:DeleteObject";
    if (query.has("uploads")) return "s3:ListBucketMultipartUploads";
    return method === "PUT" ? "s3:CreateBucket" : "s3:ListBucket";
  }
  if (query.has("uploadId") && method === "DELETE") return "s3:AbortMultipartUpload";
  if (query.has("uploadId") && method === "GET") return "s3:ListMultipartUploadParts";
  if (query.has("tagging")) return method === "GET" ? "s3:GetObjectTagging" : "s3:PutObjectTagging";
  return objectActions[method] ?? "s3:Unknown";
}

/**
 * The request as a policy sees it. Parts and completion of an upload count as encrypted the way the upload was created:
 * their own requests need not, and for SSE-S3 and SSE-KMS cannot, repeat that.
 */
export function policyRequestOf(call: S3Call, upload: S3Upload | undefined): PolicyRequest {
  const conditions = new Map([["aws:securetransport", String(call.secure)]]);
  for (const name of [SSE, SSE_KEY_ID, CUSTOMER]) {
    const value = upload?.asked[name] ?? call.headers[name];
    if (value !== undefined) conditions.set(`s3:${name}`, String(value));
  }
  const resource = `arn:aws:s3:::${call.bucket}${call.key === "" ? "" : `/${call.key}`}`;
  return { action: actionOf(call), resource, conditions };
}
