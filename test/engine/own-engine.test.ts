// Engine is public: one of the user's own takes the place of ours. This one counts what it is asked for.
import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { createEngine, decrypt, type Engine, encrypt, RawAesKeyring } from "../../src/index.ts";

test("an engine of one's own seals and opens", async () => {
  const node = createEngine("node");
  const calls: string[] = [];
  const own: Engine = new Proxy(node, {
    get(target, name) {
      const value = Reflect.get(target, name) as unknown;
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        calls.push(String(name));
        return Reflect.apply(value, target, args);
      };
    },
  });
  const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
  const plaintext = randomBytes(200_000);
  const message = await encrypt(plaintext, { keyring, engine: own });
  const sealing = calls.length;
  expect(sealing).toBeGreaterThan(0);
  const { plaintext: opened } = await decrypt(message, { keyring, engine: own });
  expect(opened.equals(plaintext)).toBe(true);
  expect(calls.length).toBeGreaterThan(sealing);
  expect((await decrypt(message, { keyring, engine: "node" })).plaintext.equals(plaintext)).toBe(true);
});
