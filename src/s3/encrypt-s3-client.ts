// Transparent encryption on the user's own S3 client: a derived client whose middleware seals what is uploaded and
// opens what is downloaded. Everything that takes a client gains it.
import type * as S3 from "@aws-sdk/client-s3";
import { FramesealError } from "../errors.ts";
import { checkKeyring } from "../message/seal-message.ts";
import { isAbortSignal } from "../shapes.ts";
import { createFormats, type FormatOptions, type Formats } from "./formats.ts";
import { watchBody } from "./object-body.ts";
import type { ObjectLocation } from "./object-format.ts";
import { CopyHandler } from "./requests/copy.ts";
import type { MultipartState } from "./requests/encrypted-upload.ts";
import { getObject, headObject } from "./requests/get.ts";
import { MultipartHandler } from "./requests/multipart.ts";
import { checkCallerFields, type PutObjectInput, putObject } from "./requests/put.ts";
import { type MultipartStateStore, UploadRegistry } from "./requests/upload-registry.ts";
import { readUploadSettings, type UploadOptions, type UploadSettings } from "./requests/upload-settings.ts";
import { addServerSide, type ServerSideEncryption } from "./server-side/server-side.ts";
import {
  addUnsignedPayload,
  deriveClient,
  type Middleware,
  type MiddlewareArguments,
  type MiddlewareStack,
  type Next,
  type S3ClientLike,
  Transport,
} from "./transport.ts";

/** How to encrypt objects. Only `keyring` is needed. */
export interface EncryptS3ClientOptions extends FormatOptions, UploadSettings {
  /** Encryption that S3 is asked for in addition. */
  readonly serverSideEncryption?: ServerSideEncryption | undefined;
  /** `https-only` spares the SDK the SHA-256 of payloads, which is slower than the encryption. */
  readonly unsignedPayload?: "never" | "https-only" | undefined;
  /** Keeps multipart uploads across restarts. */
  readonly multipartStates?: MultipartStateStore | undefined;
  /** CopyObject of an object that is bound to its key: refused, or encrypted again through this machine. */
  readonly boundCopy?: "refuse" | "reencrypt" | undefined;
}

const MIDDLEWARE_NAME = "framesealEncryption";

/**
 * Returns a client that encrypts and decrypts; `client` stays as it is. PutObject, GetObject (with Range), HeadObject,
 * multipart uploads, `Upload` of lib-storage, CopyObject and deletions work as before. Requests that would store or
 * return something else than what the caller means are refused.
 * @throws TypeError, RangeError, FramesealError POLICY for options that are wrong
 */
export function encryptS3Client<Client extends S3ClientLike>(
  client: Client,
  options: EncryptS3ClientOptions,
): Client {
  if (typeof client?.send !== "function" || typeof client.middlewareStack?.clone !== "function")
    throw new TypeError(`"client" expected an S3Client, got ${client === null ? "null" : typeof client}`);
  if (encrypts(client)) throw new TypeError('"client" expected a client that does not encrypt yet');
  const plugin = new EncryptionPlugin(client, options);
  const add = (stack: MiddlewareStack, middleware: Middleware): void =>
    stack.add(middleware, { step: "initialize", name: MIDDLEWARE_NAME, priority: "high", override: true });
  const derived = deriveClient(client, (stack) => {
    plugin.extendTransport(stack);
    add(stack, plugin.unsent());
  });
  const send = client.send as (this: unknown, ...args: unknown[]) => unknown;
  Object.defineProperty(derived, "send", {
    value(command: unknown, ...rest: unknown[]) {
      watchBody((command as { readonly input?: { readonly Body?: unknown } } | undefined)?.input?.Body);
      const sender = deriveClient(derived, (stack) => add(stack, plugin.sent(rest[0])));
      return send.call(sender, command, ...rest);
    },
    writable: true,
    configurable: true,
  });
  plugins.set(derived, plugin);
  return derived;
}

const plugins = new WeakMap<object, EncryptionPlugin>();

