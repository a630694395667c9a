// What the command line answers, word for word: transcripts.txt beside this file is run, line by line. And what --help
// says of each command fits two screens and describes every option.
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { createProgram, run } from "../../src/cli/program.ts";
import { encrypt, RawAesKeyring } from "../../src/index.ts";
import { observe } from "../support/observed-command.ts";

vi.mock("node:fs", async (original) => {
  const { observedFs } = await import("../support/observed-command.ts");
  return observedFs(await original<typeof import("node:fs")>());
});

/** Commands, what they say (… stands for anything), and in brackets the exit code. */
const transcripts = [
  ...readFileSync(new URL("transcripts.txt", import.meta.url), "utf8").matchAll(
    /^\$ frameseal ?(.*)\n([\s\S]*?)\[(\d+)\]$/gm,
  ),
].map(([, line = "", said = "", code]) => ({ line, said, code: Number(code) }));

let home: string;
let folder: string;
beforeAll(async () => {
  home = process.cwd();
  folder = mkdtempSync(path.join(tmpdir(), "frameseal-transcripts-"));
  process.chdir(folder);
  const secret = { mode: 0o600 };
  const keyOf = (name: string) => {
    const key = randomBytes(32);
    writeFileSync(
      `${name}.key`,
      JSON.stringify({ kty: "oct", kid: name, k: key.toString("base64url") }),
      secret,
    );
    return new RawAesKeyring({ keyNamespace: "frameseal", keyName: name, wrappingKey: key });
  };
  const keyring = keyOf("backup");
  keyOf("other");
  const encryptionContext = { backup: "daily" };
  const message = await encrypt(Buffer.alloc(100_000, "text"), { keyring, encryptionContext });
  writeFileSync("notes.txt", "text");
  writeFileSync("notes.fsl", message);
  writeFileSync("cut.fsl", message.subarray(0, -1));
  writeFileSync("longer.fsl", Buffer.concat([message, Buffer.of(0)]));
  const altered = Buffer.from(message);
  altered[50_000] = ~(altered[50_000] ?? 0);
  writeFileSync("altered.fsl", altered);
  writeFileSync("notes.b64", message.toString("base64"));
  writeFileSync("empty", "");
  writeFileSync("broken.key", '{"kty":"oct"', secret);
  mkdirSync("folder");
  Object.assign(process.env, { AWS_ACCESS_KEY_ID: "a", AWS_SECRET_ACCESS_KEY: "b", AWS_REGION: "us-east-1" });
});
afterAll(() => {
  process.chdir(home);
  rmSync(folder, { recursive: true });
});

test("there are transcripts", () => expect(transcripts.length).toBeGreaterThan(50));

test.each(transcripts)("frameseal $line", async ({ line, said, code }) => {
  const words = [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, word]) => quoted ?? word ?? "");
  const observed = await observe(run, words);
  const pattern = said.split("…").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  expect({ code: observed.code, said: observed.stdout + observed.stderr }).toEqual({
    code,
    said: expect.stringMatching(new RegExp(`^${pattern.join("[^\\n]*")}$`)),
  });
});

describe("help", async () => {
  const program = await createProgram();
  test.each(program.commands.map((command) => command.name()))("of %s", async (name) => {
    const { code, stdout, stderr } = await observe(run, [name, "--help"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(new RegExp(`^Usage: frameseal ${name} `));
    const command = program.commands.find((each) => each.name() === name);
    // What goes with -r alone has a page of its own.
    const hasTwo = command?.options.some(({ long }) => long === "--recursive") === true;
    const pages = [stdout, ...(hasTwo ? [(await observe(run, [name, "-r", "--help"])).stdout] : [])];
    for (const page of pages) {
      const lines = page.split("\n");
      // Both directions have their options.
      expect(lines.length).toBeLessThanOrEqual(name === "sync" ? 140 : 100);
      expect(lines.filter((each) => each.length > 100)).toEqual([]);
    }
    for (const { flags, description } of command?.options ?? []) {
      expect(pages.join("")).toContain(flags);
      expect(description, flags).toMatch(/^\S.{3,}[^.]$/);
    }
    const { stdout: same } = await observe(run, ["help", name]);
    expect(same).toBe(stdout);
  });
  test("of the program names every command, and the exit codes", async () => {
    const { code, stdout } = await observe(run, ["--help"]);
    expect(code).toBe(0);
    for (const { name } of program.commands.map((command) => ({ name: command.name() })))
      expect(stdout).toContain(`\n  ${name} `);
    expect(stdout).toContain("Exit codes: 0 done; 1 failed; 2 usage; 3 not authentic");
    const without = await observe(run, []);
    expect(without).toMatchObject({ code: 2, stdout: "", stderr: stdout });
  });
});
