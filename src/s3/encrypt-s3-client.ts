// Transparent encryption on the user's own S3 client: a derived client whose middleware seals what is uploaded and
// opens what is downloaded. Everything that takes a client gains it.

import { type Checks, checkOptions, oneOf, text, withFunctions } from "../check-options.ts";
import { asAborted, FramesealError } from "../errors.ts";
import { isAbortSignal } from "../shapes.ts";
import { operationOf } from "./command-schema.ts";
import { decide, type HandledCommand } from "./commands.ts";
import {
  checkClient,
  deriveClient,
  ENCRYPTION_MIDDLEWARE,
  encrypts,
  isClient,
  markClient,
  markOf,
  sendIntercepted,
  stackWithout,
  withoutEncryption,
} from "./derived-client.ts";
import { createFormats, FORMAT_OPTIONS, type FormatOptions, type Formats } from "./formats.ts";
import { LastCheck } from "./last-check.ts";
import { watchBody } from "./object-body.ts";
import type { ObjectLocation } from "./object-format.ts";
import { checkReceipt } from "./receipt.ts";
import { getObjectAttributes } from "./requests/attributes.ts";
import { CopyHandler } from "./requests/copy.ts";
import { getObject, type Send } from "./requests/get.ts";
import { headObject } from "./requests/head.ts";
import { type ListSizes, listObjects } from "./requests/list.ts";
import { MultipartHandler } from "./requests/multipart.ts";
import type { MultipartState, MultipartStateStore } from "./requests/multipart-state.ts";
import { checkCallerFields, type PutObjectInput, putObject } from "./requests/put.ts";
import { deleteWithSideObjects } from "./requests/side-object.ts";
import { withoutStoredFields } from "./requests/stored-fields.ts";
import { UploadRegistry } from "./requests/upload-registry.ts";
import {
  UPLOAD_SETTINGS,
  type UploadOptions,
  type UploadSettings,
  uploadOptionsFrom,
} from "./requests/upload-settings.ts";
import { READ_OPTIONS, type ReadOptions } from "./resuming-source.ts";
import type { Middleware, MiddlewareArguments, MiddlewareStack, Next, S3ClientLike } from "./sdk-client.ts";
import { addServerSide, checkServerSide, type ServerSideEncryption } from "./server-side/server-side.ts";
import { addUnsignedPayload, Transport } from "./transport.ts";

/** How to encrypt objects. Only `keyring` is needed. */
export interface EncryptS3ClientOptions extends FormatOptions, ReadOptions, UploadSettings {
  /** Encryption that S3 is asked for in addition. */
  readonly serverSideEncryption?: ServerSideEncryption | undefined;
  /** `https-only` spares the SDK the SHA-256 of payloads, which is slower than the encryption. */
  readonly unsignedPayload?: "never" | "https-only" | undefined;
  /** Keeps multipart uploads that are made by hand across restarts, and shares them with other clients. */
  readonly multipartStates?: MultipartStateStore | undefined;
  /** CopyObject of an object that is bound to another name than its copy has: refused, or encrypted again through this machine. */
  readonly boundCopy?: "refuse" | "reencrypt" | undefined;
  /** Sizes in listings; by default `arithmetic`. */
  readonly listSizes?: ListSizes | undefined;
}

/** What the options must be. */
const CLIENT_OPTIONS: Checks<EncryptS3ClientOptions> = {
  ...FORMAT_OPTIONS,
  ...READ_OPTIONS,
  ...UPLOAD_SETTINGS,
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
  checkClient(client);
  if (encrypts(client)) throw new TypeError('"client" expected a client that does not encrypt yet');
  const plugin = new EncryptionPlugin(client, checkOptions("options", options, CLIENT_OPTIONS));
  const derived = deriveClient(
    client,
    (stack) => plugin.extend(stack),
    (sender, command, rest) => plugin.send(sender, command, rest),
  );
  markClient(derived, plugin);
  return derived;
}

/**
 * Hands a multipart upload of `client` over: returns its state, after which nobody goes on with the upload, on this
 * client or its `multipartStates`, until one client imports the state. It holds wrapped keys and keyed digests, and is
 * authenticated.
 * @throws FramesealError POLICY when the upload is not known
 */
export async function exportMultipartUpload(client: S3ClientLike, uploadId: string): Promise<MultipartState> {
  const plugin = pluginOf(client);
  text("uploadId", uploadId);
  const state = await plugin.uploads.export(uploadId, plugin.transportOf(client));
  if (state === undefined) throw new FramesealError("POLICY", "upload is not known to this client");
  return state;
}

/**
 * Takes over a multipart upload that was exported. A state is good for one import: two clients that go on from it would
 * seal different bytes under the same nonces. So it is imported through the `multipartStates` of the client that
 * exported it, by whatever process; or, if that client had none, in the same process. Clients that share a store need
 * neither export nor import: they know each other's uploads.
 * @throws FramesealError POLICY when the state was imported before, when it is not an exported one, and when nothing
 * here can tell; AUTHENTICATION_FAILED when it was changed
 */
