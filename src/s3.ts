// "frameseal/s3": encryption of S3 objects, on this side and on the server's.

export {
  type EncryptS3ClientOptions,
  encryptS3Client,
  exportMultipartUpload,
  importMultipartUpload,
} from "./s3/encrypt-s3-client.ts";
export type { FormatName } from "./s3/formats.ts";
export type { KeyBinding, ObjectLocation, SideObject } from "./s3/object-format.ts";
export type { ListSizes } from "./s3/requests/list.ts";
export type { MultipartState, MultipartStateStore } from "./s3/requests/multipart-state.ts";
export { fileMultipartStates } from "./s3/requests/state-file.ts";
export { type SqliteDatabase, sqliteMultipartStates } from "./s3/requests/state-sqlite.ts";
export { type RewrapOptions, type RewrapResult, rewrapObject } from "./s3/rewrap.ts";
export {
  type BucketPolicy,
  type EncryptionPolicyOptions,
  type PolicyStatement,
  type RequiredEncryption,
  requireEncryptionPolicy,
} from "./s3/server-side/bucket-policy.ts";
export {
  type DefaultEncryption,
  type DefaultEncryptionOptions,
  getDefaultEncryption,
  setDefaultEncryption,
} from "./s3/server-side/default-encryption.ts";
export {
  type ExplainPolicyOptions,
  explainPolicy,
  type PolicyExplanation,
  type PolicyVerdict,
} from "./s3/server-side/explain-policy.ts";
export {
  type ServerSideEncryption,
  type SseKmsOptions,
  serverSideEncryptS3Client,
  sseC,
  sseKms,
  sseS3,
} from "./s3/server-side/server-side.ts";
export {
  asCopySource,
  deriveSseCKey,
  type SseCCopySourceKey,
  type SseCKey,
  type SseCKeyBytes,
  type SseCKeyOptions,
  type SseCTrialOptions,
  sseCVersionFromTags,
  sseCVersionTagging,
  type VersionedMasterKey,
  withSseCKey,
} from "./s3/server-side/sse-c-key.ts";
export type { AuthenticationMode } from "./s3/single-message/body.ts";
export {
  type DecryptedObject,
  decryptObject,
  type EncryptedObject,
  encryptObject,
  type FetchedObject,
  type ObjectOptions,
} from "./s3/whole-object.ts";
