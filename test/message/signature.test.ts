// The signature of a message: its length is known before it is made, whoever makes it; and nothing keeps the key.
import { createHash, createVerify, randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { BackgroundHash, Engine } from "../../src/engine/engine.ts";
import { nodeEngine } from "../../src/engine/node/engine.ts";
import { selectEngine } from "../../src/engine/select-engine.ts";
import { MessageSigner, MessageVerifier } from "../../src/message/signature.ts";
import { engineNames } from "./fixtures.ts";

const suites = [
  [{ curve: "P-256", hash: "sha256" }, 71],
  [{ curve: "P-384", hash: "sha384" }, 103],
] as const;
const spkiPrefixes = {
  "P-256": "3039301306072a8648ce3d020106082a8648ce3d030107032200",
  "P-384": "3046301006072a8648ce3d020106052b81040022033200",
};

describe.each(engineNames)("signatures, engine %s", (name) => {
  test.each(suites)(
    "%o: %d bytes, which node:crypto accepts",
    async (suite, length) => {
      const engine = selectEngine(name);
      for (let i = 0; i < 400; i++) {
        const signer = new MessageSigner(suite, engine, 1 + (i % 2));
        const data = randomBytes(i);
        await signer.update(data);
        const signature = await signer.sign();
        expect(signature.length).toBe(length);
        const spki = Buffer.concat([
          Buffer.from(spkiPrefixes[suite.curve], "hex"),
          Buffer.from(signer.publicKey, "base64"),
        ]);
        const key = { key: spki, format: "der", type: "spki" } as const;
        expect(createVerify(suite.hash).update(data).verify(key, signature)).toBe(true);
        const verifier = new MessageVerifier(suite, signer.publicKey, engine);
        verifier.update(data);
        expect(await verifier.verify(signature)).toBe(true);
      }
    },
    60_000,
  );
});

test.each(suites)(
  "%o: the engine gets the key off the heap, and it is wiped afterwards",
  async (suite, length) => {
    let given: Uint8Array | undefined;
    const signing = (key: Uint8Array): void => {
      given = key;
      expect(key.some((byte) => byte !== 0)).toBe(true);
      expect(key.byteLength).toBe(key.buffer.byteLength);
    };
    const hash = (fail: boolean): BackgroundHash => ({
      update: () => {},
      digest: async () => createHash(suite.hash).digest(),
      sign: async (key, order, wanted) => {
        signing(key);
        expect(order.length * 2 + 7).toBe(wanted);
        if (fail) throw new Error("mine");
        return new Uint8Array(wanted);
      },
      verify: async () => false,
      dispose: () => {},
    });
    for (const fail of [false, true]) {
      const engine: Engine = { ...nodeEngine, startHash: () => hash(fail) };
      const signer = new MessageSigner(suite, engine, 2);
      if (fail) await expect(signer.sign()).rejects.toThrow("mine");
      else expect((await signer.sign()).length).toBe(length);
      expect(given?.every((byte) => byte === 0)).toBe(true);
    }
  },
);
