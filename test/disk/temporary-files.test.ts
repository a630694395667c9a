// Temporary files of others: one that somebody still works on is never removed, whatever process, user or container that
// is and however it sleeps; one whose process was killed goes with the next operation on the same name.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chmod, mkdtemp, readdir, readFile, rm, stat, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { encryptFile, RawAesKeyring } from "../../src/index.ts";
import { engineNames } from "../message/fixtures.ts";

/** What the next calls of `lockFile` answer or do, in order; the real one when there is nothing. */
const locks: (() => Promise<unknown> | string | undefined)[] = vi.hoisted(() => []);
vi.mock("../../src/disk/file-lock.ts", async (original) => {
  const real = await original<typeof import("../../src/disk/file-lock.ts")>();
  return {
    ...real,
    lockFile: (descriptor: number) => locks.shift()?.() ?? real.lockFile(descriptor),
  };
});
const { canLock } = await import("../../src/disk/file-lock.ts");

const program = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const wrappingKey = Buffer.alloc(32, 7);
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey });
const isRoot = process.getuid?.() === 0;
const works = (command: string, ...args: string[]): boolean => spawnSync(command, args).status === 0;
const hasNamespaces = canLock() && works("unshare", "--pid", "--fork", "--mount-proc", "true");

let folder: string;
let writers: ChildProcess[] = [];
const file = (name: string): string => path.join(folder, name);
const temporaries = async (): Promise<string[]> =>
  (await readdir(folder)).filter((name) => name.includes(".tmp-"));
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "frameseal-temporary-"));
  await chmod(folder, 0o777);
  const jwk = { kty: "oct", kid: "k", k: wrappingKey.toString("base64url") };
  await writeFile(file("key.jwk"), JSON.stringify(jwk));
  await writeFile(file("plain"), "plaintext");
});
afterEach(async () => {
  for (const writer of writers) writer.kill("SIGKILL");
  writers = [];
  await rm(folder, { recursive: true });
});

interface How {
  readonly engine?: string;
  readonly uid?: number;
  /** In a PID namespace of its own, which cannot see the others. */
  readonly alone?: boolean;
  readonly withoutAddon?: boolean;
}

