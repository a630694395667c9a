// What uploaders see of our streams and of each chunk: nothing that looks like a length of the body, chunks that are long
// enough and pin no memory but their own, and neither header nor tag alone in one.
import { randomBytes } from "node:crypto";
import { Readable, type Transform } from "node:stream";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  createDecryptStream,
  createEncryptStream,
  decryptWebStream,
  encrypt,
  encryptWebStream,
  openMessage,
  prepareMessage,
  RawAesKeyring,
} from "../../src/index.ts";
import { cut, engineNames } from "../message/fixtures.ts";

const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: Buffer.alloc(32, 8) });
const pool = randomBytes(4 * 2 ** 20);
const seed = Number(process.env.FRAMESEAL_SEED ?? 20_261_125);
/** Uploaders refuse smaller ones; ours are longer still. */
const LEAST = 65_536;
/** Signature of P-384 with its length field, at least. */
const FOOTER_LENGTH = 2 + 98;

const cases = {
  frameLength: fc.constantFrom(16 * 64, 4096, 65_536, 65_552, 262_144, 2 ** 20),
  length: fc.nat({ max: pool.length }),
  chunkLength: fc.constantFrom(10_000, 65_536, 65_537, 300_000, 2 ** 20, 4 * 2 ** 20),
  suite: fc.constantFrom(0x0478, 0x0578),
};

async function chunksOf(source: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return chunks;
}

function through(bytes: Uint8Array, chunkLength: number, stream: Transform): Promise<Uint8Array[]> {
  return chunksOf(Readable.from(cut(bytes, chunkLength), { objectMode: false }).pipe(stream));
}

function expectOwnMemory(chunks: readonly Uint8Array[]): void {
  for (const chunk of chunks) {
    expect(chunk.byteOffset).toBe(0);
    expect(chunk.buffer.byteLength).toBe(chunk.length);
  }
  expect(new Set(chunks.map(({ buffer }) => buffer)).size).toBe(chunks.length);
}

describe.each(engineNames)(`output chunks, engine %s, seed ${seed}`, (engine) => {
  test("of a stream that seals", { timeout: 120_000 }, () =>
    fc.assert(
      fc.asyncProperty(fc.record(cases), async ({ frameLength, length, chunkLength, suite }) => {
        const prepared = await prepareMessage({ keyring, frameLength, suite, engine });
        const chunks = await through(pool.subarray(0, length), chunkLength, prepared.createEncryptStream());
        expectOwnMemory(chunks);
        for (const chunk of chunks.slice(0, -1)) expect(chunk.length).toBeGreaterThanOrEqual(LEAST);
        // The header comes with the first frames, the signature with the final frame.
        expect(chunks[0]?.length).toBeGreaterThan(prepared.headerLength);
        expect(chunks.at(-1)?.length).toBeGreaterThanOrEqual(suite === 0x0578 ? 40 + FOOTER_LENGTH : 40);
        if (length < frameLength) expect(chunks.length).toBe(1);
      }),
      { seed, numRuns: 60 },
    ),
  );

  test("of a stream that opens", { timeout: 120_000 }, () =>
    fc.assert(
      fc.asyncProperty(fc.record(cases), async ({ frameLength, length, chunkLength, suite }) => {
        const message = await encrypt(pool.subarray(0, length), { keyring, frameLength, suite, engine });
        expectOwnMemory(await through(message, chunkLength, createDecryptStream({ keyring, engine })));
      }),
      { seed, numRuns: 60 },
    ),
  );

  test("of a stream of a range", { timeout: 120_000 }, async () => {
    for (const frameLength of [4096, 65_536, 262_144]) {
      const message = await encrypt(pool, { keyring, frameLength, engine });
      for (const cacheLength of [0, 2 ** 20]) {
        const reader = await openMessage(message, { keyring, engine, cacheLength });
        for (const [start, end] of [
          [0, pool.length - 1],
          [frameLength, 3 * 2 ** 20 - 1],
          [1, 3_000_000],
          [frameLength - 1, 2 * frameLength],
        ] as const) {
          const chunks = await chunksOf(reader.createReadStream({ start, end }));
          expect(Buffer.concat(chunks).equals(pool.subarray(start, end + 1))).toBe(true);
          expectOwnMemory(chunks.filter(({ length }) => length >= LEAST));
        }
        await reader.close();
      }
    }
  });

  test("of Web streams", async () => {
    const source = () =>
      Readable.toWeb(Readable.from(cut(pool, 300_000), { objectMode: false })) as ReadableStream<Uint8Array>;
    const sealed = await chunksOf(source().pipeThrough(encryptWebStream({ keyring, engine })));
    expectOwnMemory(sealed);
    for (const chunk of sealed.slice(0, -1)) expect(chunk.length).toBeGreaterThanOrEqual(LEAST);
    const opened = source()
      .pipeThrough(encryptWebStream({ keyring, engine }))
      .pipeThrough(decryptWebStream({ keyring, engine }));
    expectOwnMemory(await chunksOf(opened));
  });

  test("no stream has a property that is taken for a length or a file", async () => {
    const message = await encrypt(pool.subarray(0, 100_000), { keyring, engine });
    const reader = await openMessage(message, { keyring, engine });
    const [sealing, opening] = [encryptWebStream({ keyring, engine }), decryptWebStream({ keyring, engine })];
    const prepared = await prepareMessage({ keyring, engine });
    const streams: Record<string, object> = {
      sealing: createEncryptStream({ keyring, engine }),
      prepared: prepared.createEncryptStream(),
      opening: createDecryptStream({ keyring, engine }),
      range: reader.createReadStream({ start: 5, end: 80_000 }),
      webSealing: sealing,
      webSealingOutput: sealing.readable,
      webOpening: opening,
      webOpeningOutput: opening.readable,
    };
    for (const [name, stream] of Object.entries(streams)) {
      for (const property of [
        "length",
        "byteLength",
        "contentLength",
        "size",
        "path",
        "start",
        "fd",
        "bytesRead",
      ])
        expect(property in stream, `${name}.${property}`).toBe(false);
      // What is written to has a method of this name; a number would be the end of a part of a file.
      expect(["undefined", "function"], `${name}.end`).toContain(typeof Reflect.get(stream, "end"));
      if (stream instanceof Readable) {
        stream.on("error", () => {});
        stream.destroy();
      }
    }
    await reader.close();
  });
});
