// Every source of a body in every state, wherever a body is taken: what was read before is refused before anything is
// sent, what fails is told as it failed, what is silent ends when the caller aborts, and no source is left open.
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, get as httpGet, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { PassThrough, Readable, Transform } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import {
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Keyring, RawAesKeyring } from "../../../src/index.ts";
import { type EncryptS3ClientOptions, encryptObject, encryptS3Client } from "../../../src/s3.ts";
import { readObject } from "../../support/s3-outcome.ts";
import { S3Server } from "../../support/s3-server.ts";

const Bucket = "bucket";
const MiB = 2 ** 20;
const data = randomBytes(100_000);
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
const folder = mkdtempSync(path.join(tmpdir(), "frameseal-bodies-"));
const file = path.join(folder, "file");
const missing = path.join(folder, "missing");
let server: S3Server;
let plain: S3Client;
let uncaught: unknown[] = [];
let uploader: S3Client;
let uploadId: string | undefined;
let partNumber = 0;
const onUncaught = (error: unknown): void => void uncaught.push(error);
beforeAll(async () => {
  writeFileSync(file, data);
  server = await S3Server.start();
  plain = server.client({ maxAttempts: 1 });
  await plain.send(new CreateBucketCommand({ Bucket }));
  uploader = clientFor();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});
beforeEach(async () => {
  uncaught = [];
  server.uploads.clear();
  ({ UploadId: uploadId } = await uploader.send(new CreateMultipartUploadCommand({ Bucket, Key: "parts" })));
  partNumber = 0;
  process.on("uncaughtException", onUncaught).on("unhandledRejection", onUncaught);
});
afterEach(async () => {
  server.fault = () => undefined;
  await pause(20);
  process.off("uncaughtException", onUncaught).off("unhandledRejection", onUncaught);
  expect(uncaught).toEqual([]);
});

const clientFor = (options: Partial<EncryptS3ClientOptions> = {}): S3Client =>
  encryptS3Client(plain, { keyring, partSize: 5 * MiB, ...options });
const put = (client: S3Client, Body: unknown, more: object = {}, options: object = {}) =>
  client.send(new PutObjectCommand({ Bucket, Key: "key", Body: Body as Buffer, ...more }), options);

/** Whatever takes a body, and may wait for a key before it reads. */
const takers: Readonly<Record<string, (body: unknown, more?: object, options?: object) => Promise<unknown>>> =
  {
    PutObject: (body, more, options) => put(clientFor(), body, more, options),
    UploadPart: (body, more, options) => {
      partNumber += 1;
      const part = { Bucket, Key: "parts", UploadId: uploadId, PartNumber: partNumber };
      return uploader.send(new UploadPartCommand({ ...part, Body: body as Buffer, ...more }), options);
    },
  };

async function drained(stream: Readable): Promise<Readable> {
  for await (const _ of stream);
  return stream;
}
async function* generator(): AsyncGenerator<Uint8Array> {
  yield data;
}
async function answerOf(): Promise<IncomingMessage> {
  const server = createServer((_, response) => response.end(data)).listen(0, "127.0.0.1");
  await once(server, "listening");
  const answer = new Promise<IncomingMessage>((resolve) =>
    httpGet(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, { agent: false }, resolve),
  );
  answer.finally(() => server.close()).catch(() => {});
  return answer;
}
/** A Web stream of another package: Node's own tests cannot look into it. */
function foreignWebStream(chunks: readonly Uint8Array[]): unknown {
  const left = [...chunks];
  return {
    locked: false,
    getReader: () => ({
      read: async () => (left.length > 0 ? { done: false, value: left.shift() } : { done: true }),
      cancel: async () => {},
      releaseLock() {},
    }),
  };
}

/** Sources that hold `data`, and what leaves nothing of it for a second reader. */
const sources: Readonly<
  Record<
    string,
    { readonly make: () => unknown; readonly states: Readonly<Record<string, (source: never) => unknown>> }
  >
