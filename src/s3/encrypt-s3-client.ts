// Transparent encryption on the user's own S3 client: a derived client whose middleware seals what is uploaded and
// opens what is downloaded. Everything that takes a client gains it.
import { FramesealError } from "../errors.ts";
import { isAbortSignal } from "../shapes.ts";
import { operationOf } from "./command-schema.ts";
import { decide, type HandledCommand } from "./commands.ts";
import { createFormats, FORMAT_OPTIONS, type FormatOptions, type Formats } from "./formats.ts";
import type { ObjectLocation } from "./object-format.ts";
import { type Checks, checkOptions, oneOf, wholeNumber, withFunctions } from "./options.ts";
import { getObjectAttributes } from "./requests/attributes.ts";
import { CopyHandler } from "./requests/copy.ts";
import { getObject, type Send } from "./requests/get.ts";
import { headObject } from "./requests/head.ts";
import { type ListSizes, listObjects } from "./requests/list.ts";
import { MultipartHandler } from "./requests/multipart.ts";
import type { MultipartState, MultipartStateStore } from "./requests/multipart-state.ts";
import { checkCallerFields, type PutObjectInput, putObject, type UploadOptions } from "./requests/put.ts";
import { deleteWithSideObjects } from "./requests/side-object.ts";
import { UploadRegistry } from "./requests/upload-registry.ts";
import { addServerSide, checkServerSide, type ServerSideEncryption } from "./server-side/server-side.ts";
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
export interface EncryptS3ClientOptions extends FormatOptions {
  /** Plaintext bytes of a part when a body needs more than one; by default 8 MiB. */
  readonly partSize?: number | undefined;
  /** Parts of one body on their way at a time; by default 4. */
  readonly uploadConcurrency?: number | undefined;
  /** Encryption that S3 is asked for in addition. */
  readonly serverSideEncryption?: ServerSideEncryption | undefined;
  /** `https-only` spares the SDK the SHA-256 of payloads, which is slower than the encryption. */
  readonly unsignedPayload?: "never" | "https-only" | undefined;
  /** Keeps multipart uploads that are made by hand across restarts, and shares them with other clients. */
  readonly multipartStates?: MultipartStateStore | undefined;
  /** CopyObject of an object that is bound to its key: refused, or encrypted again through this machine. */
  readonly boundCopy?: "refuse" | "reencrypt" | undefined;
  /** Sizes in listings; by default `arithmetic`. */
  readonly listSizes?: ListSizes | undefined;
}

const DEFAULT_PART_SIZE = 8 * 1024 * 1024;
const MIN_PART_SIZE = 5 * 1024 * 1024;
const DEFAULT_UPLOAD_CONCURRENCY = 4;
const MIDDLEWARE_NAME = "framesealEncryption";

