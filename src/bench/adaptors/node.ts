// What Node offers without any package: createCipheriv whole, per frame and as a stream, and WebCrypto.
import { createCipheriv, createDecipheriv, randomBytes, webcrypto } from "node:crypto";
import { PassThrough, Transform } from "node:stream";
import { REGULAR_FRAME_OVERHEAD, TAG_LENGTH } from "../../engine/engine.ts";
import type { Adaptor, BufferSubject, StreamSubject } from "../adaptor.ts";
import { benchAadPrefix, benchKey } from "./ours.ts";

const algorithm = "aes-256-gcm";

/** createCipheriv and createDecipheriv over a whole buffer; ciphertext ‖ tag. */
export const gcmCalls: Adaptor<BufferSubject> = {
  format: "AES-256-GCM",
  async create() {
    const nonce = new Uint8Array(12);
    return {
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
  async create({ frameLength }) {
    const aadOf = (sequence: number, length: number): Buffer => {
      const aad = Buffer.alloc(benchAadPrefix.length + 12);
      aad.set(benchAadPrefix);
      aad.writeUInt32BE(sequence, benchAadPrefix.length);
      aad.writeUInt32BE(length, benchAadPrefix.length + 8);
      return aad;
    };
    return {
      seal(plaintext) {
        const parts: Uint8Array[] = [];
        for (let at = 0, sequence = 1; at < plaintext.length; at += frameLength, sequence++) {
          const head = Buffer.alloc(16);
          head.writeUInt32BE(sequence, 0);
          head.writeUInt32BE(sequence, 12);
          const cipher = createCipheriv(algorithm, benchKey, head.subarray(4)).setAAD(
            aadOf(sequence, frameLength),
          );
          const ciphertext = cipher.update(plaintext.subarray(at, at + frameLength));
          parts.push(head, ciphertext, cipher.final(), cipher.getAuthTag());
        }
        return Buffer.concat(parts);
      },
      open(sealed) {
        const parts: Uint8Array[] = [];
        const step = frameLength + REGULAR_FRAME_OVERHEAD;
        for (let at = 0, sequence = 1; at < sealed.length; at += step, sequence++) {
          const end = at + step - TAG_LENGTH;
          const decipher = createDecipheriv(algorithm, benchKey, sealed.subarray(at + 4, at + 16))
            .setAAD(aadOf(sequence, frameLength))
            .setAuthTag(sealed.subarray(end, end + TAG_LENGTH));
          parts.push(decipher.update(sealed.subarray(at + 16, end)));
          decipher.final();
        }
        return Buffer.concat(parts);
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
    const key = await subtle.importKey("raw", benchKey, "AES-GCM", false, ["encrypt", "decrypt"]);
    const how = { name: "AES-GCM", iv: new Uint8Array(12) };
    return {
      seal: async (plaintext) => new Uint8Array(await subtle.encrypt(how, key, plaintext)),
      open: async (sealed) => new Uint8Array(await subtle.decrypt(how, key, sealed)),
    };
  },
};
