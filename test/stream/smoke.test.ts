import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { expect, test } from "vitest";
import type { Keyring } from "../../src/index.ts";
import * as fs from "../../src/index.ts";

const dk = randomBytes(32);
const keyring: Keyring = {
  async generateDataKey(r) {
    return {
      dataKey: Uint8Array.from(dk.subarray(0, r.suite.keyLength)),
      encryptedDataKeys: [
        { providerId: "x", providerInfo: new Uint8Array(3), ciphertext: new Uint8Array(5) },
      ],
    };
  },
  async wrapDataKey() {
    return [];
  },
  async unwrapDataKey(_e, r) {
    return Uint8Array.from(dk.subarray(0, r.suite.keyLength));
  },
};
for (const engine of ["node"])
  for (const suite of [0x478, 0x578, 0x178, 0x214])
    for (const frameLength of [16, 4096, 65536])
      test(`roundtrip ${suite.toString(16)} ${frameLength} ${engine}`, async () => {
        const commitmentPolicy =
          suite < 0x400
            ? ("FORBID_ENCRYPT_ALLOW_DECRYPT" as const)
            : ("REQUIRE_ENCRYPT_REQUIRE_DECRYPT" as const);
        const o = {
          keyring,
          suite,
          frameLength,
          engine,
          commitmentPolicy,
          encryptionContext: { a: "b", é: "" },
        };
        const d = { keyring, engine, commitmentPolicy };
        const max = frameLength === 16 ? 1000 : 3_000_000;
        for (const n of [
          0,
          1,
          frameLength - 1,
          frameLength,
          frameLength + 1,
          3 * frameLength,
          3 * frameLength + 5,
          max,
        ]) {
          const p = randomBytes(n);
          const m = await fs.encrypt(p, o);
          const h = fs.inspectHeader(m);
          expect(fs.ciphertextLength(n, { headerLength: h.headerLength, frameLength, suite })).toBe(m.length);
          expect((await fs.decrypt(m, d)).plaintext.equals(p)).toBe(true);
          for (const c of [1, 1000, 65537, 1 << 20]) {
            if (c === 1 && n > 10000) continue;
            const pieces: Buffer[] = [];
            for (let i = 0; i < n; i += c) pieces.push(p.subarray(i, i + c));
            const sm = await buffer(Readable.from(pieces).pipe(fs.createEncryptStream(o)));
            expect(sm.length).toBe(m.length);
            const mp: Buffer[] = [];
            for (let i = 0; i < sm.length; i += c) mp.push(sm.subarray(i, i + c));
            expect((await buffer(Readable.from(mp).pipe(fs.createDecryptStream(d)))).equals(p)).toBe(true);
            const w = await buffer(
              Readable.toWeb(Readable.from(pieces, { objectMode: false }))
                .pipeThrough(fs.encryptWebStream(o))
                .pipeThrough(fs.decryptWebStream(d)) as never,
            );
            expect(w.equals(p)).toBe(true);
          }
          if (suite === 0x478 || suite === 0x178) {
            const r = await fs.openMessage(m, d);
            expect(r.plaintextLength).toBe(n);
            if (n > 10) {
              expect((await r.read(3, n - 2)).equals(p.subarray(3, n - 2))).toBe(true);
              expect((await r.read(-5)).equals(p.subarray(-5))).toBe(true);
            }
            expect((await buffer(r.createReadStream())).equals(p)).toBe(true);
            await r.close();
          }
        }
      }, 20000);
