// The pump moves messages from descriptor to descriptor on threads of its own: it must give the same bytes and the same
// errors as the engine that has none, on files and on real pipes (child processes of Node get sockets instead).
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { appendFile, mkdtemp, open, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { nativeKernels } from "../../src/engine/native/addon.ts";
import { decryptFile, encryptFile, type MessageHeader, RawAesKeyring, verifyFile } from "../../src/index.ts";
import { errorCode } from "../message/fixtures.ts";

const program = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const library = new URL("../../dist/index.js", import.meta.url).href;
const wrappingKey = Buffer.alloc(32, 7);
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey });
const hasPump = process.platform !== "win32" && nativeKernels().some(({ works }) => works);

let folder: string;
const file = (name: string): string => path.join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "frameseal-pump-"));
  await writeFile(
    file("key.jwk"),
    JSON.stringify({ kty: "oct", kid: "k", k: wrappingKey.toString("base64url") }),
    { mode: 0o600 },
  );
});
afterAll(() => rm(folder, { recursive: true }));

const replace = { overwrite: "replace", sync: "none" } as const;
async function sealed(plaintext: Uint8Array, frameLength: number): Promise<[Buffer, MessageHeader]> {
  await writeFile(file("plain"), plaintext);
  const options = { keyring, frameLength, engine: "native", ...replace };
  const { header } = await encryptFile(file("plain"), file("sealed"), options);
  return [await readFile(file("sealed")), header];
}
const headerLengthOf = (message: Buffer, plaintextLength: number, frameLength: number): number => {
  const frames = Math.floor(plaintextLength / frameLength);
  return message.length - plaintextLength - frames * 32 - 40;
};

/** Runs a shell command line, so that its parts are joined by pipes. `$F` is the program. */
function shell(
  command: string,
  more: { input?: Uint8Array; environment?: Record<string, string> } = {},
): Promise<{ code: number | null; stdout: Buffer; stderr: string }> {
  const environment = { ...process.env, F: `${process.execPath} ${program}`, ...more.environment };
  const child = spawn("bash", ["-c", `set -o pipefail; ${command}`], { cwd: folder, env: environment });
  const stdout: Buffer[] = [];
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  child.stdin.on("error", () => {});
  child.stdin.end(more.input ?? "");
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout: Buffer.concat(stdout), stderr }));
  });
}

