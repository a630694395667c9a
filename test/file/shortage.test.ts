// Files and pipes when the system has no thread or no descriptor left: the same bytes by the calling thread, or one error
// that names what is missing; and an end of the process either way.
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { nativeKernels } from "../../src/engine/native/addon.ts";
import { decryptFile, RawAesKeyring } from "../../src/index.ts";
import { compileFailThreads } from "../support/fail-threads.ts";

const addon = fileURLToPath(new URL("../../build/Release/frameseal.node", import.meta.url));
const program = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const library = new URL("../../dist/index.js", import.meta.url).href;
const wrappingKey = Buffer.alloc(32, 7);
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey });
const isLinux = process.platform === "linux";
const hasAddon = isLinux && existsSync(addon) && nativeKernels().some(({ works }) => works);
const failThreads = hasAddon ? compileFailThreads() : undefined;

const plaintext = randomBytes(3_000_000);
const key = "-k key.jwk --key-namespace n";
let folder: string;
const file = (name: string): string => path.join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "frameseal-shortage-"));
  const jwk = { kty: "oct", kid: "k", k: wrappingKey.toString("base64url") };
  await writeFile(file("key.jwk"), JSON.stringify(jwk), { mode: 0o600 });
  await writeFile(file("plain"), plaintext);
  expect(await shell(`$F encrypt ${key} -o message plain`)).toEqual({ code: 0, stderr: "" });
});
afterAll(async () => {
  failThreads?.remove();
  await rm(folder, { recursive: true });
});

/** Runs a shell command line; `$F` is the program. One that does not end is killed, which gives the code null. */
function shell(
  command: string,
  environment: Record<string, string> = {},
): Promise<{ code: number | null; stderr: string }> {
  const env = { ...process.env, F: `${process.execPath} ${program}`, ...environment };
  const child = spawn("bash", ["-c", `set -o pipefail; ${command}`], { cwd: folder, env, timeout: 30_000 });
  let stderr = "";
  child.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stderr }));
  });
}

type Shortage = { readonly before?: string; readonly environment?: Record<string, string> };

/** Seals and opens, from file to file and from pipe to pipe; tells how many of the four did their work. */
async function runAll({ before = "", environment }: Shortage, failure?: RegExp): Promise<number> {
  let done = 0;
  for (const [command, from] of [
    ["encrypt", "plain"],
    ["decrypt", "message"],
  ])
    for (const line of [
      `${before} exec $F ${command} ${key} -o result ${from}`,
      `cat ${from} | (${before} exec $F ${command} ${key}) | cat > result`,
    ]) {
      const { code, stderr } = await shell(line, environment);
      if (code === 0 || failure === undefined) {
        expect({ code, stderr }, line).toEqual({ code: 0, stderr: "" });
        await expectRight(command === "encrypt");
        done += 1;
      } else {
        expect(code, `${line}: ${stderr}`).toBe(1);
        expect(stderr).toMatch(failure);
        if (line.includes("-o")) expect(await readdir(folder)).not.toContain("result");
      }
      await rm(file("result"), { force: true });
      expect((await readdir(folder)).sort()).toEqual(["key.jwk", "message", "plain"]); // nothing else is left
    }
  return done;
}

async function expectRight(isSealed: boolean): Promise<void> {
  if (isSealed) await decryptFile(file("result"), file("opened"), { keyring, sync: "none" });
  expect((await readFile(file(isSealed ? "opened" : "result"))).equals(plaintext)).toBe(true);
  await rm(file("opened"), { force: true });
}

/** With how many descriptors the program starts at all. Node itself takes about 18. */
async function lowestLimit(): Promise<number> {
  let limit = 16;
  while ((await shell(`ulimit -n ${limit}; exec $F --version > version`)).code !== 0) limit += 1;
  await rm(file("version"));
  return limit;
}

describe.skipIf(!isLinux)("shortage", () => {
  test("of descriptors: done, or one error with the system's code", async () => {
    const limit = await lowestLimit();
    let done = 0;
    for (let n = limit; done < 4; n++) {
      expect(n, "a limit that is enough").toBeLessThan(limit + 12);
      done = await runAll({ before: `ulimit -n ${n};` }, /^frameseal: .*\(EMFILE.*\n$/);
    }
  }, 240_000);

  describe.skipIf(failThreads === undefined)("of threads", () => {
    test.each(["1", "2", "1-2", "1-"])(
      "%s: the calling thread does the work",
      async (which) => {
        const environment = { ...failThreads?.environment(which), FRAMESEAL_ENGINE: "native" };
        expect(await runAll({ environment })).toBe(4);
      },
      120_000,
    );

    test("and of descriptors", async () => {
      const environment = { ...failThreads?.environment("1-") };
      const limit = await lowestLimit();
      for (const n of [limit, limit + 1, limit + 2])
        await runAll({ before: `ulimit -n ${n};`, environment }, /^frameseal: .*\(EMFILE.*\n$/);
    }, 120_000);

    test("signed messages, and files of one program after another", async () => {
      const script = `
        import { createHash } from "node:crypto";
        import { readFileSync } from "node:fs";
        import { decryptFile, encryptFile, RawAesKeyring, verifyFile } from ${JSON.stringify(library)};
        const wrappingKey = Buffer.alloc(32, 7);
        const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey });
        const options = { keyring, engine: "native", overwrite: "replace", sync: "none" };
        for (const suite of [0x0478, 0x0578, 0x0478]) {
          await encryptFile("plain", "result", { ...options, suite, frameLength: 4096 });
          await verifyFile("result", { keyring, engine: "native" });
          const { plaintextLength } = await decryptFile("result", "opened", options);
          const digest = (name) => createHash("sha256").update(readFileSync(name)).digest("hex");
          if (plaintextLength !== ${plaintext.length} || digest("plain") !== digest("opened")) process.exit(9);
        }
        console.error("right");`;
      for (const which of ["1", "2", "3", "1-"]) {
        const line = `exec ${process.execPath} --input-type=module -e '${script}'`;
        const outcome = await shell(line, failThreads?.environment(which));
        expect(outcome, which).toEqual({ code: 0, stderr: "right\n" });
      }
      for (const name of ["result", "opened"]) await rm(file(name), { force: true });
    }, 120_000);
  });
});
