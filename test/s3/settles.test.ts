// Every promise of "frameseal/s3" settles when its caller aborts, whoever has gone silent meanwhile: the keyring, the
// source, whoever reads, the server, the store of upload states. And a failure that comes while something else is awaited
// is a rejection, never an error that nobody hears.
import { randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import path from "node:path";
import { PassThrough, Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { type Keyring, RawAesKeyring } from "../../src/index.ts";
import { KmsKeyring } from "../../src/kms.ts";
import {
  decryptObject,
  type EncryptS3ClientOptions,
  encryptObject,
  encryptS3Client,
  rewrapObject,
} from "../../src/s3.ts";
import { FakeKms } from "../support/fake-kms.ts";
import { S3Server } from "../support/s3-server.ts";
import { OwnSignal, signals } from "../support/signals.ts";

const Bucket = "bucket";
const MiB = 2 ** 20;
const location = { bucket: Bucket, key: "read" };
/** Until it was aborted nothing has a reason to settle; afterwards it must within this, on a busy machine too. */
const BOUND_MS = 10_000;

const inner = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
const other = new RawAesKeyring({ keyNamespace: "n", keyName: "o", wrappingKey: randomBytes(32) });
const data = randomBytes(300_000);
const large = Buffer.alloc(12 * MiB, 1);

let server: S3Server;
let kms: FakeKms;
let kmsKeyring: KmsKeyring;
let plain: S3Client;
const unheard: string[] = [];
const hear = (error: unknown): void => void unheard.push(String(error));
beforeAll(async () => {
  process.on("unhandledRejection", hear);
  process.on("uncaughtException", hear);
  server = await S3Server.start();
  kms = await FakeKms.start();
  kmsKeyring = new KmsKeyring({ client: kms.client(), generatorKeyId: kms.createKey() });
  plain = server.client({ maxAttempts: 1 });
  await plain.send(new CreateBucketCommand({ Bucket }));
  for (const [key, options] of Object.entries({
    read: {},
    single: { format: "s3ec-v3" },
    filed: { format: "s3ec-v3", instructionFiles: "write" },
    "under kms": { format: "s3ec-v3", keyring: kmsKeyring },
  } as const))
    await encryptS3Client(plain, { keyring: inner, ...options }).send(
      new PutObjectCommand({ Bucket, Key: key, Body: data }),
    );
});
afterEach(() => {
  server.fault = () => undefined;
  kms.fault = () => undefined;
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await kms[Symbol.asyncDispose]();
  process.off("unhandledRejection", hear);
  process.off("uncaughtException", hear);
});

/** What falls silent. Its promise resolves when somebody has come to wait for it. */
class Silence {
  readonly reached: Promise<void>;
  #reach: () => void = () => {};
  constructor() {
    this.reached = new Promise((resolve) => {
      this.#reach = resolve;
    });
  }
  /** Never settles. */
  wait<Result>(): Promise<Result> {
    this.#reach();
    return new Promise(() => {});
  }
}
const silentKeyring = (silence: Silence, from: "generateDataKey" | "unwrapDataKey"): Keyring => ({
  generateDataKey: (request) =>
    from === "generateDataKey" ? silence.wait() : inner.generateDataKey(request),
  unwrapDataKey: (request, keys) =>
    from === "unwrapDataKey" ? silence.wait() : inner.unwrapDataKey(request, keys),
  wrapDataKey: (dataKey, request) => inner.wrapDataKey(dataKey, request),
});
/** Gives some bytes, and then nothing. */
const silentBody = (silence: Silence, first: Uint8Array = new Uint8Array(0)): Readable => {
  let given = first.length === 0;
  return new Readable({
    read() {
      if (given) return void silence.wait();
      given = true;
      this.push(first);
    },
  });
};
/** The server says nothing to calls that `to` is true for. */
const silentServer = (silence: Silence, to: (call: Parameters<S3Server["fault"]>[0]) => boolean): void => {
  server.fault = (call) => {
    if (!to(call)) return undefined;
    void silence.wait();
    return { kind: "stall" };
  };
};
const silentKms = (silence: Silence): void => {
  kms.fault = () => {
    void silence.wait();
    return { kind: "silence" };
  };
};
const stores = (silence: Silence, silent: "load" | "compareAndSwap" | "remove") => {
  const states = new Map<string, never>();
  return {
    load: async (id: string) => (silent === "load" ? silence.wait<undefined>() : states.get(id)),
    compareAndSwap: async (id: string, state: unknown) => {
      if (silent === "compareAndSwap") return silence.wait<boolean>();
      states.set(id, state as never);
      return true;
    },
    remove: async (id: string) => (silent === "remove" ? silence.wait<void>() : void states.delete(id)),
  };
};

interface Context {
  readonly silence: Silence;
  readonly signal: AbortSignal;
}
/** Starts a call that will wait for something silent, and returns its promise. */
type Start = (context: Context) => Promise<unknown> | Promise<Promise<unknown>>;
const client = (options: Partial<EncryptS3ClientOptions> = {}): S3Client =>
  encryptS3Client(plain, { keyring: inner, partSize: 5 * MiB, ...options });
const isGet = ({ method, key }: { method: string; key: string }): boolean =>
  method === "GET" && key === "read";
const always = (): boolean => true;
const copy = { Bucket, Key: "copied", CopySource: `${Bucket}/read` };
const rewrap = (
  { signal }: Context,
  { key = "read", from = inner, to = other }: { key?: string; from?: Keyring; to?: Keyring } = {},
) => rewrapObject(plain, { bucket: Bucket, key }, { from, to, signal });

async function startUpload(using: S3Client): Promise<{ Bucket: string; Key: string; UploadId: string }> {
  const target = { Bucket, Key: "by hand" };
  const { UploadId = "" } = await using.send(new CreateMultipartUploadCommand(target));
  return { ...target, UploadId };
}
/** Reads what is left of a body. */
async function drain(body: unknown): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body as AsyncIterable<Uint8Array>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const calls: Readonly<Record<string, Start>> = {
  // PutObject
  "PutObject, keyring": ({ silence, signal }) =>
    client({ keyring: silentKeyring(silence, "generateDataKey") }).send(
      new PutObjectCommand({ Bucket, Key: "written", Body: data }),
      { abortSignal: signal },
    ),
  "PutObject of a stream, keyring": ({ silence, signal }) =>
    client({ keyring: silentKeyring(silence, "generateDataKey") }).send(
      new PutObjectCommand({ Bucket, Key: "written", Body: Readable.from([data, data]) }),
      { abortSignal: signal },
    ),
  "PutObject, source before its first byte": ({ silence, signal }) =>
    client().send(new PutObjectCommand({ Bucket, Key: "written", Body: silentBody(silence) }), {
      abortSignal: signal,
    }),
  "PutObject, source within the first part": ({ silence, signal }) =>
    client().send(new PutObjectCommand({ Bucket, Key: "written", Body: silentBody(silence, data) }), {
      abortSignal: signal,
    }),
  "PutObject, source within the third part": ({ silence, signal }) =>
    client().send(new PutObjectCommand({ Bucket, Key: "written", Body: silentBody(silence, large) }), {
      abortSignal: signal,
    }),
  "PutObject of known length, source": ({ silence, signal }) =>
    client().send(
      new PutObjectCommand({
        Bucket,
        Key: "written",
        Body: silentBody(silence, data),
        ContentLength: 400_000,
      }),
      { abortSignal: signal },
    ),
  "PutObject of a web stream, source": ({ silence, signal }) =>
    client().send(
      new PutObjectCommand({
        Bucket,
        Key: "written",
        Body: new ReadableStream({ pull: () => silence.wait() }) as never,
      }),
      { abortSignal: signal },
    ),
  "PutObject in the format s3ec, source": ({ silence, signal }) =>
    client({ format: "s3ec-v3" }).send(
      new PutObjectCommand({ Bucket, Key: "written", Body: silentBody(silence, large) }),
      { abortSignal: signal },
    ),
  "PutObject, server": ({ silence, signal }) => {
    silentServer(silence, always);
    return client().send(new PutObjectCommand({ Bucket, Key: "written", Body: data }), {
      abortSignal: signal,
    });
  },
  ...Object.fromEntries(
    [
      ["Create", ({ query }: { query: URLSearchParams }) => query.has("uploads")],
      ["a part", ({ query }: { query: URLSearchParams }) => query.get("partNumber") === "2"],
      [
        "Complete",
        ({ query, method }: { query: URLSearchParams; method: string }) =>
          method === "POST" && query.has("uploadId"),
      ],
    ].map(([name, to]): [string, Start] => [
      `PutObject in parts, server at ${name}`,
      ({ silence, signal }) => {
        silentServer(silence, to as () => boolean);
        return client().send(new PutObjectCommand({ Bucket, Key: "written", Body: Readable.from([large]) }), {
          abortSignal: signal,
        });
      },
    ]),
  ),
  "PutObject with an instruction file, server at the file": ({ silence, signal }) => {
    silentServer(silence, ({ method, key }) => method === "PUT" && key === "written.instruction");
    const writing = client({ format: "s3ec-v3", instructionFiles: "write" });
    return writing.send(new PutObjectCommand({ Bucket, Key: "written", Body: data }), {
      abortSignal: signal,
    });
  },
  // GetObject
  "GetObject, keyring": ({ silence, signal }) =>
    client({ keyring: silentKeyring(silence, "unwrapDataKey") }).send(
      new GetObjectCommand({ Bucket, Key: "read" }),
      { abortSignal: signal },
    ),
  "GetObject of s3ec, KMS": ({ silence, signal }) => {
    silentKms(silence);
    return client({ keyring: kmsKeyring }).send(new GetObjectCommand({ Bucket, Key: "under kms" }), {
      abortSignal: signal,
    });
  },
  "PutObject of s3ec, KMS": ({ silence, signal }) => {
    silentKms(silence);
    return client({ keyring: kmsKeyring, format: "s3ec-v3" }).send(
      new PutObjectCommand({ Bucket, Key: "written", Body: data }),
      { abortSignal: signal },
    );
  },
  "rewrapObject of s3ec, KMS": (context) => {
    silentKms(context.silence);
    return rewrap(context, { key: "under kms", from: kmsKeyring });
  },
  "GetObject of a range, keyring": ({ silence, signal }) =>
    client({ keyring: silentKeyring(silence, "unwrapDataKey") }).send(
      new GetObjectCommand({ Bucket, Key: "read", Range: "bytes=100000-100010" }),
      { abortSignal: signal },
    ),
  "GetObject, server": ({ silence, signal }) => {
    silentServer(silence, isGet);
    return client().send(new GetObjectCommand({ Bucket, Key: "read" }), { abortSignal: signal });
  },
  "GetObject of a range, server": ({ silence, signal }) => {
    silentServer(silence, isGet);
    return client().send(new GetObjectCommand({ Bucket, Key: "read", Range: "bytes=100000-100010" }), {
      abortSignal: signal,
    });
  },
  "GetObject, server at the instruction file": ({ silence, signal }) => {
    silentServer(silence, ({ key }) => key === "filed.instruction");
    return client().send(new GetObjectCommand({ Bucket, Key: "filed" }), { abortSignal: signal });
  },
  ...Object.fromEntries(
    (["read", "single"] as const).flatMap((Key) =>
      (["verified", "two-pass", "delayed"] as const).map((authentication): [string, Start] => [
        `GetObject of ${Key} (${authentication}), server within the body`,
        async ({ silence, signal }) => {
          server.fault = ({ method, key }) => {
            if (method !== "GET" || key !== Key) return undefined;
            void silence.wait();
            return { kind: "stall-body", at: 100_000 };
          };
          const reading = client({ authentication });
          const got = await reading.send(new GetObjectCommand({ Bucket, Key }), { abortSignal: signal });
          await drain(got.Body);
        },
      ]),
    ),
  ),
  "GetObject, a body that nobody reads": async ({ silence, signal }) => {
    const got = await client().send(new GetObjectCommand({ Bucket, Key: "read" }), { abortSignal: signal });
    const body = got.Body as Readable;
    void silence.wait();
    await new Promise((_, reject) => {
      body.once("error", reject);
      body.once("close", () => reject(Object.assign(new Error("closed"), { code: "ABORTED" })));
    });
  },
  "GetObject, a body that is read by half": async ({ silence, signal }) => {
    const got = await client().send(new GetObjectCommand({ Bucket, Key: "read" }), { abortSignal: signal });
    const body = got.Body as Readable;
    const failed = new Promise((_, reject) => body.once("error", reject));
    failed.catch(() => {});
    body.pipe(new PassThrough({ highWaterMark: 10 }));
    void silence.wait();
    await failed;
  },
  // The others
  "HeadObject, server": ({ silence, signal }) => {
    silentServer(silence, always);
    return client().send(new HeadObjectCommand({ Bucket, Key: "read" }), { abortSignal: signal });
  },
  "CopyObject, server": ({ silence, signal }) => {
    silentServer(silence, always);
    return client({ bind: "none" }).send(new CopyObjectCommand(copy), { abortSignal: signal });
  },
  "CopyObject encrypted again, server at the source": ({ silence, signal }) => {
    silentServer(silence, isGet);
    return client({ boundCopy: "reencrypt" }).send(new CopyObjectCommand(copy), { abortSignal: signal });
  },
  "CopyObject encrypted again, server within the source": ({ silence, signal }) => {
    server.fault = (call) => {
      if (!isGet(call)) return undefined;
      void silence.wait();
      return { kind: "stall-body", at: 100_000 };
    };
    return client({ boundCopy: "reencrypt" }).send(new CopyObjectCommand(copy), { abortSignal: signal });
  },
  "CopyObject encrypted again, server at the target": ({ silence, signal }) => {
    silentServer(silence, ({ method }) => method === "PUT");
    return client({ boundCopy: "reencrypt" }).send(new CopyObjectCommand(copy), { abortSignal: signal });
  },
  "CopyObject encrypted again, keyring": ({ silence, signal }) =>
    client({ boundCopy: "reencrypt", keyring: silentKeyring(silence, "generateDataKey") }).send(
      new CopyObjectCommand(copy),
      { abortSignal: signal },
    ),
  "ListObjectsV2, server": ({ silence, signal }) => {
    silentServer(silence, ({ key }) => key === "");
    return client().send(new ListObjectsV2Command({ Bucket }), { abortSignal: signal });
  },
  "ListObjectsV2, server at an object": ({ silence, signal }) => {
    silentServer(silence, ({ method }) => method === "HEAD");
    return client().send(new ListObjectsV2Command({ Bucket }), { abortSignal: signal });
  },
  "GetObjectAttributes, server": ({ silence, signal }) => {
    silentServer(silence, always);
    const attributes = new GetObjectAttributesCommand({
      Bucket,
      Key: "read",
      ObjectAttributes: ["ObjectSize"],
    });
    return client().send(attributes, { abortSignal: signal });
  },
  "DeleteObject, server": ({ silence, signal }) => {
    silentServer(silence, always);
    return client().send(new DeleteObjectCommand({ Bucket, Key: "none" }), { abortSignal: signal });
  },
  "DeleteObjects, server at the instruction files": ({ silence, signal }) => {
    let calls = 0;
    silentServer(silence, () => ++calls === 2);
    const Delete = { Objects: [{ Key: "none" }] };
    const deleting = client({ format: "s3ec-v3", instructionFiles: "write" });
    return deleting.send(new DeleteObjectsCommand({ Bucket, Delete }), { abortSignal: signal });
  },
  // Uploads by hand
  "CreateMultipartUpload, keyring": ({ silence, signal }) =>
    client({ keyring: silentKeyring(silence, "generateDataKey") }).send(
      new CreateMultipartUploadCommand({ Bucket, Key: "by hand" }),
      { abortSignal: signal },
    ),
  "CreateMultipartUpload, server": ({ silence, signal }) => {
    silentServer(silence, always);
    return client().send(new CreateMultipartUploadCommand({ Bucket, Key: "by hand" }), {
      abortSignal: signal,
    });
  },
  "CreateMultipartUpload, store": ({ silence, signal }) =>
    client({ multipartStates: stores(silence, "compareAndSwap") }).send(
      new CreateMultipartUploadCommand({ Bucket, Key: "by hand" }),
      { abortSignal: signal },
    ),
  "UploadPart, source": async ({ silence, signal }) => {
    const using = client();
    const part = { ...(await startUpload(using)), PartNumber: 1, Body: silentBody(silence, data) };
    return using.send(new UploadPartCommand({ ...part, ContentLength: 400_000 }), { abortSignal: signal });
  },
  "UploadPart, server": async ({ silence, signal }) => {
    const using = client();
    const part = { ...(await startUpload(using)), PartNumber: 1, Body: data };
    silentServer(silence, always);
    return using.send(new UploadPartCommand(part), { abortSignal: signal });
  },
  "UploadPart, store": async ({ silence, signal }) => {
    const target = await startUpload(client());
    const using = client({ multipartStates: stores(silence, "load") });
    return using.send(new UploadPartCommand({ ...target, PartNumber: 1, Body: data }), {
      abortSignal: signal,
    });
  },
  "CompleteMultipartUpload, server": async ({ silence, signal }) => {
    const using = client();
    const target = await startUpload(using);
    const { ETag } = await using.send(new UploadPartCommand({ ...target, PartNumber: 1, Body: data }));
    silentServer(silence, always);
    const MultipartUpload = { Parts: [{ ETag, PartNumber: 1 }] };
    return using.send(new CompleteMultipartUploadCommand({ ...target, MultipartUpload }), {
      abortSignal: signal,
    });
  },
  "AbortMultipartUpload, server": async ({ silence, signal }) => {
    const using = client();
    const target = await startUpload(using);
    silentServer(silence, always);
    return using.send(new AbortMultipartUploadCommand(target), { abortSignal: signal });
  },
  "AbortMultipartUpload, store": async ({ silence, signal }) => {
    const using = client({ multipartStates: stores(silence, "remove") });
    const target = await startUpload(using);
    return using.send(new AbortMultipartUploadCommand(target), { abortSignal: signal });
  },
  "ListParts, server": async ({ silence, signal }) => {
    const using = client();
    const target = await startUpload(using);
    silentServer(silence, always);
    return using.send(new ListPartsCommand(target), { abortSignal: signal });
  },
  // Without a client
  "encryptObject, keyring": ({ silence, signal }) =>
    encryptObject(location, data, { keyring: silentKeyring(silence, "generateDataKey"), signal }),
  "encryptObject of a stream, source": async ({ silence, signal }) => {
    const { body } = await encryptObject(location, silentBody(silence, data), { keyring: inner, signal });
    await drain(body);
  },
  "decryptObject, keyring": async ({ silence, signal }) => {
    const { body, metadata } = await encryptObject(location, data, { keyring: inner });
    const keyring = silentKeyring(silence, "unwrapDataKey");
    return decryptObject(location, { body, metadata }, { keyring, signal });
  },
  "decryptObject of a stream, source before the header": async ({ silence, signal }) => {
    const { body, metadata } = await encryptObject(location, data, { keyring: inner });
    const object = { body: silentBody(silence), metadata, contentLength: body.length };
    return decryptObject(location, object, { keyring: inner, signal });
  },
  ...Object.fromEntries(
    (["framed", "s3ec-v3"] as const).map((format): [string, Start] => [
      `decryptObject of a stream (${format}), source`,
      async ({ silence, signal }) => {
        const { body, metadata } = await encryptObject(location, data, { keyring: inner, format });
        const source = silentBody(silence, body.subarray(0, 100_000));
        const object = { body: source, metadata, contentLength: body.length };
        await drain((await decryptObject(location, object, { keyring: inner, signal })).body);
      },
    ]),
  ),
  // Rewraps
  "rewrapObject, server": (context) => {
    silentServer(context.silence, always);
    return rewrap(context);
  },
  "rewrapObject, old keyring": (context) =>
    rewrap(context, { from: silentKeyring(context.silence, "unwrapDataKey") }),
  "rewrapObject, new keyring": (context) =>
    rewrap(context, { to: silentKeyring(context.silence, "generateDataKey") }),
  "rewrapObject of s3ec, server at its write": (context) => {
    silentServer(context.silence, ({ method }) => method === "PUT");
    return rewrap(context, { key: "single" });
  },
  "rewrapObject of an instruction file, server at its write": (context) => {
    silentServer(context.silence, ({ method }) => method === "PUT");
    return rewrap(context, { key: "filed" });
  },
  "rewrapObject, server within the source": (context) => {
    server.fault = (call) => {
      if (!isGet(call)) return undefined;
      void context.silence.wait();
      return { kind: "stall-body", at: 100_000 };
    };
    return rewrap(context);
  },
};

/** Where it is told what stays behind instead. */
const told: Readonly<Record<string, RegExp>> = {
  "PutObject with an instruction file, server at the file": /^the object was stored/,
};

const within = <Result>(promise: Promise<Result>, what: string): Promise<Result> =>
  Promise.race([
    promise,
    sleep(BOUND_MS, undefined, { ref: false }).then(() => {
      throw new Error(`${what} within ${BOUND_MS} ms`);
    }),
  ]);

describe.each(Object.entries(signals))("with %s", (_, make) => {
  test.each(Object.entries(calls))(
    "%s: settles when aborted",
    { timeout: 3 * BOUND_MS },
    async (name, start) => {
      const silence = new Silence();
      const { signal, abort } = make();
      const settled = start({ silence, signal }).then(
        () => "resolved",
        (error: { code?: string; name: string; message: string }) =>
          error.code === "ABORTED" || told[name]?.test(error.message) === true
            ? "aborted"
            : `failed: ${error.name} ${error.message}`,
      );
      const first = await within(Promise.race([silence.reached, settled]), "nothing came to wait");
      expect(first, "it must wait for what is silent").toBeUndefined();
      await sleep(5); // so that it waits
      abort();
      expect(await within(settled, "not settled")).toBe("aborted");
    },
  );
});

describe("aborted before it begins", () => {
  const { signal } = { signal: AbortSignal.abort() };
  const sent = { abortSignal: signal };
  const starts: Readonly<Record<string, () => Promise<unknown>>> = {
    PutObject: () => client().send(new PutObjectCommand({ Bucket, Key: "x", Body: data }), sent),
    "PutObject of a stream": () =>
      client().send(new PutObjectCommand({ Bucket, Key: "x", Body: silentBody(new Silence()) }), sent),
    GetObject: () => client().send(new GetObjectCommand({ Bucket, Key: "read" }), sent),
    HeadObject: () => client().send(new HeadObjectCommand({ Bucket, Key: "read" }), sent),
    CopyObject: () => client({ boundCopy: "reencrypt" }).send(new CopyObjectCommand(copy), sent),
    ListObjectsV2: () => client().send(new ListObjectsV2Command({ Bucket }), sent),
    CreateMultipartUpload: () => client().send(new CreateMultipartUploadCommand({ Bucket, Key: "x" }), sent),
    encryptObject: () => encryptObject(location, data, { keyring: inner, signal }),
    rewrapObject: () => rewrapObject(plain, location, { from: inner, to: other, signal }),
  };
  test.each(Object.keys(starts))("%s asks nobody", async (name) => {
    const calls = server.calls.length;
    await expect(starts[name]?.()).rejects.toMatchObject({ code: "ABORTED" });
    expect(server.calls.length).toBe(calls);
  });
});

describe("a failure that comes while something else is awaited", () => {
  /** Asks a key service that takes a while. */
  const slow: Keyring = {
    generateDataKey: async (request) => {
      await sleep(30);
      return inner.generateDataKey(request);
    },
    unwrapDataKey: async (request, keys) => {
      await sleep(30);
      return inner.unwrapDataKey(request, keys);
    },
    wrapDataKey: (dataKey, request) => inner.wrapDataKey(dataKey, request),
  };
  const slowKms = (): Keyring => {
    kms.fault = () => ({ kind: "delay", ms: 30 });
    return kmsKeyring;
  };
  const missing = path.join(import.meta.dirname, "no such file");
  const failure = (): Error => Object.assign(new Error("disk failed"), { code: "EIO" });
  const bodies: Readonly<Record<string, readonly [code: string, make: () => Readable]>> = {
    "a missing file": ["ENOENT", () => createReadStream(missing)],
    "a stream that fails at once": [
      "EIO",
      () =>
        new Readable({
          read() {
            this.destroy(failure());
          },
        }),
    ],
    "a stream that fails after 10 ms": [
      "EIO",
      () => {
        const body = new PassThrough();
        setTimeout(() => body.destroy(failure()), 10);
        return body;
      },
    ],
    "a stream that fails after its first bytes": [
      "EIO",
      () =>
        Readable.from(
          (function* () {
            yield data;
            throw failure();
          })(),
        ),
    ],
  };
  const takers: Readonly<Record<string, (body: () => Readable) => Promise<unknown>>> = {
    PutObject: (body) =>
      client({ keyring: slow }).send(new PutObjectCommand({ Bucket, Key: "x", Body: body() })),
    "PutObject of known length": (body) =>
      client({ keyring: slow }).send(
        new PutObjectCommand({ Bucket, Key: "x", Body: body(), ContentLength: 400_000 }),
      ),
    "PutObject in the format s3ec": (body) =>
      client({ keyring: slowKms(), format: "s3ec-v3" }).send(
        new PutObjectCommand({ Bucket, Key: "x", Body: body() }),
      ),
    UploadPart: async (body) => {
      const using = client({ keyring: slow });
      const part = { ...(await startUpload(using)), PartNumber: 1, ContentLength: 400_000 };
      return using.send(new UploadPartCommand({ ...part, Body: body() }));
    },
    encryptObject: async (body) => drain((await encryptObject(location, body(), { keyring: slow })).body),
    decryptObject: async (body) => {
      const { metadata } = await encryptObject(location, Buffer.alloc(0), { keyring: inner });
      const object = { body: body(), metadata, contentLength: 400_000 };
      return drain((await decryptObject(location, object, { keyring: slow })).body);
    },
  };
  const table = Object.keys(takers).flatMap((taker) =>
    Object.keys(bodies).map((body) => [taker, body] as const),
  );
  test.each(table)("%s: %s is a rejection", async (taker, body) => {
    const [code, make] = bodies[body] ?? ["", () => new PassThrough()];
    const before = unheard.length;
    const error = await within(
      (takers[taker]?.(make) ?? Promise.resolve()).then(
        () => undefined,
        (thrown: { code?: string; cause?: { code?: string } }) => thrown,
      ),
      "not settled",
    );
    await sleep(20);
    expect(unheard.slice(before)).toEqual([]);
    if (taker !== "decryptObject" || body !== "a stream that fails after its first bytes")
      expect([error?.code, error?.cause?.code]).toContain(code);
    else expect(error).toBeDefined();
  });

  test.each([
    ["read", "verified"],
    ["single", "verified"],
    ["single", "delayed"],
    ["single", "two-pass"],
  ] as const)("a body of GetObject (%s, %s) that breaks before it is read", async (Key, authentication) => {
    server.fault = ({ method, key }) =>
      method === "GET" && key === Key ? { kind: "cut", at: 150_000 } : undefined;
    const before = unheard.length;
    const outcome = await client({ authentication })
      .send(new GetObjectCommand({ Bucket, Key }))
      .then(
        async ({ Body }) => {
          await sleep(60);
          return drain(Body).then(
            (bytes) => (bytes.equals(data) ? "read" : "other bytes"),
            () => "failed",
          );
        },
        () => "rejected",
      );
    await sleep(20);
    expect(unheard.slice(before)).toEqual([]);
    expect(outcome).not.toBe("other bytes");
  });

  test("a body of GetObject that nobody ever reads breaks in silence", async () => {
    const before = unheard.length;
    server.fault = ({ method }) => (method === "GET" ? { kind: "cut", at: 150_000 } : undefined);
    for (const Key of ["read", "single"])
      await client()
        .send(new GetObjectCommand({ Bucket, Key }))
        .catch(() => {});
    await sleep(100);
    expect(unheard.slice(before)).toEqual([]);
  });
});

describe("a body that was handed out", () => {
  const unread = Object.entries({
    "of a framed object": { Key: "large read" },
    "of a range of a framed object": { Key: "large read", Range: "bytes=100000-12000000" },
    "of an s3ec object": { Key: "large single" },
    "of a range of an s3ec object": { Key: "large single", Range: "bytes=100000-12000000" },
  });
  /** A client with one connection: whoever holds it stops all others. */
  const single = (options: Partial<EncryptS3ClientOptions> = {}): S3Client =>
    encryptS3Client(
      server.client({ maxAttempts: 1, requestHandler: { httpsAgent: {}, httpAgent: { maxSockets: 1 } } }),
      {
        keyring: inner,
        enableLegacyUnauthenticatedModes: true,
        ...options,
      },
    );
  const send = async (input: object, signal?: AbortSignal, using = single()): Promise<Readable> => {
    const command = new GetObjectCommand({ Bucket, ...input } as never);
    return (await using.send(command, signal === undefined ? {} : { abortSignal: signal })).Body as Readable;
  };
  beforeAll(async () => {
    for (const [Key, format] of [
      ["large read", "framed"],
      ["large single", "s3ec-v3"],
    ] as const)
      await client({ format }).send(new PutObjectCommand({ Bucket, Key, Body: large }));
  });

  test.each(unread)("%s: unread, it is closed by an abort that nobody listens to", async (_, input) => {
    const before = unheard.length;
    const own = new OwnSignal();
    const using = single();
    const body = await send(input, own as unknown as AbortSignal, using);
    const closed = new Promise<void>((resolve) => body.once("close", () => resolve()));
    own.abort();
    await within(closed, "not closed");
    await sleep(5);
    expect(unheard.slice(before)).toEqual([]);
    expect(own.size).toBe(0);
    const sdkBody = body as unknown as { transformToByteArray(): Promise<Uint8Array> };
    await expect(sdkBody.transformToByteArray()).rejects.toMatchObject({ code: "ABORTED" });
    await within(using.send(new HeadObjectCommand({ Bucket, Key: "read" })), "connection is held");
  });

  test.each(unread)("%s: unread and aborted, it is no empty Web stream", async (_, input) => {
    const controller = new AbortController();
    const body = await send(input, controller.signal);
    controller.abort();
    const sdkBody = body as unknown as { transformToWebStream(): ReadableStream };
    expect(() => sdkBody.transformToWebStream()).toThrow(expect.objectContaining({ code: "ABORTED" }));
  });

  test.each(unread)("%s: it closes when it is destroyed while the server is silent", async (_, input) => {
    const silence = new Silence();
    server.fault = ({ method, key, headers }) => {
      if (method !== "GET" || key !== input.Key || /^bytes=0-/.test(String(headers.range))) return undefined;
      void silence.wait();
      return { kind: "stall-body", at: 3 * MiB };
    };
    const using = single();
    const body = await send(input, undefined, using);
    body.once("error", () => {});
    body.resume();
    await within(silence.reached, "nothing came to wait");
    await sleep(20);
    const closed = new Promise<void>((resolve) => body.once("close", () => resolve()));
    body.destroy();
    await within(closed, "not closed");
    server.fault = () => undefined;
    await within(using.send(new HeadObjectCommand({ Bucket, Key: "read" })), "connection is held");
  });

  test.each(unread)("%s: read to its end, it leaves nothing on the signal", async (_, input) => {
    const own = new OwnSignal();
    await drain(await send(input, own as unknown as AbortSignal));
    await sleep(5);
    expect(own.size).toBe(0);
  });
});

test("requests that succeed abort nothing: each abort makes an error", async () => {
  const abort = vi.spyOn(AbortController.prototype, "abort");
  try {
    for (const format of ["framed", "s3ec-v3"] as const) {
      const using = client({ format });
      for (const Body of [data, Readable.from([data, large])]) {
        await using.send(new PutObjectCommand({ Bucket, Key: "written", Body }));
        await drain((await using.send(new GetObjectCommand({ Bucket, Key: "written" }))).Body);
      }
    }
    const part = new GetObjectCommand({ Bucket, Key: "read", Range: "bytes=100000-100010" });
    await drain((await client().send(part)).Body);
    expect(abort).not.toHaveBeenCalled();
  } finally {
    abort.mockRestore();
  }
});

test("no error went unheard", () => expect(unheard).toEqual([]));
