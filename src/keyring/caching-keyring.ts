// Fewer calls of a key service: data keys are used for several messages, within bounds. Each message still derives a
// key of its own from the data key and its random message id.
import { createHash } from "node:crypto";
import { ByteWriter, copySecret, wipe } from "../bytes.ts";
import { type Checks, checkOptions, needed, wholeNumber } from "../check-options.ts";
import { throwIfAborted } from "../errors.ts";
import { type EncryptedDataKey, writeEncryptedDataKey } from "../format/encrypted-data-key.ts";
import { encodeEncryptionContext } from "../format/encryption-context.ts";
import { untilAborted } from "../until-aborted.ts";
import { type DataKeyRequest, type GeneratedDataKey, type Keyring, keyringOption } from "./keyring.ts";
import { SkipList } from "./skipped-keys.ts";
import { takeGeneratedKey, takeUnwrappedKey, takeWrappedKeys } from "./take-data-key.ts";

const DEFAULT_MAX_MESSAGES = 1000;
const DEFAULT_MAX_ENTRIES = 100;
/** Message ids are random: more messages under one data key could repeat one. (data key caching of the AWS Encryption SDK) */
export const MAX_MESSAGES = 2 ** 32;
export const MAX_AGE_MS = 2 ** 31 - 1; // longest timer

/** Options of `CachingKeyring`. */
export interface CachingKeyringOptions {
  /** Makes and unwraps what is not in the cache. */
  readonly keyring: Keyring;
  /** Milliseconds that a data key is used. */
  readonly maxAgeMs: number;
  /** Messages that a data key seals, by default 1,000, at most 2^32. */
  readonly maxMessages?: number | undefined;
  /**
   * Plaintext bytes that a data key seals; by default there is no bound. Messages of unknown length are counted when
   * they end.
   */
  readonly maxBytes?: number | undefined;
  /** Data keys kept, by default 100. The one not used for the longest time goes first. */
  readonly maxEntries?: number | undefined;
}

const MAX_ENTRIES = 2 ** 20;
/** What the options must be. */
const OPTIONS: Checks<CachingKeyringOptions> = {
  keyring: needed(keyringOption),
  maxAgeMs: needed(wholeNumber(1, MAX_AGE_MS)),
  maxMessages: wholeNumber(1, MAX_MESSAGES),
  maxBytes: wholeNumber(1, Number.MAX_SAFE_INTEGER),
  maxEntries: wholeNumber(1, MAX_ENTRIES),
};

interface Entry {
  readonly dataKey: Uint8Array;
  readonly encryptedDataKeys: readonly EncryptedDataKey[];
  readonly expiry: number;
  readonly timer: NodeJS.Timeout;
  messages: number;
  bytes: number;
}

/**
 * Keeps data keys of another keyring, each for one commitment policy, algorithm suite and encryption context (and,
 * when opening, one list of encrypted data keys). Signed messages pass by the cache, since each has a context of its
 * own, and so do suites without key derivation. Keys are wiped when they leave the cache.
 */
export class CachingKeyring implements Keyring {
  /** The keyring behind the cache. */
  readonly keyring: Keyring;
  readonly #maxAgeMs: number;
  readonly #maxMessages: number;
  readonly #maxBytes: number;
  readonly #maxEntries: number;
  /** In order of use, the latest at the end. */
  readonly #entries = new Map<string, Entry>();
  readonly #underWay = new Map<string, Promise<Asked>>();
  /** Which data key a message of unknown length uses. */
  readonly #uses = new WeakMap<DataKeyRequest, { readonly id: string; readonly entry: Entry }>();

  /** @throws TypeError, RangeError */
  constructor(givenOptions: CachingKeyringOptions) {
    const options = checkOptions("options", givenOptions, OPTIONS);
    this.keyring = options.keyring;
    this.#maxAgeMs = options.maxAgeMs;
    this.#maxMessages = options.maxMessages ?? DEFAULT_MAX_MESSAGES;
    this.#maxBytes = options.maxBytes ?? Number.MAX_SAFE_INTEGER;
    this.#maxEntries = options.maxEntries ?? DEFAULT_MAX_ENTRIES;
  }

