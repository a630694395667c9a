// Every option of "frameseal", "frameseal/kms" and "frameseal/testing" has an effect, and every wrong value is refused at
// once. What there is comes from the types: a function with options, or an option, that has no row here is red.
// "frameseal/client-node" and "frameseal/s3" have the same in test/compat/options.test.ts and test/s3/options.test.ts.
import { createCipheriv, generateKeyPairSync, randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { buffer } from "node:stream/consumers";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { nodeEngine } from "../src/engine/node/engine.ts";
import { suiteById } from "../src/format/suite.ts";
import {
  CachingKeyring,
  ciphertextLength,
  createDecryptStream,
  createEncryptStream,
  type DecryptOptions,
  decrypt,
  decryptFile,
  decryptWebStream,
  type EncryptOptions,
  type Engine,
  encrypt,
  encryptFile,
  encryptWebStream,
  type FrameTransform,
  inspectFile,
  inspectHeader,
  type Keyring,
  keyringFromKeyFile,
  MultiKeyring,
  openMessage,
  plaintextLength,
  prepareMessage,
  RawAesKeyring,
  RawRsaKeyring,
  verifyFile,
  writeAesKeyFile,
  writeRsaKeyFiles,
} from "../src/index.ts";
import { rawAesInfoPrefix } from "../src/keyring/raw-aes-info.ts";
import { KmsKeyring } from "../src/kms.ts";
import { encryptObject } from "../src/s3.ts";
import { checkKeyring } from "../src/testing.ts";
import { nonFramedMessage } from "./support/non-framed.ts";
import { publicParameters } from "./support/public-options.ts";
import { outcomeOf } from "./support/s3-outcome.ts";
import { describeTaker, refusalOf, type Taker } from "./support/wrong-options.ts";

const plaintext = randomBytes(10_000);
const wrappingKey = randomBytes(32);
const aes = (keyName: string, secret: Uint8Array = randomBytes(32)): RawAesKeyring =>
  new RawAesKeyring({ keyNamespace: "n", keyName, wrappingKey: secret });
const keyring = aes("k", wrappingKey);
const other = aes("other");
const both = new MultiKeyring({ generator: keyring, children: [other] });
const pair = generateKeyPairSync("rsa", {
  modulusLength: 2048,
  publicKeyEncoding: { type: "spki", format: "pem" },
  privateKeyEncoding: { type: "pkcs8", format: "pem" },
});

const folder = mkdtempSync(path.join(tmpdir(), "frameseal-options-"));
const at = (name: string): string => path.join(folder, name);
let names = 0;
const fresh = (): string => at(`file-${++names}`);
beforeAll(() => writeFileSync(at("plain"), plaintext));
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(() => {
  vi.useRealTimers();
});

/** An engine that tells what was asked of it. */
function watchedEngine(): {
  readonly engine: Engine;
  readonly keys: () => number;
  readonly threads: number[];
} {
  let keys = 0;
  const threads: number[] = [];
  const engine: Engine = {
    ...nodeEngine,
    createKey(rawKey) {
      keys += 1;
      const key = nodeEngine.createKey(rawKey);
      return {
        seal: (...args) => key.seal(...args),
        open: (...args) => key.open(...args),
        startSeal: (...args) => key.startSeal(...args),
        startOpen: (...args) => key.startOpen(...args),
        dispose: () => key.dispose(),
        frameCipher(format, count = 1) {
          threads.push(count);
          return key.frameCipher(format, 1);
        },
      };
    },
  };
  return { engine, keys: () => keys, threads };
}

const abortedSignal = (): AbortSignal => AbortSignal.abort(new Error("enough"));
const weak = { commitmentPolicy: "FORBID_ENCRYPT_ALLOW_DECRYPT" } as const;
type Seal = (options: EncryptOptions) => Promise<Buffer>;
/** Resolves when all of the message was opened. */
type Open = (message: Buffer, options: DecryptOptions) => Promise<unknown>;

async function throughStream(stream: FrameTransform, input: Uint8Array): Promise<Buffer> {
  const output = buffer(stream);
  stream.end(input);
  return output;
}
async function throughWebStream(
  stream: ReturnType<typeof encryptWebStream>,
  input: Uint8Array,
): Promise<Buffer> {
  const writer = stream.writable.getWriter();
  const written = writer.write(input).then(() => writer.close());
  written.catch(() => {});
  return buffer(stream.readable);
}
const sealers: Readonly<Record<string, Seal>> = {
  encrypt: (options) => encrypt(plaintext, options),
  createEncryptStream: async (options) => throughStream(createEncryptStream(options), plaintext),
  prepareMessage: async (options) =>
    throughStream((await prepareMessage(options)).createEncryptStream(), plaintext),
  encryptWebStream: async (options) => throughWebStream(encryptWebStream(options), plaintext),
  encryptFile: async (options) => {
    const to = fresh();
    await encryptFile(at("plain"), to, options);
    return readFileSync(to);
  },
};
const inFile = (message: Buffer): string => {
  const from = fresh();
  writeFileSync(from, message);
  return from;
};
const openers: Readonly<Record<string, Open>> = {
  decrypt: (message, options) => decrypt(message, options),
  createDecryptStream: async (message, options) => throughStream(createDecryptStream(options), message),
  decryptWebStream: async (message, options) => throughWebStream(decryptWebStream(options), message),
  decryptFile: (message, options) => decryptFile(inFile(message), fresh(), options),
  verifyFile: (message, options) => verifyFile(inFile(message), options),
  openMessage: async (message, options) => {
    const reader = await openMessage(message, options as never);
    await reader.read();
    await reader.close();
  },
};

/** The options of all ways to write a message. */
const sealEffects: Readonly<Record<keyof EncryptOptions, (seal: Seal) => Promise<void>>> = {
  keyring: async (seal) => {
    const message = await seal({ keyring: other });
    expect((await decrypt(message, { keyring: other })).plaintext.equals(plaintext)).toBe(true);
    expect(await outcomeOf(decrypt(message, { keyring }))).toBe("NO_DATA_KEY");
  },
  encryptionContext: async (seal) => {
    const message = await seal({ keyring, encryptionContext: { tenant: "a" } });
    expect(inspectHeader(message).encryptionContext).toEqual({ tenant: "a" });
  },
  requiredEncryptionContextKeys: async (seal) => {
    const encryptionContext = { tenant: "canary", stored: "b" };
    const message = await seal({ keyring, encryptionContext, requiredEncryptionContextKeys: ["tenant"] });
    expect(inspectHeader(message).encryptionContext).toEqual({ stored: "b" });
    expect(await outcomeOf(decrypt(message, { keyring, encryptionContext }))).toBe("accepted");
  },
  suite: async (seal) => expect(inspectHeader(await seal({ keyring, suite: 0x0578 })).suite.id).toBe(0x0578),
  frameLength: async (seal) =>
    expect(inspectHeader(await seal({ keyring, frameLength: 1024 })).frameLength).toBe(1024),
  commitmentPolicy: async (seal) =>
    expect(inspectHeader(await seal({ keyring, ...weak })).suite.id).toBe(0x0178),
  engine: async (seal) => {
    const { engine, keys } = watchedEngine();
    await seal({ keyring, engine });
    const before = keys();
    await seal({ keyring, engine });
    expect(keys()).toBeGreaterThan(before);
  },
  concurrency: async (seal) => {
    const { engine, threads } = watchedEngine();
    await seal({ keyring, engine, concurrency: 7 });
    expect(threads.at(-1)).toBe(7);
  },
  maxEncryptedDataKeys: async (seal) => {
    expect(await outcomeOf(seal({ keyring: both, maxEncryptedDataKeys: 1 }))).toBe("LIMIT_EXCEEDED");
    expect(await outcomeOf(seal({ keyring: both }))).toBe("accepted");
  },
  maxFrameLength: async (seal) =>
    expect(await outcomeOf(seal({ keyring, frameLength: 2048, maxFrameLength: 1024 }))).toBe("RangeError"),
  plaintextLength: async (seal) => {
    expect(await outcomeOf(seal({ keyring, plaintextLength: plaintext.length - 1 }))).toBe("LIMIT_EXCEEDED");
    expect(await outcomeOf(seal({ keyring, plaintextLength: plaintext.length }))).toBe("accepted");
  },
  signal: async (seal) => expect(await outcomeOf(seal({ keyring, signal: abortedSignal() }))).toBe("ABORTED"),
};

/** The options of all ways to read one. */
const openEffects: Readonly<Record<keyof DecryptOptions, (open: Open) => Promise<void>>> = {
  keyring: async (open) => {
    const message = await encrypt(plaintext, { keyring: other });
    expect(await outcomeOf(open(message, { keyring }))).toBe("NO_DATA_KEY");
    expect(await outcomeOf(open(message, { keyring: other }))).toBe("accepted");
  },
  encryptionContext: async (open) => {
    const message = await encrypt(plaintext, { keyring, encryptionContext: { tenant: "a" } });
    expect(await outcomeOf(open(message, { keyring, encryptionContext: { tenant: "b" } }))).toBe(
      "CONTEXT_MISMATCH",
    );
    expect(await outcomeOf(open(message, { keyring, encryptionContext: { tenant: "a" } }))).toBe("accepted");
  },
  commitmentPolicy: async (open) => {
    const message = await encrypt(plaintext, { keyring, ...weak });
    expect(await outcomeOf(open(message, { keyring }))).toBe("POLICY");
    expect(await outcomeOf(open(message, { keyring, ...weak }))).toBe("accepted");
  },
  signedMessages: async (open) => {
    const message = await encrypt(plaintext, { keyring, suite: 0x0578 });
    expect(await outcomeOf(open(message, { keyring, signedMessages: "refuse" }))).toBe("POLICY");
  },
  engine: async (open) => {
    const { engine, keys } = watchedEngine();
    const message = await encrypt(plaintext, { keyring });
    await open(message, { keyring, engine });
    const before = keys();
    await open(message, { keyring, engine });
    expect(keys()).toBeGreaterThan(before);
  },
  concurrency: async (open) => {
    const { engine, threads } = watchedEngine();
    await open(await encrypt(plaintext, { keyring }), { keyring, engine, concurrency: 7 });
    expect(threads.at(-1)).toBe(7);
  },
  plaintextLength: async (open) => {
    const message = await encrypt(plaintext, { keyring });
    expect(await outcomeOf(open(message, { keyring, plaintextLength: 9999 }))).toBe("LIMIT_EXCEEDED");
    expect(await outcomeOf(open(message, { keyring, plaintextLength: 10_000 }))).toBe("accepted");
  },
  signal: async (open) => {
    const message = await encrypt(plaintext, { keyring });
    expect(await outcomeOf(open(message, { keyring, signal: abortedSignal() }))).toBe("ABORTED");
  },
  maxEncryptedDataKeys: async (open) => {
    const message = await encrypt(plaintext, { keyring: both });
    expect(await outcomeOf(open(message, { keyring, maxEncryptedDataKeys: 1 }))).toBe("LIMIT_EXCEEDED");
    expect(await outcomeOf(open(message, { keyring }))).toBe("accepted");
  },
  maxHeaderLength: async (open) => {
    const message = await encrypt(plaintext, { keyring });
    expect(await outcomeOf(open(message, { keyring, maxHeaderLength: 20 }))).toBe("LIMIT_EXCEEDED");
  },
  maxFrameLength: async (open) => {
    const message = await encrypt(plaintext, { keyring });
    expect(await outcomeOf(open(message, { keyring, maxFrameLength: 65_535 }))).toBe("LIMIT_EXCEEDED");
  },
  maxNonFramedLength: async (open) => {
    const message = await nonFramedMessage(keyring, plaintext);
    expect(await outcomeOf(open(message, { keyring, maxNonFramedLength: 9999 }))).toBe("LIMIT_EXCEEDED");
    expect(await outcomeOf(open(message, { keyring, maxNonFramedLength: 10_000 }))).toBe("accepted");
  },
};

type Effects = Record<string, () => Promise<void>>;
function sealEffectsOf(callee: string): Effects {
  const seal = sealers[callee] as Seal;
  return Object.fromEntries(Object.entries(sealEffects).map(([name, show]) => [name, () => show(seal)]));
}
function openEffectsOf(callee: string, ...without: readonly string[]): Effects {
  const open = openers[callee] as Open;
  return Object.fromEntries(
    Object.entries(openEffects)
      .filter(([name]) => !without.includes(name))
      .map(([name, show]) => [name, () => show(open)]),
  );
}

/** Of the streams of Node. */
const streamEffects = (create: (options: object) => FrameTransform): Effects => ({
  highWaterMark: async () => {
    const stream = create({ highWaterMark: 12_345 });
    expect([stream.readableHighWaterMark, stream.writableHighWaterMark]).toEqual([12_345, 12_345]);
    stream.destroy();
  },
});

/** Of what is written to files. */
const fileEffects = (write: (to: string, options: object) => Promise<unknown>): Effects => ({
  overwrite: async () => {
    const to = inFile(Buffer.from("old"));
    expect(await outcomeOf(write(to, {}))).toBe("EEXIST");
    expect(readFileSync(to, "utf8")).toBe("old");
    await write(to, { overwrite: "replace" });
    expect(readFileSync(to, "utf8")).not.toBe("old");
  },
  sync: async () => {
    expect(await write(fresh(), { sync: "none" })).toMatchObject({ durability: "not-synced" });
    expect(await write(fresh(), {})).toMatchObject({ durability: "synced" });
  },
  mode: async () => {
    for (const mode of [0o640, 0o600]) {
      const to = fresh();
      await write(to, { mode });
      expect(statSync(to).mode & 0o777).toBe(mode);
    }
  },
  ...progressEffect((options) => write(fresh(), options)),
});
const progressEffect = (work: (options: object) => Promise<unknown>): Effects => ({
  onProgress: async () => {
    const told: number[] = [];
    await work({ onProgress: (done: number) => told.push(done) });
    expect(told.at(-1)).toBeGreaterThan(0);
  },
});

/** Of what is read without a key. */
const limitEffects = (inspect: (message: Buffer, options: object) => Promise<unknown>): Effects => {
  const refused = async (message: Buffer, limit: object): Promise<void> => {
    expect(await outcomeOf(inspect(message, limit))).toBe("LIMIT_EXCEEDED");
    expect(await outcomeOf(inspect(message, {}))).toBe("accepted");
  };
  return {
    maxEncryptedDataKeys: async () =>
      refused(await encrypt(plaintext, { keyring: both }), { maxEncryptedDataKeys: 1 }),
    maxHeaderLength: async () => refused(await encrypt(plaintext, { keyring }), { maxHeaderLength: 20 }),
    maxFrameLength: async () => refused(await encrypt(plaintext, { keyring }), { maxFrameLength: 65_535 }),
  };
};

let message: Buffer;
let sealedFile: string;
beforeAll(async () => {
  message = await encrypt(plaintext, { keyring });
  sealedFile = inFile(message);
});
const request = {
  suite: suiteById(0x0478),
  commitmentPolicy: "REQUIRE_ENCRYPT_REQUIRE_DECRYPT",
  encryptionContext: {},
} as const;
const entryOf = async (from: Keyring) => (await from.generateDataKey(request)).encryptedDataKeys[0];
/** The description beside an object that `from` wraps. */
async function descriptionOf(from: Keyring): Promise<unknown> {
  const { metadata } = await encryptObject({ bucket: "b", key: "k" }, plaintext, {
    keyring: from,
    format: "s3ec-v3",
  });
  return JSON.parse(metadata["x-amz-m"] ?? metadata["x-amz-matdesc"] ?? "null");
}

/** Counts what is asked of a keyring. */
function counted(): { readonly keyring: Keyring; readonly made: () => number } {
  let count = 0;
  const counting: Keyring = {
    generateDataKey: (asked) => {
      count += 1;
      return keyring.generateDataKey(asked);
    },
    wrapDataKey: (dataKey, asked) => keyring.wrapDataKey(dataKey, asked),
    unwrapDataKey: (keys, asked) => keyring.unwrapDataKey(keys, asked),
  };
  return { keyring: counting, made: () => count };
}
async function keysMade(options: object, messages: readonly Uint8Array[] = [plaintext]): Promise<number> {
  const { keyring: behind, made } = counted();
  const caching = new CachingKeyring({ keyring: behind, maxAgeMs: 60_000, ...options });
  for (const each of messages) await encrypt(each, { keyring: caching });
  caching.clear();
  return made();
}

const ARN = "arn:aws:kms:us-east-1:111122223333:key/mrk-00000000000000000000000000000000";
const ARN_ELSEWHERE = ARN.replace("us-east-1", "us-west-2");
const ARN_2 = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-4000-8000-000000000000";
/** A client that answers, and remembers what it was asked. */
function fakeKms() {
  const asked: Record<string, unknown>[] = [];
  const send = async ({ input }: { readonly input: Record<string, unknown> }): Promise<object> => {
    asked.push(input);
    return { Plaintext: Uint8Array.from(wrappingKey), CiphertextBlob: Uint8Array.of(1), KeyId: input.KeyId };
  };
  return { asked, client: { send } as never };
}
async function kmsAsks(options: object, opens?: string): Promise<readonly Record<string, unknown>[]> {
  const { asked, client } = fakeKms();
  const kms = new KmsKeyring({ client, ...options } as never);
  const entry = (keyArn: string) => ({
    providerId: "aws-kms",
    providerInfo: Buffer.from(keyArn),
    ciphertext: Uint8Array.of(1),
  });
  if (opens === undefined) await kms.generateDataKey(request);
  else await kms.unwrapDataKey([entry(opens)], request);
  return asked;
}
const filter = { partition: "aws", accountIds: ["111122223333"] };

const readsOf = async (options: object): Promise<number> => {
  let reads = 0;
  const source = {
    size: message.length,
    read: async (start: number, end: number) => {
      reads += 1;
      return message.subarray(start, end);
    },
  };
  const reader = await openMessage(source, { keyring, ...options });
  const before = reads;
  await reader.read(0, 10);
  await reader.read(0, 10);
  await reader.close();
  return reads - before;
};
const readerOf = () => openMessage(message, { keyring });

const lengthOptions = { headerLength: 100 };
const lengthEffects = (lengthOf: (options: object) => number): Effects => ({
  headerLength: async () => expect(lengthOf({ headerLength: 200 })).not.toBe(lengthOf({})),
  frameLength: async () => expect(lengthOf({ frameLength: 16 })).not.toBe(lengthOf({})),
  suite: async () => expect(lengthOf({ suite: 0x0578 })).not.toBe(lengthOf({})),
});

const rsa = (options: object): RawRsaKeyring =>
  new RawRsaKeyring({
    keyNamespace: "n",
    keyName: "k",
    publicKey: pair.publicKey,
    padding: "OAEP-SHA-256",
    ...options,
  });
const subject = { writer: () => keyring };
const unboundSubject = { writer: () => rsa({ privateKey: pair.privateKey }) };

/** The functions that take options, by their names. */
const takers: Readonly<Record<string, Taker>> = {
  encrypt: {
    call: (options) => encrypt(plaintext, { keyring, ...options }),
    bare: (options) => encrypt(plaintext, options),
    refuses: "rejects",
    needed: ["keyring"],
    effects: sealEffectsOf("encrypt"),
  },
  createEncryptStream: {
    call: (options) => createEncryptStream({ keyring, ...options }),
    bare: (options) => createEncryptStream(options),
    refuses: "throws",
    needed: ["keyring"],
    effects: {
      ...sealEffectsOf("createEncryptStream"),
      ...streamEffects((options) => createEncryptStream({ keyring, ...options })),
    },
  },
  prepareMessage: {
    call: async (options) => (await prepareMessage({ keyring, ...options })).dispose(),
    bare: (options) => prepareMessage(options),
    refuses: "rejects",
    needed: ["keyring"],
    effects: {
      ...sealEffectsOf("prepareMessage"),
      highWaterMark: async () => {
        const prepared = await prepareMessage({ keyring, highWaterMark: 12_345 });
        const stream = prepared.createEncryptStream();
        expect(stream.readableHighWaterMark).toBe(12_345);
        stream.destroy();
      },
    },
  },
  encryptWebStream: {
    call: (options) => void encryptWebStream({ keyring, ...options }),
    bare: (options) => encryptWebStream(options),
    refuses: "throws",
    needed: ["keyring"],
    effects: sealEffectsOf("encryptWebStream"),
  },
  encryptFile: {
    call: (options) => encryptFile(at("plain"), fresh(), { keyring, ...options }),
    bare: (options) => encryptFile(at("plain"), fresh(), options),
    refuses: "rejects",
    needed: ["keyring"],
    effects: {
      ...sealEffectsOf("encryptFile"),
      ...fileEffects((to, options) => encryptFile(at("plain"), to, { keyring, ...options })),
    },
  },
  decrypt: {
    call: (options) => decrypt(message, { keyring, ...options }),
    bare: (options) => decrypt(message, options),
    refuses: "rejects",
    needed: ["keyring"],
    effects: openEffectsOf("decrypt"),
  },
  createDecryptStream: {
    call: (options) => createDecryptStream({ keyring, ...options }),
    bare: (options) => createDecryptStream(options),
    refuses: "throws",
    needed: ["keyring"],
    effects: {
      ...openEffectsOf("createDecryptStream"),
      ...streamEffects((options) => createDecryptStream({ keyring, ...options })),
    },
  },
  decryptWebStream: {
    call: (options) => void decryptWebStream({ keyring, ...options }),
    bare: (options) => decryptWebStream(options),
    refuses: "throws",
    needed: ["keyring"],
    effects: openEffectsOf("decryptWebStream"),
  },
  decryptFile: {
    call: (options) => decryptFile(sealedFile, fresh(), { keyring, ...options }),
    bare: (options) => decryptFile(sealedFile, fresh(), options),
    refuses: "rejects",
    needed: ["keyring"],
    effects: {
      ...openEffectsOf("decryptFile"),
      ...fileEffects((to, options) => decryptFile(sealedFile, to, { keyring, ...options })),
    },
  },
  verifyFile: {
    call: (options) => verifyFile(sealedFile, { keyring, ...options }),
    bare: (options) => verifyFile(sealedFile, options),
    refuses: "rejects",
    needed: ["keyring"],
    effects: {
      ...openEffectsOf("verifyFile"),
      ...progressEffect((options) => verifyFile(sealedFile, { keyring, ...options })),
    },
  },
  inspectFile: {
    call: (options) => inspectFile(sealedFile, options),
    bare: (options) => inspectFile(sealedFile, options),
    refuses: "rejects",
    effects: {
      ...limitEffects((bytes, options) => inspectFile(inFile(bytes), options)),
      signal: async () =>
        expect(await outcomeOf(inspectFile(sealedFile, { signal: abortedSignal() }))).toBe("ABORTED"),
    },
  },
  inspectHeader: {
    call: (options) => inspectHeader(message, options),
    bare: (options) => inspectHeader(message, options),
    refuses: "throws",
    effects: limitEffects(async (bytes, options) => inspectHeader(bytes, options)),
  },
  openMessage: {
    call: async (options) => (await openMessage(message, { keyring, ...options })).close(),
    bare: (options) => openMessage(message, options),
    refuses: "rejects",
    needed: ["keyring"],
    effects: {
      ...openEffectsOf("openMessage", "signedMessages", "maxNonFramedLength"),
      signedMessages: async () => {
        const signed = await encrypt(plaintext, { keyring, suite: 0x0578 });
        const unverified = { keyring, signedMessages: "unverified" } as const;
        expect(await outcomeOf(openMessage(signed, { keyring }))).toBe("POLICY");
        expect(await outcomeOf(openMessage(signed, unverified))).toBe("accepted");
      },
      cacheLength: async () => {
        expect(await readsOf({})).toBe(2);
        expect(await readsOf({ cacheLength: 100_000 })).toBe(1);
      },
    },
  },
  "MessageReader.read": {
    call: async (options) => (await readerOf()).read(0, 10, options),
    bare: async (options) => (await readerOf()).read(0, 10, options),
    refuses: "rejects",
    effects: {
      signal: async () => {
        const reader = await readerOf();
        expect(await outcomeOf(reader.read(0, 10, { signal: abortedSignal() }))).toBe("ABORTED");
      },
    },
  },
  "MessageReader.createReadStream": {
    call: async (options) => (await readerOf()).createReadStream(options).destroy(),
    bare: async (options) => (await readerOf()).createReadStream(options).destroy(),
    refuses: "rejects", // since the reader is awaited here
    effects: {
      start: async () =>
        expect((await buffer((await readerOf()).createReadStream({ start: 9000 }))).length).toBe(1000),
      end: async () =>
        expect((await buffer((await readerOf()).createReadStream({ end: 99 }))).length).toBe(100),
      signal: async () => {
        const stream = (await readerOf()).createReadStream({ signal: abortedSignal() });
        expect(await outcomeOf(buffer(stream))).toBe("ABORTED");
      },
    },
  },
  ciphertextLength: {
    call: (options) => ciphertextLength(10_000, { ...lengthOptions, ...options }),
    bare: (options) => ciphertextLength(10_000, options),
    refuses: "throws",
    needed: ["headerLength"],
    effects: lengthEffects((options) => ciphertextLength(10_000, { ...lengthOptions, ...options })),
  },
  plaintextLength: {
    call: (options) =>
      plaintextLength(ciphertextLength(10_000, lengthOptions), { ...lengthOptions, ...options }),
    bare: (options) => plaintextLength(10_000, options),
    refuses: "throws",
    needed: ["headerLength"],
    effects: lengthEffects((options) => {
      const length = ciphertextLength(10_000, { ...lengthOptions, frameLength: 16 });
      return plaintextLength(length, { ...lengthOptions, frameLength: 64, ...options });
    }),
  },
  "new RawAesKeyring": {
    call: (options) => new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey, ...options }),
    bare: (options) => new RawAesKeyring(options),
    refuses: "throws",
    needed: ["keyNamespace", "keyName", "wrappingKey"],
    effects: {
      keyNamespace: async () =>
        expect(
          await entryOf(new RawAesKeyring({ keyNamespace: "of mine", keyName: "k", wrappingKey })),
        ).toMatchObject({ providerId: "of mine" }),
      keyName: async () =>
        expect(Buffer.from((await entryOf(aes("of mine")))?.providerInfo ?? []).toString()).toContain(
          "of mine",
        ),
      wrappingKey: async () =>
        expect(await outcomeOf(decrypt(message, { keyring: aes("k") }))).toBe("NO_DATA_KEY"),
      materialDescription: async () => {
        const described = {
          keyNamespace: "n",
          keyName: "k",
          wrappingKey,
          materialDescription: { of: "mine" },
        };
        expect(await descriptionOf(new RawAesKeyring(described))).toEqual({ of: "mine" });
      },
      localeSortedContext: async () => {
        // Bytes order B before b, locales b before B.
        const encryptionContext = { B: "1", b: "2" };
        const field = (text: string): Buffer => Buffer.concat([Buffer.of(0, text.length), Buffer.from(text)]);
        const aad = Buffer.concat([Buffer.of(0, 2), ...["b", "2", "B", "1"].map(field)]);
        const nonce = randomBytes(12);
        const cipher = createCipheriv("aes-256-gcm", wrappingKey, nonce).setAAD(aad);
        const ciphertext = Buffer.concat([
          cipher.update(randomBytes(32)),
          cipher.final(),
          cipher.getAuthTag(),
        ]);
        const providerInfo = Buffer.concat([rawAesInfoPrefix("k"), nonce]);
        const opened = (localeSortedContext: "accept" | undefined) =>
          new RawAesKeyring({
            keyNamespace: "n",
            keyName: "k",
            wrappingKey,
            localeSortedContext,
          }).unwrapDataKey([{ providerId: "n", providerInfo, ciphertext }], {
            ...request,
            encryptionContext,
          });
        expect(await outcomeOf(opened("accept"))).toBe("accepted");
        expect(await outcomeOf(opened(undefined))).toBe("NO_DATA_KEY");
      },
    },
  },
  "new RawRsaKeyring": {
    call: rsa,
    bare: (options) => new RawRsaKeyring(options),
    refuses: "throws",
    needed: ["keyNamespace", "keyName", "publicKey", "padding"],
    effects: {
      keyNamespace: async () =>
        expect(await entryOf(rsa({ keyNamespace: "of mine" }))).toMatchObject({ providerId: "of mine" }),
      keyName: async () =>
        expect(await entryOf(rsa({ keyName: "mine" }))).toMatchObject({
          providerInfo: new Uint8Array(Buffer.from("mine")),
        }),
      publicKey: async () => {
        const alone = rsa({ publicKey: undefined, privateKey: pair.privateKey });
        expect(await outcomeOf(encrypt(plaintext, { keyring: alone }))).toBe("NO_DATA_KEY");
        expect(await outcomeOf(encrypt(plaintext, { keyring: rsa({}) }))).toBe("accepted");
      },
      privateKey: async () => {
        const sealed = await encrypt(plaintext, { keyring: rsa({}) });
        expect(await outcomeOf(decrypt(sealed, { keyring: rsa({}) }))).toBe("NO_DATA_KEY");
        const full = rsa({ privateKey: pair.privateKey });
        expect(await outcomeOf(decrypt(sealed, { keyring: full }))).toBe("accepted");
      },
      padding: async () => {
        const sealed = await encrypt(plaintext, { keyring: rsa({ padding: "OAEP-SHA-1" }) });
        const reader = (padding: string) => rsa({ padding, privateKey: pair.privateKey });
        expect(await outcomeOf(decrypt(sealed, { keyring: reader("OAEP-SHA-512") }))).toBe("NO_DATA_KEY");
        expect(await outcomeOf(decrypt(sealed, { keyring: reader("OAEP-SHA-1") }))).toBe("accepted");
      },
      materialDescription: async () =>
        expect(
          await descriptionOf(rsa({ padding: "OAEP-SHA-1", materialDescription: { of: "mine" } })),
        ).toEqual({
          of: "mine",
        }),
    },
  },
  "new MultiKeyring": {
    call: (options) => new MultiKeyring({ generator: keyring, ...options }),
    bare: (options) => new MultiKeyring(options),
    refuses: "throws",
    needed: ["generator"],
    accepts: { children: ["an array"] },
    effects: {
      generator: async () => {
        const alone = new MultiKeyring({ children: [keyring] });
        expect(await outcomeOf(encrypt(plaintext, { keyring: alone }))).toBe("NO_DATA_KEY");
        const made = new MultiKeyring({ generator: keyring, children: [other] });
        expect(await outcomeOf(encrypt(plaintext, { keyring: made }))).toBe("accepted");
      },
      children: async () => {
        const made = new MultiKeyring({ generator: keyring, children: [other] });
        expect((await made.generateDataKey(request)).encryptedDataKeys.length).toBe(2);
      },
    },
  },
  "new CachingKeyring": {
    call: (options) => new CachingKeyring({ keyring, maxAgeMs: 1000, ...options }),
    bare: (options) => new CachingKeyring(options),
    refuses: "throws",
    needed: ["keyring", "maxAgeMs"],
    effects: {
      keyring: async () => expect(await keysMade({})).toBe(1),
      maxAgeMs: async () => {
        vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
        const { keyring: behind, made } = counted();
        const caching = new CachingKeyring({ keyring: behind, maxAgeMs: 5000 });
        for (const [wait, count] of [
          [0, 1],
          [4999, 1],
          [2, 2],
        ] as const) {
          vi.advanceTimersByTime(wait);
          await caching.generateDataKey(request);
          expect(made()).toBe(count);
        }
        caching.clear();
      },
      maxMessages: async () => {
        const messages = Array.from({ length: 6 }, () => plaintext);
        expect(await keysMade({}, messages)).toBe(1);
        expect(await keysMade({ maxMessages: 2 }, messages)).toBe(3);
      },
      maxBytes: async () => {
        const messages = Array.from({ length: 4 }, () => plaintext);
        expect(await keysMade({ maxBytes: 2 * plaintext.length }, messages)).toBe(2);
      },
      maxEntries: async () => {
        const { keyring: behind, made } = counted();
        const caching = new CachingKeyring({ keyring: behind, maxAgeMs: 60_000, maxEntries: 1 });
        for (const tenant of ["a", "b", "a"])
          await encrypt(plaintext, { keyring: caching, encryptionContext: { tenant } });
        expect(made()).toBe(3);
        caching.clear();
      },
    },
  },
  keyringFromKeyFile: {
    call: (options) => keyringFromKeyFile(at("aes.key"), options),
    bare: (options) => keyringFromKeyFile(at("aes.key"), options),
    refuses: "rejects",
    effects: {
      keyNamespace: async () =>
        expect(await keyringFromKeyFile(at("aes.key"), { keyNamespace: "mine" })).toMatchObject({
          keyNamespace: "mine",
        }),
      keyName: async () =>
        expect(await keyringFromKeyFile(at("aes.key"), { keyName: "mine" })).toMatchObject({
          keyName: "mine",
        }),
      padding: async () =>
        expect(await keyringFromKeyFile(at("rsa.key"), { padding: "OAEP-SHA-512" })).toMatchObject({
          padding: "OAEP-SHA-512",
        }),
      materialDescription: async () =>
        expect(
          await descriptionOf(
            await keyringFromKeyFile(at("aes.key"), { materialDescription: { of: "mine" } }),
          ),
        ).toEqual({ of: "mine" }),
      onWarning: async () => {
        const wide = at("wide.key");
        writeFileSync(wide, readFileSync(at("aes.key")), { mode: 0o644 });
        const told: string[] = [];
        await keyringFromKeyFile(wide, { onWarning: (text) => told.push(text) });
        expect(told.length).toBe(1);
      },
      signal: async () =>
        expect(await outcomeOf(keyringFromKeyFile(at("aes.key"), { signal: abortedSignal() }))).toBe(
          "ABORTED",
        ),
    },
  },
  writeAesKeyFile: {
    call: (options) => writeAesKeyFile(fresh(), options),
    bare: (options) => writeAesKeyFile(fresh(), options),
    refuses: "rejects",
    effects: {
      keyLength: async () => {
        const file = fresh();
        await writeAesKeyFile(file, { keyLength: 16 });
        expect(Buffer.from(JSON.parse(readFileSync(file, "utf8")).k, "base64url").length).toBe(16);
      },
    },
  },
  writeRsaKeyFiles: {
    call: (options) => writeRsaKeyFiles(fresh(), { modulusBits: 2048, ...options }),
    bare: (options) => writeRsaKeyFiles(fresh(), options),
    refuses: "rejects",
    effects: {
      modulusBits: async () => {
        const file = fresh();
        await writeRsaKeyFiles(file, { modulusBits: 2048 });
        expect(readFileSync(`${file}.pub`, "utf8").length).toBeLessThan(500);
      },
    },
  },
  "new KmsKeyring": {
    call: (options) => new KmsKeyring({ client: fakeKms().client, generatorKeyId: ARN, ...options } as never),
    bare: (options) => new KmsKeyring(options),
    refuses: "throws",
    needed: ["client", "generatorKeyId"],
    accepts: { client: ["a function"], keyIds: ["an array"] },
    effects: {
      client: async () => expect((await kmsAsks({ generatorKeyId: ARN })).length).toBe(1),
      generatorKeyId: async () =>
        expect(await kmsAsks({ generatorKeyId: ARN_2 })).toMatchObject([{ KeyId: ARN_2, NumberOfBytes: 32 }]),
      keyIds: async () =>
        expect((await kmsAsks({ generatorKeyId: ARN, keyIds: [ARN_2] })).map(({ KeyId }) => KeyId)).toEqual([
          ARN,
          ARN_2,
        ]),
      grantTokens: async () =>
        expect(await kmsAsks({ generatorKeyId: ARN, grantTokens: ["token"] })).toMatchObject([
          { GrantTokens: ["token"] },
        ]),
      multiRegionKeys: async () => {
        expect(await kmsAsks({ keyIds: [ARN] }, ARN_ELSEWHERE)).toEqual([]);
        expect(await kmsAsks({ keyIds: [ARN], multiRegionKeys: "related" }, ARN_ELSEWHERE)).toHaveLength(1);
      },
      timeoutMs: async () => {
        const client = { send: () => new Promise<never>(() => {}) };
        const silent = new KmsKeyring({ client, generatorKeyId: ARN, timeoutMs: 5 } as never);
        expect(await outcomeOf(silent.generateDataKey(request))).toBe("KEY_SERVICE");
      },
      discovery: async () => {
        expect(await kmsAsks({ discovery: filter }, ARN)).toMatchObject([{ KeyId: ARN }]);
        const elsewhere = { ...filter, accountIds: ["000000000000"] };
        expect(await kmsAsks({ discovery: elsewhere }, ARN)).toEqual([]);
        expect(await kmsAsks({ discovery: { ...filter, partition: "aws-cn" } }, ARN)).toEqual([]);
        const asked = await kmsAsks({ discovery: { ...filter, region: "us-west-2" } }, ARN);
        expect(asked).toMatchObject([{ KeyId: ARN_ELSEWHERE }]);
      },
    },
  },
  checkKeyring: {
    call: (options) => checkKeyring({ ...subject, ...options }),
    bare: (options) => checkKeyring(options),
    refuses: "rejects",
    needed: ["writer"],
    accepts: Object.fromEntries(["writer", "reader", "stranger"].map((name) => [name, ["a function"]])),
    effects: {
      writer: async () => expect(await outcomeOf(checkKeyring(subject))).toBe("accepted"),
      reader: async () =>
        expect(await outcomeOf(checkKeyring({ ...subject, reader: () => other }))).toBe("AggregateError"),
      stranger: async () =>
        expect(await outcomeOf(checkKeyring({ ...subject, stranger: () => keyring }))).toBe("AggregateError"),
      encryptionContext: async () => {
        expect(await outcomeOf(checkKeyring(unboundSubject))).toBe("AggregateError");
        const unbound = { ...unboundSubject, encryptionContext: "unbound" } as const;
        expect(await outcomeOf(checkKeyring(unbound))).toBe("accepted");
      },
      reasons: async () => {
        const silent: Keyring = {
          generateDataKey: (asked) => keyring.generateDataKey(asked),
          wrapDataKey: (dataKey, asked) => keyring.wrapDataKey(dataKey, asked),
          unwrapDataKey: (keys, { skipped: _, ...asked }) => keyring.unwrapDataKey(keys, asked),
        };
        expect(await outcomeOf(checkKeyring({ writer: () => silent }))).toBe("accepted");
        const mustTell = { writer: () => silent, reasons: "told" } as const;
        expect(await outcomeOf(checkKeyring(mustTell))).toBe("AggregateError");
      },
      alteration: async () => {
        // Gives another key for what was altered, instead of an error.
        const guessing: Keyring = {
          generateDataKey: (asked) => keyring.generateDataKey(asked),
          wrapDataKey: (dataKey, asked) => keyring.wrapDataKey(dataKey, asked),
          unwrapDataKey: (keys, asked) =>
            keyring
              .unwrapDataKey(keys, asked)
              .catch(() => new Uint8Array(randomBytes(asked.suite.keyLength))),
        };
        const guesser = { writer: () => guessing, encryptionContext: "unbound" } as const;
        expect(await outcomeOf(checkKeyring(guesser))).toBe("AggregateError");
        expect(await outcomeOf(checkKeyring({ ...guesser, alteration: "other-key" }))).toBe("accepted");
      },
    },
  },
};
beforeAll(async () => {
  await writeAesKeyFile(at("aes.key"));
  await writeRsaKeyFiles(at("rsa.key"), { modulusBits: 2048 });
});

