// The command line on files and pipes: round trips, refusals, interruptions. Whatever fails says so in one line, with
// the documented exit code, and leaves the folder as it was.
import { constants, createReadStream } from "node:fs";
import {
  chmod,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { PassThrough } from "node:stream";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { frameseal, type RunOptions, type RunResult } from "../support/command-line.ts";

let cwd: string;
const file = (name: string): string => path.join(cwd, name);
const run = (args: readonly string[], options: Partial<RunOptions> = {}): Promise<RunResult> =>
  frameseal(args, { cwd, ...options });

/** Runs what must work. */
async function done(args: readonly string[], options: Partial<RunOptions> = {}): Promise<RunResult> {
  const result = await run(args, options);
  expect(result.stderr.replace(/^frameseal: key .* keep a copy in a safe place\n/, "")).toBe("");
  expect(result.code).toBe(0);
  return result;
}

/** Runs what must be refused: one line, nothing changed. */
async function refused(
  args: readonly string[],
  code: number,
  text: RegExp,
  options: Partial<RunOptions> = {},
): Promise<void> {
  const before = (await readdir(cwd)).sort();
  const result = await run(args, options);
  expect(result.stderr).toMatch(text);
  expect(result.stderr.replace(/\n\(frameseal --help explains\)\n$/, "\n")).toMatch(/^frameseal: [^\n]+\n$/);
  expect({ code: result.code, files: (await readdir(cwd)).sort() }).toEqual({ code, files: before });
}

const plaintext = Buffer.alloc(300_000, "frames of text, ");

beforeEach(async () => {
  cwd = await mkdtemp(path.join(tmpdir(), "frameseal-cli-"));
  await writeFile(file("plain"), plaintext);
  await done(["keygen", "-o", "a.jwk"]);
});
afterEach(() => rm(cwd, { recursive: true }));

describe("round trips", () => {
  test.each([
    ["0x0478", []],
    ["0x0578", []],
    ["0x0178", ["--commitment-policy", "FORBID_ENCRYPT_ALLOW_DECRYPT"]],
  ])("files, suite %s", async (suite, policy) => {
    const frames = ["--suite", suite, "--frame-length", "4K", "-c", "über=größe", "-c", "b=c=d"];
    await done(["encrypt", "-k", "a.jwk", ...frames, ...policy, "plain", "-o", "sealed"]);
    expect((await stat(file("sealed"))).mode & 0o777).toBe(0o600);
    const header = JSON.parse((await done(["inspect", "--json", "sealed"])).stdout.toString());
    expect(header).toMatchObject({
      suite,
      frameLength: 4096,
      encryptionContext: { über: "größe", b: "c=d" },
    });
    await done(["verify", "-k", "a.jwk", ...policy, "sealed"]);
    await done(["decrypt", "-k", "a.jwk", "-c", "über=größe", ...policy, "sealed", "-o", "opened"]);
    expect(await readFile(file("opened"))).toEqual(plaintext);
  });

  test("pipes, RSA and AES keys together", async () => {
    await done(["keygen", "--type", "rsa", "-o", "rsa.pem"]);
    const sealed = await done(["encrypt", "-k", "a.jwk", "-k", "rsa.pem.pub"], { stdin: plaintext });
    for (const key of ["a.jwk", "rsa.pem"]) {
      const opened = await done(["decrypt", "-k", key], { stdin: sealed.stdout });
      expect(opened.stdout).toEqual(plaintext);
    }
  });

  test("empty input", async () => {
    const sealed = await done(["encrypt", "-k", "a.jwk"]);
    expect((await done(["decrypt", "-k", "a.jwk"], { stdin: sealed.stdout })).stdout).toHaveLength(0);
  });

  test("an output that exists needs --force", async () => {
    await done(["encrypt", "-k", "a.jwk", "plain", "-o", "sealed"]);
    const before = await readFile(file("sealed"));
    await refused(["encrypt", "-k", "a.jwk", "plain", "-o", "sealed"], 1, /sealed: exists already; --force/);
    expect(await readFile(file("sealed"))).toEqual(before);
    await done(["encrypt", "--force", "-k", "a.jwk", "plain", "-o", "sealed"]);
    expect(await readFile(file("sealed"))).not.toEqual(before);
  });
});

describe("refusals", () => {
  beforeEach(async () => {
    await done(["encrypt", "-k", "a.jwk", "-c", "x=1", "--frame-length", "4K", "plain", "-o", "sealed"]);
  });
  const decryptTo = ["decrypt", "-k", "a.jwk", "-o", "out"];

  test("wrong key", async () => {
    await done(["keygen", "-o", "b.jwk"]);
    await refused(["decrypt", "-k", "b.jwk", "sealed", "-o", "out"], 3, /inspect shows which keys/);
  });
  test("wrong context", () => refused([...decryptTo, "-c", "x=2", "sealed"], 3, /context/));
  test("no key", () => refused(["decrypt", "sealed", "-o", "out"], 2, /no key/));
  test("key file of wrong length", async () => {
    await writeFile(
      file("c.jwk"),
      JSON.stringify({ kty: "oct", kid: "c", k: Buffer.alloc(5).toString("base64url") }),
    );
    await refused(["decrypt", "-k", "c.jwk", "sealed", "-o", "out"], 1, /key file c\.jwk/);
  });
  test("key in the arguments", async () => {
    const key = Buffer.alloc(32, 9).toString("hex");
    await refused(["decrypt", "-k", key, "sealed", "-o", "out"], 2, /takes the name of a file/);
  });
  test("no such file", () => refused([...decryptTo, "absent"], 1, /absent: no such file/));
  test("folder", () => refused([...decryptTo, "."], 1, /is a folder/));
  test.skipIf(process.getuid?.() === 0)("unreadable file", async () => {
    await chmod(file("sealed"), 0);
    await refused([...decryptTo, "sealed"], 1, /permission denied/);
  });
  test("no message", () => refused([...decryptTo, "plain"], 3, /./));
  test("empty input", () => refused([...decryptTo], 3, /./));
  test("Base64", async () => {
    await writeFile(file("b64"), (await readFile(file("sealed"))).toString("base64"));
    await refused([...decryptTo, "b64"], 3, /Base64/i);
  });
  test("truncated, extended, altered", async () => {
    const sealed = await readFile(file("sealed"));
    const altered = Buffer.from(sealed);
    altered[100_000] = ~(altered[100_000] ?? 0);
    for (const [bytes, text] of [
      [sealed.subarray(0, -1), /end/i],
      [sealed.subarray(0, 20), /end/i],
      [Buffer.concat([sealed, Buffer.of(0)]), /./],
      [altered, /authentic/],
    ] as const) {
      await writeFile(file("bad"), bytes);
      await refused([...decryptTo, "bad"], 3, text);
      await refused(["verify", "-k", "a.jwk", "bad"], 3, text);
    }
  });
  test("unknown suite", async () => {
    const bytes = await readFile(file("sealed"));
    bytes.writeUInt16BE(0x0999, 1);
    await writeFile(file("bad"), bytes);
    await refused([...decryptTo, "bad"], 1, /suite/);
  });
  test("hostile headers take little memory", async () => {
    const bytes = await readFile(file("sealed"));
    const { headerLength } = JSON.parse((await done(["inspect", "--json", "sealed"])).stdout.toString());
    const manyKeys = Buffer.from(bytes);
    const contextLength = bytes.readUInt16BE(35);
    manyKeys.writeUInt16BE(0xffff, 37 + contextLength);
    const longFrames = Buffer.from(bytes);
    longFrames.writeUInt32BE(0xffff_ffff, headerLength - 16 - 32 - 4);
    const idle = await peakMemory(["engine"]);
    for (const hostile of [manyKeys, longFrames]) {
      await writeFile(file("bad"), Buffer.concat([hostile, Buffer.alloc(2 ** 20)]));
      const result = await run([...decryptTo, "bad"]);
      expect([1, 3]).toContain(result.code);
      expect((await peakMemory([...decryptTo, "bad"])) - idle).toBeLessThan(64 * 2 ** 20);
    }
  });
  test("unknown option", () => refused(["decrypt", "--nonsense"], 2, /unknown option/));
  test("unknown command", () => refused(["nonsense"], 2, /unknown command/));
  test.runIf(process.platform === "linux")("full disk", async () => {
    const full = await open("/dev/full", constants.O_WRONLY);
    try {
      await refused(["decrypt", "-k", "a.jwk", "sealed"], 1, /no space/, { stdout: full.fd });
    } finally {
      await full.close();
    }
  });
  test("the input as output, and links", async () => {
    await refused(["encrypt", "--force", "-k", "a.jwk", "plain", "-o", "plain"], 2, /the same/);
    await symlink("plain", file("link"));
    await refused(["encrypt", "--force", "-k", "a.jwk", "sealed", "-o", "link"], 1, /link/);
    await mkdir(file("folder"));
    await refused(["encrypt", "--force", "-k", "a.jwk", "plain", "-o", "folder"], 1, /folder/);
    expect(await readFile(file("plain"))).toEqual(plaintext);
  });

  async function peakMemory(args: readonly string[]): Promise<number> {
    const hook = `process.on("exit", () => require("node:fs").writeFileSync("peak", String(process.resourceUsage().maxRSS)))`;
    await writeFile(file("hook.cjs"), hook);
    await run(args, { env: { NODE_OPTIONS: `--require ${file("hook.cjs")}` } });
    const peak = Number(await readFile(file("peak"), "utf8")) * 1024;
    await Promise.all([rm(file("peak")), rm(file("hook.cjs"))]);
    expect(peak).toBeGreaterThan(10 * 2 ** 20);
    return peak;
  }
});

describe("interruptions", () => {
  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("%s removes what is not complete", async (signal, code) => {
    const input = new PassThrough();
    input.write(Buffer.alloc(2 ** 20));
    const before = (await readdir(cwd)).sort();
    const result = await run(["encrypt", "-k", "a.jwk", "-o", "sealed"], {
      stdin: input,
      onStart: (child) => {
        const wait = setInterval(async () => {
          if ((await readdir(cwd)).length === before.length) return;
          clearInterval(wait);
          child.kill(signal);
        }, 20);
      },
    });
    input.destroy();
    expect(result.code).toBe(code);
    expect((await readdir(cwd)).sort()).toEqual(before);
  });

  test("a closed pipe ends it silently", async () => {
    const result = await run(["encrypt", "-k", "a.jwk"], {
      stdin: createReadStream("/dev/zero", { end: 2 ** 28 }),
      onStart: (child) => child.stdout?.once("data", () => child.stdout?.destroy()),
    });
    expect(result).toMatchObject({ code: 141, stderr: "" });
  });
});

describe("help", () => {
  const commands = [
    "keygen",
    "encrypt",
    "decrypt",
    "inspect",
    "verify",
    "put",
    "get",
    "cat",
    "policy",
    "engine",
  ];

  test("names every command and the exit codes", async () => {
    const { stdout } = await done(["--help"]);
    for (const command of commands) expect(stdout.toString()).toContain(`\n  ${command} `);
    expect(stdout.toString()).toContain("Exit codes: 0 done; 1 failed; 2 usage; 3 not authentic");
  });
  test.each(commands)("of %s", async (command) => {
    const { stdout } = await done([command, "--help"]);
    expect(stdout.toString()).toMatch(new RegExp(`^Usage: frameseal ${command} `));
  });
  test("version and engine", async () => {
    const { version } = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8"));
    expect((await done(["--version"])).stdout.toString()).toBe(`${version}\n`);
    const engine = JSON.parse((await done(["engine", "--json"])).stdout.toString());
    expect(engine).toMatchObject({
      engine: expect.any(String),
      kernel: expect.any(String),
      reason: expect.any(String),
    });
  });
});
