// The user's S3 client as this package uses it: derived clients with middleware of their own, and the requests that
// the plugin sends by itself. The AWS SDK is an optional peer: its commands are loaded when they are first needed, and
// the types below say all that is asked of it.
import type * as S3 from "@aws-sdk/client-s3";
import { FramesealError } from "../errors.ts";
import { copyOf, type SdkPackage } from "../sdk-copy.ts";
import { payloadDigest } from "./object-metadata.ts";

export type GetObjectInput = Partial<S3.GetObjectCommandInput>;
export type GetObjectOutput = S3.GetObjectCommandOutput;
export type HeadObjectOutput = S3.HeadObjectCommandOutput;

/** What is asked of a client: an `S3Client` or `S3` of the AWS SDK for JavaScript 3. */
export interface S3ClientLike {
  readonly config: object;
  readonly middlewareStack: { clone(): unknown };
  send(...args: never[]): unknown;
}

/** One request on its way through the middleware of the SDK. */
export interface MiddlewareArguments {
  readonly input: Record<string, unknown>;
  readonly request?: unknown;
}
export type Next = (
  args: MiddlewareArguments,
) => Promise<{ output: Record<string, unknown>; response: unknown }>;
export type Middleware = (next: Next, context: { readonly commandName?: string }) => Next;

/** The part of the SDK's middleware stack that is used. */
export interface MiddlewareStack {
  clone(): MiddlewareStack;
  add(
    middleware: Middleware,
    options: { step: string; name: string; priority?: string; override?: boolean },
  ): void;
}

/**
 * Returns a client that shares everything with `client` but its middleware.
 * @param extend adds middleware to the copy of the stack
 */
export function deriveClient<Client extends S3ClientLike>(
  client: Client,
  extend: (stack: MiddlewareStack) => void,
): Client {
  const stack = client.middlewareStack.clone() as MiddlewareStack;
  extend(stack);
  return Object.create(client, {
    middlewareStack: { value: stack, enumerable: true, writable: true, configurable: true },
    // With `cacheMiddleware` the SDK keeps resolved handlers here: those of the other client must not be found.
    handlers: { value: undefined, enumerable: false, writable: true, configurable: true },
  }) as Client;
}

/** Sends requests with the transport's own middleware: server-side encryption, unsigned payloads. */
export class Transport {
  readonly #client: S3.S3Client;
  readonly #signal: AbortSignal | undefined;

  constructor(client: S3ClientLike, signal?: AbortSignal) {
    this.#client = client as unknown as S3.S3Client;
    this.#signal = signal;
  }
  /** The same transport, whose requests end when `signal` is aborted. */
  withSignal(signal: AbortSignal | undefined): Transport {
    return new Transport(this.#client, signal);
  }
  get #options(): { abortSignal?: AbortSignal } {
    return this.#signal === undefined ? {} : { abortSignal: this.#signal };
  }
  get signal(): AbortSignal | undefined {
    return this.#signal;
  }

  #commands(): Promise<typeof S3> {
    return loadCommands(this.#client);
  }
  /**
   * Finds the commands before they are needed, so that a large body does not fail where a small one works.
   * @throws FramesealError UNSUPPORTED when there are none for this client
   */
  async prepare(): Promise<void> {
    await this.#commands();
  }

  /** The algorithm that the SDK puts on every part by default; Create must name the same. */
  async defaultChecksum(): Promise<S3.ChecksumAlgorithm | undefined> {
    const calculation = await this.#client.config.requestChecksumCalculation?.();
    return calculation === "WHEN_SUPPORTED" ? "CRC32" : undefined;
  }

