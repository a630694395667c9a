// One suite for every engine and kernel. The reference below shares nothing with src/: frames are built from the words
// of the format, and AES-GCM is OpenSSL's, one call per frame.
import { createCipheriv, randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { type AeadKey, type Engine, NO_FINAL_FRAME } from "../../src/engine/engine.ts";

const ALGORITHMS = new Map([
  [16, "aes-128-gcm"],
  [24, "aes-192-gcm"],
  [32, "aes-256-gcm"],
] as const);

/** One-shot AES-GCM by OpenSSL: ciphertext ‖ tag. */
export function referenceSeal(
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  plaintext: Uint8Array,
): Buffer {
  const algorithm = ALGORITHMS.get(key.length as 16 | 24 | 32);
  if (algorithm === undefined) throw new Error("bad key length");
  const cipher = createCipheriv(algorithm, key, nonce).setAAD(aad);
  return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

/** A 32-bit big-endian number. */
function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Format of the frames in these tests. */
export const FORMAT = {
  regularAadPrefix: Buffer.from("message id and the text of a regular frame"),
  finalAadPrefix: Buffer.from("message id and the text of a final frame"),
};

interface Run {
  readonly key: Uint8Array;
  readonly frameLength: number;
  readonly firstSequence: number;
  readonly frameCount: number;
  readonly finalLength: number;
  readonly plaintext: Uint8Array;
}

function makeRun(frameLength: number, firstSequence: number, frameCount: number, finalLength: number): Run {
  const length = frameCount * frameLength + Math.max(0, finalLength);
  const plaintext = randomBytes(length);
  return { key: randomBytes(32), frameLength, firstSequence, frameCount, finalLength, plaintext };
}

/** One sealed frame on the wire, with any nonce. */
function referenceFrame(run: Run, index: number, nonce?: Uint8Array): Buffer {
  const isFinal = index === run.frameCount;
  const start = index * run.frameLength;
  const part = run.plaintext.subarray(start, isFinal ? undefined : start + run.frameLength);
  const sequence = uint32(run.firstSequence + index);
  const iv = nonce ?? Buffer.concat([Buffer.alloc(8), sequence]);
  const prefix = isFinal ? FORMAT.finalAadPrefix : FORMAT.regularAadPrefix;
  const aad = Buffer.concat([prefix, sequence, uint32(0), uint32(part.length)]);
  const sealed = referenceSeal(run.key, iv, aad, part);
  if (!isFinal) return Buffer.concat([sequence, iv, sealed]);
  return Buffer.concat([uint32(0xffffffff), sequence, iv, uint32(part.length), sealed]);
}

function totalFrames(run: Run): number {
  return run.frameCount + (run.finalLength === NO_FINAL_FRAME ? 0 : 1);
}

function referenceFrames(run: Run): Buffer {
  return Buffer.concat(Array.from({ length: totalFrames(run) }, (_, index) => referenceFrame(run, index)));
}

/** Views of `bytes` cut every `length` bytes. */
function cut(bytes: Uint8Array, length: number): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += length) chunks.push(bytes.subarray(at, at + length));
  return chunks;
}

/** A copy of `bytes` that starts at an odd address. */
function unaligned(bytes: Uint8Array, offset: number): Uint8Array {
  const copy = new Uint8Array(bytes.length + offset);
  copy.set(bytes, offset);
  return copy.subarray(offset);
}

function flipped(bytes: Uint8Array, at: number, mask = 1): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ mask;
  return copy;
}

function same(actual: Uint8Array | null, expected: Uint8Array): boolean {
  return actual !== null && Buffer.from(actual).equals(expected);
}

function withKey<T>(engine: Engine, rawKey: Uint8Array, use: (key: AeadKey) => T): T {
  const key = engine.createKey(rawKey);
  try {
    return use(key);
  } finally {
    key.dispose();
  }
}

async function withKeyAsync<T>(
  engine: Engine,
  rawKey: Uint8Array,
  use: (key: AeadKey) => Promise<T>,
): Promise<T> {
  const key = engine.createKey(rawKey);
  try {
    return await use(key);
  } finally {
    key.dispose();
  }
}

/** All of 0–300 and the neighbourhood of multiples of the widths that loops are built from. */
export const LENGTHS = [
  ...Array.from({ length: 301 }, (_, i) => i),
  ...[16, 64, 128, 256, 1024, 4096, 65536].flatMap((width) =>
    [1, 2, 3, 5, 16].flatMap((factor) =>
      [-17, -16, -15, -1, 0, 1, 15, 16, 17].map((d) => width * factor + d),
    ),
  ),
].filter((length) => length >= 0 && length <= 200_000);

