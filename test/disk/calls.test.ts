// Reads and writes are cut into pieces that the system takes, everywhere: one place makes the calls, and who else touches
// bytes of files is in a list.
import { constants } from "node:buffer";
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, open, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { allocateBuffer } from "../../src/disk/call-length.ts";
import { readFully, writeFully } from "../../src/disk/calls.ts";
import { decryptFile, encryptFile, openMessage, RawAesKeyring } from "../../src/index.ts";
import { openSource } from "../../src/reader/message-source.ts";
import { PartSpool } from "../../src/s3/requests/part-spool.ts";
import { FULL } from "../support/full.ts";

/** The limit of the test, except where it asks for the real one; and the longest call that was made. */
const seen = vi.hoisted(() => ({ limit: 1000, longest: 0 }));
vi.mock("../../src/disk/call-length.ts", async (original) => ({
  ...(await original<typeof import("../../src/disk/call-length.ts")>()),
  get MAX_CALL_LENGTH() {
    return seen.limit;
  },
}));
vi.mock("node:fs", async (original) => {
  const fs = await original<typeof import("node:fs")>();
  const watched =
    (name: "read" | "write") =>
    (...given: unknown[]): void => {
      seen.longest = Math.max(seen.longest, given[3] as number);
      (fs[name] as (...all: unknown[]) => void)(...given);
    };
  return { ...fs, read: watched("read"), write: watched("write") };
});

let folder: string;
const file = (name: string): string => path.join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "frameseal-calls-"));
});
afterAll(() => rm(folder, { recursive: true }));

const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: Buffer.alloc(32, 7) });
const lengths = [0, 1, 999, 1000, 1001, 2000, 54_321];

describe("pieces", () => {
  test.each(lengths)(
    "%i bytes, by descriptor and by FileHandle, at a place and where it stands",
    async (length) => {
      const bytes = randomBytes(length);
      for (const at of [null, 0, 77]) {
        const handle = await open(file("pieces"), "w+");
        seen.longest = 0;
        await writeFully(handle.fd, bytes, at);
        const again = Buffer.alloc(length + 5);
        expect(await readFully(handle, again, at ?? 0)).toBe(length);
        expect(again.subarray(0, length).equals(bytes)).toBe(true);
        await writeFully(handle, bytes, at ?? 0);
        expect(await readFully(handle.fd, again, at ?? 0)).toBe(length);
        expect(again.subarray(0, length).equals(bytes)).toBe(true);
        expect(seen.longest).toBeLessThanOrEqual(1000);
        await handle.close();
      }
    },
  );

  test("every way of the library", async () => {
    const plaintext = randomBytes(123_456);
    await writeFile(file("plain"), plaintext);
    const options = { keyring, engine: "node" } as const;
    seen.longest = 0;
    await encryptFile(file("plain"), file("sealed"), { ...options, frameLength: 48_000 });
    await decryptFile(file("sealed"), file("opened"), options);
    expect((await readFile(file("opened"))).equals(plaintext)).toBe(true);
    const reader = await openMessage(file("sealed"), { keyring });
    expect((await reader.read(5, 99_000)).equals(plaintext.subarray(5, 99_000))).toBe(true);
    await reader.close();
    expect(seen.longest).toBe(1000);
    const spool = await PartSpool.create(folder, undefined);
    await spool.write(plaintext);
    expect(spool.length).toBe(plaintext.length);
    await spool.close();
  });
});

test("more than a buffer holds is refused before anything", async () => {
  await writeFile(file("small"), "x");
  const source = await openSource(file("small"), undefined);
  for (const length of [constants.MAX_LENGTH + 1, 2 ** 40 * 9000])
    for (const ask of [() => source.read(0, length), async () => allocateBuffer(length)])
      await expect(ask()).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
  await source.close?.();
});

test.skipIf(!FULL)("a read of more than 2 GiB", async () => {
  seen.limit = 2 ** 30;
  const length = 2 ** 31 + 12_345;
  await writeFile(file("sparse"), "begin");
  await truncate(file("sparse"), length);
  const source = await openSource(file("sparse"), undefined);
  const bytes = await source.read(0, length);
  expect(bytes.length).toBe(length);
  expect(Buffer.from(bytes.buffer, 0, 6).toString()).toBe("begin\0");
  await source.close?.();
  await rm(file("sparse"));
  seen.limit = 1000;
});

test("nobody else reads or writes bytes of files by a length", () => {
  const src = fileURLToPath(new URL("../../src", import.meta.url));
  const touching =
    /^(FileHandle|open|openAsBlob|(read|write|readv|writev|readFile|writeFile|appendFile|copyFile|createReadStream|createWriteStream)(Sync)?|fs|promises|\*.*)$/;
  const found: Record<string, string[]> = {};
  for (const name of readdirSync(src, { recursive: true, encoding: "utf8" })) {
    if (!name.endsWith(".ts")) continue;
    const text = readFileSync(path.join(src, name), "utf8");
    const imported = [
      ...text.matchAll(/import (?:type )?\{?([^}"]*?)\}? from "node:fs(?:\/promises)?"/g),
      ...text.matchAll(/const \{([^}]*)\} = await import\("node:fs(?:\/promises)?"\)/g),
      ...text.matchAll(/await import\("node:fs(?:\/promises)?"\)\)\.(\w+)/g),
    ].flatMap(([, names = ""]) =>
      names.split(",").map(
        (each) =>
          each
            .trim()
            .replace(/^type /, "")
            .split(" ")[0] ?? "",
      ),
    );
    const touched = imported.filter((each) => touching.test(each)).sort();
    // Commands read small files, and streams that are cut; they write lines.
    if (name.startsWith("cli"))
      expect(touched.join(" ")).not.toMatch(/\b(read|write|readv|writev)\b|writeFile|copyFile/);
    else if (touched.length > 0) found[name.replaceAll(path.sep, "/")] = touched;
  }
  expect(found).toEqual({
    // Whole small files, and a header.
    "backup/journal/journal-lock.ts": ["readFileSync", "writeFileSync"],
    "backup/journal/open-journal.ts": ["readSync"],
    // Short pieces at once; what is left of them goes through disk/calls.ts.
    "backup/local/file-calls.ts": ["writeSync"],
    // Blocks, until all of them are done.
    "backup/sorted-lines.ts": ["readSync", "writeSync"],
    "disk/calls.ts": ["FileHandle", "open", "read", "write"],
    // Their handles are read and written by disk/calls.ts.
    "keyring/key-file.ts": ["FileHandle", "open"],
    "reader/message-source.ts": ["open"],
    "s3/requests/part-spool.ts": ["FileHandle", "open"],
    // Whole small files, which Node cuts itself.
    "s3/requests/state-file.ts": ["open", "readFile"],
  });
  const handles = ["keyring/key-file.ts", "reader/message-source.ts", "s3/requests/part-spool.ts"];
  for (const name of handles)
    expect(readFileSync(path.join(src, name), "utf8")).not.toMatch(
      /file\.(read|readv|writev)\(|#file\.write\(/,
    );
});
