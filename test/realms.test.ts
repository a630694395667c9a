// Every public entry takes bytes, objects, promises, iterables, streams, signals and errors of another realm: what a
// page under jsdom, a test runner or a plugin host hands over.
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { createContext, runInContext } from "node:vm";
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildClient, RawAesKeyringNode, RawAesWrappingSuiteIdentifier } from "../src/client-node.ts";
import {
  createDecryptStream,
  createEncryptStream,
  createEngine,
  decrypt,
  decryptFile,
  decryptWebStream,
  encrypt,
  encryptFile,
  encryptWebStream,
  inspectHeader,
  type Keyring,
  openMessage,
  RawAesKeyring,
  RawRsaKeyring,
} from "../src/index.ts";
import { KmsKeyring } from "../src/kms.ts";
import { decryptObject, deriveSseCKey, encryptObject, encryptS3Client, sseC } from "../src/s3.ts";
import { engineNames } from "./message/fixtures.ts";
import { readObject } from "./support/s3-outcome.ts";
import { S3Server } from "./support/s3-server.ts";

const realm = createContext({ setImmediate });
const there = <Value>(code: string, ...given: unknown[]): Value =>
  (runInContext(`(${code})`, realm) as (...given: unknown[]) => Value)(...given);

/** A copy of `bytes` as a Uint8Array of the other realm. */
const bytesThere = (bytes: Uint8Array): Uint8Array => there("(bytes) => Uint8Array.from(bytes)", bytes);
/** The same in pieces that come later. */
const piecesThere = (bytes: Uint8Array, length: number): AsyncIterable<Uint8Array> =>
  there(
    `async function* (bytes, length) {
      for (let at = 0; at < bytes.length; at += length) {
        await new Promise((resolve) => setImmediate(resolve));
        yield Uint8Array.from(bytes.subarray(at, at + length));
      }
    }`,
    bytes,
    length,
  );
/** A Web stream as a package makes it that has no classes in common with Node, and no iterator. */
const webStreamThere = (bytes: Uint8Array): ReadableStream<Uint8Array> =>
  there(
    `(bytes) => ({
      getReader() {
        let at = 0;
        return {
          read: async () => at >= bytes.length ? { done: true, value: undefined }
            : { done: false, value: Uint8Array.from(bytes.subarray(at, at += 100_000)) },
          cancel: async () => {},
          releaseLock() {},
        };
      },
    })`,
    bytes,
  );
/** A signal as a package of its own makes it. */
const signalThere = (): { signal: AbortSignal; abort(): void } =>
  there(
    `() => {
      const listeners = new Set();
      const signal = {
        aborted: false,
        addEventListener: (name, listener) => listeners.add(listener),
        removeEventListener: (name, listener) => listeners.delete(listener),
      };
      return { signal, abort() { signal.aborted = true; signal.reason = new Error("enough"); for (const listener of listeners) listener(); } };
    }`,
  );

const data = randomBytes(300_001);
const key = randomBytes(32);
const encryptionContext = there<Record<string, string>>('() => ({ tenant: "äöü", purpose: "test" })');
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: bytesThere(key) });
const options = { keyring, encryptionContext };

/** A keyring written in the other realm. */
const keyringThere: Keyring = there(
  `(inner) => ({
    async generateDataKey(request) {
      const { dataKey, encryptedDataKeys } = await inner.generateDataKey(request);
      return {
        dataKey: Uint8Array.from(dataKey),
        encryptedDataKeys: [...encryptedDataKeys].map(({ providerId, providerInfo, ciphertext }) =>
          ({ providerId, providerInfo: Uint8Array.from(providerInfo), ciphertext: Uint8Array.from(ciphertext) })),
      };
    },
    wrapDataKey: async (dataKey, request) => inner.wrapDataKey(Uint8Array.from(dataKey), request),
    async unwrapDataKey(keys, request) {
      const dataKey = await inner.unwrapDataKey(keys, request);
      return dataKey === null ? null : Uint8Array.from(dataKey);
    },
  })`,
  keyring,
);

