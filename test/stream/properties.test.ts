// Properties of streams over any length, frame length, chunking and moment of abortion, on both engines.
import { randomBytes } from "node:crypto";
import { Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  createDecryptStream,
  createEncryptStream,
  decrypt,
  encrypt,
  FramesealError,
  openMessage,
  prepareMessage,
  RawAesKeyring,
} from "../../src/index.ts";
import { engineNames } from "../message/fixtures.ts";

const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: Buffer.alloc(32, 5) });
const pool = randomBytes(400_000);
const seed = Number(process.env.FRAMESEAL_SEED ?? 20_261_124);
const runs = { seed, numRuns: Number(process.env.FRAMESEAL_RUNS ?? 300) };

const anyEngine = fc.constantFrom(...engineNames);
const frameLengths = fc.constantFrom(16, 32, 48, 1024, 4096, 65_536);
const suites = fc.constantFrom(0x0478, 0x0578);
/** A plaintext that has at most 400 frames, often an exact multiple. */
const plaintexts = frameLengths.chain((frameLength) =>
  fc
    .tuple(
      fc.nat({ max: Math.min(400, Math.floor(pool.length / frameLength) - 1) }),
      fc.constantFrom(0, 0, 1, 15, frameLength - 1),
    )
    .map(([frames, rest]) => ({ frameLength, plaintext: pool.subarray(0, frames * frameLength + rest) })),
);
const chunkings = fc.array(fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 100_000 })), {
  minLength: 1,
  maxLength: 5,
});

function* cut(bytes: Uint8Array, lengths: readonly number[]): Generator<Uint8Array> {
  // Single bytes are tried on what a test can afford.
  const least = Math.ceil(bytes.length / 2000);
  for (let [at, index] = [0, 0]; at < bytes.length; index++) {
    const length = Math.max(least, lengths[index % lengths.length] ?? 1);
    yield bytes.subarray(at, at + length);
    at += length;
  }
}

class Collector extends Writable {
  readonly chunks: Buffer[] = [];
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.chunks.push(Buffer.from(chunk));
    done();
  }
  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }
}

async function through(
  bytes: Uint8Array,
  lengths: readonly number[],
  stream: NodeJS.ReadWriteStream,
): Promise<Buffer> {
  const collector = new Collector();
  await pipeline(Readable.from(cut(bytes, lengths), { objectMode: false }), stream, collector);
  return collector.bytes;
}

describe(`streams, seed ${seed}, engines ${engineNames.join(" and ")}`, () => {
  test("any chunking gives the plaintext back, and the length that was announced", { timeout: 120_000 }, () =>
    fc.assert(
      fc.asyncProperty(
        plaintexts,
        suites,
        anyEngine,
        anyEngine,
        chunkings,
        chunkings,
        async ({ plaintext, frameLength }, suite, sealer, opener, sealChunks, openChunks) => {
          const prepared = await prepareMessage({ keyring, suite, frameLength, engine: sealer });
          const message = await through(plaintext, sealChunks, prepared.createEncryptStream());
          expect(message.length).toBe(prepared.ciphertextLength(plaintext.length));
          const opened = await through(message, openChunks, createDecryptStream({ keyring, engine: opener }));
          expect(opened.equals(plaintext)).toBe(true);
        },
      ),
      runs,
    ),
  );

  test("ranges are slices", { timeout: 120_000 }, () =>
    fc.assert(
      fc.asyncProperty(
        plaintexts,
        anyEngine,
        fc.nat(),
        fc.nat(),
        async ({ plaintext, frameLength }, engine, a, b) => {
          const message = await encrypt(plaintext, { keyring, frameLength, engine });
          const reader = await openMessage(message, { keyring, engine });
          const [start, end] = [a % (plaintext.length + 1), b % (plaintext.length + 1)].sort(
            (x, y) => x - y,
          ) as [number, number];
          if (start < end)
            expect((await reader.read(start, end)).equals(plaintext.subarray(start, end))).toBe(true);
          expect(reader.plaintextLength).toBe(plaintext.length);
          await reader.close();
        },
      ),
      runs,
    ),
  );

  test("a cut or altered message fails, and what came before is a prefix", { timeout: 120_000 }, () =>
    fc.assert(
      fc.asyncProperty(
        plaintexts,
        anyEngine,
        chunkings,
        fc.nat(),
        fc.nat({ max: 8 }),
        async ({ plaintext, frameLength }, engine, lengths, position, bit) => {
          const message = await encrypt(plaintext, { keyring, frameLength });
          const at = position % message.length;
          const altered = bit === 8 ? message.subarray(0, at) : Buffer.from(message);
          if (bit < 8) altered[at] = (altered[at] ?? 0) ^ (1 << bit);
          const collector = new Collector();
          const source = Readable.from(cut(altered, lengths), { objectMode: false });
          await expect(
            pipeline(source, createDecryptStream({ keyring, engine }), collector),
          ).rejects.toBeInstanceOf(FramesealError);
          const released = collector.bytes;
          expect(plaintext.subarray(0, released.length).equals(released)).toBe(true);
          expect(released.length % frameLength).toBe(0);
          await expect(decrypt(altered, { keyring, engine })).rejects.toBeInstanceOf(FramesealError);
        },
      ),
      runs,
    ),
  );

  test("destroyed or aborted at any moment, a stream closes and says why once", { timeout: 120_000 }, () =>
    fc.assert(
      fc.asyncProperty(
        plaintexts,
        anyEngine,
        fc.nat({ max: 30 }),
        fc.boolean(),
        fc.boolean(),
        async ({ plaintext, frameLength }, engine, turns, viaSignal, opening) => {
          const controller = new AbortController();
          const { signal } = controller;
          const message = opening ? await encrypt(plaintext, { keyring, frameLength }) : plaintext;
          const stream = opening
            ? createDecryptStream({ keyring, engine, signal })
            : createEncryptStream({ keyring, frameLength, engine, signal });
          const errors: unknown[] = [];
          stream.on("error", (error) => errors.push(error));
          stream.on("data", () => {});
          const closed = new Promise((resolve) => stream.once("close", resolve));
          for (const chunk of cut(message, [1000])) stream.write(chunk);
          for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
          const reason = new Error("enough");
          if (viaSignal) controller.abort(reason);
          else stream.destroy(reason);
          await closed;
          expect(errors).toHaveLength(1);
          expect(stream.destroyed).toBe(true);
        },
      ),
      runs,
    ),
  );
});
