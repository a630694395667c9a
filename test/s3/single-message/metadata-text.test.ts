// Metadata as text: what is written is ASCII, and what S3 makes of others' text is undone.
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  decodeMetadataText,
  encodeAsciiJson,
  parseStringMap,
} from "../../../src/s3/single-message/metadata-text.ts";

/** What S3 answers for a value that was sent as UTF-8: its bytes taken for Latin-1, encoded again, in words. */
function asS3Returns(text: string, encoding: "B" | "Q", wordLength: number): string {
  const twice = [...Buffer.from(text, "utf8").toString("latin1")];
  const words: string[] = [];
  for (let at = 0; at < twice.length; at += wordLength) {
    const bytes = Buffer.from(twice.slice(at, at + wordLength).join(""), "utf8");
    const quoted = [...bytes].map((byte) =>
      byte === 0x20 ? "_" : `=${byte.toString(16).toUpperCase().padStart(2, "0")}`,
    );
    words.push(`=?UTF-8?${encoding}?${encoding === "B" ? bytes.toString("base64") : quoted.join("")}?=`);
  }
  return words.join(" ");
}

test.each([
  ['=?UTF-8?Q?{"a":"=C3=83=C2=9F"}?=', '{"a":"ß"}'],
  ["=?UTF-8?B?w4PCnw==?=", "ß"],
  ["=?utf-8?b?w4PCnw==?= =?UTF-8?q?_x?=", "ß x"],
  ["plain", "plain"],
  ["a =? b", "a =? b"],
  ["=?no-such-charset?Q?abc?=", "=?no-such-charset?Q?abc?="],
])("%s is read as %s", (value, expected) => {
  expect(decodeMetadataText(value)).toBe(expected);
});

test("every text comes back through S3's encoding", () => {
  const text = fc.string({ unit: "grapheme", minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(
      text,
      fc.constantFrom("B" as const, "Q" as const),
      fc.integer({ min: 1, max: 20 }),
      (value, encoding, length) => {
        expect(decodeMetadataText(asS3Returns(value, encoding, length))).toBe(value);
      },
    ),
  );
});

test("every map is written in ASCII and read back", () => {
  const map = fc.dictionary(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), {
    noNullPrototype: true,
  });
  fc.assert(
    fc.property(map, (pairs) => {
      const json = encodeAsciiJson(pairs);
      expect(json).toMatch(/^[\x20-\x7e]*$/);
      expect({ ...parseStringMap(json, "x") }).toEqual(pairs);
    }),
  );
});

test.each(["", "[]", "null", "1", '"a"', '{"a":1}', '{"a":null}', '{"a":{}}', "{"])(
  "%s is no map of strings",
  (text) => {
    expect(() => parseStringMap(text, "x")).toThrow(expect.objectContaining({ code: "INVALID_METADATA" }));
  },
);
