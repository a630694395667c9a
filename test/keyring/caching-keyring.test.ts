import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { inspect } from "node:util";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { EncryptedDataKey } from "../../src/format/encrypted-data-key.ts";
import { suiteById } from "../../src/format/suite.ts";
import {
  CachingKeyring,
  type CachingKeyringOptions,
  createEncryptStream,
  type DataKeyRequest,
  decrypt,
  encrypt,
  type GeneratedDataKey,
  type Keyring,
  MultiKeyring,
  RawAesKeyring,
} from "../../src/index.ts";

/** All memory that was made for secrets: the cache shows none of its own. */
const secrets = vi.hoisted((): Uint8Array[] => []);
vi.mock("../../src/bytes.ts", async (original) => {
  const bytes = await original<typeof import("../../src/bytes.ts")>();
  const allocateSecret = (length: number): Uint8Array => {
    const secret = bytes.allocateSecret(length);
    secrets.push(secret);
    return secret;
  };
  return { ...bytes, allocateSecret };
});
afterEach(() => {
  vi.useRealTimers();
  secrets.length = 0;
});

/** Counts the calls, keeps copies of what it gave away, and can be made to wait or fail. */
class CountingKeyring implements Keyring {
  generated = 0;
  unwrapped = 0;
  readonly given: Uint8Array[] = [];
  readonly requests: DataKeyRequest[] = [];
  before: () => Promise<void> = async () => {};
  readonly #keyring = new RawAesKeyring({
    keyNamespace: "test",
    keyName: "key",
    wrappingKey: randomBytes(32),
  });

  async generateDataKey(request: DataKeyRequest): Promise<GeneratedDataKey> {
    this.generated += 1;
    this.requests.push(request);
    await this.before();
    const made = await this.#keyring.generateDataKey(request);
    this.given.push(Buffer.from(made.dataKey));
    return made;
  }
  wrapDataKey(dataKey: Uint8Array, request: DataKeyRequest): Promise<readonly EncryptedDataKey[]> {
    return this.#keyring.wrapDataKey(dataKey, request);
  }
  async unwrapDataKey(
    keys: readonly EncryptedDataKey[],
    request: DataKeyRequest,
  ): Promise<Uint8Array | null> {
    this.unwrapped += 1;
    await this.before();
    const dataKey = await this.#keyring.unwrapDataKey(keys, request);
    if (dataKey !== null) this.given.push(Buffer.from(dataKey));
    return dataKey;
  }
}

function cached(options: Partial<CachingKeyringOptions> = {}): {
  inner: CountingKeyring;
  keyring: CachingKeyring;
} {
  const inner = new CountingKeyring();
  return { inner, keyring: new CachingKeyring({ keyring: inner, maxAgeMs: 60_000, ...options }) };
}
function requestOf(changes: Partial<DataKeyRequest> = {}): DataKeyRequest {
  return {
    suite: suiteById(0x0478),
    commitmentPolicy: "REQUIRE_ENCRYPT_REQUIRE_DECRYPT",
    encryptionContext: { a: "1" },
    ...changes,
  };
}
const isWiped = (key: Uint8Array | undefined): boolean => key?.every((byte) => byte === 0) ?? false;
/** Whether a key that was given stands anywhere; copies that tests hold themselves must be wiped before. */
const isKept = (key: Uint8Array | undefined): boolean =>
  secrets.some((secret) => Buffer.compare(secret, key ?? new Uint8Array(0)) === 0);
/** Takes a data key as a message does. */
async function use(keyring: CachingKeyring, request: DataKeyRequest): Promise<void> {
  const { dataKey } = await keyring.generateDataKey(request);
  dataKey.fill(0);
}

