// Node's hashes, signatures and ciphers take less than 2 GiB in one call: whatever is longer goes through them in pieces.
import { createCipheriv, createHash, createVerify, randomBytes } from "node:crypto";
import { afterEach, describe, expect, test, vi } from "vitest";
import { decrypt, encrypt, RawAesKeyring } from "../../src/index.ts";

/** In place of the real limit. */
const LIMIT = 1000;
vi.mock("../../src/format/limits.ts", async (original) => ({
  ...(await original<typeof import("../../src/format/limits.ts")>()),
  MAX_UPDATE_LENGTH: 1000,
}));

const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: Buffer.alloc(32, 7) });

/** Lengths of all calls of `update` from here on. */
function watch(): number[] {
  const lengths: number[] = [];
  for (const made of [
    createHash("sha384"),
    createVerify("sha384"),
    createCipheriv("aes-256-gcm", Buffer.alloc(32), Buffer.alloc(12)),
  ]) {
    const prototype = Object.getPrototypeOf(made) as { update: (bytes: Uint8Array) => unknown };
    const { update } = prototype;
    vi.spyOn(prototype, "update").mockImplementation(function (this: unknown, bytes: Uint8Array) {
      lengths.push(bytes.length);
      return update.call(this, bytes);
    });
  }
  return lengths;
}
afterEach(() => vi.restoreAllMocks());

describe("Node's engine", () => {
  test.each([0, 999, 1000, 1001, 5000])("a frame of %i bytes, signed", async (length) => {
    const plaintext = randomBytes(length);
    const lengths = watch();
    const message = await encrypt(plaintext, { keyring, engine: "node", suite: 0x0578 });
    const opened = await decrypt(message, { keyring, engine: "node" });
    expect(Buffer.compare(opened.plaintext, plaintext)).toBe(0);
    expect(lengths.length).toBeGreaterThan(2);
    expect(Math.max(...lengths)).toBeLessThanOrEqual(LIMIT);
  });
});