/** True for a client that `encryptS3Client` has made. */
export function encrypts(client: S3ClientLike): boolean {
  return plugins.has(client);
}

/**
 * Hands a multipart upload of `client` over: returns its state, after which the upload goes on only where the state is
 * imported. The state holds wrapped keys and keyed digests; it must be kept from being changed.
 * @throws FramesealError POLICY when the upload is not known
 */
export async function exportMultipartUpload(client: S3ClientLike, uploadId: string): Promise<MultipartState> {
  const state = await pluginOf(client).uploads.export(uploadId);
  if (state === undefined) throw new FramesealError("POLICY", "upload is not known to this client");
  return state;
}

/**
 * Takes over a multipart upload.
 * @throws FramesealError POLICY when parts were sent after the state was made
 */
export async function importMultipartUpload(client: S3ClientLike, state: MultipartState): Promise<void> {
  const plugin = pluginOf(client);
  await plugin.uploads.import(state, plugin.transport);
}

function pluginOf(client: S3ClientLike): EncryptionPlugin {
  const plugin = plugins.get(client);
  if (plugin === undefined) throw new TypeError('"client" expected a client made by encryptS3Client');
  return plugin;
}

/** @throws TypeError for what would never be heard */
function signalOf(options: unknown): AbortSignal | undefined {
  const signal = (options as { abortSignal?: unknown } | undefined)?.abortSignal ?? undefined;
  if (signal === undefined || isAbortSignal(signal)) return signal;
  throw new TypeError(`"abortSignal" expected an AbortSignal, got ${typeof signal}`);
}

/** Requests whose answers or effects would be wrong, with the reason. */
const refused: Readonly<Record<string, string>> = {
  UploadPartCopyCommand: "a part copied from another object has its key, not that of this upload",
  SelectObjectContentCommand: "S3 cannot query what it cannot read",
  RenameObjectCommand: "the object may be bound to its key: copy and delete it instead",
};

/** Requests that must not be signed for later use, because their body would not pass through here. */
const notForLater = new Set([
  "PutObjectCommand",
  "CreateMultipartUploadCommand",
  "UploadPartCommand",
  "CompleteMultipartUploadCommand",
  "CopyObjectCommand",
]);

class EncryptionPlugin {
  readonly transport: Transport;
  readonly uploads: UploadRegistry;
  readonly #options: EncryptS3ClientOptions;
  readonly #formats: Formats;
  readonly #upload: UploadOptions;

  constructor(client: S3ClientLike, options: EncryptS3ClientOptions) {
    checkKeyring(options?.keyring);
    this.#options = options;
    this.#formats = createFormats(options);
    this.#upload = readUploadSettings(options);
    this.uploads = new UploadRegistry(this.#formats.all, options.multipartStates, options.engine);
    this.transport = new Transport(deriveClient(client, (stack) => this.extendTransport(stack)));
  }

  /** Adds what every request of the transport needs. */
  extendTransport(stack: MiddlewareStack): void {
    const { serverSideEncryption, unsignedPayload } = this.#options;
    if (serverSideEncryption !== undefined) addServerSide(stack, serverSideEncryption);
    if (unsignedPayload === "https-only") addUnsignedPayload(stack);
  }

  /** For requests that are sent. */
  sent(options: unknown): Middleware {
    return (next, context) => (args) => this.#handle(next, context.commandName ?? "", args, options);
  }

  /** For requests that are resolved without being sent, as presigning does. */
  unsent(): Middleware {
    return (next, context) => async (args) => {
      const name = context.commandName ?? "";
      if (notForLater.has(name))
        throw new FramesealError(
          "POLICY",
          `a presigned ${nameOf(name)} would store what its holder sends, unencrypted`,
        );
      this.#refuse(name);
      const result = await next(args);
      if (name === "GetObjectCommand" && !("presigned" in result.output))
        throw new FramesealError("UNSUPPORTED", "requests must go through the send method of the client");
      return result;
    };
  }

  #refuse(name: string): void {
    const reason = Object.hasOwn(refused, name) ? refused[name] : undefined;
    if (reason !== undefined) throw new FramesealError("POLICY", `${nameOf(name)} is refused: ${reason}`);
  }