/** Defines the tests of one engine. */
export function describeEngine(name: string, engine: Engine): void {
  describe(`engine ${name}`, () => {
    test("seals and opens like OpenSSL at every length", () => {
      const rawKey = randomBytes(32);
      withKey(engine, rawKey, (key) => {
        for (const length of new Set(LENGTHS)) {
          const nonce = randomBytes(12);
          const aad = randomBytes(length % 67);
          const plaintext = randomBytes(length);
          const expected = referenceSeal(rawKey, nonce, aad, plaintext);
          if (!same(key.seal(nonce, aad, plaintext), expected))
            expect.fail(`sealed wrongly at length ${length}`);
          if (!same(key.open(nonce, aad, expected), plaintext))
            expect.fail(`opened wrongly at length ${length}`);
        }
      });
    });
    test("takes keys of 16, 24 and 32 bytes and no others", () => {
      for (const length of [16, 24, 32]) {
        const rawKey = randomBytes(length);
        const [nonce, aad, plaintext] = [randomBytes(12), randomBytes(5), randomBytes(1_000)];
        withKey(engine, rawKey, (key) => {
          expect(same(key.seal(nonce, aad, plaintext), referenceSeal(rawKey, nonce, aad, plaintext))).toBe(
            true,
          );
        });
      }
      for (const length of [0, 15, 31, 33, 64]) {
        expect(() => engine.createKey(new Uint8Array(length))).toThrow(RangeError);
      }
      expect(() => engine.createKey("x" as unknown as Uint8Array)).toThrow(TypeError);
    });
    test("copies the key, and throws after dispose", () => {
      const rawKey = randomBytes(32);
      const nonce = randomBytes(12);
      const expected = referenceSeal(rawKey, nonce, new Uint8Array(0), rawKey);
      const plaintext = Uint8Array.from(rawKey);
      const key = engine.createKey(rawKey);
      const frames = key.frameCipher({ frameLength: 16, ...FORMAT });
      rawKey.fill(0);
      expect(same(key.seal(nonce, new Uint8Array(0), plaintext), expected)).toBe(true);
      key.dispose();
      expect(() => key.seal(nonce, new Uint8Array(0), plaintext)).toThrow();
      expect(() => key.open(nonce, new Uint8Array(0), expected)).toThrow();
      expect(() => key.startSeal(nonce, new Uint8Array(0))).toThrow();
      expect(() => frames.seal([new Uint8Array(16)], 1, 1, NO_FINAL_FRAME, 0)).toThrow();
    });
    test("reads unaligned views and long AAD", () => {
      const rawKey = randomBytes(32);
      withKey(engine, rawKey, (key) => {
        for (const offset of [0, 1, 3, 7, 15, 31, 63]) {
          for (const length of [1, 16, 63, 1_000, 5_000]) {
            const nonce = unaligned(randomBytes(12), offset);
            const aad = unaligned(randomBytes(offset * 37), 64 - offset);
            const plaintext = unaligned(randomBytes(length), offset);
            const expected = referenceSeal(rawKey, nonce, aad, plaintext);
            expect(same(key.seal(nonce, aad, plaintext), expected)).toBe(true);
            expect(same(key.open(nonce, aad, unaligned(expected, offset)), plaintext)).toBe(true);
          }
        }
      });
    });
    test("refuses every flipped bit of tag, ciphertext, AAD and nonce", () => {
      const rawKey = randomBytes(32);
      withKey(engine, rawKey, (key) => {
        const [nonce, aad] = [randomBytes(12), randomBytes(7)];
        const sealed = referenceSeal(rawKey, nonce, aad, randomBytes(37));
        for (let at = 0; at < sealed.length; at++) {
          for (let bit = 0; bit < 8; bit++)
            expect(key.open(nonce, aad, flipped(sealed, at, 1 << bit))).toBe(null);
        }
        for (let at = 0; at < nonce.length; at++)
          expect(key.open(flipped(nonce, at), aad, sealed)).toBe(null);
        for (let at = 0; at < aad.length; at++) expect(key.open(nonce, flipped(aad, at), sealed)).toBe(null);
        for (let length = 0; length < sealed.length; length++) {
          expect(key.open(nonce, aad, sealed.subarray(0, length))).toBe(null);
        }
        expect(key.open(nonce, aad, sealed)).not.toBe(null);
      });
    });
    test("refuses wrong argument types and lengths", () => {
      withKey(engine, randomBytes(32), (key) => {
        const empty = new Uint8Array(0);
        expect(() => key.seal(new Uint8Array(11), empty, empty)).toThrow('"nonce" expected 12 bytes, got 11');
        expect(() => key.open(new Uint8Array(13), empty, empty)).toThrow(RangeError);
        expect(() => key.seal(new Uint8Array(12), empty, "text" as unknown as Uint8Array)).toThrow(TypeError);
        expect(() => key.seal(new Uint8Array(12), undefined as unknown as Uint8Array, empty)).toThrow(
          TypeError,
        );
        expect(() => key.frameCipher({ frameLength: 0, ...FORMAT })).toThrow(RangeError);
        expect(() => key.frameCipher({ frameLength: 1.5, ...FORMAT })).toThrow(RangeError);
        expect(() => key.startOpen(empty, empty)).toThrow(RangeError);
      });
    });
    test("throws TypeError for views of a detached buffer", () => {
      withKey(engine, randomBytes(32), (key) => {
        const detached = new Uint8Array(64);
        structuredClone(detached.buffer, { transfer: [detached.buffer] });
        const empty = new Uint8Array(0);
        const frames = key.frameCipher({ frameLength: 16, ...FORMAT });
        expect(() => key.seal(new Uint8Array(12), empty, detached)).toThrow(TypeError);
        expect(() => key.seal(new Uint8Array(12), detached, empty)).toThrow(TypeError);
        expect(() => key.open(new Uint8Array(12), empty, detached)).toThrow(TypeError);
        expect(() => frames.seal([detached], 1, 0, 0, 0)).toThrow(TypeError);
        expect(() => key.startSeal(new Uint8Array(12), empty).update(detached)).toThrow(TypeError);
      });
    });
    test("reads views of shared memory", () => {
      const rawKey = randomBytes(32);
      withKey(engine, rawKey, (key) => {
        for (const length of [0, 5, 100, 70_000]) {
          const shared = new Uint8Array(new SharedArrayBuffer(length));
          shared.set(randomBytes(length));
          const plaintext = Uint8Array.from(shared);
          const [nonce, aad] = [randomBytes(12), randomBytes(3)];
          const expected = referenceSeal(rawKey, nonce, aad, plaintext);
          expect(same(key.seal(nonce, aad, shared), expected)).toBe(true);
          const sealed = new Uint8Array(new SharedArrayBuffer(expected.length));
          sealed.set(expected);
          expect(same(key.open(nonce, aad, sealed), plaintext)).toBe(true);
          const sealer = key.startSeal(nonce, aad);
          expect(same(sealer.update(shared), expected.subarray(0, length))).toBe(true);
        }
      });
    });
    test("gives results in memory of their own", () => {
      withKey(engine, randomBytes(32), (key) => {
        const results = [0, 16, 100, 5_000].map((length) =>
          key.seal(randomBytes(12), randomBytes(1), randomBytes(length)),
        );
        for (const result of results) {
          expect(result.byteOffset).toBe(0);
          expect(result.buffer.byteLength).toBe(result.length);
          expect(result.constructor).toBe(Uint8Array);
        }
      });
    });

    test("recycles results that nobody needs", () => {
      if (engine.recycle === undefined) return;
      withKey(engine, randomBytes(32), (key) => {
        const sealed = key.seal(new Uint8Array(12), new Uint8Array(0), new Uint8Array(100_000));
        const view = sealed.subarray(5);
        engine.recycle?.(sealed);
        expect([sealed.length, view.length]).toEqual([0, 0]);
        expect(() => engine.recycle?.(sealed)).toThrow(TypeError);
        expect(() => key.seal(new Uint8Array(12), new Uint8Array(0), view)).toThrow(TypeError);
      });
      const pooled = Buffer.from("a short text lies in the pool of Node");
      engine.recycle(pooled);
      expect(pooled.toString()).toBe("a short text lies in the pool of Node");
    });

    test("a message in pieces can be given up, and is of no use then", () => {
      withKey(engine, randomBytes(32), (key) => {
        for (const start of ["startSeal", "startOpen"] as const) {
          const message = key[start](new Uint8Array(12), new Uint8Array(0));
          message.update(new Uint8Array(20));
          message.dispose?.();
          message.dispose?.();
          if (message.dispose !== undefined)
            expect(() => message.update(new Uint8Array(1))).toThrow(/finished/);
        }
        const finished = key.startSeal(new Uint8Array(12), new Uint8Array(0));
        finished.final();
        finished.dispose?.();
      });
    });

    describeFrames(engine);
    describeIncremental(engine);
    if (withKey(engine, randomBytes(32), (key) => key.segments !== undefined)) describeSegments(engine);
  });
}

