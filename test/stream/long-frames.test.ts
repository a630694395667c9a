// Frames that are opened while they arrive: same plaintext, same errors, and nothing of a frame before its tag.
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { describe, expect, test } from "vitest";
import type { Engine, FrameCipher, FrameOpener } from "../../src/engine/engine.ts";
import { createEngine } from "../../src/engine/select-engine.ts";
import { createDecryptStream, createEncryptStream, encrypt, RawAesKeyring } from "../../src/index.ts";
import { cut, engineNames, errorCode, runStream, staticKeyring } from "../message/fixtures.ts";
import { writeMessage } from "../message/reference.ts";

const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: Buffer.alloc(32, 6) });
const frameLength = 400_000;
const data = randomBytes(3 * frameLength + 123_456);

function* pieces(bytes: Uint8Array, length: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += length) yield Uint8Array.from(bytes.subarray(at, at + length));
}

/** What came out before the error, if there was one. */
async function open(message: Uint8Array, pieceLength: number, engine: string | undefined) {
  const stream = createDecryptStream({ keyring, engine });
  const chunks: Buffer[] = [];
  stream.on("data", (chunk) => chunks.push(chunk));
  const ended = once(stream, "end");
  Readable.from(pieces(message, pieceLength), { objectMode: false }).pipe(stream);
  const code = await ended.then(
    () => "",
    (error) => error.code,
  );
  return { plaintext: Buffer.concat(chunks), code };
}

describe.each([undefined, "node"])("long frames, engine %s", (engine) => {
  test.each([1_000, 65_536, 65_541, 400_032, 1_000_000, 5_000_000])(
    "in pieces of %i",
    async (pieceLength) => {
      for (const suite of [0x0478, 0x0578]) {
        const sealer = createEncryptStream({ keyring, frameLength, suite, engine });
        const message = await buffer(
          Readable.from(pieces(data, pieceLength), { objectMode: false }).pipe(sealer),
        );
        const { plaintext, code } = await open(message, pieceLength, engine);
        expect(code).toBe("");
        expect(plaintext.equals(data)).toBe(true);
      }
    },
  );

  test("a change anywhere in a frame keeps all of it back", async () => {
    const message = await encrypt(data, { keyring, frameLength });
    const stored = frameLength + 32;
    const headerLength = message.length - 3 * stored - 123_456 - 40;
    // Sequence number, nonce, first, middle and last byte of the text, tag.
    for (const frame of [0, 1, 2])
      for (const at of [0, 3, 4, 15, 16, 200_000, stored - 17, stored - 16, stored - 1])
        for (const pieceLength of [65_536, 250_000]) {
          const forged = Buffer.from(message);
          const index = headerLength + frame * stored + at;
          forged[index] = (forged[index] ?? 0) ^ 1;
          const { plaintext, code } = await open(forged, pieceLength, engine);
          expect(code).toBe("AUTHENTICATION_FAILED");
          expect(plaintext.equals(data.subarray(0, frame * frameLength))).toBe(true);
        }
  });

  test("a message that ends inside a frame is truncated", async () => {
    const message = await encrypt(data, { keyring, frameLength });
    const stored = frameLength + 32;
    const headerLength = message.length - 3 * stored - 123_456 - 40;
    for (const frame of [0, 2])
      for (const length of [0, 3, 16, 30_000, 70_000, 200_001, stored - 16, stored - 1]) {
        const cut = message.subarray(0, headerLength + frame * stored + length);
        const { plaintext, code } = await open(cut, 65_536, engine);
        expect(code).toBe("TRUNCATED");
        expect(plaintext.equals(data.subarray(0, frame * frameLength))).toBe(true);
      }
  });

  test("a stream that is destroyed inside a frame closes", async () => {
    const message = await encrypt(data, { keyring, frameLength });
    const stream = createDecryptStream({ keyring, engine });
    stream.write(message.subarray(0, 300_000));
    await new Promise((resolve) => setTimeout(resolve, 5));
    stream.destroy();
    await once(stream, "close");
    expect(stream.readableLength).toBe(0);
  });
});

/** The native engine, and what it was asked to open while it arrived. */
function watchedEngine() {
  const engine = createEngine("native");
  const started: { sequence: number; opened: number; disposed: boolean; isAuthentic: boolean | undefined }[] =
    [];
  const watch = (opener: FrameOpener, sequence: number): FrameOpener => {
    const entry = { sequence, opened: 0, disposed: false, isAuthentic: undefined as boolean | undefined };
    started.push(entry);
    return {
      get missing() {
        return opener.missing;
      },
      update(chunks) {
        for (const chunk of chunks) entry.opened += chunk.length;
        opener.update(chunks);
      },
      finish(tag) {
        const plaintext = opener.finish(tag);
        entry.isAuthentic = plaintext !== null;
        return plaintext;
      },
      dispose() {
        entry.disposed = true;
        opener.dispose();
      },
    };
  };
  const watchCipher = (cipher: FrameCipher): FrameCipher => {
    const { startOpen } = cipher;
    if (startOpen === undefined) throw new Error("this kernel opens whole frames only");
    return {
      seal: (...args) => cipher.seal(...args),
      open: (...args) => cipher.open(...args),
      startOpen: (sequence, nonce) => watch(startOpen(sequence, nonce), sequence),
    };
  };
  const watched: Engine = {
    name: engine.name,
    kernel: engine.kernel,
    createKey(rawKey) {
      const key = engine.createKey(rawKey);
      const frameCipher = key.frameCipher.bind(key);
      key.frameCipher = (format, threads) => watchCipher(frameCipher(format, threads));
      return key;
    },
  };
  return { engine: watched, started };
}

