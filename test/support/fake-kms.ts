// A strict AWS KMS on loopback that speaks its JSON protocol, so that the real client of the AWS SDK is exercised. It
// enforces what public emulators do not (KeyId on Decrypt, states of keys) and can be told to fail in many ways.
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { KMSClient, type KMSClientConfig } from "@aws-sdk/client-kms";

export const ACCOUNT = "111122223333";
export type Operation = "GenerateDataKey" | "Encrypt" | "Decrypt";

/** One call as the service sees it. */
export interface KmsCall {
  readonly operation: Operation;
  readonly region: string;
  readonly keyId: string | undefined;
  readonly context: Readonly<Record<string, string>>;
  readonly grantTokens: readonly string[];
}

type Answer = Record<string, unknown>;

/** What goes wrong with one call. */
export type Fault =
  | { readonly kind: "error"; readonly type: string; readonly status?: number }
  | { readonly kind: "answer"; readonly change: (answer: Answer) => Answer }
  | { readonly kind: "malformed" }
  | { readonly kind: "reset" }
  | { readonly kind: "silence" }
  | { readonly kind: "delay"; readonly ms: number };

interface FakeKey {
  readonly id: string;
  readonly regions: Set<string>;
  readonly secret: Buffer;
  state: "Enabled" | "Disabled" | "PendingDeletion";
}

class KmsError extends Error {
  readonly type: string;
  constructor(type: string, message = `${type} of the fake service`) {
    super(message);
    this.type = type;
  }
}

