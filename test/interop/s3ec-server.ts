// This package behind the HTTP interface of the cross-language tests of the S3 Encryption Clients (restJson1 service
// S3ECTestServer), so that their drivers can drive it as they drive the servers of other languages (npm run
// start:s3ec-server).
import { createPublicKey } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { KMSClient } from "@aws-sdk/client-kms";
import { PutObjectCommand, type S3Client } from "@aws-sdk/client-s3";
import { FramesealError, type Keyring, RawAesKeyring, RawRsaKeyring } from "../../src/index.ts";
import { KmsKeyring } from "../../src/kms.ts";
import { type EncryptS3ClientOptions, encryptS3Client, rewrapObject } from "../../src/s3.ts";
import { getObject } from "../support/s3-outcome.ts";

interface KeyMaterial {
  readonly rsaKey?: string;
  readonly aesKey?: string;
  readonly kmsKeyId?: string;
  readonly materialsDescription?: Readonly<Record<string, string>>;
}

interface ClientConfig {
  readonly enableLegacyUnauthenticatedModes?: boolean;
  readonly enableDelayedAuthenticationMode?: boolean;
  readonly enableLegacyWrappingAlgorithms?: boolean;
  readonly setBufferSize?: number;
  readonly keyMaterial?: KeyMaterial;
  readonly commitmentPolicy?: EncryptS3ClientOptions["commitmentPolicy"];
  readonly encryptionAlgorithm?: string;
  readonly instructionFileConfig?: {
    readonly enableInstructionFilePutObject?: boolean;
    readonly disableInstructionFile?: boolean;
  };
}

interface Reply {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly body: Buffer | object;
}

const names = { keyNamespace: "test-server", keyName: "key" };

/** Serves until `close` is called. */
export class S3ecTestServer {
  readonly #s3: S3Client;
  readonly #kms: KMSClient;
  readonly #clients = new Map<string, EncryptS3ClientOptions>();
  readonly #server: Server;

