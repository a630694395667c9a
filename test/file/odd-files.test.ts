// Files that are none, or do not stay what they were: FIFOs that nobody comes to, devices, closed descriptors, targets
// that become something else meanwhile. Each ends in the right bytes or in one error with a code; nothing is left, no
// thread waits, and an abort ends it at once.
import { execFileSync, spawnSync } from "node:child_process";
import { setMaxListeners } from "node:events";
import { readdirSync, readlinkSync } from "node:fs";
import {
  appendFile,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  decryptFile,
  encryptFile,
  inspectFile,
  type Keyring,
  openMessage,
  RawAesKeyring,
  verifyFile,
} from "../../src/index.ts";
import { engineNames } from "../message/fixtures.ts";

const library = new URL("../../dist/index.js", import.meta.url).href;
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: Buffer.alloc(32, 7) });
const hasFifos = spawnSync("mkfifo", ["--version"]).error === undefined && process.platform === "linux";

let folder: string;
let message: Buffer;
const file = (name: string): string => path.join(folder, name);
const plaintext = Buffer.alloc(300_000, "odd ");
/** Descriptors of this process that lead into the folder. */
const descriptorCount = (): number =>
  readdirSync("/proc/self/fd").filter((name) => {
    try {
      return readlinkSync(`/proc/self/fd/${name}`).startsWith(folder);
    } catch {
      return false; // that of the list itself
    }
  }).length;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "frameseal-odd-"));
  await writeFile(file("plain"), plaintext);
  await encryptFile(file("plain"), file("message"), { keyring });
  message = await readFile(file("message"));
});
afterEach(() => rm(folder, { recursive: true }));

function fifo(name: string): string {
  execFileSync("mkfifo", [file(name)]);
  return file(name);
}
const codeOf = (running: Promise<unknown>): Promise<string> =>
  running.then(
    () => "done",
    (error) => error.code ?? error.name,
  );

