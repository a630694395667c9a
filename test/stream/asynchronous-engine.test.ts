// Messages through an engine that works on other threads: its results come late and out of order.
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import {
  createDecryptStream,
  createEncryptStream,
  createEngine,
  decrypt,
  type Engine,
  encrypt,
  RawAesKeyring,
} from "../../src/index.ts";

const node = createEngine("node");
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
const plaintext = randomBytes(5_500_000);
const failure = new Error("a thread ended");

/** Node's frames, some time later. The call numbered `failing` is rejected. */
function asynchronousEngine(failing = 0): Engine & { calls: number; mostAtOnce: number } {
  let inWork = 0;
  const later = async <T>(result: T): Promise<T> => {
    engine.calls++;
    const call = engine.calls;
    inWork++;
    engine.mostAtOnce = Math.max(engine.mostAtOnce, inWork);
    await sleep(call % 3);
    inWork--;
    if (call === failing) throw failure;
    return result;
  };
  const engine = {
    name: "asynchronous",
    kernel: "node:crypto",
    calls: 0,
    mostAtOnce: 0,
    createKey(rawKey: Uint8Array) {
      const key = node.createKey(rawKey);
      return Object.assign(Object.create(key) as typeof key, {
        seal: key.seal.bind(key),
        open: key.open.bind(key),
        startSeal: key.startSeal.bind(key),
        startOpen: key.startOpen.bind(key),
        dispose: key.dispose.bind(key),
        frameCipher(format: Parameters<typeof key.frameCipher>[0]) {
          const cipher = key.frameCipher(format);
          return {
            asyncFrom: 100_000,
            seal: cipher.seal.bind(cipher),
            open: cipher.open.bind(cipher),
            sealAsync: (...run: Parameters<typeof cipher.seal>) => later(cipher.seal(...run)),
            openAsync: (...run: Parameters<typeof cipher.open>) => later(cipher.open(...run)),
          };
        },
      });
    },
  };
  return engine;
}

describe.each([4_096, 65_536, 1_048_576, 4_194_304])("frames of %i bytes", (frameLength) => {
  test.each([100_000, 1_048_576, 4_194_304, 5_500_000])("%i bytes in memory", async (length) => {
    const engine = asynchronousEngine();
    const bytes = plaintext.subarray(0, length);
    const message = await encrypt(bytes, { keyring, engine, frameLength });
    expect(engine.calls).toBeGreaterThan(0);
    expect((await decrypt(message, { keyring, engine: "node" })).plaintext.equals(bytes)).toBe(true);
    engine.calls = 0;
    expect((await decrypt(message, { keyring, engine })).plaintext.equals(bytes)).toBe(true);
    expect(engine.calls).toBeGreaterThan(0);
  });
  test("through streams", async () => {
    const engine = asynchronousEngine();
    const sealing = createEncryptStream({ keyring, engine, frameLength });
    const opening = createDecryptStream({ keyring, engine });
    sealing.pipe(opening);
    sealing.end(plaintext);
    const opened: Buffer[] = [];
    for await (const chunk of opening) opened.push(chunk);
    expect(Buffer.concat(opened).equals(plaintext)).toBe(true);
    expect(engine.calls).toBeGreaterThan(1);
  });
  test("nothing is returned of a message with one bad byte", async () => {
    const message = await encrypt(plaintext, { keyring, engine: "node", frameLength });
    for (const at of [0.3, 0.5, 0.99].map((part) => Math.floor(part * message.length))) {
      const forged = Buffer.from(message);
      forged[at] = (forged[at] ?? 0) ^ 1;
      const opening = decrypt(forged, { keyring, engine: asynchronousEngine() });
      await expect(opening).rejects.toMatchObject({ code: "AUTHENTICATION_FAILED" });
    }
  });
});

test("several runs are in work at a time, but not any number", async () => {
  const engine = asynchronousEngine();
  const bytes = randomBytes(20_000_000);
  const message = await encrypt(bytes, { keyring, engine });
  expect((await decrypt(message, { keyring, engine })).plaintext.equals(bytes)).toBe(true);
  expect(engine.calls).toBe(40);
  expect(engine.mostAtOnce).toBeGreaterThan(1);
  expect(engine.mostAtOnce).toBeLessThanOrEqual(4);
});

test("a failure of the engine is that of the message", async () => {
  const message = await encrypt(plaintext, { keyring, engine: "node" });
  for (const failing of [1, 2, 5]) {
    await expect(encrypt(plaintext, { keyring, engine: asynchronousEngine(failing) })).rejects.toBe(failure);
    await expect(decrypt(message, { keyring, engine: asynchronousEngine(failing) })).rejects.toBe(failure);
  }
});
