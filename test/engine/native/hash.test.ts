// The hash on a thread of its own beside node:crypto's.
import { createHash, generateKeyPairSync, randomBytes, sign, verify } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { BackgroundHash, HashBits } from "../../../src/engine/engine.ts";
import { nativeKernels } from "../../../src/engine/native/addon.ts";
import { createNativeEngine } from "../../../src/engine/native/engine.ts";

const hasAddon = nativeKernels().some(({ works }) => works);
const start = (bits: HashBits): BackgroundHash => {
  const hash = createNativeEngine().startHash?.(bits);
  if (hash === undefined) throw new Error("this process has no hash to offer");
  return hash;
};
/** Pieces of many lengths: on this thread, on the other one, and in turns. */
function* pieces(count: number): Generator<Uint8Array> {
  for (let i = 0; i < count; i++) {
    const long = Math.random() < 0.5;
    yield Uint8Array.from(randomBytes(Math.floor(Math.random() * (long ? 3_000_000 : 40_000))));
  }
}

describe.skipIf(!hasAddon)("hash on a thread of its own", () => {
  test.each([256, 384, 512] as const)("SHA-%d of pieces of any length equals node:crypto's", async (bits) => {
    for (let round = 0; round < 5; round++) {
      const hash = start(bits);
      const expected = createHash(`sha${bits}`);
      const done: (void | Promise<void>)[] = [];
      for (const piece of pieces(20)) {
        expected.update(piece);
        done.push(hash.update(piece));
        if (Math.random() < 0.2) await Promise.all(done);
      }
      expect(Buffer.from(await hash.digest()).equals(expected.digest())).toBe(true);
      await Promise.all(done); // every promise is settled
    }
  });

  test("of nothing", async () => {
    expect(Buffer.from(await start(384).digest())).toEqual(createHash("sha384").digest());
  });

  test.each([
    ["P-256", 256],
    ["P-384", 384],
  ] as const)("ECDSA %s accepts what node:crypto signed, and nothing else", async (namedCurve, bits) => {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve });
    const spki = Uint8Array.from(publicKey.export({ format: "der", type: "spki" }));
    const data = Uint8Array.from(randomBytes(200_000));
    const signature = Uint8Array.from(sign(`sha${bits}`, data, privateKey));
    const accepts = (bytes: Uint8Array, key: Uint8Array, candidate: Uint8Array): Promise<boolean> => {
      const hash = start(bits);
      hash.update(bytes);
      return hash.verify(key, candidate);
    };
    expect(await accepts(data, spki, signature)).toBe(true);
    const flip = (bytes: Uint8Array, at: number): Uint8Array => {
      const changed = Uint8Array.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ 1;
      return changed;
    };
    expect(await accepts(flip(data, 199_999), spki, signature)).toBe(false);
    for (let at = 0; at < signature.length; at++)
      expect(await accepts(data, spki, flip(signature, at)), `byte ${at} of the signature`).toBe(false);
    expect(await accepts(data, spki, signature.subarray(0, -1))).toBe(false);
    expect(await accepts(data, spki, new Uint8Array(0))).toBe(false);
    expect(await accepts(data, flip(spki, 0), signature)).toBe(false);
    expect(await accepts(data, new Uint8Array(0), signature)).toBe(false);
    // OpenSSL's list of errors is left clean: node:crypto would report an old one.
    expect(() => createHash("no such hash")).toThrow(/Digest method not supported|unsupported/);
  });

  test.each([
    ["P-256", 256, 71, "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"],
    [
      "P-384",
      384,
      103,
      "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    ],
  ] as const)(
    "ECDSA %s: signatures of one length, which node:crypto accepts",
    async (namedCurve, bits, length, hex) => {
      const order = Uint8Array.from(Buffer.from(hex, "hex"));
      const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve });
      const encoded = Uint8Array.from(privateKey.export({ format: "der", type: "sec1" }));
      const seen = new Set<string>();
      // One in 256 cannot be negated to the length, and is made again.
      for (let i = 0; i < (bits === 256 ? 3_000 : 600); i++) {
        const data = Uint8Array.of(i, i >> 8);
        const hash = start(bits);
        hash.update(data);
        const signature = await hash.sign(encoded, order, length);
        expect(signature.length).toBe(length);
        expect(verify(`sha${bits}`, data, publicKey, signature)).toBe(true);
        seen.add(Buffer.from(signature).toString("hex"));
      }
      expect(seen.size).toBe(bits === 256 ? 3_000 : 600);

      const refused = async (key: Uint8Array, order: Uint8Array, length: number): Promise<void> => {
        const hash = start(bits);
        hash.update(new Uint8Array(3));
        await expect(hash.sign(key, order, length)).rejects.toThrow("OpenSSL does not sign");
      };
      await refused(encoded.subarray(1), order, length);
      await refused(new Uint8Array(0), order, length);
      for (const other of [0, 8, length - 40, length + 3, 160, 1_000_000])
        await refused(encoded, order, other);
      await refused(encoded, new Uint8Array(0), 5);
      await refused(encoded, new Uint8Array(49), 5);
      // OpenSSL's list of errors is left clean: node:crypto would report an old one.
      expect(() => createHash("no such hash")).toThrow(/Digest method not supported|unsupported/);
    },
    60_000,
  );

  test("with concurrency 1 it is the same, here and now", async () => {
    const hash = createNativeEngine().startHash?.(256, 1);
    const data = new Uint8Array(200_000).fill(9);
    expect(hash?.update(data)).toBeUndefined();
    expect(Buffer.from((await hash?.digest()) ?? [])).toEqual(createHash("sha256").update(data).digest());
  });

  test("disposed of with pieces in work: they are done, then calls fail", async () => {
    const hash = start(384);
    const done = [hash.update(new Uint8Array(2_000_000)), hash.update(new Uint8Array(2_000_000))];
    hash.dispose();
    hash.dispose();
    await Promise.all(done);
    expect(() => hash.update(new Uint8Array(1))).toThrow("internal error: hash has been finished");
    await expect(hash.digest()).rejects.toThrow("internal error: hash has been finished");
  });

  test("more of them at a time than there are threads", async () => {
    const data = new Uint8Array(100_000).fill(3);
    const expected = createHash("sha384").update(data).update(data).digest();
    const digests = await Promise.all(
      Array.from({ length: 150 }, async () => {
        const hash = start(384);
        await hash.update(data);
        await hash.update(data);
        return hash.digest();
      }),
    );
    for (const digest of digests) expect(Buffer.from(digest).equals(expected)).toBe(true);
  });
});
