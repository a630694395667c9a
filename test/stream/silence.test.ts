// Whoever falls silent, a key service or a source: an abort and `destroy()` end everything that waits for it, at once. A
// data key that comes afterwards is wiped, and nothing stays behind on the signal.
import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import {
  CachingKeyring,
  createDecryptStream,
  createEncryptStream,
  decrypt,
  encrypt,
  type GeneratedDataKey,
  type Keyring,
  MultiKeyring,
  openMessage,
  prepareMessage,
  RawAesKeyring,
} from "../../src/index.ts";
import { decryptWebStream, encryptWebStream } from "../../src/stream/web-streams.ts";
import { OwnSignal } from "../support/signals.ts";

const inner = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
const plaintext = randomBytes(100_000);
const message = await encrypt(plaintext, { keyring: inner });

/** A keyring that hears no signal, whose answers come when they are let go; `reached` resolves when somebody waits. */
function heldKeyring() {
  let reach = (): void => {};
  let release = (): void => {};
  const reached = new Promise<void>((resolve) => {
    reach = resolve;
  });
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const keys: Uint8Array[] = [];
  const keyring: Keyring = {
    async generateDataKey(request): Promise<GeneratedDataKey> {
      reach();
      await released;
      const { signal: _, ...deaf } = request;
      const made = await inner.generateDataKey(deaf);
      keys.push(made.dataKey);
      return made;
    },
    async unwrapDataKey(entries, request) {
      reach();
      await released;
      const { signal: _, ...deaf } = request;
      const dataKey = await inner.unwrapDataKey(entries, deaf);
      if (dataKey !== null) keys.push(dataKey);
      return dataKey;
    },
    wrapDataKey: (dataKey, request) => inner.wrapDataKey(dataKey, request),
  };
  return { keyring, reached, release, keys };
}

type Held = ReturnType<typeof heldKeyring>;
type Options = { readonly keyring: Keyring; readonly signal: AbortSignal };

const calls: Readonly<Record<string, (options: Options) => Promise<unknown>>> = {
  encrypt: (options) => encrypt(plaintext, options),
  decrypt: (options) => decrypt(message, options),
  openMessage: (options) => openMessage(message, options),
  prepareMessage: (options) => prepareMessage(options),
  createEncryptStream: async (options) => {
    const stream = createEncryptStream(options);
    stream.end(plaintext);
    for await (const _ of stream);
  },
  createDecryptStream: async (options) => {
    const stream = createDecryptStream(options);
    stream.end(message);
    for await (const _ of stream);
  },
  encryptWebStream: async (options) => {
    const body = new Blob([plaintext]).stream().pipeThrough(encryptWebStream(options));
    for await (const _ of body);
  },
  decryptWebStream: async (options) => {
    const body = new Blob([message]).stream().pipeThrough(decryptWebStream(options));
    for await (const _ of body);
  },
  "decrypt with a multi-keyring": ({ keyring, signal }) =>
    decrypt(message, { keyring: new MultiKeyring({ children: [keyring, keyring] }), signal }),
  "encrypt with a cache": ({ keyring, signal }) =>
    encrypt(plaintext, { keyring: new CachingKeyring({ keyring, maxAgeMs: 1000 }), signal }),
};
const isAborted = (error: unknown): boolean => (error as { code?: string }).code === "ABORTED";
const keptByCache = new Set(["encrypt with a cache"]);

describe.each(Object.entries(calls))("%s, with a silent keyring", (name, call) => {
  test("rejects when aborted, wipes the key that comes late, and leaves no listener", async () => {
    const held = heldKeyring();
    const signal = new OwnSignal();
    const result = call({ keyring: held.keyring, signal: signal as unknown as AbortSignal });
    result.catch(() => {});
    await held.reached;
    signal.abort();
    await expect(result).rejects.toSatisfy(isAborted);
    expect(signal.size).toBe(0);
    held.release();
    await expect.poll(() => held.keys.length).toBe(1);
    if (!keptByCache.has(name)) await expect.poll(() => held.keys[0]?.every((byte) => byte === 0)).toBe(true);
  });

  test("leaves no listener when it succeeds", async () => {
    const held = heldKeyring();
    held.release();
    const signal = new OwnSignal();
    await call({ keyring: held.keyring, signal: signal as unknown as AbortSignal });
    expect(signal.size).toBe(0);
  });
});