> = {
  "a Readable": {
    make: () => Readable.from([data.subarray(0, 70_000), data.subarray(70_000)]),
    states: {
      "that has ended": drained,
      "that was destroyed": (source: Readable) => source.destroy(),
      "that was read from": async (source: Readable) => {
        await new Promise((resolve) => source.once("readable", resolve));
        source.read();
        return source;
      },
      "that flows to somebody else": (source: Readable) => source.on("data", () => {}),
      "that is piped elsewhere": (source: Readable) => {
        source.pipe(new PassThrough());
        return source;
      },
      "that was resumed": (source: Readable) => source.resume(),
      "whose iterator was used": async (source: Readable) => {
        for await (const _ of source.iterator({ destroyOnReturn: false })) break;
        return source;
      },
    },
  },
  "a file": {
    make: () => createReadStream(file),
    states: {
      "that was closed": (source: Readable) =>
        new Promise((resolve) => source.destroy().once("close", () => resolve(source))),
      "that has ended": drained,
      "whose descriptor is closed": () => createReadStream("", { fd: 2 ** 30 }),
    },
  },
  "a Transform": {
    make: () => {
      const source = new PassThrough();
      source.end(data);
      return source;
    },
    states: {
      "that has ended": drained,
      "that failed before": async (source: Transform) => {
        source.on("error", () => {}).destroy(new Error("failed before"));
        await pause(1);
        return source;
      },
    },
  },
  "an http answer": {
    make: answerOf,
    states: {
      "that was read": async (source: Promise<IncomingMessage>) => drained(await source),
      "that was destroyed": async (source: Promise<IncomingMessage>) => (await source).destroy(),
    },
  },
  "a Web stream": {
    make: () => new Blob([data]).stream(),
    states: {
      "that is locked": (source: ReadableStream) => {
        source.getReader();
        return source;
      },
      "that was read": async (source: ReadableStream) => {
        await new Response(source).arrayBuffer();
        return source;
      },
      "that was read in part": async (source: ReadableStream) => {
        const reader = source.getReader();
        await reader.read();
        reader.releaseLock();
        return source;
      },
      "that was cancelled": async (source: ReadableStream) => {
        await source.cancel();
        return source;
      },
      "that was teed": (source: ReadableStream) => {
        source.tee();
        return source;
      },
    },
  },
  "the body of a Response": {
    make: () => new Response(data).body,
    states: {
      "that was read": async () => {
        const response = new Response(data);
        await response.text();
        return response.body;
      },
    },
  },
  "a Web stream of another package": {
    make: () => foreignWebStream([data]),
    states: { "that gives nothing": () => foreignWebStream([]) },
  },
  "a generator": {
    make: generator,
    states: {
      "that is done": async (source: AsyncGenerator) => {
        for await (const _ of source);
        return source;
      },
      "that was returned": async (source: AsyncGenerator) => {
        await source.return(undefined);
        return source;
      },
    },
  },
  "an iterator": {
    make: () => Readable.from([data]).iterator(),
    states: {
      "that is done": async (source: AsyncIterableIterator<unknown>) => {
        for await (const _ of source);
        return source;
      },
    },
  },
  "a Uint8Array": {
    make: () => new Uint8Array(data),
    states: {
      "whose memory was transferred": (source: Uint8Array<ArrayBuffer>) => {
        structuredClone(source.buffer, { transfer: [source.buffer] });
        return source;
      },
    },
  },
  "an ArrayBuffer": {
    make: () => new Uint8Array(data).buffer,
    states: {
      "that was transferred": (source: ArrayBuffer) => {
        structuredClone(source, { transfer: [source] });
        return source;
      },
    },
  },
  "a DataView": {
    make: () => new DataView(new Uint8Array(data).buffer),
    states: {
      "whose memory was transferred": (source: DataView<ArrayBuffer>) => {
        structuredClone(source.buffer, { transfer: [source.buffer] });
        return source;
      },
    },
  },
};

const states = Object.entries(sources).flatMap(([name, { make, states }]) =>
  Object.entries(states).map(([state, spoil]) => ({ name: `${name} ${state}`, make, spoil })),
);
const requests = (): string[] =>
  server.calls.filter(({ method, query }) => method === "PUT" && !query.has("uploads")).map(({ key }) => key);

