// What names a bucket, and what only leads to one. Access points have ARNs and aliases that stand where a bucket's name
// may stand; what is made from the text (a binding, an SSE-C key) would not fit the same object under the name.

/**
 * Endings of aliases: access points, those of Object Lambda and of directory buckets, Outposts, and multi-Region access
 * points. (S3 user guide: access point aliases; bucket naming rules reserve them)
 */
const ALIAS = /(-s3alias|--ol-s3|--op-s3|--xa-s3|\.mrap)$/;

/**
 * True unless `bucket` is an ARN, a URL (the SDK's `bucketEndpoint`), a bucket of a tenant (`tenant:bucket`, Ceph), or the
 * alias of an access point.
 */
export function isBucketName(bucket: string): boolean {
  return !/[:/]/.test(bucket) && !ALIAS.test(bucket);
}

/** True for the name of a directory bucket (S3 Express One Zone). */
export function isDirectoryBucket(bucket: string): boolean {
  return bucket.endsWith("--x-s3");
}
