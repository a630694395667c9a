// Lists of paths: what they name, and what they cannot name.
import { describe, expect, test } from "vitest";
import { type ListFormat, type PathList, readPathList } from "../../../src/backup/local/files-from.ts";

const read = (text: string | Buffer, format: ListFormat = "lines", root = "/r/t"): Promise<PathList> => {
  async function* bytewise(): AsyncGenerator<Uint8Array> {
    const bytes = Buffer.from(text);
    for (let from = 0; from < bytes.length; from += 3) yield bytes.subarray(from, from + 3);
  }
  return readPathList(bytewise(), format, root);
};
const pathsOf = ({ named }: PathList): string[] => [...named.pathsOf(named.all)];
const refusedOf = ({ refused }: PathList): string[] => refused.map(({ text }) => text);

describe("lists", () => {
  test("of lines", async () => {
    expect(pathsOf(await read("b\r\na\n\n\nc d\n#e\n last"))).toEqual([" last", "#e", "a", "b", "c d"]);
    expect(pathsOf(await read(""))).toEqual([]);
  });
  test("with NUL", async () => {
    expect(pathsOf(await read("b\0a\nx\0\0c\r\0d", "nul"))).toEqual(["a\nx", "b", "c\r", "d"]);
  });
  test("name things once, and folders with all that is below them", async () => {
    expect(pathsOf(await read("a/b\na\na/b/c\nab\na-b\na\n"))).toEqual(["a", "a-b", "ab"]);
    expect(pathsOf(await read("a/b\n.\n"))).toEqual([""]);
  });
  test("name things in ways that mean the same", async () => {
    expect(pathsOf(await read("./a\nb/\nc//d\ne/./f\n/r/t/g\n/r/t//h/\n"))).toEqual([
      "a",
      "b",
      "c/d",
      "e/f",
      "g",
      "h",
    ]);
    expect(pathsOf(await read("/r/t\n"))).toEqual([""]);
    expect(pathsOf(await read("/a\n", "lines", "/"))).toEqual(["a"]);
  });
  test("keep bytes that are no UTF-8, for the walk to tell", async () => {
    expect(pathsOf(await read(Buffer.from("caf\xe9\n", "latin1")))).toEqual(["caf\xe9"]);
  });
  test("refuse what is not below the root; the others go on", async () => {
    const list = await read("../a\na/../b\n..\n/etc/passwd\n/r/tt\n/r\n/r/t/../x\nok\ncaf\u00e9/..\nx\0y\n");
    expect(refusedOf(list)).toEqual([
      "../a",
      "a/../b",
      "..",
      "/etc/passwd",
      "/r/tt",
      "/r",
      "/r/t/../x",
      "caf\\xC3\\xA9/..",
      "x\0y",
    ]);
    expect(pathsOf(list)).toEqual(["ok"]);
    for (const { error } of list.refused) expect(error).toMatchObject({ code: "UNSUPPORTED" });
  });
  test("end when they are no lists of paths, and on an abort", async () => {
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) yield Buffer.alloc(65536, "x");
    }
    await expect(readPathList(endless(), "nul", "/")).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
    async function* silent(): AsyncGenerator<Uint8Array> {
      yield Buffer.from("a\n");
      await new Promise(() => {});
    }
    const controller = new AbortController();
    const reading = readPathList(silent(), "lines", "/", controller.signal);
    setImmediate(() => controller.abort());
    await expect(reading).rejects.toMatchObject({ code: "ABORTED" });
  });
});
