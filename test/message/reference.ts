// A second implementation of the message format, written from the words of the specification with OpenSSL's one-shot
// functions. It shares nothing with src/, so the two cannot be wrong in the same way by accident.
import {
  createCipheriv,
  createDecipheriv,
  createECDH,
  createHmac,
  createPrivateKey,
  createSign,
  createVerify,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from "node:crypto";

export interface ReferenceSuite {
  readonly id: number;
  readonly version: 1 | 2;
  readonly keyLength: number;
  readonly hash: "none" | "sha256" | "sha384" | "sha512";
  readonly curve?: "prime256v1" | "secp384r1";
}

/** The table of the specification: id, header version, key bytes, hash of the key derivation, curve. */
export const referenceSuites: readonly ReferenceSuite[] = [
  { id: 0x0014, version: 1, keyLength: 16, hash: "none" },
  { id: 0x0046, version: 1, keyLength: 24, hash: "none" },
  { id: 0x0078, version: 1, keyLength: 32, hash: "none" },
  { id: 0x0114, version: 1, keyLength: 16, hash: "sha256" },
  { id: 0x0146, version: 1, keyLength: 24, hash: "sha256" },
  { id: 0x0178, version: 1, keyLength: 32, hash: "sha256" },
  { id: 0x0214, version: 1, keyLength: 16, hash: "sha256", curve: "prime256v1" },
  { id: 0x0346, version: 1, keyLength: 24, hash: "sha384", curve: "secp384r1" },
  { id: 0x0378, version: 1, keyLength: 32, hash: "sha384", curve: "secp384r1" },
  { id: 0x0478, version: 2, keyLength: 32, hash: "sha512" },
  { id: 0x0578, version: 2, keyLength: 32, hash: "sha512", curve: "secp384r1" },
];

export function referenceSuite(id: number): ReferenceSuite {
  const suite = referenceSuites.find((candidate) => candidate.id === id);
  if (suite === undefined) throw new Error(`no suite ${id}`);
  return suite;
}

export function uint16(value: number): Buffer {
  return Buffer.of((value >>> 8) & 0xff, value & 0xff);
}
export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
export function uint64(value: number): Buffer {
  return Buffer.concat([uint32(Math.floor(value / 2 ** 32)), uint32(value % 2 ** 32)]);
}

const algorithm = (key: Uint8Array) => `aes-${key.length * 8}-gcm` as "aes-256-gcm";

export function gcmSeal(key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Buffer {
  const cipher = createCipheriv(algorithm(key), key, nonce, { authTagLength: 16 }).setAAD(aad);
  return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}
export function gcmOpen(key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Buffer {
  const decipher = createDecipheriv(algorithm(key), key, nonce, { authTagLength: 16 }).setAAD(aad);
  decipher.setAuthTag(sealed.subarray(sealed.length - 16));
  return Buffer.concat([decipher.update(sealed.subarray(0, sealed.length - 16)), decipher.final()]);
}

/** Order of the UTF-8 bytes, byte by byte. */
export function compareBytes(a: string, b: string): number {
  const [left, right] = [[...Buffer.from(a, "utf8")], [...Buffer.from(b, "utf8")]];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

export function serializeContext(context: Readonly<Record<string, string>>): Buffer {
  const keys = Object.keys(context).sort(compareBytes);
  return serializePairs(keys.map((key) => [key, context[key] ?? ""]));
}

/** Pairs in the order given. */
export function serializePairs(pairs: readonly (readonly [string, string])[]): Buffer {
  if (pairs.length === 0) return Buffer.alloc(0);
  const field = (text: string): Buffer => Buffer.concat([uint16(Buffer.byteLength(text)), Buffer.from(text)]);
  return Buffer.concat([
    uint16(pairs.length),
    ...pairs.flatMap(([key, value]) => [field(key), field(value)]),
  ]);
}

export interface ReferenceKeys {
  readonly messageKey: Buffer;
  readonly commitment: Buffer;
}

/** HKDF as in RFC 5869, by hand for version 2 and by OpenSSL for version 1. */
export function referenceKeys(
  suite: ReferenceSuite,
  dataKey: Uint8Array,
  messageId: Uint8Array,
): ReferenceKeys {
  const none = Buffer.alloc(0);
  if (suite.hash === "none") return { messageKey: Buffer.from(dataKey), commitment: none };
  const id = uint16(suite.id);
  if (suite.version === 1) {
    const info = Buffer.concat([id, messageId]);
    return {
      messageKey: Buffer.from(hkdfSync(suite.hash, dataKey, none, info, suite.keyLength)),
      commitment: none,
    };
  }
  const prk = createHmac("sha512", messageId).update(dataKey).digest();
  const expand = (info: Buffer) =>
    createHmac("sha512", prk)
      .update(Buffer.concat([info, Buffer.of(1)]))
      .digest()
      .subarray(0, 32);
  return {
    commitment: expand(Buffer.from("COMMITKEY")),
    messageKey: expand(Buffer.concat([id, Buffer.from("DERIVEKEY")])),
  };
}

/** The nonce that writers use: the sequence number, padded to 12 bytes on the left. */
export function sequenceNonce(sequence: number): Buffer {
  return Buffer.concat([Buffer.alloc(8), uint32(sequence)]);
}

export interface FrameInput {
  readonly sequence: number;
  readonly plaintext: Uint8Array;
  readonly isFinal: boolean;
  readonly nonce?: Uint8Array;
}

export function sealFrame(messageKey: Uint8Array, messageId: Uint8Array, frame: FrameInput): Buffer {
  const { sequence, plaintext, isFinal, nonce = sequenceNonce(sequence) } = frame;
  const content = isFinal ? "AWSKMSEncryptionClient Final Frame" : "AWSKMSEncryptionClient Frame";
  const aad = Buffer.concat([messageId, Buffer.from(content), uint32(sequence), uint64(plaintext.length)]);
  const sealed = gcmSeal(messageKey, nonce, aad, plaintext);
  if (!isFinal) return Buffer.concat([uint32(sequence), nonce, sealed]);
  return Buffer.concat([uint32(0xffffffff), uint32(sequence), nonce, uint32(plaintext.length), sealed]);
}

export interface ReferenceOptions {
  readonly suite: number;
  readonly dataKey: Uint8Array;
  readonly plaintext: Uint8Array;
  /** 0 for a body without frames. */
  readonly frameLength: number;
  readonly messageId?: Uint8Array;
  /** Stored pairs. The public key of signing suites is added. */
  readonly context?: Readonly<Record<string, string>>;
  /** Pairs that are authenticated and not stored. */
  readonly required?: Readonly<Record<string, string>>;
  /** How an exact multiple of the frame length ends: AWS's JavaScript, Python, C and Java write an empty frame. */
  readonly exactMultipleEnd?: "full" | "empty";
  readonly encryptedDataKeys?: readonly (readonly [string, Uint8Array, Uint8Array])[];
}

export interface ReferenceMessage {
  readonly bytes: Buffer;
  /** Body and authentication. */
  readonly header: Buffer;
  readonly frames: readonly Buffer[];
  readonly footer: Buffer;
  readonly messageId: Buffer;
  readonly keys: ReferenceKeys;
  readonly suite: ReferenceSuite;
  /** Signs other frames under this header. */
  sign(frames: readonly Uint8Array[]): Buffer;
}

/** Writes a message in every form the specification allows. */
export function writeMessage(options: ReferenceOptions): ReferenceMessage {
  const suite = referenceSuite(options.suite);
  const messageId = Buffer.from(options.messageId ?? randomBytes(suite.version === 1 ? 16 : 32));
  const keys = referenceKeys(suite, options.dataKey, messageId);
  const context: Record<string, string> = { ...options.context };
  let privateKey: KeyObject | undefined;
  if (suite.curve !== undefined) {
    const pair = createECDH(suite.curve);
    pair.generateKeys();
    const point = pair.getPublicKey();
    const half = (point.length - 1) / 2;
    privateKey = createPrivateKey({
      format: "jwk",
      key: {
        kty: "EC",
        crv: suite.curve === "prime256v1" ? "P-256" : "P-384",
        x: point.subarray(1, 1 + half).toString("base64url"),
        y: point.subarray(1 + half).toString("base64url"),
        d: Buffer.concat([Buffer.alloc(half - pair.getPrivateKey().length), pair.getPrivateKey()]).toString(
          "base64url",
        ),
      },
    });
    context["aws-crypto-public-key"] = pair.getPublicKey("base64", "compressed");
  }
  const edks = options.encryptedDataKeys ?? [["test", Buffer.from("key"), Buffer.alloc(8, 7)]];
  const aad = serializeContext(context);
  const framed = options.frameLength > 0;
  const body = Buffer.concat([
    Buffer.of(suite.version),
    suite.version === 1 ? Buffer.of(0x80) : Buffer.alloc(0),
    uint16(suite.id),
    messageId,
    uint16(aad.length),
    aad,
    uint16(edks.length),
    ...edks.flatMap(([provider, info, ciphertext]) =>
      [Buffer.from(provider), info, ciphertext].flatMap((field) => [uint16(field.length), field]),
    ),
    Buffer.of(framed ? 2 : 1),
    suite.version === 1 ? Buffer.concat([uint32(0), Buffer.of(12)]) : Buffer.alloc(0),
    uint32(options.frameLength),
    keys.commitment,
  ]);
  const zeroNonce = Buffer.alloc(12);
  const headerAad = Buffer.concat([body, serializeContext(options.required ?? {})]);
  const tag = gcmSeal(keys.messageKey, zeroNonce, headerAad, Buffer.alloc(0));
  const header = Buffer.concat([body, suite.version === 1 ? zeroNonce : Buffer.alloc(0), tag]);
  const frames = framed
    ? sealFrames(keys.messageKey, messageId, options)
    : [sealSingle(keys.messageKey, messageId, options.plaintext)];
  const sign = (parts: readonly Uint8Array[]): Buffer => {
    if (privateKey === undefined) return Buffer.alloc(0);
    const hash = suite.curve === "prime256v1" ? "sha256" : "sha384";
    const signer = createSign(hash).update(header);
    for (const part of parts) signer.update(part);
    const signature = signer.sign(privateKey);
    return Buffer.concat([uint16(signature.length), signature]);
  };
  const footer = sign(frames);
  const bytes = Buffer.concat([header, ...frames, footer]);
  return { bytes, header, frames, footer, messageId, keys, suite, sign };
}

function sealFrames(messageKey: Uint8Array, messageId: Uint8Array, options: ReferenceOptions): Buffer[] {
  const { plaintext, frameLength, exactMultipleEnd = "full" } = options;
  const full = exactMultipleEnd === "full";
  const regularCount = full
    ? Math.max(0, Math.ceil(plaintext.length / frameLength) - 1)
    : Math.floor(plaintext.length / frameLength);
  return Array.from({ length: regularCount + 1 }, (_, i) => {
    const isFinal = i === regularCount;
    const part = plaintext.subarray(i * frameLength, isFinal ? plaintext.length : (i + 1) * frameLength);
    return sealFrame(messageKey, messageId, { sequence: i + 1, plaintext: part, isFinal });
  });
}

function sealSingle(messageKey: Uint8Array, messageId: Uint8Array, plaintext: Uint8Array): Buffer {
  const text = Buffer.from("AWSKMSEncryptionClient Single Block");
  const nonce = sequenceNonce(1);
  const aad = Buffer.concat([messageId, text, uint32(1), uint64(plaintext.length)]);
  return Buffer.concat([nonce, uint64(plaintext.length), gcmSeal(messageKey, nonce, aad, plaintext)]);
}

/** What the reference reads out of a framed or non-framed message, everything verified. */
export interface ReferenceRead {
  readonly plaintext: Buffer;
  readonly suite: ReferenceSuite;
  readonly messageId: Buffer;
  readonly pairs: readonly (readonly [string, string])[];
  readonly frameLength: number;
  readonly headerLength: number;
  readonly frameLengths: readonly number[];
  readonly footerLength: number;
}

/** Reads a message with a known data key; throws at the first thing that is not right. */
export function readMessage(
  message: Buffer,
  dataKey: Uint8Array,
  required: Readonly<Record<string, string>> = {},
): ReferenceRead {
  let at = 0;
  const take = (count: number): Buffer => {
    if (at + count > message.length) throw new Error("reference: message is too short");
    at += count;
    return message.subarray(at - count, at);
  };
  const number = (bytes: number): number => take(bytes).readUIntBE(0, bytes);
  const must = (condition: boolean, what: string): void => {
    if (!condition) throw new Error(`reference: ${what}`);
  };
  const version = number(1);
  if (version === 1) must(number(1) === 0x80, "type");
  const suite = referenceSuite(number(2));
  must(suite.version === version, "version");
  const messageId = take(version === 1 ? 16 : 32);
  const pairs: [string, string][] = [];
  const contextLength = number(2);
  const contextEnd = at + contextLength;
  if (contextLength > 0)
    for (let count = number(2); count > 0; count--)
      pairs.push([take(number(2)).toString(), take(number(2)).toString()]);
  must(at === contextEnd, "length of the context");
  for (let count = number(2); count > 0; count--) for (let i = 0; i < 3; i++) take(number(2));
  const framed = number(1) === 2;
  if (version === 1) must(number(4) === 0 && number(1) === 12, "reserved bytes");
  const frameLength = number(4);
  const keys = referenceKeys(suite, dataKey, messageId);
  if (version === 2) must(take(32).equals(keys.commitment), "commitment");
  const body = message.subarray(0, at);
  const nonce = version === 1 ? take(12) : Buffer.alloc(12);
  gcmOpen(keys.messageKey, nonce, Buffer.concat([body, serializeContext(required)]), take(16));
  const headerLength = at;
  const parts: Buffer[] = [];
  const frameLengths: number[] = [];
  const open = (content: string, sequence: number, iv: Buffer, length: number): void => {
    const aad = Buffer.concat([messageId, Buffer.from(content), uint32(sequence), uint64(length)]);
    parts.push(gcmOpen(keys.messageKey, iv, aad, take(length + 16)));
  };
  if (!framed) {
    const iv = take(12);
    const length = Number(take(8).readBigUInt64BE());
    open("AWSKMSEncryptionClient Single Block", 1, iv, length);
  } else
    for (let sequence = 1, ended = false; !ended; sequence++) {
      const start = at;
      ended = message.readUInt32BE(at) === 0xffffffff;
      if (ended) take(4);
      must(number(4) === sequence, "sequence number");
      const iv = take(12);
      const length = ended ? number(4) : frameLength;
      must(length <= frameLength, "length of the final frame");
      const content = ended ? "AWSKMSEncryptionClient Final Frame" : "AWSKMSEncryptionClient Frame";
      open(content, sequence, iv, length);
      frameLengths.push(at - start);
    }
  const bodyEnd = at;
  if (suite.curve !== undefined) {
    const signature = take(number(2));
    const encoded = pairs.find(([key]) => key === "aws-crypto-public-key")?.[1] ?? "";
    const jwk = uncompressedJwk(Buffer.from(encoded, "base64"), suite.curve);
    const verify = createVerify(suite.curve === "prime256v1" ? "sha256" : "sha384");
    must(
      verify.update(message.subarray(0, bodyEnd)).verify({ format: "jwk", key: jwk }, signature),
      "signature",
    );
  }
  must(at === message.length, "trailing bytes");
  return {
    plaintext: Buffer.concat(parts),
    suite,
    messageId,
    pairs,
    frameLength,
    headerLength,
    frameLengths,
    footerLength: message.length - bodyEnd,
  };
}

function uncompressedJwk(point: Buffer, curve: "prime256v1" | "secp384r1") {
  const full = Buffer.from(
    (createECDH(curve).constructor as unknown as typeof import("node:crypto").ECDH).convertKey(
      point,
      curve,
    ) as Buffer,
  );
  const half = (full.length - 1) / 2;
  return {
    kty: "EC",
    crv: curve === "prime256v1" ? "P-256" : "P-384",
    x: full.subarray(1, 1 + half).toString("base64url"),
    y: full.subarray(1 + half).toString("base64url"),
  };
}
