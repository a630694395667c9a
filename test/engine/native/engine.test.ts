import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { NO_FINAL_FRAME } from "../../../src/engine/engine.ts";
import { loadAddon, nativeKernels } from "../../../src/engine/native/addon.ts";
import { createNativeEngine } from "../../../src/engine/native/engine.ts";
import { nodeEngine } from "../../../src/engine/node/engine.ts";
import { describeEngine, FORMAT } from "../conformance.ts";

const kernels = nativeKernels().filter(({ works }) => works);

describe.skipIf(kernels.length > 0 || process.env.CI === "true")("native engine", () => {
  test.skip("is not built on this machine", () => {});
});

test.runIf(process.env.CI === "true")("the native engine is built and has kernels", () => {
  expect(kernels.length).toBeGreaterThan(0);
});

for (const { name } of kernels) {
  const engine = createNativeEngine(name);
  describeEngine(`native:${name}`, engine);

  test(`native:${name} equals node on random messages, formats and cuts`, () => {
    for (let round = 0; round < 60; round++) {
      const rawKey = randomBytes(32);
      const [native, node] = [engine.createKey(rawKey), nodeEngine.createKey(rawKey)];
      const random = (limit: number) => Math.floor(Math.random() ** 2 * limit);
      const frameLength = 1 + random(20_000);
      const frameCount = random(8);
      const finalLength = Math.random() < 0.3 ? NO_FINAL_FRAME : random(frameLength + 1);
      const first = 1 + random(2 ** 32 - 20);
      const plaintext = randomBytes(frameCount * frameLength + Math.max(0, finalLength));
      const chunks: Uint8Array[] = [];
      for (let at = 0; at < plaintext.length; ) {
        const end = Math.min(plaintext.length, at + random(30_000));
        chunks.push(plaintext.subarray(at, end));
        at = end;
      }
      const run = [first, frameCount, finalLength] as const;
      const [nativeFrames, nodeFrames] = [native, node].map((key) =>
        key.frameCipher({ frameLength, ...FORMAT }),
      );
      if (nativeFrames === undefined || nodeFrames === undefined) expect.fail("no frame cipher");
      const sealed = nativeFrames.seal(chunks, ...run, 0);
      expect(Buffer.from(sealed).equals(nodeFrames.seal(chunks, ...run, 0))).toBe(true);
      const forged = Uint8Array.from(sealed);
      const at = random(forged.length);
      if (Math.random() < 0.5) forged[at] = (forged[at] ?? 0) ^ (1 << random(8));
      const [a, b] = [nativeFrames.open([forged], ...run), nodeFrames.open([forged], ...run)];
      expect(a.verifiedCount).toBe(b.verifiedCount);
      expect(Buffer.from(a.plaintext).equals(b.plaintext)).toBe(true);
      native.dispose();
      node.dispose();
    }
  });
  test(`native:${name} refuses overlapping output`, () => {
    const key = engine.createKey(randomBytes(32));
    const cipher = key.frameCipher({ frameLength: 16, ...FORMAT });
    const memory = new Uint8Array(100);
    expect(() => cipher.sealInto?.(memory, [memory.subarray(40, 56)], 1, 1, NO_FINAL_FRAME)).toThrow(
      TypeError,
    );
    key.dispose();
  });
}

test.runIf(kernels.length > 0)(
  "the number of a key is void once it was disposed of, also when its place is taken",
  () => {
    const addon = loadAddon();
    const seal = (key: number) => {
      const output = new Uint8Array(20);
      addon.seal(key, new Uint8Array(12), new Uint8Array(0), new Uint8Array(4), output);
      return output;
    };
    const first = addon.createKey(new Uint8Array(32), 0);
    addon.disposeKey(first);
    expect(() => seal(first)).toThrow();
    const second = addon.createKey(new Uint8Array(32).fill(1), 0);
    expect(second).not.toBe(first);
    const sealed = seal(second);
    expect(() => seal(first)).toThrow();
    for (const number of [0, -1, 0xffffffff, first + 1, second ^ (1 << 21)])
      expect(() => seal(number)).toThrow();
    addon.disposeKey(first); // of nobody any more
    expect(seal(second)).toEqual(sealed);
    addon.disposeKey(second);
  },
);
