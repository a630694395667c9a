// A small world in which uploads are tried: clients of several processes, one store and one S3, all in memory. Every
// step between them waits until the run lets it go on, so that one seed gives one interleaving. Whatever leaves a client
// is entered by its nonce.
import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import type * as S3 from "@aws-sdk/client-s3";
import { vi } from "vitest";
import type { MultipartState, MultipartStateStore } from "../../src/s3.ts";
import { memoryStates } from "./multipart-states.ts";

type Input = Record<string, unknown>;

/** The modules of one process: what they keep in memory, they keep apart from others. */
export async function loadProcess() {
  vi.resetModules();
  const [{ RawAesKeyring }, registry, multipart, formats, transport] = await Promise.all([
    import("../../src/index.ts"),
    import("../../src/s3/requests/upload-registry.ts"),
    import("../../src/s3/requests/multipart.ts"),
    import("../../src/s3/formats.ts"),
    import("../../src/s3/transport.ts"),
  ]);
  const wrappingKey = Buffer.alloc(32, 3);
  const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey });
  return { keyring, ...registry, ...multipart, ...formats, ...transport };
}
export type Process = Awaited<ReturnType<typeof loadProcess>>;

/** Numbers that follow from a seed. */
export class Chance {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }
  /** From 0 to `count` - 1. (mulberry32) */
  below(count: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * count);
  }
  pick<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)] as Item;
  }
  oneIn(count: number): boolean {
    return this.below(count) === 0;
  }
}

const target = { Bucket: "bucket", Key: "key" };
const location = { bucket: "bucket", key: "key" };
/** Plaintext lengths of parts are multiples of it. */
const UNIT = 16;
/** The contents that callers try for parts: by variant, number and length. */
const pool = Array.from({ length: 3 }, () => randomBytes(6 * 8 * UNIT));
export const VARIANTS = pool.length;
export function contentOf(number: number, variant: number, length: number): Buffer {
  return (pool[variant] as Buffer).subarray(number * 8 * UNIT, number * 8 * UNIT + length);
}

/** How a run differs from a world without faults. */
export interface WorldOptions {
  readonly format: "framed" | "s3ec-v3" | "s3ec-v2";
  readonly processes: readonly Process[];
  /** Puts something else in the place of the store. */
  readonly breakStore?: ((store: ReturnType<typeof memoryStates>) => MultipartStateStore) | undefined;
}

interface Upload {
  readonly metadata: Record<string, string>;
  readonly parts: Map<number, { readonly body: Buffer; readonly eTag: string; readonly size: number }>;
}

/** One client; gone when it has crashed. */
export interface ModelClient {
  readonly isStored: boolean;
  readonly process: number;
  alive: boolean;
  exportUpload(): Promise<MultipartState | undefined>;
  importUpload(state: MultipartState): Promise<void>;
  request(name: string, input?: Input): Promise<Record<string, unknown>>;
}

/** Store, S3, nonces, and the waiting steps. */
export class World {
  readonly chance: Chance;
  readonly options: WorldOptions;
  readonly store = memoryStates();
  uploadId: string | undefined;
  upload: Upload | undefined;
  /** Stored bytes and metadata of the object, when Complete took effect. */
  object: { readonly body: Buffer; readonly metadata: Record<string, string> } | undefined;
  faults = true;
  /** Part number -> what its caller meant, of all that left a client. */
  readonly left = new Map<number, Buffer>();
  /** What is under a nonce. */
  readonly #nonces = new Map<string, Buffer>();
  readonly repeats: string[] = [];
  entries = 0;
  readonly #waiting: { readonly client: ModelClient; readonly go: () => void }[] = [];
  #eTags = 0;

  constructor(seed: number, options: WorldOptions) {
    this.chance = new Chance(seed);
    this.options = options;
  }