/** What the options must be. */
const CLIENT_OPTIONS: Checks<EncryptS3ClientOptions> = {
  ...FORMAT_OPTIONS,
  partSize: wholeNumber(MIN_PART_SIZE, 5 * 2 ** 30),
  uploadConcurrency: wholeNumber(1, 1000),
  serverSideEncryption: checkServerSide,
  unsignedPayload: oneOf("never", "https-only"),
  multipartStates: withFunctions("a MultipartStateStore", "load", "compareAndSwap", "remove"),
  boundCopy: oneOf("refuse", "reencrypt"),
  listSizes: oneOf("arithmetic", "head", "stored"),
};

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
  const plugin = new EncryptionPlugin(client, checkOptions("options", options, CLIENT_OPTIONS));
  const add = (stack: MiddlewareStack, middleware: Middleware): void =>
    stack.add(middleware, { step: "initialize", name: MIDDLEWARE_NAME, priority: "high", override: true });
  const derived = deriveClient(client, (stack) => {
    plugin.extendTransport(stack);
    add(stack, plugin.unsent());
  });
  const send = client.send as (this: unknown, ...args: unknown[]) => unknown;
  Object.defineProperty(derived, "send", {
    value(command: unknown, ...rest: unknown[]) {
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
 * Hands a multipart upload of `client` over: returns its state, after which nobody goes on with the upload, on this
 * client or its `multipartStates`, until one client imports the state. It holds wrapped keys and keyed digests, and is
 * authenticated.
 * @throws FramesealError POLICY when the upload is not known
 */
export async function exportMultipartUpload(client: S3ClientLike, uploadId: string): Promise<MultipartState> {
  const plugin = pluginOf(client);
  const state = await plugin.uploads.export(uploadId, plugin.transport);
  if (state === undefined) throw new FramesealError("POLICY", "upload is not known to this client");
  return state;
}

/**
 * Takes over a multipart upload that was exported. A state can be imported once: two clients that go on from it would
 * seal different bytes under the same nonces. The `multipartStates` of `client` remember that; without them only states
 * from this process can be imported. One state must not be imported into two stores. Clients that share a store need
 * no import: they know each other's uploads.
 * @throws FramesealError POLICY when the state was imported before, when it is not an exported one, and when parts were
 * sent after it was made; AUTHENTICATION_FAILED when it was changed
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

/** A request that a handler answers. */
interface HandledRequest {
  readonly input: MiddlewareArguments["input"];
  readonly transport: Transport;
  readonly send: Send;
}
type Handler = (request: HandledRequest) => ReturnType<Next>;

class EncryptionPlugin {
  readonly transport: Transport;
  readonly uploads: UploadRegistry;
  readonly #options: EncryptS3ClientOptions;
  readonly #formats: Formats;
  readonly #partSize: number;
  readonly #uploadConcurrency: number;

  constructor(client: S3ClientLike, options: EncryptS3ClientOptions) {
    this.#options = options;
    this.#formats = createFormats(options);
    this.#partSize = options.partSize ?? DEFAULT_PART_SIZE;
    this.#uploadConcurrency = options.uploadConcurrency ?? DEFAULT_UPLOAD_CONCURRENCY;
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
    return (next, context) => async (args) => {
      const command = decide(operationOf(context), "sent");
      if (command === "passed") return next(args);
      const transport = this.transport.withSignal(signalOf(options));
      await transport.prepare();
      const { input } = args;
      const send: Send = (fields) => next({ ...args, input: { ...input, ...fields } });
      return this.#handlers[command]({ input, transport, send });
    };
  }

  /** For requests that are resolved without being sent, as presigning does. */
  unsent(): Middleware {
    return (next, context) => async (args) => {
      const command = decide(operationOf(context), "presigned");
      if (command === "RestoreObject") checkRestore(args.input);
      const result = await next(args);
      if (command !== "passed" && !("presigned" in result.output))
        throw new FramesealError("UNSUPPORTED", "requests must go through the send method of the client");
      return result;
    };
  }

  // One for each command that the table gives to a handler.
  readonly #handlers: Readonly<Record<HandledCommand, Handler>> = {
    PutObject: ({ input, transport, send }) => {
      checkCallerFields(input, this.#formats.all);
      return putObject(
        input as PutObjectInput,
        locationOf(input),
        this.#formats.written,
        transport,
        this.#uploadOptions,
        send,
      );
    },
    GetObject: ({ input, transport, send }) =>
      getObject(input, locationOf(input), this.#formats, transport, send),
    HeadObject: ({ input, transport, send }) =>
      headObject(input, locationOf(input), this.#formats, transport, send),
    CreateMultipartUpload: (request) => this.#multipart("CreateMultipartUploadCommand", request),
    UploadPart: (request) => this.#multipart("UploadPartCommand", request),
    CompleteMultipartUpload: (request) => this.#multipart("CompleteMultipartUploadCommand", request),
    AbortMultipartUpload: (request) => this.#multipart("AbortMultipartUploadCommand", request),
    ListParts: (request) => this.#multipart("ListPartsCommand", request),
    CopyObject: ({ input, transport, send }) =>
      new CopyHandler(this.#formats, transport, {
        ...this.#uploadOptions,
        boundCopy: this.#options.boundCopy ?? "refuse",
      }).copy(input, locationOf(input), send),
    DeleteObject: (request) => this.#delete(request),
    DeleteObjects: (request) => this.#delete(request),
    GetObjectAttributes: ({ input, transport, send }) =>
      getObjectAttributes(input, locationOf(input), this.#formats, transport, send),
    ListObjects: (request) => this.#list(request),
    ListObjectsV2: (request) => this.#list(request),
    ListObjectVersions: (request) => this.#list(request),
    RestoreObject: ({ input, send }) => {
      checkRestore(input);
      return send({});
    },
  };

  get #uploadOptions(): UploadOptions {
    return { partSize: this.#partSize, uploadConcurrency: this.#uploadConcurrency };
  }

  #multipart(name: string, { input, transport, send }: HandledRequest): ReturnType<Next> {
    return new MultipartHandler(this.uploads, this.#formats, transport, this.#options.partSize).handle(
      name,
      input,
      locationOf(input),
      send,
    );
  }

  #list({ input, transport, send }: HandledRequest): ReturnType<Next> {
    return listObjects(input, this.#formats, transport, send, this.#options.listSizes ?? "arithmetic");
  }

  #delete({ input, transport, send }: HandledRequest): ReturnType<Next> {
    return deleteWithSideObjects(input, this.#formats.written, transport, () => send({}));
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

/** A restore that selects writes an answer computed from the stored bytes. @throws FramesealError POLICY */
function checkRestore(input: Readonly<Record<string, unknown>>): void {
  const { Type, SelectParameters, OutputLocation } = (input.RestoreRequest ?? {}) as Record<string, unknown>;
  if (Type !== undefined || SelectParameters !== undefined || OutputLocation !== undefined)
    throw new FramesealError(
      "POLICY",
      "RestoreObject with SelectParameters is refused: S3 cannot query what it cannot read",
    );
}
