// Every promise and stream of the public API settles when its caller aborts it, whoever has fallen silent meanwhile: a
// keyring, KMS, a source, whoever should read, an engine, a file system object that nobody opens at its other end. The
// table is held against what TypeScript finds in the entries, so what is new and has no row is red.
import { execFileSync, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  closeSync,
  constants,
  createReadStream,
  mkdtempSync,
  openSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { PassThrough, Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  AlgorithmSuiteIdentifier,
  AwsKmsMrkAwareSymmetricDiscoveryKeyringNode,
  AwsKmsMrkAwareSymmetricKeyringNode,
  buildClient,
  CommitmentPolicy,
  KeyringNode,
  KmsKeyringNode,
  MultiKeyringNode,
  type NodeDecryptionMaterial,
  type NodeEncryptionMaterial,
} from "../src/client-node.ts";
import { suiteById } from "../src/format/suite.ts";
import {
  CachingKeyring,
  createDecryptStream,
  createEncryptStream,
  createEngine,
  type DataKeyRequest,
  decrypt,
  decryptFile,
  decryptWebStream,
  type EncryptedDataKey,
  type Engine,
  encrypt,
  encryptFile,
  encryptWebStream,
  inspectFile,
  type Keyring,
  MultiKeyring,
  openMessage,
  prepareMessage,
  RawAesKeyring,
  verifyFile,
} from "../src/index.ts";
import { KmsKeyring } from "../src/kms.ts";
import { asynchronousApi } from "./support/asynchronous-api.ts";
import { signals } from "./support/signals.ts";

/** After an abort everything settles within so many turns of the event loop, unless descriptors have to be closed. */
const TURNS = 3;
const BOUND_MS = 10_000;
const SIGNED = 0x0578;

const inner = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
const plaintext = randomBytes(3_000_000);
const message = await encrypt(plaintext, { keyring: inner });
const signed = await encrypt(plaintext, { keyring: inner, suite: SIGNED });
const { encryptedDataKeys } = await inner.generateDataKey(requestOf(undefined));

const unheard: string[] = [];
const hear = (error: unknown): void => void unheard.push(String(error));
let folder: string;
const opened: number[] = [];
beforeAll(() => {
  process.on("unhandledRejection", hear);
  process.on("uncaughtException", hear);
  folder = mkdtempSync(path.join(tmpdir(), "frameseal-settles-"));
  for (const [name, bytes] of Object.entries({ plaintext, message })) writeFileSync(file(name), bytes);
});
afterAll(() => {
  process.off("unhandledRejection", hear);
  process.off("uncaughtException", hear);
  for (const descriptor of opened) closeSync(descriptor);
  rmSync(folder, { recursive: true });
});
const file = (name: string): string => path.join(folder, name);
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function requestOf(signal: AbortSignal | undefined): DataKeyRequest {
  return {
    suite: suiteById(0x0478),
    commitmentPolicy: "REQUIRE_ENCRYPT_REQUIRE_DECRYPT",
    encryptionContext: Object.freeze(Object.create(null)),
    ...(signal === undefined ? {} : { signal }),
  };
}

/** What falls silent. `reached` resolves when somebody has come to wait for it. */
class Silence {
  readonly reached: Promise<void>;
  #reach: () => void = () => {};
  constructor() {
    this.reached = new Promise((resolve) => {
      this.#reach = resolve;
    });
  }
  /** Never settles. */
  readonly wait = <Result>(): Promise<Result> => {
    this.reach();
    return new Promise(() => {});
  };
  reach(): void {
    this.#reach();
  }
}

interface Context {
  readonly silence: Silence;
  readonly signal: AbortSignal;
}
/** A call that waits for something silent. */
interface Started {
  readonly settled: Promise<unknown>;
  /** Ends it in another way than by the signal. */
  readonly end?: () => unknown;
  /** Descriptors have to be closed, which takes as long as it takes. */
  readonly closes?: "descriptors";
}
type Case = (context: Context) => Started | Promise<Started>;

// Who falls silent.

const silentKeyring = ({ silence }: Context): Keyring => ({
  generateDataKey: silence.wait,
  unwrapDataKey: silence.wait,
  wrapDataKey: silence.wait,
});
/** Gives what it has, and then nothing. */
const silentIterable = ({ silence }: Context, ...pieces: readonly Uint8Array[]) => ({
  [Symbol.asyncIterator]: () => {
    const rest = [...pieces];
    return {
      next: (): Promise<IteratorResult<Uint8Array>> => {
        const value = rest.shift();
        return value === undefined ? silence.wait() : Promise.resolve({ done: false, value });
      },
    };
  },
});
async function* silentGenerator(context: Context): AsyncGenerator<Uint8Array> {
  yield message.subarray(0, 100);
  await context.silence.wait();
}
const silentReadable = ({ silence }: Context): Readable =>
  new Readable({
    read() {
      silence.reach();
    },
  });
const silentWebStream = ({ silence }: Context) =>
  new ReadableStream<Uint8Array>({ pull: () => silence.wait() });
const silentPieces = ({ silence }: Context) => [silence.wait() as never];

const node = createEngine("node");
type Step = "frames" | "hash";
/** An engine of the caller's own, whose threads never answer. */
function silentEngine({ silence }: Context, step: Step): Engine {
  return {
    name: "silent",
    kernel: "none",
    createKey(rawKey) {
      const key = node.createKey(rawKey);
      return {
        seal: key.seal.bind(key),
        open: key.open.bind(key),
        startSeal: key.startSeal.bind(key),
        startOpen: key.startOpen.bind(key),
        dispose: key.dispose.bind(key),
        frameCipher(format) {
          const cipher = key.frameCipher(format);
          const common = { seal: cipher.seal.bind(cipher), open: cipher.open.bind(cipher) };
          if (step !== "frames") return common;
          return { ...common, asyncFrom: 100_000, sealAsync: silence.wait, openAsync: silence.wait };
        },
      };
    },
    ...(step === "hash"
      ? {
          startHash: () => ({
            update: () => {},
            digest: silence.wait,
            sign: silence.wait,
            verify: silence.wait,
            dispose: () => {},
          }),
        }
      : {}),
  };
}

// Files that nobody opens at their other end, or whose other end does nothing. Made as FIFOs.
let fifos = 0;
function fifo(): string {
  const name = file(`fifo-${fifos++}`);
  execFileSync("mkfifo", [name]);
  return name;
}
/** Both its ends are open, nothing comes after `bytes`, and nobody reads. */
function silentFifo(bytes: Uint8Array): string {
  const name = fifo();
  const descriptor = openSync(name, constants.O_RDWR | constants.O_NONBLOCK);
  opened.push(descriptor);
  if (bytes.length > 0) writeSync(descriptor, bytes);
  return name;
}
const onProgress = (silence: Silence) => (bytesRead: number) => {
  if (bytesRead > 0) silence.reach();
};
/** What nobody can see from outside: after some turns it is there, and if it is not, an abort ends it all the same. */
async function soon({ silence }: Context): Promise<void> {
  for (let i = 0; i < 20; i++) await turn();
  silence.reach();
}

// Ways to wait for a stream.

const drained = async (stream: AsyncIterable<unknown>): Promise<void> => {
  for await (const _ of stream);
};
/** Resolves when a Node stream has closed; rejects if it has failed. */
const closed = (stream: NodeJS.EventEmitter): Promise<void> =>
  new Promise((resolve, reject) => {
    let failure: { readonly error: unknown } | undefined;
    stream.once("error", (error) => {
      failure = { error };
    });
    stream.once("close", () => (failure === undefined ? resolve() : reject(failure.error)));
  });

/** The four ends of a Transform that has been written to and waits. */
function transformCases(
  name: string,
  make: (context: Context, signal: AbortSignal | undefined) => NodeJS.ReadWriteStream & Readable,
  input: Uint8Array,
): Record<string, Case> {
  const start = (context: Context, signal: AbortSignal | undefined) => {
    const stream = make(context, signal);
    stream.end(input);
    return stream;
  };
  return {
    [name]: (context) => {
      const stream = start(context, context.signal);
      stream.resume();
      return { settled: closed(stream) };
    },
    [`${name}, destroy()`]: (context) => {
      const stream = start(context, undefined);
      stream.resume();
      return { settled: closed(stream), end: () => stream.destroy() };
    },
    [`${name}, destroy(error)`]: (context) => {
      const stream = start(context, undefined);
      stream.resume();
      return { settled: closed(stream), end: () => stream.destroy(new Error("enough")) };
    },
    [`${name}, return() of its iterator`]: (context) => {
      const stream = start(context, undefined);
      const iterator = stream[Symbol.asyncIterator]();
      void (async () => {
        while ((await iterator.next()).done !== true);
      })().catch(() => {});
      // Node's iterator comes to its end when the stream does.
      return {
        settled: closed(stream),
        end: () => {
          stream.destroy();
          return iterator.return?.();
        },
      };
    },
  };
}

type WebPair = {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
};
/** The ends of a Web stream that has been written to and waits. */
function webCases(
  name: string,
  make: (context: Context, signal: AbortSignal | undefined) => unknown,
  input: Uint8Array,
): Record<string, Case> {
  const start = (context: Context, signal: AbortSignal | undefined) => {
    const { readable, writable } = make(context, signal) as WebPair;
    const writer = writable.getWriter();
    writer.closed.catch(() => {});
    // More than an engine has in work at a time.
    for (let i = 0; i < 4; i++) writer.write(input).catch(() => {});
    return { readable, writer };
  };
  return {
    [name]: (context) => ({ settled: drained(start(context, context.signal).readable) }),
    [`${name}, its writer`]: (context) => {
      const { readable, writer } = start(context, context.signal);
      readable.getReader().closed.catch(() => {});
      return { settled: writer.closed };
    },
    [`${name}, cancel()`]: (context) => {
      const { readable, writer } = start(context, undefined);
      let end: () => void = () => {};
      const settled = new Promise<void>((resolve, reject) => {
        end = () =>
          void Promise.all([readable.cancel("enough"), writer.closed]).then(() => resolve(), reject);
      });
      return { settled, end };
    },
    [`${name}, abort()`]: (context) => {
      const { readable, writer } = start(context, undefined);
      let end: () => void = () => {};
      const settled = new Promise<void>((resolve, reject) => {
        end = () =>
          void Promise.all([writer.abort("enough"), readable.getReader().read()]).then(
            () => resolve(),
            reject,
          );
      });
      return { settled, end };
    },
  };
}

/** Calls of a keyring by itself, as keyrings of callers do it with keyrings of ours. */
function keyringCases(name: string, make: (context: Context) => Keyring): Record<string, Case> {
  const entries = (): readonly EncryptedDataKey[] => (name.includes("Kms") ? [kmsEntry] : encryptedDataKeys);
  return {
    [`${name}.generateDataKey`]: (context) => ({
      settled: make(context).generateDataKey(requestOf(context.signal)),
    }),
    [`${name}.wrapDataKey`]: (context) => ({
      settled: make(context).wrapDataKey(Buffer.alloc(32, 1), requestOf(context.signal)),
    }),
    [`${name}.unwrapDataKey`]: (context) => ({
      settled: make(context).unwrapDataKey(entries(), requestOf(context.signal)),
    }),
  };
}
const keyArn = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const kmsEntry: EncryptedDataKey = {
  providerId: "aws-kms",
  providerInfo: Buffer.from(keyArn),
  ciphertext: Buffer.alloc(64, 1),
};
const silentKms = ({ silence }: Context) => ({
  send: silence.wait as never,
  config: { region: async () => "eu-west-1" },
});
/** A keyring of a user, as the peer has it. */
class SilentNode extends KeyringNode {
  readonly #context: Context;
  constructor(context: Context) {
    super();
    this.#context = context;
  }
  _onEncrypt(): Promise<NodeEncryptionMaterial> {
    return this.#context.silence.wait();
  }
  _onDecrypt(): Promise<NodeDecryptionMaterial> {
    return this.#context.silence.wait();
  }
}

const { encryptStream, decryptStream, decryptUnsignedMessageStream } = buildClient(
  CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT,
);
const peerSuite = {
  suiteId: AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY,
} as const;

/** A source that gives header and final frame, and nothing afterwards. */
const silentSource = ({ silence }: Context) => {
  let isSilent = false;
  return {
    size: message.length,
    read: (start: number, end: number): Promise<Uint8Array> =>
      isSilent ? silence.wait() : Promise.resolve(message.subarray(start, end)),
    fallSilent: () => {
      isSilent = true;
    },
  };
};
async function readerOf(context: Context, cacheLength?: number) {
  const source = silentSource(context);
  const reader = await openMessage(source, { keyring: inner, cacheLength });
  source.fallSilent();
  return reader;
}

const optional = (signal: AbortSignal | undefined) => (signal === undefined ? {} : { signal });

const cases: Readonly<Record<string, Case>> = {
  "encrypt, keyring": (context) => ({
    settled: encrypt(plaintext, { keyring: silentKeyring(context), signal: context.signal }),
  }),
  ...Object.fromEntries(
    Object.entries({
      "async iterable": (context: Context) => silentIterable(context),
      "async iterable within": (context: Context) => silentIterable(context, plaintext),
      generator: silentGenerator,
      "Node stream": silentReadable,
      "Web stream": silentWebStream,
      "promises in an array": silentPieces,
    }).flatMap(([name, make]): [string, Case][] => [
      [
        `encrypt, ${name}`,
        (context) => ({
          settled: encrypt(make(context) as never, { keyring: inner, signal: context.signal }),
        }),
      ],
      [
        `decrypt, ${name}`,
        (context) => ({
          settled: decrypt(make(context) as never, { keyring: inner, signal: context.signal }),
        }),
      ],
    ]),
  ),
  "encrypt, engine": (context) => ({
    settled: encrypt(plaintext, {
      keyring: inner,
      engine: silentEngine(context, "frames"),
      signal: context.signal,
    }),
  }),
  "encrypt, hash of the engine": (context) => ({
    settled: encrypt(plaintext, {
      keyring: inner,
      suite: SIGNED,
      engine: silentEngine(context, "hash"),
      signal: context.signal,
    }),
  }),
  "decrypt, keyring": (context) => ({
    settled: decrypt(message, { keyring: silentKeyring(context), signal: context.signal }),
  }),
  "decrypt, engine": (context) => ({
    settled: decrypt(message, {
      keyring: inner,
      engine: silentEngine(context, "frames"),
      signal: context.signal,
    }),
  }),
  "decrypt, hash of the engine": (context) => ({
    settled: decrypt(signed, {
      keyring: inner,
      engine: silentEngine(context, "hash"),
      signal: context.signal,
    }),
  }),
  "prepareMessage, keyring": (context) => ({
    settled: prepareMessage({ keyring: silentKeyring(context), signal: context.signal }),
  }),
  "createEncryptStream of a prepared message, nobody writes": async ({ silence, signal }) => {
    const prepared = await prepareMessage({ keyring: inner, signal });
    const stream = prepared.createEncryptStream();
    stream.resume();
    stream.once("header", () => silence.reach());
    return { settled: closed(stream) };
  },
  ...transformCases(
    "createEncryptStream, keyring",
    (context, signal) => createEncryptStream({ keyring: silentKeyring(context), ...optional(signal) }),
    plaintext,
  ),
  ...transformCases(
    "createEncryptStream, engine",
    (context, signal) =>
      createEncryptStream({
        keyring: inner,
        engine: silentEngine(context, "frames"),
        ...optional(signal),
      }),
    plaintext,
  ),
  ...transformCases(
    "createEncryptStream, hash of the engine",
    (context, signal) =>
      createEncryptStream({
        keyring: inner,
        suite: SIGNED,
        engine: silentEngine(context, "hash"),
        ...optional(signal),
      }),
    plaintext,
  ),
  "createEncryptStream, nobody reads": ({ silence, signal }) => {
    const stream = createEncryptStream({ keyring: inner, signal });
    stream.end(plaintext);
    stream.once("readable", () => silence.reach());
    return { settled: closed(stream) };
  },
  "createEncryptStream, nobody writes": ({ silence, signal }) => {
    const stream = createEncryptStream({ keyring: inner, signal });
    stream.once("header", () => silence.reach());
    stream.resume();
    return { settled: closed(stream) };
  },
  ...transformCases(
    "createDecryptStream, keyring",
    (context, signal) => createDecryptStream({ keyring: silentKeyring(context), ...optional(signal) }),
    message,
  ),
  ...transformCases(
    "createDecryptStream, engine",
    (context, signal) =>
      createDecryptStream({ keyring: inner, engine: silentEngine(context, "frames"), ...optional(signal) }),
    message,
  ),
  ...transformCases(
    "createDecryptStream, hash of the engine",
    (context, signal) =>
      createDecryptStream({ keyring: inner, engine: silentEngine(context, "hash"), ...optional(signal) }),
    signed,
  ),
  "createDecryptStream, nobody reads": ({ silence, signal }) => {
    const stream = createDecryptStream({ keyring: inner, signal });
    stream.end(message);
    stream.once("readable", () => silence.reach());
    return { settled: closed(stream) };
  },
  "createDecryptStream, nobody writes": ({ silence, signal }) => {
    const stream = createDecryptStream({ keyring: inner, signal });
    stream.write(message.subarray(0, 1000));
    stream.resume();
    stream.once("header", () => silence.reach());
    return { settled: closed(stream) };
  },
  ...webCases(
    "encryptWebStream, keyring",
    (context, signal) => encryptWebStream({ keyring: silentKeyring(context), ...optional(signal) }),
    plaintext,
  ),
  ...webCases(
    "encryptWebStream, engine",
    (context, signal) =>
      encryptWebStream({ keyring: inner, engine: silentEngine(context, "frames"), ...optional(signal) }),
    plaintext,
  ),
  ...webCases(
    "decryptWebStream, keyring",
    (context, signal) => decryptWebStream({ keyring: silentKeyring(context), ...optional(signal) }),
    message,
  ),
  ...webCases(
    "decryptWebStream, engine",
    (context, signal) =>
      decryptWebStream({ keyring: inner, engine: silentEngine(context, "frames"), ...optional(signal) }),
    message,
  ),
  "encryptWebStream, nobody reads": async (context) => {
    const { writable, header } = encryptWebStream({ keyring: inner, signal: context.signal });
    const writer = writable.getWriter();
    writer.write(plaintext).catch(() => {});
    await header;
    await soon(context);
    return { settled: writer.closed };
  },
  "encryptWebStream, keyring, its header": (context) => {
    const { header } = encryptWebStream({ keyring: silentKeyring(context), signal: context.signal });
    return { settled: header };
  },
  "decryptWebStream, nobody writes, its header": ({ silence, signal }) => {
    const { header } = decryptWebStream({ keyring: inner, signal });
    silence.reach();
    return { settled: header };
  },
  // Random access
  "openMessage, keyring": (context) => ({
    settled: openMessage(message, { keyring: silentKeyring(context), signal: context.signal }),
  }),
  "openMessage, source": ({ silence, signal }) => ({
    settled: openMessage({ size: 100_000, read: silence.wait }, { keyring: inner, signal }),
  }),
  "openMessage, source that is silent when it is closed too": ({ silence, signal }) => ({
    settled: openMessage(
      { size: 100_000, read: silence.wait, close: silence.wait },
      { keyring: inner, signal },
    ),
  }),
  "MessageReader.read, source": async (context) => {
    const reader = await readerOf(context);
    return { settled: reader.read(0, 10, { signal: context.signal }) };
  },
  "MessageReader.read, source, with a cache": async (context) => {
    const reader = await readerOf(context, 1_000_000);
    return { settled: reader.read(0, 10, { signal: context.signal }) };
  },
  "MessageReader.read, source, close()": async (context) => {
    const reader = await readerOf(context);
    return { settled: reader.read(0, 10), end: () => reader.close() };
  },
  "MessageReader.read, engine": async (context) => {
    const engine = silentEngine(context, "frames");
    const reader = await openMessage(message, { keyring: inner, engine });
    return { settled: reader.read(0, 1_000_000, { signal: context.signal }) };
  },
  "MessageReader.read, engine, close()": async (context) => {
    const engine = silentEngine(context, "frames");
    const reader = await openMessage(message, { keyring: inner, engine });
    return { settled: reader.read(0, 1_000_000), end: () => reader.close() };
  },
  "MessageReader.close, reads under way": async (context) => {
    const reader = await readerOf(context);
    for (let i = 0; i < 3; i++) reader.read(i, 10).catch(() => {});
    let end: () => void = () => {};
    const settled = new Promise<void>((resolve, reject) => {
      end = () => void Promise.all([reader.close(), reader.close()]).then(() => resolve(), reject);
    });
    return { settled, end };
  },
  ...Object.fromEntries(
    (["source", "engine"] as const).flatMap((party) => {
      const start = async (context: Context, signal?: AbortSignal) => {
        const reader =
          party === "source"
            ? await readerOf(context)
            : await openMessage(message, { keyring: inner, engine: silentEngine(context, "frames") });
        return { reader, stream: reader.createReadStream(optional(signal)) };
      };
      const name = `MessageReader.createReadStream, ${party}`;
      return Object.entries<Case>({
        [name]: async (context) => {
          const { stream } = await start(context, context.signal);
          stream.resume();
          return { settled: closed(stream) };
        },
        [`${name}, destroy()`]: async (context) => {
          const { stream } = await start(context);
          stream.resume();
          return { settled: closed(stream), end: () => stream.destroy() };
        },
        [`${name}, close() of the reader`]: async (context) => {
          const { reader, stream } = await start(context);
          stream.resume();
          return { settled: closed(stream), end: () => reader.close() };
        },
      });
    }),
  ),
  "MessageReader.createReadStream, nobody reads": async ({ silence, signal }) => {
    const reader = await openMessage(message, { keyring: inner });
    const stream = reader.createReadStream({ signal });
    stream.once("readable", () => silence.reach());
    return { settled: closed(stream) };
  },
  // Keyrings by themselves
  ...keyringCases(
    "CachingKeyring",
    (context) => new CachingKeyring({ keyring: silentKeyring(context), maxAgeMs: 1000 }),
  ),
  "CachingKeyring, a suite that is not kept": (context) => {
    const keyring = new CachingKeyring({ keyring: silentKeyring(context), maxAgeMs: 1000 });
    return { settled: keyring.generateDataKey({ ...requestOf(context.signal), suite: suiteById(SIGNED) }) };
  },
  "CachingKeyring, the second who asks": (context) => {
    const keyring = new CachingKeyring({ keyring: silentKeyring(context), maxAgeMs: 1000 });
    void keyring.generateDataKey(requestOf(undefined));
    return { settled: keyring.generateDataKey(requestOf(context.signal)) };
  },
  ...keyringCases("MultiKeyring", (context) => {
    const keyring = silentKeyring(context);
    return new MultiKeyring({ generator: keyring, children: [keyring] });
  }),
  "MultiKeyring, its child": (context) => {
    const keyring = new MultiKeyring({ generator: inner, children: [silentKeyring(context)] });
    return { settled: keyring.generateDataKey(requestOf(context.signal)) };
  },
  ...keyringCases(
    "KmsKeyring",
    (context) => new KmsKeyring({ client: silentKms(context), generatorKeyId: keyArn }),
  ),
  "KmsKeyring, discovery": (context) => {
    const discovery = { partition: "aws", accountIds: ["111122223333"] };
    const keyring = new KmsKeyring({ client: silentKms(context), discovery });
    return { settled: keyring.unwrapDataKey([kmsEntry], requestOf(context.signal)) };
  },
  ...keyringCases(
    "KmsKeyringNode",
    (context) => new KmsKeyringNode({ clientProvider: () => silentKms(context), generatorKeyId: keyArn }),
  ),
  ...keyringCases(
    "AwsKmsMrkAwareSymmetricKeyringNode",
    (context) => new AwsKmsMrkAwareSymmetricKeyringNode({ keyId: keyArn, client: silentKms(context) }),
  ),
  "AwsKmsMrkAwareSymmetricDiscoveryKeyringNode.unwrapDataKey": (context) => {
    const discoveryFilter = { accountIDs: ["111122223333"], partition: "aws" };
    const keyring = new AwsKmsMrkAwareSymmetricDiscoveryKeyringNode({
      client: silentKms(context) as never,
      discoveryFilter,
    });
    return { settled: keyring.unwrapDataKey([kmsEntry], requestOf(context.signal)) };
  },
  "AwsKmsMrkAwareSymmetricDiscoveryKeyringNode, region of its client": (context) => {
    const discoveryFilter = { accountIDs: ["111122223333"], partition: "aws" };
    const client = { send: async () => ({}), config: { region: context.silence.wait } };
    const keyring = new AwsKmsMrkAwareSymmetricDiscoveryKeyringNode({
      client: client as never,
      discoveryFilter,
    });
    return { settled: keyring.unwrapDataKey([kmsEntry], requestOf(context.signal)) };
  },
  ...keyringCases(
    "MultiKeyringNode",
    (context) => new MultiKeyringNode({ generator: new SilentNode(context), children: [] }),
  ),
  ...keyringCases("KeyringNode", (context) => new SilentNode(context)),
  // The peer's surface has no signals: what it returns can be destroyed, and so can what it is given.
  ...Object.fromEntries(
    Object.entries({
      encryptStream: [encryptStream, peerSuite, plaintext],
      decryptStream: [decryptStream, {}, message],
      decryptUnsignedMessageStream: [decryptUnsignedMessageStream, {}, message],
    } as const).map(([name, [make, options, input]]): [string, Case] => [
      `Client.${name}, keyring, destroy()`,
      (context) => {
        const stream = make(silentKeyring(context), options);
        stream.end(input);
        stream.resume();
        return { settled: closed(stream), end: () => stream.destroy() };
      },
    ]),
  ),
  ...Object.fromEntries(
    (["encrypt", "decrypt"] as const).map((name): [string, Case] => [
      `Client.${name}, source, which is destroyed`,
      (context) => {
        const source = silentReadable(context);
        const { encrypt: seal, decrypt: open } = buildClient();
        const settled: Promise<unknown> = name === "encrypt" ? seal(inner, source) : open(inner, source);
        return { settled, end: () => source.destroy() };
      },
    ]),
  ),
};

/** Where there are FIFOs. */
const fileCases: Readonly<Record<string, Case>> = {
  "encryptFile, keyring": (context) => ({
    settled: encryptFile(file("plaintext"), file("out"), {
      keyring: silentKeyring(context),
      signal: context.signal,
    }),
    closes: "descriptors",
  }),
  "decryptFile, keyring": (context) => ({
    settled: decryptFile(file("message"), file("out"), {
      keyring: silentKeyring(context),
      signal: context.signal,
    }),
    closes: "descriptors",
  }),
  "verifyFile, keyring": (context) => ({
    settled: verifyFile(file("message"), { keyring: silentKeyring(context), signal: context.signal }),
    closes: "descriptors",
  }),
  "encryptFile, engine": (context) => ({
    settled: encryptFile(file("plaintext"), file("out"), {
      keyring: inner,
      engine: silentEngine(context, "frames"),
      signal: context.signal,
    }),
    closes: "descriptors",
  }),
  "decryptFile, engine": (context) => ({
    settled: decryptFile(file("message"), file("out"), {
      keyring: inner,
      engine: silentEngine(context, "frames"),
      signal: context.signal,
    }),
    closes: "descriptors",
  }),
  "encryptFile, a FIFO that nobody writes to": async (context) => {
    const settled = encryptFile(fifo(), file("out"), { keyring: inner, signal: context.signal });
    void soon(context);
    return { settled, closes: "descriptors" };
  },
  "decryptFile, a FIFO that nobody writes to": (context) => {
    const settled = decryptFile(fifo(), file("out"), { keyring: inner, signal: context.signal });
    void soon(context);
    return { settled, closes: "descriptors" };
  },
  "verifyFile, a FIFO that nobody writes to": (context) => {
    const settled = verifyFile(fifo(), { keyring: inner, signal: context.signal });
    void soon(context);
    return { settled, closes: "descriptors" };
  },
  "inspectFile, a FIFO that nobody writes to": (context) => {
    const settled = inspectFile(fifo(), { signal: context.signal });
    void soon(context);
    return { settled, closes: "descriptors" };
  },
  "inspectFile, a FIFO that falls silent": (context) => {
    const settled = inspectFile(silentFifo(message.subarray(0, 50)), { signal: context.signal });
    void soon(context);
    return { settled, closes: "descriptors" };
  },
  "encryptFile, a FIFO that nobody reads": (context) => {
    const settled = encryptFile(file("plaintext"), fifo(), { keyring: inner, signal: context.signal });
    void soon(context);
    return { settled, closes: "descriptors" };
  },
  "decryptFile, a FIFO that nobody reads": (context) => {
    const settled = decryptFile(file("message"), fifo(), { keyring: inner, signal: context.signal });
    void soon(context);
    return { settled, closes: "descriptors" };
  },
  "encryptFile, a full pipe": ({ silence, signal }) => ({
    settled: encryptFile(file("plaintext"), silentFifo(Buffer.alloc(0)), {
      keyring: inner,
      signal,
      onProgress: onProgress(silence),
    }),
    closes: "descriptors",
  }),
  "decryptFile, a full pipe, Node engine": ({ silence, signal }) => ({
    settled: decryptFile(file("message"), silentFifo(Buffer.alloc(0)), {
      keyring: inner,
      engine: "node",
      signal,
      onProgress: onProgress(silence),
    }),
    closes: "descriptors",
  }),
  "decryptFile, a FIFO that falls silent": ({ silence, signal }) => ({
    settled: decryptFile(silentFifo(message.subarray(0, 60_000)), file("out"), {
      keyring: inner,
      signal,
      onProgress: onProgress(silence),
    }),
    closes: "descriptors",
  }),
  "encryptFile, a descriptor that falls silent": ({ silence, signal }) => {
    const descriptor = openSync(silentFifo(plaintext.subarray(0, 60_000)), constants.O_RDWR);
    return {
      settled: encryptFile(descriptor, file("out"), {
        keyring: inner,
        signal,
        onProgress: onProgress(silence),
      }),
      closes: "descriptors",
    };
  },
};
const hasFifos = process.platform !== "win32";
const all: Readonly<Record<string, Case>> = { ...cases, ...(hasFifos ? fileCases : {}) };

/** Cases of these beginnings, or the reason why there can be none. */
type Row = RegExp | string;
const local = "nobody is asked: no key service, no source";
const callers = "the caller implements it";
const peers = "as with the peer it is given no signal; the promise is that of the keyring it is called on";
const byClient =
  "it takes no signal: what it waits for ends by the time-outs of the client, or of the store, it is given";
const rows: Readonly<Record<string, Readonly<Record<string, Row>>>> = {
  index: {
    "CachingKeyring.generateDataKey": /^CachingKeyring/,
    "CachingKeyring.unwrapDataKey": /^CachingKeyring.unwrap/,
    "CachingKeyring.wrapDataKey": /^CachingKeyring.wrap/,
    "FrameCipher.openAsync": callers,
    "FrameCipher.sealAsync": callers,
    "FrameTransform.destroy": /^create\w+Stream, .*, destroy/,
    "FrameTransformStream.header": /WebStream, .*, its header/,
    "FrameTransformStream.readable": /WebStream, /,
    "FrameTransformStream.writable": /WebStream, .*, its writer/,
    "Keyring.generateDataKey": callers,
    "Keyring.unwrapDataKey": callers,
    "Keyring.wrapDataKey": callers,
    "MessageReader.[asyncDispose]": /^MessageReader.close/,
    "MessageReader.close": /^MessageReader.close/,
    "MessageReader.createReadStream": /^MessageReader.createReadStream/,
    "MessageReader.read": /^MessageReader.read/,
    "MessageSource.close": callers,
    "MessageSource.read": callers,
    "MultiKeyring.generateDataKey": /^MultiKeyring/,
    "MultiKeyring.unwrapDataKey": /^MultiKeyring.unwrap/,
    "MultiKeyring.wrapDataKey": /^MultiKeyring.wrap/,
    "PreparedMessage.createEncryptStream": /^createEncryptStream of a prepared/,
    "RawAesKeyring.generateDataKey": local,
    "RawAesKeyring.unwrapDataKey": local,
    "RawAesKeyring.wrapDataKey": local,
    "RawRsaKeyring.generateDataKey": local,
    "RawRsaKeyring.unwrapDataKey": local,
    "RawRsaKeyring.wrapDataKey": local,
    createDecryptStream: /^createDecryptStream/,
    createEncryptStream: /^createEncryptStream/,
    decrypt: /^decrypt, /,
    decryptFile: /^decryptFile/,
    decryptWebStream: /^decryptWebStream/,
    encrypt: /^encrypt, /,
    encryptFile: /^encryptFile/,
    encryptWebStream: /^encryptWebStream/,
    inspectFile: /^inspectFile/,
    keyringFromKeyFile: "its own test aborts it at a FIFO that nobody writes to",
    openMessage: /^openMessage/,
    prepareMessage: /^prepareMessage/,
    verifyFile: /^verifyFile/,
    writeAesKeyFile: local,
    writeRsaKeyFiles: local,
  },
  kms: {
    "KmsKeyring.generateDataKey": /^KmsKeyring.generate/,
    "KmsKeyring.unwrapDataKey": /^KmsKeyring/,
    "KmsKeyring.wrapDataKey": /^KmsKeyring.wrap/,
  },
  "client-node": {
    ...Object.fromEntries(
      [
        "AwsKmsMrkAwareSymmetricDiscoveryKeyringNode",
        "AwsKmsMrkAwareSymmetricKeyringNode",
        "KeyringNode",
        "KmsKeyringNode",
        "MultiKeyringNode",
        "RawAesKeyringNode",
        "RawRsaKeyringNode",
      ].flatMap((name): [string, Row][] => {
        const isRaw = name.startsWith("Raw");
        const isDiscovery = name.includes("Discovery");
        const method = (which: string): [string, Row] => [
          `${name}.${which}DataKey`,
          isRaw ? local : new RegExp(`^${name}(?:\\.${which}|, )`),
        ];
        return [
          ...["_onDecrypt", "_onEncrypt", "onDecrypt", "onEncrypt"].map((each): [string, Row] => [
            `${name}.${each}`,
            peers,
          ]),
          ...(isDiscovery
            ? ([
                [`${name}.generateDataKey`, "refused: it only opens"],
                [`${name}.wrapDataKey`, "it adds nothing"],
              ] as [string, Row][])
            : [method("generate"), method("wrap")]),
          method("unwrap"),
        ];
      }),
    ),
    "Client.decrypt": /^Client.decrypt, /,
    "Client.decryptStream": /^Client.decryptStream/,
    "Client.decryptUnsignedMessageStream": /^Client.decryptUnsigned/,
    "Client.encrypt": /^Client.encrypt, /,
    "Client.encryptStream": /^Client.encryptStream/,
  },
  testing: {
    "KeyringSubject.reader": callers,
    "KeyringSubject.stranger": callers,
    "KeyringSubject.writer": callers,
    checkKeyring: "test runners have their own time-outs",
    checkMultipartStateStore: "test runners have their own time-outs",
  },
  s3: {
    "MultipartStateStore.compareAndSwap": callers,
    "MultipartStateStore.load": callers,
    "MultipartStateStore.remove": callers,
    decryptObject: "test/s3/settles.test.ts",
    encryptObject: "test/s3/settles.test.ts",
    exportMultipartUpload: byClient,
    getDefaultEncryption: byClient,
    importMultipartUpload: byClient,
    rewrapObject: "test/s3/settles.test.ts",
    setDefaultEncryption: byClient,
    withSseCKey: "it waits for the caller's own request alone",
  },
};

test("has a row for everything in the public API that keeps its caller waiting", () => {
  const api = asynchronousApi();
  const used = new Set<string>();
  for (const [entry, names] of api) {
    expect(Object.keys(rows[entry] ?? {}).sort(), entry).toEqual([...names]);
    expect(names.length, entry).toBeGreaterThan(2);
    for (const [name, row] of Object.entries(rows[entry] ?? {})) {
      if (typeof row === "string") continue;
      const found = Object.keys({ ...cases, ...fileCases }).filter((each) => row.test(each));
      expect(found.length, `cases of ${entry} ${name}`).toBeGreaterThan(0);
      for (const each of found) used.add(each);
    }
  }
  expect(Object.keys({ ...cases, ...fileCases }).filter((name) => !used.has(name))).toEqual([]);
});

describe.each(Object.entries(signals))("with %s", (_, make) => {
  test.each(Object.entries(all))("%s", async (_name, start) => {
    const silence = new Silence();
    const { signal, abort, listeners } = make();
    const { settled, end, closes } = await start({ silence, signal });
    let outcome: { readonly error?: unknown } | undefined;
    settled.then(
      () => {
        outcome = {};
      },
      (error: unknown) => {
        outcome = { error };
      },
    );
    await silence.reached;
    for (let i = 0; i < 5; i++) await turn();
    expect(outcome, "nobody has answered").toBeUndefined();
    const reason = new Error("enough");
    if (end === undefined) abort(reason);
    else void Promise.resolve(end()).catch(() => {});
    if (closes === "descriptors") await expect.poll(() => outcome, { timeout: BOUND_MS }).toBeDefined();
    else for (let i = 0; i < TURNS && outcome === undefined; i++) await turn();
    expect(outcome, "settles").toBeDefined();
    if (end === undefined) {
      expect(outcome?.error).toMatchObject({ name: "FramesealError", code: "ABORTED" });
      expect((outcome?.error as Error | undefined)?.cause).toBe(reason);
    }
    await turn();
    expect(listeners(), "listeners").toBe(0);
  });
});

test("KMS is not asked any more by a call that was aborted while the SDK was loaded", async () => {
  let asked = 0;
  const client = {
    send: (async () => {
      asked++;
    }) as never,
  };
  const keyring = new KmsKeyring({ client, generatorKeyId: keyArn });
  const controller = new AbortController();
  const aborted = keyring.generateDataKey(requestOf(controller.signal));
  controller.abort();
  await expect(aborted).rejects.toMatchObject({ code: "ABORTED" });
  await expect(keyring.generateDataKey(requestOf(undefined))).rejects.toMatchObject({ code: "KEY_SERVICE" });
  expect(asked).toBe(1);
});

test.runIf(hasFifos)("a message is not opened at a FIFO, which nobody may ever write to", async () => {
  const failed = openMessage(fifo(), { keyring: inner });
  await expect(failed).rejects.toMatchObject({ code: "ESPIPE" });
});

describe("a source that fails while something else is awaited", () => {
  const slow: Keyring = {
    ...silentKeyring({ silence: new Silence(), signal: new AbortController().signal }),
    generateDataKey: async (request) => {
      for (let i = 0; i < 50; i++) await turn();
      return inner.generateDataKey(request);
    },
    unwrapDataKey: async (keys, request) => {
      for (let i = 0; i < 50; i++) await turn();
      return inner.unwrapDataKey(keys, request);
    },
  };
  const client = buildClient();
  const takers: Readonly<Record<string, (source: Readable) => Promise<unknown>>> = {
    encrypt: (source) => encrypt(source, { keyring: slow }),
    decrypt: (source) => decrypt(source, { keyring: slow }),
    "encrypt, aborted before": (source) =>
      encrypt(source, { keyring: slow, signal: AbortSignal.abort(new Error("enough")) }),
    "decrypt, aborted before": (source) =>
      decrypt(source, { keyring: slow, signal: AbortSignal.abort(new Error("enough")) }),
    "encrypt, with wrong options": (source) => encrypt(source, { keyring: slow, frameLength: Number.NaN }),
    "decrypt, with wrong options": (source) => decrypt(source, { keyring: 1 as never }),
    "encrypt of client-node": (source) => client.encrypt(slow, source),
    "decrypt of client-node": (source) => client.decrypt(slow, source),
    "encrypt of client-node, with wrong options": (source) =>
      client.encrypt(slow, source, { frameLength: Number.NaN }),
  };
  const sources: Readonly<Record<string, () => Readable>> = {
    "a missing file": () => createReadStream(file("absent")),
    "a stream that fails at once": () => {
      const stream = new PassThrough();
      process.nextTick(() => stream.destroy(new Error("source")));
      return stream;
    },
    "a stream that fails in a few turns": () => {
      const stream = new PassThrough();
      stream.write(message.subarray(0, 100));
      void (async () => {
        for (let i = 0; i < 10; i++) await turn();
        stream.destroy(new Error("source"));
      })();
      return stream;
    },
    "a stream that has failed": () => {
      const stream = new PassThrough();
      stream.on("error", () => {});
      return stream.destroy(new Error("source"));
    },
  };
  test.each(
    Object.keys(takers).flatMap((taker) => Object.keys(sources).map((source) => [taker, source] as const)),
  )("%s: %s is a rejection", async (taker, source) => {
    const body = sources[source]?.() ?? new PassThrough();
    await expect(takers[taker]?.(body)).rejects.toBeInstanceOf(Error);
    await expect.poll(() => body.destroyed).toBe(true); // it has failed, and somebody has heard that
    await turn();
  });
});

test("no error went unheard", () => expect(unheard).toEqual([]));

test("a process can end when all that it has begun is aborted", () => {
  const library = (name: string): string =>
    JSON.stringify(fileURLToPath(new URL(`../dist/${name}.js`, import.meta.url)));
  const script = `
    import { createDecryptStream, createEncryptStream, encrypt, openMessage, RawAesKeyring } from ${library("index")};
    import { KmsKeyring } from ${library("kms")};
    const never = () => new Promise(() => {});
    const silent = { generateDataKey: never, unwrapDataKey: never, wrapDataKey: never };
    const inner = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: Buffer.alloc(32, 1) });
    const controller = new AbortController();
    const { signal } = controller;
    const kms = new KmsKeyring({ client: { send: never }, generatorKeyId: ${JSON.stringify(keyArn)} });
    const message = await encrypt(Buffer.alloc(1000), { keyring: inner });
    const waiting = [
      encrypt(Buffer.alloc(10), { keyring: silent, signal }),
      encrypt(Buffer.alloc(10), { keyring: kms, signal }),
      encrypt({ [Symbol.asyncIterator]: () => ({ next: never }) }, { keyring: inner, signal }),
      openMessage({ size: 1000, read: never }, { keyring: inner, signal }),
      ...[createEncryptStream, createDecryptStream].map((create) => new Promise((_, reject) => {
        const stream = create({ keyring: silent, signal });
        stream.once("error", reject);
        stream.end(message);
        stream.resume();
      })),
    ];
    setImmediate(() => controller.abort());
    const codes = (await Promise.allSettled(waiting)).map(({ reason }) => reason.code);
    console.log(codes.join());`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
    encoding: "utf8",
    timeout: 30_000,
    cwd: fileURLToPath(new URL("..", import.meta.url)),
    env: { ...process.env, NODE_NO_WARNINGS: "1" },
  });
  expect({ status, stdout, stderr }).toEqual({
    status: 0,
    stdout: `${Array(6).fill("ABORTED").join()}\n`,
    stderr: "",
  });
});