export async function importMultipartUpload(client: S3ClientLike, state: MultipartState): Promise<void> {
  const plugin = pluginOf(client);
  await plugin.uploads.import(state, plugin.transportOf(client));
}

function pluginOf(client: S3ClientLike): EncryptionPlugin {
  const plugin = isClient(client) ? markOf(client) : undefined;
  if (!(plugin instanceof EncryptionPlugin))
    throw new TypeError('"client" expected a client made by encryptS3Client');
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
  readonly uploads: UploadRegistry;
  readonly #client: S3ClientLike;
  readonly #options: EncryptS3ClientOptions;
  readonly #formats: Formats;
  readonly #upload: UploadOptions;

  constructor(client: S3ClientLike, options: EncryptS3ClientOptions) {
    this.#client = client;
    this.#options = options;
    this.#formats = createFormats(options);
    this.#upload = uploadOptionsFrom(options);
    this.uploads = new UploadRegistry(this.#formats.all, options.multipartStates, options.engine);
  }

  // Marks stacks as those of this client. For requests that are resolved without being sent, as presigning does.
  readonly #unsent: Middleware = (next, context) => async (args) => {
    const command = decide(operationOf(context), "presigned");
    if (command === "RestoreObject") checkRestore(args.input);
    const result = await next(args);
    if (command !== "passed" && !("presigned" in result.output))
      throw new FramesealError("UNSUPPORTED", "requests must go through the send method of the client");
    return result;
  };
  // Marks stacks of the requests that are sent on behalf of another.
  readonly #further: Middleware = (next) => next;

  /** Adds what the client's own stack has. */
  extend(stack: MiddlewareStack): void {
    this.#extendAll(stack);
    addFirst(stack, ENCRYPTION_MIDDLEWARE, this.#unsent);
  }

  // Adds what every request needs.
  #extendAll(stack: MiddlewareStack): void {
    const { serverSideEncryption, unsignedPayload } = this.#options;
    if (serverSideEncryption !== undefined) addServerSide(stack, serverSideEncryption);
    if (unsignedPayload === "https-only") addUnsignedPayload(stack);
  }

  /** Sends a command for a client that is this plugin's, or derived from it. */
  send(sender: S3ClientLike, command: unknown, rest: readonly unknown[]): unknown {
    watchBody((command as { readonly input?: { readonly Body?: unknown } } | undefined)?.input?.Body);
    const check = new LastCheck((name) => this.#formats.all.some((format) => format.ownsMetadata(name)));
    return sendIntercepted(this.#client, sender, command, rest, {
      stack: (given) => {
        const stack = stackWithout(this.#unsent, given, sender, (copy) => this.#extendAll(copy));
        const transport = (): Transport =>
          this.#transport(sender, () => {
            const further = stack.clone();
            further.remove(sent);
            return further;
          }).withSignal(signalOf(rest[0]));
        const sent = this.#untilAborted(rest[0], this.#sent(transport, check));
        addFirst(stack, ENCRYPTION_MIDDLEWARE, sent);
        return stack;
      },
      last: (step, context, stack) => check.guard(step, context, stack),
    });
  }

  // What the SDK throws for an abort differs from step to step.
  #untilAborted(options: unknown, middleware: Middleware): Middleware {
    return (next, context) => {
      const handler = middleware(next, context);
      return async (args) => {
        const signal = signalOf(options);
        try {
          return await handler(args);
        } catch (error) {
          throw asAborted(error, signal);
        }
      };
    };
  }

  #sent(transportOf: () => Transport, check: LastCheck): Middleware {
    return (next, context) => async (args) => {
      const command = decide(operationOf(context), "sent");
      if (command === "passed") {
        check.pass();
        return next(args);
      }
      const transport = transportOf();
      await transport.prepare();
      const { input } = args;
      const send: Send = async (fields) => {
        const changed = { ...input, ...fields };
        check.expect(command, changed);
        const answer = await next({ ...args, input: changed });
        checkReceipt(command, answer.output);
        return answer;
      };
      const result = await this.#handlers[command]({ input, transport, send });
      return { ...result, output: withoutStoredFields(command, result.output) };
    };
  }

  /** Sends further requests with all middleware of `client` but the encryption. */
  transportOf(client: S3ClientLike): Transport {
    const given = client.middlewareStack as MiddlewareStack;
    return this.#transport(client, () =>
      stackWithout(this.#unsent, given, client, (copy) => this.#extendAll(copy)),
    );
  }

  #transport(sender: S3ClientLike, stackOf: () => MiddlewareStack): Transport {
    const further: S3ClientLike = withoutEncryption(
      sender,
      () => {
        const stack = stackOf();
        addFirst(stack, "framesealTransport", this.#further);
        return stack;
      },
      (command, rest) =>
        sendIntercepted(this.#client, further, command, rest, {
          stack: (given) => stackWithout(this.#further, given, further, (copy) => this.#extendAll(copy)),
          last: (step) => step,
        }),
    );
    return new Transport(further);
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
        this.#upload,
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
        ...this.#upload,
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

function addFirst(stack: MiddlewareStack, name: string, middleware: Middleware): void {
  stack.add(middleware, { step: "initialize", name, priority: "high", override: true });
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