describe("the library", () => {
  test.each(engineNames)("bytes, engine %s", async (engine) => {
    const message = await encrypt(bytesThere(data), { ...options, engine });
    const opened = await decrypt(bytesThere(message), { ...options, engine });
    expect(opened.plaintext.equals(data)).toBe(true);
    expect(opened.header.encryptionContext).toMatchObject({ tenant: "äöü" });
    expect(inspectHeader(bytesThere(message)).messageId).toEqual(opened.header.messageId);
  });
  test.each(engineNames)("keys and frames, engine %s", (name) => {
    const aead = createEngine(name).createKey(bytesThere(key));
    const parts = [12, 8, 5000].map((length) => bytesThere(randomBytes(length)));
    const [nonce, aad, plaintext] = parts as [Uint8Array, Uint8Array, Uint8Array];
    const sealed = bytesThere(aead.seal(nonce, aad, plaintext));
    expect(Buffer.from(aead.open(nonce, aad, sealed) ?? []).equals(Buffer.from(plaintext))).toBe(true);
    expect(aead.open(nonce, bytesThere(Buffer.alloc(8)), sealed)).toBe(null);
    const prefix = bytesThere(randomBytes(20));
    const cipher = aead.frameCipher({ frameLength: 1000, regularAadPrefix: prefix, finalAadPrefix: prefix });
    const run = bytesThere(cipher.seal([plaintext], 1, 4, 1000, 0));
    const opened = cipher.open([run.subarray(0, 777), run.subarray(777)], 1, 4, 1000);
    expect(opened.verifiedCount).toBe(5);
    expect(Buffer.from(opened.plaintext).equals(Buffer.from(plaintext))).toBe(true);
    aead.dispose();
  });
  test("async iterables", async () => {
    const message = await encrypt(piecesThere(data, 70_000), options);
    const opened = await decrypt(piecesThere(message, 70_000), options);
    expect(opened.plaintext.equals(data)).toBe(true);
  });
  test("a keyring", async () => {
    const message = await encrypt(data, { ...options, keyring: keyringThere });
    const opened = await decrypt(message, { ...options, keyring: keyringThere });
    expect(opened.plaintext.equals(data)).toBe(true);
  });
  test("errors of another copy keep their code", async () => {
    const failing: Keyring = there(
      `() => {
        const fail = async () => {
          throw Object.assign(new Error("gone"), { name: "FramesealError", code: "KEY_SERVICE" });
        };
        return { generateDataKey: fail, wrapDataKey: fail, unwrapDataKey: fail };
      }`,
    );
    await expect(encrypt(data, { keyring: failing })).rejects.toMatchObject({ code: "KEY_SERVICE" });
    const message = await encrypt(data, { keyring });
    await expect(decrypt(message, { keyring: failing })).rejects.toMatchObject({ code: "KEY_SERVICE" });
  });
  test("RSA keys", async () => {
    const pair = generateKeyPairSync("rsa", {
      modulusLength: 2048,
      publicKeyEncoding: { type: "spki", format: "pem" },
      privateKeyEncoding: { type: "pkcs8", format: "pem" },
    });
    const rsa = new RawRsaKeyring({
      keyNamespace: "n",
      keyName: "k",
      publicKey: bytesThere(Buffer.from(pair.publicKey)),
      privateKey: bytesThere(Buffer.from(pair.privateKey)),
      padding: "OAEP-SHA-256",
    });
    const message = await encrypt(data, { keyring: rsa });
    expect((await decrypt(message, { keyring: rsa })).plaintext.equals(data)).toBe(true);
  });
});

describe("signals", () => {
  const silent = (): Keyring => ({
    ...keyringThere,
    generateDataKey: () => new Promise(() => {}),
    unwrapDataKey: () => new Promise(() => {}),
  });
  test("aborted before", async () => {
    const { signal, abort } = signalThere();
    abort();
    await expect(encrypt(data, { ...options, signal })).rejects.toMatchObject({
      code: "ABORTED",
      cause: { message: "enough" },
    });
  });
  test("aborted while a stream works", async () => {
    const { signal, abort } = signalThere();
    const stream = createEncryptStream({ keyring: silent(), signal });
    const failed = new Promise((resolve) => stream.once("error", resolve));
    abort();
    expect(await failed).toMatchObject({ code: "ABORTED" });
  });
  test("what is none is refused", async () => {
    for (const signal of [{}, "x", new EventTarget()])
      await expect(encrypt(data, { ...options, signal: signal as AbortSignal })).rejects.toThrow(
        /^"signal" expected an AbortSignal/,
      );
  });
});

describe("streams", () => {
  test("bytes that are written, chunks that are given back", async () => {
    const encryptor = createEncryptStream(options);
    const decryptor = createDecryptStream(options);
    encryptor.pipe(decryptor);
    for (let at = 0; at < data.length; at += 9999) encryptor.write(bytesThere(data.subarray(at, at + 9999)));
    encryptor.end();
    const parts: Buffer[] = [];
    for await (const chunk of decryptor) {
      parts.push(Buffer.from(chunk));
      decryptor.recycle(chunk);
    }
    expect(Buffer.concat(parts).equals(data)).toBe(true);
    expect(() => encryptor.recycle(bytesThere(data))).not.toThrow();
  });
  test("Web streams", async () => {
    const encryptor = encryptWebStream(options);
    const written = (async () => {
      const writer = encryptor.writable.getWriter();
      await writer.write(bytesThere(data));
      await writer.close();
    })();
    const opened = encryptor.readable.pipeThrough(decryptWebStream(options));
    const parts: Uint8Array[] = [];
    for await (const chunk of opened) parts.push(chunk);
    await written;
    expect(Buffer.concat(parts).equals(data)).toBe(true);
  });
});