function describeFrames(engine: Engine): void {
  const shapes: readonly (readonly [frameLength: number, first: number, count: number, final: number])[] = [
    [16, 1, 0, 0],
    [16, 1, 0, 16],
    [16, 1, 3, NO_FINAL_FRAME],
    [17, 1, 3, 5],
    [48, 7, 5, 48],
    [256, 0xfffffff0, 14, 0],
    [1_024, 1, 4, 1_000],
    [4_096, 1, 20, 4_095],
    [65_536, 3, 3, 1],
    [100_000, 1, 2, NO_FINAL_FRAME],
    [300_000, 1, 1, 299_999],
  ];
  test("seals and opens runs of frames like one GCM call per frame", () => {
    for (const shape of shapes) {
      const run = makeRun(...shape);
      const { frameLength, firstSequence, frameCount, finalLength, plaintext } = run;
      const expected = referenceFrames(run);
      withKey(engine, run.key, (key) => {
        const cipher = key.frameCipher({ frameLength, ...FORMAT });
        for (const headroom of [0, 5, 100]) {
          const sealed = cipher.seal([plaintext], firstSequence, frameCount, finalLength, headroom);
          expect(sealed.length).toBe(headroom + expected.length);
          expect(same(sealed.subarray(headroom), expected)).toBe(true);
          expect(sealed.subarray(0, headroom).every((byte) => byte === 0)).toBe(true);
        }
        const opened = cipher.open([expected], firstSequence, frameCount, finalLength);
        expect(opened.verifiedCount).toBe(totalFrames(run));
        expect(same(opened.plaintext, plaintext)).toBe(true);
      });
    }
  });
  test("takes chunks cut anywhere", () => {
    const run = makeRun(33, 5, 4, 21);
    const { frameLength, firstSequence, frameCount, finalLength, plaintext } = run;
    const expected = referenceFrames(run);
    withKey(engine, run.key, (key) => {
      const cipher = key.frameCipher({ frameLength, ...FORMAT });
      for (let length = 1; length <= expected.length; length++) {
        const chunks = [new Uint8Array(0), ...cut(plaintext, length), new Uint8Array(0)];
        if (!same(cipher.seal(chunks, firstSequence, frameCount, finalLength, 0), expected)) {
          expect.fail(`sealed wrongly in chunks of ${length}`);
        }
        const opened = cipher.open(
          cut(unaligned(expected, 1), length),
          firstSequence,
          frameCount,
          finalLength,
        );
        if (!same(opened.plaintext, plaintext)) expect.fail(`opened wrongly in chunks of ${length}`);
      }
      for (let at = 0; at <= plaintext.length; at++) {
        const chunks = [plaintext.subarray(0, at), plaintext.subarray(at)];
        expect(same(cipher.seal(chunks, firstSequence, frameCount, finalLength, 0), expected)).toBe(true);
      }
    });
  });
  test("takes chunks of large frames cut anywhere", () => {
    const run = makeRun(5_000, 1, 3, 4_321);
    const { frameLength, firstSequence, frameCount, finalLength, plaintext } = run;
    const expected = referenceFrames(run);
    withKey(engine, run.key, (key) => {
      const cipher = key.frameCipher({ frameLength, ...FORMAT });
      for (const length of [1, 15, 16, 17, 63, 64, 65, 1_000, 1_023, 1_024, 4_999, 5_000, 5_001, 12_345]) {
        expect(
          same(cipher.seal(cut(plaintext, length), firstSequence, frameCount, finalLength, 0), expected),
        ).toBe(true);
        const opened = cipher.open(cut(expected, length), firstSequence, frameCount, finalLength);
        expect(same(opened.plaintext, plaintext)).toBe(true);
      }
    });
  });
  test("returns the verified frames before the first bad one, whichever byte is bad", () => {
    const run = makeRun(20, 9, 2, 11);
    const { frameLength, firstSequence, frameCount, finalLength, plaintext } = run;
    const expected = referenceFrames(run);
    withKey(engine, run.key, (key) => {
      const cipher = key.frameCipher({ frameLength, ...FORMAT });
      for (let at = 0; at < expected.length; at++) {
        const bad = Math.min(2, Math.floor(at / 52));
        const opened = cipher.open([flipped(expected, at, 0x80)], firstSequence, frameCount, finalLength);
        expect(opened.verifiedCount).toBe(bad);
        expect(same(opened.plaintext, plaintext.subarray(0, bad * 20))).toBe(true);
        expect(opened.plaintext.buffer.byteLength).toBe(bad * 20);
      }
    });
  });
  test("refuses frames with another sequence number", () => {
    const run = makeRun(20, 9, 2, 11);
    withKey(engine, run.key, (key) => {
      const cipher = key.frameCipher({ frameLength: 20, ...FORMAT });
      for (const first of [1, 8, 10]) {
        expect(cipher.open([referenceFrames(run)], first, 2, 11).verifiedCount).toBe(0);
      }
      const swapped = Buffer.concat([1, 0, 2].map((index) => referenceFrame(run, index)));
      expect(cipher.open([swapped], 9, 2, 11).verifiedCount).toBe(0);
      const repeated = Buffer.concat([0, 0, 2].map((index) => referenceFrame(run, index)));
      expect(cipher.open([repeated], 9, 2, 11).verifiedCount).toBe(1);
    });
  });
  test("opens frames whose stored nonce is not the sequence number", () => {
    const run = makeRun(100, 1, 2, 50);
    const frames = [0, 1, 2].map((index) => referenceFrame(run, index, randomBytes(12)));
    withKey(engine, run.key, (key) => {
      const cipher = key.frameCipher({ frameLength: 100, ...FORMAT });
      const opened = cipher.open([Buffer.concat(frames)], 1, 2, 50);
      expect(opened.verifiedCount).toBe(3);
      expect(same(opened.plaintext, run.plaintext)).toBe(true);
    });
  });
  test("throws an internal error when chunks and run disagree or sequence numbers would wrap", () => {
    withKey(engine, randomBytes(32), (key) => {
      const cipher = key.frameCipher({ frameLength: 16, ...FORMAT });
      const bytes = new Uint8Array(32);
      expect(() => cipher.seal([bytes], 1, 1, NO_FINAL_FRAME, 0)).toThrow("internal error");
      expect(() => cipher.seal([bytes], 1, 3, NO_FINAL_FRAME, 0)).toThrow("internal error");
      expect(() => cipher.seal([bytes], 0, 2, NO_FINAL_FRAME, 0)).toThrow("internal error");
      expect(() => cipher.seal([bytes], 0xffffffff, 2, NO_FINAL_FRAME, 0)).toThrow("internal error");
      expect(() => cipher.seal([bytes], 1, 1, 17, 0)).toThrow("internal error");
      expect(() => cipher.open([bytes], 1, 1, NO_FINAL_FRAME)).toThrow("internal error");
      expect(cipher.seal([bytes], 0xfffffffe, 2, NO_FINAL_FRAME, 0).length).toBe(96);
    });
  });
  test("seals into and opens into memory of the caller", () => {
    const run = makeRun(1_000, 1, 5, 77);
    const expected = referenceFrames(run);
    withKey(engine, run.key, (key) => {
      const cipher = key.frameCipher({ frameLength: 1_000, ...FORMAT });
      if (cipher.sealInto === undefined || cipher.openInto === undefined) return;
      const output = new Uint8Array(expected.length + 10).fill(0xaa);
      expect(cipher.sealInto(output.subarray(3), [run.plaintext], 1, 5, 77)).toBe(expected.length);
      expect(same(output.subarray(3, 3 + expected.length), expected)).toBe(true);
      expect([output[2], output[3 + expected.length]]).toEqual([0xaa, 0xaa]);
      const plaintext = new Uint8Array(run.plaintext.length + 4).fill(0xbb);
      expect(cipher.openInto(plaintext, [expected], 1, 5, 77)).toEqual({
        plaintextLength: 5_077,
        verifiedCount: 6,
      });
      expect(same(plaintext.subarray(0, 5_077), run.plaintext)).toBe(true);
      expect(plaintext[5_077]).toBe(0xbb);
      const forged = flipped(expected, 2 * 1_032 + 500);
      expect(cipher.openInto(plaintext, [forged], 1, 5, 77)).toEqual({
        plaintextLength: 2_000,
        verifiedCount: 2,
      });
      expect(plaintext.subarray(2_000, 5_077).every((byte) => byte === 0)).toBe(true);
      expect(() => cipher.sealInto?.(new Uint8Array(10), [run.plaintext], 1, 5, 77)).toThrow(RangeError);
    });
  });
  test("does the same with the help of other threads", () => {
    for (const shape of [
      ...shapes,
      [65_536, 1, 40, 100] as const,
      [1_000, 9, 1_500, NO_FINAL_FRAME] as const,
      [300_000, 2, 3, 70_000] as const, // frames that are worked on in pieces
      [131_072, 1, 1, 0] as const,
      [1_000_000, 7, 0, 999_999] as const,
    ]) {
      const run = makeRun(...shape);
      const { frameLength, firstSequence, frameCount, finalLength } = run;
      const expected = referenceFrames(run);
      withKey(engine, run.key, (key) => {
        for (const threads of [1, 2, 1024]) {
          const cipher = key.frameCipher({ frameLength, ...FORMAT }, threads);
          for (const length of [7_777, 1_000_000]) {
            const chunks = cut(run.plaintext, length);
            const sealed = cipher.seal(chunks, firstSequence, frameCount, finalLength, 9);
            expect(same(sealed.subarray(9), expected)).toBe(true);
            expect(sealed.subarray(0, 9).every((byte) => byte === 0)).toBe(true);
            const opened = cipher.open(cut(expected, length), firstSequence, frameCount, finalLength);
            expect(opened.verifiedCount).toBe(totalFrames(run));
            expect(same(opened.plaintext, run.plaintext)).toBe(true);
          }
        }
      });
    }
  });
  test.each([16_384, 200_000])("keeps the verified frames before the first bad one of %i bytes", (length) => {
    const run = makeRun(length, 1, 30, 5);
    const expected = referenceFrames(run);
    withKey(engine, run.key, (key) => {
      const cipher = key.frameCipher({ frameLength: length, ...FORMAT }, 4);
      const output = new Uint8Array(run.plaintext.length);
      for (const bad of [0, 1, 13, 29, 30]) {
        // Sequence number, nonce, text, its last byte, tag.
        const places =
          bad === 30 ? [0, 4, 10, 20, 24, 30, 44] : [0, 4, 15, 16, length / 2, length + 15, length + 31];
        for (const at of places) {
          const forged = flipped(expected, bad * (length + 32) + at);
          const opened = cipher.open([forged], 1, 30, 5);
          expect(opened.verifiedCount).toBe(bad);
          expect(same(opened.plaintext, run.plaintext.subarray(0, bad * length))).toBe(true);
          expect(opened.plaintext.buffer.byteLength).toBe(bad * length);
          if (cipher.openInto === undefined) continue;
          output.fill(7);
          expect(cipher.openInto(output, [forged], 1, 30, 5).verifiedCount).toBe(bad);
          expect(same(output.subarray(0, bad * length), run.plaintext.subarray(0, bad * length))).toBe(true);
          expect(output.subarray(bad * length).every((byte) => byte === 0)).toBe(true);
        }
      }
    });
  });
  test("opens a frame that arrives in pieces", () => {
    const frameLength = 300_000 + 5;
    const run = makeRun(frameLength, 7, 1, NO_FINAL_FRAME);
    const sealed = referenceFrames(run);
    withKey(engine, run.key, (key) => {
      for (const threads of [1, 3]) {
        const cipher = key.frameCipher({ frameLength, ...FORMAT }, threads);
        if (cipher.startOpen === undefined) return;
        for (const pieceLength of [16, 4_096, 100_000, 400_000]) {
          for (const bad of [-1, 4, 16, 150_000, sealed.length - 17, sealed.length - 1]) {
            if (pieceLength === 16 && bad !== -1) continue;
            const bytes = bad === -1 ? sealed : flipped(sealed, bad);
            const opener = cipher.startOpen(7, bytes.subarray(4, 16));
            for (const piece of cut(bytes.subarray(16, -16), pieceLength)) opener.update(cut(piece, 33_333));
            expect(opener.missing).toBe(0);
            expect(() => opener.update([new Uint8Array(1)])).toThrow("internal error");
            const plaintext = opener.finish(bytes.subarray(-16));
            if (bad === -1) expect(plaintext !== null && same(plaintext, run.plaintext)).toBe(true);
            else expect(plaintext).toBe(null);
          }
        }
        const early = cipher.startOpen(7, sealed.subarray(4, 16));
        early.update([sealed.subarray(16, 16 + 1_600)]);
        expect(() => early.finish(sealed.subarray(-16))).toThrow("internal error");
        early.dispose();
        const otherNumber = cipher.startOpen(8, sealed.subarray(4, 16));
        otherNumber.update([sealed.subarray(16, -16)]);
        expect(otherNumber.finish(sealed.subarray(-16))).toBe(null);
      }
    });
  });
  test("does the same on other threads, if it is asynchronous", async () => {
    for (const shape of [
      ...shapes,
      [65_536, 1, 40, 100] as const,
      [1_000, 9, 1_500, NO_FINAL_FRAME] as const,
    ]) {
      const run = makeRun(...shape);
      const { frameLength, firstSequence, frameCount, finalLength } = run;
      const expected = referenceFrames(run);
      await withKeyAsync(engine, run.key, async (key) => {
        const cipher = key.frameCipher({ frameLength, ...FORMAT }, 2);
        if (cipher.sealAsync === undefined || cipher.openAsync === undefined) return;
        for (const length of [7_777, 1_000_000]) {
          const source = Uint8Array.from(run.plaintext);
          const promise = cipher.sealAsync(cut(source, length), firstSequence, frameCount, finalLength, 9);
          source.fill(0); // the chunks must have been copied
          const sealed = await promise;
          expect(same(sealed.subarray(9), expected)).toBe(true);
          expect(sealed.subarray(0, 9).every((byte) => byte === 0)).toBe(true);
          const frames = Uint8Array.from(expected);
          const opening = cipher.openAsync(cut(frames, length), firstSequence, frameCount, finalLength);
          frames.fill(0);
          const opened = await opening;
          expect(opened.verifiedCount).toBe(totalFrames(run));
          expect(same(opened.plaintext, run.plaintext)).toBe(true);
        }
      });
    }
  });
  test("returns the verified frames before the first bad one on other threads too", async () => {
    const run = makeRun(16_384, 1, 30, 5);
    const expected = referenceFrames(run);
    await withKeyAsync(engine, run.key, async (key) => {
      const cipher = key.frameCipher({ frameLength: 16_384, ...FORMAT }, 2);
      if (cipher.openAsync === undefined) return;
      for (const bad of [0, 1, 13, 29, 30]) {
        for (const at of [0, 4, 15, 16, 20, bad === 30 ? 30 : 16_000]) {
          const forged = flipped(expected, bad * (16_384 + 32) + at);
          const opened = await cipher.openAsync([forged], 1, 30, 5);
          expect(opened.verifiedCount).toBe(bad);
          expect(same(opened.plaintext, run.plaintext.subarray(0, bad * 16_384))).toBe(true);
          expect(opened.plaintext.buffer.byteLength).toBe(bad * 16_384);
        }
      }
    });
  });
  test("finishes asynchronous work that dispose overtakes", async () => {
    const run = makeRun(65_536, 1, 20, 5);
    const expected = referenceFrames(run);
    const key = engine.createKey(run.key);
    const cipher = key.frameCipher({ frameLength: 65_536, ...FORMAT }, 2);
    const pending = [1, 2, 3].map(() => cipher.sealAsync?.([run.plaintext], 1, 20, 5, 0));
    key.dispose();
    for (const sealed of await Promise.all(pending)) {
      if (sealed !== undefined) expect(same(sealed, expected)).toBe(true);
    }
    if (cipher.sealAsync === undefined) return;
    await expect((async () => cipher.sealAsync?.([run.plaintext], 1, 20, 5, 0))()).rejects.toThrow();
  });
}

