// The header parser takes just the header, however it arrives, and keeps every check.
import { isDeepStrictEqual } from "node:util";
import { describe, expect, test } from "vitest";
import { decodeUtf8 } from "../../src/bytes.ts";
import { encodeHeader, encodeHeaderBody, HeaderParser, parseHeader } from "../../src/format/header.ts";
import { suiteById } from "../../src/format/suite.ts";

/** A header of the version whose wrapped keys have `keyLength` bytes each. */
function headerOf(version: 1 | 2, keyLength: number): Uint8Array {
  const suite = suiteById(version === 1 ? 0x0178 : 0x0478);
  const body = encodeHeaderBody({
    version,
    suite,
    messageId: new Uint8Array(suite.messageIdLength).fill(3),
    encryptionContext: { "\ufffd": "a rightful replacement character", Schlüssel: "€" },
    encryptedDataKeys: [1, 2].map((value) => ({
      providerId: `provider ${value}`,
      providerInfo: Uint8Array.of(value),
      ciphertext: new Uint8Array(keyLength).fill(value),
    })),
    contentType: "framed",
    frameLength: 4096,
    commitment: new Uint8Array(version === 1 ? 0 : 32).fill(4),
  });
  return encodeHeader(version, body, new Uint8Array(12).fill(5), new Uint8Array(16).fill(6));
}

const lengths = [0, 40, 400, 500, 1_000, 5_000, 20_000];
const cases = ([1, 2] as const).flatMap((version) => lengths.map((length) => [version, length] as const));

describe("header parser", () => {
  test.each(cases)("version %i, keys of %i bytes: takes the header and no more", (version, keyLength) => {
    const header = headerOf(version, keyLength);
    const message = Buffer.concat([header, Buffer.alloc(3_000, 0xee)]);
    const whole = parseHeader(message);
    expect(whole.length).toBe(header.length);
    expect(Buffer.concat([whole.body, ...(version === 1 ? [whole.nonce] : []), whole.tag])).toEqual(
      Buffer.from(header),
    );
    expect(Object.keys(whole.encryptionContext)).toEqual(["Schlüssel", "\ufffd"]);
    for (const size of [1, 7, 1_000, 1_024, 1_025, header.length - 1, header.length, header.length + 1]) {
      const parser = new HeaderParser();
      let taken = 0;
      while (parser.header === undefined) {
        const chunk = message.subarray(taken, taken + size);
        const count = parser.push(chunk);
        if (parser.header === undefined && count !== chunk.length) throw new Error(`took only ${count}`);
        taken += count;
      }
      expect(taken).toBe(header.length);
      expect(isDeepStrictEqual(parser.header, whole)).toBe(true);
      expect(parser.push(message)).toBe(0);
    }
  });

  test.each([1, 2] as const)("version %i: a header that is cut anywhere is not complete", (version) => {
    const header = headerOf(version, 40);
    for (let length = 0; length < header.length; length++)
      expect(() => parseHeader(header.subarray(0, length))).toThrow(
        expect.objectContaining({ code: "TRUNCATED" }),
      );
  });

  test("what it says is in memory of its own", () => {
    const message = Buffer.from(headerOf(2, 40));
    const before = structuredClone(parseHeader(message));
    const parsed = parseHeader(message);
    parsed.body.fill(0);
    message.fill(0);
    expect({ ...structuredClone(parsed), body: before.body }).toEqual(before);
  });

  test("text is UTF-8 or nothing", () => {
    const decode = (...bytes: number[]): string | undefined => decodeUtf8(Uint8Array.from(bytes));
    expect(decode(0xef, 0xbf, 0xbd)).toBe("\ufffd");
    expect(decode(0xef, 0xbb, 0xbf, 0x61)).toBe("\ufeffa");
    expect(decode(0xf0, 0x9f, 0x94, 0x91)).toBe("\u{1f511}");
    for (const invalid of [
      [0xff],
      [0xc0, 0x80],
      [0xed, 0xa0, 0x80],
      [0xe2, 0x82],
      [0xef, 0xbf, 0xbd, 0x80],
      [0xf4, 0x90, 0x80, 0x80],
    ])
      expect(decode(...invalid)).toBeUndefined();
    expect(decodeUtf8(Uint8Array.of(0x80, 0x61, 0x62, 0x80), 1, 3)).toBe("ab");
  });
});