describe("a caching keyring", () => {
  test("asks once for many messages, which differ in all but the wrapped key", async () => {
    const { inner, keyring } = cached();
    const plaintext = randomBytes(500);
    const messages = await Promise.all(Array.from({ length: 50 }, () => encrypt(plaintext, { keyring })));
    expect(inner.generated).toBe(1);
    const ids = new Set<string>();
    const wrapped = new Set<string>();
    for (const message of messages) {
      const { plaintext: opened, header } = await decrypt(message, { keyring });
      expect(plaintext.equals(opened)).toBe(true);
      ids.add(Buffer.from(header.messageId).toString("hex"));
      wrapped.add(Buffer.from(header.encryptedDataKeys[0]?.ciphertext ?? []).toString("hex"));
    }
    expect([ids.size, wrapped.size, inner.unwrapped]).toEqual([50, 1, 1]);
  });

  test("gives each message a copy, and neither keys nor entries of one reach the next", async () => {
    const { keyring } = cached();
    const first = await keyring.generateDataKey(requestOf());
    const expected = Buffer.from(first.dataKey);
    first.dataKey.fill(0);
    first.encryptedDataKeys[0]?.ciphertext.fill(0);
    const second = await keyring.generateDataKey(requestOf());
    expect(expected.equals(second.dataKey)).toBe(true);
    expect(isWiped(second.encryptedDataKeys[0]?.ciphertext)).toBe(false);
  });

  test.each([
    ["messages", { maxMessages: 3 }, {}, 3],
    ["bytes announced before", { maxBytes: 1000 }, { plaintextLength: 300 }, 3],
    ["bytes that fit exactly", { maxBytes: 900 }, { plaintextLength: 300 }, 3],
  ])("uses a key for no more than its %s", async (_name, options, changes, perKey) => {
    const { inner, keyring } = cached(options);
    for (let i = 0; i < perKey; i++) await use(keyring, requestOf(changes));
    expect(inner.generated).toBe(1);
    await use(keyring, requestOf(changes));
    expect(inner.generated).toBe(2);
    expect(isKept(inner.given[0])).toBe(false);
  });

  test("keeps to its bounds when all messages start at once", async () => {
    const { inner, keyring } = cached({ maxMessages: 7 });
    inner.before = () => new Promise((resolve) => setTimeout(resolve, 5));
    const made = await Promise.all(Array.from({ length: 50 }, () => keyring.generateDataKey(requestOf())));
    const uses = new Map<string, number>();
    for (const { dataKey } of made) {
      const key = Buffer.from(dataKey).toString("hex");
      uses.set(key, (uses.get(key) ?? 0) + 1);
    }
    expect(inner.generated).toBe(Math.ceil(50 / 7));
    expect(Math.max(...uses.values())).toBe(7);
  });

  test("counts streams of unknown length when they end", async () => {
    const { inner, keyring } = cached({ maxBytes: 100_000 });
    for (let i = 0; i < 3; i++) {
      const sealed = createEncryptStream({ keyring });
      await pipeline(Readable.from([randomBytes(60_000)]), sealed, async (chunks) => {
        for await (const _chunk of chunks);
      });
    }
    expect(inner.generated).toBe(2);
    expect(inner.given.map(isKept)).toEqual([false, true]);
  });

  test("does not cache for a message longer than its bound", async () => {
    const { inner, keyring } = cached({ maxBytes: 100 });
    await keyring.generateDataKey(requestOf({ plaintextLength: 101 }));
    await keyring.generateDataKey(requestOf({ plaintextLength: 10 }));
    await keyring.generateDataKey(requestOf({ plaintextLength: 10 }));
    expect(inner.generated).toBe(2);
  });

  test("forgets and wipes a key when its time is over, used or not", async () => {
    vi.useFakeTimers();
    const { inner, keyring } = cached({ maxAgeMs: 1000 });
    await use(keyring, requestOf());
    vi.advanceTimersByTime(999);
    await use(keyring, requestOf());
    expect(inner.generated).toBe(1);
    expect(isKept(inner.given[0])).toBe(true);
    vi.advanceTimersByTime(1);
    expect(isKept(inner.given[0])).toBe(false);
    await keyring.generateDataKey(requestOf());
    expect(inner.generated).toBe(2);
  });

  test("keeps the keys used last when there are too many", async () => {
    const { inner, keyring } = cached({ maxEntries: 2 });
    const of = (a: string) => use(keyring, requestOf({ encryptionContext: { a } }));
    for (const a of ["1", "2", "1", "3", "1"]) await of(a);
    expect(inner.generated).toBe(3);
    expect(inner.given.map(isKept)).toEqual([true, false, true]);
    await of("2");
    expect(inner.generated).toBe(4);
  });

  test("never shares a key across contexts, suites or commitment policies", async () => {
    const { inner, keyring } = cached();
    const requests = [
      requestOf(),
      requestOf({ encryptionContext: {} }),
      requestOf({ encryptionContext: { a: "2" } }),
      requestOf({ encryptionContext: { a: "1", b: "" } }),
      requestOf({ encryptionContext: { a1: "" } }),
      requestOf({ commitmentPolicy: "REQUIRE_ENCRYPT_ALLOW_DECRYPT" }),
      requestOf({ suite: suiteById(0x0178), commitmentPolicy: "FORBID_ENCRYPT_ALLOW_DECRYPT" }),
      requestOf({ suite: suiteById(0x0178) }),
    ];
    const keys = new Set<string>();
    const made: (readonly [DataKeyRequest, GeneratedDataKey])[] = [];
    for (const request of requests) {
      const generated = await keyring.generateDataKey(request);
      keys.add(Buffer.from(generated.dataKey).toString("hex"));
      made.push([request, generated]);
    }
    expect(inner.generated).toBe(requests.length);
    expect(keys.size).toBe(requests.length);
    for (const [request, { encryptedDataKeys }] of made)
      expect(await keyring.unwrapDataKey(encryptedDataKeys, request)).toHaveLength(32);
    expect(inner.unwrapped).toBe(requests.length);
    // What one policy or context has put there is not found under another.
    const [, first] = made[0] ?? [];
    const keysOfFirst = first?.encryptedDataKeys ?? [];
    await keyring.unwrapDataKey(keysOfFirst, requestOf({ commitmentPolicy: "FORBID_ENCRYPT_ALLOW_DECRYPT" }));
    expect(inner.unwrapped).toBe(requests.length + 1);
    const wrongContext = requestOf({ encryptionContext: { a: "2" } });
    await expect(keyring.unwrapDataKey(keysOfFirst, wrongContext)).rejects.toMatchObject({
      code: "NO_DATA_KEY",
    });
  });

  test("does not take a key for writing from what it learned reading", async () => {
    const { inner, keyring } = cached();
    const { dataKey, encryptedDataKeys } = await inner.generateDataKey(requestOf());
    await keyring.unwrapDataKey(encryptedDataKeys, requestOf());
    const own = await keyring.generateDataKey(requestOf());
    expect(Buffer.from(dataKey).equals(own.dataKey)).toBe(false);
  });

  test.each([0x0578, 0x0214, 0x0346, 0x0378])("lets messages of the signing suite %i pass by", async (id) => {
    const { inner, keyring } = cached();
    const request = requestOf({ suite: suiteById(id) });
    for (let i = 0; i < 2; i++)
      await keyring.unwrapDataKey((await keyring.generateDataKey(request)).encryptedDataKeys, request);
    expect([inner.generated, inner.unwrapped]).toEqual([2, 2]);
  });

  test.each([0x0014, 0x0046, 0x0078])(
    "lets messages of suite %i, which derives no key, pass by",
    async (id) => {
      const { inner, keyring } = cached();
      const request = requestOf({ suite: suiteById(id) });
      for (let i = 0; i < 2; i++)
        await keyring.unwrapDataKey((await keyring.generateDataKey(request)).encryptedDataKeys, request);
      expect([inner.generated, inner.unwrapped]).toEqual([2, 2]);
    },
  );

  test("remembers neither failures nor foreign messages", async () => {
    const { inner, keyring } = cached();
    inner.before = () => Promise.reject(new Error("down"));
    await expect(Promise.all([1, 2].map(() => keyring.generateDataKey(requestOf())))).rejects.toThrow("down");
    inner.before = async () => {};
    await keyring.generateDataKey(requestOf());
    expect(inner.generated).toBe(2);
    const foreign = [{ providerId: "other", providerInfo: Buffer.of(1), ciphertext: Buffer.of(1) }];
    for (let i = 0; i < 2; i++) expect(await keyring.unwrapDataKey(foreign, requestOf())).toBeNull();
    expect(inner.unwrapped).toBe(2);
  });

  test("goes on for the others when the message that asked is aborted", async () => {
    const { inner, keyring } = cached();
    inner.before = () => new Promise((resolve) => setTimeout(resolve, 20));
    const stop = new AbortController();
    const first = keyring.generateDataKey(requestOf({ signal: stop.signal, plaintextLength: 5 }));
    const second = keyring.generateDataKey(requestOf());
    stop.abort();
    await expect(first).rejects.toMatchObject({ code: "ABORTED" });
    expect((await second).dataKey).toHaveLength(32);
    expect(inner.generated).toBe(1);
    expect(inner.requests[0]).not.toHaveProperty("signal");
    expect(inner.requests[0]).not.toHaveProperty("plaintextLength");
  });

  test("refuses a key of the wrong length and keeps nothing of it", async () => {
    const wrong = randomBytes(31);
    const inner = Object.assign(new CountingKeyring(), {
      generateDataKey: async () => ({ dataKey: wrong, encryptedDataKeys: [] }),
    });
    const keyring = new CachingKeyring({ keyring: inner, maxAgeMs: 1000 });
    await expect(keyring.generateDataKey(requestOf())).rejects.toMatchObject({ code: "KEY_SERVICE" });
    expect(isWiped(wrong)).toBe(true);
  });

  test("wipes everything when told to, and shows no key", async () => {
    const { inner, keyring } = cached();
    await use(keyring, requestOf());
    const shown = inspect(keyring, { depth: 9, showHidden: true }) + JSON.stringify(keyring);
    expect(shown).not.toContain(
      Buffer.from(inner.given[0] ?? [])
        .toString("hex")
        .slice(0, 8),
    );
    expect(inner.given.map(isKept)).toEqual([true]);
    keyring.clear();
    expect(inner.given.map(isKept)).toEqual([false]);
    await keyring.generateDataKey(requestOf());
    expect(inner.generated).toBe(2);
  });

  test("works inside a multi-keyring", async () => {
    const { inner, keyring } = cached({ maxBytes: 150 });
    const other = new RawAesKeyring({ keyNamespace: "other", keyName: "key", wrappingKey: randomBytes(32) });
    const both = new MultiKeyring({ generator: keyring, children: [other] });
    for (let i = 0; i < 4; i++) {
      const sealed = await encrypt(randomBytes(100), { keyring: both });
      expect((await decrypt(sealed, { keyring: other })).plaintext).toHaveLength(100);
    }
    expect(inner.generated).toBeGreaterThanOrEqual(2);
    expect(inner.generated).toBeLessThanOrEqual(4);
  });

  test.each([
    [{ maxAgeMs: 0 }, RangeError],
    [{ maxAgeMs: 2 ** 31 }, RangeError],
    [{ maxAgeMs: Number.NaN }, RangeError],
    [{ maxMessages: 2 ** 32 + 1 }, RangeError],
    [{ maxMessages: 0 }, RangeError],
    [{ maxBytes: 0 }, RangeError],
    [{ maxEntries: 0 }, RangeError],
  ])("refuses the bounds %o", (options, type) => {
    expect(() => cached(options)).toThrow(type);
  });
});