describe.skipIf(!hasPump)("pump", () => {
  const unit = 512 * 1024;
  const cases = [16, 4096, 65_536, 98_304, 2 ** 20].flatMap((frame) => {
    const whole = Math.max(1, Math.floor(unit / frame)) * frame;
    const lengths =
      frame === 16
        ? [0, 1, 15, 16, 17, 40_000]
        : [0, 1, frame - 1, frame, frame + 1, whole - 1, whole, whole + 1, 2 * whole, 3 * whole + 5];
    return lengths.map((length) => [frame, length] as const);
  });
  test.each(cases)("frames of %i, %i bytes: files, either engine", async (frameLength, length) => {
    const plaintext = randomBytes(length);
    const [message] = await sealed(plaintext, frameLength);
    const expected = Math.floor(length / frameLength) * 32 + 40 + length;
    expect(message.length - headerLengthOf(message, length, frameLength)).toBe(expected);
    for (const engine of ["native", "node"]) {
      const options = { keyring, engine, ...replace };
      const result = await decryptFile(file("sealed"), file("opened"), options);
      expect(result).toMatchObject({
        bytesRead: message.length,
        bytesWritten: length,
        plaintextLength: length,
      });
      expect((await readFile(file("opened"))).equals(plaintext)).toBe(true);
      await verifyFile(file("sealed"), { keyring, engine });
    }
    await encryptFile(file("plain"), file("sealed"), { keyring, frameLength, engine: "node", ...replace });
    await decryptFile(file("sealed"), file("opened"), { keyring, engine: "native", ...replace });
    expect((await readFile(file("opened"))).equals(plaintext)).toBe(true);
  });

  test.each([0, 1, 65_536, 3_000_000])("%i bytes through real pipes", async (length) => {
    const plaintext = randomBytes(length);
    await writeFile(file("plain"), plaintext);
    const key = "-k key.jwk --key-namespace n";
    for (const [sealing, opening] of [
      ["native", "native"],
      ["native", "node"],
      ["node", "native"],
    ])
      for (const command of [
        `cat plain | $F encrypt ${key} --engine ${sealing} | $F decrypt ${key} --engine ${opening} | cat`,
        `$F encrypt ${key} --engine ${sealing} < plain > s && $F decrypt ${key} --engine ${opening} < s | cat`,
      ]) {
        const result = await shell(command);
        expect({ code: result.code, stderr: result.stderr }).toEqual({ code: 0, stderr: "" });
        expect(result.stdout.equals(plaintext)).toBe(true);
      }
  });

  test("what is not a message of ours gets the same error, and pipes the same verified frames", async () => {
    const frameLength = 4096;
    const length = 1_300_000;
    const plaintext = randomBytes(length);
    const [message] = await sealed(plaintext, frameLength);
    const body = headerLengthOf(message, length, frameLength);
    const frame = (index: number): number => body + index * (frameLength + 32);
    const final = frame(Math.floor(length / frameLength));
    const flipped = (at: number): Buffer => {
      const copy = Buffer.from(message);
      copy[at] = (copy[at] ?? 0) ^ 1;
      return copy;
    };
    const withLength = (value: number): Buffer => {
      const copy = Buffer.from(message);
      copy.writeUInt32BE(value, final + 20);
      return copy;
    };
    const bad: Buffer[] = [
      ...[0, 2, 3, 4, 15, 16, 4111, 4112, 4127].flatMap((offset) =>
        [0, 1, 126, 127, 128, 254, 300].map((index) => flipped(frame(index) + offset)),
      ),
      ...[0, 3, 4, 7, 8, 19, 20, 23, 24, 100].map((offset) => flipped(final + offset)),
      flipped(message.length - 1),
      ...[0, 1, frameLength, frameLength + 1, 0xffff_ffff].map(withLength),
      ...[
        body,
        body + 1,
        frame(1) - 1,
        frame(1),
        frame(128),
        frame(200) + 5,
        final,
        final + 3,
        final + 24,
      ].map((end) => message.subarray(0, end)),
      message.subarray(0, -1),
      Buffer.concat([message, Buffer.of(0)]),
      Buffer.concat([message, message]),
      Buffer.concat([message.subarray(0, frame(5)), message.subarray(frame(6))]),
      Buffer.concat([message.subarray(0, frame(5)), message.subarray(frame(4))]),
    ];
    for (const bytes of bad) {
      await writeFile(file("bad"), bytes);
      const outcomes: unknown[] = [];
      for (const engine of ["native", "node"]) {
        const before = await readdir(folder);
        const failure = await decryptFile(file("bad"), file("none"), { keyring, engine, sync: "none" }).catch(
          (error: unknown) => error,
        );
        expect(await readdir(folder)).toEqual(before);
        expect(failure).toBeInstanceOf(Error);
        const opened = await open(file("prefix"), constants.O_CREAT | constants.O_TRUNC | constants.O_WRONLY);
        const again = await decryptFile(file("bad"), opened.fd, { keyring, engine }).catch(
          (error: unknown) => error,
        );
        await opened.close();
        const prefix = await readFile(file("prefix"));
        expect(plaintext.subarray(0, prefix.length).equals(prefix)).toBe(true);
        expect(errorCode(again)).toBe(errorCode(failure));
        outcomes.push([errorCode(failure), prefix.length]);
      }
      expect(outcomes[0]).toEqual(outcomes[1]);
    }
    // The same through pipes, for one of each kind.
    for (const [bytes, code] of [
      [flipped(frame(200) + 30), 3],
      [message.subarray(0, frame(200) + 5), 3],
      [Buffer.concat([message, Buffer.of(0)]), 3],
    ] as const) {
      await writeFile(file("bad"), bytes);
      const result = await shell("cat bad | $F decrypt -k key.jwk --key-namespace n | cat");
      expect(result.code).toBe(code);
      const isLong = bytes.length > message.length;
      expect(result.stdout.length).toBe(isLong ? length : 200 * frameLength);
      expect(plaintext.subarray(0, result.stdout.length).equals(result.stdout)).toBe(true);
    }
  }, 120_000);

  test("a longer plaintext than announced is refused, on both sides", async () => {
    await sealed(randomBytes(700_000), 4096);
    for (const engine of ["native", "node"]) {
      const options = { keyring, engine, plaintextLength: 699_999, ...replace };
      for (const operation of [
        () => decryptFile(file("sealed"), file("out"), options),
        () => encryptFile(file("plain"), file("out"), options),
      ])
        await expect(operation()).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
      await expect(readFile(file("out"))).rejects.toThrow("ENOENT");
    }
  });

  test.each(["grows", "shrinks"])("an input that %s meanwhile is refused", async (what) => {
    const length = 8 * 2 ** 20;
    await writeFile(file("changing"), Buffer.alloc(length));
    const slow: typeof keyring.generateDataKey = async (request) => {
      const result = await keyring.generateDataKey(request);
      if (what === "grows") await appendFile(file("changing"), "more");
      else await truncate(file("changing"), length - 5);
      return result;
    };
    const changing = Object.assign(Object.create(keyring), { generateDataKey: slow });
    const result = encryptFile(file("changing"), file("never"), { keyring: changing, engine: "native" });
    await expect(result).rejects.toMatchObject({ code: "EBUSY" });
    expect((await readdir(folder)).filter((name) => name.includes("never"))).toEqual([]);
  });

  test("a sparse file is sealed as what it reads as", async () => {
    const length = 24 * 2 ** 20 + 11;
    await writeFile(file("sparse"), "begin");
    await truncate(file("sparse"), length);
    for (const engine of ["native", "node"]) {
      const options = { keyring, engine, ...replace };
      await encryptFile(file("sparse"), file("sealed"), options);
      const { plaintextLength } = await decryptFile(file("sealed"), file("out"), options);
      expect(plaintextLength).toBe(length);
      expect((await readFile(file("out"))).equals(await readFile(file("sparse")))).toBe(true);
    }
  });

  test("frames that arrive are released before the pipe ends", async () => {
    const result = await shell(`
      mkfifo trickle; exec 9<>trickle; head -c 10000 /dev/zero >&9
      $F encrypt -k key.jwk --key-namespace n --frame-length 4096 < trickle 9>&- | cat > first 9>&- &
      until [ -s first ] && [ "$(wc -c < first)" -gt 8192 ]; do sleep 0.05; done
      exec 9>&-; wait; rm trickle`);
    expect(result.stderr).toBe("");
    expect((await readFile(file("first"))).length).toBeGreaterThan(10_000);
  });

  test("what follows the final frame later is noticed", async () => {
    await sealed(randomBytes(100_000), 4096);
    for (const engine of ["native", "node"]) {
      const open = `$F decrypt -k key.jwk --key-namespace n --engine ${engine} > opened`;
      const late = await shell(`{ cat sealed; sleep 0.3; printf x; } | ${open}`);
      expect(late.stderr).toContain("goes on after the end of the message");
      expect(late.code).not.toBe(0);
      expect((await shell(`{ cat sealed; sleep 0.3; } | ${open}`)).code).toBe(0);
    }
  });

  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ])("%s while it waits for a pipe: nothing is left", async (signal, expected) => {
    const before = await readdir(folder);
    const result = await shell(`
      mkfifo wait; exec 9<>wait; head -c 1000000 /dev/zero >&9 &
      $F encrypt -k key.jwk --key-namespace n -o never < wait & child=$!
      until ls -A | grep -q never; do sleep 0.05; done
      kill -${signal} $child; wait $child; code=$?; exec 9>&-; rm wait; exit $code`);
    expect(result.code).toBe(expected);
    expect(await readdir(folder)).toEqual(before);
  });

  test("a reader that leaves ends it with 141, without a word", async () => {
    const script = `$F encrypt -k key.jwk --key-namespace n /dev/zero | head -c 100000 > /dev/null; echo "\${PIPESTATUS[0]}"`;
    const result = await shell(script);
    expect(result).toMatchObject({ stderr: "" });
    expect(result.stdout.toString()).toBe("141\n");
  });

  test("a full disk", async () => {
    await writeFile(file("plain"), Buffer.alloc(3_000_000));
    const full = await shell("$F encrypt -k key.jwk --key-namespace n plain > /dev/full");
    expect(full).toMatchObject({ code: 1, stderr: "frameseal: no space left on the device\n" });
    const limited = await shell(
      "ulimit -f 1024; $F encrypt -k key.jwk --key-namespace n plain -o larger; code=$?; ls -A | grep larger; exit $code",
    );
    expect(limited).toMatchObject({
      code: 1,
      stderr: "frameseal: larger: the file would be larger than allowed here; nothing was changed\n",
    });
    expect(limited.stdout.toString()).toBe("");
  });

  test("an abort stops it and leaves nothing", async () => {
    const controller = new AbortController();
    const onProgress = (): void => controller.abort();
    const running = encryptFile("/dev/zero", file("endless"), {
      keyring,
      engine: "native",
      onProgress,
      signal: controller.signal,
    });
    await expect(running).rejects.toMatchObject({ code: "ABORTED" });
    expect((await readdir(folder)).filter((name) => name.includes("endless"))).toEqual([]);
  });

  test("worker threads and processes that end while it runs or waits", async () => {
    const worker = `
      import { encryptFile, RawAesKeyring } from ${JSON.stringify(library)};
      import { parentPort, workerData } from "node:worker_threads";
      const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: Buffer.alloc(32, 1) });
      encryptFile(workerData, "/dev/null", { keyring, engine: "native" }).catch(() => {});
      setTimeout(() => parentPort.postMessage("running"), 30);`;
    const script = `
      import { Worker } from "node:worker_threads";
      import { execFileSync } from "node:child_process";
      import { openSync } from "node:fs";
      execFileSync("mkfifo", ["idle"]);
      openSync("idle", "r+");
      for (const input of ["/dev/zero", "idle", "/dev/zero", "idle"]) {
        const url = new URL("data:text/javascript," + encodeURIComponent(${JSON.stringify(worker)}));
        const thread = new Worker(url, { workerData: input });
        await new Promise((resolve, reject) => thread.once("message", resolve).once("error", reject));
        await thread.terminate();
      }
      const last = new Worker(new URL("data:text/javascript," + encodeURIComponent(${JSON.stringify(worker)})), { workerData: "idle" });
      last.once("message", () => process.exit(7));`;
    await writeFile(file("threads.mjs"), script);
    const result = await shell(`${process.execPath} threads.mjs; code=$?; rm -f idle; exit $code`);
    expect(result).toMatchObject({ code: 7, stderr: "" });
  });
});
