// AES-256-GCM in our own native code: keys, and the engine that makes them. Results are ordinary memory made in
// JavaScript.
import { FramesealError } from "../../errors.ts";
import { isShared } from "../../shapes.ts";
import { checkBytes, checkLength, unshared } from "../chunk-cursor.ts";
import {
  type AeadKey,
  type Engine,
  type FrameCipher,
  type FrameFormat,
  type GcmOpener,
  type GcmSealer,
  NONCE_LENGTH,
  type SegmentCipher,
  TAG_LENGTH,
} from "../engine.ts";
import { checkFrameFormat } from "../frame-run.ts";
import { nodeEngine } from "../node/engine.ts";
import { type Addon, abandoned, allocate, type KeyHandle, loadAddon, type NativeKernel } from "./addon.ts";
import { NativeFrameCipher } from "./frames.ts";
import { startNativeHash } from "./hash.ts";
import { NativeGcmOpener, NativeGcmSealer, NativeMessage } from "./message.ts";
import { NativeSegments } from "./segments.ts";
import { isSmall, openSmall, sealSmall } from "./small.ts";

/**
 * Makes the engine on the native addon, with its best kernel or the one named.
 * @throws FramesealError ENGINE_UNAVAILABLE if the addon does not load or has no such kernel that works here.
 */
export function createNativeEngine(kernel?: string): Engine {
  const addon = loadAddon();
  const kernels = addon.kernels();
  const index = kernels.findIndex(
    ({ name, works, preferred }) => works && (kernel === undefined ? preferred : name === kernel),
  );
  const chosen = kernels[index];
  if (chosen === undefined) {
    const list = kernels.map(({ name, reason }) => `${name}: ${reason}`).join("; ");
    throw new FramesealError(
      "ENGINE_UNAVAILABLE",
      `native engine has no kernel ${kernel ?? ""} for this CPU (${list})`,
    );
  }
  return {
    name: "native",
    kernel: chosen.name,
    createKey(rawKey) {
      checkBytes("key", rawKey);
      // The kernels know AES-256 alone; the old suites with shorter keys are too rare to be worth more.
      return rawKey.length === 32
        ? new NativeKey(addon, rawKey, index, chosen)
        : nodeEngine.createKey(rawKey);
    },
    recycle(result) {
      checkBytes("result", result);
      if (!isShared(result) && !mayBePooled(result)) addon.recycle(result);
    },
    startHash: (bits, concurrency) => startNativeHash(addon, bits, concurrency),
  };
}

/** Small Buffers of Node lie in pools of this length; without theirs, all of them would be lost, and new ones too. */
function mayBePooled({ buffer, byteLength }: Uint8Array): boolean {
  return buffer.byteLength === Buffer.poolSize && byteLength < buffer.byteLength;
}

class NativeKey implements AeadKey, KeyHandle {
  readonly #addon: Addon;
  #handle: number;
  /** Does what the kernel cannot. */
  readonly #substitute: AeadKey | undefined;
  #segments: SegmentCipher | undefined;

  constructor(addon: Addon, rawKey: Uint8Array, kernelIndex: number, kernel: NativeKernel) {
    this.#addon = addon;
    const handle = addon.createKey(unshared(rawKey), kernelIndex);
    this.#handle = handle;
    this.#substitute = kernel.segments ? undefined : nodeEngine.createKey(rawKey);
    abandoned.register(this, () => addon.disposeKey(handle), this);
  }
  get segments(): SegmentCipher | undefined {
    this.#segments ??= this.#substitute ? this.#substitute.segments : new NativeSegments(this.#addon, this);
    return this.#segments;
  }
  /** The number of the key. @throws Error after `dispose`. */
  get handle(): number {
    if (this.#handle === 0) throw new Error("internal error: key has been disposed of");
    return this.#handle;
  }
  seal(nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
    checkLength("nonce", nonce, NONCE_LENGTH);
    checkBytes("aad", aad);
    checkBytes("plaintext", plaintext);
    const sealedLength = plaintext.length + TAG_LENGTH;
    if (isSmall(aad, sealedLength)) return sealSmall(this.#addon, this.handle, nonce, aad, plaintext);
    const sealed = allocate(this.#addon, sealedLength);
    this.#addon.seal(this.handle, unshared(nonce), unshared(aad), unshared(plaintext), sealed);
    return sealed;
  }
  open(nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | null {
    checkLength("nonce", nonce, NONCE_LENGTH);
    checkBytes("aad", aad);
    checkBytes("sealed", sealed);
    const length = sealed.length - TAG_LENGTH;
    if (length < 0) return null;
    if (isSmall(aad, sealed.length)) return openSmall(this.#addon, this.handle, nonce, aad, sealed);
    const plaintext = allocate(this.#addon, length);
    const isAuthentic = this.#addon.open(
      this.handle,
      unshared(nonce),
      unshared(aad),
      unshared(sealed),
      plaintext,
    );
    return isAuthentic ? plaintext : null;
  }
  frameCipher(format: FrameFormat, threads = 1): FrameCipher {
    checkFrameFormat(format);
    return new NativeFrameCipher(this.#addon, this, this.#substitute === undefined, format, threads);
  }
  startSeal(nonce: Uint8Array, aad: Uint8Array): GcmSealer {
    return new NativeGcmSealer(new NativeMessage(this.#addon, this, nonce, aad));
  }
  startOpen(nonce: Uint8Array, aad: Uint8Array): GcmOpener {
    return new NativeGcmOpener(new NativeMessage(this.#addon, this, nonce, aad));
  }
  dispose(): void {
    if (this.#handle === 0) return;
    abandoned.unregister(this);
    this.#addon.disposeKey(this.#handle); // the addon keeps the key until work in progress is done
    this.#handle = 0;
    this.#substitute?.dispose();
  }
}