describe.skipIf(!hasFifos)("FIFOs", () => {
  type Options = { keyring: typeof keyring; signal: AbortSignal; engine: string };
  const readers = {
    encryptFile: (from: string, options: Options) => encryptFile(from, file("out"), options),
    decryptFile: (from: string, options: Options) => decryptFile(from, file("out"), options),
    verifyFile: (from: string, options: Options) => verifyFile(from, options),
    inspectFile: (from: string, { signal }: Options) => inspectFile(from, { signal }),
  };
  const writers = {
    encryptFile: (to: string, options: Options) => encryptFile(file("plain"), to, options),
    decryptFile: (to: string, options: Options) => decryptFile(file("message"), to, options),
  };

  test.each(engineNames)("an abort ends what waits for the other end, engine %s", async (engine) => {
    const before = await readdir(folder);
    const stop = new AbortController();
    setMaxListeners(0, stop.signal);
    const options = { keyring, engine, signal: stop.signal };
    // More than there are threads for files.
    const names: string[] = [];
    const running: Promise<unknown>[] = [];
    for (const run of [...Object.values(readers), ...Object.values(writers)])
      for (let i = 0; i < 2; i++) {
        const name = `fifo${running.length}`;
        names.push(name);
        running.push(run(fifo(name), options));
      }
    const outcomes = running.map(codeOf);
    await vi.waitUntil(() => descriptorCount() === 12, { timeout: 10_000 });
    expect((await readFile(file("plain"))).equals(plaintext)).toBe(true); // a thread is free
    const settled = Promise.all(outcomes);
    stop.abort(new Error("enough"));
    expect(new Set(await settled)).toEqual(new Set(["ABORTED"]));
    await vi.waitUntil(() => descriptorCount() === 0, { timeout: 10_000 });
    expect((await readdir(folder)).filter((name) => !names.includes(name))).toEqual(before);
  });

  test.each(engineNames)("the other end may come late, and in pieces, engine %s", async (engine) => {
    const [input, output] = [fifo("in"), fifo("out-fifo")];
    const sealing = encryptFile(input, file("sealed"), { keyring, engine });
    const writer = await open(input, "w");
    await writer.write(plaintext.subarray(0, 10));
    await writer.write(plaintext.subarray(10));
    await writer.close();
    expect(await sealing).toMatchObject({ plaintextLength: plaintext.length, durability: "synced" });
    const opening = decryptFile(file("sealed"), output, { keyring, engine });
    const reader = await open(output, "r");
    expect((await reader.readFile()).equals(plaintext)).toBe(true);
    await reader.close();
    expect(await opening).toMatchObject({ durability: "not-synced" });
  });

  test("who comes and writes nothing ends it", async () => {
    const sealing = encryptFile(fifo("in"), file("sealed"), { keyring });
    await (await open(file("in"), "w")).close();
    expect(await sealing).toMatchObject({ plaintextLength: 0 });
    const opening = codeOf(decryptFile(file("in"), file("opened"), { keyring }));
    await (await open(file("in"), "w")).close();
    expect(await opening).toBe("TRUNCATED");
  });

  test.each(engineNames)("a reader that leaves, engine %s", async (engine) => {
    await truncate(file("plain"), 5_000_000);
    const sealing = codeOf(encryptFile(file("plain"), fifo("left"), { keyring, engine }));
    await (await open(file("left"), "r")).close();
    expect(await sealing).toBe("EPIPE");
  });

  test("a FIFO that goes while it is waited for", async () => {
    // Asked for a key when the target has been looked at: from then on it is opened, or waited for.
    const sealTo = async (to: string, meanwhile: () => Promise<void>): Promise<string> => {
      let ask = (): void => {};
      const asked = new Promise<void>((resolve) => {
        ask = resolve;
      });
      const asking: Keyring = {
        generateDataKey: (request) => {
          ask();
          return keyring.generateDataKey(request);
        },
        wrapDataKey: (dataKey, request) => keyring.wrapDataKey(dataKey, request),
        unwrapDataKey: (keys, request) => keyring.unwrapDataKey(keys, request),
      };
      const sealing = codeOf(encryptFile(file("plain"), to, { keyring: asking }));
      await asked;
      await sleep(30); // either way the same is said; mostly it is waited for by now
      await meanwhile();
      return sealing;
    };
    expect(await sealTo(fifo("gone"), () => rm(file("gone")))).toBe("ENOENT");
    // Or becomes a file, which nothing may be written into as it is.
    const becomesFile = async (): Promise<void> => {
      await writeFile(file("other"), "precious");
      await rename(file("other"), file("changed"));
    };
    expect(await sealTo(fifo("changed"), becomesFile)).toBe("EBUSY");
    expect(await readFile(file("changed"), "utf8")).toBe("precious");
  });

  test("a process that has stopped waiting can end", () => {
    const script = `
      import { encryptFile, decryptFile, RawAesKeyring } from ${JSON.stringify(library)};
      const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: Buffer.alloc(32, 1) });
      const { signal } = new class extends AbortController { constructor() { super(); setTimeout(() => this.abort(), 50); } };
      const options = { keyring, signal };
      const all = [1, 2, 3, 4, 5].flatMap(() => [encryptFile("a", "x", options), encryptFile("plain", "b", options)]);
      const codes = (await Promise.allSettled(all)).map(({ reason }) => reason?.code);
      console.log(new Set(codes));`;
    fifo("a");
    fifo("b");
    const ended = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
      cwd: folder,
      timeout: 20_000,
    });
    expect(ended.signal).toBe(null);
    expect(ended.stdout.toString()).toBe("Set(1) { 'ABORTED' }\n");
  });

  test("random access needs a file", async () => {
    expect(await codeOf(openMessage(fifo("no-file"), { keyring }))).toBe("ESPIPE");
    expect(await codeOf(openMessage("/dev/null", { keyring }))).toBe("ESPIPE");
    expect(await codeOf(openMessage(folder, { keyring }))).toBe("EISDIR");
    expect(await codeOf(openMessage(file("absent"), { keyring }))).toBe("ENOENT");
  });
});

