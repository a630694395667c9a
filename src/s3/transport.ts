// The requests that this package sends by itself, through the user's client. The AWS SDK is an optional peer: its commands
// are loaded when they are first needed.
import type * as S3 from "@aws-sdk/client-s3";
import { FramesealError } from "../errors.ts";
import { copyOf, type SdkPackage } from "../sdk-copy.ts";
import { isBytes } from "../shapes.ts";
import { operationOf } from "./command-schema.ts";
import { encrypts, sendIntercepted } from "./derived-client.ts";
import { LastCheck } from "./last-check.ts";
import { sendMatched } from "./matched.ts";
import { payloadDigest } from "./object-metadata.ts";
import { checkReceipt } from "./receipt.ts";
import { repeatFields } from "./request-fields.ts";
import type { MiddlewareStack, S3ClientLike } from "./sdk-client.ts";

export type { Next, S3ClientLike } from "./sdk-client.ts";

export type GetObjectInput = Partial<S3.GetObjectCommandInput>;
export type GetObjectOutput = S3.GetObjectCommandOutput;
export type HeadObjectOutput = S3.HeadObjectCommandOutput;

/**
 * Sends requests. On a client that does not encrypt, the bodies that it is given are sealed, and leave as they are or
 * not at all.
 */
export class Transport {
  readonly #client: S3.S3Client;
  readonly #signal: AbortSignal | undefined;
  readonly #bodies: "sealed" | "plaintext";