/** Objects that are no options: who makes them, or checks them. */
const NOT_OPTIONS: Readonly<Record<string, string>> = {
  Keyring: "made by the caller; `keyringOption`",
  DataKeyRequest: "told to keyrings",
  MessageSource: "made by the caller; `openSource`",
  FrameFormat: "told to engines",
  PumpEnds: "told to engines",
  EncryptedDataKey: "told to keyrings",
};
/** Constructors of what only its type is exported of. */
const notConstructed = new Set(["new FrameTransform", "new FrameTransformStream", "new MessageReader"]);

const found = ["index", "kms", "testing"]
  .flatMap((entry) => publicParameters(entry))
  .filter(({ callee, type }) => !notConstructed.has(callee) && NOT_OPTIONS[type] === undefined);
const namesOf = (callee: string): string[] => [
  ...new Set(found.filter((each) => each.callee === callee).flatMap(({ names: some }) => some)),
];

describe("the table", () => {
  test("has every public function with options, and every option", () => {
    expect([...new Set(found.map(({ callee }) => callee))].sort()).toEqual(Object.keys(takers).sort());
    for (const [callee, { effects }] of Object.entries(takers))
      expect(Object.keys(effects).sort(), callee).toEqual(namesOf(callee).sort());
  });
  test("covers every entry of the package, here or in a test of its own", () => {
    const { exports } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
    expect(Object.keys(exports)).toEqual([
      ".",
      "./client-node",
      "./kms",
      "./testing",
      "./s3",
      "./package.json",
    ]);
    for (const [entry, file] of Object.entries({ "client-node": "compat", s3: "s3" })) {
      const text = readFileSync(new URL(`./${file}/options.test.ts`, import.meta.url), "utf8");
      expect(text).toContain(`publicParameters("${entry}")`);
    }
  });
});