function describeIncremental(engine: Engine): void {
  test("seals and opens one message in pieces of any length", () => {
    const rawKey = randomBytes(32);
    withKey(engine, rawKey, (key) => {
      for (const length of [0, 1, 15, 16, 17, 255, 256, 257, 3_000]) {
        const [nonce, aad, plaintext] = [randomBytes(12), randomBytes(length % 40), randomBytes(length)];
        const expected = referenceSeal(rawKey, nonce, aad, plaintext);
        for (const pieceLength of [1, 2, 3, 15, 16, 17, 31, 64, 100, 255, 256, 1_000, 3_000]) {
          const sealer = key.startSeal(nonce, aad);
          const ciphertext = cut(plaintext, pieceLength).map((piece) => {
            const sealed = sealer.update(piece);
            expect(sealed.length).toBe(piece.length);
            return sealed;
          });
          const sealed = Buffer.concat([...ciphertext, sealer.final()]);
          if (!sealed.equals(expected)) expect.fail(`sealed ${length} wrongly in pieces of ${pieceLength}`);
          const opener = key.startOpen(nonce, aad);
          const opened = Buffer.concat(
            cut(expected.subarray(0, length), pieceLength).map((piece) => opener.update(piece)),
          );
          if (!opened.equals(plaintext)) expect.fail(`opened ${length} wrongly in pieces of ${pieceLength}`);
          expect(opener.final(expected.subarray(length))).toBe(true);
        }
      }
    });
  });
  test("takes pieces of random lengths", () => {
    const rawKey = randomBytes(32);
    withKey(engine, rawKey, (key) => {
      for (let round = 0; round < 30; round++) {
        const [nonce, plaintext] = [randomBytes(12), randomBytes(40_000)];
        const expected = referenceSeal(rawKey, nonce, nonce, plaintext);
        const sealer = key.startSeal(nonce, nonce);
        const opener = key.startOpen(nonce, nonce);
        const [sealed, opened]: [Uint8Array[], Uint8Array[]] = [[], []];
        for (let at = 0; at < plaintext.length; ) {
          const end = Math.min(plaintext.length, at + Math.floor(Math.random() ** 3 * 9_000));
          sealed.push(sealer.update(plaintext.subarray(at, end)));
          opened.push(opener.update(expected.subarray(at, end)));
          at = end;
        }
        expect(Buffer.concat([...sealed, sealer.final()]).equals(expected)).toBe(true);
        expect(Buffer.concat(opened).equals(plaintext)).toBe(true);
        expect(opener.final(expected.subarray(-16))).toBe(true);
      }
    });
  });
  test("tells a wrong tag of a message in pieces", () => {
    const rawKey = randomBytes(32);
    withKey(engine, rawKey, (key) => {
      const [nonce, aad] = [randomBytes(12), randomBytes(4)];
      const sealed = referenceSeal(rawKey, nonce, aad, randomBytes(100));
      for (let at = 0; at < sealed.length; at++) {
        const forged = flipped(sealed, at);
        const opener = key.startOpen(nonce, aad);
        opener.update(forged.subarray(0, 50));
        opener.update(forged.subarray(50, 100));
        expect(opener.final(forged.subarray(100))).toBe(false);
      }
    });
  });
  test("throws when a finished message goes on", () => {
    withKey(engine, randomBytes(32), (key) => {
      const sealer = key.startSeal(new Uint8Array(12), new Uint8Array(0));
      sealer.final();
      expect(() => sealer.update(new Uint8Array(1))).toThrow();
      expect(() => sealer.final()).toThrow();
      const opener = key.startOpen(new Uint8Array(12), new Uint8Array(0));
      expect(() => opener.final(new Uint8Array(15))).toThrow(RangeError);
    });
  });
  test("keeps messages apart that are in progress at the same time", () => {
    const rawKey = randomBytes(32);
    withKey(engine, rawKey, (key) => {
      const messages = Array.from({ length: 20 }, () => {
        const [nonce, plaintext] = [randomBytes(12), randomBytes(1_000)];
        return { nonce, plaintext, sealer: key.startSeal(nonce, nonce), sealed: [] as Uint8Array[] };
      });
      for (let at = 0; at < 1_000; at += 125) {
        for (const { plaintext, sealer, sealed } of messages)
          sealed.push(sealer.update(plaintext.subarray(at, at + 125)));
      }
      for (const { nonce, plaintext, sealer, sealed } of messages) {
        const expected = referenceSeal(rawKey, nonce, nonce, plaintext);
        expect(Buffer.concat([...sealed, sealer.final()]).equals(expected)).toBe(true);
      }
    });
  });
}

