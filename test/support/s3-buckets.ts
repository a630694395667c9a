// What the buckets of the strict S3 server are told: policy and encryption.
import {
  type BucketEncryption,
  describeEncryption,
  NEW_BUCKET_ENCRYPTION,
  parseEncryption,
} from "./s3-encryption.ts";
import { type Answer, S3Error } from "./s3-error.ts";
import type { S3Call } from "./s3-objects.ts";
import { denies, type ParsedPolicy, parsePolicy } from "./s3-policy.ts";
import { policyRequestOf } from "./s3-policy-request.ts";
import type { S3Upload } from "./s3-uploads.ts";

/** Policy and encryption of each bucket. */
export class BucketSettings {
  readonly #policies = new Map<string, ParsedPolicy>();
  readonly #encryption = new Map<string, BucketEncryption>();

  encryptionOf(bucket: string): BucketEncryption {
    return this.#encryption.get(bucket) ?? NEW_BUCKET_ENCRYPTION;
  }

  /** @throws S3Error AccessDenied when the policy of the bucket denies the call */
  authorize(call: S3Call, upload: S3Upload | undefined): void {
    const policy = this.#policies.get(call.bucket);
    if (policy !== undefined && denies(policy, policyRequestOf(call, upload)))
      throw new S3Error(403, "AccessDenied", "with an explicit deny in a resource-based policy");
  }

  /** Answers what is asked about settings; undefined for all else. */
  answer({ method, bucket, query }: S3Call, text: string): Answer | undefined {
    if (query.has("policy")) return this.#answerPolicy(method, bucket, text);
    if (!query.has("encryption")) return undefined;
    if (method === "GET") return describeEncryption(this.encryptionOf(bucket));
    if (method === "PUT") this.#encryption.set(bucket, parseEncryption(text));
    else this.#encryption.delete(bucket);
    return {};
  }

  #answerPolicy(method: string, bucket: string, text: string): Answer {
    if (method === "PUT") this.#policies.set(bucket, parsePolicy(text, bucket));
    else if (method === "DELETE") this.#policies.delete(bucket);
    else {
      const policy = this.#policies.get(bucket);
      if (policy === undefined) throw new S3Error(404, "NoSuchBucketPolicy");
      return { headers: { "content-type": "application/json" }, body: policy.text };
    }
    return { status: 204 };
  }
}
