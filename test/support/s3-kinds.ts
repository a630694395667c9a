// Kinds of S3 servers: in what they differ from the real service, as one table. A strict server imitates one of them.
import { S3Error } from "./s3-error.ts";
import type { S3Call } from "./s3-objects.ts";

/** What a kind of server does in its own way. */
export interface ServerKind {
  /** Calls that it does not know or take. */
  refuse(call: S3Call): S3Error | undefined;
  /** Headers and parameters that it ignores. */
  readonly ignored: readonly string[];
  readonly weakETags?: true;
  /** Compares If-Match of what changes an object as text, with a tag that has no quotes. */
  readonly bareIfMatch?: true;
  /** The answer to Complete has an empty ETag. */
  readonly tellsNoETagOfComplete?: true;
}

const notImplemented = (): S3Error => new S3Error(501, "NotImplemented");
const isOfObject = ({ key }: S3Call): boolean => key !== "";
const hasChecksum = ({ headers }: S3Call): boolean =>
  Object.keys(headers).some((name) => /^x-amz-(checksum-|sdk-checksum|trailer)/.test(name));
const conditions = ["if-match", "if-none-match"];
const isConditional = ({ method, headers }: S3Call): boolean =>
  method !== "GET" && method !== "HEAD" && conditions.some((name) => headers[name] !== undefined);
const asksFor = ({ query }: S3Call, ...names: readonly string[]): boolean =>
  names.some((name) => query.has(name));
/** Of a bucket that has neither versions nor locks; the real service, and those that know these requests, answer so. */
const ofPlainBucket = (call: S3Call): S3Error | undefined =>
  !isOfObject(call) && asksFor(call, "object-lock")
    ? new S3Error(404, "ObjectLockConfigurationNotFoundError")
    : undefined;

/** The table. */
export const serverKinds = {
  aws: {
    refuse: ofPlainBucket,
    ignored: [],
  },
  // Knows no encryption of objects that are there, and takes the request for a PutObject. Complete has no conditions.
  "ceph-rgw": {
    refuse: ofPlainBucket,
    ignored: ["if-none-match of Complete", "encryption"],
    bareIfMatch: true,
    tellsNoETagOfComplete: true,
  },
  "minio-like": {
    refuse: (call) =>
      isOfObject(call) && asksFor(call, "encryption") ? notImplemented() : ofPlainBucket(call),
    ignored: [],
  },
  "r2-like": {
    refuse: (call) =>
      asksFor(call, "tagging", "versioning", "object-lock", "encryption") ? notImplemented() : undefined,
    ignored: [],
  },
  "b2-like": {
    refuse: (call) => {
      if (hasChecksum(call)) return new S3Error(400, "InvalidArgument", "Unsupported header");
      if (isConditional(call) || asksFor(call, "tagging", "encryption")) return notImplemented();
      return ofPlainBucket(call);
    },
    ignored: [],
  },
  // As gateways to file systems and to other stores are.
  "gateway-like": {
    refuse: (call) => {
      if (call.method === "GET" && call.query.get("list-type") === "2") return notImplemented();
      if (hasChecksum(call)) return notImplemented();
      return asksFor(call, "uploads") && call.method === "GET" ? notImplemented() : undefined;
    },
    ignored: [...conditions, "tagging"],
    weakETags: true,
  },
  // Servers of the time before the second kind of listings.
  "deaf-to-listings": {
    refuse: ofPlainBucket,
    ignored: ["list-type", "continuation-token", "start-after"],
  },
} as const satisfies Readonly<Record<string, ServerKind>>;

export type ServerKindName = keyof typeof serverKinds;

/** Whether a server of this kind leaves the ETag in its answer empty. */
export function hidesETag({ tellsNoETagOfComplete }: ServerKind, { method, query }: S3Call): boolean {
  return tellsNoETagOfComplete === true && method === "POST" && query.has("uploadId");
}

/** The call as a server of this kind sees it. @throws S3Error */
export function seenBy(kind: ServerKind, call: S3Call): S3Call {
  const refused = kind.refuse(call);
  if (refused !== undefined) throw refused;
  const isComplete = call.method === "POST" && call.query.has("uploadId");
  const isIgnored = (name: string): boolean =>
    kind.ignored.includes(name) || (isComplete && kind.ignored.includes(`${name} of Complete`));
  const reads = call.method === "GET" || call.method === "HEAD";
  const headers = Object.fromEntries(
    Object.entries(call.headers).filter(([name]) => reads || !isIgnored(name)),
  );
  const match = headers["if-match"];
  // What has quotes then has two of each, which no tag has.
  if (kind.bareIfMatch === true && !reads && match !== undefined) headers["if-match"] = `"${match}"`;
  const query = new URLSearchParams([...call.query].filter(([name]) => !isIgnored(name)));
  return { ...call, headers, query };
}