describe.each(Object.keys(takers))("%s", (taker) => {
  const take = takers[taker] as (body: unknown, more?: object) => Promise<unknown>;

  test.each(Object.keys(sources))("takes %s", async (name) => {
    await take(await sources[name]?.make());
    if (taker === "PutObject")
      expect((await readObject(clientFor(), { Bucket, Key: "key" })).equals(data)).toBe(true);
  });

  test.each(states)("refuses $name before anything is sent", async ({ make, spoil }) => {
    const body = await spoil((await make()) as never);
    const before = requests().length;
    const outcome = await take(body).then(
      () => "stored",
      (error: unknown) => error,
    );
    expect(outcome).toBeInstanceOf(Error);
    expect(String(outcome)).toMatch(/^TypeError: "Body" expected|failed before|EBADF/);
    expect(requests().length).toBe(before);
  });

  test.each(["a Readable", "a Web stream", "a generator", "an iterator", "a file"])(
    "takes %s once, also when two requests want it at a time",
    async (name) => {
      const body = await sources[name]?.make();
      const both = await Promise.allSettled([take(body), take(body)]);
      const failures = both.flatMap((result) =>
        result.status === "rejected" ? [String(result.reason)] : [],
      );
      expect(failures).toEqual([expect.stringMatching(/^TypeError: "Body" expected/)]);
      await expect(take(body)).rejects.toThrow(TypeError);
    },
  );

  test.each([
    ["a number", 5],
    ["a plain object", {}],
    ["an array", [data]],
    ["a promise", Promise.resolve(data)],
    ["a Response", new Response(data)],
    ["a function", () => data],
    ["true", true],
  ])("refuses %s", async (_, body) => {
    const before = requests().length;
    await expect(take(body)).rejects.toThrow(/^"Body" expected .* got /);
    expect(requests().length).toBe(before);
  });

  test.each([
    ["NaN", Number.NaN, RangeError],
    ["a negative number", -1, RangeError],
    ["a fraction", 1.5, RangeError],
    ["infinity", Number.POSITIVE_INFINITY, RangeError],
    ["more than can be counted", 2 ** 60, RangeError],
    ["text", "100000", TypeError],
    ["a bigint", 100_000n, TypeError],
    ["an object", {}, TypeError],
  ])("refuses %s as ContentLength", async (_, ContentLength, kind) => {
    const before = requests().length;
    for (const body of [data, Readable.from([data]), undefined]) {
      const outcome = take(body, { ContentLength });
      await expect(outcome).rejects.toThrow(kind);
      await expect(outcome).rejects.toThrow(/^"ContentLength" expected/);
    }
    expect(requests().length).toBe(before);
  });

  test.each(Object.keys(sources))("refuses %s that is longer or shorter than announced", async (name) => {
    const before = requests().length;
    for (const ContentLength of [0, 1, data.length - 1, data.length + 1, 2 * data.length])
      await expect(take(await sources[name]?.make(), { ContentLength })).rejects.toThrow(
        /^"ContentLength" expected the length of the body/,
      );
    expect(requests().length).toBe(before);
  });
});

test("what is empty and says so is an empty object", async () => {
  const empty = {
    nothing: undefined,
    null: null,
    text: "",
    bytes: new Uint8Array(0),
    "part of a buffer": new Uint8Array(new ArrayBuffer(8), 3, 0),
    Blob: new Blob([]),
    Readable: Readable.from([]),
    "Web stream": new Blob([]).stream(),
    "what can be iterated again": { async *[Symbol.asyncIterator]() {} },
  };
  for (const [name, body] of Object.entries(empty)) {
    await put(clientFor(), body);
    expect((await readObject(clientFor(), { Bucket, Key: "key" })).length, name).toBe(0);
  }
  async function* none(): AsyncGenerator<Uint8Array> {}
  await put(clientFor(), none(), { ContentLength: 0 });
  await expect(put(clientFor(), none())).rejects.toThrow(/may have been read before/);
});

/** Keyrings that answer late, or never. */
const slow = (delay: number | undefined): Keyring =>
  ({
    generateDataKey: async (request: never) => {
      await (delay === undefined ? new Promise(() => {}) : pause(delay));
      return keyring.generateDataKey(request);
    },
    unwrapDataKey: keyring.unwrapDataKey.bind(keyring),
  }) as unknown as Keyring;
const never = new Promise<never>(() => {});

