// Libraries of others. Each is measured the way its own documentation uses it.
import type { Transform } from "node:stream";
import type { Adaptor, BufferSubject, StreamSubject } from "../adaptor.ts";
import { importPackage } from "../packages.ts";
import { benchKey, benchKeyName, benchNamespace } from "./ours.ts";

interface ClientNode {
  readonly CommitmentPolicy: { readonly REQUIRE_ENCRYPT_REQUIRE_DECRYPT: unknown };
  readonly RawAesWrappingSuiteIdentifier: { readonly AES256_GCM_IV12_TAG16_NO_PADDING: unknown };
  readonly RawAesKeyringNode: new (options: object) => object;
  buildClient(policy: unknown): {
    encrypt(keyring: object, plaintext: Uint8Array, options: object): Promise<{ result: Buffer }>;
    decrypt(keyring: object, sealed: Uint8Array): Promise<{ plaintext: Buffer }>;
    encryptStream(keyring: object, options: object): Transform;
    decryptStream(keyring: object): Transform;
  };
}

async function clientNode() {
  const peer = await importPackage<ClientNode>("@aws-crypto/client-node");
  const keyring = new peer.RawAesKeyringNode({
    keyNamespace: benchNamespace,
    keyName: benchKeyName,
    unencryptedMasterKey: Uint8Array.from(benchKey),
    wrappingSuite: peer.RawAesWrappingSuiteIdentifier.AES256_GCM_IV12_TAG16_NO_PADDING,
  });
  return { keyring, client: peer.buildClient(peer.CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT) };
}

/** `encrypt` and `decrypt` of the AWS Encryption SDK for JavaScript. */
export const clientNodeMessages: Adaptor<BufferSubject> = {
  format: "AWS Encryption SDK message",
  async create({ frameLength, suite: suiteId }) {
    const { client, keyring } = await clientNode();
    return {
      seal: async (plaintext) =>
        (
          await client.encrypt(
            keyring,
            Buffer.from(plaintext.buffer, plaintext.byteOffset, plaintext.length),
            { frameLength, suiteId },
          )
        ).result,
      open: async (sealed) =>
        (await client.decrypt(keyring, Buffer.from(sealed.buffer, sealed.byteOffset, sealed.length)))
          .plaintext,
    };
  },
};

/** `encryptStream` and `decryptStream` of the same. */
export const clientNodeStreams: Adaptor<StreamSubject> = {
  format: "AWS Encryption SDK message",
  async create({ frameLength, suite: suiteId }) {
    const { client, keyring } = await clientNode();
    return {
      sealStream: () => client.encryptStream(keyring, { frameLength, suiteId }),
      openStream: () => client.decryptStream(keyring),
    };
  },
};

interface NobleCiphers {
  gcm(
    key: Uint8Array,
    nonce: Uint8Array,
  ): { encrypt(text: Uint8Array): Uint8Array; decrypt(text: Uint8Array): Uint8Array };
}

/** `gcm` of @noble/ciphers: AES in JavaScript. */
export const noble: Adaptor<BufferSubject> = {
  format: "AES-256-GCM",
  async create() {
    const { gcm } = await importPackage<NobleCiphers>("@noble/ciphers", "aes.js");
    const nonce = new Uint8Array(12);
    return {
      seal: (plaintext) => gcm(benchKey, nonce).encrypt(plaintext),
      open: (sealed) => gcm(benchKey, nonce).decrypt(sealed),
    };
  },
};

type Sodium = {
  readonly [K in `crypto_secretstream_xchacha20poly1305_${"STATEBYTES" | "HEADERBYTES" | "ABYTES" | "TAG_MESSAGE" | "TAG_FINAL"}`]: number;
} & {
  crypto_secretstream_xchacha20poly1305_init_push(state: Buffer, header: Buffer, key: Buffer): void;
  crypto_secretstream_xchacha20poly1305_init_pull(state: Buffer, header: Buffer, key: Buffer): void;
  crypto_secretstream_xchacha20poly1305_push(
    state: Buffer,
    out: Buffer,
    text: Buffer,
    ad: null,
    tag: unknown,
  ): number;
  crypto_secretstream_xchacha20poly1305_pull(
    state: Buffer,
    out: Buffer,
    tag: Buffer,
    text: Buffer,
    ad: null,
  ): number;
};