for (const [callee, taker] of Object.entries(takers)) describeTaker(callee, namesOf(callee), taker);

describe("options that do not go together are refused at once", () => {
  const cases: readonly (readonly [string, EncryptOptions | object, RegExp])[] = [
    ["a suite that the policy does not allow", { suite: 0x0178 }, /POLICY/],
    ["an unknown suite", { suite: 0x9999 }, /UNSUPPORTED/],
    ["a frame length that is no multiple of 16", { frameLength: 1000 }, /^RangeError: "frameLength"/],
    ["a frame length above its own limit", { frameLength: 64, maxFrameLength: 32 }, /^RangeError/],
    ["required keys without pairs", { requiredEncryptionContextKeys: ["x"] }, /^TypeError: "required/],
    ["a reserved name", { encryptionContext: { "aws-crypto-x": "" } }, /^TypeError: "encryptionContext"/],
    ["a context that is too long", { encryptionContext: { a: "x".repeat(65_530) } }, /^RangeError/],
    ["text that is none", { encryptionContext: { a: "\ud800" } }, /^TypeError/],
    ["more frames than can be numbered", { frameLength: 16, plaintextLength: 2 ** 50 }, /LIMIT_EXCEEDED/],
    ["a kernel that does not exist", { engine: "native:none" }, /^(RangeError|ENGINE_UNAVAILABLE)/],
  ];
  test.each(cases)("%s", async (_, options, expected) => {
    let asked = 0;
    const counting: Keyring = {
      ...counted().keyring,
      generateDataKey: (given) => {
        asked += 1;
        return keyring.generateDataKey(given);
      },
    };
    const to = fresh();
    const calls: Readonly<Record<string, readonly [Taker["refuses"], () => unknown]>> = {
      encrypt: ["rejects", () => encrypt(plaintext, { keyring: counting, ...options })],
      prepareMessage: ["rejects", () => prepareMessage({ keyring: counting, ...options })],
      createEncryptStream: ["throws", () => createEncryptStream({ keyring: counting, ...options })],
      encryptWebStream: ["throws", () => encryptWebStream({ keyring: counting, ...options })],
      encryptFile: ["rejects", () => encryptFile(at("plain"), to, { keyring: counting, ...options })],
    };
    for (const [name, [how, call]] of Object.entries(calls)) {
      const codeOf = async (): Promise<string> => {
        try {
          await call();
          return "accepted";
        } catch (error) {
          const {
            name: kind,
            code,
            message: text,
          } = error as { name: string; code?: string; message: string };
          return code ?? `${kind}: ${text}`;
        }
      };
      expect((await refusalOf(call)).how, name).toBe(how);
      expect(await codeOf(), name).toMatch(expected);
    }
    expect(asked).toBe(0);
    expect(existsSync(to)).toBe(false);
  });
});

describe("what is refused leaves nothing behind", () => {
  test("no file is made, opened or replaced", async () => {
    const to = inFile(Buffer.from("old"));
    const before = readdirSync(folder).sort();
    const wrong = { overwrite: "replace", mode: Number.NaN } as const;
    for (const call of [
      () => encryptFile(at("plain"), to, { keyring, ...wrong }),
      () => encryptFile(at("missing"), to, { keyring, ...wrong }),
      () => encryptFile(at("plain"), "", { keyring }),
      () => decryptFile(sealedFile, to, { keyring, ...wrong }),
      () => writeAesKeyFile(at("new.key"), { keyLength: 5 as never }),
      () => writeRsaKeyFiles(at("new.key"), { modulusBits: 1.5 }),
    ])
      expect((await refusalOf(call)).text).toMatch(/^(TypeError|RangeError): "/);
    expect(readdirSync(folder).sort()).toEqual(before);
    expect(readFileSync(to, "utf8")).toBe("old");
  });
  test("paths and descriptors are what they should be", async () => {
    for (const end of ["", "a\0b", -1, 1.5, Number.NaN, 2 ** 40, null, undefined, {}, Buffer.from("x"), 1n])
      for (const call of [
        () => encryptFile(end as never, fresh(), { keyring }),
        () => inspectFile(end as never),
        () => verifyFile(end as never, { keyring }),
        () => encryptFile(at("plain"), end as never, { keyring }),
        () => decryptFile(sealedFile, end as never, { keyring }),
      ])
        expect((await refusalOf(call)).text).toMatch(/^TypeError: "(from|to)" expected a path or the number/);
  });
});

describe("ranges", () => {
  test.each([
    [{ start: 5, end: 4 }, '"start" expected at most "end"'],
    [{ start: -1 }, '"start" expected a whole number from 0'],
    [{ end: -1 }, '"end" expected a whole number from 0'],
    [{ start: 2 ** 53 }, '"start" expected a whole number'],
    [{ end: Number.POSITIVE_INFINITY }, '"end" expected a whole number'],
  ])("a stream of %o", async (range, text) => {
    const reader = await readerOf();
    expect(() => reader.createReadStream(range)).toThrow(text);
  });
  test.each([Number.NaN, 1.5, 2 ** 53, "5", 5n, null, {}])("a read from or to %o", async (value) => {
    const reader = await readerOf();
    await expect(reader.read(value as never)).rejects.toThrow(/^"start" expected a whole number/);
    await expect(reader.read(0, value as never)).rejects.toThrow(/^"end" expected a whole number/);
  });
  test("-0 is 0", async () => {
    const reader = await readerOf();
    expect((await reader.read(-0, 5)).equals(plaintext.subarray(0, 5))).toBe(true);
    expect((await buffer(reader.createReadStream({ start: -0, end: 4 }))).length).toBe(5);
  });
});
