// AES-GCM on node:crypto: the engine that works everywhere Node does, and the oracle that others are compared with.
import type { CipherGCM, DecipherGCM } from "node:crypto";
import { copySecret } from "../../bytes.ts";
import { MAX_UPDATE_LENGTH } from "../../format/limits.ts";
import { ChunkCursor, checkBytes, checkLength, unshared } from "../chunk-cursor.ts";
import {
  type AeadKey,
  type Engine,
  type FrameCipher,
  type FrameFormat,
  type GcmOpener,
  type GcmSealer,
  NONCE_LENGTH,
  TAG_LENGTH,
} from "../engine.ts";
import { addLength, checkFrameFormat } from "../frame-run.ts";
import { allocate } from "../output-memory.ts";
import { NodeFrameCipher } from "./frames.ts";
import { finishSeal, GcmKey, giveUp, isAuthentic, openText, sealText, update } from "./gcm.ts";
import { NodeSegments } from "./segments.ts";
import { ThreadedFrameCipher } from "./threads.ts";

/** The engine on `node:crypto`. */
export const nodeEngine: Engine = {
  name: "node",
  kernel: "node:crypto",
  createKey: (rawKey) => new NodeKey(rawKey),
};

class NodeKey implements AeadKey {
  readonly #key: GcmKey;
  readonly segments: NodeSegments;

  constructor(rawKey: Uint8Array) {
    checkBytes("key", rawKey);
    const key = new GcmKey(copySecret(rawKey));
    this.#key = key;
    this.segments = new NodeSegments(() => key.live, rawKey.length);
  }
  seal(nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
    checkLength("nonce", nonce, NONCE_LENGTH);
    checkBytes("aad", aad);
    checkBytes("plaintext", plaintext);
    const sealed = allocate(plaintext.length + TAG_LENGTH);
    sealText(this.#key.cipher(nonce, aad), new ChunkCursor([plaintext]), plaintext.length, sealed, 0);
    return sealed;
  }
  open(nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | null {
    checkLength("nonce", nonce, NONCE_LENGTH);
    checkBytes("aad", aad);
    checkBytes("sealed", sealed);
    if (sealed.length < TAG_LENGTH) return null;
    const plaintext = allocate(sealed.length - TAG_LENGTH);
    const tag = new Uint8Array(TAG_LENGTH);
    if (openText(this.#key.decipher(nonce, aad), new ChunkCursor([sealed]), plaintext, tag)) return plaintext;
    plaintext.fill(0);
    return null;
  }
  frameCipher(format: FrameFormat, threads = 1): FrameCipher {
    checkFrameFormat(format);
    return threads > 1
      ? new ThreadedFrameCipher(this.#key, format, threads)
      : new NodeFrameCipher(this.#key, format);
  }
  startSeal(nonce: Uint8Array, aad: Uint8Array): GcmSealer {
    checkLength("nonce", nonce, NONCE_LENGTH);
    checkBytes("aad", aad);
    return new NodeGcmSealer(this.#key.cipher(nonce, aad));
  }
  startOpen(nonce: Uint8Array, aad: Uint8Array): GcmOpener {
    checkLength("nonce", nonce, NONCE_LENGTH);
    checkBytes("aad", aad);
    return new NodeGcmOpener(this.#key.decipher(nonce, aad));
  }
  dispose(): void {
    this.#key.dispose();
    this.segments.wipe();
  }
}

class NodeGcmSealer implements GcmSealer {
  #cipher: CipherGCM | undefined;
  #length = 0;

  constructor(cipher: CipherGCM) {
    this.#cipher = cipher;
  }
  update(plaintext: Uint8Array): Uint8Array {
    if (this.#cipher === undefined) throw new Error("internal error: message has been finished");
    checkBytes("plaintext", plaintext);
    this.#length = addLength(this.#length, plaintext.length);
    return updateWhole(this.#cipher, plaintext);
  }
  final(): Uint8Array {
    if (this.#cipher === undefined) throw new Error("internal error: message has been finished");
    const tag = new Uint8Array(TAG_LENGTH);
    finishSeal(this.#cipher, tag, 0);
    this.#cipher = undefined;
    return tag;
  }
  dispose(): void {
    if (this.#cipher !== undefined) giveUp(this.#cipher);
    this.#cipher = undefined;
  }
}

class NodeGcmOpener implements GcmOpener {
  #decipher: DecipherGCM | undefined;
  #length = 0;

  constructor(decipher: DecipherGCM) {
    this.#decipher = decipher;
  }
  update(ciphertext: Uint8Array): Uint8Array {
    if (this.#decipher === undefined) throw new Error("internal error: message has been finished");
    checkBytes("ciphertext", ciphertext);
    this.#length = addLength(this.#length, ciphertext.length);
    return updateWhole(this.#decipher, ciphertext);
  }
  final(tag: Uint8Array): boolean {
    if (this.#decipher === undefined) throw new Error("internal error: message has been finished");
    checkLength("tag", tag, TAG_LENGTH);
    const decipher = this.#decipher;
    this.#decipher = undefined;
    return isAuthentic(decipher, tag);
  }
  dispose(): void {
    if (this.#decipher !== undefined) giveUp(this.#decipher);
    this.#decipher = undefined;
  }
}

function updateWhole(cipher: CipherGCM | DecipherGCM, input: Uint8Array): Uint8Array {
  if (input.length > MAX_UPDATE_LENGTH) {
    const output = allocate(input.length);
    update(cipher, new ChunkCursor([input]), input.length, output, 0);
    return output;
  }
  const output = cipher.update(unshared(input));
  return new Uint8Array(output.buffer, output.byteOffset, output.length);
}