describe.runIf(engineNames.includes("native"))("what is done before a frame is whole", () => {
  const MiB = 2 ** 20;
  const dataKey = randomBytes(32);
  const static_ = staticKeyring(dataKey);
  const write = (frameLength: number, plaintext: Buffer, suite = 0x0478) =>
    writeMessage({ suite, dataKey, plaintext, frameLength });

  test("memory for a frame is taken when a sixteenth of it has come, and not before 64 KiB", async () => {
    for (const frameLength of [256 * 1024, MiB, 4 * MiB, 64 * MiB]) {
      const plaintext = randomBytes(frameLength + 1);
      const { bytes, header } = write(frameLength, plaintext);
      const enough = header.length + 16 + Math.max(64 * 1024, frameLength / 16);
      for (const [length, count] of [
        [enough - 1, 0],
        [enough, 1],
      ] as const) {
        const { engine, started } = watchedEngine();
        const log = await runStream(
          createDecryptStream({ keyring: static_, engine }),
          cut(bytes.subarray(0, length), 60_000),
        );
        expect(errorCode(log.error)).toBe("TRUNCATED");
        expect(log.output.length).toBe(0);
        expect(started.length).toBe(count);
        expect(started.every(({ disposed, isAuthentic }) => disposed && isAuthentic === undefined)).toBe(
          true,
        );
      }
    }
  });

  test("limits are checked before memory is taken", async () => {
    const { bytes } = write(MiB, randomBytes(MiB + 1));
    const { engine, started } = watchedEngine();
    const stream = createDecryptStream({ keyring: static_, engine, plaintextLength: MiB - 1 });
    const log = await runStream(stream, cut(bytes, 65_536));
    expect(errorCode(log.error)).toBe("LIMIT_EXCEEDED");
    expect(started).toEqual([]);
    const longer = createDecryptStream({ keyring: static_, engine, maxFrameLength: MiB - 16 });
    expect(errorCode((await runStream(longer, cut(bytes, 65_536))).error)).toBe("LIMIT_EXCEEDED");
    expect(started).toEqual([]);
  });

  test("a frame that is refused, and one that is abandoned, are wiped", async () => {
    const { bytes, header } = write(MiB, randomBytes(2 * MiB + 1));
    const forged = Buffer.from(bytes);
    const at = header.length + MiB + 32 + 16 + 500_000;
    forged[at] = (forged[at] ?? 0) ^ 1;
    const refused = watchedEngine();
    const log = await runStream(
      createDecryptStream({ keyring: static_, engine: refused.engine }),
      cut(forged, 65_536),
    );
    expect(errorCode(log.error)).toBe("AUTHENTICATION_FAILED");
    expect(log.output.length).toBe(MiB);
    expect(refused.started.map(({ isAuthentic, disposed }) => [isAuthentic, disposed])).toEqual([
      [true, false], // its plaintext belongs to the reader
      [false, true],
    ]);
    const abandoned = watchedEngine();
    const stream = createDecryptStream({ keyring: static_, engine: abandoned.engine });
    stream.write(bytes.subarray(0, header.length + 300_000));
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(abandoned.started[0]?.opened).toBeGreaterThan(200_000);
    stream.destroy();
    await once(stream, "close");
    expect(abandoned.started[0]?.disposed).toBe(true);
  });

  test("a head with another number is refused before anything is opened", async () => {
    const { bytes, header } = write(MiB, randomBytes(2 * MiB + 1));
    for (const number of [0, 2, 3, 0xfffffffe]) {
      const forged = Buffer.from(bytes);
      forged.writeUInt32BE(number, header.length);
      const { engine, started } = watchedEngine();
      const log = await runStream(createDecryptStream({ keyring: static_, engine }), cut(forged, 65_536));
      expect(errorCode(log.error)).toBe("AUTHENTICATION_FAILED");
      expect(started).toEqual([]);
    }
  });

  test("signed messages are not opened in pieces", async () => {
    const { engine, started } = watchedEngine();
    const sealer = createEncryptStream({ keyring, frameLength: MiB, suite: 0x0578 });
    const plaintext = randomBytes(2 * MiB + 1);
    const message = await buffer(Readable.from(cut(plaintext, 65_536), { objectMode: false }).pipe(sealer));
    const log = await runStream(createDecryptStream({ keyring, engine }), cut(message, 65_536));
    expect(log.ended).toBe(true);
    expect(log.output.equals(plaintext)).toBe(true);
    expect(started).toEqual([]);
  });

  test("messages that are cut at any byte around the heads and tags", async () => {
    const frameLength = 256 * 1024;
    for (const finalLength of [0, 1, 100_000, frameLength]) {
      const plaintext = randomBytes(2 * frameLength + finalLength);
      const { bytes, header } = write(frameLength, plaintext);
      const stored = frameLength + 32;
      for (const around of [header.length, header.length + stored, header.length + 2 * stored])
        for (let offset = -20; offset <= 40; offset++) {
          const at = Math.min(bytes.length - 1, around + offset);
          const { engine, started } = watchedEngine();
          const pieces = [
            bytes.subarray(0, header.length + 100_000),
            bytes.subarray(header.length + 100_000, at),
            bytes.subarray(Math.max(at, header.length + 100_000)),
          ];
          const chunks = at < header.length + 100_000 ? cut(bytes, at) : pieces;
          const log = await runStream(createDecryptStream({ keyring: static_, engine }), chunks);
          expect(errorCode(log.error)).toBe("none");
          expect(log.output.equals(plaintext)).toBe(true);
          expect(started.every(({ isAuthentic }) => isAuthentic === true)).toBe(true);
        }
    }
  });
});
