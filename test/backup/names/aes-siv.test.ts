// AES-SIV against RFC 5297, against another implementation, and against Wycheproof where its file lies beside.
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { aessiv } from "@noble/ciphers/aes.js";
import { describe, expect, test } from "vitest";
import { AesSiv } from "../../../src/backup/names/aes-siv.ts";

const hex = (text: string): Buffer => Buffer.from(text.replace(/\s/g, ""), "hex");
const published = [
  {
    name: "RFC 5297, A.1",
    key: hex("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0 f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"),
    data: [hex("101112131415161718191a1b1c1d1e1f2021222324252627")],
    plaintext: hex("112233445566778899aabbccddee"),
    sealed: hex("85632d07c6e8f37f950acd320a2ecc93 40c02b9690c4dc04daef7f6afe5c"),
  },
  {
    name: "RFC 5297, A.2",
    key: hex("7f7e7d7c7b7a79787776757473727170 404142434445464748494a4b4c4d4e4f"),
    data: [
      hex("00112233445566778899aabbccddeeffdeaddadadeaddadaffeeddccbbaa99887766554433221100"),
      hex("102030405060708090a0"),
      hex("09f911029d74e35bd84156c5635688c0"),
    ],
    plaintext: Buffer.from("this is some plaintext to encrypt using SIV-AES"),
    sealed: hex(
      "7bdb6e3b432667eb06f4d14bff2fbd0f cb900f2fddbe404326601965c889bf17dba77ceb094fa663b7a3f748ba8af829ea64ad544a272e9c485b62a3fd5c0d",
    ),
  },
];

describe.each(published)("$name", ({ key, data, plaintext, sealed }) => {
  test("is what is sealed, and opens", () => {
    const siv = new AesSiv(key);
    expect(siv.seal(plaintext, data)).toEqual(new Uint8Array(sealed));
    expect(siv.open(sealed, data)).toEqual(plaintext);
  });
  test("opens with no bit changed, in it or in what is bound to it", () => {
    const siv = new AesSiv(key);
    for (const part of [sealed, ...data])
      for (let bit = 0; bit < part.length * 8; bit++) {
        part[bit >> 3] = (part[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        expect(siv.open(sealed, data)).toBeUndefined();
        part[bit >> 3] = (part[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      }
    for (let length = 0; length < sealed.length; length++)
      expect(siv.open(sealed.subarray(0, length), data)).toBeUndefined();
    expect(siv.open(sealed, data.slice(1))).toBeUndefined();
    expect(siv.open(sealed, [...data, new Uint8Array(0)])).toBeUndefined();
  });
});

test("seals as another implementation does, whatever the lengths", () => {
  for (let round = 0; round < 300; round++) {
    const key = randomBytes([32, 48, 64][round % 3] ?? 64);
    const data = Array.from({ length: round % 4 }, (_, index) => randomBytes((round * 7 + index * 16) % 70));
    const plaintext = randomBytes(round % 100);
    const siv = new AesSiv(key);
    const sealed = siv.seal(plaintext, data);
    expect(sealed).toEqual(aessiv(key, ...data).encrypt(plaintext));
    expect(siv.open(sealed, data)).toEqual(plaintext);
  }
});

interface WycheproofGroup {
  readonly keySize: number;
  readonly tests: readonly Readonly<Record<"key" | "aad" | "msg" | "ct" | "result", string>>[];
}
const wycheproof = fileURLToPath(new URL("../../vectors/wycheproof/aes_siv_cmac_test.json", import.meta.url));

test.skipIf(!existsSync(wycheproof))("decides as Wycheproof does", () => {
  const { testGroups } = JSON.parse(readFileSync(wycheproof, "utf8")) as { testGroups: WycheproofGroup[] };
  let count = 0;
  for (const group of testGroups)
    for (const { key, aad, msg, ct, result } of group.tests) {
      const siv = new AesSiv(hex(key));
      if (result === "valid") expect(siv.seal(hex(msg), [hex(aad)])).toEqual(new Uint8Array(hex(ct)));
      const opened = siv.open(hex(ct), [hex(aad)]);
      expect(opened === undefined ? "invalid" : "valid").toBe(result);
      count++;
    }
  expect(count).toBeGreaterThan(0);
});
