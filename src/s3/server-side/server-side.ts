// Server-side encryption: what each S3 request must say for SSE-S3, SSE-KMS and SSE-C. It protects data where S3 stores
// it, from everybody but S3; client-side encryption on top protects it from S3 as well.
import { createHash } from "node:crypto";
import { asBuffer, copySecret } from "../../bytes.ts";
import { type Checks, checkOptions, needed, oneOf, text, wrong } from "../../check-options.ts";
import { contextOption as encryptionContext } from "../../format/encryption-context.ts";
import { isAllZeros } from "../../keyring/take-data-key.ts";
import { isBytes } from "../../shapes.ts";
import { operationOf } from "../command-schema.ts";
import { parseCopySource } from "../copy-source.ts";
import {
  checkClient,
  deriveClient,
  ENCRYPTION_MIDDLEWARE,
  middlewareNames,
  sendIntercepted,
} from "../derived-client.ts";
import { addKeyTransportCheck, checkKeyTransport } from "../key-transport.ts";
import type { ObjectLocation } from "../object-format.ts";

import type { HttpRequest, Middleware, MiddlewareStack, S3ClientLike } from "../sdk-client.ts";

/** How S3 is asked to encrypt. Made by `sseS3`, `sseKms` and `sseC`. */
export type ServerSideEncryption = SseS3 | SseKms | SseC;

/** SSE-S3: keys of S3. */
export interface SseS3 {
  readonly mode: "SSE-S3";
}
/** SSE-KMS: a key of AWS KMS. */
export interface SseKms {
  readonly mode: "SSE-KMS" | "DSSE-KMS";
  readonly keyId: string | undefined;
  readonly encryptionContext: Readonly<Record<string, string>> | undefined;
  readonly bucketKey: "enabled" | "disabled" | undefined;
}
/** SSE-C: a key of the customer, sent with every request. */
export interface SseC {
  readonly mode: "SSE-C";
  /** The key of an object, 32 bytes, which the caller of this function must not change. */
  keyFor(location: ObjectLocation): Uint8Array;
}

/** Asks for SSE-S3 (`AES256`). */
export function sseS3(): SseS3 {
  return Object.freeze({ mode: "SSE-S3" });
}

/** What `sseKms` takes. */
export interface SseKmsOptions {
  /** ARN or id of the key; without it, the AWS managed key of S3. */
  readonly keyId?: string | undefined;
  /** Public pairs that KMS logs and policies can demand. */
  readonly encryptionContext?: Readonly<Record<string, string>> | undefined;
  /** `enabled` lets S3 use one key of the bucket for many objects: fewer KMS requests. */
  readonly bucketKey?: "enabled" | "disabled" | undefined;
  /** `double` asks for two layers (DSSE-KMS). */
  readonly layers?: "single" | "double" | undefined;
}

/** What the options must be. */
const SSE_KMS_OPTIONS: Checks<SseKmsOptions> = {
  keyId: text,
  encryptionContext,
  bucketKey: oneOf("enabled", "disabled"),
  layers: oneOf("single", "double"),
};

/**
 * Asks for SSE-KMS.
 * @throws TypeError, RangeError
 */
export function sseKms(options: SseKmsOptions = {}): SseKms {
  const { keyId, encryptionContext, bucketKey, layers } = checkOptions("options", options, SSE_KMS_OPTIONS);
  const mode = layers === "double" ? "DSSE-KMS" : "SSE-KMS";
  return Object.freeze({ mode, keyId, encryptionContext, bucketKey });
}

/**
 * Encrypts with a key of your own that S3 uses and forgets. Needs https, and buckets made since April 2026 must first
 * allow it (see `setDefaultEncryption`). Losing the key is losing the object.
 * @param key 32 bytes for all objects, or a function that gives the key of each, such as one made with `deriveSseCKey`
 */
export function sseC(key: Uint8Array | ((location: ObjectLocation) => Uint8Array)): SseC {
  if (typeof key === "function") return Object.freeze({ mode: "SSE-C", keyFor: key });
  checkKey(key);
  const copy = copySecret(key);
  return Object.freeze({ mode: "SSE-C", keyFor: () => copy });
}

/** What the fields of each mode must be. */
const SSE_S3: Checks<SseS3> = { mode: oneOf("SSE-S3") };
const SSE_KMS: Checks<SseKms> = {
  mode: oneOf("SSE-KMS", "DSSE-KMS"),
  keyId: text,
  encryptionContext,
  bucketKey: oneOf("enabled", "disabled"),
};
const SSE_C: Checks<SseC> = {
  mode: oneOf("SSE-C"),
  keyFor: needed((name, value) => {
    if (typeof value !== "function") throw wrong(name, "a function", value);
    return value;
  }),
};

/**
 * Checks what should be made by `sseS3`, `sseKms` or `sseC`.
 * @throws TypeError, RangeError
 */
export function checkServerSide(name: string, value: unknown): ServerSideEncryption {
  const mode = (Object(value) as { readonly mode?: unknown }).mode;
  if (mode === "SSE-S3") return checkOptions(name, value as SseS3, SSE_S3);
  if (mode === "SSE-KMS" || mode === "DSSE-KMS") return checkOptions(name, value as SseKms, SSE_KMS);
  if (mode === "SSE-C") return checkOptions(name, value as SseC, SSE_C);
  throw wrong(name, "what sseS3(), sseKms() or sseC() returned", value);
}