test("a multi-keyring wipes the data key when a child falls silent", async () => {
  const keys: Uint8Array[] = [];
  let reach = (): void => {};
  const reached = new Promise<void>((resolve) => {
    reach = resolve;
  });
  const generator: Keyring = {
    async generateDataKey(request) {
      const made = await inner.generateDataKey(request);
      keys.push(made.dataKey);
      return made;
    },
    unwrapDataKey: async () => null,
    wrapDataKey: async () => [],
  };
  const child: Keyring = {
    ...generator,
    wrapDataKey() {
      reach();
      return new Promise(() => {});
    },
  };
  const controller = new AbortController();
  const keyring = new MultiKeyring({ generator, children: [child] });
  const result = encrypt(plaintext, { keyring, signal: controller.signal });
  result.catch(() => {});
  await reached;
  controller.abort();
  await expect(result).rejects.toSatisfy(isAborted);
  await expect.poll(() => keys[0]?.every((byte) => byte === 0)).toBe(true);
});

describe("destroyed while the keyring is silent", () => {
  const closed = (stream: NodeJS.EventEmitter): Promise<void> =>
    new Promise((resolve) => stream.once("close", () => resolve()));
  const wiped = async ({ release, keys }: Held): Promise<void> => {
    release();
    await expect.poll(() => keys.length).toBe(1);
    await expect.poll(() => keys[0]?.every((byte) => byte === 0)).toBe(true);
  };

  test.each([
    ["createEncryptStream", createEncryptStream, plaintext],
    ["createDecryptStream", createDecryptStream, message],
  ] as const)("%s closes", async (_, create, input) => {
    for (const error of [undefined, new Error("enough")]) {
      const held = heldKeyring();
      const stream = create({ keyring: held.keyring });
      let heard: unknown;
      stream.once("error", (thrown) => {
        heard = thrown;
      });
      stream.end(input);
      await held.reached;
      stream.destroy(error);
      await closed(stream);
      expect(heard).toBe(error);
      await wiped(held);
    }
  });

  test("an encrypting stream that is destroyed at once asks no keyring", async () => {
    const held = heldKeyring();
    const stream = createEncryptStream({ keyring: held.keyring });
    stream.destroy();
    await closed(stream);
    held.release();
    await new Promise((resolve) => setImmediate(resolve));
    expect(held.keys).toEqual([]);
  });

  test.each([
    ["encryptWebStream", encryptWebStream, plaintext],
    ["decryptWebStream", decryptWebStream, message],
  ] as const)("%s that is cancelled or aborted settles", async (_, create, input) => {
    for (const end of ["cancel", "abort"] as const) {
      const held = heldKeyring();
      const stream = create({ keyring: held.keyring });
      const writer = stream.writable.getWriter();
      writer.write(input).catch(() => {});
      const closed = writer.closed.catch((error: unknown) => error);
      await held.reached;
      if (end === "cancel") await stream.readable.cancel(new Error("enough"));
      else await writer.abort(new Error("enough"));
      expect(await closed).toBeInstanceOf(Error);
      await wiped(held);
    }
  });
});

describe("a silent source", () => {
  const silent = { [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => {}) }) };
  async function* hanging(): AsyncGenerator<Uint8Array> {
    yield message.subarray(0, 100);
    await new Promise(() => {});
  }

  test.each([
    ["encrypt", (options: Options) => encrypt(silent, options)],
    ["decrypt", (options: Options) => decrypt(hanging(), options)],
    [
      "openMessage",
      (options: Options) => openMessage({ size: 100_000, read: () => new Promise(() => {}) }, options),
    ],
  ])("%s rejects when aborted", async (_, call) => {
    const signal = new OwnSignal();
    const result = call({ keyring: inner, signal: signal as unknown as AbortSignal });
    result.catch(() => {});
    await new Promise((resolve) => setImmediate(resolve));
    signal.abort();
    await expect(result).rejects.toSatisfy(isAborted);
    expect(signal.size).toBe(0);
  });

  test.each(["abort", "destroy"] as const)("a stream of a range closes after %s", async (end) => {
    let reads = 0;
    const source = {
      size: message.length,
      read: (start: number, to: number) =>
        ++reads > 2 ? new Promise<never>(() => {}) : Promise.resolve(message.subarray(start, to)),
    };
    const reader = await openMessage(source, { keyring: inner });
    const signal = new OwnSignal();
    const before = reads;
    reads = 2;
    expect(before).toBeLessThanOrEqual(2);
    const stream = reader.createReadStream({ signal: signal as unknown as AbortSignal });
    stream.once("error", () => {});
    stream.resume();
    await expect.poll(() => reads).toBeGreaterThan(2);
    const closed = new Promise<void>((resolve) => stream.once("close", () => resolve()));
    if (end === "abort") signal.abort();
    else stream.destroy();
    await closed;
    expect(signal.size).toBe(0);
    await reader.close();
  });
});
