// The programs of the repository that measure by hand run, against the one store in memory, and count right.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, expect, test } from "vitest";

const scripts = path.resolve(import.meta.dirname, "../../dist/bench/scripts");
const run = (script: string, ...args: readonly string[]): string =>
  execFileSync(process.execPath, [path.join(scripts, script), ...args], { encoding: "utf8" });

describe("programs of the repository", () => {
  test("kms-calls: one call a message without a cache, one a hundred messages with one", () => {
    const lines = run("kms-calls.js", "--messages", "201").split("\n");
    const calls = (start: string): number[] => {
      const line = lines.find((each) => each.startsWith(start)) ?? "";
      return (line.slice(40).match(/\d+/g) ?? []).slice(0, 2).map(Number);
    };
    expect(calls("no cache")).toEqual([201, 201]);
    expect(calls("cache: an hour, 1,000 messages")).toEqual([1, 1]);
    expect(calls("cache: an hour, 100 messages")).toEqual([3, 3]);
  });

  test("s3: objects under a KMS key go into the store and come back", { timeout: 60_000 }, () => {
    const folder = mkdtempSync(path.join(tmpdir(), "frameseal-test-"));
    try {
      const file = path.join(folder, "s3.json");
      run("s3.js", "--size", "1", "--rounds", "1", "--only", "s3ec", "--json", file);
      const { rows } = JSON.parse(readFileSync(file, "utf8")) as {
        readonly rows: readonly { readonly name: string; readonly seconds: number }[];
      };
      expect(rows.map(({ name }) => name)).toEqual([
        "put plain",
        "get plain",
        "put s3ec-v3",
        "get s3ec-v3, delayed",
        "get s3ec-v3, two-pass",
      ]);
      expect(rows.every(({ seconds }) => seconds > 0)).toBe(true);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