function checkKey(key: unknown): asserts key is Uint8Array {
  if (!isBytes(key)) throw new TypeError(`"key" expected a Uint8Array, got ${typeof key}`);
  if (key.length !== 32) throw new RangeError(`"key" expected 32 bytes, got ${key.length}`);
  if (isAllZeros(key)) throw new RangeError('"key" expected a secret key, got all zeros');
}

/** Requests that make an object and say how it is encrypted at rest. */
const MAKING = new Set(["PutObject", "CreateMultipartUpload", "CopyObject"]);
/** Requests that need the SSE-C key of an object. */
const NEEDING_KEY = new Set([
  ...MAKING,
  "UploadPart",
  "UploadPartCopy",
  "CompleteMultipartUpload",
  "ListParts",
  "GetObject",
  "HeadObject",
  "GetObjectAttributes",
  "SelectObjectContent",
]);

/** The fields that a request needs, by the SDK's name of its command without `Command`. Fields that the caller sets win. */
function serverSideFields(
  serverSide: ServerSideEncryption,
  command: string,
  input: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  if (serverSide.mode === "SSE-C") return customerKeyFields(serverSide, command, input);
  if (!MAKING.has(command) || input.ServerSideEncryption !== undefined) return {};
  if (serverSide.mode === "SSE-S3") return { ServerSideEncryption: "AES256" };
  const { mode, keyId, encryptionContext, bucketKey } = serverSide;
  const context =
    encryptionContext === undefined
      ? undefined
      : Buffer.from(JSON.stringify(encryptionContext), "utf8").toString("base64");
  return {
    ServerSideEncryption: mode === "DSSE-KMS" ? "aws:kms:dsse" : "aws:kms",
    ...(keyId === undefined ? {} : { SSEKMSKeyId: keyId }),
    ...(context === undefined ? {} : { SSEKMSEncryptionContext: context }),
    ...(bucketKey === undefined ? {} : { BucketKeyEnabled: bucketKey === "enabled" }),
  };
}

function customerKeyFields(
  serverSide: SseC,
  command: string,
  input: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const { Bucket, Key } = input;
  if (!NEEDING_KEY.has(command) || typeof Bucket !== "string" || typeof Key !== "string") return {};
  const fields: Record<string, unknown> = {};
  if (input.SSECustomerKey === undefined)
    Object.assign(fields, keyFields(serverSide, { bucket: Bucket, key: Key }, ""));
  const copySource = input.CopySource;
  if (copySource !== undefined && input.CopySourceSSECustomerKey === undefined)
    Object.assign(fields, keyFields(serverSide, parseCopySource(copySource), "CopySource"));
  return fields;
}

function keyFields(serverSide: SseC, location: ObjectLocation, prefix: string): Record<string, unknown> {
  const key = serverSide.keyFor(location);
  checkKey(key);
  // As Base64: the SDK takes other strings for raw bytes.
  return {
    [`${prefix}SSECustomerAlgorithm`]: "AES256",
    [`${prefix}SSECustomerKey`]: asBuffer(key).toString("base64"),
    [`${prefix}SSECustomerKeyMD5`]: createHash("md5").update(key).digest("base64"),
  };
}

const MIDDLEWARE = "framesealServerSide";

/** Adds the fields of `serverSide` to every request that needs them. The encryption, if any, sees them. */
export function addServerSide(stack: MiddlewareStack, serverSide: ServerSideEncryption): void {
  const middleware = addingFields(serverSide);
  stack.add(middleware, { step: "initialize", name: MIDDLEWARE, priority: "high", override: true });
  addKeyTransportCheck(stack);
}

function addingFields(serverSide: ServerSideEncryption): Middleware {
  return (next, context) => async (args) => {
    const fields = serverSideFields(serverSide, operationOf(context).name ?? "", args.input);
    return next({ ...args, input: { ...args.input, ...fields } });
  };
}

/** Returns a client that asks S3 for server-side encryption in every request; `client` stays as it is. */
export function serverSideEncryptS3Client<Client extends S3ClientLike>(
  client: Client,
  serverSide: ServerSideEncryption,
): Client {
  checkClient(client);
  const checked = checkServerSide("serverSide", serverSide);
  return deriveClient(
    client,
    (stack) => addServerSide(stack, checked),
    (sender, command, rest) =>
      sendIntercepted(client, sender, command, rest, {
        stack: (given) => withServerSide(given, sender, checked),
        last: (step) => async (args) => {
          checkKeyTransport((args.request ?? {}) as HttpRequest);
          return step(args);
        },
      }),
  );
}

// The stack of the sender has the fields; one of a wrapper that forgets its `this` lacks them.
function withServerSide(
  given: MiddlewareStack,
  sender: S3ClientLike,
  serverSide: ServerSideEncryption,
): MiddlewareStack {
  if (given === sender.middlewareStack) return given;
  const names = middlewareNames(given);
  if (names.includes(MIDDLEWARE)) return given;
  const stack = given.clone();
  if (!names.includes(ENCRYPTION_MIDDLEWARE)) addServerSide(stack, serverSide);
  else
    stack.addRelativeTo(addingFields(serverSide), {
      relation: "before",
      toMiddleware: ENCRYPTION_MIDDLEWARE,
      name: MIDDLEWARE,
    });
  return stack;
}
