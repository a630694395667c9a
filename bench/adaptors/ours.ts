// frameseal itself: whole messages, streams, and runs of frames as the engine sees them.
import { FINAL_FRAME_OVERHEAD, NO_FINAL_FRAME, REGULAR_FRAME_OVERHEAD } from "#frameseal/engine/engine.js";
import { keepFreedMemory } from "#frameseal/engine/native/freed-memory.js";
import { selectEngine } from "#frameseal/engine/select-engine.js";
import { isFramesealError } from "#frameseal/errors.js";
import { RawAesKeyring } from "#frameseal/keyring/raw-aes-keyring.js";
import { createDecryptStream } from "#frameseal/stream/decrypt-stream.js";
import { createEncryptStream } from "#frameseal/stream/encrypt-stream.js";
import { decrypt, encrypt } from "#frameseal/stream/whole-message.js";
import {
  Absent,
  type Adaptor,
  type BufferSubject,
  type StreamSubject,
  type TrialOptions,
} from "../adaptor.ts";

/** The key of every subject; what it protects is random bytes. */
export const benchKey: Uint8Array = new Uint8Array(32).fill(1);
export const benchNamespace = "bench";
export const benchKeyName = "aes";

export const benchKeyring: RawAesKeyring = new RawAesKeyring({
  keyNamespace: benchNamespace,
  keyName: benchKeyName,
  wrappingKey: benchKey,
});

function engineOf(options: TrialOptions) {
  try {
    const engine = selectEngine(options.engine);
    if (engine.name === "native") keepFreedMemory(); // as programs that stream much are told to
    return engine;
  } catch (error) {
    if (isFramesealError(error)) throw new Absent(error.message);
    throw error;
  }
}

function messageOptions(options: TrialOptions) {
  const { frameLength, concurrency, suite } = options;
  return { keyring: benchKeyring, frameLength, concurrency, suite, engine: engineOf(options) };
}

/** `encrypt` and `decrypt`. */
export const messages: Adaptor<BufferSubject> = {
  format: "AWS Encryption SDK message",
  async create(options) {
    const given = messageOptions(options);
    const { keyring, engine, concurrency } = given;
    return {
      seal: (plaintext) => encrypt(plaintext, given),
      open: async (sealed) => (await decrypt(sealed, { keyring, engine, concurrency })).plaintext,
    };
  },
};

/** `createEncryptStream` and `createDecryptStream`. */
export const streams: Adaptor<StreamSubject> = {
  format: "AWS Encryption SDK message",
  async create(options) {
    const given = messageOptions(options);
    const { keyring, engine, concurrency } = given;
    const subject: StreamSubject = {
      sealStream: () => createEncryptStream(given),
      openStream: () => createDecryptStream({ keyring, engine, concurrency }),
    };
    if (options.reuse && engine.recycle === undefined) throw new Absent("this engine takes no memory back");
    if (options.reuse) subject.recycle = (chunk) => engine.recycle?.(chunk);
    return subject;
  },
};

/** AAD of a frame before its sequence number and length, as in a message of suite 0x0478. */
export const benchAadPrefix: Uint8Array = new Uint8Array(44).fill(2);

/** Runs hold whole frames. Long ones go through pipes as text, which takes longer than timing them. */
export const frameSizes = ({ frameLength }: TrialOptions): readonly number[] =>
  frameLength < 2 ** 20 ? [frameLength, 3 * frameLength] : [frameLength];

/** One run of frames in one call of the engine, on `concurrency` threads. */
export const frameRunsOnThreads: Adaptor<BufferSubject> = {
  format: "run of frames",
  sizes: frameSizes,
  async create(options) {
    const { frameLength, size, concurrency } = options;
    const frameCount = size / frameLength;
    const engine = engineOf(options);
    const format = { frameLength, regularAadPrefix: benchAadPrefix, finalAadPrefix: benchAadPrefix };
    const cipher = engine.createKey(benchKey).frameCipher(format, concurrency);
    const sealed = new Uint8Array(size + frameCount * REGULAR_FRAME_OVERHEAD + FINAL_FRAME_OVERHEAD);
    const opened = new Uint8Array(size);
    const { sealInto, openInto } = cipher;
    if (!options.reuse || sealInto === undefined || openInto === undefined)
      return {
        seal: (plaintext) => cipher.seal([plaintext], 1, frameCount, NO_FINAL_FRAME, 0),
        open: (bytes) => cipher.open([bytes], 1, frameCount, NO_FINAL_FRAME).plaintext,
      };
    return {
      seal(plaintext) {
        const length = sealInto.call(cipher, sealed, [plaintext], 1, frameCount, NO_FINAL_FRAME);
        return sealed.subarray(0, length);
      },
      open(bytes) {
        const { plaintextLength } = openInto.call(cipher, opened, [bytes], 1, frameCount, NO_FINAL_FRAME);
        return opened.subarray(0, plaintextLength);
      },
    };
  },
};

/** The same on one thread. */
export const frameRuns: Adaptor<BufferSubject> = {
  format: "run of frames",
  sizes: frameSizes,
  create: (options) => frameRunsOnThreads.create({ ...options, concurrency: 1 }),
};

/** One GCM call of the engine: nonce 12, no AAD; ciphertext ‖ tag. The nonce is always the same, which only a benchmark may do. */
export const gcmCalls: Adaptor<BufferSubject> = {
  format: "AES-256-GCM",
  async create(options) {
    const engine = engineOf(options);
    const key = engine.createKey(benchKey);
    const [nonce, aad] = [new Uint8Array(12), new Uint8Array(0)];
    return {
      setUp: () => engine.createKey(benchKey).dispose(),
      seal: (plaintext) => key.seal(nonce, aad, plaintext),
      open(sealed) {
        const plaintext = key.open(nonce, aad, sealed);
        if (plaintext === null) throw new Error("not authentic");
        return plaintext;
      },
    };
  },
};