function describeSegments(engine: Engine): void {
  const lengths = [0, 1, 15, 16, 17, 160, 4_096, 4_100, 70_000, 1_300_000];
  test("seals parts of one message in any order to the bytes of one call", async () => {
    const rawKey = randomBytes(32);
    await withKeyAsync(engine, rawKey, async ({ segments }) => {
      if (segments === undefined) expect.fail("no segments");
      for (const length of lengths) {
        for (const partLength of [16, 64, 4_096, 500_000].filter((part) => length / part < 300)) {
          const [nonce, aad, plaintext] = [randomBytes(12), randomBytes(length % 50), randomBytes(length)];
          const expected = referenceSeal(rawKey, nonce, aad, plaintext);
          const parts = cut(plaintext, partLength).map((part, i) => ({
            part,
            firstBlock: (i * partLength) / 16,
          }));
          const sealed = new Map<
            number,
            { ciphertext: Uint8Array; partial: { ghash: Uint8Array; length: number } }
          >();
          for (const { part, firstBlock } of parts.toReversed()) {
            sealed.set(firstBlock, segments.seal(nonce, firstBlock, cut(part, 1_001)));
          }
          const inOrder = parts.flatMap(({ firstBlock }) => sealed.get(firstBlock) ?? []);
          const tag = segments.finish(
            nonce,
            aad,
            inOrder.map(({ partial }) => partial),
          );
          const message = Buffer.concat([...inOrder.map(({ ciphertext }) => ciphertext), tag]);
          if (!message.equals(expected)) expect.fail(`sealed ${length} wrongly in parts of ${partLength}`);

          const ciphertexts = cut(expected.subarray(0, length), partLength);
          const opened = ciphertexts.map((part, i) => segments.open(nonce, (i * partLength) / 16, [part]));
          expect(Buffer.concat(opened.map((part) => part.plaintext)).equals(plaintext)).toBe(true);
          expect(
            same(
              segments.finish(
                nonce,
                aad,
                opened.map(({ partial }) => partial),
              ),
              tag,
            ),
          ).toBe(true);

          if (segments.sealAsync === undefined || segments.openAsync === undefined) continue;
          const { sealAsync, openAsync } = segments;
          const sealedLater = await Promise.all(
            parts.map(({ part, firstBlock }) =>
              sealAsync.call(segments, nonce, firstBlock, cut(part, 9_999)),
            ),
          );
          expect(
            Buffer.concat(sealedLater.map((part) => part.ciphertext)).equals(expected.subarray(0, length)),
          ).toBe(true);
          expect(
            same(
              segments.finish(
                nonce,
                aad,
                sealedLater.map(({ partial }) => partial),
              ),
              tag,
            ),
          ).toBe(true);
          const openedLater = await Promise.all(
            ciphertexts.map((part, i) => openAsync.call(segments, nonce, (i * partLength) / 16, [part])),
          );
          expect(Buffer.concat(openedLater.map((part) => part.plaintext)).equals(plaintext)).toBe(true);
          expect(
            same(
              segments.finish(
                nonce,
                aad,
                openedLater.map(({ partial }) => partial),
              ),
              tag,
            ),
          ).toBe(true);
        }
      }
    });
  });
  test("makes another tag from changed, swapped or missing parts", () => {
    const rawKey = randomBytes(32);
    withKey(engine, rawKey, ({ segments }) => {
      if (segments === undefined) expect.fail("no segments");
      const [nonce, aad, plaintext] = [randomBytes(12), randomBytes(5), randomBytes(96)];
      const sealed = referenceSeal(rawKey, nonce, aad, plaintext);
      const tag = sealed.subarray(96);
      const tagOf = (bytes: Uint8Array) =>
        segments.finish(
          nonce,
          aad,
          cut(bytes, 32).map((part, i) => segments.open(nonce, 2 * i, [part]).partial),
        );
      expect(same(tagOf(sealed.subarray(0, 96)), tag)).toBe(true);
      for (let at = 0; at < 96; at++)
        expect(same(tagOf(flipped(sealed.subarray(0, 96), at)), tag)).toBe(false);
      const partials = cut(sealed.subarray(0, 96), 32).map(
        (part, i) => segments.open(nonce, 2 * i, [part]).partial,
      );
      expect(same(segments.finish(nonce, aad, partials.toReversed()), tag)).toBe(false);
      expect(same(segments.finish(nonce, aad, partials.slice(1)), tag)).toBe(false);
    });
  });
  test("refuses parts that end inside a block or lie beyond the longest message", () => {
    withKey(engine, randomBytes(32), ({ segments }) => {
      if (segments === undefined) expect.fail("no segments");
      const nonce = new Uint8Array(12);
      const partial = segments.seal(nonce, 0, [new Uint8Array(17)]).partial;
      expect(() => segments.finish(nonce, nonce, [partial, partial])).toThrow(RangeError);
      expect(() => segments.seal(nonce, 2 ** 32 - 2, [new Uint8Array(1)])).toThrow(RangeError);
      expect(() => segments.seal(nonce, -1, [new Uint8Array(1)])).toThrow(RangeError);
      expect(segments.seal(nonce, 2 ** 32 - 3, [new Uint8Array(16)]).ciphertext.length).toBe(16);
    });
  });
}
