// What Node offers without any package: createCipheriv whole, per frame and as a stream, and WebCrypto.
import { createCipheriv, createDecipheriv, randomBytes, webcrypto } from "node:crypto";
import { PassThrough, Transform } from "node:stream";
import { REGULAR_FRAME_OVERHEAD, TAG_LENGTH } from "#frameseal/engine/engine.js";
import type { Adaptor, BufferSubject, StreamSubject } from "../adaptor.ts";
import { benchAadPrefix, benchKey, frameSizes } from "./ours.ts";

const algorithm = "aes-256-gcm";

/** createCipheriv and createDecipheriv over a whole buffer; ciphertext ‖ tag. */
export const gcmCalls: Adaptor<BufferSubject> = {
  format: "AES-256-GCM",
  async create() {
    const nonce = new Uint8Array(12);
    return {
      // Node expands keys nowhere else.
      setUp: () => createCipheriv(algorithm, benchKey, nonce),
      seal(plaintext) {
        const cipher = createCipheriv(algorithm, benchKey, nonce);
        return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
      },
      open(sealed) {
        const end = sealed.length - TAG_LENGTH;
        const decipher = createDecipheriv(algorithm, benchKey, nonce).setAuthTag(sealed.subarray(end));
        const plaintext = decipher.update(sealed.subarray(0, end));
        decipher.final();
        return plaintext;
      },
    };
  },
};

/** The same frames as ours, one createCipheriv each, as a careful program would write them. */
export const frameRuns: Adaptor<BufferSubject> = {
  format: "run of frames",
  sizes: frameSizes,
  async create({ frameLength, size }) {
    const aadOf = (sequence: number, length: number): Buffer => {
      const aad = Buffer.alloc(benchAadPrefix.length + 12);
      aad.set(benchAadPrefix);
      aad.writeUInt32BE(sequence, benchAadPrefix.length);
      aad.writeUInt32BE(length, benchAadPrefix.length + 8);
      return aad;
    };
    // One buffer that is used again, as for the others: joining pieces in new memory would cost more than a copy.
    const step = frameLength + REGULAR_FRAME_OVERHEAD;
    const sealed = new Uint8Array((size / frameLength) * step);
    const opened = new Uint8Array(size);
    return {
      seal(plaintext) {
        let end = 0;
        for (let at = 0, sequence = 1; at < plaintext.length; at += frameLength, sequence++, end += step) {
          const head = Buffer.from(sealed.buffer, end, 16);
          head.fill(0, 4, 12).writeUInt32BE(sequence, 0);
          head.writeUInt32BE(sequence, 12);
          const cipher = createCipheriv(algorithm, benchKey, head.subarray(4)).setAAD(
            aadOf(sequence, frameLength),
          );
          sealed.set(cipher.update(plaintext.subarray(at, at + frameLength)), end + 16);
          cipher.final();
          sealed.set(cipher.getAuthTag(), end + step - TAG_LENGTH);
        }
        return sealed.subarray(0, end);
      },
      open(bytes) {
        let length = 0;
        for (let at = 0, sequence = 1; at < bytes.length; at += step, sequence++, length += frameLength) {
          const end = at + step - TAG_LENGTH;
          const decipher = createDecipheriv(algorithm, benchKey, bytes.subarray(at + 4, at + 16))
            .setAAD(aadOf(sequence, frameLength))
            .setAuthTag(bytes.subarray(end, end + TAG_LENGTH));
          opened.set(decipher.update(bytes.subarray(at + 16, end)), length);
          decipher.final();
        }
        return opened.subarray(0, length);
      },
    };
  },
};

/** No frames, no header, no key: the least that a Transform over node:crypto does. The tag comes last. */
export const streams: Adaptor<StreamSubject> = {
  async create() {
    return {
      sealStream() {
        const cipher = createCipheriv(algorithm, benchKey, randomBytes(12));
        return new Transform({
          transform: (chunk, _encoding, done) => done(null, cipher.update(chunk as Uint8Array)),
          flush(done) {
            this.push(cipher.final());
            done();
          },
        });
      },
      openStream() {
        // GCM encrypts and decrypts alike; the tag is not compared, which only helps this subject.
        const decipher = createDecipheriv(algorithm, benchKey, randomBytes(12));
        return new Transform({
          transform: (chunk, _encoding, done) => done(null, decipher.update(chunk as Uint8Array)),
        });
      },
    };
  },
};

/** A stream that does nothing: what the machinery of streams costs by itself. */
export const passThrough: Adaptor<StreamSubject> = {
  async create() {
    const stream = (): Transform => new PassThrough();
    return { sealStream: stream, openStream: stream };
  },
};

/** `crypto.subtle`. */
export const webCrypto: Adaptor<BufferSubject> = {
  format: "AES-256-GCM",
  async create() {
    const { subtle } = webcrypto;
    const setUp = () => subtle.importKey("raw", benchKey, "AES-GCM", false, ["encrypt", "decrypt"]);
    const key = await setUp();
    const how = { name: "AES-GCM", iv: new Uint8Array(12) };
    return {
      setUp,
      seal: async (plaintext) => new Uint8Array(await subtle.encrypt(how, key, plaintext)),
      open: async (sealed) => new Uint8Array(await subtle.decrypt(how, key, sealed)),
    };
  },
};
