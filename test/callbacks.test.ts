// Functions of the caller that the library calls: what one throws, at once or by a promise, is the failure of the operation
// that called it. That very thing comes out, nothing is published or left open, and nothing is thrown where nobody
// catches it (which ends a test run). What the sources call by these names must stand in a table here.
import { execFileSync } from "node:child_process";
import { constants, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { mkdtemp, open, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Readable } from "node:stream";
import { finished } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  createDecryptStream,
  createEncryptStream,
  decrypt,
  decryptFile,
  encrypt,
  encryptFile,
  type Keyring,
  keyringFromKeyFile,
  MultiKeyring,
  openMessage,
  RawAesKeyring,
  verifyFile,
} from "../src/index.ts";
import { engineNames } from "./message/fixtures.ts";

const plaintext = Buffer.alloc(2_500_000, "callback ");
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: Buffer.alloc(32, 7) });
const isLinux = process.platform === "linux";

let folder: string;
let message: Buffer;
const file = (name: string): string => path.join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "frameseal-callbacks-"));
  await writeFile(file("plain"), plaintext);
  message = await encrypt(plaintext, { keyring });
  await writeFile(file("message"), message);
  await writeFile(
    file("key.jwk"),
    JSON.stringify({ kty: "oct", kid: "k", k: Buffer.alloc(32, 7).toString("base64url") }),
    { mode: 0o644 },
  );
});
afterAll(() => rm(folder, { recursive: true }));

/** How a callback fails, with what it is given to throw. */
const ways: Readonly<Record<string, (reason: unknown) => unknown>> = {
  "thrown at once": (reason) => {
    throw reason;
  },
  "by a promise": (reason) => Promise.reject(reason),
  "by a promise, later": (reason) =>
    new Promise((_, reject) => {
      setTimeout(() => reject(reason), 20);
    }),
};
const reasons: readonly unknown[] = [new Error("of the caller"), undefined, "text"];

type Run = (fail: () => never, engine: string) => Promise<unknown>;

/** A keyring whose method fails. */
function failing(method: keyof Keyring, fail: () => never): Keyring {
  const good: Keyring = {
    generateDataKey: (request) => keyring.generateDataKey(request),
    wrapDataKey: (dataKey, request) => keyring.wrapDataKey(dataKey, request),
    unwrapDataKey: (keys, request) => keyring.unwrapDataKey(keys, request),
  };
  return { ...good, [method]: fail };
}
const throughStream = async (
  stream: ReturnType<typeof createEncryptStream>,
  input: Uint8Array,
): Promise<void> => {
  Readable.from([input]).pipe(stream);
  stream.resume();
  await finished(stream);
};

/**
 * Where a callback is called. `sync`: its result is not looked at, so that a promise means nothing. `asCause`: several
 * may fail, so it comes out as one of the causes of NO_DATA_KEY.
 */
const callbacks: Readonly<
  Record<
    string,
    { readonly sync?: boolean; readonly asCause?: boolean; readonly runs: Readonly<Record<string, Run>> }
  >
> = {
  onProgress: {
    runs: {
      encryptFile: (fail, engine) =>
        encryptFile(file("plain"), file("out"), { keyring, engine, onProgress: fail }),
      decryptFile: (fail, engine) =>
        decryptFile(file("message"), file("out"), { keyring, engine, onProgress: fail }),
      verifyFile: (fail, engine) => verifyFile(file("message"), { keyring, engine, onProgress: fail }),
      "the last call": (fail, engine) => {
        const onProgress = (done: number): unknown => (done === plaintext.length ? fail() : undefined);
        return encryptFile(file("plain"), file("out"), {
          keyring,
          engine,
          onProgress: onProgress as () => void,
        });
      },
      // Nothing comes but the timer.
      ...(isLinux && {
        "while nothing comes": async (fail: () => never, engine: string) => {
          const name = file(`silent-${engine}`);
          if (!(await readdir(folder)).includes(path.basename(name))) execFileSync("mkfifo", [name]);
          const pipe = await open(name, constants.O_RDWR | constants.O_NONBLOCK);
          await pipe.write("begin");
          try {
            await encryptFile(pipe.fd, file("out"), { keyring, engine, onProgress: fail });
          } finally {
            await pipe.close().catch(() => {}); // it is closed with the operation
          }
        },
      }),
    },
  },
  onWarning: {
    runs: { keyringFromKeyFile: (fail) => keyringFromKeyFile(file("key.jwk"), { onWarning: fail }) },
  },
  generateDataKey: {
    runs: {
      encrypt: (fail, engine) => encrypt(plaintext, { keyring: failing("generateDataKey", fail), engine }),
      encryptFile: (fail, engine) =>
        encryptFile(file("plain"), file("out"), { keyring: failing("generateDataKey", fail), engine }),
      createEncryptStream: (fail, engine) =>
        throughStream(createEncryptStream({ keyring: failing("generateDataKey", fail), engine }), plaintext),
    },
  },
  wrapDataKey: {
    runs: {
      encrypt: (fail, engine) =>
        encrypt(plaintext, {
          keyring: new MultiKeyring({ generator: keyring, children: [failing("wrapDataKey", fail)] }),
          engine,
        }),
    },
  },
  unwrapDataKey: {
    asCause: true,
    runs: {
      decrypt: (fail, engine) => decrypt(message, { keyring: failing("unwrapDataKey", fail), engine }),
      decryptFile: (fail, engine) =>
        decryptFile(file("message"), file("out"), { keyring: failing("unwrapDataKey", fail), engine }),
      createDecryptStream: (fail, engine) =>
        throughStream(createDecryptStream({ keyring: failing("unwrapDataKey", fail), engine }), message),
      openMessage: (fail, engine) =>
        openMessage(file("message"), { keyring: failing("unwrapDataKey", fail), engine }),
    },
  },
  recordUse: {
    sync: true,
    runs: {
      decrypt: (fail, engine) => decrypt(message, { keyring: failing("recordUse", fail), engine }),
      decryptFile: (fail, engine) =>
        decryptFile(file("message"), file("out"), { keyring: failing("recordUse", fail), engine }),
      "encryptFile from a device": (fail, engine) =>
        encryptFile("/proc/self/limits", file("out"), { keyring: failing("recordUse", fail), engine }),
      createEncryptStream: (fail, engine) =>
        throughStream(createEncryptStream({ keyring: failing("recordUse", fail), engine }), plaintext),
      createDecryptStream: (fail, engine) =>
        throughStream(createDecryptStream({ keyring: failing("recordUse", fail), engine }), message),
    },
  },
  header: {
    sync: true,
    runs: {
      createEncryptStream: (fail, engine) =>
        throughStream(createEncryptStream({ keyring, engine }).on("header", fail), plaintext),
      createDecryptStream: (fail, engine) =>
        throughStream(createDecryptStream({ keyring, engine }).on("header", fail), message),
    },
  },
  read: {
    runs: {
      openMessage: (fail, engine) => openMessage({ size: message.length, read: fail }, { keyring, engine }),
      "MessageReader.read": async (fail, engine) => {
        let isOpen = false;
        const read = async (start: number, end: number): Promise<Uint8Array> =>
          isOpen ? await (fail as () => never)() : message.subarray(start, end);
        const reader = await openMessage({ size: message.length, read }, { keyring, engine });
        isOpen = true;
        await reader.read(100, 200);
      },
    },
  },
};