const view = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);

/** secretstream of libsodium (XChaCha20-Poly1305) in chunks of the frame length, into memory of its own. */
export const sodium: Adaptor<BufferSubject> = {
  async create({ frameLength, reuse }) {
    const peer = await importPackage<{ readonly default: Sodium }>("sodium-native");
    const lib = peer.default;
    const {
      crypto_secretstream_xchacha20poly1305_ABYTES: overhead,
      crypto_secretstream_xchacha20poly1305_HEADERBYTES: head,
    } = lib;
    const key = view(benchKey);
    const state = Buffer.alloc(lib.crypto_secretstream_xchacha20poly1305_STATEBYTES);
    const tags = [
      lib.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE,
      lib.crypto_secretstream_xchacha20poly1305_TAG_FINAL,
    ];
    const memory = new Map<number, Buffer>();
    const allocate = (length: number): Buffer => {
      if (!reuse) return Buffer.allocUnsafeSlow(length);
      const bytes = memory.get(length) ?? Buffer.allocUnsafeSlow(length);
      memory.set(length, bytes);
      return bytes;
    };
    return {
      seal(plaintext) {
        const chunks = Math.max(1, Math.ceil(plaintext.length / frameLength));
        const sealed = allocate(head + plaintext.length + chunks * overhead);
        lib.crypto_secretstream_xchacha20poly1305_init_push(state, sealed.subarray(0, head), key);
        for (let n = 0, at = head; n < chunks; n++) {
          const text = view(plaintext.subarray(n * frameLength, (n + 1) * frameLength));
          const end = at + text.length + overhead;
          const tag = tags[n === chunks - 1 ? 1 : 0];
          lib.crypto_secretstream_xchacha20poly1305_push(state, sealed.subarray(at, end), text, null, tag);
          at = end;
        }
        return sealed;
      },
      open(sealed) {
        const bytes = view(sealed);
        lib.crypto_secretstream_xchacha20poly1305_init_pull(state, bytes.subarray(0, head), key);
        const step = frameLength + overhead;
        const chunks = Math.ceil((bytes.length - head) / step);
        const plaintext = allocate(bytes.length - head - chunks * overhead);
        const tag = Buffer.alloc(1);
        for (let n = 0; n < chunks; n++) {
          const text = bytes.subarray(head + n * step, head + (n + 1) * step);
          const out = plaintext.subarray(n * frameLength, n * frameLength + text.length - overhead);
          lib.crypto_secretstream_xchacha20poly1305_pull(state, out, tag, text, null);
        }
        return plaintext;
      },
    };
  },
};

interface Age {
  readonly Encrypter: new () => {
    addRecipient(to: string): void;
    encrypt(text: Uint8Array): Promise<Uint8Array>;
  };
  readonly Decrypter: new () => {
    addIdentity(key: string): void;
    decrypt(sealed: Uint8Array): Promise<Uint8Array>;
  };
  generateX25519Identity(): Promise<string>;
  identityToRecipient(identity: string): Promise<string>;
}

/** age in TypeScript (ChaCha20-Poly1305 in chunks of 64 KiB), to an X25519 recipient. */
export const age: Adaptor<BufferSubject> = {
  async create() {
    const { Encrypter, Decrypter, ...lib } = await importPackage<Age>("age-encryption");
    const identity = await lib.generateX25519Identity();
    const encrypter = new Encrypter();
    encrypter.addRecipient(await lib.identityToRecipient(identity));
    const decrypter = new Decrypter();
    decrypter.addIdentity(identity);
    return { seal: (plaintext) => encrypter.encrypt(plaintext), open: (sealed) => decrypter.decrypt(sealed) };
  },
};