describe.skipIf(process.platform !== "linux").each(engineNames)("engine %s", (engine) => {
  const options = { keyring, engine } as const;

  test("files without length, devices, descriptors", async () => {
    const { plaintextLength } = await encryptFile("/proc/self/limits", file("out"), options);
    expect(plaintextLength).toBeGreaterThan(100);
    const closed = 2 ** 20;
    for (const [from, to, code] of [
      ["/dev/null", "/dev/null", "done"],
      ["/proc/self/mem", file("none"), "EIO"],
      [file("plain"), "/dev/full", "ENOSPC"],
      [file("plain"), `${folder}/`, "EISDIR"],
      [folder, file("none"), "EISDIR"],
      [closed, file("none"), "EBADF"],
      [file("plain"), closed, "EBADF"],
      [2 ** 31 - 1, file("none"), "EBADF"],
      ["absent", file("none"), "ENOENT"],
      [file("plain"), file("absent/out"), "ENOENT"],
      [file("plain"), file("plain/out"), "ENOTDIR"],
      [`${file("plain")}\0`, file("none"), "TypeError"],
      [file("plain"), file("x".repeat(300)), "ENAMETOOLONG"],
      ["y".repeat(5000), file("none"), "ENAMETOOLONG"],
    ] as const)
      expect([from, to, await codeOf(encryptFile(from, to, options))]).toEqual([from, to, code]);
    expect(await readdir(folder)).toEqual(["message", "out", "plain"]);
    expect((await readFile(file("message"))).equals(message)).toBe(true);
  });

  // What happens between the look at both ends and the first byte.
  const changes: Readonly<Record<string, readonly [() => Promise<unknown>, "refuse" | "replace", string]>> = {
    "the source grows": [() => appendFile(file("source"), "x"), "replace", "EBUSY"],
    "the source shrinks": [() => truncate(file("source"), 5), "replace", "EBUSY"],
    "the source becomes empty": [() => truncate(file("source"), 0), "replace", "EBUSY"],
    "the source is written again": [
      () => writeFile(file("source"), Buffer.alloc(300_000, 1)),
      "replace",
      "EBUSY",
    ],
    "the source goes": [() => rm(file("source")), "replace", "done"],
    "the source is replaced": [() => rename(file("other"), file("source")), "replace", "done"],
    "the target appears": [() => writeFile(file("inner/out"), "precious"), "refuse", "EEXIST"],
    "the target becomes a folder": [() => mkdir(file("inner/out")), "replace", "EISDIR"],
    "the target becomes a folder, new": [() => mkdir(file("inner/out")), "refuse", "EEXIST"],
    "the target becomes a link": [() => symlink(file("other"), file("inner/out")), "replace", "done"],
    "the target becomes a link, new": [() => symlink(file("other"), file("inner/out")), "refuse", "EEXIST"],
    "the folder goes": [() => rm(file("inner"), { recursive: true }), "replace", "ENOENT"],
    "the folder is renamed": [() => rename(file("inner"), file("moved")), "replace", "ENOENT"],
  };
  test.each(Object.entries(changes))("%s meanwhile", async (_, [change, overwrite, code]) => {
    await writeFile(file("source"), plaintext);
    await writeFile(file("other"), "precious");
    await mkdir(file("inner"));
    const changing = Object.assign(Object.create(keyring), {
      async generateDataKey(request: Parameters<typeof keyring.generateDataKey>[0]) {
        const key = await keyring.generateDataKey(request);
        await change();
        return key;
      },
    });
    const running = encryptFile(file("source"), file("inner/out"), {
      ...options,
      keyring: changing,
      overwrite,
    });
    expect(await codeOf(running)).toBe(code);
    if (code === "done") await verifyFile(file("inner/out"), options);
    const left = (await readdir(folder, { recursive: true })).filter((name) => name.includes(".tmp-"));
    expect(left).toEqual([]);
    const names = await readdir(folder);
    if (names.includes("other")) expect(await readFile(file("other"), "utf8")).toBe("precious");
  });
});
