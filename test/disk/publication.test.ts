// Every call of the system that makes a file fails once, in turn. Then either the new file is there, and nothing says
// that it is not; or it is not, the old one is as it was, and an error says so. What is left is named.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  decryptFile,
  encryptFile,
  RawAesKeyring,
  writeAesKeyFile,
  writeRsaKeyFiles,
} from "../../src/index.ts";
import { fileMultipartStates } from "../../src/s3.ts";
import { FULL } from "../support/full.ts";

/** Calls since the last reset; the one with the number `failing` fails. */
const calls: { names: string[]; failing: number; code: string } = vi.hoisted(() => ({
  names: [],
  failing: -1,
  code: "EIO",
}));

vi.mock("node:fs", async (original) => {
  const fs = await original<typeof import("node:fs")>();
  const failingOnce = (name: "open" | "close" | "fstat" | "fchmod" | "fsync" | "read" | "write") =>
    Object.assign((...given: unknown[]) => {
      const done = given.at(-1) as (error: Error | null) => void;
      const index = calls.names.push(name) - 1;
      const error = index === calls.failing ? failure(name) : undefined;
      if (error === undefined) return (fs[name] as (...all: unknown[]) => void)(...given);
      // A descriptor is closed also when closing fails.
      if (name === "close") fs.close(given[0] as number, () => done(error));
      else done(error);
    });
  const failure = (syscall: string): Error =>
    Object.assign(new Error(`${calls.code}: seeded, ${syscall}`), { code: calls.code, syscall });
  const names = ["open", "close", "fstat", "fchmod", "fsync", "read", "write"] as const;
  return { ...fs, ...Object.fromEntries(names.map((name) => [name, failingOnce(name)])) };
});
// One pair of keys for all: making them takes longer than all the rest.
vi.mock("node:crypto", async (original) => {
  const crypto = await original<typeof import("node:crypto")>();
  const pair = crypto.generateKeyPairSync("rsa", { modulusLength: 2048 });
  const generateKeyPair = (_type: string, _options: unknown, done: (...result: unknown[]) => void): void =>
    done(null, pair);
  return { ...crypto, generateKeyPair };
});
vi.mock("node:fs/promises", async (original) => {
  const fs = await original<typeof import("node:fs/promises")>();
  const names = ["link", "lstat", "mkdir", "readdir", "rename", "rm", "stat", "truncate", "unlink"] as const;
  const failingOnce =
    (name: (typeof names)[number]) =>
    async (...given: unknown[]) => {
      if (calls.names.push(name) - 1 === calls.failing)
        throw Object.assign(new Error(`${calls.code}: seeded, ${name}`), { code: calls.code, syscall: name });
      return (fs[name] as (...all: unknown[]) => unknown)(...given);
    };
  return { ...fs, ...Object.fromEntries(names.map((name) => [name, failingOnce(name)])) };
});

const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: Buffer.alloc(32, 7) });
const root = mkdtempSync(path.join(tmpdir(), "frameseal-publication-"));
afterAll(() => rmSync(root, { recursive: true }));

let folder: string;
const file = (name: string): string => path.join(folder, name);
beforeEach(() => {
  folder = mkdtempSync(path.join(root, "f-"));
});
afterEach(() => {
  calls.failing = -1;
});

interface Operation {
  /** The file that it makes, and the one beside it. */
  readonly targets: readonly string[];
  readonly old: string | undefined;
  run(): Promise<unknown>;
}
const plain = path.join(root, "plain");
const message = path.join(root, "message");
writeFileSync(plain, "plaintext");

const operations: Record<string, () => Operation> = {};
for (const overwrite of ["refuse", "replace"] as const)
  for (const sync of ["full", "none"] as const) {
    const options = { keyring, engine: "node", overwrite, sync, mode: 0o640 } as const;
    const old = overwrite === "replace" ? "old" : undefined;
    const targets = ["out"];
    operations[`encryptFile, ${overwrite}, ${sync}`] = () => ({
      targets,
      old,
      run: () => encryptFile(plain, file("out"), options),
    });
    operations[`decryptFile, ${overwrite}, ${sync}`] = () => ({
      targets,
      old,
      run: () => decryptFile(message, file("out"), options),
    });
  }
