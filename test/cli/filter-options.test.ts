// Options that choose entries of a tree: the order in which they stand counts, and what would do nothing is refused.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Command } from "commander";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  addFilterOptions,
  addListOptions,
  addWalkOptions,
  type FilterOptions,
  filtersFrom,
  type ListOptions,
  pathListFrom,
  type WalkingOptions,
} from "../../src/cli/tree/filter-options.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "frameseal-filters-"));
});
afterAll(() => rm(folder, { recursive: true }));

type Options = FilterOptions & ListOptions & WalkingOptions;
function parse(...args: string[]): Options {
  const command = new Command().exitOverride().configureOutput({ writeErr: () => {} });
  for (const add of [addFilterOptions, addListOptions, addWalkOptions]) add(command);
  return command.parse(args, { from: "user" }).opts<Options>();
}
/** Which of some names are left out. */
async function outOf(...args: string[]): Promise<string[]> {
  const filters = await filtersFrom(parse(...args));
  return ["a.tmp", "b.tmp", "c.txt"].filter((name) => filters.excludes(name, "other"));
}

describe("rules", () => {
  test("count in the order in which they stand, whatever option they are of", async () => {
    const rules = path.join(folder, "rules");
    await writeFile(rules, "*.txt\n!b.tmp\n");
    expect(await outOf()).toEqual([]);
    expect(await outOf("--exclude", "*.tmp", "--include", "a.*")).toEqual(["b.tmp"]);
    expect(await outOf("--exclude", "*.tmp", "--include", "a.*", "--exclude", "a*")).toEqual([
      "a.tmp",
      "b.tmp",
    ]);
    expect(await outOf("--exclude", "*.tmp", "--exclude-from", rules)).toEqual(["a.tmp", "c.txt"]);
    expect(await outOf("--exclude-from", rules, "--exclude", "*.tmp")).toEqual(["a.tmp", "b.tmp", "c.txt"]);
    expect(await outOf("--exclude-from", rules, "--include", "c*")).toEqual([]);
    expect(await outOf("--exclude", "*", "--exclude", "!b*")).toEqual(["a.tmp", "c.txt"]);
  });
  test.each([
    [["--include", "a"], /there is none/],
    [["--include", "a", "--exclude", "b"], /there is none/],
    [["--exclude-from", ""], /--exclude-from expected the name of a file/],
    [["--exclude", ""], /--exclude expected a pattern/],
    [["--exclude", "!"], /--exclude expected a pattern/],
    [["--exclude", "a", "--include", ""], /--include expected a pattern/],
    [["--exclude", "a", "--include", "!b"], /give --exclude without !/],
  ])("%j is refused", async (args, message) => {
    await expect(filtersFrom(parse(...args))).rejects.toThrow(message);
  });
  test("a file of them has to be there, and to be one", async () => {
    const missing = path.join(folder, "missing");
    await expect(filtersFrom(parse("--exclude-from", missing))).rejects.toMatchObject({ code: "ENOENT" });
    await expect(filtersFrom(parse("--exclude-from", folder))).rejects.toMatchObject({
      code: "EISDIR",
      path: folder,
    });
    if (process.platform === "linux")
      await expect(filtersFrom(parse("--exclude-from", "/dev/zero"))).rejects.toThrow(/no file of patterns/);
  });
});

describe("lists", () => {
  test("are of lines or of NUL", async () => {
    const file = path.join(folder, "list");
    await writeFile(file, "a\nb\0c");
    const paths = async (...args: string[]): Promise<string[]> => {
      const list = await pathListFrom(parse(...args), "/r");
      return list === undefined ? [] : [...list.named.pathsOf(list.named.all)];
    };
    expect(await paths()).toEqual([]);
    expect(await paths("--files-from0", file)).toEqual(["a\nb", "c"]);
    expect(await paths("--files-from", file)).toEqual(["a"]); // NUL is in no path
    await expect(paths("--files-from", file, "--files-from0", file)).rejects.toThrow(/exclude each other/);
    await expect(paths("--files-from", "")).rejects.toThrow(/name of a file/);
    await expect(paths("--files-from", `${file}-no`)).rejects.toMatchObject({ code: "ENOENT" });
  });
});

test("links and file systems", () => {
  expect(parse()).toEqual({});
  expect(parse("--links", "keep", "--one-file-system")).toEqual({ links: "keep", oneFileSystem: true });
  expect(() => parse("--links", "copy")).toThrow(/expected skip, keep or follow/);
});