  async generateDataKey(request: DataKeyRequest): Promise<GeneratedDataKey> {
    if (!isCacheable(request) || (request.plaintextLength ?? 0) > this.#maxBytes)
      return takeGeneratedKey(this.keyring, request);
    const id = generateId(request);
    const taken = await this.#share(id, request, {
      take: (entry) => this.#takeForSealing(id, entry, request),
      make: (shared) => takeGeneratedKey(this.keyring, shared),
    });
    if (taken === null) throw new Error("internal error: no data key");
    return taken;
  }

  wrapDataKey(dataKey: Uint8Array, request: DataKeyRequest): Promise<readonly EncryptedDataKey[]> {
    return takeWrappedKeys(this.keyring, dataKey, request);
  }

  async unwrapDataKey(
    encryptedDataKeys: readonly EncryptedDataKey[],
    request: DataKeyRequest,
  ): Promise<Uint8Array | null> {
    if (!isCacheable(request)) return takeUnwrappedKey(this.keyring, encryptedDataKeys, request);
    return this.#share(unwrapId(encryptedDataKeys, request), request, {
      take: ({ dataKey }) => copySecret(dataKey),
      make: async (shared) => {
        const dataKey = await takeUnwrappedKey(this.keyring, encryptedDataKeys, shared);
        return dataKey === null ? null : { dataKey, encryptedDataKeys: [] };
      },
    });
  }

  recordUse(request: DataKeyRequest, plaintextLength: number): void {
    if (!isCacheable(request)) {
      this.keyring.recordUse?.(request, plaintextLength);
      return;
    }
    const use = this.#uses.get(request);
    if (use === undefined) return;
    this.#uses.delete(request);
    use.entry.bytes += plaintextLength;
    if (use.entry.bytes >= this.#maxBytes) this.#evict(use.id, use.entry);
  }

  /** Wipes all keys. Messages under way are not affected. */
  clear(): void {
    for (const [id, entry] of this.#entries) this.#evict(id, entry);
  }

  // Takes from the cache, or asks `make`: once, however many callers wait for it. Null if `make` gives null.
  async #share<Taken>(
    id: string,
    request: DataKeyRequest,
    { take, make }: Sharing<Taken>,
  ): Promise<Taken | null> {
    for (;;) {
      throwIfAborted(request.signal);
      const cached = this.#fresh(id);
      const taken = cached === undefined ? undefined : take(cached);
      if (taken !== undefined) return taken;
      const underWay = this.#underWay.get(id);
      if (underWay === undefined) return this.#ask(id, request, { take, make });
      // The shared work goes on for the others when one caller stops waiting.
      const asked = await untilAborted(underWay, request.signal);
      if (asked !== "made") return passedOver(asked, request);
    }
  }

  async #ask<Taken>(
    id: string,
    request: DataKeyRequest,
    { take, make }: Sharing<Taken>,
  ): Promise<Taken | null> {
    const { suite, commitmentPolicy, encryptionContext, signal } = request;
    let taken: Taken | null = null;
    const ask = async (): Promise<Asked> => {
      // Without signal and length: they are of one message, the key is for many.
      const skipped = new SkipList();
      const made = await make({ suite, commitmentPolicy, encryptionContext, skipped });
      if (made === null) return skipped;
      const entry = this.#admit(id, made);
      // Taken at once: nobody can use the key up before the one who asked.
      if (!signal?.aborted) taken = take(entry) ?? null;
      return "made";
    };
    const underWay = ask().finally(() => this.#underWay.delete(id));
    this.#underWay.set(id, underWay);
    const asked = await untilAborted(underWay, signal);
    return asked === "made" ? taken : passedOver(asked, request);
  }

  #fresh(id: string): Entry | undefined {
    const entry = this.#entries.get(id);
    if (entry === undefined) return undefined;
    if (entry.expiry <= performance.now()) {
      this.#evict(id, entry);
      return undefined;
    }
    this.#entries.delete(id);
    this.#entries.set(id, entry);
    return entry;
  }

  // Takes ownership of the data key.
  #admit(id: string, { dataKey, encryptedDataKeys }: GeneratedDataKey): Entry {
    // Timers do not run while the machine sleeps: the time is also checked at each use.
    const timer = setTimeout(() => this.#evict(id, entry), this.#maxAgeMs);
    timer.unref();
    const expiry = performance.now() + this.#maxAgeMs;
    const entry: Entry = { dataKey, encryptedDataKeys, expiry, timer, messages: 0, bytes: 0 };
    this.#entries.set(id, entry);
    for (const [oldId, old] of this.#entries) {
      if (this.#entries.size <= this.#maxEntries) break;
      this.#evict(oldId, old);
    }
    return entry;
  }

  // A copy for one message, which is counted; undefined if the key must not seal that message.
  #takeForSealing(id: string, entry: Entry, request: DataKeyRequest): GeneratedDataKey | undefined {
    const { plaintextLength } = request;
    const bytes = entry.bytes + (plaintextLength ?? 0);
    if (bytes > this.#maxBytes) {
      this.#evict(id, entry);
      return undefined;
    }
    const taken = {
      dataKey: copySecret(entry.dataKey),
      encryptedDataKeys: entry.encryptedDataKeys.map(copyEncryptedDataKey),
    };
    entry.messages += 1;
    entry.bytes = bytes;
    if (plaintextLength === undefined) this.#uses.set(request, { id, entry });
    if (entry.messages >= this.#maxMessages || bytes >= this.#maxBytes) this.#evict(id, entry);
    return taken;
  }

  #evict(id: string, entry: Entry): void {
    if (this.#entries.get(id) === entry) this.#entries.delete(id);
    clearTimeout(entry.timer);
    wipe(entry.dataKey);
  }
}

