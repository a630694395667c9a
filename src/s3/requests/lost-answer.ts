// Requests that store, whose answer may be lost: a retry then meets what the first attempt has made, and fails though all
// is done (412, 404), or every answer is lost. The object itself tells: no two encryptions make the same stored bytes, and
// no two wraps the same envelope.
import { setTimeout as sleep } from "node:timers/promises";
import { asAborted } from "../../errors.ts";
import { isError, isErrorNamed } from "../../shapes.ts";
import type { ObjectLocation, ObjectMetadata } from "../object-format.ts";
import { normalizeMetadata } from "../object-metadata.ts";
import { bodyOf, collectExactly, parseContentRange } from "../object-source.ts";
import { repeatFields } from "../request-fields.ts";
import { statusOf } from "../transient-error.ts";
import type { GetObjectInput, GetObjectOutput, HeadObjectOutput, Next, Transport } from "../transport.ts";

/** Bytes at the start of an object by which it is recognised: a message id, or ciphertext under a key of its own. */
export const FINGERPRINT_LENGTH = 128;

/** By what an object is recognised. */
export type Mark =
  | { readonly kind: "bytes"; readonly first: Uint8Array; readonly storedLength: number }
  | { readonly kind: "metadata"; readonly entries: ObjectMetadata };

/** Times that a request is sent again after S3 said that another one was under way. */
const CONFLICT_RETRIES = 3;
const CONFLICT_PAUSE_MS = 100;

/** The mark of an object whose stored bytes are at hand, or the beginning of them. */
export function markOf(bytes: Uint8Array, storedLength = bytes.length): Mark {
  return { kind: "bytes", first: bytes.slice(0, FINGERPRINT_LENGTH), storedLength };
}

/** The mark of an object that is recognised only by all its bytes. */
export function markOfAll(bytes: Uint8Array): Mark {
  return { kind: "bytes", first: bytes, storedLength: bytes.length };
}

/**
 * Stores, and looks when the outcome is open. When another request was under way (409), tries again a few times.
 * @param store sends the request; may be called again
 * @param look resolves to the answer that was lost, or to undefined when the object is not there
 */
export async function storeSurely<Output>(
  store: () => Promise<Output>,
  look: () => Promise<Output | undefined>,
  signal: AbortSignal | undefined,
): Promise<Output> {
  let conflict: { readonly error: unknown } | undefined;
  for (let attempt = 0; ; attempt++)
    try {
      return await store();
    } catch (error) {
      if (!isOpen(error) || signal?.aborted) throw error;
      // A look that fails tells nothing: the caller gets the error of what he asked for.
      const found = await look().catch(() => undefined);
      if (found !== undefined) return found;
      if (statusOf(error) !== 409 || attempt === CONFLICT_RETRIES)
        // An upload that is gone after a conflict: the conflict is the reason.
        throw statusOf(error) === 404 && conflict !== undefined ? conflict.error : error;
      conflict ??= { error };
      await sleep(CONFLICT_PAUSE_MS * 2 ** attempt, undefined, signal === undefined ? {} : { signal }).catch(
        (stopped: unknown) => {
          throw asAborted(stopped, signal);
        },
      );
    }
}

/**
 * Sends a whole object as one request, and looks whether it was stored when the answer is lost.
 * @param input the caller's request
 * @param body the stored bytes
 */
export function storeWhole(
  send: () => ReturnType<Next>,
  body: Uint8Array,
  input: Readonly<Record<string, unknown>>,
  location: ObjectLocation,
  transport: Transport,
): ReturnType<Next> {
  const look = async () => {
    const output = await findStored(location, markOf(body), repeatFields(input, "GetObject"), transport);
    return output && { output, response: undefined };
  };
  return storeSurely(send, look, transport.signal);
}

/**
 * The answer to PutObject, Complete or CopyObject as the object at `location` shows it; undefined when another one, or
 * none, is there.
 * @param access owner, payer and SSE-C key
 */
export async function findStored(
  location: ObjectLocation,
  mark: Mark,
  access: Readonly<Record<string, unknown>>,
  transport: Transport,
): Promise<Record<string, unknown> | undefined> {
  const request: GetObjectInput = { ...access, Bucket: location.bucket, Key: location.key };
  const output =
    mark.kind === "bytes"
      ? await seeBytes(request, mark, transport)
      : await seeMetadata(request, mark.entries, transport);
  if (output === undefined) return undefined;
  const answer: Record<string, unknown> = { $metadata: output.$metadata };
  for (const name of ANSWERED)
    if ((output as unknown as Record<string, unknown>)[name] !== undefined)
      answer[name] = (output as unknown as Record<string, unknown>)[name];
  return answer;
}

/** What an answer to a request that stores tells, of what one to a request that reads does. */
const ANSWERED = [
  "ETag",
  "VersionId",
  "Expiration",
  "ServerSideEncryption",
  "SSECustomerAlgorithm",
  "SSECustomerKeyMD5",
  "SSEKMSKeyId",
  "BucketKeyEnabled",
  "RequestCharged",
] as const;

async function seeBytes(
  request: GetObjectInput,
  { first, storedLength }: Extract<Mark, { kind: "bytes" }>,
  transport: Transport,
): Promise<GetObjectOutput | undefined> {
  const output = await transport.getObject({ ...request, Range: `bytes=0-${first.length - 1}` });
  const body = bodyOf(output);
  const range = parseContentRange(output.ContentRange);
  if (range?.size !== storedLength || range.start !== 0 || range.end !== first.length) {
    body.destroy();
    return undefined;
  }
  const bytes = await collectExactly(body, first.length);
  return Buffer.compare(bytes, first) === 0 ? output : undefined;
}

async function seeMetadata(
  request: GetObjectInput,
  entries: ObjectMetadata,
  transport: Transport,
): Promise<HeadObjectOutput | undefined> {
  const output = await transport.headObject(request);
  const metadata = normalizeMetadata(output.Metadata);
  return Object.entries(entries).every(([name, value]) => metadata[name] === value) ? output : undefined;
}

// What leaves open whether the request took effect: conditions that may have met our own object, an upload or object that
// may be gone because we ended it, errors of the server, and whatever the SDK met on the way. Not what was thrown before
// anything was sent: that has no metadata of a request.
function isOpen(error: unknown): boolean {
  if (isErrorNamed(error, "AbortError")) return false;
  if (isErrorNamed(error, "FramesealError")) return (error as { code?: unknown }).code === "NETWORK";
  const status = statusOf(error);
  if (status === undefined) return isError(error) && "$metadata" in error;
  return status === 404 || status === 409 || status === 412 || status >= 500 || status < 300;
}
