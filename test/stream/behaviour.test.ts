// How the streams behave towards Node: backpressure, ownership, latency, properties, errors.
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { describe, expect, test } from "vitest";
import {
  createDecryptStream,
  createEncryptStream,
  decrypt,
  decryptWebStream,
  encrypt,
  encryptWebStream,
  engineInfo,
  RawAesKeyring,
} from "../../src/index.ts";

const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: Buffer.alloc(32, 6) });
const data = randomBytes(5_000_000);
const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
};

describe("streams", () => {
  test("a slow reader holds back a large chunk", async () => {
    const stream = createEncryptStream({ keyring });
    const large = Buffer.alloc(64 * 2 ** 20);
    expect(stream.write(large)).toBe(false);
    await turns(100);
    expect(stream.readableLength).toBeGreaterThan(0);
    expect(stream.readableLength).toBeLessThan(16 * 2 ** 20);
    stream.end();
    let length = 0;
    for await (const chunk of stream) length += chunk.length;
    expect(length).toBeGreaterThan(large.length);
  });

  test("have none of the properties by which the AWS SDK takes streams for files or bytes", () => {
    for (const stream of [createEncryptStream({ keyring }), createDecryptStream({ keyring })]) {
      for (const name of ["length", "byteLength", "size", "path", "start", "fd"])
        expect(name in stream, name).toBe(false);
      stream.destroy();
    }
  });

  test("chunks may change after their callback", async () => {
    const stream = createEncryptStream({ keyring });
    const sealed = buffer(stream);
    for (let at = 0; at < data.length; at += 100_000) {
      const chunk = Buffer.from(data.subarray(at, at + 100_000));
      await new Promise<void>((resolve, reject) =>
        stream.write(chunk, (error) => (error === null || error === undefined ? resolve() : reject(error))),
      );
      chunk.fill(0);
    }
    stream.end();
    expect((await decrypt(await sealed, { keyring })).plaintext.equals(data)).toBe(true);
  });

  test("output chunks have 64 KiB or more but for the last", async () => {
    const chunks: number[] = [];
    const source = Readable.from([data.subarray(0, 3_000_000), data.subarray(3_000_000)], {
      objectMode: false,
    });
    for await (const chunk of source.pipe(createEncryptStream({ keyring }))) chunks.push(chunk.length);
    expect(chunks.length).toBeGreaterThan(1);
    expect(Math.min(...chunks.slice(0, -1))).toBeGreaterThanOrEqual(65_536);
  });

  test("a frame that is written comes out without more input", async () => {
    const [sealer, opener] = [
      createEncryptStream({ keyring, frameLength: 1024 }),
      createDecryptStream({ keyring }),
    ];
    sealer.pipe(opener);
    sealer.write(data.subarray(0, 2048));
    const [first] = await once(opener, "data");
    expect(data.subarray(0, first.length).equals(first)).toBe(true);
    sealer.destroy();
    opener.destroy();
  });

  test("a signed message keeps its last frame until the signature is verified", async () => {
    const message = await encrypt(data.subarray(0, 40_000), { keyring, suite: 0x0578, frameLength: 4096 });
    const forged = Buffer.from(message);
    forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1;
    const released: Buffer[] = [];
    const opener = Readable.from([forged]).pipe(createDecryptStream({ keyring }));
    opener.on("data", (chunk) => released.push(chunk));
    const [error] = await once(opener, "error");
    expect(error.code).toBe("AUTHENTICATION_FAILED");
    expect(Buffer.concat(released).length).toBeLessThanOrEqual(36_864);
  });

  test.each([16, 4096, 65_536, 1_000_000])(
    "chunks of one turn come out as few, frames of %i",
    async (frameLength) => {
      for (const pieceLength of [7, 1_000, 65_536, 100_003]) {
        const bytes = data.subarray(0, Math.min(data.length, pieceLength * 5_000));
        const pieces = Math.ceil(bytes.length / pieceLength);
        const write = async (
          stream: ReturnType<typeof createEncryptStream>,
          source: Buffer,
        ): Promise<Buffer[]> => {
          const chunks: Buffer[] = [];
          stream.on("data", (chunk) => chunks.push(chunk));
          for (let at = 0; at < source.length; at += pieceLength) {
            if (!stream.write(source.subarray(at, at + pieceLength))) await once(stream, "drain");
          }
          stream.end();
          await once(stream, "end");
          return chunks;
        };
        const sealed = await write(createEncryptStream({ keyring, frameLength }), bytes);
        const opened = await write(createDecryptStream({ keyring }), Buffer.concat(sealed));
        expect(Buffer.concat(opened).equals(bytes)).toBe(true);
        for (const chunks of [sealed, opened]) expect(chunks.length).toBeLessThan(Math.max(20, pieces / 3));
      }
    },
  );

  test("chunks of one turn may change after their callbacks", async () => {
    const stream = createEncryptStream({ keyring, frameLength: 16_384 });
    const sealed = buffer(stream);
    let at = 0;
    const writeMany = (count: number): Promise<unknown> =>
      Promise.all(
        Array.from({ length: count }, () => {
          const chunk = Buffer.from(data.subarray(at, at + 33_333));
          at += chunk.length;
          return new Promise<void>((resolve, reject) =>
            stream.write(chunk, (error) => {
              chunk.fill(0);
              if (error instanceof Error) reject(error);
              else resolve();
            }),
          );
        }),
      );
    for (let turn = 0; turn < 20; turn++) await writeMany(1 + (turn % 7));
    stream.end();
    expect((await decrypt(await sealed, { keyring })).plaintext.equals(data.subarray(0, at))).toBe(true);
  });

  test("a writer may cork the stream himself, over several turns", async () => {
    const stream = createEncryptStream({ keyring, frameLength: 1024 });
    const sealed = buffer(stream);
    stream.write(data.subarray(0, 1000));
    stream.cork();
    stream.write(data.subarray(1000, 3000));
    await turns(2);
    expect(stream.writableLength).toBe(3000);
    stream.write(data.subarray(3000, 5000));
    stream.uncork();
    await turns(2);
    expect(stream.writableLength).toBe(0);
    stream.cork();
    stream.write(data.subarray(5000, 6000));
    stream.end(data.subarray(6000, 7000));
    expect((await decrypt(await sealed, { keyring })).plaintext.equals(data.subarray(0, 7000))).toBe(true);
  });

  test.each(["native", "node"])(
    "recycled chunks of the %s engine are gone, and what comes later is right",
    async (engine) => {
      if (engine === "native" && engineInfo().engine !== "native") return;
      const [sealer, opener] = [
        createEncryptStream({ keyring, engine }),
        createDecryptStream({ keyring, engine }),
      ];
      const message: Buffer[] = [];
      for await (const chunk of Readable.from([data], { objectMode: false }).pipe(
        sealer,
      ) as AsyncIterable<Buffer>) {
        message.push(Buffer.from(chunk));
        sealer.recycle(chunk);
        expect(chunk.length === 0).toBe(engine === "native");
      }
      const plaintext: Buffer[] = [];
      for await (const chunk of Readable.from(message, { objectMode: false }).pipe(
        opener,
      ) as AsyncIterable<Buffer>) {
        plaintext.push(Buffer.from(chunk));
        opener.recycle(chunk);
        expect(chunk.length === 0 || chunk.every((byte) => byte === 0)).toBe(true);
      }
      expect(Buffer.concat(plaintext).equals(data)).toBe(true);
      // Memory that others use is not taken away, and nothing is taken twice.
      const [part, whole] = [Buffer.from("part of the pool"), new Uint8Array(new SharedArrayBuffer(8))];
      for (const chunk of [part, whole]) opener.recycle(chunk);
      expect(part.toString()).toBe("part of the pool");
      expect(whole.length).toBe(8);
      const own = new Uint8Array(100).fill(1);
      opener.recycle(own);
      if (engine === "native") expect(() => opener.recycle(own)).toThrow(TypeError);
      expect(() => opener.recycle("text" as never)).toThrow(TypeError);
    },
  );

  test("what is no bytes ends in an error, not in a throw", async () => {
    const stream = createDecryptStream({ keyring });
    const failed = once(stream, "error");
    stream.end("no message at all");
    expect((await failed)[0].code).toMatch(/INVALID_HEADER|TRUNCATED|UNSUPPORTED/);
    expect(stream.destroyed).toBe(true);
  });

  test("memory that is shared is copied", async () => {
    const shared = new Uint8Array(new SharedArrayBuffer(100_000));
    shared.set(data.subarray(0, 100_000));
    const message = await encrypt(shared, { keyring });
    expect((await decrypt(message, { keyring })).plaintext.equals(data.subarray(0, 100_000))).toBe(true);
  });

  test("Web streams and async iterables", async () => {
    const source = Readable.toWeb(Readable.from([data], { objectMode: false })) as ReadableStream<Uint8Array>;
    const opened = source
      .pipeThrough(encryptWebStream({ keyring }))
      .pipeThrough(decryptWebStream({ keyring }));
    expect((await buffer(opened)).equals(data)).toBe(true);
    const message = await encrypt(Readable.from([data], { objectMode: false }), { keyring });
    expect((await decrypt(message, { keyring })).plaintext.equals(data)).toBe(true);
  });
});