  constructor(client: S3ClientLike, signal?: AbortSignal, bodies?: "sealed" | "plaintext") {
    this.#client = client as unknown as S3.S3Client;
    this.#signal = signal;
    this.#bodies = bodies ?? (encrypts(client) ? "plaintext" : "sealed");
  }
  /** The same transport, whose requests end when `signal` is aborted. */
  withSignal(signal: AbortSignal | undefined): Transport {
    return new Transport(this.#client, signal, this.#bodies);
  }
  get signal(): AbortSignal | undefined {
    return this.#signal;
  }

  /**
   * Finds the commands before they are needed, so that a large body does not fail where a small one works.
   * @throws FramesealError UNSUPPORTED when there are none for this client
   */
  async prepare(): Promise<void> {
    await loadCommands(this.#client);
  }

  /** The algorithm that the SDK puts on every part by default; Create must name the same. */
  async defaultChecksum(): Promise<S3.ChecksumAlgorithm | undefined> {
    const calculation = await this.#client.config.requestChecksumCalculation?.();
    return calculation === "WHEN_SUPPORTED" ? "CRC32" : undefined;
  }

  /**
   * Sends a request that stores or deletes, and whose condition may be refused for the way in which it is written.
   * @param input the request
   * @param send sends it with the fields given; may be called again
   */
  matched<Output>(
    input: Readonly<Record<string, unknown>>,
    send: (condition: { readonly IfMatch?: string }) => Promise<Output>,
  ): Promise<Output> {
    const { IfMatch: match, Bucket, Key } = input;
    const see = async (): Promise<string | undefined> => {
      const request = { ...repeatFields(input, "HeadObject"), Bucket, Key } as S3.HeadObjectCommandInput;
      return (await this.headObject(request)).ETag;
    };
    const sendWith = (IfMatch: string | undefined) => send(IfMatch === undefined ? {} : { IfMatch });
    return sendMatched(this.#client.config, match, sendWith, see);
  }

  // What an encrypting client is given, it sends on in requests of its own.
  #sendMatched<Output>(name: CommandName, input: object): Promise<Output> {
    if (this.#bodies === "plaintext") return this.#send(name, input);
    return this.matched({ ...input }, (condition) => this.#send<Output>(name, { ...input, ...condition }));
  }

  async #send<Output>(name: CommandName, input: object): Promise<Output> {
    const commands = await loadCommands(this.#client);
    const Command = commands[`${name}Command`] as unknown as new (
      input: object,
    ) => { readonly input: object };
    const command = new Command(this.#bodies === "sealed" ? withOwnBody(input) : input);
    const rest = [this.#signal === undefined ? {} : { abortSignal: this.#signal }];
    const client = this.#client as unknown as S3ClientLike & { send(...args: unknown[]): Promise<Output> };
    // An encrypting client checks the answers to its own requests; what it makes of them may lack what Complete did not tell.
    if (this.#bodies === "plaintext") return client.send(command, ...rest);
    const output = await this.#sendSealed<Output>(name, command, rest);
    checkReceipt(name, output);
    return output;
  }

  #sendSealed<Output>(
    name: CommandName,
    command: { readonly input: object },
    rest: readonly unknown[],
  ): Promise<Output> {
    const check = new LastCheck(() => true);
    const client: S3ClientLike = this.#client as unknown as S3ClientLike;
    return sendIntercepted(client, client, command, rest, {
      stack: (given) => given,
      last(step, context, stack) {
        const guarded = check.guard(step, context, stack);
        check.expect(name, command.input as Readonly<Record<string, unknown>>);
        return guarded;
      },
    }) as Promise<Output>;
  }

  getObject(input: GetObjectInput): Promise<GetObjectOutput> {
    return this.#send("GetObject", input);
  }
  headObject(input: Partial<S3.HeadObjectCommandInput>): Promise<S3.HeadObjectCommandOutput> {
    return this.#send("HeadObject", input);
  }
  putObject(input: S3.PutObjectCommandInput): Promise<S3.PutObjectCommandOutput> {
    return this.#sendMatched("PutObject", input);
  }
  deleteObject(input: S3.DeleteObjectCommandInput): Promise<S3.DeleteObjectCommandOutput> {
    return this.#sendMatched("DeleteObject", input);
  }
  deleteObjects(input: S3.DeleteObjectsCommandInput): Promise<S3.DeleteObjectsCommandOutput> {
    return this.#send("DeleteObjects", input);
  }
  createMultipartUpload(
    input: S3.CreateMultipartUploadCommandInput,
  ): Promise<S3.CreateMultipartUploadCommandOutput> {
    return this.#send("CreateMultipartUpload", input);
  }
  uploadPart(input: S3.UploadPartCommandInput): Promise<S3.UploadPartCommandOutput> {
    return this.#send("UploadPart", input);
  }
  completeMultipartUpload(
    input: S3.CompleteMultipartUploadCommandInput,
  ): Promise<S3.CompleteMultipartUploadCommandOutput> {
    return this.#sendMatched("CompleteMultipartUpload", input);
  }
  /** It cleans up, so its signal is never the caller's: see `abortUpload`. */
  async abortMultipartUpload(input: S3.AbortMultipartUploadCommandInput): Promise<void> {
    await this.#send("AbortMultipartUpload", input);
  }
  copyObject(input: S3.CopyObjectCommandInput): Promise<S3.CopyObjectCommandOutput> {
    return this.#sendMatched("CopyObject", input);
  }
  uploadPartCopy(input: S3.UploadPartCopyCommandInput): Promise<S3.UploadPartCopyCommandOutput> {
    return this.#send("UploadPartCopy", input);
  }
  getObjectTagging(input: S3.GetObjectTaggingCommandInput): Promise<S3.GetObjectTaggingCommandOutput> {
    return this.#send("GetObjectTagging", input);
  }
  listParts(input: S3.ListPartsCommandInput): Promise<S3.ListPartsCommandOutput> {
    return this.#send("ListParts", input);
  }
}

/** Bodies up to this are copied for each request, so that one which middleware spoils is not sent again as it is. */
const COPIED_LENGTH = 64 * 1024;

function withOwnBody(input: object): object {
  const { Body } = input as { readonly Body?: unknown };
  return isBytes(Body) && Body.length <= COPIED_LENGTH ? { ...input, Body: Uint8Array.from(Body) } : input;
}

/** The commands that a transport sends. */
type CommandName =
  | "AbortMultipartUpload"
  | "CompleteMultipartUpload"
  | "CopyObject"
  | "CreateMultipartUpload"
  | "DeleteObject"
  | "DeleteObjects"
  | "GetObject"
  | "GetObjectTagging"
  | "HeadObject"
  | "ListParts"
  | "PutObject"
  | "UploadPart"
  | "UploadPartCopy";

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
      const { name } = operationOf(context);
      if (name === "PutObject" || name === "UploadPart") {
        if (request?.headers === undefined || request.protocol !== "https:")
          throw new FramesealError("POLICY", '"unsignedPayload" needs an https endpoint');
        // A stream whose checksum follows it says so here, and is not signed either.
        if (request.headers[payloadDigest.name]?.startsWith("STREAMING-") !== true)
          request.headers[payloadDigest.name] = payloadDigest.unsigned;
      }
      return next(args);
    },
    { step: "build", name: "framesealUnsignedPayload", priority: "low", override: true },
  );
}