  get isWaiting(): boolean {
    return this.#waiting.some(({ client }) => client.alive);
  }
  /** Lets one waiting step go on, at random. Those of crashed clients never do. */
  step(): void {
    const [next] = this.#waiting.splice(this.chance.below(this.#waiting.length), 1);
    if (next?.client.alive === true) next.go();
  }
  #gate(client: ModelClient): Promise<void> {
    return new Promise((go) => {
      this.#waiting.push({ client, go });
    });
  }

  /** Something far away: it may fail before its effect, or after it, or with its answer lost in a crash. */
  async #remote<Result>(
    client: ModelClient,
    effect: () => Result | Promise<Result>,
    mayFail = this.faults,
  ): Promise<Result> {
    await this.#gate(client);
    const fails = mayFail && this.chance.oneIn(25);
    if (fails && this.chance.oneIn(2)) throw new Error("failed before its effect");
    const result = await effect();
    await this.#gate(client);
    if (fails) throw new Error("answer was lost");
    return result;
  }

  /** Enters the ciphertext of a part, as it leaves. */
  #enter(number: number, body: Buffer, plaintext: Buffer): void {
    if (plaintext.length > 0) {
      if (this.left.get(number)?.equals(plaintext) === false) this.repeats.push(`part ${number} left twice`);
      this.left.set(number, plaintext);
    }
    if (this.options.format === "framed") this.#enterFrames(number, body);
    else this.#enterBlocks(body, plaintext);
  }
  #enterNonce(nonce: string, bytes: Buffer): void {
    this.entries += 1;
    const known = this.#nonces.get(nonce);
    if (known === undefined) this.#nonces.set(nonce, Buffer.from(bytes));
    else if (!known.equals(bytes)) this.repeats.push(nonce);
  }
  #enterFrames(number: number, body: Buffer): void {
    const headerLength = Number(this.upload?.metadata["frameseal-header-length"]);
    for (let at = number === 1 ? headerLength : 0; at < body.length; ) {
      const isFinal = body.readUInt32BE(at) === 0xffffffff;
      const length = isFinal ? 40 + body.readUInt32BE(at + 20) : 32 + UNIT;
      this.#enterNonce(`frame ${body.readUInt32BE(isFinal ? at + 4 : at)}`, body.subarray(at, at + length));
      at += length;
    }
  }
  // One GCM message: a block of key stream belongs to one block of plaintext, and the mask of the tag to one tag.
  #enterBlocks(body: Buffer, plaintext: Buffer): void {
    for (let at = 0; at < plaintext.length; at += UNIT) {
      const block = plaintext.subarray(at, at + UNIT);
      const keyStream = Buffer.from(block.map((byte, index) => byte ^ (body[at + index] ?? 0)));
      this.#enterNonce(`key stream ${keyStream.toString("hex")}`, block);
    }
    if (body.length > plaintext.length) this.#enterNonce("tag", body.subarray(plaintext.length));
  }

  // What is sent for a client, by his request or by the plugin's own.
  #uploadPart(client: ModelClient, input: Input, plaintext: Buffer | undefined): Promise<Input> {
    const number = Number(input.PartNumber);
    const body = Buffer.from(input.Body as Uint8Array);
    // The plugin sends a part with its tag behind it, or what ends the object alone.
    const meant = plaintext ?? this.left.get(number) ?? Buffer.alloc(0);
    this.#enter(
      number,
      body,
      body.length < meant.length + UNIT && plaintext === undefined ? Buffer.alloc(0) : meant,
    );
    return this.#remote(client, () => {
      const eTag = `"${++this.#eTags}"`;
      this.#open(input).parts.set(number, { body, eTag, size: body.length });
      return { ETag: eTag };
    });
  }
  #open(input: Input): Upload {
    if (this.upload === undefined || input.UploadId !== this.uploadId)
      throw Object.assign(new Error("no such upload"), {
        name: "NoSuchUpload",
        $metadata: { httpStatusCode: 404 },
      });
    return this.upload;
  }
  #listParts(client: ModelClient, input: Input): Promise<Input> {
    return this.#remote(client, () => ({
      IsTruncated: false,
      Parts: [...this.#open(input).parts].map(([PartNumber, { eTag, size }]) => ({
        PartNumber,
        ETag: eTag,
        Size: size,
      })),
    }));
  }
  #complete(client: ModelClient, input: Input): Promise<Input> {
    return this.#remote(client, () => {
      const { parts, metadata } = this.#open(input);
      const listed = (input.MultipartUpload as { Parts: S3.CompletedPart[] }).Parts;
      const bodies = listed.map(({ PartNumber = 0, ETag }) => {
        const part = parts.get(PartNumber);
        if (part === undefined || part.eTag !== ETag) throw new Error("InvalidPart");
        return part.body;
      });
      this.object = { body: Buffer.concat(bodies), metadata };
      this.upload = undefined;
      return { ETag: '"object"' };
    });
  }
  #create(client: ModelClient, input: Input): Promise<Input> {
    return this.#remote(client, () => {
      this.uploadId = `upload ${++this.#eTags}`;
      this.upload = { metadata: input.Metadata as Record<string, string>, parts: new Map() };
      return { UploadId: this.uploadId };
    });
  }
  #abort(client: ModelClient, input: Input, mayFail?: boolean): Promise<Input> {
    const abort = (): Input => {
      this.#open(input);
      this.upload = undefined;
      return {};
    };
    return this.#remote(client, abort, mayFail);
  }

  /** A state with less in its ledger, or of another revision, or not exported, or exported. */
  tampered<State extends MultipartState | undefined>(state: State): State {
    if (state === undefined) return state;
    const { ledger, exported, revision } = state;
    const changes = [
      { ledger: { ...ledger, parts: ledger.parts.slice(0, -1) } },
      { ledger: { ...ledger, parts: ledger.parts.slice(1) } },
      { ledger: { parts: [] } },
      { exported: !exported },
      { revision: revision + 1 },
      { bucket: "other" },
      { access: { ...state.access, RequestPayer: "requester" } },
    ];
    return { ...state, ...this.chance.pick(changes) };
  }

  #storeOf(client: ModelClient): MultipartStateStore {
    const store = this.options.breakStore?.(this.store) ?? this.store;
    return {
      // Now and then somebody changes what it holds, on the way.
      load: (id) =>
        this.#remote(client, async () => {
          const state = await store.load(id);
          return this.faults && this.chance.oneIn(20) ? this.tampered(state) : state;
        }),
      compareAndSwap: (id, state, expected) => {
        const copy = structuredClone(state); // as it is now
        return this.#remote(client, () => store.compareAndSwap(id, copy, expected));
      },
      remove: (id) => this.#remote(client, () => store.remove(id)),
    };
  }

  /** A new client, of one of the processes. */
  client(isStored: boolean, partSize: number | undefined): ModelClient {
    const process = this.chance.below(this.options.processes.length);
    const { keyring, UploadRegistry, MultipartHandler, createFormats, Transport } = this.options.processes[
      process
    ] as Process;
    const policy = this.options.format === "s3ec-v2" ? "FORBID_ENCRYPT_ALLOW_DECRYPT" : undefined;
    const { format } = this.options;
    const formats = createFormats({
      keyring,
      format,
      engine: "node",
      commitmentPolicy: policy,
      ...(format === "framed" ? { frameLength: UNIT } : {}),
    });
    const world = this;
    const client: ModelClient = {
      isStored,
      process,
      alive: true,
      exportUpload: () => uploads.export(this.uploadId ?? "", transport),
      importUpload: (state) => uploads.import(JSON.parse(JSON.stringify(state)), transport),
      async request(name, fields = {}) {
        const input = { ...target, UploadId: world.uploadId, ...fields };
        const send = async (further: Input) => {
          const sent = { ...input, ...further };
          return { output: await world.#answer(client, name, sent, input as Input), response: undefined };
        };
        const handler = new MultipartHandler(uploads, formats, transport, partSize);
        return (await handler.handle(`${name}Command`, input, location, send)).output;
      },
    };
    class ModelTransport extends Transport {
      override async defaultChecksum(): Promise<undefined> {}
      override uploadPart = (input: S3.UploadPartCommandInput) =>
        world.#uploadPart(client, input as unknown as Input, undefined) as never;
      override listParts = (input: S3.ListPartsCommandInput) =>
        world.#listParts(client, input as unknown as Input) as never;
      override completeMultipartUpload = (input: S3.CompleteMultipartUploadCommandInput) =>
        world.#complete(client, input as unknown as Input) as never;
      // The plugin would wait before it tries again.
      override abortMultipartUpload = (input: S3.AbortMultipartUploadCommandInput) =>
        world.#abort(client, input as unknown as Input, false) as never;
      override getObject = () => Promise.reject(new Error("not looked at"));
      override withSignal = () => this;
    }
    const transport = new ModelTransport({ config: {}, middlewareStack: { clone: () => ({}) }, send() {} });
    const uploads = new UploadRegistry(formats.all, isStored ? this.#storeOf(client) : undefined, "node");
    return client;
  }

  #answer(client: ModelClient, name: string, sent: Input, asked: Input): Promise<Input> {
    if (name === "CreateMultipartUpload") return this.#create(client, sent);
    if (name === "UploadPart") return this.#uploadPart(client, sent, Buffer.from(asked.Body as Uint8Array));
    if (name === "ListParts") return this.#listParts(client, sent);
    return this.#abort(client, sent);
  }

  /** Opens the completed object. */
  async read(): Promise<Buffer> {
    const { keyring, createFormats } = this.options.processes[0] as Process;
    const policy = this.options.format === "s3ec-v2" ? "FORBID_ENCRYPT_ALLOW_DECRYPT" : undefined;
    const formats = createFormats({ keyring, engine: "node", commitmentPolicy: policy });
    const { body = Buffer.alloc(0), metadata = {} } = this.object ?? {};
    const source = { read: unasked, stream: unasked, fetchSideObject: async () => undefined };
    const stored = { location, metadata, storedLength: body.length, source };
    const opened = await (await formats.recognise(stored)).openWhole(stored, Readable.from([body]));
    return Buffer.concat(await opened.body.toArray());
  }
}

function unasked(): never {
  throw new Error("not asked for");
}