function start(args: readonly string[], { engine = "native", uid, alone, withoutAddon }: How): ChildProcess {
  const command = [
    ...(alone ? ["unshare", "--pid", "--fork", "--mount-proc"] : []),
    process.execPath,
    ...(withoutAddon ? ["--no-addons"] : []),
    program,
    ...args,
    "-k",
    "key.jwk",
    "--key-namespace",
    "n",
    "--engine",
    withoutAddon ? "node" : engine,
  ];
  const [name = "", ...rest] = command;
  return spawn(name, rest, {
    cwd: folder,
    stdio: ["pipe", "ignore", "pipe"],
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
}

/** Starts to encrypt standard input into `out`, and waits until some of it is in a temporary file. */
async function startWriter(how: How): Promise<{ child: ChildProcess; end(): Promise<number | null> }> {
  const child = start(["encrypt", "-o", "out", "--force"], how);
  writers.push(child);
  child.stdin?.on("error", () => {});
  child.stdin?.write(Buffer.alloc(3_000_000, "held"));
  // Not before: a file that is not locked yet may be removed, and is made again.
  const isWritten = async (): Promise<boolean> => {
    const sizes = (await temporaries()).map((name) => stat(file(name)).then(({ size }) => size));
    return (await Promise.all(sizes).catch(() => [])).some((size) => size > 0);
  };
  await vi.waitUntil(isWritten, { timeout: 20_000, interval: 20 });
  const closed = once(child, "close") as Promise<[number | null]>;
  return {
    child,
    async end() {
      child.stdin?.end();
      return (await closed)[0];
    },
  };
}

/** Encrypts `plain` into `out` in another process. */
async function run(how: How): Promise<void> {
  const child = start(["encrypt", "plain", "-o", "out", "--force"], how);
  let stderr = "";
  child.stderr?.on("data", (chunk) => {
    stderr += chunk;
  });
  child.stdin?.end();
  const [code] = await once(child, "close");
  expect(code, stderr).toBe(0);
}

describe.skipIf(!canLock() || !existsSync(program))("of a process that is at work", () => {
  test.each(engineNames)("another process keeps it, engine %s", async (engine) => {
    const writer = await startWriter({ engine });
    const before = await temporaries();
    await run({ engine });
    expect(await temporaries()).toEqual(before);
    const other = createHash("sha256")
      .update(await readFile(file("out")))
      .digest("hex");
    expect(await writer.end()).toBe(0);
    expect(
      createHash("sha256")
        .update(await readFile(file("out")))
        .digest("hex"),
    ).not.toBe(other);
    expect(await temporaries()).toEqual([]);
  });

  test.each(engineNames)("and one that is stopped, engine %s", async (engine) => {
    const writer = await startWriter({ engine });
    writer.child.kill("SIGSTOP");
    const before = await temporaries();
    await run({ engine });
    expect(await temporaries()).toEqual(before);
    writer.child.kill("SIGCONT");
    expect(await writer.end()).toBe(0);
  });

  test.skipIf(!hasNamespaces)("another container keeps it, and is kept from", async () => {
    for (const [first, second] of [
      [{}, { alone: true }],
      [{ alone: true }, {}],
      [{ alone: true }, { alone: true }],
    ]) {
      const writer = await startWriter(first ?? {});
      const before = await temporaries();
      await run(second ?? {});
      expect(await temporaries()).toEqual(before);
      expect(await writer.end()).toBe(0);
    }
  });

  test.skipIf(!isRoot)("another user keeps it, and is kept from", async () => {
    for (const [first, second] of [
      [{}, { uid: 65_534 }],
      [{ uid: 65_534 }, {}],
      [{ uid: 65_534 }, { uid: 65_533 }],
    ]) {
      await rm(file("out"), { force: true });
      const writer = await startWriter(first ?? {});
      const before = await temporaries();
      await run(second ?? {});
      expect(await temporaries()).toEqual(before);
      expect(await writer.end()).toBe(0);
    }
  });

  test("one that cannot lock is kept, also when it was killed", async () => {
    const writer = await startWriter({ withoutAddon: true });
    const before = await temporaries();
    expect(before).toEqual([expect.stringMatching(/^\.out\.tmp-[0-9a-f]{8}\.keep$/)]);
    await run({});
    expect(await temporaries()).toEqual(before);
    writer.child.kill("SIGKILL");
    await once(writer.child, "close");
    await run({});
    await run({ withoutAddon: true });
    expect(await temporaries()).toEqual(before);
  });
});

describe.skipIf(!canLock() || !existsSync(program))("of a process that was killed", () => {
  test.each(engineNames)("the next run removes it, engine %s", async (engine) => {
    const writer = await startWriter({ engine });
    writer.child.kill("SIGKILL");
    await once(writer.child, "close");
    expect(await temporaries()).toHaveLength(1);
    await run({ engine });
    expect(await temporaries()).toEqual([]);
  });

  test("who cannot lock leaves it", async () => {
    await writeFile(file(".out.tmp-01234567"), "");
    await run({ withoutAddon: true });
    expect(await temporaries()).toEqual([".out.tmp-01234567"]);
    await run({});
    expect(await temporaries()).toEqual([]);
  });

  test("only files of that name are looked at", async () => {
    const others = [".out.tmp-0123456", ".out.tmp-0123456g", ".outer.tmp-01234567", "out.tmp-01234567"];
    for (const name of others) await writeFile(file(name), "");
    spawnSync("mkfifo", [file(".out.tmp-0000000f")]);
    spawnSync("mkdir", [file(".out.tmp-0000000d")]);
    spawnSync("ln", ["-s", "plain", file(".out.tmp-0000000c")]);
    const before = await temporaries();
    await run({});
    expect(await temporaries()).toEqual(before);
    expect(await readFile(file("plain"), "utf8")).toBe("plaintext");
  });
});

describe.skipIf(!canLock())("between its making and its lock", () => {
  const options = { keyring, engine: "node" } as const;

  test("it may be removed: it is made again", async () => {
    const seen: string[] = [];
    for (let i = 0; i < 3; i++)
      locks.push(() => {
        const made = spawnSync("sh", ["-c", "ls -A | grep tmp-"], { cwd: folder }).stdout.toString().trim();
        seen.push(made);
        spawnSync("rm", [file(made)]);
        return undefined;
      });
    await encryptFile(file("plain"), file("out"), options);
    expect(new Set(seen).size).toBe(3);
    expect(await readdir(folder)).toEqual(["key.jwk", "out", "plain"]);
  });

  test("others may have the lock, or it may be no lock for all", async () => {
    locks.push(
      () => "taken",
      () => "taken",
    );
    await encryptFile(file("plain"), file("out"), options);
    locks.push(() => "unknown");
    await encryptFile(file("plain"), file("second"), options);
    expect(await readdir(folder)).toEqual(["key.jwk", "out", "plain", "second"]);
  });

  test("who never gets it gives up, and leaves nothing", async () => {
    for (let i = 0; i < 20; i++) locks.push(() => "taken");
    await expect(encryptFile(file("plain"), file("out"), options)).rejects.toMatchObject({ code: "EBUSY" });
    expect(locks).toHaveLength(0);
    expect(await readdir(folder)).toEqual(["key.jwk", "plain"]);
  });
});

test("a name of any length has its temporary name, and two of them do not meet", async () => {
  for (const name of ["x".repeat(255), `${"ü".repeat(127)}y`, "\u{1f512}".repeat(63)]) {
    await encryptFile(file("plain"), file(name), { keyring });
    await unlink(file(name));
  }
  await expect(encryptFile(file("plain"), file("x".repeat(256)), { keyring })).rejects.toMatchObject({
    code: "ENAMETOOLONG",
  });
  expect(await temporaries()).toEqual([]);
});