  async getObject(input: GetObjectInput): Promise<GetObjectOutput> {
    const { GetObjectCommand } = await this.#commands();
    return this.#client.send(new GetObjectCommand(input as S3.GetObjectCommandInput), this.#options);
  }
  async headObject(input: Partial<S3.HeadObjectCommandInput>): Promise<S3.HeadObjectCommandOutput> {
    const { HeadObjectCommand } = await this.#commands();
    return this.#client.send(new HeadObjectCommand(input as S3.HeadObjectCommandInput), this.#options);
  }
  async putObject(input: S3.PutObjectCommandInput): Promise<S3.PutObjectCommandOutput> {
    const { PutObjectCommand } = await this.#commands();
    return this.#client.send(new PutObjectCommand(input), this.#options);
  }
  async deleteObject(input: S3.DeleteObjectCommandInput): Promise<S3.DeleteObjectCommandOutput> {
    const { DeleteObjectCommand } = await this.#commands();
    return this.#client.send(new DeleteObjectCommand(input), this.#options);
  }
  async deleteObjects(input: S3.DeleteObjectsCommandInput): Promise<S3.DeleteObjectsCommandOutput> {
    const { DeleteObjectsCommand } = await this.#commands();
    return this.#client.send(new DeleteObjectsCommand(input), this.#options);
  }
  async createMultipartUpload(
    input: S3.CreateMultipartUploadCommandInput,
  ): Promise<S3.CreateMultipartUploadCommandOutput> {
    const { CreateMultipartUploadCommand } = await this.#commands();
    return this.#client.send(new CreateMultipartUploadCommand(input), this.#options);
  }
  async uploadPart(input: S3.UploadPartCommandInput): Promise<S3.UploadPartCommandOutput> {
    const { UploadPartCommand } = await this.#commands();
    return this.#client.send(new UploadPartCommand(input), this.#options);
  }
  async completeMultipartUpload(
    input: S3.CompleteMultipartUploadCommandInput,
  ): Promise<S3.CompleteMultipartUploadCommandOutput> {
    const { CompleteMultipartUploadCommand } = await this.#commands();
    return this.#client.send(new CompleteMultipartUploadCommand(input), this.#options);
  }
  /** It cleans up, so its signal is never the caller's: see `abortUpload`. */
  async abortMultipartUpload(input: S3.AbortMultipartUploadCommandInput): Promise<void> {
    const { AbortMultipartUploadCommand } = await this.#commands();
    await this.#client.send(new AbortMultipartUploadCommand(input), this.#options);
  }
  async copyObject(input: S3.CopyObjectCommandInput): Promise<S3.CopyObjectCommandOutput> {
    const { CopyObjectCommand } = await this.#commands();
    return this.#client.send(new CopyObjectCommand(input), this.#options);
  }
  async uploadPartCopy(input: S3.UploadPartCopyCommandInput): Promise<S3.UploadPartCopyCommandOutput> {
    const { UploadPartCopyCommand } = await this.#commands();
    return this.#client.send(new UploadPartCopyCommand(input), this.#options);
  }
  async getObjectTagging(input: S3.GetObjectTaggingCommandInput): Promise<S3.GetObjectTaggingCommandOutput> {
    const { GetObjectTaggingCommand } = await this.#commands();
    return this.#client.send(new GetObjectTaggingCommand(input), this.#options);
  }
  async listParts(input: S3.ListPartsCommandInput): Promise<S3.ListPartsCommandOutput> {
    const { ListPartsCommand } = await this.#commands();
    return this.#client.send(new ListPartsCommand(input), this.#options);
  }
}

const clientS3: SdkPackage<typeof S3> = {
  name: "@aws-sdk/client-s3",
  client: "S3Client",
  load: () => import("@aws-sdk/client-s3"),
};

/**
 * The commands that work with `client`.
 * @throws FramesealError UNSUPPORTED when `@aws-sdk/client-s3` is not installed, or only in another version
 */
export function loadCommands(client: S3ClientLike): Promise<typeof S3> {
  return copyOf(clientS3, client);
}

/**
 * Sends payloads without the SHA-256 that the SDK computes on the main thread. TLS protects them on the way, and
 * frames are authenticated; over plain http it is refused.
 */
export function addUnsignedPayload(stack: MiddlewareStack): void {
  stack.add(
    (next, context) => async (args) => {
      const request = args.request as { protocol?: string; headers?: Record<string, string> } | undefined;
      if (context.commandName === "PutObjectCommand" || context.commandName === "UploadPartCommand") {
        if (request?.headers === undefined || request.protocol !== "https:")
          throw new FramesealError("POLICY", '"unsignedPayload" needs an https endpoint');
        request.headers[payloadDigest.name] = payloadDigest.unsigned;
      }
      return next(args);
    },
    { step: "build", name: "framesealUnsignedPayload", priority: "low", override: true },
  );
}