/** What came of asking the keyring: a key, or why it has none. */
type Asked = "made" | SkipList;

/** Each of those who wait is told. */
function passedOver(list: SkipList, { skipped }: DataKeyRequest): null {
  if (skipped !== undefined) list.copyTo(skipped);
  return null;
}

/** What a caller needs of a data key: how to take it out of an entry, and how to get one. */
interface Sharing<Taken> {
  take(entry: Entry): Taken | undefined;
  make(shared: DataKeyRequest): Promise<GeneratedDataKey | null>;
}

// Signed messages have a fresh public key in their context, so they would fill the cache with keys for one use. Without
// derivation, frames of several messages would share keys and nonces.
function isCacheable({ suite }: DataKeyRequest): boolean {
  return suite.signature === "none" && suite.kdf !== "none";
}

function generateId(request: DataKeyRequest): string {
  return digest(common("generate", request));
}
function unwrapId(encryptedDataKeys: readonly EncryptedDataKey[], request: DataKeyRequest): string {
  const writer = common("unwrap", request);
  for (const key of encryptedDataKeys) writeEncryptedDataKey(writer, key);
  return digest(writer);
}

// Each part has a fixed length, a length in front, or ends the whole. The policy is part of it: what one policy allowed
// must not be found under another. (CVE-2026-6550)
function common(purpose: "generate" | "unwrap", request: DataKeyRequest): ByteWriter {
  const context = encodeEncryptionContext(request.encryptionContext);
  const writer = new ByteWriter();
  for (const text of [purpose, request.commitmentPolicy]) {
    const bytes = Buffer.from(text, "utf8");
    writer.uint16(bytes.length).bytes(bytes);
  }
  return writer.uint16(request.suite.id).uint16(context.length).bytes(context);
}
function digest(writer: ByteWriter): string {
  return createHash("sha512").update(writer.finish()).digest("base64");
}

// Callers see these in headers: what they do to them must not reach the next message.
function copyEncryptedDataKey({ providerId, providerInfo, ciphertext }: EncryptedDataKey): EncryptedDataKey {
  return { providerId, providerInfo: Uint8Array.from(providerInfo), ciphertext: Uint8Array.from(ciphertext) };
}
