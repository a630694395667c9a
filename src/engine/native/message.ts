// One GCM message in pieces, in the addon.
import { checkBytes, checkLength, unshared } from "../chunk-cursor.ts";
import { type GcmOpener, type GcmSealer, NONCE_LENGTH, TAG_LENGTH } from "../engine.ts";
import { addLength } from "../frame-run.ts";
import { type Addon, abandoned, allocate, type KeyHandle, type UpdateFunction } from "./addon.ts";

/** One message in progress inside the addon. */
export class NativeMessage {
  readonly addon: Addon;
  #handle: number;
  #length = 0;

  constructor(addon: Addon, key: KeyHandle, nonce: Uint8Array, aad: Uint8Array) {
    checkLength("nonce", nonce, NONCE_LENGTH);
    checkBytes("aad", aad);
    this.addon = addon;
    const handle = addon.startMessage(key.handle, unshared(nonce), unshared(aad));
    this.#handle = handle;
    abandoned.register(this, () => addon.dropMessage(handle), this);
  }
  get handle(): number {
    if (this.#handle === 0) throw new Error("internal error: message has been finished");
    return this.#handle;
  }
  /** Seals or opens the next bytes of the message. */
  update(work: UpdateFunction, name: string, input: Uint8Array): Uint8Array {
    checkBytes(name, input);
    const { handle } = this;
    this.#length = addLength(this.#length, input.length);
    const output = allocate(this.addon, input.length);
    work(handle, unshared(input), output);
    return output;
  }
  /** Wipes what was not finished. */
  dispose(): void {
    if (this.#handle !== 0) this.addon.dropMessage(this.end());
  }
  /** Returns the handle for the last call with it. */
  end(): number {
    const handle = this.handle;
    abandoned.unregister(this);
    this.#handle = 0;
    return handle;
  }
}

/** Seals a message in pieces. */
export class NativeGcmSealer implements GcmSealer {
  readonly #message: NativeMessage;

  constructor(message: NativeMessage) {
    this.#message = message;
  }
  update(plaintext: Uint8Array): Uint8Array {
    return this.#message.update(this.#message.addon.sealUpdate, "plaintext", plaintext);
  }
  final(): Uint8Array {
    const tag = new Uint8Array(TAG_LENGTH);
    this.#message.addon.finishSeal(this.#message.end(), tag);
    return tag;
  }
  dispose(): void {
    this.#message.dispose();
  }
}

/** Opens a message in pieces. */
export class NativeGcmOpener implements GcmOpener {
  readonly #message: NativeMessage;

  constructor(message: NativeMessage) {
    this.#message = message;
  }
  update(ciphertext: Uint8Array): Uint8Array {
    return this.#message.update(this.#message.addon.openUpdate, "ciphertext", ciphertext);
  }
  final(tag: Uint8Array): boolean {
    checkLength("tag", tag, TAG_LENGTH);
    return this.#message.addon.finishOpen(this.#message.end(), unshared(tag));
  }
  dispose(): void {
    this.#message.dispose();
  }
}