describe("files and readers", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), "frameseal-realms-"));
    writeFileSync(path.join(folder, "plain"), data);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test("files", async () => {
    const at = (name: string): string => path.join(folder, name);
    const { signal } = signalThere();
    await encryptFile(at("plain"), at("sealed"), { keyring: keyringThere, encryptionContext, signal });
    await decryptFile(at("sealed"), at("opened"), { keyring: keyringThere, encryptionContext, signal });
    expect(readFileSync(at("opened")).equals(data)).toBe(true);
  });
  test("readers of bytes and of a source", async () => {
    const message = await encrypt(data, options);
    const source = there<Parameters<typeof openMessage>[0]>(
      "(bytes) => ({ size: bytes.length, read: async (start, end) => Uint8Array.from(bytes.subarray(start, end)) })",
      message,
    );
    for (const from of [bytesThere(message), source]) {
      const reader = await openMessage(from, options);
      expect((await reader.read(5, 200_000)).equals(data.subarray(5, 200_000))).toBe(true);
      await reader.close();
    }
  });
});

describe("objects in S3", () => {
  const location = { bucket: "bucket", key: "key" };
  let server: S3Server;
  beforeAll(async () => {
    server = await S3Server.start();
    await server.client().send(new CreateBucketCommand({ Bucket: "bucket" }));
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  test.each(["framed", "s3ec-v3"] as const)("without a client, %s", async (format) => {
    const object = await encryptObject(location, bytesThere(data), { keyring, format });
    const metadata = there<Record<string, string>>("(given) => ({ ...given })", object.metadata);
    const opened = await decryptObject(location, { body: bytesThere(object.body), metadata }, { keyring });
    expect(Buffer.from(opened.body).equals(data)).toBe(true);
  });
  test("bodies", async () => {
    const client = encryptS3Client(server.client(), { keyring, partSize: 5 * 2 ** 20 });
    const long = randomBytes(6 * 2 ** 20);
    const bodies: readonly (readonly [unknown, Buffer])[] = [
      [bytesThere(data), data],
      [there("(bytes) => Uint8Array.from(bytes).buffer", data), data],
      [piecesThere(data, 70_000), data],
      [piecesThere(long, 1_000_000), long],
      [webStreamThere(data), data],
      [there("(stream) => ({ size: 300001, slice() {}, stream: () => stream })", webStreamThere(data)), data],
    ];
    for (const [body, expected] of bodies) {
      const command = new PutObjectCommand({
        Bucket: "bucket",
        Key: "key",
        Body: body as Uint8Array,
        Metadata: there<Record<string, string>>('() => ({ kind: "foreign" })'),
      });
      await client.send(command);
      expect((await readObject(client, { Bucket: "bucket", Key: "key" })).equals(expected)).toBe(true);
    }
  });
  test("signals", async () => {
    const client = encryptS3Client(server.client(), { keyring });
    const { signal, abort } = signalThere();
    const command = new PutObjectCommand({ Bucket: "bucket", Key: "key", Body: data });
    await client.send(command, { abortSignal: signal });
    abort();
    await expect(client.send(command, { abortSignal: signal })).rejects.toMatchObject({
      name: expect.stringMatching(/AbortError|FramesealError/),
    });
    const get = new GetObjectCommand({ Bucket: "bucket", Key: "key" });
    await expect(client.send(get, { abortSignal: { aborted: false } as AbortSignal })).rejects.toThrow(
      /^"abortSignal" expected an AbortSignal/,
    );
  });
  test("keys of the customer", () => {
    const options = (from: (bytes: Uint8Array) => Uint8Array): Parameters<typeof deriveSseCKey>[0] => ({
      masterKey: from(key),
      masterKeyVersion: 1,
      bucket: "bucket",
      key: "key",
      salt: from(Buffer.alloc(16, 1)),
    });
    const { SSECustomerKeyMD5 } = deriveSseCKey(options(bytesThere));
    expect(SSECustomerKeyMD5).toBe(deriveSseCKey(options((bytes) => bytes)).SSECustomerKeyMD5);
    expect(() => sseC(bytesThere(key))).not.toThrow();
  });
});

test("AWS KMS", async () => {
  const arn = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-4000-8000-000000000000";
  const client = {
    async send() {
      return there(
        "(bytes, arn) => ({ Plaintext: Uint8Array.from(bytes), CiphertextBlob: Uint8Array.from([1, 2]), KeyId: arn })",
        key,
        arn,
      );
    },
  };
  const kms = new KmsKeyring({ client: client as never, generatorKeyId: arn });
  const message = await encrypt(data, { keyring: kms });
  expect((await decrypt(message, { keyring: kms })).plaintext.equals(data)).toBe(true);
});

test("the interface of the AWS Encryption SDK", async () => {
  const { encrypt: seal, decrypt: open, encryptStream } = buildClient();
  const raw = new RawAesKeyringNode({
    keyNamespace: "n",
    keyName: "k",
    unencryptedMasterKey: bytesThere(key),
    wrappingSuite: RawAesWrappingSuiteIdentifier.AES256_GCM_IV12_TAG16_NO_PADDING,
  });
  const { result } = await seal(raw, bytesThere(data), { encryptionContext });
  expect(Buffer.from((await open(raw, bytesThere(result))).plaintext).equals(data)).toBe(true);
  expect((await open(raw, piecesThere(result, 50_000) as never)).plaintext).toEqual(data);
  const stream = encryptStream(raw);
  stream.end(bytesThere(Buffer.from("text")));
  expect(await text(stream)).not.toBe("");
});