const descriptors = (): string[] =>
  isLinux
    ? readdirSync("/proc/self/fd").flatMap((name) => {
        try {
          const target = readlinkSync(`/proc/self/fd/${name}`);
          return target.startsWith(folder) ? [target] : [];
        } catch {
          return []; // that of the list itself
        }
      })
    : [];

describe.each(engineNames)("engine %s", (engine) => {
  const rows = Object.entries(callbacks).flatMap(([name, { sync, runs }]) =>
    Object.entries(runs).flatMap(([operation, run]) =>
      Object.keys(ways)
        .slice(0, sync === true ? 1 : undefined)
        .map((way) => [name, operation, way, run] as const),
    ),
  );
  test.each(rows)("%s in %s, %s", async (name, operation, way, run) => {
    const asCause = callbacks[name]?.asCause === true;
    for (const reason of way === "thrown at once" ? reasons : reasons.slice(0, 1)) {
      // Streams know no other failures than errors.
      if (!(reason instanceof Error) && (asCause || /header|Stream/.test(name + operation))) continue;
      const outcome = await run(() => ways[way]?.(reason) as never, engine).then(
        () => ({ done: true }),
        (error: unknown) => ({ error }),
      );
      expect(outcome).not.toEqual({ done: true });
      const { error } = outcome as { error: unknown };
      if (asCause) {
        expect(error).toMatchObject({ code: "NO_DATA_KEY" });
        expect(((error as Error).cause as AggregateError).errors[0]).toBe(reason);
      } else expect(error).toBe(reason);
      expect(await readdir(folder)).not.toContain("out");
      expect((await readdir(folder)).filter((each) => each.includes(".tmp-"))).toEqual([]);
      await new Promise(setImmediate); // for what nobody would catch
      expect(descriptors()).toEqual([]);
    }
  });
});

test("every callback of the sources is in the table", () => {
  const src = fileURLToPath(new URL("../src", import.meta.url));
  const found = new Set<string>();
  for (const name of readdirSync(src, { recursive: true, encoding: "utf8" })) {
    if (!/^(file|keyring|message|stream|reader)\/.*\.ts$/.test(name.replaceAll(path.sep, "/"))) continue;
    const text = readFileSync(path.join(src, name), "utf8");
    for (const [, option = ""] of text.matchAll(/^ {2}readonly (on[A-Z]\w*)\??:/gm)) found.add(option);
    for (const [, event = ""] of text.matchAll(/stream\.emit\("(\w+)"/g)) found.add(event);
    for (const [, type = ""] of text.matchAll(
      /^export type (\w*(?:Supplier|Provider|Callback|Listener))\b/gm,
    ))
      found.add(type);
    for (const [, members = ""] of text.matchAll(
      /^export interface (?:Keyring|MessageSource) \{([\s\S]*?)^\}/gm,
    ))
      for (const [, method = ""] of members.matchAll(/^ {2}(\w+)\??\(/gm)) found.add(method);
  }
  // What comes of a client of KMS is told by the keyring, with its cause; closing a source has no bearing on a result.
  for (const elsewhere of ["KmsClientSupplier", "close"]) expect(found.delete(elsewhere)).toBe(true);
  expect([...found].sort()).toEqual(Object.keys(callbacks).sort());
});