  constructor(s3: S3Client, kms: KMSClient) {
    this.#s3 = s3;
    this.#kms = kms;
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }
  async listen(port = 0): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(port, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }
  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let reply: Reply;
    try {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      reply = await this.#answer(request, Buffer.concat(chunks));
    } catch (error) {
      const ours =
        error instanceof FramesealError || error instanceof TypeError || error instanceof RangeError;
      const name =
        ours || isOfS3(error)
          ? "software.amazon.encryption.s3#S3EncryptionClientError"
          : "#GenericServerError";
      reply = { status: 500, body: { __type: name, message: (error as Error).message } };
    }
    const body = Buffer.isBuffer(reply.body) ? reply.body : Buffer.from(JSON.stringify(reply.body));
    const type = Buffer.isBuffer(reply.body) ? "application/octet-stream" : "application/json";
    response.writeHead(reply.status ?? 200, { "content-type": type, ...reply.headers });
    response.end(body);
  }

  async #answer({ method, url, headers }: IncomingMessage, body: Buffer): Promise<Reply> {
    const parts = new URL(url ?? "/", "http://server").pathname.slice(1).split("/");
    if (method === "POST" && parts[0] === "client" && parts.length === 1) {
      const { config = {} } = JSON.parse(body.toString()) as { config?: ClientConfig };
      const options = this.#optionsOf(config);
      encryptS3Client(this.#s3, options); // refuses what contradicts itself
      const clientId = `client-${this.#clients.size + 1}`;
      this.#clients.set(clientId, options);
      return { body: { clientId } };
    }
    const [kind, bucket = "", ...rest] = parts.map(decodeURIComponent);
    const reencrypts = method === "POST" && rest.at(-1) === "reencrypt";
    const key = (reencrypts ? rest.slice(0, -1) : rest).join("/");
    if (kind !== "object" || key === "") return { status: 404, body: { message: "no such operation" } };
    const known = this.#clients.get(String(headers.clientid));
    if (known === undefined) throw new TypeError("unknown client");
    const context = parseMetadata(headers["content-metadata"]);
    const suffix = headers.instructionfilesuffix;
    const options: EncryptS3ClientOptions = {
      ...known,
      ...(known.keyring instanceof KmsKeyring ? { encryptionContext: context } : {}),
      ...(suffix === undefined || reencrypts ? {} : { instructionFileSuffix: String(suffix) }),
    };
    if (reencrypts) {
      const enforceRotation = headers.enforcerotation === "true";
      // What only says how plaintext is handed out means nothing to a rewrap.
      const {
        keyring: from,
        format: _,
        authentication: __,
        bufferSize: ___,
        enableLegacyUnauthenticatedModes: ____,
        ...reading
      } = options;
      await rewrapObject(
        this.#s3,
        { bucket, key },
        {
          ...reading,
          ...{ from, to: this.#keyringOf(JSON.parse(body.toString()) as KeyMaterial), enforceRotation },
          ...(suffix === undefined ? {} : { newInstructionFileSuffix: String(suffix) }),
        },
      );
      return { body: { bucket, key, instructionFileSuffix: suffix ?? ".instruction", enforceRotation } };
    }
    const client = encryptS3Client(this.#s3, options);
    if (method === "PUT") {
      await client.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: body }));
      return { body: { bucket, key, metadata: [] } };
    }
    const Range = headers.range;
    const { bytes, ...output } = await getObject(client, { Bucket: bucket, Key: key, Range });
    const told = Object.entries(output.Metadata ?? {}).map(([name, value]) => `[${name}]:[${value}]`);
    return { headers: { "content-metadata": told.join(",") }, body: bytes };
  }

  #optionsOf(config: ClientConfig): EncryptS3ClientOptions {
    const { instructionFileConfig: files = {}, enableDelayedAuthenticationMode: delayed } = config;
    if (delayed === true && config.setBufferSize !== undefined)
      throw new TypeError("a buffer size does not go with delayed authentication");
    const plain = config.encryptionAlgorithm === "ALG_AES_256_GCM_IV12_TAG16_NO_KDF";
    if (
      config.encryptionAlgorithm?.includes("CBC") === true ||
      config.encryptionAlgorithm?.includes("CTR") === true
    )
      throw new TypeError("legacy algorithms are not written");
    const forbids = config.commitmentPolicy === "FORBID_ENCRYPT_ALLOW_DECRYPT";
    return {
      keyring: this.#keyringOf(config.keyMaterial ?? {}),
      format: plain || (config.encryptionAlgorithm === undefined && forbids) ? "s3ec-v2" : "s3ec-v3",
      commitmentPolicy: config.commitmentPolicy,
      authentication: delayed === true ? "delayed" : "buffered",
      bufferSize: config.setBufferSize,
      enableLegacyUnauthenticatedModes: config.enableLegacyUnauthenticatedModes,
      enableLegacyWrappingAlgorithms: config.enableLegacyWrappingAlgorithms,
      instructionFiles:
        files.enableInstructionFilePutObject === true
          ? "write"
          : files.disableInstructionFile === true
            ? "ignore"
            : "read",
    };
  }

  #keyringOf({ rsaKey, aesKey, kmsKeyId, materialsDescription: materialDescription }: KeyMaterial): Keyring {
    if (kmsKeyId !== undefined) return new KmsKeyring({ client: this.#kms, generatorKeyId: kmsKeyId });
    if (aesKey !== undefined) {
      const wrappingKey = Buffer.from(aesKey, "base64");
      return new RawAesKeyring({ ...names, wrappingKey, materialDescription });
    }
    if (rsaKey === undefined) throw new TypeError("a client needs key material");
    const pem = `-----BEGIN PRIVATE KEY-----\n${rsaKey}\n-----END PRIVATE KEY-----`;
    const pair = { privateKey: pem, publicKey: createPublicKey(pem) };
    return new RawRsaKeyring({ ...names, ...pair, padding: "OAEP-SHA-1", materialDescription });
  }
}

/** `[k]:[v],[k2]:[v2]` */
function parseMetadata(text: string | string[] | undefined): Record<string, string> {
  return Object.fromEntries(
    [...String(text ?? "").matchAll(/\[([^\]]*)\]:\[([^\]]*)\]/g)].map(([, name = "", value = ""]) => [
      name,
      value,
    ]),
  );
}

function isOfS3(error: unknown): boolean {
  return error instanceof Error && "$metadata" in error;
}
