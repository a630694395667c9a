// What counts as unchanged, by what the system tells of a file.
import { expect, test } from "vitest";
import { compare, type SourceState, settledChangeTime } from "../../src/backup/changed.ts";
import type { StoredRow } from "../../src/backup/journal/journal.ts";

const source: SourceState = {
  path: "a",
  type: "file",
  size: 5,
  mtimeNs: 1n,
  ctimeNs: 2n,
  inode: 3n,
  mode: 0o644,
  uid: 1,
  gid: 1,
};
const row: StoredRow = {
  ...source,
  uid: 1,
  gid: 1,
  key: "p/a",
  eTag: "e",
  versionId: undefined,
  sha256: "",
  run: 1,
};

test.each<[string, Partial<SourceState>, Partial<StoredRow>, string, string]>([
  ["nothing", {}, {}, "unchanged", "digest"],
  ["the size", { size: 6 }, {}, "changed", "changed"],
  ["the type", { type: "symlink" }, {}, "changed", "changed"],
  ["the time", { mtimeNs: 9n }, {}, "changed", "digest"],
  ["the permissions", { mode: 0o600 }, {}, "changed", "changed"],
  ["the owner", { uid: 2 }, {}, "changed", "changed"],
  ["the group", { gid: 2 }, {}, "changed", "changed"],
  ["the time of the last change", { ctimeNs: 9n }, {}, "digest", "digest"],
  ["the inode", { inode: 9n }, {}, "digest", "digest"],
  ["the row, which is of a file that was read too early", {}, { ctimeNs: 0n }, "digest", "digest"],
  ["the row, which is from a manifest", {}, { ctimeNs: 0n, inode: 0n }, "unchanged", "digest"],
  [
    "the row, which is from a manifest, and the time",
    { mtimeNs: 9n },
    { ctimeNs: 0n, inode: 0n },
    "changed",
    "digest",
  ],
])("another: %s", (_, changed, known, byTimes, byBytes) => {
  const [now, before] = [
    { ...source, ...changed },
    { ...row, ...known },
  ];
  expect(compare(now, before, { checksum: false })).toBe(byTimes);
  expect(compare(now, before, { checksum: true })).toBe(byBytes);
});
test("what is not stored is new, and folders have no bytes to compare", () => {
  expect(compare(source, undefined, { checksum: false })).toBe("new");
  const folder = { ...source, type: "directory", size: 0 } as const;
  for (const checksum of [false, true]) {
    expect(compare({ ...folder, ctimeNs: 9n }, { ...row, ...folder, uid: 1, gid: 1 }, { checksum })).toBe(
      "unchanged",
    );
    expect(compare({ ...folder, mode: 0 }, { ...row, ...folder, uid: 1, gid: 1 }, { checksum })).toBe(
      "changed",
    );
  }
});

const second = 1_000_000_000n;
test.each<[string, bigint, bigint, boolean]>([
  ["long before it was read", 10n * second, 100n * second, true],
  ["in the same moment", 10n * second, 10n * second, false],
  ["within a step of the clock", 10n * second, 12n * second, false],
  ["just before that", 10n * second, 12n * second + 1n, true],
  ["in the future, by this clock", 20n * second, 10n * second, false],
])("a change %s", (_, ctimeNs, readAtNs, isKept) => {
  expect(settledChangeTime(ctimeNs, readAtNs)).toBe(isKept ? ctimeNs : 0n);
});
