// Every command of the SDK in one table: what becomes of it on an encrypting client, when it is sent and when it is
// presigned. The client dispatches by this table alone, and its test compares the table with the SDK.
import { FramesealError } from "../errors.ts";
import { carriedBy, type Operation } from "./command-schema.ts";

/**
 * What becomes of a command.
 * - `sealed`: its body is encrypted.
 * - `opened`: the body of its answer is decrypted.
 * - `translated`: carries no body of an object; its fields or its answer are changed, or further requests are made.
 * - `passed`: says nothing of what is in an object; sent as it is.
 * - `refused`: would store or return something else than the caller means.
 */
export type Treatment = "sealed" | "opened" | "translated" | "passed" | "refused";

interface Row {
  readonly treatment: Treatment;
  /** Whether a signature for later use is made; what is signed so sees the bucket as it is stored. */
  readonly presigned: "allowed" | "refused";
  /** Why it is refused, when sent or when presigned. */
  readonly reason?: string;
}

const STORES_IN_CLEAR = "its holder would store what he likes, unencrypted";

const sealed = { treatment: "sealed", presigned: "refused", reason: STORES_IN_CLEAR } as const;
const opened = { treatment: "opened", presigned: "allowed" } as const;
const translated = { treatment: "translated", presigned: "allowed" } as const;
const storing = { treatment: "translated", presigned: "refused", reason: STORES_IN_CLEAR } as const;
const passed = { treatment: "passed", presigned: "allowed" } as const;
const refused = <Reason extends string>(reason: Reason) =>
  ({ treatment: "refused", presigned: "refused", reason }) as const;

const table = {
  PutObject: sealed,
  UploadPart: sealed,

  // Presigned, it gives the stored bytes, which its holder opens with a key.
  GetObject: opened,

  CreateMultipartUpload: storing,
  CompleteMultipartUpload: storing,
  CopyObject: { ...storing, reason: "its holder would copy without the envelope, or over another object" },
  AbortMultipartUpload: translated,
  DeleteObject: translated,
  DeleteObjects: translated,
  GetObjectAttributes: translated,
  HeadObject: translated,
  ListObjectVersions: translated,
  ListObjects: translated,
  ListObjectsV2: translated,
  ListParts: translated,
  RestoreObject: translated,

  GetObjectAnnotation: refused(
    "annotations are neither encrypted nor authenticated; use a client without encryption",
  ),
  GetObjectTorrent: refused("a torrent distributes the stored bytes, not the object"),
  PutObjectAnnotation: refused("an annotation would be stored in clear; use a client without encryption"),
  RenameObject: refused("the object may be bound to its key: copy and delete it instead"),
  SelectObjectContent: refused("S3 cannot query what it cannot read"),
  UploadPartCopy: refused("a part copied from another object has its key, not that of this upload"),
  WriteGetObjectResponse: refused(
    "its body would go in clear to whoever asked the Object Lambda; use a client without encryption",
  ),

  CreateBucket: passed,
  CreateBucketMetadataConfiguration: passed,
  CreateBucketMetadataTableConfiguration: passed,
  CreateSession: passed,
  DeleteBucket: passed,
  DeleteBucketAnalyticsConfiguration: passed,
  DeleteBucketCors: passed,
  DeleteBucketEncryption: passed,
  DeleteBucketIntelligentTieringConfiguration: passed,
  DeleteBucketInventoryConfiguration: passed,
  DeleteBucketLifecycle: passed,
  DeleteBucketMetadataConfiguration: passed,
  DeleteBucketMetadataTableConfiguration: passed,
  DeleteBucketMetricsConfiguration: passed,
  DeleteBucketOwnershipControls: passed,
  DeleteBucketPolicy: passed,
  DeleteBucketReplication: passed,
  DeleteBucketTagging: passed,
  DeleteBucketWebsite: passed,
  DeleteObjectAnnotation: passed,
  DeleteObjectTagging: passed,
  DeletePublicAccessBlock: passed,
  GetBucketAbac: passed,
  GetBucketAccelerateConfiguration: passed,
  GetBucketAcl: passed,
  GetBucketAnalyticsConfiguration: passed,
  GetBucketCors: passed,
  GetBucketEncryption: passed,
  GetBucketIntelligentTieringConfiguration: passed,
  GetBucketInventoryConfiguration: passed,
  GetBucketLifecycleConfiguration: passed,
  GetBucketLocation: passed,
  GetBucketLogging: passed,
  GetBucketMetadataConfiguration: passed,
  GetBucketMetadataTableConfiguration: passed,
  GetBucketMetricsConfiguration: passed,
  GetBucketNotificationConfiguration: passed,
  GetBucketOwnershipControls: passed,
  GetBucketPolicy: passed,
  GetBucketPolicyStatus: passed,
  GetBucketReplication: passed,
  GetBucketRequestPayment: passed,
  GetBucketTagging: passed,
  GetBucketVersioning: passed,
  GetBucketWebsite: passed,
  GetObjectAcl: passed,
  GetObjectLegalHold: passed,
  GetObjectLockConfiguration: passed,
  GetObjectRetention: passed,
  GetObjectTagging: passed,
  GetPublicAccessBlock: passed,
  HeadBucket: passed,
  ListBucketAnalyticsConfigurations: passed,
  ListBucketIntelligentTieringConfigurations: passed,
  ListBucketInventoryConfigurations: passed,
  ListBucketMetricsConfigurations: passed,
  ListBuckets: passed,
  ListDirectoryBuckets: passed,
  ListMultipartUploads: passed,
  ListObjectAnnotations: passed,
  PutBucketAbac: passed,
  PutBucketAccelerateConfiguration: passed,
  PutBucketAcl: passed,
  PutBucketAnalyticsConfiguration: passed,
  PutBucketCors: passed,
  PutBucketEncryption: passed,
  PutBucketIntelligentTieringConfiguration: passed,
  PutBucketInventoryConfiguration: passed,
  PutBucketLifecycleConfiguration: passed,
  PutBucketLogging: passed,
  PutBucketMetricsConfiguration: passed,
  PutBucketNotificationConfiguration: passed,
  PutBucketOwnershipControls: passed,
  PutBucketPolicy: passed,
  PutBucketReplication: passed,
  PutBucketRequestPayment: passed,
  PutBucketTagging: passed,
  PutBucketVersioning: passed,
  PutBucketWebsite: passed,
  PutObjectAcl: passed,
  PutObjectLegalHold: passed,
  PutObjectLockConfiguration: passed,
  PutObjectRetention: passed,
  // Tags are in clear: policies and life cycles need them.
  PutObjectTagging: passed,
  PutPublicAccessBlock: passed,
  UpdateBucketMetadataAnnotationTableConfiguration: passed,
  UpdateBucketMetadataInventoryTableConfiguration: passed,
  UpdateBucketMetadataJournalTableConfiguration: passed,
  // Changes the encryption at rest of an object; its stored bytes stay what they are.
  UpdateObjectEncryption: passed,
} as const satisfies Readonly<Record<string, Row>>;