/** Keys live as long as the object; `close` must be called. */
export class FakeKms implements AsyncDisposable {
  readonly calls: KmsCall[] = [];
  /** Every data key that ever left, to look for it where it must not be. */
  readonly dataKeys: Buffer[] = [];
  /** Asked for each call; undefined is no fault. */
  fault: (call: KmsCall, number: number) => Fault | undefined = () => undefined;
  readonly #keys = new Map<string, FakeKey>();
  readonly #aliases = new Map<string, string>();
  readonly #clients: KMSClient[] = [];
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch(() => response.destroy());
    });
  }

  static async start(): Promise<FakeKms> {
    const kms = new FakeKms();
    await new Promise<void>((resolve) => kms.#server.listen(0, "127.0.0.1", resolve));
    return kms;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** A real client, by default with the retries that the SDK does by default. */
  client(region = "eu-west-1", config: KMSClientConfig = {}): KMSClient {
    const credentials = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "none" };
    const client = new KMSClient({ region, endpoint: this.url, credentials, ...config });
    this.#clients.push(client);
    return client;
  }

  /** Makes a key and returns its ARN. A multi-region key is in several regions at once. */
  createKey(region = "eu-west-1", ...replicas: string[]): string {
    const prefix = replicas.length > 0 ? "mrk-" : "";
    const hex = randomBytes(16).toString("hex");
    const id = prefix === "" ? hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-") : prefix + hex;
    const regions = new Set([region, ...replicas]);
    this.#keys.set(id, { id, regions, secret: randomBytes(32), state: "Enabled" });
    return this.arn(id, region);
  }
  createAlias(name: string, keyArn: string): string {
    const id = keyArn.split("/")[1] ?? "";
    this.#aliases.set(`alias/${name}`, id);
    return keyArn.replace(/:key\/.*/, `:alias/${name}`);
  }
  setState(keyArn: string, state: FakeKey["state"]): void {
    const key = this.#keys.get(keyArn.split("/")[1] ?? "");
    if (key === undefined) throw new Error(`no key ${keyArn}`);
    key.state = state;
  }
  arn(id: string, region: string): string {
    return `arn:aws:kms:${region}:${ACCOUNT}:key/${id}`;
  }
  count(operation: Operation): number {
    return this.calls.filter((call) => call.operation === operation).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.destroy();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const input = JSON.parse(Buffer.concat(chunks).toString("utf8"));
    const target = String(request.headers["x-amz-target"]).replace("TrentService.", "");
    // Credential=AKID/date/region/kms/aws4_request
    const region =
      /Credential=[^/]+\/[^/]+\/([^/]+)\/kms\//.exec(request.headers.authorization ?? "")?.[1] ?? "";
    const call: KmsCall = {
      operation: target as Operation,
      region,
      keyId: input.KeyId,
      context: input.EncryptionContext ?? {},
      grantTokens: input.GrantTokens ?? [],
    };
    this.calls.push(call);
    const fault = this.fault(call, this.calls.length);
    let status = 200;
    let answer: Answer;
    try {
      if (fault?.kind === "error") {
        status = fault.status ?? 400;
        throw new KmsError(fault.type);
      }
      answer = this.#answer(call, input);
    } catch (error) {
      if (!(error instanceof KmsError)) throw error;
      if (status === 200) status = 400;
      answer = { __type: error.type, message: error.message };
    }
    if (fault?.kind === "silence") return;
    if (fault?.kind === "reset") return void request.socket.destroy();
    if (fault?.kind === "delay") await new Promise((resolve) => setTimeout(resolve, fault.ms));
    if (fault?.kind === "answer") answer = fault.change(answer);
    const body = JSON.stringify(answer);
    response.writeHead(status, {
      "content-type": "application/x-amz-json-1.1",
      "x-amzn-requestid": "fake-1",
    });
    // Cut in the middle, with the data key in front: what an unlucky proxy leaves.
    response.end(fault?.kind === "malformed" ? body.slice(0, -20) : body);
  }

  #answer(call: KmsCall, input: Record<string, string>): Answer {
    switch (call.operation) {
      case "GenerateDataKey": {
        const key = this.#key(call);
        const length = input.KeySpec === "AES_256" ? 32 : Number(input.NumberOfBytes);
        if (!(length >= 1 && length <= 1024)) throw new KmsError("ValidationException");
        const dataKey = randomBytes(length);
        this.dataKeys.push(dataKey);
        return {
          KeyId: this.arn(key.id, call.region),
          Plaintext: dataKey.toString("base64"),
          CiphertextBlob: this.#wrap(key, dataKey, call.context).toString("base64"),
        };
      }
      case "Encrypt": {
        const key = this.#key(call);
        const plaintext = Buffer.from(input.Plaintext ?? "", "base64");
        if (plaintext.length < 1 || plaintext.length > 4096) throw new KmsError("ValidationException");
        return {
          KeyId: this.arn(key.id, call.region),
          EncryptionAlgorithm: "SYMMETRIC_DEFAULT",
          CiphertextBlob: this.#wrap(key, plaintext, call.context).toString("base64"),
        };
      }
      case "Decrypt": {
        const blob = Buffer.from(input.CiphertextBlob ?? "", "base64");
        const id = blob.subarray(1, 1 + (blob[0] ?? 0)).toString("latin1");
        const wrapping = this.#keys.get(id);
        if (wrapping === undefined || !wrapping.regions.has(call.region))
          throw new KmsError("InvalidCiphertextException");
        const named = call.keyId === undefined ? wrapping : this.#key(call);
        if (named !== wrapping) throw new KmsError("IncorrectKeyException");
        this.#checkState(wrapping);
        const dataKey = this.#unwrap(wrapping, blob, call.context);
        this.dataKeys.push(dataKey);
        return {
          KeyId: this.arn(id, call.region),
          EncryptionAlgorithm: "SYMMETRIC_DEFAULT",
          Plaintext: dataKey.toString("base64"),
        };
      }
      default:
        throw new KmsError("UnknownOperationException");
    }
  }

  #key({ keyId = "", region }: KmsCall): FakeKey {
    const arn = /^arn:aws:kms:([^:]+):([0-9]{12}):(.+)$/.exec(keyId);
    if (arn !== null && (arn[1] !== region || arn[2] !== ACCOUNT)) throw new KmsError("NotFoundException");
    const name = arn?.[3] ?? keyId;
    const key = this.#keys.get(this.#aliases.get(name) ?? name.replace(/^key\//, ""));
    if (key === undefined || !key.regions.has(region)) throw new KmsError("NotFoundException");
    this.#checkState(key);
    return key;
  }
  #checkState(key: FakeKey): void {
    if (key.state === "Disabled") throw new KmsError("DisabledException");
    if (key.state === "PendingDeletion") throw new KmsError("KMSInvalidStateException");
  }

  #wrap(key: FakeKey, plaintext: Buffer, context: KmsCall["context"]): Buffer {
    const nonce = randomBytes(12);
    const cipher = createCipheriv("aes-256-gcm", key.secret, nonce, { authTagLength: 16 });
    cipher.setAAD(contextBytes(context));
    const sealed = [cipher.update(plaintext), cipher.final(), cipher.getAuthTag()];
    // As long as the blobs of the real service: about 184 bytes for a key of 32.
    const padding = Buffer.alloc(64);
    return Buffer.concat([Buffer.of(key.id.length), Buffer.from(key.id), padding, nonce, ...sealed]);
  }
  #unwrap(key: FakeKey, blob: Buffer, context: KmsCall["context"]): Buffer {
    const at = 1 + key.id.length + 64;
    // Every bit of a blob of the real service is authenticated.
    if (blob.subarray(at - 64, at).some((byte) => byte !== 0))
      throw new KmsError("InvalidCiphertextException");
    const decipher = createDecipheriv("aes-256-gcm", key.secret, blob.subarray(at, at + 12), {
      authTagLength: 16,
    });
    decipher.setAAD(contextBytes(context));
    try {
      decipher.setAuthTag(blob.subarray(-16));
      return Buffer.concat([decipher.update(blob.subarray(at + 12, -16)), decipher.final()]);
    } catch {
      throw new KmsError("InvalidCiphertextException");
    }
  }
}

function contextBytes(context: KmsCall["context"]): Buffer {
  return Buffer.from(JSON.stringify(Object.entries(context).sort()));
}
