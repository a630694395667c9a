// The ways in which operations on messages, streams and files end.
import { rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { PassThrough, Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import {
  CachingKeyring,
  createDecryptStream,
  createEncryptStream,
  decrypt,
  decryptFile,
  decryptWebStream,
  type EncryptOptions,
  type Engine,
  encrypt,
  encryptFile,
  encryptWebStream,
  type Keyring,
  MultiKeyring,
  openMessage,
  prepareMessage,
  verifyFile,
} from "../../src/index.ts";

/** What ways work with. */
export interface Setting {
  readonly engine: string | Engine;
  readonly keyring: Keyring;
  /** Has another key under the same name. */
  readonly wrongKeyring: Keyring;
  /** Wraps with RSA. */
  readonly rsaKeyring: Keyring;
  /** Asks a service that answers at once. */
  readonly kmsKeyring: Keyring;
  readonly folder: string;
  /** Messages whose header commits to another key. */
  readonly uncommitted: readonly Uint8Array[];
}

/** Does an operation once and lets go of everything. `index` counts up. */
export type Way = (setting: Setting, index: number) => Promise<void>;

export const FRAME = 4096;
/** Short, some frames, and enough for several threads. */
export const lengthOf = (index: number): number => [0, 100, 5 * FRAME + 7, 300_000][index % 4] as number;
export const plain = (length: number): Buffer => Buffer.alloc(length, 0x61);

/** Runs what must fail. */
export async function fails(operation: Promise<unknown>): Promise<void> {
  const outcome = await operation.then(
    () => "worked",
    () => "failed",
  );
  if (outcome === "worked") throw new Error("worked, but must not");
}

const base = ({ engine, keyring }: Setting): EncryptOptions => ({ engine, keyring, frameLength: FRAME });
const seal = (setting: Setting, length: number, more: Partial<EncryptOptions> = {}): Promise<Buffer> =>
  encrypt(plain(length), { ...base(setting), ...more });
/** At least three frames. */
const long = (index: number): number => Math.max(3 * FRAME + 9, lengthOf(index));

const forged = (message: Buffer, at: number): Buffer => {
  const copy = Buffer.from(message);
  const index = at < 0 ? copy.length + at : at;
  copy[index] = (copy[index] ?? 0) ^ 1;
  return copy;
};
async function failsToOpen(setting: Setting, message: Buffer): Promise<void> {
  const options = { engine: setting.engine, keyring: setting.keyring };
  await fails(decrypt(message, options));
  await fails(pipeline(Readable.from([message]), createDecryptStream(options), new PassThrough().resume()));
}
async function* pieces(length: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < length; at += 10_000) yield plain(Math.min(10_000, length - at));
}
/** Streams without end: whoever reads has to stop. */
async function* endless(): AsyncGenerator<Buffer> {
  for (;;) yield plain(10_000);
}
const webStream = (source: Iterator<Uint8Array> | AsyncIterator<Uint8Array>): ReadableStream<Uint8Array> =>
  new ReadableStream({
    async pull(controller) {
      const { done, value } = await source.next();
      if (done === true) controller.close();
      else controller.enqueue(value);
    },
  });
const anyHeader = async (setting: Setting): Promise<number> => (await prepared(setting)).headerLength;
async function prepared(setting: Setting) {
  const message = await prepareMessage(base(setting));
  message.dispose();
  return message;
}

export const messageWays: Readonly<Record<string, Way>> = {
  "encrypt: success": async (setting, index) => void (await seal(setting, lengthOf(index))),
  "encrypt: success, signed": async (setting, index) =>
    void (await seal(setting, lengthOf(index), { suite: 0x0578 })),
  "encrypt: success, suites without commitment": async (setting, index) =>
    void (await seal(setting, lengthOf(index), {
      suite: index % 2 === 0 ? 0x0178 : 0x0378,
      commitmentPolicy: "FORBID_ENCRYPT_ALLOW_DECRYPT",
    })),
  "encrypt: other keyrings": async (setting, index) => {
    const keyring = [setting.rsaKeyring, setting.kmsKeyring][index % 2] as Keyring;
    const message = await seal(setting, 100, { keyring });
    await decrypt(message, { engine: setting.engine, keyring });
  },
  "encrypt: keyring throws after it made a key": async (setting) => {
    const broken = { wrapDataKey: () => Promise.reject(new Error("not today")) };
    const child = Object.assign(Object.create(setting.keyring) as Keyring, broken);
    const keyring = new MultiKeyring({ generator: setting.keyring, children: [child] });
    await fails(seal(setting, 100, { keyring }));
  },
  "encrypt: aborted before": async (setting) => fails(seal(setting, 100, { signal: AbortSignal.abort() })),
  "encrypt: aborted while the keyring works": async (setting) => {
    const stop = new AbortController();
    const keyring: Keyring = Object.assign(Object.create(setting.keyring) as Keyring, {
      async generateDataKey(request: never) {
        const made = await setting.keyring.generateDataKey(request);
        stop.abort();
        await sleep(1);
        return made;
      },
    });
    await fails(seal(setting, 100, { keyring, signal: stop.signal }));
    await sleep(2);
  },
  "encrypt: more than was promised": async (setting) => fails(seal(setting, 100, { plaintextLength: 99 })),
  "encrypt: prepared and given up": async (setting) => void (await prepared(setting)),
  "encrypt stream: success": async (setting, index) => {
    const suite = index % 3 === 0 ? 0x0578 : 0x0478;
    const stream = createEncryptStream({ ...base(setting), suite });
    await pipeline(pieces(lengthOf(index)), stream, new PassThrough().resume());
  },
  "encrypt stream: source fails": async (setting, index) => {
    const stream = createEncryptStream({ ...base(setting), suite: index % 2 === 0 ? 0x0478 : 0x0578 });
    const flowing = new Promise((resolve) => stream.once("data", resolve));
    async function* source(): AsyncGenerator<Buffer> {
      yield* pieces(long(index));
      await flowing;
      throw new Error("gone");
    }
    await fails(pipeline(source(), stream, new PassThrough().resume()));
  },
  "encrypt stream: destroyed": async (setting, index) => {
    const stream = createEncryptStream({ ...base(setting), suite: index % 2 === 0 ? 0x0478 : 0x0578 });
    const reading = fails(pipeline(endless(), stream, new PassThrough().resume()));
    await new Promise((resolve) => stream.once("data", resolve));
    stream.destroy();
    await reading;
  },
  "encrypt stream: aborted": async (setting) => {
    const stop = new AbortController();
    const stream = createEncryptStream({ ...base(setting), signal: stop.signal });
    const reading = fails(pipeline(endless(), stream, new PassThrough().resume()));
    await new Promise((resolve) => stream.once("data", resolve));
    stop.abort();
    await reading;
  },
  "encrypt stream: nobody reads on": async (setting) => {
    const stream = Readable.from(endless()).pipe(createEncryptStream(base(setting)));
    for await (const _ of stream) break;
    await sleep(1);
  },
  "encrypt Web stream: success, cancelled": async (setting, index) => {
    const stream = encryptWebStream(base(setting));
    const source = webStream(index % 2 === 0 ? pieces(long(index)) : endless());
    const read = source.pipeThrough(stream).getReader();
    if (index % 2 === 0) while (!(await read.read()).done);
    else {
      await read.read();
      await read.cancel();
    }
    await sleep(1);
  },
  "encrypt file: success": async (setting, index) => {
    const { from, to } = await files(setting, plain(lengthOf(index)));
    await encryptFile(from, to, base(setting));
  },
  "encrypt file: more than was promised, no source, a folder": async (setting, index) => {
    const { from, to } = await files(setting, plain(long(index)));
    await fails(encryptFile(from, to, { ...base(setting), plaintextLength: 2 * FRAME }));
    await fails(encryptFile(path.join(setting.folder, "none"), to, base(setting)));
    await fails(encryptFile(setting.folder, to, base(setting)));
  },
  "encrypt file: aborted": async (setting, index) => {
    const { from, to } = await files(setting, plain(2_000_000));
    const stop = new AbortController();
    setTimeout(() => stop.abort(), index % 5);
    await encryptFile(from, to, { ...base(setting), signal: stop.signal }).catch(() => {});
    await rm(to, { force: true });
  },

  "decrypt: success": async (setting, index) => {
    const message = await seal(setting, lengthOf(index), { suite: index % 3 === 0 ? 0x0578 : 0x0478 });
    await decrypt(message, { engine: setting.engine, keyring: setting.keyring });
  },
  "decrypt: wrong key": async (setting, index) => {
    const message = await seal(setting, lengthOf(index));
    await fails(decrypt(message, { engine: setting.engine, keyring: setting.wrongKeyring }));
  },
  "decrypt: wrong tag of the header": async (setting, index) => {
    const message = await seal(setting, lengthOf(index));
    await failsToOpen(setting, forged(message, (await anyHeader(setting)) - 1));
  },
  "decrypt: wrong tag of the first frame": async (setting, index) =>
    failsToOpen(setting, forged(await seal(setting, long(index)), (await anyHeader(setting)) + 30)),
  "decrypt: wrong tag of a frame in the middle": async (setting, index) =>
    failsToOpen(setting, forged(await seal(setting, long(index)), (await anyHeader(setting)) + FRAME + 99)),
  "decrypt: wrong tag of the last frame": async (setting, index) =>
    failsToOpen(setting, forged(await seal(setting, long(index)), -1)),
  "decrypt: truncated": async (setting, index) => {
    const message = await seal(setting, long(index));
    await failsToOpen(setting, message.subarray(0, message.length - 1 - (index % FRAME)));
  },
  "decrypt: trailing data": async (setting, index) =>
    failsToOpen(setting, Buffer.concat([await seal(setting, long(index)), plain(3)])),
  "decrypt: wrong signature": async (setting, index) =>
    failsToOpen(setting, forged(await seal(setting, long(index), { suite: 0x0578 }), -5)),
  "decrypt: another commitment": async (setting, index) => {
    const message = setting.uncommitted[index % setting.uncommitted.length] as Uint8Array;
    await failsToOpen(setting, Buffer.from(message));
  },
  "decrypt: aborted before and while the keyring works": async (setting, index) => {
    const message = await seal(setting, lengthOf(index));
    const { engine } = setting;
    await fails(decrypt(message, { engine, keyring: setting.keyring, signal: AbortSignal.abort() }));
    const stop = new AbortController();
    const keyring: Keyring = Object.assign(Object.create(setting.keyring) as Keyring, {
      async unwrapDataKey(...args: Parameters<Keyring["unwrapDataKey"]>) {
        const dataKey = await setting.keyring.unwrapDataKey(...args);
        stop.abort();
        await sleep(1);
        return dataKey;
      },
    });
    await fails(decrypt(message, { engine, keyring, signal: stop.signal }));
    await sleep(2);
  },
  "decrypt stream: success": async (setting, index) => {
    const message = await seal(setting, lengthOf(index));
    const stream = createDecryptStream({ engine: setting.engine, keyring: setting.keyring });
    await pipeline(Readable.from([message]), stream, new PassThrough().resume());
  },
  "decrypt stream: long frames in pieces": async (setting, index) => {
    const message = await seal(setting, 3_000_000, { frameLength: 2 ** 20 });
    const broken = index % 2 === 0 ? message : forged(message, 1_500_000);
    const cut = Array.from({ length: 40 }, (_, i) => broken.subarray(i * 80_000, (i + 1) * 80_000));
    const stream = createDecryptStream({ engine: setting.engine, keyring: setting.keyring });
    const reading = pipeline(Readable.from(cut), stream, new PassThrough().resume());
    await (index % 2 === 0 ? reading : fails(reading));
  },
  "decrypt stream: destroyed, aborted, source fails, nobody reads on": async (setting, index) => {
    const message = await seal(setting, 300_000);
    const stop = new AbortController();
    const options = { engine: setting.engine, keyring: setting.keyring, signal: stop.signal };
    const stream = createDecryptStream(options);
    const source = new PassThrough();
    source.write(message.subarray(0, 100_000));
    if (index % 4 === 3) {
      source.on("error", () => {});
      for await (const _ of source.pipe(stream)) break;
      source.destroy();
      return;
    }
    const reading = fails(pipeline(source, stream, new PassThrough().resume()));
    await new Promise((resolve) => stream.once("data", resolve));
    if (index % 4 === 0) stream.destroy();
    if (index % 4 === 1) stop.abort();
    if (index % 4 === 2) source.destroy(new Error("gone"));
    await reading;
  },
  "decrypt Web stream: success, forged": async (setting, index) => {
    const message = await seal(setting, long(index));
    const given = index % 2 === 0 ? message : forged(message, -1);
    const stream = decryptWebStream({ engine: setting.engine, keyring: setting.keyring });
    const source = webStream([given][Symbol.iterator]());
    const read = source.pipeThrough(stream).getReader();
    const reading = (async () => {
      while (!(await read.read()).done);
    })();
    await (index % 2 === 0 ? reading : fails(reading));
  },
  "decrypt file: success, forged, truncated": async (setting, index) => {
    const message = await seal(setting, long(index));
    const given = [message, forged(message, -1), message.subarray(0, -7)][index % 3] as Buffer;
    const { from, to } = await files(setting, given);
    const options = { engine: setting.engine, keyring: setting.keyring };
    const working = decryptFile(from, to, options);
    await (index % 3 === 0 ? working : fails(working));
    const verifying = verifyFile(from, options);
    await (index % 3 === 0 ? verifying : fails(verifying));
  },
  "reader: ranges, forged, closed": async (setting, index) => {
    const message = await seal(setting, 300_000);
    const { from } = await files(setting, index % 2 === 0 ? message : forged(message, 150_000));
    const reader = await openMessage(from, { engine: setting.engine, keyring: setting.keyring });
    await reader.read(10, 20_000);
    if (index % 2 === 1) await fails(reader.read(0, 300_000));
    await reader.close();
  },
  "caching keyring: cleared and expired": async (setting, index) => {
    const maxAgeMs = index % 2 === 0 ? 60_000 : 2;
    const keyring = new CachingKeyring({ keyring: setting.keyring, maxAgeMs });
    const message = await seal(setting, lengthOf(index), { keyring });
    await decrypt(message, { engine: setting.engine, keyring });
    if (index % 2 === 0) keyring.clear();
    else await sleep(15);
  },
};

/** A file with these bytes, and the name of another. */
async function files({ folder }: Setting, content: Uint8Array): Promise<{ from: string; to: string }> {
  const from = path.join(folder, "from");
  const to = path.join(folder, "to");
  await rm(to, { force: true });
  await writeFile(from, content);
  return { from, to };
}