  async #handle(next: Next, name: string, args: MiddlewareArguments, options: unknown): ReturnType<Next> {
    this.#refuse(name);
    const transport = this.transport.withSignal(signalOf(options));
    await transport.prepare();
    const { input } = args;
    const send = (fields: Record<string, unknown>): ReturnType<Next> =>
      next({ ...args, input: { ...input, ...fields } });
    switch (name) {
      case "PutObjectCommand":
        checkCallerFields(input, this.#formats.all);
        return putObject(
          input as PutObjectInput,
          locationOf(input),
          this.#formats.written,
          transport,
          this.#upload,
          send,
        );
      case "GetObjectCommand":
        return getObject(input, locationOf(input), this.#formats, transport, send);
      case "HeadObjectCommand":
        return headObject(input, locationOf(input), this.#formats, transport, send);
      case "CreateMultipartUploadCommand":
      case "UploadPartCommand":
      case "CompleteMultipartUploadCommand":
      case "AbortMultipartUploadCommand":
      case "ListPartsCommand":
        return new MultipartHandler(this.uploads, this.#formats, transport, this.#options.partSize).handle(
          name,
          input,
          locationOf(input),
          send,
        );
      case "CopyObjectCommand":
        return new CopyHandler(this.#formats, transport, {
          ...this.#upload,
          boundCopy: this.#options.boundCopy ?? "refuse",
        }).copy(input, locationOf(input), send);
      case "DeleteObjectCommand":
      case "DeleteObjectsCommand":
        return this.#delete(input, transport, await next(args));
      default:
        return next(args);
    }
  }

  // Deletes what stands next to the objects that were deleted.
  async #delete(
    input: MiddlewareArguments["input"],
    transport: Transport,
    result: Awaited<ReturnType<Next>>,
  ): ReturnType<Next> {
    const access = {
      Bucket: String(input.Bucket),
      ...(input.RequestPayer === undefined ? {} : { RequestPayer: "requester" as const }),
      ...(input.ExpectedBucketOwner === undefined
        ? {}
        : { ExpectedBucketOwner: String(input.ExpectedBucketOwner) }),
    };
    const many = (input.Delete as { Objects?: { Key?: string; VersionId?: string }[] } | undefined)?.Objects;
    const objects = many ?? [input as { Key?: string; VersionId?: string }];
    const errors = (result.output.Errors as S3._Error[] | undefined) ?? [];
    const failed = new Set(errors.map(({ Key }) => Key));
    const sideKeys = objects.flatMap(({ Key, VersionId }) =>
      Key === undefined || VersionId !== undefined || failed.has(Key)
        ? []
        : this.#formats.written.sideObjectKeys(Key),
    );
    if (many === undefined) {
      for (const Key of sideKeys) await transport.deleteObject({ ...access, Key });
      return result;
    }
    if (sideKeys.length === 0) return result;
    const Delete = { Objects: sideKeys.map((Key) => ({ Key })), Quiet: true };
    const { Errors = [] } = await transport.deleteObjects({ ...access, Delete });
    if (Errors.length === 0) return result;
    return { ...result, output: { ...result.output, Errors: [...errors, ...Errors] } };
  }
}

function locationOf(input: Readonly<Record<string, unknown>>): ObjectLocation {
  const { Bucket, Key } = input;
  if (typeof Bucket !== "string" || Bucket === "")
    throw new TypeError(`"Bucket" expected a string, got ${typeof Bucket}`);
  if (typeof Key !== "string" || Key === "")
    throw new TypeError(`"Key" expected a string, got ${typeof Key}`);
  return { bucket: Bucket, key: Key };
}

function nameOf(commandName: string): string {
  return commandName.replace(/Command$/, "");
}
