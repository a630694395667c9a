// Times and permissions as user metadata: exact both ways, and nothing is believed that makes no sense.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatTime, hintsOf, metadataOf, parseTime } from "../../../src/backup/local/attributes.ts";

describe("times", () => {
  test.each<readonly [bigint, string]>([
    [0n, "0"],
    [1n, "0.000000001"],
    [1_500_000_000n, "1.5"],
    [1_700_000_000_123_456_789n, "1700000000.123456789"],
    [-1n, "-0.000000001"],
    [-1_500_000_000n, "-1.5"],
    [253_402_300_799_999_999_999n, "253402300799.999999999"],
    [9_007_199_254_740_991_000_000_000n, "9007199254740991"],
  ])("%s ns are %s s", (ns, text) => {
    expect(formatTime(ns)).toBe(text);
    expect(parseTime(text)).toBe(ns);
  });
  test("every time comes back", () => {
    const most = BigInt(Number.MAX_SAFE_INTEGER) * 1_000_000_000n;
    fc.assert(fc.property(fc.bigInt({ min: -most, max: most }), (ns) => parseTime(formatTime(ns)) === ns));
  });
  test("as others write them", () => {
    expect(parseTime("1700000000.120000000")).toBe(1_700_000_000_120_000_000n);
    expect(parseTime("0001.0")).toBe(1_000_000_000n);
    expect(parseTime("-0")).toBe(0n);
  });
  test.each([
    "",
    " 1",
    "1 ",
    "+1",
    "1.",
    ".5",
    "1.0000000001",
    "1e9",
    "0x10",
    "Infinity",
    "NaN",
    "--1",
    "1,5",
    "9007199254740992",
    "99999999999999999",
    "2026-11-27T20:00:00Z",
    "\u0661",
    "1\n",
  ])("%j is none", (text) => expect(parseTime(text)).toBeUndefined());
});

describe("metadata", () => {
  const attributes = { mtimeNs: 1_500_000_000n, mode: 0o644, uid: 1000, gid: 0 };
  test("of entries", () => {
    expect(metadataOf({ ...attributes, type: "file" })).toEqual({
      mtime: "1.5",
      mode: "0644",
      uid: "1000",
      gid: "0",
    });
    expect(metadataOf({ mtimeNs: 0n, mode: 0o4755, type: "symlink" })).toEqual({
      mtime: "0",
      mode: "4755",
      type: "symlink",
    });
  });
  test("comes back", () => {
    expect(hintsOf(metadataOf({ ...attributes, type: "file" }))).toEqual({
      ...attributes,
      isSymlink: false,
      refused: [],
    });
    expect(hintsOf(metadataOf({ mtimeNs: 0n, mode: 0, type: "symlink" }))).toEqual({
      mtimeNs: 0n,
      mode: 0,
      isSymlink: true,
      refused: [],
    });
  });
  test("as others write it", () => {
    expect(hintsOf({ mode: "100644" }).mode).toBe(0o644);
    expect(hintsOf({ mode: "0100664" }).mode).toBe(0o664);
    expect(hintsOf({ mode: "0o755" }).mode).toBe(0o755);
  });
  test("what makes no sense is left out and told", () => {
    const hints = hintsOf({
      mtime: "yesterday\u001b[31m",
      mode: "rw-r--r--",
      uid: "-1",
      gid: "4294967295",
      type: "SYMLINK",
    });
    expect(hints).toEqual({
      isSymlink: false,
      refused: ['mtime "yesterday\\u001b[31m"', 'mode "rw-r--r--"', 'uid "-1"', 'gid "4294967295"'],
    });
    for (const mode of ["9", "", "7777777", "400000", "-644", "6 44"])
      expect(hintsOf({ mode }).refused).toHaveLength(1);
    expect(hintsOf({ mtime: "1".repeat(10_000) }).refused[0]?.length).toBeLessThan(100);
  });
  test("there may be none, and what others add is not looked at", () => {
    expect(hintsOf(undefined)).toEqual({ isSymlink: false, refused: [] });
    expect(hintsOf({ other: "x" })).toEqual({ isSymlink: false, refused: [] });
    expect(hintsOf(Object.create({ mode: "0777" }))).toEqual({ isSymlink: false, refused: [] });
  });
});