/** Sources that fail at some point, with the text of their error. */
const failing: Readonly<Record<string, { readonly make: () => unknown; readonly error: RegExp }>> = {
  "a missing file": { make: () => createReadStream(missing), error: /ENOENT/ },
  "a folder": { make: () => createReadStream(folder), error: /EISDIR/ },
  "a Readable that fails at once": {
    make: () => {
      const body = new Readable({ read() {} });
      process.nextTick(() => body.destroy(new Error("broke")));
      return body;
    },
    error: /^Error: broke$/,
  },
  "a Readable that fails later": {
    make: () => {
      const body = new Readable({ read() {} });
      setTimeout(() => body.destroy(new Error("broke")), 10);
      return body;
    },
    error: /^Error: broke$/,
  },
  "a Readable that fails twice": {
    make: () => {
      const body = new Readable({ read() {}, autoDestroy: false });
      setTimeout(() => {
        body.emit("error", new Error("broke"));
        body.emit("error", new Error("again"));
      }, 5);
      return body;
    },
    error: /^Error: broke$/,
  },
  "a Readable that is destroyed without a reason": {
    make: () => {
      const body = new Readable({ read() {} });
      setTimeout(() => body.destroy(), 5);
      return body;
    },
    error: /TRUNCATED|closed before its end/,
  },
  "a Readable between its parts": {
    make: () =>
      Readable.from(
        (function* () {
          yield Buffer.alloc(6 * MiB);
          throw new Error("broke");
        })(),
        { objectMode: false },
      ),
    error: /^Error: broke$/,
  },
  "a Readable after its last byte": {
    make: () =>
      new Transform({
        transform: (chunk, _, done) => done(null, chunk),
        flush: (done) => done(new Error("broke")),
      }).end(data),
    error: /^Error: broke$/,
  },
  "a generator": {
    make: async function* () {
      yield data;
      await pause(5);
      throw new Error("broke");
    },
    error: /^Error: broke$/,
  },
  "a Web stream": {
    make: () =>
      new ReadableStream({
        async pull(controller) {
          await pause(5);
          controller.error(new Error("broke"));
        },
      }),
    error: /^Error: broke$/,
  },
  "chunks that are no bytes": {
    make: () => Readable.from([{}]),
    error: /^TypeError: "Body" expected chunks/,
  },
};
const brief = (taken: Promise<unknown>): Promise<string> =>
  Promise.race([
    taken.then(
      () => "stored",
      (error: unknown) => String(error),
    ),
    pause(20_000, "hangs"),
  ]);

describe("a source that fails", () => {
  const cases = Object.entries(failing).flatMap(([name, each]) =>
    [0, 30, undefined].map((delay) => ({ name, delay, ...each })),
  );
  test.each(cases)("$name, keys after $delay ms", async ({ name, make, error, delay }) => {
    // Only a Node stream speaks before it is asked.
    if (delay === undefined && !/missing|fails|destroyed/.test(name)) return;
    const before = server.uploads.size;
    const body = make();
    const outcome = await brief(put(clientFor({ keyring: slow(delay) }), body));
    expect(outcome).toMatch(error);
    expect(server.uploads.size).toBe(before);
    expect(server.buckets.get(Bucket)?.has("broken")).toBe(false);
    if (body instanceof Readable && !name.includes("twice")) expect(body.destroyed).toBe(true);
  });

  test("is heard while middleware of the user waits", async () => {
    const client = clientFor();
    const wait = (next: (args: never) => Promise<never>) => async (args: never) => {
      await pause(30);
      return next(args);
    };
    client.middlewareStack.add(wait as never, { step: "initialize", name: "wait", priority: "high" });
    expect(await brief(put(client, createReadStream(missing)))).toMatch(/ENOENT/);
  });

  test.each(Object.entries(failing))("%s of a part, and of encryptObject", async (_, { make, error }) => {
    expect(await brief((takers.UploadPart as (body: unknown) => Promise<unknown>)(make()))).toMatch(error);
    const body = make();
    if (!(body instanceof Readable)) return;
    const whole = async (): Promise<void> => {
      const { body: sealed } = await encryptObject({ bucket: "b", key: "k" }, body, { keyring: slow(30) });
      for await (const _ of sealed);
    };
    expect(await brief(whole())).toMatch(error);
  });
});

/** Sources that say nothing, and whether they were closed. */
const silent: Readonly<Record<string, () => { body: unknown; isClosed: () => boolean | undefined }>> = {
  "a Readable": () => {
    const body = new Readable({ read() {} });
    return { body, isClosed: () => body.destroyed };
  },
  "a Readable after some parts": () => {
    const body = new PassThrough({ highWaterMark: 32 * MiB });
    body.write(Buffer.alloc(12 * MiB));
    return { body, isClosed: () => body.destroyed };
  },
  "a generator stuck in an await": () => ({
    body: (async function* () {
      yield data;
      await never;
    })(),
    isClosed: () => undefined,
  }),
  "an iterator whose return never settles": () => {
    let closed = false;
    const body = {
      [Symbol.asyncIterator]: () => body,
      next: () => never,
      return: () => {
        closed = true;
        return never;
      },
    };
    return { body, isClosed: () => closed };
  },
  "a Web stream": () => {
    let closed = false;
    const body = new ReadableStream({
      pull: () => never,
      cancel: () => {
        closed = true;
        return never;
      },
    });
    return { body, isClosed: () => closed };
  },
  "a Blob": () => {
    let closed = false;
    const stream = (): ReadableStream =>
      new ReadableStream({
        pull: () => never,
        cancel: () => {
          closed = true;
        },
      });
    return { body: { size: 5, stream, slice: () => undefined }, isClosed: () => closed };
  },
};