type Table = typeof table;

/** The table, by the SDK's name without `Command`. */
export const commandTable: Readonly<Record<string, Row>> = table;

/** The commands that need a handler. */
export type HandledCommand = {
  [Name in keyof Table]: Table[Name]["treatment"] extends "passed" | "refused" ? never : Name;
}[keyof Table];

/**
 * What becomes of an operation: its handler's name, or `passed`. An operation that the table does not know passes only
 * if its schema shows that it carries nothing.
 * @param use `presigned` when the request is signed for later use
 * @throws FramesealError POLICY for what is refused
 */
export function decide(operation: Operation, use: "sent" | "presigned"): HandledCommand | "passed" {
  const name = operation.name ?? "a command without a name";
  const row = Object.hasOwn(table, name) ? commandTable[name] : undefined;
  const carried = carriedBy(operation.schema);
  if (row === undefined) {
    const isEmpty =
      carried !== undefined &&
      !carried.input.body &&
      !carried.input.bytes &&
      !carried.output.payload &&
      !carried.output.bytes;
    if (use === "sent" && isEmpty) return "passed";
    throw refusal(
      name,
      use,
      "this version of frameseal does not know it, so it could carry data in clear; use a client without encryption",
    );
  }
  if (row.treatment === "refused" || (use === "presigned" && row.presigned === "refused"))
    throw refusal(name, use, row.reason ?? "");
  if (row.treatment !== "passed") return name as HandledCommand;
  // A newer SDK may have given it a body.
  if (carried !== undefined && (carried.input.bytes || carried.output.bytes))
    throw refusal(name, use, "it carries data, which this version of frameseal does not know");
  return "passed";
}

function refusal(name: string, use: "sent" | "presigned", reason: string): FramesealError {
  const what = use === "presigned" ? `a presigned ${name}` : name;
  return new FramesealError("POLICY", `${what} is refused: ${reason}`);
}
