import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { createDecryptStream, decrypt, encrypt, inspectHeader, openMessage } from "../../src/index.ts";
import { codeOf, cut, engineNames, policyFor, runStream, staticKeyring } from "./fixtures.ts";
import { readMessage, referenceSuites, writeMessage } from "./reference.ts";

const context = { b: "1", A: "2", é: "3", "🔑": "4", "\uffee": "5" };
const required = { "demanded key": "é" };
const lengths = (f: number) => [0, 1, f - 1, f, f + 1, 3 * f, 3 * f + 5];

describe.each(engineNames)("against an independent implementation, engine %s", (engine) => {
  for (const { id, hash } of referenceSuites) {
    const name = `0x${id.toString(16).padStart(4, "0")}`;
    const dataKey = randomBytes(32);
    const keyring = staticKeyring(dataKey);
    const commitmentPolicy = policyFor(id);
    const read = { keyring, engine, commitmentPolicy };

    if (hash !== "none")
      test(`${name}: what is written here, the reference reads`, async () => {
        for (const frameLength of [16, 48, 4096])
          for (const n of lengths(frameLength)) {
            const plaintext = randomBytes(n);
            const options = {
              keyring,
              engine,
              commitmentPolicy,
              suite: id,
              frameLength,
              encryptionContext: { ...context, ...required },
              requiredEncryptionContextKeys: Object.keys(required),
            };
            const message = await encrypt(plaintext, options);
            const key = dataKey.subarray(0, inspectHeader(message).suite.keyLength);
            const result = readMessage(message, key, required);
            expect(result.plaintext.equals(plaintext)).toBe(true);
            expect(result.frameLength).toBe(frameLength);
            expect(result.frameLengths.length).toBe(Math.floor(n / frameLength) + 1);
            expect(result.pairs.map(([key]) => key).filter((key) => !key.startsWith("aws-"))).toEqual([
              "A",
              "b",
              "é",
              "\uffee",
              "🔑",
            ]);
            expect(() => readMessage(message, key, {})).toThrow();
          }
      });

    test(`${name}: what the reference writes is read here, in every form`, async () => {
      for (const frameLength of [1, 7, 16, 4096, 0])
        for (const n of lengths(Math.max(16, frameLength)))
          for (const exactMultipleEnd of ["full", "empty"] as const) {
            const plaintext = randomBytes(n);
            const { bytes, suite } = writeMessage({
              suite: id,
              dataKey: dataKey.subarray(0, id === 0 ? 0 : suiteKeyLength(id)),
              plaintext,
              frameLength,
              context,
              required,
              exactMultipleEnd,
            });
            const options = { ...read, encryptionContext: required };
            expect((await decrypt(bytes, options)).plaintext.equals(plaintext)).toBe(true);
            expect(await codeOf(() => decrypt(bytes, read))).toBe("AUTHENTICATION_FAILED");
            const log = await runStream(createDecryptStream(options), cut(bytes, 61));
            expect(log.error).toBeUndefined();
            expect(log.output.equals(plaintext)).toBe(true);
            if (frameLength > 0) {
              const signedMessages = suite.curve === undefined ? undefined : ("unverified" as const);
              const reader = await openMessage(bytes, { ...options, signedMessages });
              expect(reader.plaintextLength).toBe(n);
              expect((await reader.read(0, n)).equals(plaintext)).toBe(true);
              await reader.close();
            }
          }
    });
  }
});

function suiteKeyLength(id: number): number {
  return referenceSuites.find((suite) => suite.id === id)?.keyLength ?? 0;
}
