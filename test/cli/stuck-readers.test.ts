// Readers of what a command says who do not read: a command waits for them, and ends when it is told to.
import { execFileSync, spawn } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { PutObjectCommand } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LogFile } from "../../src/cli/tree/log-file.ts";
import { S3Server } from "../support/s3-server.ts";
import { environment, program } from "../support/tree-runs.ts";

let server: S3Server;
const folder = mkdtempSync(path.join(tmpdir(), "frameseal-readers-"));
beforeAll(async () => {
  server = await S3Server.start();
  const one = Buffer.from("not encrypted");
  server.buckets.set("b", new Map());
  await server.client().send(new PutObjectCommand({ Bucket: "b", Key: "p/0", Body: one }));
  const object = server.object("b", "p/0");
  for (let number = 0; number < 900; number++)
    server.buckets.get("b")?.set(`p/${number}${"x".repeat(200)}`, object);
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

/** Fills a pipe that nobody reads, as far as others have not. */
function isFull(pipe: number): boolean {
  try {
    writeSync(pipe, " ");
    return false;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EAGAIN") return true;
    throw error;
  }
}

test.runIf(process.platform === "linux")("a log that is a pipe which nobody reads is refused", async () => {
  const fifo = path.join(folder, "nobody");
  execFileSync("mkfifo", [fifo]);
  expect(() => new LogFile(fifo)).toThrow(/ENXIO/);
});

describe.runIf(process.platform === "linux")("A pipe that is full", () => {
  test.each<[string, readonly string[], (pipe: string) => readonly string[]]>([
    ["of standard output", ["ls", "-r", "--json", "s3://b/p/"], () => []],
    ["of a log", ["rm", "-r", "--dry-run", "s3://b/p/"], (pipe) => ["--log-file", pipe]],
  ])("%s", async (name, args, more) => {
    const fifo = path.join(folder, name);
    execFileSync("mkfifo", [fifo]);
    const pipe = openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK);
    const options = more(fifo);
    const child = spawn(process.execPath, [program, ...args, ...options, "--endpoint", server.endpoint], {
      cwd: folder,
      env: { ...process.env, ...environment },
      stdio: ["ignore", options.length === 0 ? pipe : "ignore", "ignore"],
    });
    const end = new Promise<unknown>((resolve) =>
      child.on("exit", (code, signal) => resolve(signal ?? code)),
    );
    // What the test adds is a byte at a time, and the command fills the rest at once.
    while (!isFull(pipe)) await sleep(1);
    child.kill("SIGINT");
    expect([130, "SIGINT"]).toContain(await end);
    closeSync(pipe);
  });
});