/** A signal as another package makes it: only its shape is that of a signal. */
function foreignSignal(): { signal: AbortSignal; abort: () => void } {
  const listeners = new Set<() => void>();
  const signal = {
    aborted: false,
    reason: undefined,
    onabort: null as (() => void) | null,
    addEventListener: (_: string, listener: () => void) => void listeners.add(listener),
    removeEventListener: (_: string, listener: () => void) => void listeners.delete(listener),
  };
  const abort = (): void => {
    signal.aborted = true;
    signal.onabort?.();
    for (const listener of listeners) listener();
  };
  return { signal: signal as unknown as AbortSignal, abort };
}
function ownSignal(): { signal: AbortSignal; abort: () => void } {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort() };
}

describe.each([
  ["a signal of Node", ownSignal],
  ["a signal of another package", foreignSignal],
] as const)("%s", (_, makeSignal) => {
  const codeOf = (taken: Promise<unknown>): Promise<string> =>
    Promise.race([
      taken.then(
        () => "stored",
        (error: { code?: string; name?: string }) => error.code ?? error.name ?? "",
      ),
      pause(20_000, "hangs"),
    ]);

  const met = Object.keys(silent).flatMap((name) => Object.keys(takers).map((taker) => ({ name, taker })));
  test.each(met)("reaches $name of $taker", async ({ name, taker }) => {
    const { body, isClosed } = silent[name]?.() ?? { body: undefined, isClosed: () => undefined };
    const { signal, abort } = makeSignal();
    const putting = codeOf(takers[taker]?.(body, {}, { abortSignal: signal }) ?? never);
    await pause(60);
    abort();
    expect(await putting).toBe("ABORTED");
    await pause(1);
    expect(isClosed()).not.toBe(false);
    expect(server.uploads.size).toBe(1);
  });

  test("reaches a keyring that never answers", async () => {
    const { signal, abort } = makeSignal();
    const body = Readable.from([data]);
    const putting = codeOf(put(clientFor({ keyring: slow(undefined) }), body, {}, { abortSignal: signal }));
    await pause(20);
    abort();
    expect(await putting).toBe("ABORTED");
    expect(body.destroyed).toBe(true);
  });

  test.each([
    ["PutObject", 1000, ({ method, query }) => method === "PUT" && query.size === 1],
    ["CreateMultipartUpload", 12 * MiB, ({ query }) => query.has("uploads")],
    ["UploadPart 1", 12 * MiB, ({ query }) => query.get("partNumber") === "1"],
    ["UploadPart 3", 12 * MiB, ({ query }) => query.get("partNumber") === "3"],
    ["CompleteMultipartUpload", 12 * MiB, ({ method, query }) => method === "POST" && query.has("uploadId")],
  ] as [string, number, (call: { method: string; query: URLSearchParams }) => boolean][])(
    "reaches a server that is silent at %s",
    async (name, length, isMet) => {
      const { signal, abort } = makeSignal();
      const met = new Promise<void>((resolve) => {
        server.fault = (call) => {
          if (!isMet(call)) return undefined;
          resolve();
          return { kind: "stall" };
        };
      });
      const uploads = server.uploads.size;
      const body = Readable.from([Buffer.alloc(length)], { objectMode: false });
      const putting = codeOf(put(clientFor(), body, {}, { abortSignal: signal }));
      await Promise.race([met, putting]);
      abort();
      expect(await putting).toBe("ABORTED");
      // The server is silent before it makes an upload, so that none can be left.
      expect(server.uploads.size, name).toBe(uploads);
    },
  );

  test("that was aborted before keeps everything from starting", async () => {
    const { signal, abort } = makeSignal();
    abort();
    const before = server.calls.length;
    const body = createReadStream(file);
    expect(await codeOf(put(clientFor(), body, {}, { abortSignal: signal }))).toBe("ABORTED");
    expect(server.calls.length).toBe(before);
    expect(body.destroyed).toBe(true);
  });
});
