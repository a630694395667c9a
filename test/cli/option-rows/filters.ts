// Rows of what chooses entries of a tree.
import { symlinkSync, writeFileSync } from "node:fs";
import { run } from "../../../src/cli/program.ts";
import { type Kind, ofTrees, type Place, type Row, row } from "../../support/option-rows.ts";

const all = ["put", "get", "sync", "rm"];
const storing = ["put", "sync"];
const trees = { line: ofTrees() };

/** That something was done to this entry, in whichever direction. */
const entry = (name: string): RegExp =>
  new RegExp(`^(?:stored new|file out|link out|removed tree)/${name} ?`, "m");
const write = (name: string, content: string) => (): void => writeFileSync(name, content);

/** The tree in the bucket has a link too. */
async function storeLink({ server }: Place): Promise<void> {
  const words = ["put", "-r", "-k", "a.jwk", "--links", "keep", "--quiet", "--no-journal"];
  await run([...words, "tree", "s3://bucket/tree/", "--endpoint", server.endpoint]);
}

export const rows: readonly Row[] = [
  row(all, "--exclude a.txt", undefined, { ...trees, hides: entry("a.txt") }),
  row(all, "--include a.txt", entry("a.txt"), { line: ofTrees({ more: "--exclude *.txt" }) }),
  row(all, "--exclude-from rules", undefined, {
    ...trees,
    before: write("rules", "*.txt\n"),
    hides: entry("a.txt"),
  }),
  row(storing, "--files-from list", undefined, {
    ...trees,
    before: write("list", "a.txt\n"),
    hides: entry("sub/b.txt"),
  }),
  row(storing, "--files-from0 list", undefined, {
    ...trees,
    before: write("list", "a.txt\0sub/deep\0"),
    hides: entry("sub/b.txt"),
  }),
  row(storing, "--links keep", entry("link"), trees),
  row(["get"], "--links skip", undefined, { ...trees, before: storeLink, hides: entry("link") }),
  row(storing, "--one-file-system", undefined, {
    line: ofTrees({ more: "--links follow" }),
    before: () => symlinkSync("/proc/sys/kernel/ostype", "tree/other"),
    hides: entry("other"),
  }),
];

export const kinds: Readonly<Record<string, Kind>> = {
  words: { of: ["--links"] },
  free: { of: ["--exclude", "--include", "--files-from", "--files-from0"] },
  files: { of: ["--exclude-from"] },
};
