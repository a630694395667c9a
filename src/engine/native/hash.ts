// SHA-2 of a long message on a thread of its own, through the addon.
import { checkBytes, unshared } from "../chunk-cursor.ts";
import type { BackgroundHash, HashBits } from "../engine.ts";

/** The functions of the addon that this file uses; native/message_hash.h says what each does. */
export interface HashAddon {
  startHash(bits: number): number;
  updateHash(hash: number, bytes: Uint8Array): void;
  updateHashAsync(hash: number, bytes: Uint8Array): Promise<void>;
  finishHash(hash: number, output: Uint8Array): void;
  dropHash(hash: number): void;
  signDigest(privateKey: Uint8Array, digest: Uint8Array, order: Uint8Array, signature: Uint8Array): boolean;
  verifyDigest(publicKey: Uint8Array, digest: Uint8Array, signature: Uint8Array): boolean;
}

/** Starts a hash; undefined if the process has no OpenSSL that the addon can reach. */
export function startNativeHash(
  addon: HashAddon,
  bits: HashBits,
  concurrency = 2,
): BackgroundHash | undefined {
  const handle = addon.startHash(bits);
  if (handle === 0) return undefined;
  return new NativeHash(addon, handle, bits / 8, concurrency > 1 ? ASYNC_FROM : Infinity);
}

/** Fewer bytes are hashed sooner than another thread wakes up. */
const ASYNC_FROM = 32 * 1024;

const abandonedHashes = new FinalizationRegistry<() => void>((drop) => drop());

class NativeHash implements BackgroundHash {
  readonly #addon: HashAddon;
  readonly #digestLength: number;
  /** From how many bytes on they go to another thread. */
  readonly #asyncFrom: number;
  #handle: number;
  #pending = 0;
  #last: Promise<void> | undefined;

  constructor(addon: HashAddon, handle: number, digestLength: number, asyncFrom: number) {
    this.#addon = addon;
    this.#handle = handle;
    this.#digestLength = digestLength;
    this.#asyncFrom = asyncFrom;
    abandonedHashes.register(this, () => addon.dropHash(handle), this);
  }

  update(bytes: Uint8Array): void | Promise<void> {
    checkBytes("bytes", bytes);
    const own = unshared(bytes);
    if (this.#pending === 0 && own.length < this.#asyncFrom) {
      this.#addon.updateHash(this.#live(), own);
      return;
    }
    this.#last = this.#work(own);
    return this.#last;
  }

  async #work(bytes: Uint8Array): Promise<void> {
    this.#pending += 1;
    await this.#addon.updateHashAsync(this.#live(), bytes);
    this.#pending -= 1;
  }

  async digest(): Promise<Uint8Array> {
    await this.#last;
    const digest = new Uint8Array(this.#digestLength);
    this.#addon.finishHash(this.#end(), digest);
    return digest;
  }

  async sign(privateKey: Uint8Array, order: Uint8Array, length: number): Promise<Uint8Array> {
    const digest = await this.digest();
    const signature = new Uint8Array(length);
    if (!this.#addon.signDigest(unshared(privateKey), digest, unshared(order), signature))
      throw new Error("internal error: OpenSSL does not sign with the message's key");
    return signature;
  }

  async verify(publicKey: Uint8Array, signature: Uint8Array): Promise<boolean> {
    const digest = await this.digest();
    return this.#addon.verifyDigest(unshared(publicKey), digest, unshared(signature));
  }

  dispose(): void {
    if (this.#handle !== 0) this.#addon.dropHash(this.#end());
  }

  #live(): number {
    if (this.#handle === 0) throw new Error("internal error: hash has been finished");
    return this.#handle;
  }

  #end(): number {
    const handle = this.#live();
    this.#handle = 0;
    abandonedHashes.unregister(this);
    return handle;
  }
}