operations.writeAesKeyFile = () => ({
  targets: ["out"],
  old: undefined,
  run: () => writeAesKeyFile(file("out")),
});
operations.writeRsaKeyFiles = () => ({
  targets: ["out", "out.pub"],
  old: undefined,
  run: () => writeRsaKeyFiles(file("out"), { modulusBits: 2048 }),
});

/** Runs it in a folder of its own; tells what is there afterwards. */
async function outcome(make: () => Operation): Promise<{
  error: (Error & { code?: string }) | undefined;
  whatIs: "new" | "old" | "both" | "none" | "some";
  others: string[];
}> {
  folder = mkdtempSync(path.join(root, "f-"));
  const { targets, old, run } = make();
  if (old !== undefined) for (const target of targets) writeFileSync(file(target), old);
  calls.names.length = 0;
  const error = await run().then(
    () => undefined,
    (reason) => reason,
  );
  calls.failing = -1;
  const there = targets.filter((target) => readdirSync(folder).includes(target));
  const isOld = there.every((target) => old !== undefined && readFileSync(file(target), "utf8") === old);
  const whatIs =
    there.length < targets.length ? (there.length === 0 ? "none" : "some") : isOld ? "old" : "new";
  return { error, whatIs, others: readdirSync(folder).filter((name) => !targets.includes(name)) };
}

describe.each(Object.entries(operations))("%s", (name, make) => {
  test.each(FULL ? ["EIO", "ENOSPC", "EDQUOT", "ESTALE"] : ["EIO"])(
    "a call that fails with %s",
    async (code) => {
      await encryptFile(plain, message, { keyring, overwrite: "replace" });
      calls.code = code;
      expect(await outcome(make)).toMatchObject({ error: undefined, whatIs: "new", others: [] });
      const names = [...calls.names];
      const move = names.indexOf(names.includes("rename") ? "rename" : "link");
      const told = { published: 0, unchanged: 0, done: 0 };
      for (let index = 0; index < names.length; index++) {
        calls.failing = index;
        const { error, whatIs, others } = await outcome(make);
        const where = `${names[index]}, call ${index} of ${names.join()}`;
        if (error === undefined) {
          told.done++;
          expect(whatIs, where).toBe("new");
        } else if (error.code === "NOT_DURABLE") {
          told.published++;
          expect(whatIs, where).toBe("new");
          expect(error.message, where).toContain(`${file("out")}`);
          expect(error.message, where).toMatch(/ is complete under its name, but .*seeded/);
          expect((error.cause as Error).message, where).toContain("seeded");
          expect(
            others.every((other) => error.message.includes(other)),
            `${where}: ${others}`,
          ).toBe(true);
        } else {
          told.unchanged++;
          expect(error.code, where).toBe(code);
          expect(whatIs, where).toMatch(/none|old/);
          if (index >= move || names[index] === "write")
            expect(error.message, where).toContain("was not changed");
          // What cannot be removed stays, for the next run to remove.
          if (names[index] !== "unlink") expect(others, where).toEqual([]);
        }
      }
      expect(told.unchanged).toBeGreaterThan(4);
      expect(told.published).toBeGreaterThan(name.includes("none") ? 0 : 1);
    },
  );
});

test("states of uploads: a swap that was done is not told as one that was not", async () => {
  const state = (revision: number) => ({ revision, name: `r${revision}` }) as never;
  const run = async (): Promise<unknown> => {
    folder = mkdtempSync(path.join(root, "f-"));
    const states = fileMultipartStates(folder);
    calls.failing = -1;
    await states.compareAndSwap("u", state(1), undefined);
    calls.names.length = 0;
    calls.failing = failing;
    const result = await states.compareAndSwap("u", state(2), 1).catch((error) => error);
    calls.failing = -1;
    const names = [...calls.names];
    const now = await states.load("u");
    calls.names = names;
    const isSwapped = now?.revision === 2;
    expect(isSwapped, `${names[failing]}: ${result}`).toBe(result === true || result?.code === "NOT_DURABLE");
    return result;
  };
  let failing = -1;
  expect(await run()).toBe(true);
  const count = calls.names.length;
  const results: unknown[] = [];
  for (failing = 0; failing < count; failing++) results.push(await run());
  expect(results.filter((result) => result instanceof Error).length).toBeGreaterThan(2);
});
